"""Remote commands over SSH: permitted script in on standard input, bounded outcomes out.

May touch: the network, for the hosts of a permit, whose keys are pinned in it; identity files and
the agent, for authentication. Nothing is forwarded, no user configuration is read here, and the
text a login shell sees is a constant: quoting for an unknown shell would be an injection.
"""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import anyio
import asyncssh  # noqa: TID251  # the one module that reaches other hosts
from typing_extensions import override

from sandbox.action import RemoteCommand, RemoteHost
from sandbox.outcome import NO_OUTPUT, HostOutcome, RemoteOutcome, Status
from sandbox.output import Collector
from sandbox.permit import Permit, PermitOffice, SandboxError

EXEC_TEXT = (
    "exec /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "
    "LC_ALL=C.UTF-8 /bin/bash --noprofile --norc -s"
)
CONNECT_S = 10.0
_CONNECTIONS = 64  # being opened at a time; a host that does not answer holds none of the run slots
_DRAIN_S = 0.5  # for output that is still under way when the command has ended
_CHUNK = 1 << 15
_POLL_S = 0.02


def script_of(command: RemoteCommand) -> str:
    """Return the text for bash's standard input.

    A group is read to its end before anything in it runs, so a connection that breaks half way
    runs nothing, and the commands in it cannot read the rest of the script as their input.

    Raises:
        SandboxError: neither or both of argv and script, sudo without argv, NUL in a word.
    """
    if (command.argv is None) == (command.script is None):
        raise SandboxError("a remote command is either an argument vector or a script")
    if command.argv is not None:
        words = ("sudo", "-n", "--", *command.argv) if command.sudo else command.argv
        if not command.argv or any("\0" in word for word in words):
            raise SandboxError("the argument vector is empty or contains NUL")
        # exec: a program is meant, never a builtin of the remote shell.
        body = "exec -- " + " ".join(map(quoted, words))
    else:
        if command.sudo:
            raise SandboxError("sudo takes an argument vector, not a script")
        body = command.script or ""
    return f"{{\n{body}\n}} </dev/null\n"


def quoted(word: str) -> str:
    """Return a word in single quotes, in which bash leaves every byte as it is."""
    return "'" + word.replace("'", "'\\''") + "'"


class RemoteRunner:
    """Runs permitted remote commands; holds no connection between them."""

    def __init__(self, office: PermitOffice, *, connect_s: float = CONNECT_S) -> None:
        self._office = office
        self._connect_s = connect_s

    async def run(self, permit: Permit) -> RemoteOutcome:
        """Return every host's outcome, in the order of the permit.

        Raises:
            PermitError: the permit is spent, foreign or for another kind of action.
        """
        command = self._office.redeem(permit, RemoteCommand)
        if not command.hosts:
            return RemoteOutcome("error", message="no host is named; nothing ran")
        try:
            script = script_of(command).encode()
        except (SandboxError, UnicodeEncodeError) as error:
            return RemoteOutcome("error", message=f"{error}; nothing ran")
        fleet = _Fleet(command, script, self._connect_s)
        async with anyio.create_task_group() as tasks:
            for index in range(len(command.hosts)):
                tasks.start_soon(fleet.one, index)
        outcomes = tuple(outcome for outcome in fleet.outcomes if outcome is not None)
        return RemoteOutcome(_of_all(outcomes), outcomes)


def _of_all(outcomes: Sequence[HostOutcome]) -> Status:
    """Return the first status that is not ok; a host that was not started follows another's."""
    found: Status = "ok"
    for outcome in outcomes:
        if found == "ok" or (found == "blocked" and outcome.status != "ok"):
            found = outcome.status
    return found


