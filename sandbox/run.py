"""Run one permitted command, confined as its profile says; the only door to local processes.

May touch: what cell.py, supervise.py, sight.py and changes/landing.py may, and its own state
directory. The numbered steps stand in `CommandRunner.run` and `_carry_out`.
"""

import hashlib
import os
import re
import signal
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from sandbox import environment
from sandbox.action import ABSENT, Command, Limits
from sandbox.canary import Canary, TryOut
from sandbox.canary import Kind as CanaryKind
from sandbox.cell import Cell, CellError, Cells, Plan, Seat
from sandbox.changes.landing import Ground, Lander
from sandbox.changes.overlay import refusal
from sandbox.changes.store import ChangeStore
from sandbox.host import Control, HostFacts
from sandbox.limits import met, sign_of
from sandbox.masks import Walker
from sandbox.mounting import MovedError
from sandbox.network.brokerage import Brokerage
from sandbox.network.model import Asks, Contact
from sandbox.outcome import NO_OUTPUT, CommandOutcome, Enforcement, Status
from sandbox.permit import Permit, PermitError, PermitOffice, SandboxError, no_connection
from sandbox.profile import Profile, ProfileName, is_within
from sandbox.sight import Scene, Unseen, look, no_workspace, sees_all
from sandbox.start import Starter
from sandbox.supervise import SETUP_S, Ended, Start, supervise
from sandbox.toolchains import Toolbox

MAX_PARALLEL = 128
LOOKS = 3  # what a view is made of may move while it is made; then it is looked at again
AGAIN = b"Fagain: "
NO_OVERLAY = b"overlay: "
_ENDED = re.compile(rb"X(\d+) ([\d.]+) ([\d.]+) (\d+)( full)?\Z")  # what was said before is text
INSTEAD = "Ask again: it will then write the workspace itself, without preview or undo."
SAID = (b"R", b"F")  # a stage that says neither was killed before it ran anything
CANARY_SESSION = "canary"
T = TypeVar("T")
UNTRIED: Final = ("unconfined", "look")  # the first holds nothing, the second has no namespace
# Hints only: the words programs print for what a profile refuses.
Hints = tuple[tuple[bytes, str], ...]
REFUSALS: Hints = (
    (b"Read-only file system", "the profile shows that path read-only"),
    (
        b"Invalid cross-device link",
        "a directory was renamed, which a copy of the workspace refuses; ask with profile: live",
    ),
    (
        b"hardlink different from source",
        "a copy of the workspace gives linked files new numbers; clone with --no-hardlinks",
    ),
)
NO_NETWORK = "the profile has no network; name the hosts it needs: exec with network: [...]"
WITHOUT_NETWORK: Hints = tuple(
    (words, NO_NETWORK)
    for words in (
        b"Network is unreachable",
        b"Temporary failure in name resolution",
        b"Could not resolve host",
    )
)


COPYLESS: Final = ("workspace copy", "partial")  # `live` stands for `write`, and that is said
LOOKING: Final = (
    ("filesystem", "partial"),
    ("network", "partial"),
    ("processes", "partial"),
    ("time-out", "enforced"),
)


@dataclass(frozen=True, slots=True)
class Who:
    """Whose command it is, and whether a person said yes to it."""

    session: str
    was_asked: bool = False
    connects: Asks = no_connection


@dataclass(frozen=True, slots=True)
class _Lent:
    """A seat for one command, and the cell that it is in."""

    plan: Plan
    cell: Cell
    seat: Seat


@dataclass(frozen=True, slots=True)
class _Copy:
    """The layer of one command, and the seat that lays its copy out already, if one was known."""

    ground: Ground
    lent: _Lent | None


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """What policy denies, but for the trial's own directory: it lies where everything is denied."""

    denies: Callable[[str], bool]
    trial: str

    @property
    def edition(self) -> object:
        return getattr(self.denies, "edition", None)

    def __call__(self, path: str) -> bool:
        return not is_within(path, self.trial) and self.denies(path)


