"""A whole Permitgate inside the test's own process, and clients connected to it in memory.

The rooms, the sandbox and the log are the real ones; only pipes and sockets are left out, so that
matrices of answers and arguments stay fast. What needs a process of its own uses `rig.Rig`.
"""

import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

from anyio import to_thread
from mcp import Client
from mcp.server.mcpserver import MCPServer

from audit.query import Query, records
from mcp_server.app import App, Wishes, open_app
from mcp_server.config import parse_config
from mcp_server.places import Places
from mcp_server.surface import build_server
from sandbox.host import Choice, HostFacts
from sandbox.probe import probe
from tests.mcp_server.rig import Answer, Rig
from tests.sandbox.rig import SEEN

ATTESTED = """\
version: 1
name: attested-for-tests
default: ask
rules:
  - id: attested
    ask: {operations: [fs.write, fs.create, code.exec], level: attested}
    resources: ["${workspace}/asks/**"]
"""
ASKS = (
    ATTESTED
    + """\
  - id: owner
    ask: {operations: [fs.write, fs.create], level: owner}
    resources: ["${workspace}/owner/**"]
"""
)
TERMINAL_AT_ONCE = "approvals: {channels: [terminal], wait_s: 0}\n"
DEV_SAFE = ("dev-safe", "asks.yaml")
NOT_HERE = "ping -c1 -W1 192.0.2.1"  # runs unconfined, so it needs the owner's level
OPEN: list[App] = []
_HOSTS: dict[object, HostFacts] = {}


@dataclass(frozen=True)
class Indoors:
    """One app over temporary directories, with a policy that asks for writes below asks/."""

    app: App
    server: MCPServer
    workspace: Path

    @classmethod
    def make(
        cls, base: Path, config: str = TERMINAL_AT_ONCE, policy: tuple[str, ...] = DEV_SAFE
    ) -> "Indoors":
        for name in (".git", "asks", "owner"):
            base.joinpath("workspace", name).mkdir(parents=True)
        base.joinpath("workspace", "notes.txt").write_text("alpha\nbeta\n")
        base.joinpath("asks.yaml").write_text(ASKS)
        base.joinpath("attested.yaml").write_text(ATTESTED)
        return cls.open(base, config, policy)

    @classmethod
    def open(
        cls, base: Path, config: str = TERMINAL_AT_ONCE, policy: tuple[str, ...] = DEV_SAFE
    ) -> "Indoors":
        """Open an app over directories that `make` made; again is a restart, or a second server."""
        directory = base / "config" / "permitgate"
        state = Rig(base).state
        places = Places(directory / "config.yaml", directory / "policy.d", state)
        named = tuple(str(base / name) if name.endswith(".yaml") else name for name in policy)
        workspace = base / "workspace"
        # The probe and the canary have tests of their own; here the host is tried once.
        with mock.patch("mcp_server.runners.probe", _probed_once):
            app = open_app(
                parse_config(config, "config.yaml"), places, Wishes("stdio", workspace, named)
            )
        app.runners._command._canary._seen = SEEN
        OPEN.append(app)
        return cls(app, build_server(app), workspace)

    @property
    def base(self) -> Path:
        return self.workspace.parent

    @asynccontextmanager
    async def connected(self, era: str, answer: Answer | None = None) -> AsyncIterator[Client]:
        client = Client(self.server, mode=era, elicitation_callback=answer, raise_exceptions=False)
        async with client:
            yield client

    async def cli(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run the command line beside this server, as its owner would in another terminal."""
        rig = Rig(self.base)
        return await to_thread.run_sync(partial(rig.run, *arguments, **options))

    def runs(self, folder: str = "asks") -> int:
        """Return how often `append` ran."""
        written = self.workspace / folder / "ran.txt"
        return len(written.read_text().splitlines()) if written.exists() else 0

    def records(self) -> list[Mapping[str, object]]:
        return list(records(self.app.log_directory, Query()))


def _probed_once(toolchains: Choice, state_dir: Path) -> HostFacts:
    key = (toolchains, os.environ.get("PATH"), os.environ.get("HOME"))
    if key not in _HOSTS:
        _HOSTS[key] = probe(toolchains, state_dir)
    return _HOSTS[key]


def append(folder: str = "asks") -> dict[str, object]:
    """Return the arguments of a call that leaves one line for each time it ran."""
    return {"command": f"echo ran >> {folder}/ran.txt"}
