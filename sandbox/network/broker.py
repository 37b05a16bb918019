"""The broker: a process outside every sandbox that carries what commands may reach.

Started by brokerage.py as `python -I -c … FD`; it takes its orders from that socket and ends with
it. An order is a `Network` as JSON, with two sockets: the server's, for questions and the report,
and the one that the command's namespace hands its listeners over.
"""

import asyncio  # noqa: TID251  # the broker has a loop of its own: anyio does not splice
import json
import resource
import socket
import sys

from sandbox import privileges
from sandbox.network.line import Line, readable
from sandbox.network.model import MESSAGE, Network

SOCKETS = 2


def main() -> None:
    """Serve until the server hangs up."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    privileges.hide()
    privileges.gain_none()
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1]))))


async def _serve(control: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    lines: set[asyncio.Task[None]] = set()
    control.setblocking(False)
    while True:
        await readable(loop, control)
        order, descriptors, _, _ = socket.recv_fds(control, MESSAGE, SOCKETS)
        if not order:
            return
        server, seat = (socket.socket(fileno=number) for number in descriptors)
        server.setblocking(False)
        task = loop.create_task(Line(server, seat, _network(order)).run())
        lines.add(task)
        task.add_done_callback(lines.discard)


def _network(order: bytes) -> Network:
    said = json.loads(order)
    lists = {name: tuple(said[name]) for name in ("hosts", "ports", "addresses")}
    return Network(**{**said, **lists})
