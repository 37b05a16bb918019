"""Facts about remote commands: the pinned host, the permitted script, a bounded answer."""

import hashlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from sandbox.action import RemoteCommand, RemoteHost, digest
from sandbox.outcome import RemoteOutcome
from sandbox.permit import PermitError, PermitOffice, SandboxError
from sandbox.remote.hosts import HostEntry, Refused, Ssh, resolve
from sandbox.remote.known_hosts import KnownHosts, fingerprint
from sandbox.remote.ssh import RemoteRunner, quoted, script_of
from sandbox.remote.ssh_config import parse_ssh_config
from tests.sandbox.remote.sshd import SSHD, Server, keygen, start

needs_sshd = pytest.mark.skipif(SSHD is None, reason="no sshd on this machine")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = start(tmp_path_factory.mktemp("sshd").resolve() / "s")
    yield made
    made.process.kill()
    made.process.wait()


def host_of(server: Server, name: str = "one", config: str = "") -> RemoteHost:
    entry = HostEntry(
        name, "127.0.0.1", server.port, server.user, identity_files=(str(server.identity),)
    )
    ssh = Ssh(parse_ssh_config(config, "c"), KnownHosts("k", server.known_hosts_line), "nobody")
    found = resolve([name], [entry], ssh)
    assert not isinstance(found, Refused), found
    return found[0]


def command(*hosts: RemoteHost, **changes: object) -> RemoteCommand:
    made = RemoteCommand(
        hosts=hosts, argv=None, script=None, verbatim=False, sudo=False, max_parallel=4,
        timeout_s=10.0, output_bytes=4096, stop_on_failure=False, policy_digest="p",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]  # a table of fields


async def run(action: RemoteCommand, connect_s: float = 5.0) -> RemoteOutcome:
    office = PermitOffice()
    permit = office.issue(action, approved_digest=digest(action), approval_id=None)
    return await RemoteRunner(office, connect_s=connect_s).run(permit)


@needs_sshd
@pytest.mark.as_user
async def test_a_lone_argument_vector_runs_as_its_words(server: Server):
    outcome = await run(
        command(host_of(server), argv=("printf", "%s|", "a b", "$HOME", "it's", ""))
    )
    (host,) = outcome.hosts
    assert (outcome.status, host.exit_code) == ("ok", 0)
    assert host.stdout.head == b"a b|$HOME|it's||"
    assert host.fingerprint in host_of(server).fingerprints


HOSTILE = [
    "'; touch PWNED; '", "$(touch PWNED)", "`touch PWNED`", "a\ntouch PWNED\n", "\\'", "'\\''",
    "}; touch PWNED; {", "<<EOF", "!!", "~", "*", "é\u2028", "-n", "--", "\x01\x7f",
]  # fmt: skip


@needs_sshd
@pytest.mark.threat("T22")
@pytest.mark.as_user
async def test_no_word_is_ever_read_as_shell_text(server: Server):
    outcome = await run(command(host_of(server), argv=("printf", r"%s\0", *HOSTILE)))
    assert outcome.hosts[0].stdout.head.split(b"\0")[:-1] == [w.encode() for w in HOSTILE]


@needs_sshd
async def test_an_argument_vector_names_a_program_never_a_builtin(server: Server):
    outcome = await run(command(host_of(server), argv=("cd", "/")))
    assert outcome.hosts[0].exit_code in {0, 127}  # POSIX systems may have /usr/bin/cd
    outcome = await run(command(host_of(server), argv=("eval", "echo hi")))
    assert outcome.hosts[0].exit_code == 127


@needs_sshd
async def test_a_script_runs_without_the_login_environment(server: Server):
    outcome = await run(command(host_of(server), script="env; alias; read x; echo end=$x"))
    lines = outcome.hosts[0].stdout.head.decode().splitlines()
    assert "end=" in lines
    names = {line.split("=")[0] for line in lines}
    assert names <= {"PATH", "LC_ALL", "PWD", "SHLVL", "_", "end"}


@needs_sshd
@pytest.mark.threat("T22")
async def test_a_script_that_is_cut_short_runs_nothing(server: Server, tmp_path: Path):
    office = PermitOffice()
    action = command(host_of(server), script=f"touch {tmp_path}/ran\nif true")
    permit = office.issue(action, approved_digest=digest(action), approval_id=None)
    outcome = await RemoteRunner(office).run(permit)
    assert outcome.status == "failed"
    assert not (tmp_path / "ran").exists()


