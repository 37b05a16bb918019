"""`permitgate policy diff` and `policy learn` over logs that real runs wrote."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.chain import Chain
from audit.note import PublicKey
from audit.verify import Report, verify
from mcp_server.cli.policy.recorded import Unreplayable, past_action
from tests.mcp_server.indoors import ASKS
from tests.mcp_server.rig import Rig
from tests.mcp_server.test_cli import Line, rows

RAN = ["cat src/a.py", "cat src/b.py", "cat src/c.py", "git status", "git status",
       "echo hi > out.txt", "ls -la | head"]  # fmt: skip
DENIED = ["cat .env", "rm -rf /"]
ASKED = ["rm -rf src", "python3 -c 'print(1)'"]
SECRET = "echo ghp_abcdefghijklmnopqrstuvwxyz0123456789 | tee src/token"
APPROVED = "echo ran >> asks/ran.txt"


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A command line whose log holds allowed, approved, asked and denied calls, and a secret."""
    rig = Rig.make(tmp_path_factory.mktemp("worked"), "http: {port: 0}\n")
    (rig.base / "asks.yaml").write_text(ASKS)
    rig.configure(f"policy: [dev-safe, {rig.base / 'asks.yaml'}]\n")
    for folder in ("src", "asks"):
        (rig.workspace / folder).mkdir()
    for name in "abc":
        (rig.workspace / "src" / f"{name}.py").write_text("x\n")
    line = Line(rig)
    for command in (*RAN, *DENIED, *ASKED, SECRET):
        line.run("exec", "--", command)
    approval = json.loads(line.run("exec", "--json", "--", APPROVED).stdout)["approval"]["id"]
    digest = line.run("approvals", "show", approval).stdout.partition("--digest ")[2].split()[0]
    line.run("approvals", "approve", approval, "--digest", digest)
    assert line.run("exec", "--", APPROVED).returncode == 0
    yield line
    rig.stop_all()


@pytest.fixture
def log(worked: Line, tmp_path: Path) -> Path:
    """Return a copy of its log, for a test to spoil."""
    return Path(shutil.copytree(worked.rig.state / "audit", tmp_path / "log"))


@pytest.fixture
def strict(tmp_path: Path) -> str:
    file = tmp_path / "strict.yaml"
    file.write_text(
        "version: 1\ndefault: deny\nrules:\n"
        '  - {id: all, allow: [fs.read, fs.list], resources: ["${workspace}/**"]}\n'
    )
    return str(file)


# --- diff -----------------------------------------------------------------------------------------


def test_diff_without_a_log_says_what_differs_by_rule(worked, strict):
    found = worked.run("policy", "diff", "dev-safe", strict)
    assert found.returncode == 0
    assert "default: ask -> deny" in found.stdout
    assert f"+ all: allow fs.list, fs.read  {strict}:4:5" in found.stdout
    assert "- network: ask net.connect, net.listen  dev-safe.yaml:" in found.stdout
    same = worked.run("policy", "diff", strict, strict)
    assert same.stdout == "The rules are the same.\n"
    wider = Path(strict).with_name("wider.yaml")
    wider.write_text(Path(strict).read_text().replace("/**", "/src/**"))
    (changed,) = rows(worked.run("policy", "diff", strict, str(wider), "--json").stdout)
    assert changed["changed"] == [
        {"id": "all", "effect": "allow", "place": f"{wider}:4:5", "fields": ["resources"]}
    ]