class _Fleet:
    """The hosts of one command, their slots, and what became of each."""

    def __init__(self, command: RemoteCommand, script: bytes, connect_s: float) -> None:
        self.outcomes: list[HostOutcome | None] = [None] * len(command.hosts)
        self._command = command
        self._script = script
        self._connect_s = min(connect_s, command.timeout_s)
        self._slots = anyio.Semaphore(max(1, command.max_parallel))
        self._connecting = anyio.Semaphore(_CONNECTIONS)
        self._turns = [anyio.Event() for _ in command.hosts]
        self._failed: str | None = None

    async def one(self, index: int) -> None:
        """Run the command on one host and keep its outcome."""
        host = self._command.hosts[index]
        if self._command.stop_on_failure:
            # In the order named: a host starts only when its turn has come and a slot is free.
            if index:
                await self._turns[index - 1].wait()
            async with self._slots:
                self._turns[index].set()
                self.outcomes[index] = await self._unless_failed(host)
        else:
            self.outcomes[index] = await self._whole(host, self._slots)

    async def _unless_failed(self, host: RemoteHost) -> HostOutcome:
        if self._failed is not None:
            return _outcome(host, "blocked", message=f"not started: {self._failed} failed before")
        outcome = await self._whole(host, anyio.Semaphore(1))
        if outcome.status != "ok":
            self._failed = host.name
        return outcome

    async def _whole(self, host: RemoteHost, slots: anyio.Semaphore) -> HostOutcome:
        witnesses: list[str] = []
        try:
            async with AsyncExitStack() as stack:
                async with self._connecting:
                    with anyio.fail_after(self._connect_s):
                        connection = await _connect(stack, host, witnesses)
                async with slots:
                    return await self._run(connection, host)
        except TimeoutError:
            return _outcome(
                host, "timeout", message=f"no connection within {self._connect_s:g} s; nothing ran"
            )
        except asyncssh.PermissionDenied:
            return _outcome(
                host,
                "error",
                message=f"the host refused every key for user {host.user!r}; nothing ran",
            )
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed):
            return _outcome(host, "blocked", message=_wrong_key(host, witnesses))
        except (OSError, asyncssh.Error, asyncssh.KeyImportError) as error:
            return _outcome(host, "error", message=f"no connection: {error}; see the host's log")

    async def _run(self, connection: asyncssh.SSHClientConnection, host: RemoteHost) -> HostOutcome:
        key = connection.get_server_host_key()
        answered = "" if key is None else key.get_fingerprint()
        if answered not in host.fingerprints:  # checked by the handshake; checked again before use
            return _outcome(host, "blocked", message=_wrong_key(host, [answered]))
        started = time.monotonic()
        out, err = Collector(self._command.output_bytes), Collector(self._command.output_bytes)
        try:
            status, exit_code, message = await self._converse(connection, (out, err))
        except (OSError, asyncssh.Error) as error:
            status, exit_code = "error", None
            message = f"the connection broke ({error}); the command may have run, or still run"
        return HostOutcome(
            host.name,
            status,
            exit_code,
            int((time.monotonic() - started) * 1000),
            out.close(),
            err.close(),
            answered,
            message,
        )

    async def _converse(
        self, connection: asyncssh.SSHClientConnection, collectors: Sequence[Collector]
    ) -> tuple[Status, int | None, str]:
        process: asyncssh.SSHClientProcess[bytes] | None = None
        with anyio.move_on_after(self._command.timeout_s) as limit:
            process = await connection.create_process(
                EXEC_TEXT, encoding=None, request_pty=False, env=(), send_env=()
            )
            await _converse(process, self._script, collectors)
        if limit.cancelled_caught and process is not None:
            # The request must leave before the connection ends. sshd passes it on only where it
            # separates privileges, so a command of root may live on; the message says so.
            process.terminate()
            with anyio.move_on_after(_DRAIN_S):
                await process.wait_closed()
        return _ending(process, late=limit.cancelled_caught)


def _ending(
    process: "asyncssh.SSHClientProcess[bytes] | None", *, late: bool
) -> tuple[Status, int | None, str]:
    if late or process is None:
        return "timeout", None, "time is over; it was told to end, but may still run on the host"
    if process.exit_signal is not None:
        return "killed", None, f"ended by signal {process.exit_signal[0]}"
    code = process.exit_status
    if code is None:
        return "error", None, "the connection ended before the command; it may still run there"
    return ("ok" if code == 0 else "failed"), code, ""


