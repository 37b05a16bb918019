"""The network broker against a direct connection to the same server on loopback.

May touch: loopback, one server process, and the sandbox's processes. One client program measures
inside and outside, from its first connection on, so that starting a command is not in it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks.measure import Row, absolute, in_turns_async, ratio
from sandbox.action import Command, Limits, digest
from sandbox.network.model import Network, Word
from sandbox.permit import PermitOffice
from sandbox.probe import probe
from sandbox.profile import Profile
from sandbox.run import CommandRunner

ROUNDS = 7
BULK_BYTES = 512 << 20
CONNECTIONS, AT_ONCE, PINGS = 1_000, 500, 2_000
PYTHON = "/usr/bin/python3"
# A request is a line: how many bytes to send back.
SERVER = """
import asyncio, sys
BLOCK = bytes(1 << 18)
async def serve(reader, writer):
    try:
        while line := await reader.readline():
            left = int(line)
            while left > 0:
                writer.write(BLOCK[:left])
                left -= len(BLOCK)
                await writer.drain()
    except ConnectionError:
        pass
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
CLIENT = """
import asyncio, json, socket, sys, time
task, port = sys.argv[1], int(sys.argv[2])
def connected():
    return socket.create_connection(("127.0.0.1", port))
def fetched(one, size):
    one.sendall(b"%d\\n" % size)
    buffer = bytearray(1 << 20)
    while size > 0:
        size -= one.recv_into(buffer)
times = []
began = time.perf_counter()
if task == "bulk":
    fetched(connected(), SIZE)
elif task == "connections":
    for _ in range(COUNT):
        with connected() as one:
            fetched(one, 1)
elif task == "at once":
    kept = [connected() for _ in range(COUNT)]
    for one in kept:
        fetched(one, 100)
else:
    with connected() as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fetched(one, 1)
        for _ in range(COUNT):
            start = time.perf_counter()
            fetched(one, 1)
            times.append(time.perf_counter() - start)
print(json.dumps([time.perf_counter() - began, *times]))
"""


@dataclass(frozen=True, slots=True)
class _Task:
    name: str
    client: str


TASKS = {
    "bulk": _Task(f"bulk, {BULK_BYTES >> 20} MiB", CLIENT.replace("SIZE", str(BULK_BYTES))),
    "connections": _Task(
        f"{CONNECTIONS} connections, one after another", CLIENT.replace("COUNT", str(CONNECTIONS))
    ),
    "at once": _Task(f"{AT_ONCE} connections at a time", CLIENT.replace("COUNT", str(AT_ONCE))),
}


class _Bench:
    def __init__(self, base: Path, port: int) -> None:
        self._workspace, self._port = base / "workspace", port
        self._workspace.mkdir()
        self._office = PermitOffice()
        self.runner = CommandRunner(self._office, probe(), lambda _: False, base / "state")
        self._network = Network(
            (f"127.0.0.1:{port}",), (port,), addresses=("127.0.0.0/8",), max_bytes=1 << 40
        )

    def argv(self, task: str, client: str) -> tuple[str, ...]:
        return (PYTHON, "-I", "-c", client, task, str(self._port))

    async def inside(self, task: str, client: str) -> list[float]:
        """Return the seconds that the client measured, through the broker."""
        workspace = str(self._workspace)
        command = Command(
            self.argv(task, client), None, False, workspace, (), None,
            Profile("read", workspace, network=self._network), Limits(wall_s=120.0), (), "0" * 64,
        )  # fmt: skip
        permit = self._office.issue(
            command, approved_digest=digest(command), approval_id=None,
            connects=lambda _: Word(is_permitted=True),
        )  # fmt: skip
        outcome = await self.runner.run(permit)
        if outcome.status != "ok":
            raise RuntimeError(f"{task}: {outcome.message} {outcome.stderr.head!r}")
        return [float(one) for one in json.loads(outcome.stdout.head + outcome.stdout.tail)]

    async def outside(self, task: str, client: str) -> list[float]:
        """Return the seconds that the client measured without anything between."""
        done = await anyio.run_process(self.argv(task, client))
        return [float(one) for one in json.loads(done.stdout)]


@contextmanager
def _server() -> Iterator[int]:
    command = [sys.executable, "-I", "-c", SERVER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield int(process.stdout.readline() if process.stdout else "")
        finally:
            process.kill()


def rows(base: Path) -> list[Row]:
    """Return the ratios to direct connections, and the latency that is added."""
    return anyio.run(_rows, base)


async def _rows(base: Path) -> list[Row]:
    found: list[Row] = []
    with _server() as port:
        bench = _Bench(base, port)
        try:
            for name, task in TASKS.items():
                ours, direct = await _in_turns(bench, name, task.client)
                found.append(ratio(f"network: {task.name}", ours, direct, "direct", tail=False))
            found.append(await _latency(bench))
        finally:
            bench.runner.close()
    return found


async def _in_turns(bench: _Bench, name: str, client: str) -> tuple[list[float], list[float]]:
    """Return what the client measured inside and outside, in turns."""
    samples: tuple[list[float], list[float]] = ([], [])

    async def ours() -> None:
        samples[0].append((await bench.inside(name, client))[0])

    async def direct() -> None:
        samples[1].append((await bench.outside(name, client))[0])

    await in_turns_async((ours, direct), ROUNDS, warm_up=1)
    return samples[0][1:], samples[1][1:]


async def _latency(bench: _Bench) -> Row:
    client = CLIENT.replace("COUNT", str(PINGS))
    ours = (await bench.inside("pings", client))[1:]
    direct = sorted((await bench.outside("pings", client))[1:])
    added = [max(0.0, one - two) for one, two in zip(sorted(ours), direct, strict=True)]
    return absolute("network: added to a round trip", added, note="sorted against sorted")
