"""The command line: what scripts rely on, and what an operator is told.

Most of it runs in this process; what mounts, pipes and imports do needs a process of its own.
"""

import json
import os
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcp_server.cli.main import app
from tests.mcp_server.indoors import ASKS
from tests.mcp_server.rig import Rig
from tests.warm import INSTALLED

EXIT_OF_THE_COMMAND = 7


@dataclass
class Line:
    """The command line in this process, for one user's directories."""

    rig: Rig

    def run(
        self, *arguments: str, stdin: str = "", cwd: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {**self.rig.environment, **env}
        with chdir(cwd or self.rig.workspace):
            result = CliRunner().invoke(app, arguments, stdin, env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return subprocess.CompletedProcess(
            arguments, result.exit_code, result.stdout, result.stderr
        )


@pytest.fixture
def line(rig: Rig) -> Line:
    return Line(rig)


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def asking(line: Line) -> Line:
    """A command line whose policy asks for writes below asks/ and never waits."""
    rig = line.rig
    (rig.base / "asks.yaml").write_text(ASKS)
    config = rig.base / "config" / "permitgate" / "config.yaml"
    config.write_text(f"policy: [dev-safe, {rig.base / 'asks.yaml'}]\n")
    (rig.workspace / "asks").mkdir()
    return line


def test_classify_reads_one_word_as_a_command_line_and_several_as_a_vector(line):
    (one,) = rows(line.run("classify", "--json", "--", "echo a; rm -rf /").stdout)
    assert one["effect"] == "deny"
    (several,) = rows(line.run("classify", "--json", "--", "echo", "a; rm -rf /").stdout)
    assert several["effect"] == "allow"
    shown = line.run("classify", "--", "rm -rf /")
    assert (shown.returncode, shown.stdout.split()[0]) == (0, "DENY")
    assert line.run("classify").returncode == 2
    assert not line.rig.state.exists()


def test_classify_batch_answers_every_line_in_order_and_names_broken_ones(line):
    lines = [
        '{"id": 1, "command": "ls"}',
        "not json",
        '{"id": "b", "command": "rm -rf /"}',
        '{"command": "ls"}',
        '{"id": 5, "command": 7}',
        '{"id": 6, "command": "cat x", "cwd": "/etc"}',
        '{"id": 7, "command": "ls", "cwd": 1}',
        "[1]",
        "",
        '{"id": 9, "command": "cat \\ud800"}',
        '{"id": 10, "command": "ls"}',
    ]
    answered = rows(line.run("classify", "--batch", "-", stdin="\n".join(lines)).stdout)
    assert [row["id"] for row in answered] == [1, None, "b", None, 5, 6, 7, None, 9, 10]
    errors = [row.get("error", "") for row in answered]
    assert [error.split(":")[0] for error in errors if error] == [
        "line 2", "line 4", "line 5", "line 7", "line 8",
    ]  # fmt: skip
    file = line.rig.base / "batch"
    file.write_text(lines[0])
    assert rows(line.run("classify", "--batch", str(file)).stdout)[0]["id"] == 1
    missing = line.run("classify", "--batch", "/nonexistent")
    assert (missing.returncode, "Traceback" in missing.stderr) == (2, False)


def test_exec_prints_only_its_result_and_exits_as_the_command_does(line):
    ran = line.run("exec", "--json", "--", "cat notes.txt")
    result = json.loads(ran.stdout)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (result["status"], result["stdout"]["text"]) == ("ok", "alpha\nbeta\n")
    assert set(result) >= {"decision", "enforcement", "receipt", "log_seq", "guidance"}
    failed = line.run("exec", "--", f"exit {EXIT_OF_THE_COMMAND}")
    assert (failed.returncode, failed.stdout) == (EXIT_OF_THE_COMMAND, "")
    denied = line.run("exec", "--", "rm -rf /")
    assert (denied.returncode, denied.stdout) == (11, "")
    assert "permitgate: denied" in denied.stderr
    slow = line.run("exec", "--timeout-s", "0.3", "--", "sleep", "9")
    assert slow.returncode == 124
    killed = line.run("exec", "--", "kill -KILL $$")
    assert killed.returncode in (128 + 9, 10, 11)


def test_a_pending_exec_is_approved_without_a_server_and_then_runs_once(asking):
    command = ("exec", "--json", "--", "echo ran >> asks/ran.txt")
    first = asking.run(*command)
    pending = json.loads(first.stdout)
    assert (first.returncode, pending["status"]) == (10, "pending")
    approval_id = pending["approval"]["id"]
    assert approval_id in asking.run("approvals", "list").stdout
    shown = asking.run("approvals", "show", approval_id).stdout
    digest = shown.partition("--digest ")[2].split()[0]
    assert asking.run("approvals", "approve", approval_id, "--digest", digest).returncode == 0
    assert asking.run(*command).returncode == 0
    assert asking.run(*command).returncode == 10
    assert (asking.rig.workspace / "asks" / "ran.txt").read_text() == "ran\n"


def test_approvals_without_any_request_say_so(line):
    for command in (("list",), ("show", "ap_1"), ("deny", "ap_1")):
        ended = line.run("approvals", *command)
        assert ended.returncode == 2, command
        assert "no agent has asked yet" in ended.stderr


def test_policy_check_names_the_place_of_an_unknown_key(line):
    file = line.rig.base / "p.yaml"
    file.write_text("version: 1\nname: p\nrules:\n  - id: a\n    alow: [fs.read]\n")
    checked = line.run("policy", "check", str(file))
    assert checked.returncode == 2
    assert checked.stderr.startswith(f"permitgate: {file}:5:5: ")
    good = json.loads(line.run("policy", "check", "dev-safe", "--json").stdout)
    assert good["name"] == "dev-safe.yaml"
    assert good["examples"] > 0


@pytest.mark.threat("T15")
def test_the_log_is_shown_proven_and_verified_with_the_public_key_alone(line):
    assert line.run("exec", "--", "cat notes.txt").returncode == 0
    key = line.run("audit", "key").stdout.strip()
    log = str(line.rig.state / "audit")
    shown = rows(line.run("audit", "show", "--json", "--text", "notes.txt").stdout)
    assert [record["event"] for record in shown] == ["exec.intent"]
    elsewhere = {"XDG_STATE_HOME": str(line.rig.base / "elsewhere")}
    verified = line.run("audit", "verify", log, "--key", key, "--deep", "--json", **elsewhere)
    assert (verified.returncode, json.loads(verified.stdout)["verdict"]) == (0, "verified")
    proof = line.rig.base / "proof"
    proof.write_text(line.run("audit", "prove", str(shown[0]["@seq"])).stdout)
    proven = line.run("audit", "verify-proof", str(proof), "--key", key, **elsewhere)
    assert (proven.returncode, proven.stdout[:6]) == (0, "PROVEN")
    assert "notes.txt" in proven.stdout
    proof.write_text(proof.read_text().replace("c2sp.org", "c3sp.org"))
    assert line.run("audit", "verify-proof", str(proof), "--key", key).returncode == 1
    assert "there is no key yet" in line.run("audit", "key", **elsewhere).stderr


@pytest.mark.threat("T15")
def test_a_changed_record_is_named_and_nothing_runs(line):
    assert line.run("exec", "--", "cat notes.txt").returncode == 0
    (segment,) = (line.rig.state / "audit").glob("seg-*")
    segment.write_bytes(segment.read_bytes().replace(b"cat notes.txt", b"cat n0tes.txt"))
    verified = line.run("audit", "verify")
    assert verified.returncode == 1
    assert "TAMPERED" in verified.stdout
    ended = line.run("exec", "--", "touch ran.txt")
    assert ended.returncode == 12
    assert "record" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (line.rig.workspace / "ran.txt").exists()


def in_a_mount_namespace(rig: Rig, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script],
        cwd=rig.workspace,
        env=rig.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.threat("T16")
def test_on_a_full_disk_nothing_runs_and_the_message_says_so(rig):
    disk = rig.base / "disk"
    disk.mkdir()
    config = rig.base / "config" / "permitgate" / "config.yaml"
    config.write_text(f"audit: {{directory: {disk}/audit}}\n")
    long = f"echo {'x' * 5000} > ran.txt"  # its intent does not fit into what a page has left
    ended = in_a_mount_namespace(
        rig,
        f"mount -t tmpfs -o size=3m tmpfs {disk}\n"
        f"{INSTALLED} exec -- 'cat notes.txt' > seen.txt\n"
        f"dd if=/dev/zero of={disk}/fill bs=4k 2>/dev/null || true\n"
        f"{INSTALLED} exec -- '{long}'",
    )
    assert ended.returncode == 12, ended.stderr
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (rig.workspace / "seen.txt").read_text() == "alpha\nbeta\n"
    assert not (rig.workspace / "ran.txt").exists()


@pytest.mark.threat("T25")
def test_without_bubblewrap_nothing_runs_and_the_fix_is_named(rig):
    # The probe looks in the system's own directories only, so PATH cannot hide it: a mount must.
    ended = in_a_mount_namespace(
        rig,
        "mount --bind /dev/null $(readlink -f $(which bwrap))\n"
        f"exec {INSTALLED} exec -- 'touch ran.txt'",
    )
    assert ended.returncode == 13, ended.stderr
    assert "apt install bubblewrap" in ended.stderr
    assert not (rig.workspace / "ran.txt").exists()


def test_doctor_tries_each_control_and_says_what_it_found(line):
    found = json.loads(line.run("doctor", "--json").stdout)
    assert found["rung"] == "namespaces"
    names = {row["name"] for row in found["rows"]}
    assert {"filesystem", "network", "seccomp", "policy", "audit log", "workspace"} <= names
    assert "rung: namespaces" in line.run("doctor").stdout


@pytest.mark.parametrize("too_wide", ["/", "$HOME", "$HOME/.."])
def test_the_whole_machine_or_home_is_no_workspace(line, too_wide):
    named = too_wide.replace("$HOME", line.rig.environment["HOME"])
    for command in (("exec", "--workspace", named, "--", "ls"), ("serve", "--workspace", named)):
        ended = line.run(*command)
        assert ended.returncode == 2
        assert "permitgate will not hand that over. Name a project directory." in ended.stderr
    assert not list(line.rig.state.rglob("seg-*"))


def test_outside_a_checkout_a_call_says_what_to_set(line):
    ended = line.run("exec", "--", "ls", cwd=Path("/"))
    assert ended.returncode == 2
    assert "There is no workspace" in ended.stderr
    assert "--workspace DIR" in ended.stderr


def test_a_broken_configuration_stops_every_command_with_its_place(line):
    config = line.rig.base / "config" / "permitgate" / "config.yaml"
    config.write_text("limits:\n  cpu: 3\n")
    for command in (("exec", "--", "ls"), ("classify", "--", "ls"), ("doctor",), ("serve",)):
        ended = line.run(*command)
        assert ended.returncode == 2, command
        assert ended.stderr == (
            f"permitgate: {config}:2:3: limits.cpu: unknown key. See docs/configuration.md.\n"
        )


SDK = {"mcp", "asyncssh", "uvicorn"}


@pytest.mark.parametrize(
    ("arguments", "slow"),
    [
        (["--help"], SDK | {"rich", "cryptography"}),
        (["classify", "--", "ls"], SDK | {"typer", "pydantic", "rich", "cryptography"}),
        (["policy", "check", "dev-safe"], SDK | {"rich", "cryptography"}),
        (["policy", "explain", "--", "ls"], SDK | {"cryptography"}),
    ],
)
def test_what_people_wait_for_does_not_load_what_is_slow(rig, arguments, slow):
    (rig.base / "config" / "permitgate" / "config.yaml").unlink()  # one has to be read
    program = (
        "import sys\n"
        "from mcp_server.__main__ import main\n"
        f"sys.argv = ['permitgate', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"heavy = {slow!r} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=rig.workspace,
        env={**rig.environment, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def test_the_installed_command_prints_nothing_but_the_result(rig):
    ended = rig.run("exec", "--json", "--", "cat", "notes.txt")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["stdout"]["text"] == "alpha\nbeta\n"


def test_a_closed_pipe_is_quiet(rig):
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [str(INSTALLED), "policy", "check", "dev-safe"],
        cwd=rig.workspace,
        env=rig.environment,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert "Traceback" not in ended.stderr
