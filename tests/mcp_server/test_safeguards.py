"""Safeguards of the hall that `make mutants` takes away and that no other test would miss."""

import os
from pathlib import Path

import anyio
import httpx2
import pytest

from audit.log import AuditLog
from audit.redact import Redactor
from mcp_server.config import ConfigError, load_config, parse_config
from mcp_server.freeze import CommandWish
from mcp_server.http import TokenFileError, bearer_token
from mcp_server.journal import Journal
from mcp_server.policies import PolicyFiles, quick_load
from mcp_server.redaction import redacted
from policy.classify import classify
from policy.document import PolicyError
from policy.model import Exec, Request, Subject
from sandbox.action import Command
from sandbox.outcome import (
    NO_OUTPUT,
    CommandOutcome,
    Enforcement,
    FileOutcome,
    HostOutcome,
    Output,
    RemoteOutcome,
)
from tests.audit.house import House as LogHouse
from tests.mcp_server.indoors import NOT_HERE, Indoors
from tests.mcp_server.rig import Rig
from tests.mcp_server.test_gate import House

SECRET = b"ghp_" + b"0123456789abcdefghijABCDEFGHIJ012345"
PRINTED = Output(b"token " + SECRET, b"", 46, "0" * 64)


@pytest.fixture
def rig(tmp_path: Path):
    made = Rig.make(tmp_path)
    yield made
    made.stop_all()


# What is recorded


@pytest.mark.threat("T16")
async def test_an_outcome_is_on_disk_although_the_caller_hung_up():
    class SlowDisk(House):
        async def append(self, record, *, is_outcome=False):
            await anyio.sleep(0.01)  # a cancelled caller would leave here
            return await super().append(record, is_outcome=is_outcome)

        async def run(self, permit):
            await anyio.sleep_forever()

    house = SlowDisk()
    with anyio.move_on_after(0.1):
        await house.handle()
    assert house.story == ["intent", "outcome"]


# What leaves


@pytest.mark.threat("T17")
@pytest.mark.parametrize(
    "outcome",
    [
        CommandOutcome("ok", 0, None, 1, PRINTED, NO_OUTPUT, Enforcement("read", "namespaces", ())),
        CommandOutcome("ok", 0, None, 1, NO_OUTPUT, PRINTED, Enforcement("read", "namespaces", ())),
        FileOutcome("ok", content=PRINTED.head),
        RemoteOutcome("ok", (HostOutcome("h", "ok", 0, 1, PRINTED, NO_OUTPUT),)),
        RemoteOutcome("ok", (HostOutcome("h", "ok", 0, 1, NO_OUTPUT, PRINTED),)),
    ],
    ids=["stdout", "stderr", "file", "remote-stdout", "remote-stderr"],
)
def test_a_secret_in_an_outcome_is_marked(outcome):
    assert SECRET.decode() in str(outcome)
    assert SECRET.decode() not in str(redacted(Redactor(), outcome))


@pytest.mark.threat("T17")
def test_a_secret_in_a_record_does_not_reach_the_log(tmp_path: Path):
    house = LogHouse(tmp_path)
    log: AuditLog = house.open()
    journal = Journal(log, house.path, Redactor())
    journal.note({"event": "tool.classified", "text": f"token {SECRET.decode()}"})
    journal.close()
    assert SECRET not in house.segment.read_bytes()
    assert b"[redacted:" in house.segment.read_bytes()


# What is frozen


@pytest.mark.threat("T03")
async def test_text_that_was_not_understood_runs_on_a_yes_alone(tmp_path: Path):
    assert "not wholly understood" in await needs_yes(tmp_path, 'eval "$(cat notes.txt)"')


@pytest.mark.threat("T09")
async def test_a_command_that_needs_the_host_runs_on_a_yes_alone(tmp_path: Path):
    assert "outside the sandbox" in await needs_yes(tmp_path, NOT_HERE)


async def needs_yes(base: Path, text: str) -> str:
    frozen, _ = await freeze(base, text)
    return frozen.needs_yes


async def freeze(base: Path, text: str):
    indoors = Indoors.make(base)
    try:
        app = indoors.app
        context = app.caller.context(indoors.workspace)
        action = Exec(text, None, str(indoors.workspace))
        decision = classify(
            Request(Subject("agent:x", "s", 0, "stdio"), action, "exec"), app.policy, context
        )
        return await app.freezer.command(CommandWish(action, context), decision), indoors
    finally:
        indoors.app.close()