def test_diff_names_every_past_action_that_would_flip_with_the_rules_behind_both(
    worked, strict, log
):
    found = worked.run("policy", "diff", "dev-safe", strict, "--log", str(log))
    assert found.returncode == 1
    assert "LOOSER   deny -> allow  1x  exec: cat .env" in found.stdout
    assert "STRICTER allow -> deny  2x  exec: git status" in found.stdout
    assert "a secret stood in it" in found.stdout
    (data,) = rows(
        worked.run("policy", "diff", "dev-safe", strict, "--log", str(log), "--json").stdout
    )
    flips = {one["text"]: one for one in data["flips"]}
    assert flips["cat .env"]["looser"]
    assert list(flips["cat .env"]["new_rules"]) == ["all"]
    assert flips["git status"]["count"] == 2
    assert flips["git status"]["first"]["seq"] < flips["git status"]["last"]["seq"]
    assert [text for text in RAN if text in flips] == ["git status", "git status", RAN[5]]
    assert len(data["not_replayed"]) == 1
    same = worked.run("policy", "diff", "dev-safe", "dev-safe", "--log", str(log))
    assert same.returncode == 0
    assert "0 looser, 0 stricter" in same.stdout


def test_diff_replays_what_was_decided_then(worked, log):
    (data,) = rows(
        worked.run(
            "policy", "diff", "dev-safe", "dev-safe", "--with", str(worked.rig.base / "asks.yaml"),
            "--log", str(log), "--json",
        ).stdout
    )  # fmt: skip
    assert data["checkpoint"]["size"] > data["replayed"] == len(RAN + DENIED + ASKED) + 2


def test_diff_starts_where_it_is_told(worked, strict, log):
    command = ("policy", "diff", "dev-safe", strict, "--log", str(log), "--json", "--since")
    (later,) = rows(worked.run(*command, "2999-01-01").stdout)
    assert (later["replayed"], later["flips"]) == (0, [])
    wrong = worked.run(*command, "yesterday")
    assert (wrong.returncode, "is no date" in wrong.stderr) == (2, True)


@pytest.mark.threat("T15")
def test_a_log_that_does_not_verify_is_not_replayed(worked, strict, log):
    (segment,) = log.glob("seg-*")
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b"cat .env", b"cat .eny"))
    for command in (("diff", "dev-safe", strict), ("learn",)):
        refused = worked.run("policy", *command, "--log", str(log))
        assert (refused.returncode, refused.stdout) == (12, "")
        assert "Nothing of it was used" in refused.stderr
    other = worked.run("audit", "key").stdout.strip().replace("/", "x", 1)
    assert worked.run("policy", "diff", "a", "b", "--log", str(log), "--key", other).returncode == 2


@pytest.mark.threat("T15")
def test_what_is_not_signed_is_not_replayed(worked, strict, log):
    command = ("policy", "diff", "dev-safe", strict, "--log", str(log))
    (before,) = rows(worked.run(*command, "--json").stdout)
    (segment,) = log.glob("seg-*")
    lines = segment.read_bytes().splitlines(keepends=True)
    # A record that continues the chain, but that no checkpoint covers.
    chain = Chain()
    chain.follow_block(lines)
    record = json.loads(next(text for text in lines if b'"command":"cat src/a.py"' in text))
    del record["@prev"], record["@seq"]
    body = json.dumps(record, separators=(",", ":"), sort_keys=True).encode()
    segment.write_bytes(b"".join(lines) + chain.extend(body) + b"\n")
    found = worked.run(*command)
    assert "1 more are not signed yet and were not read" in found.stdout
    assert f"{len(lines)} records, verified" in found.stdout
    (after,) = rows(worked.run(*command, "--json").stdout)
    assert after == {**before, "checkpoint": {**before["checkpoint"], "unsigned": 1}}


@pytest.mark.threat("T15")
def test_a_log_that_changes_after_it_was_verified_is_not_used(worked, strict, log, monkeypatch):
    (segment,) = log.glob("seg-*")

    def verify_then_spoil(*arguments: object) -> Report:
        report = verify(*arguments)
        segment.write_bytes(segment.read_bytes().replace(b"cat .env", b"cat a.md"))
        return report

    monkeypatch.setattr("mcp_server.cli.policy.history.verify", verify_then_spoil)
    refused = worked.run("policy", "diff", "dev-safe", strict, "--log", str(log))
    assert (refused.returncode, "changed while it was read" in refused.stderr) == (12, True)


