"""Seen, not claimed: a constant program tries the forbidden by the road every command takes.

May touch: a directory of its own below the state directory, and listeners of its own on the host,
all gone when the trial ends. Each control of a profile becomes one row; a control that did not
hold, or could not be tried, is `absent`, and then nothing runs in that profile.
"""

import os
import secrets
import shutil
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
from anyio import to_thread

from sandbox import attempts, leftovers
from sandbox.action import Command, Landing, Limits
from sandbox.enforcement import CONTROLS, Law
from sandbox.host import Control, HostFacts
from sandbox.network.model import Network
from sandbox.outcome import CommandOutcome
from sandbox.profile import Profile, ProfileName

LIMITS = Limits(wall_s=10.0, memory_bytes=24 << 20, processes=16, tmp_bytes=1 << 20)
MEMORY_MIB = 2 * LIMITS.memory_bytes >> 20
FILES = ("file", ".git/HEAD", ".git/config")  # of the workspace; the last make it a repository
BOUNDS = ("process count", "memory")  # what may be held by ending the trial
REPORT = (
    "the sandbox does not hold on this host: run permitgate doctor, update bubblewrap and the "
    "kernel, and report it if that does not help"
)
AGAIN = "the next command tries again; if this stays, run permitgate doctor"
NETWORK = Network((), (80,))  # a broker stands behind it, and refuses all that is tried
Kind = tuple[ProfileName, bool]  # and whether with a network
TryOut = Callable[[Command], Awaitable[CommandOutcome]]


class Canary:
    """Tries a profile before its first command, and remembers that it held.

    One that did not hold is tried again at the next command: a host may have been short of
    something, or its owner has mended it.
    """

    def __init__(self, host: HostFacts, state_dir: Path, try_out: TryOut) -> None:
        self._host, self._state_dir, self._try_out = host, state_dir, try_out
        # One name for all trials, so they share a cell; the next start sweeps it if this one dies.
        self.base = state_dir / leftovers.own_name("canary")
        self._seen: dict[Kind, tuple[Control, ...]] = {}
        self._lock = anyio.Lock()

    def seen(self, kind: Kind) -> tuple[Control, ...] | None:
        """Return the rows of a profile that was tried and held, else None."""
        return self._seen.get(kind)

    async def rows(self, kind: Kind) -> tuple[Control, ...]:
        """Return one row per control of the profile, as the kernel answered."""
        async with self._lock:
            if (seen := self.seen(kind)) is not None:
                return seen
            rows = await self._tried(kind)
            if all(row.seen != "absent" for row in rows):
                self._seen[kind] = rows
            return rows

    async def refusal(self, kind: Kind) -> str | None:
        """Return why nothing may run in the profile; None when every control held."""
        absent = [row for row in await self.rows(kind) if row.seen == "absent"]
        if not absent:
            return None
        evidence = "; ".join(f"{row.name}: {row.evidence}" for row in absent)
        name = f"{kind[0]} with a network" if kind[1] else kind[0]
        return f"profile {name} was tried here and does not hold ({evidence}): {absent[0].fix}"

    async def _tried(self, kind: Kind) -> tuple[Control, ...]:
        profile, has_network = kind
        laws = [law for law in CONTROLS if profile in law.profiles]
        with ExitStack() as stack:
            try:
                stage = await to_thread.run_sync(self._stage, profile, stack)
            except OSError as error:
                return (_unwritable(self._state_dir, error),)
            command = stage.command(profile, laws, self._host)
            if has_network:
                command = replace(command, profile=replace(command.profile, network=NETWORK))
            outcome = await self._try_out(command)
            answers = _read(outcome.stdout.head.decode("utf-8", "replace"), stage.heard())
        if not answers:
            said = outcome.message or outcome.stderr.head.decode("utf-8", "replace")
            return (Control("trial", "absent", f"it did not run: {said}", AGAIN),)
        judge = _Judge(self._host, profile, outcome, answers)
        return tuple(judge.row(law) for law in laws)

    def _stage(self, profile: ProfileName, stack: ExitStack) -> "Stage":
        # Where nothing can be covered, a door in a directory that may be written refuses the run.
        has_doors = not (self._host.rung == "landlock" and profile == "live")
        return Stage(self.base, stack, has_doors=has_doors)


