"""One Permitgate per test, in its own directories; every process it started is ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mcp_server.rig import Rig

HTTP_ANY_PORT = "http: {port: 0}\n"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig.make(tmp_path, HTTP_ANY_PORT)
    yield made
    made.stop_all()