class CommandRunner:
    """Carries out `Command` permits on this host; one runner per server."""

    def __init__(
        self,
        office: PermitOffice,
        host: HostFacts,
        denies: Callable[[str], bool],
        state_dir: Path,
        lander: Lander | None = None,
    ) -> None:
        self._office, self._host, self._state_dir = office, host, state_dir
        self._canary = Canary(host, state_dir, _weakly(weakref.WeakMethod(self._try_out)))
        self._denies = _Elsewhere(denies, str(self._canary.base))
        self._lander = lander or Lander(ChangeStore(state_dir / "changes"), lambda *_: ())
        self._no_copy: dict[str, str] = {}  # workspaces that could not be copied, and why
        self._walker = Walker(self._denies)
        self._limiter = anyio.CapacityLimiter(MAX_PARALLEL)
        self._tools = Toolbox(host)
        self._starter = Starter(host)
        self._cells, self._broker = Cells(), Brokerage()
        self._running = Counter[str]()  # commands of each session
        weakref.finalize(self, self._cells.close)
        weakref.finalize(self, self._broker.close)

    def close(self) -> None:
        """End every cell; a command that still runs in one is killed."""
        self._cells.close()
        self._broker.close()
        self._lander.close()

    def sees_all(self, profile: Profile) -> bool:
        """Return whether every denied file this profile would show can be found and covered."""
        return sees_all(profile, self._tools, self._walker, self._denies)

    def no_copy(self, workspace: str) -> str:
        """Return why no command can write a copy of a workspace here; "" where it can."""
        return self._no_copy.get(workspace) or refusal(self._host, workspace, self._state_dir)

    async def run(self, permit: Permit) -> CommandOutcome:
        """Run the permitted command to its end and return what became of it.

        A cancelled call kills the tree and still returns (`killed`), so that it can be recorded;
        the caller's next checkpoint raises.

        Raises:
            PermitError: the permit is spent or foreign, or a pinned file is no longer the one that
                was decided; nothing ran.
        """
        # 1. The permit is spent first: whatever fails from here on, it cannot be tried again.
        command = self._office.redeem(permit, Command)
        if refusal := await self._unheld(command):
            return self._error(command, refusal)
        was_asked = permit.approval_id is not None
        who = Who(permit.session, was_asked, permit.connects)
        return await self._in_thread(command, who)

    async def tried(self, profile: ProfileName) -> tuple[Control, ...]:
        """Return what a constant program could not do in a profile: a row for each control."""
        return await self._canary.rows((profile, False))

    async def _unheld(self, command: Command) -> str | None:
        """Return why the profile does not hold on this host, tried before its first command."""
        name = command.profile.name
        kind = _kind(command.profile)
        if name in UNTRIED or self._canary.seen(kind) is not None or self._refusal(command):
            return None
        return await self._canary.refusal(kind)

    async def _try_out(self, command: Command) -> CommandOutcome:
        """Run the canary's constant program as a command is run; nobody else asks for it."""
        return await self._in_thread(command, Who(CANARY_SESSION))

    async def _in_thread(self, command: Command, who: Who) -> CommandOutcome:
        cancel_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._running[who.session] += 1
        try:
            # A cancellation kills the tree; what the command planted is still taken out.
            ended = await _to_its_end(
                partial(self._carry_out, command, who, cancel_fd),
                partial(os.eventfd_write, cancel_fd, 1),
                self._limiter,
            )
        finally:
            os.close(cancel_fd)
            self._running -= Counter([who.session])
        return ended or self._error(command, "it was cancelled")

    def _carry_out(self, command: Command, who: Who, cancel_fd: int) -> CommandOutcome:
        """Do all of it in one thread; raises as `run` does."""
        # 2. What cannot be enforced is not run.
        refusal = self._refusal(command)
        if refusal is not None:
            return self._error(command, refusal)
        for _ in range(LOOKS):
            ended = self._attempt(command, who, cancel_fd)
            if ended is not None:
                return ended
        return self._error(command, "what it may see kept changing while it was set up; try again")

    def _attempt(self, command: Command, who: Who, cancel_fd: int) -> CommandOutcome | None:
        """Return None when nothing ran because files moved meanwhile: look again."""
        try:
            with self._copy(command, who) as copy:
                # 3. What the command may see, found now; anything uncertain refuses.
                scene = look(command, self._tools, self._walker, self._denies, self._state_dir)
                if isinstance(scene, Unseen):
                    return self._error(command, scene.reason)
                # 4. The files that will be executed are the ones that were decided.
                _check_pins(command)
                # 5. Run it; cancellation kills the tree before this returns.
                if copy is None:
                    return self._in_place(command, scene, who, cancel_fd)
                return self._on_copy(copy, command, scene, who, cancel_fd)
        except MovedError:
            return None
        except (OSError, ValueError) as error:
            return self._error(command, f"the sandbox could not be started: {error}")

    @contextmanager
    def _copy(self, command: Command, who: Who) -> Iterator[_Copy | None]:
        """Give a command that writes a copy of the workspace its layer.

        Where the cell is known that such a command had last, a seat of it lays the copy out
        while it is looked for what the command may see.
        """
        if command.profile.name != "write":
            yield None
            return
        with self._lander.begin(command, who.session) as ground, ExitStack() as stack:
            lent = None
            with suppress(CellError):
                if plan := self._starter.expected(command, who.session):
                    known = stack.enter_context(self._lent(plan, command))
                    known.seat.lay(command.profile.workspace, ground.layers)
                    lent = known
            yield _Copy(ground, lent)

    def _in_place(
        self, command: Command, scene: Scene, who: Who, cancel_fd: int
    ) -> CommandOutcome | None:
        how = self._starter.start(command, scene, who.session)
        ended, contacts = self._supervised(how, command, who, cancel_fd)
        # 6. What the command planted is taken out.
        if ended.report.startswith(AGAIN):
            return None
        outcome = self._outcome(command, ended, scene.hidden, scene.sweep())
        return replace(outcome, contacts=contacts)

    def _on_copy(
        self, copy: _Copy, command: Command, scene: Scene, who: Who, cancel_fd: int
    ) -> CommandOutcome | None:
        """Run a command on a copy of the workspace, and land what it did there."""
        ground = replace(copy.ground, behind=scene.behind)
        how = self._starter.start(command, replace(scene, layers=ground.layers), who.session)
        if copy.lent is not None and copy.lent.plan != how.plan:
            return None  # it has another cell by now, which is expected the next time
        ended, contacts = self._supervised(how, command, who, cancel_fd, copy.lent)  # 5
        if ended.report.startswith(AGAIN):
            return None
        outcome = self._outcome(command, ended, scene.hidden, ())
        outcome = replace(outcome, contacts=contacts)
        if NO_OVERLAY in ended.report:
            self._no_copy[command.profile.workspace] = outcome.message
            return replace(outcome, message=f"{outcome.message} {INSTEAD}")
        if outcome.status == "error" or ended.cause == "cancelled":
            return outcome  # what was stopped has done nothing
        # 6. What it did is committed as a set, or held. Commands of a session share /tmp, where one
        # can hand another a file that it has open: what lands is then a copy, which nobody has.
        is_alone = self._running[who.session] == 1
        done = self._lander.finish(ground, command, was_asked=who.was_asked, is_alone=is_alone)
        return replace(outcome, effects=done)

    def _supervised(
        self, how: Start, command: Command, who: Who, cancel_fd: int, lent: _Lent | None = None
    ) -> tuple[Ended, tuple[Contact, ...]]:
        if how.plan is None:
            return supervise(how, command.limits, cancel_fd), ()
        # Where nothing ran, the cell was broken, and a new one is as good.
        try:
            ended, contacts = self._connected(lent or how.plan, how, command, who, cancel_fd)
        except CellError:
            if lent is not None:
                self._cells.retire(lent.cell)
        else:
            if not _is_broken(ended):
                return ended, contacts
        return self._connected(how.plan, how, command, who, cancel_fd)

    def _connected(
        self, where: Plan | _Lent, how: Start, command: Command, who: Who, cancel_fd: int
    ) -> tuple[Ended, tuple[Contact, ...]]:
        """Run a command in a cell, with a line to the broker where it may reach something."""
        network = command.profile.network
        if network is None:
            return self._in_cell(where, how, command, cancel_fd), ()
        line = self._broker.line(network, who.connects)
        contacts: tuple[Contact, ...] = ()
        try:
            how = replace(how, broker=line.seat.fileno())
            ended = self._in_cell(where, how, command, cancel_fd)
        finally:
            contacts = line.end()
        return ended, contacts

    def _in_cell(self, where: Plan | _Lent, how: Start, command: Command, cancel_fd: int) -> Ended:
        with ExitStack() as stack:
            if isinstance(where, Plan):
                where = stack.enter_context(self._lent(where, command))
            ended = supervise(how, command.limits, cancel_fd, where.seat)
            if not ended.report.startswith(SAID) and not ended.cause:
                raise CellError("the cell ended before the command ran")
        if ended.report.endswith(b" full") or _is_broken(ended):
            self._cells.retire(where.cell)  # its /tmp or home is full, or shut; a new one's is not
        return ended

    @contextmanager
    def _lent(self, plan: Plan, command: Command) -> Iterator[_Lent]:
        with self._cells.seat(plan, b"S" if command.profile.network is None else b"N") as taken:
            yield _Lent(plan, *taken)

    def _refusal(self, command: Command) -> str | None:
        if (command.argv is None) == (command.script is None):
            return "the action holds neither one argument vector nor one script"
        names = environment.steering(command.env) if command.script is not None else ()
        if names:
            return (
                f"{', '.join(names)} would change how the script itself is read. "
                "Set it for one command inside the script: env NAME=VALUE command"
            )
        if reason := no_workspace(command.profile):
            return reason
        if command.profile.name == "unconfined":
            return None
        return self._host.refusal(command.profile.name) or self._unoffered(command.profile)

    def _unoffered(self, profile: Profile) -> str | None:
        """Return what a profile needs beside its rung, where this host has it not."""
        if profile.network is not None and not self._host.has_broker:
            return "this host offers no network namespace inside, so no command here has a network"
        if profile.name == "inspect" and not self._host.landlock_abi:
            return (
                "inspect shows the host's processes, which only Landlock keeps apart; it is absent"
            )
        return None

    def _enforcement(self, command: Command) -> Enforcement:
        if command.profile.name == "unconfined":
            return Enforcement("unconfined", "none", (("time-out", "enforced"),))
        if command.profile.name == "look":
            return Enforcement("look", "seccomp-only", LOOKING)
        rows = self._canary.seen(_kind(command.profile)) or ()
        controls = tuple((row.name, row.seen) for row in rows)
        if command.profile.no_copy:
            controls = (*controls, COPYLESS)
        return Enforcement(command.profile.name, self._host.rung, controls)

    def _error(self, command: Command, message: str) -> CommandOutcome:
        return CommandOutcome(
            "error", None, None, 0, NO_OUTPUT, NO_OUTPUT, self._enforcement(command),
            hidden=command.profile.hidden, message=f"{message}. Nothing ran.",
        )  # fmt: skip

    def _outcome(
        self, command: Command, ended: Ended, hidden: tuple[str, ...], held: tuple[str, ...]
    ) -> CommandOutcome:
        end = _End(ended, command.limits)
        status, message = end.status(_hints(command.profile))
        if end.is_full:
            message = f"{message} {met('tmp', command.limits)} Both were emptied.".strip()
        if held:
            message = (message + " " if message else "") + (
                f"Held back, as these names make other tools run code: {', '.join(held)}. "
                f"What was moved is in {self._state_dir}/held."
            )
        return CommandOutcome(
            status, end.exit_code, end.signal, ended.duration_ms, ended.stdout, ended.stderr,
            self._enforcement(command), hidden, end.cpu_user_ms, end.cpu_system_ms,
            max(ended.peak_memory_bytes, end.peak_memory_bytes), message,
        )  # fmt: skip


