"""A workspace, something outside it, and a runner with real permits: what the run tests share."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sandbox.action import Command, Limits, Pin, digest
from sandbox.changes.landing import Lander
from sandbox.changes.model import Reason
from sandbox.changes.store import ChangeStore
from sandbox.host import Control, HostFacts
from sandbox.outcome import CommandOutcome
from sandbox.permit import Permit, PermitOffice
from sandbox.probe import probe
from sandbox.profile import Profile, ProfileName
from sandbox.run import CommandRunner

HOST = probe()
SEEN: dict[ProfileName, tuple[Control, ...]] = {}  # what the canary saw of HOST once
OPEN: "list[Rig]" = []  # those whose cells still wait; conftest.py closes them


@dataclass
class Rig:
    """One runner over one workspace; `denied` names are unreadable by policy."""

    base: Path
    host: HostFacts = HOST
    denied: set[str] = field(default_factory=set)
    office: PermitOffice = field(default_factory=PermitOffice)
    reasons: list[Reason] = field(default_factory=list)  # policy's, against every change set
    judged: list[tuple[object, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workspace = self.base / "workspace"
        self.outside = self.base / "outside"
        self.state = self.base / "state"
        self.workspace.mkdir()
        self.outside.mkdir()
        self.store = ChangeStore(self.state / "changes")
        self.runner = CommandRunner(
            self.office,
            self.host,
            lambda path: Path(path).name in self.denied,
            self.state,
            Lander(self.store, self._judge),
        )
        if self.host == HOST:
            self.runner._canary._seen = SEEN  # each runner would try each profile again
        OPEN.append(self)

    def _judge(
        self, workspace: str, changes: Sequence[tuple[str, str]], was_asked: bool
    ) -> Sequence[Reason]:
        self.judged.append((workspace, *changes, was_asked))
        return self.reasons

    def script(self, text: str, profile: ProfileName = "read") -> Command:
        return Command(
            None, text, False, str(self.workspace), (), None,
            Profile(profile, str(self.workspace)), Limits(wall_s=10.0), (), "0" * 64,
        )  # fmt: skip

    def vector(self, *argv: str, profile: ProfileName = "read") -> Command:
        return replace(self.script("", profile), argv=argv, script=None)

    def permit(self, command: Command) -> Permit:
        return self.office.issue(command, approved_digest=digest(command), approval_id=None)

    async def run(self, command: Command) -> CommandOutcome:
        return await self.runner.run(self.permit(command))

    async def says(self, text: str, profile: ProfileName = "read") -> str:
        outcome = await self.run(self.script(text, profile))
        return outcome.stdout.head.decode()


def limited(command: Command, limits: Limits) -> Command:
    return replace(command, limits=limits)


def pinned(command: Command, *pins: Pin) -> Command:
    return replace(command, pins=pins)


def shown(command: Command, profile: Profile) -> Command:
    return replace(command, profile=profile)


def alive(marker: str) -> list[int]:
    """Return the processes whose arguments contain the marker."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
