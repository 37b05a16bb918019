"""A real ssh-agent for the tests: on a socket of its own, with keys made for it."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Agent:
    def __init__(self, root: Path, socket: Path) -> None:
        self.root = root
        self.environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}

    def add(self, name: str = "key", kind: str = "ed25519") -> str:
        """Make a key, give it to the agent, and return its fingerprint."""
        path = self.root / name
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
        self.run("ssh-add", "-q", str(path))
        path.unlink()  # from here only the agent has it
        shown = self.run("ssh-keygen", "-l", "-f", f"{path}.pub")
        return shown.split()[1]

    def remove(self, name: str = "key") -> None:
        self.run("ssh-add", "-q", "-d", str(self.root / f"{name}.pub"))

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, check=True, capture_output=True)
        return done.stdout.decode()


@contextmanager
def running_agent(root: Path) -> Iterator[Agent]:
    socket = root / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not socket.exists():
            time.sleep(0.005)
        yield Agent(root, socket)
    finally:
        process.terminate()
        process.wait()