class _End:
    """The stage's report (see confine.py), read."""

    def __init__(self, ended: Ended, limits: Limits) -> None:
        self._ended, self._limits = ended, limits
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.cpu_user_ms = self.cpu_system_ms = self.peak_memory_bytes = 0
        self.is_full = False
        end = _ENDED.search(ended.report)
        head = ended.report[: end.start()] if end else ended.report
        self._ran = head.startswith(b"R")
        self._trouble = head.removeprefix(b"R").decode("utf-8", "replace")
        if end:
            status, user, system, peak, full = end.groups()
            self.is_full = bool(full)
            code = os.waitstatus_to_exitcode(int(status))
            self.exit_code = code if code >= 0 else None
            self.signal = -code if code < 0 else None
            self.cpu_user_ms = round(float(user) * 1000)
            self.cpu_system_ms = round(float(system) * 1000)
            self.peak_memory_bytes = int(peak) << 10

    def status(self, hints: Hints) -> tuple[Status, str]:
        """Return the status and what a reader should know; `hints` are what its words may mean."""
        cause = self._ended.cause
        if cause == "cancelled":
            return "killed", "the call was cancelled; everything it had started was killed."
        if cause and self._ran:
            status: Status = "timeout" if cause == "timeout" else "killed"
            return status, f"{met(cause, self._limits)} Everything it had started was killed."
        if not self._ran or self._trouble:
            self.exit_code = self.signal = None
            return "error", self._failure()
        return self._own_end(hints)

    def _own_end(self, hints: Hints) -> tuple[Status, str]:
        if self.exit_code == 0:
            return "ok", ""
        said = self._ended.stderr.head + self._ended.stderr.tail
        if limit := sign_of(self.exit_code, self.signal, said):
            hint = f"{met(limit, self._limits)} (a hint, from how it ended.)"
            return ("killed" if self.signal else "failed"), hint
        if self.signal is not None:
            return "killed", f"ended by {_signal_name(self.signal)}."
        if self.exit_code is None:
            return "killed", "somebody killed the sandbox from outside while the command ran."
        for words, meaning in hints:
            if words in said:
                return "blocked", f"it looks as if {meaning} (a hint, from what it printed)."
        return "failed", ""

    def _failure(self) -> str:
        if self._trouble.startswith("E"):
            reason = os.strerror(int(self._trouble[1:]))
            return f"the program could not be executed in this profile's view: {reason}."
        said = self._ended.stderr.head.decode("utf-8", "replace").strip()
        late = f"it did not stand after {SETUP_S:g} s" if self._ended.cause == "timeout" else ""
        reason = self._trouble.removeprefix("F") or said or late or self._ended.cause or "no report"
        return f"the sandbox could not be set up: {reason}. The command did not run."