def test_a_log_is_read_with_the_key_it_is_given(worked, strict, log, tmp_path):
    key = tmp_path / "key"
    key.write_text(worked.run("audit", "key").stdout)
    command = ("policy", "diff", "dev-safe", "dev-safe", "--log", str(log), "--key")
    assert worked.run(*command, str(key)).returncode == 0
    other = PublicKey(PublicKey.parse(key.read_text()).name, bytes(32)).vkey
    refused = worked.run(*command, other)
    assert (refused.returncode, "Nothing of it was used" in refused.stderr) == (12, True)
    assert worked.run(*command, str(tmp_path / "none")).returncode == 2
    missing = worked.run("policy", "diff", "a.yaml", "b.yaml", "--log", str(tmp_path / "no"))
    assert missing.returncode == 2


def test_diff_counts_what_was_decided_otherwise_at_the_time(worked, strict, log):
    asks = str(worked.rig.base / "asks.yaml")
    then = ("policy", "diff", "dev-safe", strict, "--log", str(log), "--json")
    (same,) = rows(worked.run(*then, "--with", asks).stdout)
    (other,) = rows(worked.run(*then).stdout)
    assert (same["decided_otherwise_then"], other["decided_otherwise_then"]) == (0, 2)
    shown = worked.run("policy", "diff", "dev-safe", strict, "--log", str(log)).stdout
    assert "2 were decided otherwise at the time" in shown


# --- records that cannot be replayed --------------------------------------------------------------

WHOLE = {
    "@seq": 7,
    "ts": "2026-11-21T00:00:00.000000Z",
    "event": "exec.intent",
    "session": "s",
    "tool": "exec",
    "actor": {"id": "agent:x", "uid": 0, "auth": "cli"},
    "policy": {"effect": "allow"},
    "context": {"workspace": "/w", "home": "/h", "user": "u", "host": "b", "can_mask": True},
    "request": {"command": "ls", "cwd": "/w"},
}
BROKEN = [
    ({"context": None}, "is not recorded whole"),
    ({"actor": {"id": "agent:x"}}, "who asked"),
    ({"policy": {}}, "what was decided"),
    ({"request": {"command": "a [redacted:x]", "cwd": "/w"}}, "a secret stood in it"),
    ({"request": {"argv": ["a", {"$redacted": {"kind": "k"}}], "cwd": "/w"}}, "a secret stood"),
    ({"request": {"argv": "ls", "cwd": "/w"}}, "not recorded whole"),
    ({"request": {"command": {"$b64": "!"}, "cwd": "/w"}}, "not base64"),
    ({"event": "dance.intent"}, "no action is of the family 'dance'"),
    ({"event": "patch.intent", "request": {"files": ["fs.write /w/a"], "file_count": 2}}, "more"),
    ({"event": "read.intent", "request": {"operation": "fs.eat", "path": "/w"}}, "no read is"),
]


@pytest.mark.parametrize(("change", "why"), BROKEN)
def test_a_record_that_lacks_something_says_what(change, why):
    with pytest.raises(Unreplayable, match=why):
        past_action({**WHOLE, **change})


def test_without_a_context_nothing_is_guessed():
    record = {key: value for key, value in WHOLE.items() if key != "context"}
    with pytest.raises(Unreplayable, match="workspace, home, user, host"):
        past_action(record)


FAMILIES = [
    ({}, "ls"),
    ({"request": {"argv": ["/bin/ls"], "asked_argv": ["ls", "a b"], "cwd": "/w"}}, "ls 'a b'"),
    ({"request": {"command": {"$b64": "bHMg/w=="}, "cwd": "/w"}}, "ls \udcff"),
    ({"event": "ssh.intent", "tool": "ssh",
      "request": {"command": "id", "hosts": ["a", "b"], "sudo": True}}, "ssh a,b: sudo id"),
    ({"event": "patch.intent", "tool": "patch",
      "request": {"files": ["fs.write /w/a b", "fs.delete /c"], "file_count": 2}},
     "fs.write /w/a b and 1 more"),
    ({"event": "patch.intent", "tool": "undo",
      "request": {"files": ["fs.write /w/a"], "file_count": 1}}, "fs.write /w/a"),
    ({"event": "read.intent", "tool": "read_file",
      "request": {"operation": "fs.read", "path": "/w"}}, "fs.read /w"),
    ({"event": "audit.intent", "tool": "audit_query", "request": {"query": "q"}}, "audit q"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "text"), FAMILIES)
