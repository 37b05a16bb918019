"""Which runner carries out which kind of permitted action, and what the host offers them.

May touch: the sandbox's runners and its probe. A runner takes a permit and nothing else, and
redeems it itself, so handing a permit to the wrong one runs nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from mcp_server.config import ChangeSettings, Config
from mcp_server.places import Places
from sandbox.action import (
    Command,
    CommitChanges,
    DiscardChanges,
    ListDirectory,
    PatchFiles,
    ReadFile,
    RemoteCommand,
    RestoreChanges,
    SearchFiles,
    UndoChanges,
)
from sandbox.changes.filter import Judge
from sandbox.changes.landing import Lander
from sandbox.changes.model import Keep
from sandbox.changes.run import ChangeRunner
from sandbox.changes.store import ChangeStore
from sandbox.files import FileRunner
from sandbox.host import Accepted, HostFacts
from sandbox.outcome import Outcome
from sandbox.patches.run import PatchRunner
from sandbox.permit import Permit, PermitOffice
from sandbox.probe import probe
from sandbox.profile import Profile
from sandbox.run import CommandRunner

DAY_S = 86_400.0


def probed(config: Config, where: Places) -> HostFacts:
    """Return what this host was just seen to enforce, with what the configuration accepts."""
    accepted = Accepted(config.minimum_enforcement, config.accept_unprotected_git)
    return replace(probe(config.toolchains, where.state), accepted=accepted)


@dataclass(frozen=True, slots=True)
class Words:
    """What policy says besides the decision: files to cover, and changes to hold."""

    denies: Callable[[str], bool]
    judge: Judge


class Runners:
    """All runners of one server, behind one door."""

    def __init__(
        self,
        office: PermitOffice,
        host: HostFacts,
        words: "Words",
        where: Places,
        settings: ChangeSettings,
    ) -> None:
        self._office = office
        denies = words.denies
        keep = Keep(settings.keep_bytes, settings.keep_days * DAY_S, settings.keep_sets)
        self.changes = ChangeStore(where.changes, keep)
        lander = Lander(self.changes, words.judge)
        self._command = CommandRunner(office, host, denies, where.state, lander)
        self._changes = ChangeRunner(office, self.changes)
        self._patch = PatchRunner(office, self.changes)
        self._files = FileRunner(office, denies)

    def close(self) -> None:
        """End what outlives a command: the sandboxes that wait for the next."""
        self._command.close()

    def sees_all(self, profile: Profile) -> bool:
        """Return whether every denied file this profile would show can be covered."""
        return self._command.sees_all(profile)

    def no_copy(self, workspace: str) -> str:
        """Return why commands cannot write a copy of a workspace here; "" where they can."""
        return self._command.no_copy(workspace)

    async def run(self, permit: Permit) -> Outcome:
        """Carry out one permit."""
        match permit.action:
            case Command():
                return await self._command.run(permit)
            case PatchFiles():
                return await self._patch.run(permit)
            case CommitChanges() | DiscardChanges() | UndoChanges() | RestoreChanges():
                return await self._changes.run(permit)
            case ReadFile() | ListDirectory() | SearchFiles():
                return await self._files.run(permit)
            case RemoteCommand():
                from sandbox.remote.ssh import RemoteRunner  # noqa: PLC0415  # asyncssh loads in 0.25 s

                return await RemoteRunner(self._office).run(permit)
            case other:
                assert_never(other)
