"""Rigs of the sandbox's tests: one that lasts for a module, since a new cell is most of a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.rig import Rig


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A rig whose cells go on from test to test; what it denies and holds is the last test's."""
    rig = Rig(tmp_path_factory.mktemp("lasting"))
    yield rig
    rig.runner.close()


@pytest.fixture
def rig(lasting: Rig) -> Rig:
    """The lasting rig with nothing in it."""
    return lasting.tidied()


@pytest.fixture
def fresh(tmp_path: Path) -> Rig:
    """A rig of the test's own: its first command starts its cell."""
    return Rig(tmp_path)
