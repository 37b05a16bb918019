"""The host side of an attempt: a workspace worth attacking, a victim process, doors, terminals."""

import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.sandbox.escapes.attempt import Places
from tests.sandbox.rig import SEEN, Rig

TOKENS = {"CANARY_TOKEN": "canary", "SSH_AUTH_SOCK": "/run/agent", "BASH_ENV": "/dev/null",
          "DBUS_SESSION_BUS_ADDRESS": "unix:", "LD_LIBRARY_PATH": "/nowhere",
          "PYTHONPATH": "/nowhere"}  # fmt: skip
OLD = 1_000_000_000
KEY = 0x50470000 + os.getpid() % 9999


def _git(top: Path, *words: str) -> None:
    name = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main",
            "-c", "init.templateDir=")  # fmt: skip
    git = ["git", "-C", str(top), *name, "-c", "protocol.file.allow=always", *words]
    subprocess.run(git, check=True, capture_output=True)


def make_workspace(top: Path) -> None:
    """Fill a directory with repositories, protected names, denied files and a program."""
    nested = top / "nested"
    nested.mkdir(parents=True)
    _git(nested, "init", "-q")
    (nested / ".vscode").mkdir()
    (nested / ".vscode" / "settings.json").write_text("{}")
    _git(nested, "add", ".")
    _git(nested, "commit", "-q", "-m", "x")
    _git(top, "init", "-q")
    _git(top, "submodule", "--quiet", "add", f"{nested}", "m")
    _git(top, "commit", "-q", "-m", "x")
    _git(nested, "worktree", "add", "-q", str(top / "wt"))
    for hooks in (".git/hooks", ".git/modules/m/hooks", "nested/.git/hooks"):
        (top / hooks).mkdir(exist_ok=True)
        (top / hooks / "pre-commit.sample").write_text("#!/bin/sh\n\n")
        (top / hooks / "pre-commit.sample").chmod(0o755)
    for name in (".env", "conf/.env", "secrets/key.pem"):
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text("echo canary")
    (top / ".bashrc").write_text("x")
    (top / "dot").write_text("x")
    (top / ".envrc").symlink_to("dot")
    for path in (top / "conf", top):
        os.utime(path, (OLD, OLD))


def copy_workspace(template: Path, workspace: Path) -> None:
    """Copy a workspace, where the worktree must know its new place."""
    subprocess.run(["cp", "-a", f"{template}/.", workspace], check=True)
    for name in ("wt/.git", "nested/.git/worktrees/wt/gitdir"):
        text = (workspace / name).read_text()
        (workspace / name).write_text(text.replace(str(template), str(workspace)))
    for path in (workspace / "conf", workspace):
        os.utime(path, (OLD, OLD))


@contextmanager
def doors() -> Iterator[dict[str, object]]:
    """Open what the host has to offer besides files: ports, names, keys; closed on leaving."""
    libc = ctypes.CDLL(None)
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        tcp6 = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        threading.Thread(target=_echo, args=(udp,), daemon=True).start()
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0permitgate-door-{os.getpid()}")
        abstract.listen(50)
        for kind, arguments in (("shm", (4096,)), ("sem", (1,)), ("msg", ())):
            number = getattr(libc, f"{kind}get")(KEY, *arguments, 0o1600)
            close = (number, 0, 0, None) if kind == "sem" else (number, 0, None)
            stack.callback(getattr(libc, f"{kind}ctl"), *close)
        posix = Path(f"/dev/shm/permitgate-{os.getpid()}")
        posix.write_text("canary")
        stack.callback(posix.unlink)
        leader, follower = os.openpty()
        stack.callback(os.close, leader)
        stack.callback(os.close, follower)
        threading.Thread(target=_swallow, args=(os.dup(leader),), daemon=True).start()
        yield {
            "tcp": tcp.getsockname()[1], "tcp6": tcp6.getsockname()[1],
            "udp": udp.getsockname()[1], "abstract": f"permitgate-door-{os.getpid()}", "shm": KEY,
            "posix": posix.name, "terminal": os.ttyname(follower),
        }  # fmt: skip


def _echo(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            _, client = server.recvfrom(99)
            server.sendto(b"pong", client)


def _swallow(terminal: int) -> None:
    with suppress(OSError):
        while os.read(terminal, 99):
            pass


def shared_rig(base: Path) -> Rig:
    """Return a rig whose runner serves many scenes, so that its profiles are tried only once."""
    rig = Rig(base)
    rig.runner.close()
    rig.runner = type(rig.runner)(rig.office, rig.host, denies, rig.state)
    rig.runner._canary._seen = SEEN
    return rig


@contextmanager
def scene(
    base: Path, template: Path, around: dict[str, object], shared: Rig
) -> Iterator[tuple[Rig, Places]]:
    """Set up one workspace with its surroundings; everything of it ends on leaving."""
    rig = Rig(base, office=shared.office)
    rig.runner.close()
    rig.runner, rig.state = shared.runner, shared.state
    copy_workspace(template, rig.workspace)
    out = base / "out"
    out.mkdir()
    (out / "secret").write_text("canary")
    (out / "victim").write_text("victim")
    with ExitStack() as stack:
        os.mkfifo(rig.workspace / "pipe")
        stack.callback(os.close, os.open(rig.workspace / "pipe", os.O_RDWR | os.O_NONBLOCK))
        leak = os.open(out / "secret", os.O_RDONLY)
        stack.callback(os.close, leak)
        os.set_inheritable(leak, True)
        folder = os.open(out, os.O_RDONLY)
        stack.callback(os.close, folder)
        os.set_inheritable(folder, True)
        here = os.open(".", os.O_RDONLY)
        stack.callback(os.close, here)
        for folder in (rig.workspace, out):
            os.chdir(folder)  # a socket's path is short
            for name, kind in (("door", socket.SOCK_STREAM), ("letters", socket.SOCK_DGRAM)):
                door = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
                door.bind(name)
                if kind == socket.SOCK_STREAM:
                    door.listen()
        os.fchdir(here)
        victim = stack.enter_context(subprocess.Popen(["/bin/sleep", "300"], cwd=out, env=TOKENS))
        stack.callback(victim.send_signal, signal.SIGKILL)
        yield rig, Places(rig.workspace, out, Path(rig.host.home), victim.pid, around)


def denies(path: str) -> bool:
    """Return whether policy keeps a file of the workspace from being read."""
    return path.endswith(("/.env", "/.ssh")) or ("/secrets/" in path and path.endswith(".pem"))
