import ctypes
import os
import platform
import signal
import socket
import subprocess
import threading
from contextlib import ExitStack
from dataclasses import replace

import pytest

from sandbox.action import Limits
from tests.sandbox.escapes.attempts import ATTEMPTS, Attempt
from tests.sandbox.rig import HOST, Rig

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]
NUMBERS = {
    "x86_64": {"clone": 56, "add_key": 248, "init_module": 175},
    "aarch64": {"clone": 220, "add_key": 217, "init_module": 105},
}[platform.machine()]
IS_ROOT = os.getuid() == 0
ABSTRACT = f"permitgate-door-{os.getpid()}"
TOKENS = {"CANARY_TOKEN": "canary", "SSH_AUTH_SOCK": "/run/agent", "BASH_ENV": "/dev/null"}


def echo(server: socket.socket) -> None:
    while True:
        try:
            _, client = server.recvfrom(99)
            server.sendto(b"pong", client)
        except OSError:
            return


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """The host side: listeners on every family, a process to attack, shared memory."""
    base = tmp_path_factory.mktemp("host")
    libc = ctypes.CDLL(None)
    shm = libc.shmget(0x50470000 + os.getpid() % 9999, 4096, 0o1600)
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        threading.Thread(target=echo, args=(udp,), daemon=True).start()
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{ABSTRACT}")
        abstract.listen(50)
        (base / "secret").write_text("canary")
        victim = stack.enter_context(
            subprocess.Popen(["sleep", "300"], cwd=base, env={**os.environ, **TOKENS})
        )
        stack.callback(victim.send_signal, signal.SIGKILL)
        stack.callback(libc.shmctl, shm, 0, None)
        yield {
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "abstract": ABSTRACT,
            "pid": victim.pid,
            "shm": 0x50470000 + os.getpid() % 9999,
            **NUMBERS,
        }


@pytest.fixture
def scene(tmp_path, doors, monkeypatch):
    """A rig in a short path, with doors in and outside of its workspace."""
    rig = Rig(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "secret").write_text("canary")
    (out / "victim").write_text("victim")
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    os.mkfifo(rig.workspace / "pipe")
    reader = os.open(rig.workspace / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    leak = os.open(out / "secret", os.O_RDONLY)
    os.set_inheritable(leak, True)
    with socket.socket(socket.AF_UNIX) as inside, socket.socket(socket.AF_UNIX) as outside:
        monkeypatch.chdir(rig.workspace)
        inside.bind("door")
        monkeypatch.chdir(out)
        outside.bind("door")
        inside.listen()
        outside.listen()
        places = {"ws": rig.workspace, "out": out, "sock": "door", **doors}
        yield rig, places
    os.close(reader)
    os.close(leak)


def vector(attempt: Attempt, places: dict[str, object]) -> tuple[str, ...]:
    text = attempt.text
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", str(value))
    return ("/bin/bash", "-c", text) if attempt.language == "sh" else (HOST.interpreter, "-c", text)


@pytest.mark.threat("T09")
@pytest.mark.threat("T10")
@pytest.mark.threat("T11")
@pytest.mark.threat("T12")
@pytest.mark.threat("T13")
@pytest.mark.threat("T14")
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name.replace(" ", "-"))
async def test_no_attempt_gets_out(scene, attempt):
    rig, places = scene
    for profile in attempt.profiles:
        command = rig.vector(*vector(attempt, places), profile=profile)
        limits = Limits(wall_s=8.0, tmp_bytes=10 << 20)
        outcome = await rig.run(replace(command, limits=limits))
        assert outcome.status != "error", (profile, outcome.message)
        assert b"ESCAPED" not in outcome.stdout.head, (profile, outcome.stderr.head)
        assert (places["out"] / "victim").read_text() == "victim"
        assert (places["out"] / "victim").stat().st_mode & 0o777 != 0o777
        assert not [path for path in rig.workspace.iterdir() if path.stat().st_mode & 0o6000]


@pytest.mark.parametrize(
    "attempt",
    [a for a in ATTEMPTS if a.works_outside and (IS_ROOT or not a.as_root_only)],
    ids=lambda attempt: attempt.name.replace(" ", "-"),
)
def test_the_attempt_is_real(scene, attempt):
    _, places = scene
    done = subprocess.run(vector(attempt, places), capture_output=True, timeout=20, check=False)
    assert b"ESCAPED" in done.stdout, (done.stdout, done.stderr)
