"""Which runner carries out which kind of permitted action, and what the host offers them.

May touch: the sandbox's runners and its probe. A runner takes a permit and nothing else, and
redeems it itself, so handing a permit to the wrong one runs nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from mcp_server.config import Config
from mcp_server.places import Places
from sandbox.action import (
    Command,
    ListDirectory,
    PatchFiles,
    ReadFile,
    RemoteCommand,
    SearchFiles,
    UndoPatch,
)
from sandbox.files import FileRunner
from sandbox.host import Accepted, HostFacts
from sandbox.outcome import Outcome
from sandbox.patches.run import PatchRunner
from sandbox.permit import Permit, PermitOffice
from sandbox.probe import probe
from sandbox.profile import Profile
from sandbox.run import CommandRunner


def probed(config: Config) -> HostFacts:
    """Return what this host was just seen to enforce, with what the configuration accepts."""
    accepted = Accepted(config.minimum_enforcement, config.accept_unprotected_git)
    return replace(probe(config.toolchains), accepted=accepted)


class Runners:
    """All runners of one server, behind one door."""

    def __init__(
        self, office: PermitOffice, host: HostFacts, denies: Callable[[str], bool], where: Places
    ) -> None:
        self._office = office
        self._command = CommandRunner(office, host, denies, where.state)
        self._patch = PatchRunner(office, where.changes)
        self._files = FileRunner(office, denies)

    def close(self) -> None:
        """End what outlives a command: the sandboxes that wait for the next."""
        self._command.close()

    def sees_all(self, profile: Profile) -> bool:
        """Return whether every denied file this profile would show can be covered."""
        return self._command.sees_all(profile)

    async def run(self, permit: Permit) -> Outcome:
        """Carry out one permit."""
        match permit.action:
            case Command():
                return await self._command.run(permit)
            case PatchFiles() | UndoPatch():
                return await self._patch.run(permit)
            case ReadFile() | ListDirectory() | SearchFiles():
                return await self._files.run(permit)
            case RemoteCommand():
                from sandbox.remote.ssh import RemoteRunner  # noqa: PLC0415  # asyncssh loads in 0.25 s

                return await RemoteRunner(self._office).run(permit)
            case other:
                assert_never(other)