def test_every_family_of_record_becomes_the_action_it_was(change, text):
    assert past_action({**WHOLE, **change}).text == text


def test_an_environment_is_replayed_by_the_names_that_steer():
    request = {"command": "ls", "cwd": "/w", "env_keys": ["A", "LD_X"], "env_steers": ["LD_X"]}
    action = past_action({**WHOLE, "request": {**request, "wants_write": True}}).request.action
    assert [name for name, _ in action.env] == ["LD_X"]
    assert action.wants_write


# --- learn ----------------------------------------------------------------------------------------


def test_learn_prints_a_policy_that_replays_the_log_and_names_its_checkpoint(worked, log, tmp_path):
    proof = tmp_path / "proof.json"
    found = worked.run("policy", "learn", "--log", str(log), "--proof", str(proof))
    assert found.returncode == 0
    assert found.stderr.splitlines()[-1] == "PROVEN"
    said = json.loads(proof.read_text())
    assert said["holds"]
    assert said["checkpoint"]["root"] in found.stdout
    assert said["text_sha256"] == hashlib.sha256(found.stdout.encode()).hexdigest()
    assert said["replayed"] == {
        "allowed": len(RAN), "asked": 1, "still_not_allowed": len(DENIED + ASKED),
    }  # fmt: skip
    assert (len(said["exceptions"]), len(said["not_replayed"])) == (0, 1)
    again = worked.run("policy", "learn", "--log", str(log))
    assert again.stdout == found.stdout


def test_a_learned_policy_works_like_any_other(worked, log, tmp_path):
    text = worked.run("policy", "learn", "--log", str(log), "--name", "mine").stdout
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert worked.run("policy", "check", str(file), "--strict").returncode == 0
    with_it = ("--policy", str(file), "--json", "--")
    for command, effect in (("cat src/d.py", "allow"), ("cat notes.txt", "ask"), (APPROVED, "ask")):
        (row,) = rows(worked.run("classify", *with_it, command).stdout)
        assert (command, row["effect"]) == (command, effect)
    # In a log of its own, for what others here count.
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "state")}
    ran = worked.run("exec", "--policy", str(file), "--", "cat src/a.py", **elsewhere)
    assert (ran.returncode, ran.stdout) == (0, "x\n")


def test_learn_allows_what_was_approved_only_when_told(worked, log):
    command = ("policy", "learn", "--log", str(log), "--json", "--deny-the-rest")
    (asks,) = rows(worked.run(*command).stdout)
    assert asks["replayed"]["asked"] == 1
    (trusts,) = rows(worked.run(*command, "--trust-approved").stdout)
    assert trusts["replayed"] == {**asks["replayed"], "allowed": len(RAN) + 1, "asked": 0}
    assert "default: deny" in trusts["policy"]


def test_learn_refuses_a_name_no_policy_has(worked):
    assert worked.run("policy", "learn", "--name", "a: b").returncode == 2


def test_a_policy_whose_proof_fails_is_not_printed(worked, log, monkeypatch):
    # Nothing known makes it fail, so the one thing that could is put in its place.
    wide = "version: 1\nrules:\n  - {id: a, allow: [fs.delete], resources: [/**]}\n"
    monkeypatch.setattr("policy.learn.as_yaml", lambda *_: wide)
    found = worked.run("policy", "learn", "--log", str(log))
    assert (found.returncode, found.stdout) == (1, "")
    assert "would be allowed though it was not: record" in found.stderr
    assert found.stderr.splitlines()[-1].startswith("NOT PROVEN")
