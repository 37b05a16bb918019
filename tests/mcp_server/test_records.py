"""What one call leaves in the log and in the statement: everything that matters, and no secret."""

import hashlib
import json
from pathlib import Path

import pytest

from mcp_server.calls import Call, Frozen, Reply
from mcp_server.records import RECORDED_FILES, intent_record, outcome_record, refusal_record
from policy.model import AuditRead, Effect, Exec, Patch, Read, Request, Ssh, Subject, Undo
from sandbox.action import digest
from sandbox.outcome import FileOutcome
from sandbox.permit import PermitOffice
from tests.mcp_server.indoors import NOT_HERE, Indoors
from tests.mcp_server.test_gate import COMMAND, CONTEXT, OUTCOME, decision

TOKEN = "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345"
PASSWORD = "hunter2-the-second"
STDIN = "typed in by nobody"
SUBJECT = Subject("agent:x", "s", 0, "stdio")


async def freeze(_):
    return Frozen(COMMAND, ())


def call(action=None, reason: str = "") -> Call:
    asked = action or Exec("ls", None, "/w", (("A", PASSWORD), ("B", "2")))
    return Call(Request(SUBJECT, asked, "exec"), CONTEXT, freeze, reason)


def reply(**changes: object) -> Reply:
    return Reply("id", changes.pop("status", "ran"), decision(Effect.ALLOW), **changes)


def hexed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.threat("T17")
async def test_no_secret_of_a_call_is_in_any_record_or_statement(tmp_path: Path):
    indoors = Indoors.make(tmp_path)
    (indoors.workspace / "asks" / "t.sh").write_text("cat; echo $A\n")
    arguments = {
        "command": "bash asks/t.sh",
        "env": {"A": PASSWORD},
        "stdin": STDIN,
        "reason": f"because of {TOKEN}",
    }
    with_token = {"command": f"curl -H 'Authorization: Bearer {TOKEN}' https://example.org/"}
    async with indoors.connected("auto") as client:
        for asked in (arguments, with_token, {"command": f"echo {TOKEN} {PASSWORD}0 | rev"}):
            text = (await client.call_tool("exec", asked)).content[0].text
            assert TOKEN not in text
            assert STDIN not in text
    log = b"".join(file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file())
    for secret in (TOKEN, STDIN, f"{PASSWORD}\n", f'"{PASSWORD}"'):
        assert secret.encode() not in log, secret
    assert "[redacted:" in json.dumps(indoors.records())
    first, second = (dict(pending.question.facts) for pending in indoors.app.desk.pending())
    assert first["agent-says"] == "because of [redacted:github]"
    assert first["env"] == f"A (value of {len(PASSWORD)} characters, in the action digest)"
    assert first["stdin"] == f"{len(STDIN)} bytes, in the action digest"
    assert "Bearer [redacted:" in second["command"]
    indoors.app.close()


async def test_a_statement_names_what_is_pinned_and_how_it_is_confined(tmp_path: Path):
    indoors = Indoors.make(tmp_path)
    script = indoors.workspace / "asks" / "t.sh"
    script.write_text("echo hello\n")
    async with indoors.connected("auto") as client:
        for command in ("bash asks/t.sh", "eval x", NOT_HERE):
            await client.call_tool("exec", {"command": command, "timeout_s": 7})
    pinned, verbatim, outside = indoors.app.desk.pending()
    facts = dict(pinned.question.facts)
    assert facts["command"].endswith("/bash asks/t.sh")
    assert facts["command"].startswith("/")
    assert facts["pinned"] == f"{script} sha256 {hexed('echo hello' + chr(10))}"
    meaning = "writes a copy of the workspace, committed when it has ended; no network"
    assert facts["profile"] == f"write ({meaning})"
    assert (facts["timeout"], facts["cwd"]) == ("7 s", str(indoors.workspace))
    assert facts["policy"] == indoors.app.policy.digest
    assert pinned.question.need.level == 1
    assert dict(verbatim.question.facts)["text-verbatim"] == "eval x"
    assert "not wholly understood" in dict(verbatim.question.facts)["why-asked"]
    assert "OUTSIDE THE SANDBOX" in dict(outside.question.facts)["profile"]
    assert outside.question.need.level == 2
    indoors.app.close()


@pytest.mark.threat("T17")
def test_an_intent_names_the_variables_and_never_their_values():
    permit = PermitOffice().issue(COMMAND, approved_digest=digest(COMMAND), approval_id=None)
    record = intent_record(call(), reply(frozen=Frozen(COMMAND, ())), permit)
    assert record["event"] == "exec.intent"
    assert record["request"] == {
        "command": "ls",
        "cwd": "/w",
        "env_keys": ["A", "B"],
        "digest": permit.action_digest,
        "argv": ["ls"],
        "profile": "read",
    }
    assert PASSWORD not in json.dumps(record)


def test_an_outcome_says_how_it_ended_and_what_confined_it():
    record = outcome_record(call(), reply(outcome=OUTCOME))
    assert record["event"] == "exec.outcome"
    assert record["outcome"]["stdout"] == {"bytes": 0, "sha256": hexed("")}
    assert record["outcome"]["enforcement"]["controls"] == [{"name": "seccomp", "seen": "enforced"}]


@pytest.mark.threat("T17")
def test_the_content_of_a_file_is_a_digest_in_the_log():
    outcome = FileOutcome("ok", content=STDIN.encode())
    record = outcome_record(call(Read("fs.read", "/w/a")), reply(outcome=outcome))
    assert record["event"] == "read.outcome"
    assert record["outcome"]["sha256"] == hexed(STDIN)
    assert STDIN not in json.dumps(record)


@pytest.mark.parametrize(
    ("action", "family", "request_part"),
    [
        (Exec(None, ("ls", "-l"), "/w"), "exec", {"argv": ["ls", "-l"]}),
        (Ssh(("box",), "uptime", None, False), "ssh", {"hosts": ["box"], "command": "uptime"}),
        (Ssh(("box",), None, ("id",), True), "ssh", {"argv": ["id"], "sudo": True}),
        (Patch((("fs.write", "/w/a"),)), "patch", {"files": ["fs.write /w/a"], "file_count": 1}),
        (Undo("u", (("fs.delete", "/w/a"),)), "patch", {"files": ["fs.delete /w/a"]}),
        (Read("fs.list", "/w"), "read", {"operation": "fs.list", "path": "/w"}),
        (AuditRead("all"), "audit", {"query": "all"}),
    ],
)
def test_a_refused_call_is_recorded_in_the_words_it_was_asked_in(action, family, request_part):
    record = refusal_record(call(action), reply(status="denied", message="because"))
    assert record["event"] == f"{family}.outcome"
    assert request_part.items() <= record["request"].items()
    assert record["outcome"] == {"status": "denied", "message": "because", "ran": False}


def test_a_patch_of_many_files_is_counted_and_its_first_files_named():
    many = Patch(tuple(("fs.write", f"/w/{n}") for n in range(1000)))
    request = refusal_record(call(many), reply(status="denied"))["request"]
    assert (len(request["files"]), request["file_count"]) == (RECORDED_FILES, 1000)
