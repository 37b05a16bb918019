"""One world for all tests of the network, and commands whose broker stands in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sandbox.action import digest
from sandbox.network import brokerage
from sandbox.network.model import Contact, Destination, Network, Word
from sandbox.outcome import CommandOutcome
from tests.sandbox.rig import Rig
from tests.world import World


@dataclass
class Net:
    """Runs commands that may reach `allowed`, as "host:port", and nothing else."""

    world: World
    rig: Rig
    allowed: set[str] = field(default_factory=set)
    asked: list[Destination] = field(default_factory=list)
    network: Network = field(default_factory=lambda: Network((), (80, 443, 8080)))

    def word(self, to: Destination) -> Word:
        self.asked.append(to)
        ports = [to.port] if to.port else self.network.ports
        is_permitted = any({f"{to.host}:{port}", f"{to.host}:*"} & self.allowed for port in ports)
        return Word(is_permitted, "" if is_permitted else f"rule closed says no to {to.host}")

    async def run(self, text: str, profile: str = "read", *, wall_s: float = 20) -> CommandOutcome:
        command = self.rig.script(text, profile)
        certificates = (self.world.certificates,)
        network = replace(self.network, ca_bundle=certificates[0])
        confined = replace(command.profile, network=network, read_roots=certificates)
        command = replace(command, profile=confined, limits=replace(command.limits, wall_s=wall_s))
        permit = self.rig.office.issue(
            command, approved_digest=digest(command), approval_id=None, connects=self.word
        )
        return await self.rig.runner.run(permit)


@pytest.fixture
def net(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Net:
    monkeypatch.setattr(brokerage, "PYTHON", world.python())
    world.forget()
    return Net(world, Rig(tmp_path))


def refusals(contacts: Sequence[Contact]) -> list[Contact]:
    return [one for one in contacts if one.verdict == "refused"]
