"""`permitgate` without the second it takes to load: one process loads it and forks for each start.

`command()` is an executable that behaves as the installed command does: a process of its own with
the caller's arguments, directory, environment and streams, that ends when the caller's is ended.
It stands in where many starts are wanted; what speaks of the installed command uses that, and so
does a start in other namespaces, or with variables that the interpreter reads.
Run as a script this file is the process that forks.
"""

import atexit
import contextlib
import gc
import importlib
import io
import marshal
import os
import pkgutil
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from pathlib import Path

INSTALLED = Path(sys.executable).with_name("permitgate")
SIZE = struct.Struct("!i")
STREAMS = 3
SHIM = """\
#!{python} -IS
import marshal, os, signal, socket, struct, sys
is_elsewhere = {namespaces!r} != [os.readlink("/proc/self/ns/" + name) for name in {names!r}]
if is_elsewhere or any(name.startswith("PYTHON") for name in os.environ):
    os.execv({installed!r}, [{installed!r}, *sys.argv[1:]])
door = socket.socket(socket.AF_UNIX)
door.connect({address!r})
asked = marshal.dumps((sys.argv[1:], os.getcwd(), dict(os.environ)))
socket.send_fds(door, [struct.pack("!i", len(asked))], [0, 1, 2])
door.sendall(asked)
pid, = struct.unpack("!i", door.recv(4, socket.MSG_WAITALL))
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, lambda number, _: os.kill(pid, number))
null = os.open("/dev/null", os.O_RDWR)
for stream in (0, 1, 2):
    os.dup2(null, stream)
ended, = struct.unpack("!i", door.recv(4, socket.MSG_WAITALL))
if ended < 0:
    signal.signal(-ended, signal.SIG_DFL)
    os.kill(os.getpid(), -ended)
os._exit(ended)
"""
NAMESPACES = ("mnt", "net", "pid", "user")


@cache
def command() -> Path:
    """Return the executable; the process behind it goes when this one does."""
    home = Path(tempfile.mkdtemp(prefix="permitgate-warm-"))
    address = str(home / "door")
    shim = home / "permitgate"
    shim.write_text(
        SHIM.format(
            python=sys.executable,
            names=NAMESPACES,
            namespaces=[str(Path(f"/proc/self/ns/{name}").readlink()) for name in NAMESPACES],
            installed=str(INSTALLED),
            address=address,
        )
    )
    shim.chmod(0o755)
    home.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen(64)
        plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        behind = subprocess.Popen(
            [sys.executable, __file__, str(door.fileno())],
            env=plain, stdin=subprocess.PIPE, pass_fds=[door.fileno()], cwd="/",
        )  # fmt: skip
    atexit.register(behind.wait)
    atexit.register(behind.stdin.close)
    return shim


def _serve(door: socket.socket) -> None:
    """Fork for every connection, until standard input ends; return in the process of a start."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    ready = select.poll()
    ready.register(door, select.POLLIN)
    ready.register(0, select.POLLIN)
    while True:
        if 0 in dict(ready.poll()):
            os._exit(0)
        asker = door.accept()[0]
        if os.fork() == 0:
            door.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _start(asker)
            return
        asker.close()


def _start(asker: socket.socket) -> None:
    head, streams, _, _ = socket.recv_fds(asker, SIZE.size, STREAMS)
    size = SIZE.unpack(head)[0]
    asked = b""
    while len(asked) < size:
        asked += asker.recv(size - len(asked))
    arguments, directory, environment = marshal.loads(asked)  # from our own shim
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        _attend(asker, pid)
    asker.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(INSTALLED), *arguments]
    sys.stdin, sys.stdout, sys.stderr = _text(0, "r"), _text(1, "w"), _text(2, "w")
    random.seed()


def _text(stream: int, mode: str) -> io.TextIOWrapper:
    errors = "backslashreplace" if stream == 2 else "strict"  # standard error
    made = open(stream, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
    made.reconfigure(line_buffering=stream == 2 or os.isatty(stream))
    return made


def _attend(asker: socket.socket, pid: int) -> None:
    """Tell how the process ended, or end it when the asker is gone."""
    asker.sendall(SIZE.pack(pid))
    ready = select.poll()
    ready.register(asker, select.POLLIN)
    ready.register(os.pidfd_open(pid), select.POLLIN)
    if asker.fileno() in dict(ready.poll()):
        os.kill(pid, signal.SIGKILL)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        asker.sendall(SIZE.pack(ended))
    os._exit(0)


def _run() -> int:
    from mcp_server.__main__ import main  # noqa: PLC0415

    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
            return 1
        return ended.code or 0
    except BaseException:  # noqa: BLE001  # what the interpreter would do
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> None:
    """End as an interpreter does, but for taking apart what it shares with the others."""
    threading._shutdown()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _load() -> None:
    import approvals.web  # noqa: PLC0415
    import mcp_server.cli  # noqa: PLC0415

    for room in (mcp_server.cli, approvals.web):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    _load()
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    _end(_run())