def _is_broken(ended: Ended) -> bool:
    """Return whether a cell could not set a command up, for another reason than its files."""
    return ended.report.startswith(b"F") and not (
        ended.cause or ended.report.startswith(AGAIN) or NO_OVERLAY in ended.report
    )


def _kind(profile: Profile) -> CanaryKind:
    return profile.name, profile.network is not None


def _hints(profile: Profile) -> Hints:
    """Return what a program's words may mean in a profile; outside the sandbox, nothing."""
    if profile.name == "unconfined":
        return ()
    return REFUSALS if profile.network is not None else REFUSALS + WITHOUT_NETWORK


def _weakly(method: "weakref.WeakMethod[TryOut]") -> TryOut:
    """Return a call of the runner that does not keep it: its descriptors end with its last user."""

    async def try_out(command: Command) -> CommandOutcome:
        alive = method()
        if alive is None:
            raise SandboxError("the runner was closed while its canary ran; nothing ran")
        return await alive(command)

    return try_out


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return f"signal {number}"


async def _to_its_end(
    work: Callable[[], T], cancel: Callable[[], object], limiter: anyio.CapacityLimiter
) -> T | None:
    """Run work in a thread to its end, also where the caller is cancelled: the work is told.

    Return None where it was cancelled before it began.
    """
    begun, over = threading.Lock(), threading.Event()
    found: list[T] = []

    def run() -> None:
        if begun.acquire(blocking=False):
            try:
                found.append(work())
            finally:
                over.set()

    try:
        await anyio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=limiter)
    except anyio.get_cancelled_exc_class():
        if not begun.acquire(blocking=False):
            cancel()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(over.wait, limiter=anyio.CapacityLimiter(1))
    return found[0] if found else None


def _check_pins(command: Command) -> None:
    for pin in command.pins:
        try:
            with Path(pin.path).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            found = ABSENT
        except OSError as error:
            raise PermitError(
                f"approval_mismatch: {pin.path} cannot be read any more ({error.strerror}); "
                "nothing ran. Ask again"
            ) from error
        if found != pin.sha256:
            raise PermitError(
                f"approval_mismatch: {pin.path} changed after it was decided; nothing ran. "
                "Ask again"
            )
