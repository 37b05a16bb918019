"""Moves bytes between two sockets, both ways, until both ends are done.

May touch: sockets and pipes it is given. Small transfers are copied; what turns out to be long goes
through a pipe, where the kernel moves pages instead of copying them.
Source: splice(2).
"""

import asyncio  # noqa: TID251  # the broker has a loop of its own: anyio does not splice
import fcntl
import os
import socket
from collections.abc import Callable
from typing import Final

LITTLE: Final = 1 << 14  # at first: most connections never need more
CHUNK: Final = 1 << 16  # of 1,024 connections both ways, 128 MiB where every reader is slow
LONG: Final = 1 << 22  # bytes in one direction, after which it is worth a pipe
PIPE: Final = 1 << 20
F_SETPIPE_SZ: Final = 1031
_MOVE: Final = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE

Spend = Callable[[int], None]  # called with bytes as they pass; raises where there were too many


class Flow:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, target: socket.socket, spend: Spend) -> None:
        self._source, self._target, self._spend = source, target, spend
        self.total = 0

    async def run(self) -> None:
        """Carry everything over, then tell the target that no more will come.

        Raises:
            OSError: one end is gone.
        """
        loop = asyncio.get_running_loop()
        room = LITTLE
        while self.total < LONG:
            data = await loop.sock_recv(self._source, room)
            if not data:
                return self._finish()
            self._count(len(data))
            await loop.sock_sendall(self._target, data)
            room = CHUNK if len(data) == room else room
        await self._splice(loop)
        return self._finish()

    def _count(self, size: int) -> None:
        self.total += size
        self._spend(size)

    def _finish(self) -> None:
        try:
            self._target.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it has gone by itself

    async def _splice(self, loop: asyncio.AbstractEventLoop) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _widen(writer)
            while size := await self._step(loop, self._source, writer, PIPE):
                self._count(size)
                while size:
                    size -= await self._step(loop, reader, self._target, size)
        finally:
            os.close(reader)
            os.close(writer)

    async def _step(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket | int,
        target: socket.socket | int,
        size: int,
    ) -> int:
        """Move what can be moved now; where nothing can, wait for the socket of the two."""
        while True:
            try:
                return os.splice(_number(source), _number(target), size, flags=_MOVE)
            except BlockingIOError:
                await _ready(loop, source, target)


async def _ready(
    loop: asyncio.AbstractEventLoop, source: socket.socket | int, target: socket.socket | int
) -> None:
    done = loop.create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    if isinstance(source, socket.socket):
        loop.add_reader(source, wake)
    elif isinstance(target, socket.socket):
        loop.add_writer(target, wake)
    try:
        await done
    finally:
        if isinstance(source, socket.socket):
            loop.remove_reader(source)
        elif isinstance(target, socket.socket):
            loop.remove_writer(target)


def _number(end: socket.socket | int) -> int:
    return end if isinstance(end, int) else end.fileno()


def _widen(pipe: int) -> None:

    try:
        fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE)
    except OSError:
        return  # the user has many pipes already; a small one is slower
