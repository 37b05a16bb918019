"""A whole Permitgate in a temporary directory, and real clients that connect to it.

The server is the installed command as its own process; only the elicitation answers are scripted.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from tests import warm

SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HUMAN_S = 0.35  # slower than the gate's "no human is that fast"
Answer = Callable[[object, object], Awaitable[ElicitResult]]
ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])


def answering(action: str, content: dict[str, object] | None = None) -> Answer:
    """Return an elicitation callback that answers like a person of that mind."""

    async def answer(_: object, params: object) -> ElicitResult:
        await anyio.sleep(HUMAN_S)
        return ElicitResult(action=action, content=content)

    return answer


YES = answering("accept", {"approve": True})


@dataclass
class Rig:
    """One user's Permitgate: a workspace, a configuration, a state directory."""

    base: Path
    config: str = ""
    command: str = ""  # empty: the installed one, already loaded
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @classmethod
    def make(cls, base: Path, config: str = "") -> "Rig":
        rig = cls(base, config)
        rig.workspace.mkdir(parents=True)
        subprocess.run(["git", "init", "-q", str(rig.workspace)], check=True)
        (rig.workspace / "notes.txt").write_text("alpha\nbeta\n")
        if config:
            rig.configure(config)
        return rig

    def configure(self, config: str) -> None:
        """Write the owner's configuration file."""
        path = self.base / "config" / "permitgate" / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config)
        path.chmod(0o600)

    @property
    def permitgate(self) -> str:
        return self.command or str(warm.command())

    @property
    def workspace(self) -> Path:
        return self.base / "workspace"

    @property
    def state(self) -> Path:
        return self.base / "home" / ".local" / "state" / "permitgate"

    @property
    def environment(self) -> dict[str, str]:
        home = self.base / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": SYSTEM,  # a toolchain of the tester's would be searched at every start
            "HOME": str(home),
            "USER": os.environ.get("USER", "root"),
            "XDG_CONFIG_HOME": str(self.base / "config"),
        }

    def run(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        return subprocess.run(
            [self.permitgate, *arguments],
            cwd=options.get("cwd", self.workspace),
            env={**self.environment, **options.get("env", {})},
            input=options.get("stdin"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        """Start the command line with pipes; `stop_all` ends it."""
        process = subprocess.Popen(
            [self.permitgate, *arguments],
            cwd=self.workspace,
            env={**self.environment, **options.get("env", {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def stop_all(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with suppress(OSError):  # what was still to be written has no reader any more
                    pipe.close()

    @asynccontextmanager
    async def stdio(
        self, era: str, answer: Answer | None = None, arguments: Sequence[str] = ()
    ) -> AsyncIterator[Client]:
        """Connect over stdio."""
        server = StdioServerParameters(
            command=self.permitgate,
            args=["serve", "--workspace", str(self.workspace), *arguments],
            env=self.environment,
        )
        async with Client(stdio_client(server), mode=era, elicitation_callback=answer) as client:
            yield client

    @asynccontextmanager
    async def http(self, era: str, answer: Answer | None = None) -> AsyncIterator[Client]:
        """Connect over HTTP, to a server of its own."""
        _, url, token = self.serve_http()
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as web:
            transport = streamable_http_client(url, http_client=web)
            async with Client(transport, mode=era, elicitation_callback=answer) as client:
                yield client

    def serve_http(self) -> tuple[subprocess.Popen[str], str, str]:
        """Start an HTTP server on a free port; return it, its URL and the bearer token."""
        process = self.start("serve", "--http", "--workspace", str(self.workspace))
        for line in process.stderr:
            words = line.split()
            if "serves" in words:
                url = words[words.index("serves") + 1].rstrip(";")
                return process, url, (self.state / "http-token").read_text().strip()
        raise AssertionError("the server ended before it served")


@dataclass
class Wire:
    """A stdio server spoken to in raw frames, one JSON object per line."""

    process: subprocess.Popen[str]
    last_id: int = 0

    def handshake(self) -> None:
        self.call(
            "initialize",
            {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"},
            },
        )
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def write(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def send(self, frame: dict[str, object]) -> None:
        self.write(json.dumps(frame))

    def ask(self, method: str, params: dict[str, object]) -> int:
        """Send a request and return its id without waiting."""
        self.last_id += 1
        self.send({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        return self.last_id

    def call(self, method: str, params: dict[str, object]) -> dict[str, object]:
        """Send a request and return its reply; every line on the way must be a frame."""
        wanted = self.ask(method, params)
        for line in self.process.stdout:
            frame = json.loads(line)
            assert frame["jsonrpc"] == "2.0"
            if frame.get("id") == wanted and "method" not in frame:
                return frame
        raise AssertionError("the server ended before it answered")

    def tool(self, name: str, **arguments: object) -> dict[str, object]:
        return self.call("tools/call", {"name": name, "arguments": arguments})["result"]


def running(argument: str) -> list[int]:
    """Return the processes that have this very argument."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if argument.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def until(holds: Callable[[], object], within_s: float = 20) -> None:
    """Wait for a fact about other processes."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.01)
