"""A workspace, something outside it, and a runner with real permits: what the run tests share."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sandbox.action import Command, Limits, Pin, digest
from sandbox.canary import Kind
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
SEEN: dict[Kind, tuple[Control, ...]] = {}  # what the canary saw of HOST once
SEEN_ELSEWHERE = {HOST: SEEN}  # and of hosts made up
OWNERS = ("home", "path_entries", "variables", "shown_entries", "toolchains")
OPEN: "list[Rig]" = []  # those whose cells still wait; conftest.py closes them


class Denies:
    """Denies reading by the last name of a path; with other names, walkers forget what it said."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    @property
    def edition(self) -> object:
        return frozenset(self._names)

    def __call__(self, path: str) -> bool:
        return path.rpartition("/")[2] in self._names


@dataclass
class Rig:
    """One runner over one workspace; `denied` names are unreadable by policy."""

    base: Path
    host: HostFacts = HOST
    denied: set[str] = field(default_factory=set)
    office: PermitOffice = field(default_factory=PermitOffice)
    reasons: list[Reason] = field(default_factory=list)  # policy's, against every change set
    judged: list[tuple[object, ...]] = field(default_factory=list)
    session: str = ""

    def __post_init__(self) -> None:
        self.workspace = self.base / "workspace"
        self.outside = self.base / "outside"
        self.state = self.base / "state"
        self.workspace.mkdir()
        self.outside.mkdir()
        self.store = ChangeStore(self.state / "changes")
        lander = Lander(self.store, self._judge)
        self.runner = CommandRunner(self.office, self.host, Denies(self.denied), self.state, lander)
        # Each runner would try each profile again, and toolchains change nothing of what holds.
        alike = replace(self.host, **{name: getattr(HOST, name) for name in OWNERS})
        self.runner._canary._seen = SEEN_ELSEWHERE.setdefault(alike, {})
        OPEN.append(self)

    def _judge(
        self, workspace: str, changes: Sequence[tuple[str, str]], was_asked: bool
    ) -> Sequence[Reason]:
        self.judged.append((workspace, *changes, was_asked))
        return self.reasons

    def tidied(self, *denied: str) -> "Rig":
        """Return this rig for another test: empty, while its cells keep /tmp and HOME."""
        for folder in (self.workspace, self.outside):
            if any(folder.iterdir()):
                subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
                subprocess.run(["find", str(folder), "-mindepth", "1", "-delete"], check=True)
            folder.chmod(0o755)
        shutil.rmtree(self.state / "held", ignore_errors=True)
        self.denied.clear()
        self.reasons.clear()
        self.judged.clear()
        self.denied.update(denied)
        return self

    def script(self, text: str, profile: ProfileName = "read") -> Command:
        return Command(
            None, text, False, str(self.workspace), (), None,
            Profile(profile, str(self.workspace)), Limits(wall_s=10.0), (), "0" * 64,
        )  # fmt: skip

    def vector(self, *argv: str, profile: ProfileName = "read") -> Command:
        return replace(self.script("", profile), argv=argv, script=None)

    def permit(self, command: Command) -> Permit:
        return self.office.issue(
            command, approved_digest=digest(command), approval_id=None, session=self.session
        )

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