class Stage:
    """What the trial is given to try: files, sockets and listeners that nothing else uses."""

    def __init__(self, base: Path, stack: ExitStack, *, has_doors: bool = True) -> None:
        base.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        base.mkdir(mode=0o700)
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        self._token = f"permitgate-canary-{secrets.token_hex(8)}"
        self._secret, self._workspace = base / "outside" / "secret", base / "workspace"
        self._left = Path("/tmp") / self._token  # noqa: S108  # the host's own, to see what arrives
        stack.callback(self._left.unlink, missing_ok=True)
        for name in ("hooks", "objects", "refs"):
            (self._workspace / ".git" / name).mkdir(parents=True)
        self._secret.parent.mkdir()
        for path in (self._secret, *(self._workspace / name for name in FILES)):
            path.write_text(self._token)
            path.chmod(0o600)
        self._tcp = _listen(stack, socket.AF_INET, ("127.0.0.1", 0))
        self._udp = _listen(stack, socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_DGRAM)
        _listen(stack, socket.AF_UNIX, f"\0{self._token}")
        _socket_in(base, stack)
        if has_doors:
            _socket_in(self._workspace, stack)
            os.mkfifo(self._workspace / "fifo")
            reader = os.open(self._workspace / "fifo", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, reader)

    def command(self, profile: ProfileName, laws: list[Law], host: HostFacts) -> Command:
        """Return the trial as a command like any other."""
        given = {
            "controls": ",".join(law.name for law in laws),
            "token": self._token,
            "secret": str(self._secret),
            "tmp": str(self._left),
            "tcp": str(self._tcp.getsockname()[1]),
            "udp": str(self._udp.getsockname()[1]),
            "pid": str(os.getpid()),
            "pid-namespace": str(Path("/proc/self/ns/pid").readlink()),
            "memory-mib": str(MEMORY_MIB),
        }
        program = Path(attempts.__file__).read_text("utf-8")
        words = (f"{name}={value}" for name, value in given.items())
        roots = (host.interpreter_prefix,) if host.interpreter_prefix else ()
        return Command(
            (host.interpreter, "-I", "-S", "-c", program, *words), None, verbatim=False,
            cwd=str(self._workspace), env=(), stdin=None,
            profile=Profile(profile, str(self._workspace), roots, unmasked=True), limits=LIMITS,
            pins=(),
            policy_digest="0" * 64,
            landing=Landing(discard=True),
        )  # fmt: skip

    def heard(self) -> set[str]:
        """Return the attempts that only the host can tell went well."""
        found = {"leave a file in the host's /tmp"} if self._left.exists() else set[str]()
        if (self._workspace / "left").exists():
            found.add("leave a file in the workspace itself")
        try:
            self._udp.recv(1)
        except BlockingIOError:
            return found
        return found | {"send to the host's loopback (UDP)"}


def _socket_in(folder: Path, stack: ExitStack) -> None:
    # A name of its own can be too long for an address; that of a descriptor never is.
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, directory)
    _listen(stack, socket.AF_UNIX, f"/proc/self/fd/{directory}/socket")


def _listen(
    stack: ExitStack,
    family: int,
    address: tuple[str, int] | str,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> socket.socket:
    listener = stack.enter_context(socket.socket(family, kind))
    listener.setblocking(False)
    listener.bind(address)
    if kind == socket.SOCK_STREAM:
        listener.listen()
    return listener


@dataclass(frozen=True, slots=True)
class _Answer:
    is_done: bool
    reason: str


def _read(said: str, heard: set[str]) -> dict[str, _Answer]:
    lines = (line.split("\t") for line in said.splitlines())
    return {
        words[1]: _Answer(words[2] == "done" or words[1] in heard, words[3])
        for words in lines
        if len(words) == len(("control", "what", "state", "reason"))
    }


@dataclass(frozen=True, slots=True)
class _Judge:
    host: HostFacts
    profile: ProfileName
    outcome: CommandOutcome
    answers: dict[str, _Answer]

    def row(self, law: Law) -> Control:
        """Return what the answers say of one control."""
        untried = self._untried(law)
        if untried and law.name in BOUNDS and self.outcome.status == "killed":
            return self._ended(law.name)
        if untried:
            return Control(law.name, "absent", f"could not be tried: {', '.join(untried)}", REPORT)
        done = [what for what in law.attempts if self.answers[what].is_done]
        permitted = {what for where, what in law.permitted if where in self._where()}
        if set(done) - permitted:
            return Control(law.name, "absent", f"possible: {', '.join(done)}", REPORT)
        evidence = "; ".join(
            f"{what}: {'possible' if what in done else self.answers[what].reason or 'no'}"
            for what in law.attempts
        )
        return Control(law.name, "partial" if done else "enforced", evidence)

    def _ended(self, name: str) -> Control:
        """Return the row of a bound whose trial ended the whole program, or came after such."""
        by = next(law.name for law in CONTROLS if law.name in BOUNDS and self._untried(law))
        if name != by:
            return Control(name, "partial", f"not tried alone: the trial was ended by its {by}")
        held = {control.name: control.seen for control in self.host.controls}
        is_sure = bool(self.host.cgroups) and held.get(name) == "enforced"
        evidence = "the whole trial was ended at its limit"
        return Control(name, "enforced" if is_sure else "partial", evidence)

    def _untried(self, law: Law) -> list[str]:
        return [what for what in law.attempts if what not in self.answers]

    def _where(self) -> tuple[str, str]:
        return self.profile, self.host.rung


def _unwritable(state_dir: Path, error: OSError) -> Control:
    return Control(
        "state directory",
        "absent",
        f"{error.filename or state_dir}: {error.strerror}",
        f"make {state_dir} writable for you, or set XDG_STATE_HOME to a directory that is",
    )