async def _converse(
    process: "asyncssh.SSHClientProcess[bytes]", script: bytes, collectors: Sequence[Collector]
) -> None:
    """Send the script and collect both streams until the command and its output have ended."""

    async def collect(stream: "asyncssh.SSHReader[bytes]", collector: Collector) -> None:
        with suppress(OSError, asyncssh.Error):  # a broken connection shows as no exit status
            while chunk := await stream.read(_CHUNK):
                collector.feed(chunk)

    async def end_soon(scope: anyio.CancelScope) -> None:
        # A grandchild that holds the stream open must not delay the answer.
        while process.exit_status is None and process.exit_signal is None:  # noqa: ASYNC110  # asyncssh tells only when the streams have ended too
            await anyio.sleep(_POLL_S)
        await anyio.sleep(_DRAIN_S)
        scope.cancel()

    process.stdin.write(script)
    process.stdin.write_eof()
    async with anyio.create_task_group() as outer:
        outer.start_soon(end_soon, outer.cancel_scope)
        async with anyio.create_task_group() as readers:
            for stream, collector in zip((process.stdout, process.stderr), collectors, strict=True):
                readers.start_soon(collect, stream, collector)
        with anyio.move_on_after(_DRAIN_S):
            await process.wait_closed()
        outer.cancel_scope.cancel()


class _Witness(asyncssh.SSHClient):
    """Trusts no key that is not pinned; remembers what was offered instead."""

    def __init__(self, offered: list[str]) -> None:
        self._offered = offered

    @override
    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        self._offered.append(key.get_fingerprint())
        return False


async def _connect(
    stack: AsyncExitStack, host: RemoteHost, witnesses: list[str]
) -> asyncssh.SSHClientConnection:
    tunnel: asyncssh.SSHClientConnection | None = None
    for hop in (*host.jumps, host):
        tunnel = await _open(hop, tunnel, witnesses)
        stack.callback(tunnel.abort)
    if tunnel is None:
        raise SandboxError(f"{host.name!r} has no hop")
    return tunnel


async def _open(
    host: RemoteHost, tunnel: asyncssh.SSHClientConnection | None, witnesses: list[str]
) -> asyncssh.SSHClientConnection:
    pinned = [key for key in _keys(host) if key.get_fingerprint() in host.fingerprints]
    if not pinned:
        raise asyncssh.HostKeyNotVerifiable("no pinned key")
    return await asyncssh.connect(
        host.address,
        host.port,
        username=host.user,
        tunnel=tunnel,
        config=None,
        known_hosts=(pinned, [], []),
        client_factory=lambda: _Witness(witnesses),
        client_keys=_identities(host) or (),
        ignore_encrypted=True,
        agent_forwarding=False,
        x11_forwarding=False,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_auth=False,
        gss_kex=False,
        keepalive_interval=15,
    )


def _identities(host: RemoteHost) -> list[str]:
    return [str(Path(path).expanduser()) for path in host.identity_files]


def _keys(host: RemoteHost) -> list[asyncssh.SSHKey]:
    keys: list[asyncssh.SSHKey] = []
    for text in host.host_keys:
        with suppress(asyncssh.KeyImportError):  # a type this client does not know
            keys.append(asyncssh.import_public_key(text))
    return keys


def _wrong_key(host: RemoteHost, offered: Sequence[str]) -> str:
    seen = ", ".join(offered) or "a key of another type"
    return (
        f"{host.name!r} at {host.address}:{host.port} (or a jump to it) answered with {seen}, not "
        f"with a pinned key ({', '.join(host.fingerprints)}); nothing ran. Either the host was "
        "reinstalled (compare on its console, then replace its known_hosts line) or someone is "
        "in between"
    )


def _outcome(host: RemoteHost, status: Status, *, message: str) -> HostOutcome:
    return HostOutcome(host.name, status, None, 0, NO_OUTPUT, NO_OUTPUT, message=message)