@needs_sshd
async def test_a_failing_command_says_its_exit_code_and_both_streams(server: Server):
    outcome = await run(command(host_of(server), script="echo out; echo err >&2; exit 3"))
    (host,) = outcome.hosts
    assert (outcome.status, host.status, host.exit_code) == ("failed", "failed", 3)
    assert (host.stdout.head, host.stderr.head) == (b"out\n", b"err\n")


@needs_sshd
async def test_a_command_ended_by_a_signal_says_so(server: Server):
    outcome = await run(command(host_of(server), script="kill -9 $$"))
    assert outcome.hosts[0].status == "killed"


@needs_sshd
async def test_output_is_bounded_and_hashed_whole(server: Server):
    outcome = await run(
        command(host_of(server), script="head -c 3000000 /dev/zero", output_bytes=1000)
    )
    out = outcome.hosts[0].stdout
    assert out.total_bytes == 3_000_000
    assert len(out.head) + len(out.tail) == 1000
    assert out.sha256 == hashlib.sha256(bytes(3_000_000)).hexdigest()


@needs_sshd
async def test_a_grandchild_that_keeps_the_stream_open_delays_nothing(server: Server):
    started = time.monotonic()
    outcome = await run(command(host_of(server), script="sleep 6 & echo done"))
    assert outcome.hosts[0].stdout.head == b"done\n"
    assert outcome.hosts[0].status == "ok"
    assert time.monotonic() - started < 5


@needs_sshd
@pytest.mark.as_user
async def test_a_command_ends_at_its_time_and_is_told_to(server: Server, tmp_path: Path):
    script = f"echo $$ > {tmp_path}/pid; echo begun; sleep 30; true"
    outcome = await run(command(host_of(server), script=script, timeout_s=1.0))
    (host,) = outcome.hosts
    assert (host.status, host.exit_code, host.stdout.head) == ("timeout", None, b"begun\n")
    assert "may still run" in host.message
    pid = int(await anyio.Path(tmp_path / "pid").read_text())
    if (
        os.geteuid() == 0
    ):  # sshd passes signals on only where it separates privileges, never to root
        os.killpg(pid, signal.SIGKILL)
    with anyio.fail_after(30):
        while await anyio.Path(f"/proc/{pid}").exists():  # noqa: ASYNC110  # not our child
            await anyio.sleep(0.02)


@needs_sshd
@pytest.mark.threat("T22")
@pytest.mark.as_user
async def test_a_host_with_another_key_is_refused_before_anything_runs(
    server: Server, tmp_path: Path
):
    wrong = keygen(tmp_path / "other")
    host = replace(host_of(server), host_keys=(wrong,), fingerprints=(fingerprint(wrong),))
    outcome = await run(command(host, script=f"touch {tmp_path}/ran"))
    assert outcome.hosts[0].status == "blocked"
    assert fingerprint(wrong) in outcome.hosts[0].message
    assert host_of(server).fingerprints[0] in outcome.hosts[0].message  # who answered instead
    assert not (tmp_path / "ran").exists()


@needs_sshd
@pytest.mark.threat("T22")
async def test_a_key_whose_fingerprint_was_not_permitted_is_not_trusted(
    server: Server, tmp_path: Path
):
    host = replace(host_of(server), fingerprints=("SHA256:other",))
    outcome = await run(command(host, script=f"touch {tmp_path}/ran"))
    assert outcome.hosts[0].status == "blocked"
    assert not (tmp_path / "ran").exists()


@needs_sshd
async def test_a_refused_login_says_for_whom(server: Server, tmp_path: Path):
    keygen(tmp_path / "foreign")
    host = replace(host_of(server), identity_files=(str(tmp_path / "foreign"),))
    outcome = await run(command(host, argv=("true",)))
    assert outcome.hosts[0].status == "error"
    assert repr(server.user) in outcome.hosts[0].message


@needs_sshd
async def test_a_missing_identity_file_is_an_error_with_its_name(server: Server, tmp_path: Path):
    host = replace(host_of(server), identity_files=(str(tmp_path / "nope"),))
    outcome = await run(command(host, argv=("true",)))
    assert outcome.hosts[0].status == "error"
    assert "nope" in outcome.hosts[0].message


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts and never speaks."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


@needs_sshd
@pytest.mark.threat("T22")
async def test_dead_hosts_delay_neither_the_living_nor_one_another(server: Server, silent: int):
    alive = host_of(server)
    dead = [replace(alive, name=f"dead{n}", port=silent) for n in range(6)]
    started = time.monotonic()
    outcome = await run(command(*dead, alive, argv=("true",), max_parallel=1), connect_s=1.5)
    assert time.monotonic() - started < 4
    assert [h.status for h in outcome.hosts] == ["timeout"] * 6 + ["ok"]
    assert [h.host for h in outcome.hosts] == [*(f"dead{n}" for n in range(6)), "one"]
    assert outcome.status == "timeout"