@pytest.mark.threat("T06")
async def test_a_file_that_will_be_executed_is_pinned(tmp_path: Path):
    tool = tmp_path / "workspace" / "tool.sh"
    tool.parent.mkdir()
    tool.write_text("echo hello\n")
    tool.chmod(0o755)
    frozen, _ = await freeze(tmp_path, "./tool.sh")
    assert isinstance(frozen.action, Command)
    assert str(tool) in [pin.path for pin in frozen.action.pins]


# What is read at start


@pytest.mark.threat("T04")
def test_a_key_that_nobody_knows_refuses_the_configuration():
    with pytest.raises(ConfigError, match=r"config\.yaml:2:3: limits\.time.*unknown key"):
        parse_config("limits:\n  time: 3\n", "config.yaml")


@pytest.mark.threat("T23")
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_configuration_that_others_may_write_is_refused(tmp_path: Path, mode: int):
    file = tmp_path / "config.yaml"
    file.write_text("limits: {timeout_s: 3}\n")
    file.chmod(0o600)
    assert load_config(file).limits.timeout_s == 3
    file.chmod(mode)
    with pytest.raises(ConfigError, match="others may write it"):
        load_config(file)


@pytest.mark.threat("T23")
@pytest.mark.root_only
def test_a_configuration_of_another_user_is_refused(tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text("limits: {timeout_s: 3}\n")
    file.chmod(0o600)
    os.chown(file, 4242, -1)
    with pytest.raises(ConfigError, match="belongs to uid 4242"):
        load_config(file)


@pytest.mark.threat("T23")
def test_a_policy_that_others_may_write_is_refused(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text("version: 1\nrules: []\n")
    file.chmod(0o622)
    with pytest.raises(PolicyError, match="others may write this policy"):
        quick_load(PolicyFiles(("dev-safe",), tmp_path))


@pytest.mark.threat("T04")
def test_a_projects_policy_in_the_workspace_may_not_allow(tmp_path: Path):
    (tmp_path / ".permitgate.yaml").write_text(
        'version: 1\nrules:\n  - id: mine\n    allow: [fs.read]\n    resources: ["/**"]\n'
    )
    with pytest.raises(PolicyError, match="may only tighten"):
        quick_load(PolicyFiles(("dev-safe",), tmp_path / "none", (tmp_path,)))


@pytest.mark.threat("T20")
def test_a_room_from_another_directory_stops_the_start(rig: Rig):
    foreign = rig.base / "foreign"
    (foreign / "policy").mkdir(parents=True)
    (foreign / "policy" / "__init__.py").write_text("raise SystemExit('foreign code ran')\n")
    done = rig.run("--help", env={"PYTHONPATH": str(foreign)})
    assert done.returncode == 2
    assert "not all in one place" in done.stderr


@pytest.mark.threat("T20")
def test_rooms_that_all_come_from_elsewhere_stop_the_start(rig: Rig):
    foreign = rig.base / "foreign"
    real = Path(parse_config.__code__.co_filename).parents[1]
    for room in ("approvals", "audit", "policy", "sandbox"):
        (foreign / room).mkdir(parents=True)
        (foreign / room / "__init__.py").write_text("raise SystemExit('foreign code ran')\n")
    (foreign / "mcp_server").symlink_to(real / "mcp_server")
    done = rig.run("--help", env={"PYTHONPATH": str(foreign)})
    assert done.returncode == 2
    assert "Remove that directory from PYTHONPATH" in done.stderr


# Who may speak HTTP


@pytest.mark.threat("T19")
def test_only_the_holder_of_the_token_on_this_very_host_is_answered(rig: Rig):
    _, url, token = rig.serve_http()
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    good = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
    }
    wrong = {
        "no token": ({}, 401),
        "another token": ({**good, "Authorization": "Bearer " + "x" * 43}, 401),
        "another host": ({**good, "Host": "evil.example"}, 421),
        "an origin": ({**good, "Origin": "http://evil.example"}, 403),
    }
    with httpx2.Client(timeout=10) as web:
        assert web.post(url, json=body, headers=good).status_code not in (401, 403, 421)
        for what, (headers, status) in wrong.items():
            assert web.post(url, json=body, headers=headers).status_code == status, what


@pytest.mark.threat("T23")
def test_a_token_that_others_could_have_read_is_refused(tmp_path: Path):
    file = tmp_path / "token"
    token, is_new = bearer_token(file)
    assert is_new
    assert bearer_token(file) == (token, False)
    file.chmod(0o640)
    with pytest.raises(TokenFileError, match="others may have read"):
        bearer_token(file)
