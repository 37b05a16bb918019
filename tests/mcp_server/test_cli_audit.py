"""`permitgate audit`: keys, rotation and witnesses, as scripts and operators meet them."""

import io
import json
import shutil
from pathlib import Path

import pytest
import typer

from mcp_server.cli import audit as audit_cli
from tests.audit.agents import running_agent
from tests.audit.test_trust import WITNESSES
from tests.mcp_server.test_cli import Line

pytestmark = pytest.mark.threat("T15")


@pytest.fixture
def line(rig) -> Line:
    return Line(rig)


def logged(line: Line, **env: str) -> Path:
    assert line.run("exec", "--", "cat notes.txt", **env).returncode == 0
    return line.rig.state / "audit"


def test_a_rotation_leaves_the_key_that_auditors_have(line):
    log = logged(line)
    key = line.run("audit", "key").stdout
    proof = line.run("audit", "prove", "1").stdout
    rotated = line.run("audit", "rotate")
    assert rotated.returncode == 0
    assert f"old  {key}" in rotated.stdout
    logged(line)
    assert line.run("audit", "key").stdout == key
    verified = line.run("audit", "verify", str(log), "--key", key, "--json")
    assert json.loads(verified.stdout)["epochs"] == 2
    assert line.run("audit", "verify", "--strict").returncode == 0
    for text in (proof, line.run("audit", "prove", "1").stdout):
        (line.rig.base / "proof").write_text(text)
        assert line.run("audit", "verify-proof", str(line.rig.base / "proof")).returncode == 0


def test_a_log_begun_with_another_key_than_the_pinned_one_is_not_continued(line):
    log = logged(line)
    line.run("audit", "rotate")
    shutil.rmtree(log)
    ended = line.run("exec", "--", "cat notes.txt")
    assert ended.returncode == 12
    assert "If you removed it yourself" in ended.stderr
    (line.rig.state / "keys" / "audit.pub").unlink()
    logged(line)


def test_a_log_whose_key_was_never_pinned_is_verified_with_the_key_file(line):
    logged(line)
    key = line.run("audit", "key").stdout
    (line.rig.state / "keys" / "audit.pub").unlink()
    assert line.run("audit", "key").stdout == key
    logged(line)
    assert (line.rig.state / "keys" / "audit.pub").read_text() == key


@pytest.mark.threat("T23")
def test_the_key_moves_to_an_ssh_agent_and_without_it_nothing_runs(line, tmp_path, monkeypatch):
    logged(line)
    key = line.run("audit", "key").stdout
    config = line.rig.base / "config" / "permitgate" / "config.yaml"
    before = config.read_text() if config.exists() else ""
    with running_agent(tmp_path) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", agent.environment["SSH_AUTH_SOCK"])
        place = f"ssh-agent:{agent.add()}"
        moved = line.run("audit", "rotate", "--to", place)
        assert moved.returncode == 0, moved.stderr
        assert f"signer: {place}" in moved.stdout
        assert not (line.rig.state / "keys" / "audit.pem").exists()
        assert "audit.signer" in line.run("exec", "--", "cat notes.txt").stderr
        assert not (line.rig.state / "keys" / "audit.pem").exists()
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(f"{before}\naudit:\n  signer: {place}\n")
        logged(line)
        assert line.run("audit", "verify").returncode == 0
        assert line.run("audit", "key").stdout == key
        assert line.run("audit", "rotate").returncode == 2
        agent.remove()
        ended = line.run("exec", "--", "touch ran.txt")
        assert ended.returncode == 12
        assert "the ssh-agent has no key" in ended.stderr
        back = line.run("audit", "rotate", "--to", "file")
        assert back.returncode == 12
    assert not (line.rig.workspace / "ran.txt").exists()


def test_a_log_elsewhere_has_a_pinned_key_of_its_own(line):
    config = line.rig.base / "config" / "permitgate" / "config.yaml"
    before = config.read_text() if config.exists() else ""
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f"{before}\naudit:\n  directory: {line.rig.base / 'elsewhere'}\n")
    line.run("exec", "--", "cat notes.txt")
    assert [path.name[:6] for path in (line.rig.state / "keys").glob("*.pub")] == ["audit-"]
    assert line.run("audit", "verify").returncode == 0


def test_too_few_witnesses_are_exit_4(line):
    log = logged(line)
    key = line.run("audit", "key").stdout.strip()
    policy = line.rig.base / "trust"
    policy.write_text(f"log {key}\nwitness w {WITNESSES[0].key.vkey}\nquorum w\n")
    ended = line.run("audit", "verify", "--policy", str(policy))
    assert (ended.returncode, ended.stdout[:11]) == (4, "UNWITNESSED")
    proof = line.rig.base / "proof"
    proof.write_text(line.run("audit", "prove", "1").stdout)
    checked = line.run("audit", "verify-proof", str(proof), "--policy", str(policy))
    assert checked.returncode == 4
    note = (log / "checkpoint").read_bytes().rstrip(b"\n") + b"\n"
    text = note.partition(b"\n\n")[0] + b"\n"
    (log / "cosignatures").mkdir()
    size = text.split(b"\n")[1].decode()
    (log / "cosignatures" / size).write_bytes(note + WITNESSES[0].line(text))
    ended = line.run("audit", "verify", "--policy", str(policy))
    assert (ended.returncode, f"{size} witnessed" in ended.stdout) == (0, True)
    proof.write_text(line.run("audit", "prove", "1").stdout)
    policy.write_text(
        f"witness w {WITNESSES[0].key.vkey}\nquorum w\n"
    )  # the log is known otherwise
    checked = line.run("audit", "verify-proof", str(proof), "--policy", str(policy))
    assert checked.returncode == 0
    policy.write_text("nonsense\n")
    ended = line.run("audit", "verify", "--policy", str(policy))
    assert ended.returncode == 2
    assert "line 1 of the trust policy" in ended.stderr


def test_a_long_log_shows_on_a_terminal_how_far_it_was_read(line, monkeypatch):
    log = logged(line)
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setattr(audit_cli, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(typer, "echo", lambda text="", **_: shown.write(text))
    monkeypatch.setattr(typer, "secho", lambda *_, **__: None)
    key = (line.rig.state / "keys" / "audit.pub").read_text()
    asked = audit_cli.Asked(log, key, None, None, deep=False, strict=False)
    assert audit_cli.verify_log(asked, as_json=False) == 0
    assert "records \r" in shown.getvalue()