@needs_sshd
async def test_a_failure_stops_the_hosts_that_have_not_started(server: Server, tmp_path: Path):
    hosts = [replace(host_of(server), name=name) for name in "abc"]
    script = f"echo x >> {tmp_path}/ran; [ $(wc -l < {tmp_path}/ran) -lt 2 ]"
    outcome = await run(command(*hosts, script=script, stop_on_failure=True, max_parallel=1))
    assert [h.status for h in outcome.hosts] == ["ok", "failed", "blocked"]
    assert "not started: b failed" in outcome.hosts[2].message
    assert (tmp_path / "ran").read_text() == "x\nx\n"


@needs_sshd
async def test_no_more_than_max_parallel_run_at_once(server: Server, tmp_path: Path):
    hosts = [replace(host_of(server), name=f"h{n}") for n in range(5)]
    script = f"cd {tmp_path}; touch r.$$; set -- r.*; echo $# >> seen; sleep 0.15; rm r.$$"
    await run(command(*hosts, script=script, max_parallel=2))
    assert {int(line) for line in (tmp_path / "seen").read_text().split()} <= {1, 2}


@needs_sshd
@pytest.mark.threat("T22")
async def test_a_jump_is_verified_like_the_host_behind_it(server: Server, tmp_path: Path):
    behind = host_of(server)
    good = replace(behind, jumps=(replace(behind, name="gate"),))
    assert (await run(command(good, argv=("true",)))).status == "ok"
    wrong = keygen(tmp_path / "other")
    bad_gate = replace(behind, host_keys=(wrong,), fingerprints=(fingerprint(wrong),))
    outcome = await run(command(replace(behind, jumps=(bad_gate,)), script=f"touch {tmp_path}/ran"))
    assert outcome.hosts[0].status == "blocked"
    assert not (tmp_path / "ran").exists()


@needs_sshd
async def test_the_agent_is_not_forwarded(server: Server):
    outcome = await run(command(host_of(server), script="echo ${SSH_AUTH_SOCK-none}"))
    assert outcome.hosts[0].stdout.head == b"none\n"


async def test_a_permit_is_spent_by_its_first_run():
    office = PermitOffice()
    action = command(argv=("true",))
    permit = office.issue(action, approved_digest=digest(action), approval_id=None)
    await RemoteRunner(office).run(permit)
    with pytest.raises(PermitError, match="spent"):
        await RemoteRunner(office).run(permit)


@pytest.mark.threat("T22")
def test_sudo_is_a_prefix_of_an_argument_vector_only():
    assert "'sudo' '-n' '--' 'id'" in script_of(command(argv=("id",), sudo=True))
    with pytest.raises(SandboxError, match="argument vector"):
        script_of(command(script="id", sudo=True))


@pytest.mark.parametrize(
    "changes", [{}, {"argv": ("a",), "script": "b"}, {"argv": ()}, {"argv": ("a\0b",)}]
)
async def test_a_command_without_one_meaning_runs_nowhere(changes: dict[str, object]):
    nowhere = RemoteHost("x", "127.0.0.1", 9, "nobody", ())
    outcome = await run(command(nowhere, **changes))
    assert (outcome.status, outcome.hosts) == ("error", ())


async def test_a_command_for_no_host_is_an_error():
    assert (await run(command(argv=("true",)))).message == "no host is named; nothing ran"


@needs_sshd
async def test_a_key_type_this_client_does_not_know_is_passed_over(server: Server):
    host = host_of(server)
    unknown = ("ssh-new@example AAAAD3NzaC1uZXdAZXhhbXBsZQ==", *host.host_keys)
    assert (await run(command(replace(host, host_keys=unknown), argv=("true",)))).status == "ok"


@needs_sshd
@pytest.mark.threat("T22")
async def test_a_connection_that_breaks_is_said_with_what_may_have_happened(server: Server):
    # The script ends the server's process for this connection: the parent of its shell.
    outcome = await run(command(host_of(server), script="kill -9 $PPID; sleep 5"))
    (host,) = outcome.hosts
    assert (host.status, host.exit_code) == ("error", None)
    assert "may" in host.message


def test_every_byte_of_a_word_is_literal():
    assert quoted("a'b") == "'a'\\''b'"
    assert quoted("") == "''"
    assert os.path.sep not in quoted("$x")
