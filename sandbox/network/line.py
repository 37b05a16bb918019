"""The broker's side of one command: what its namespace hears, asked about, carried and counted.

May touch: the sockets of that namespace, and the network through connection.py. Whoever connects in
there has connected already when policy is asked; a refusal ends the connection again.
"""

import asyncio  # noqa: TID251  # the broker has a loop of its own: anyio does not splice
import json
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict
from typing import Final

from sandbox.network import netspace, refused
from sandbox.network.addresses import Names, parse
from sandbox.network.connection import Connection
from sandbox.network.contacts import Contacts
from sandbox.network.model import MESSAGE, Contact, Destination, Network, Verdict, Word
from sandbox.network.name_server import NameServer
from sandbox.network.upstream import FULL, NO_ROOM, FailedError, RefusedError, Upstreams

MOST_OPEN: Final = 1024  # connections at a time
MOST_SEEN: Final = 4096  # packets that nobody took, looked at in one go
MOST_KEPT: Final = 4096  # words of policy
PAUSE_S: Final = 0.05
TOO_LATE: Final = "the command ended before it was answered"
NAMES_AT_A_TIME: Final = 64

Serves = Callable[[socket.socket], Awaitable[None]]


class Line:
    """One command's connections, from its first to the end of the command."""

    def __init__(self, server: socket.socket, seat: socket.socket, network: Network) -> None:
        self._server, self._seat, self._network = server, seat, network
        self._seat.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._names, self._upstreams = Names(), Upstreams(network)
        self._resolver = NameServer(self._names, socket.gethostname(), self._may_resolve)
        self._contacts = Contacts()
        self._words: dict[Destination, asyncio.Future[Word]] = {}
        self._questions: dict[int, asyncio.Future[Word]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened: list[tuple[str, socket.socket]] = []
        self._room, self._asking = asyncio.Semaphore(MOST_OPEN), asyncio.Lock()
        self._bytes = self._connections = 0

    async def run(self) -> None:
        """Serve until the server says that the command has ended, then report."""
        self._start(self._receive())
        with suppress(OSError):
            while message := await self._loop.sock_recv(self._server, MESSAGE):
                said = json.loads(message)
                if said.get("end"):
                    break
                answer = self._questions.pop(said["number"])
                answer.set_result(Word(said["is_permitted"], said["text"]))
        self._take_over()  # a short command ends before its namespace was looked at
        while self._tasks:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._note_the_rest()
        report = json.dumps([asdict(one) for one in self._contacts.all()])
        with suppress(OSError):
            await self._loop.sock_sendall(self._server, report.encode())
            # Closing with answers unread would take the report back.
            while await self._loop.sock_recv(self._server, MESSAGE):
                pass
        self._server.close()
        self._seat.close()

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what the namespace hands over ------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            await readable(self._loop, self._seat)
            if not self._take_over():
                return

    def _take_over(self) -> bool:
        """Serve what was handed over by now; False when no more will come."""
        while True:
            try:
                kinds, found, _, _ = socket.recv_fds(self._seat, MESSAGE, netspace.MOST_SENT)
            except BlockingIOError:
                return True
            if not found:
                return False
            for kind, descriptor in zip(kinds.decode(), found, strict=True):
                one = socket.socket(fileno=descriptor)
                one.setblocking(False)
                if kind == netspace.REFUSED:
                    refused.attach(one)
                self._opened.append((kind, one))
                self._start(self._serve(kind, one))

    async def _serve(self, kind: str, one: socket.socket) -> None:
        match kind:
            case netspace.REFUSED:
                await self._watch(one)
            case netspace.NAME_QUERIES:
                await self._answer_queries(one)
            case netspace.NAME_STREAM:
                await self._accept(one, self._answer_stream)
            case _:
                await self._accept(one, self._connection)

    def _note_the_rest(self) -> None:
        """Note what nobody came to, and close the namespace's sockets."""
        for kind, one in self._opened:
            with one:
                if kind == netspace.REFUSED:
                    self._note(one)
                while kind == netspace.STREAM and (client := self._taken(one)) is not None:
                    to = self._destination(client)
                    self._contacts.add(Contact(*to, "failed", reason=TOO_LATE))
                    client.close()

    async def _accept(self, listener: socket.socket, serve: Serves) -> None:
        while True:
            await readable(self._loop, listener)
            await self._room.acquire()
            client = self._taken(listener)
            if client is None:
                self._room.release()
                await asyncio.sleep(PAUSE_S)
            else:
                self._start(self._served(client, serve))

    def _taken(self, listener: socket.socket) -> socket.socket | None:
        try:
            client, _ = listener.accept()
        except OSError as error:
            if error.errno in FULL:
                self._contacts.add(Contact("", 0, "failed", reason=NO_ROOM))
            return None
        client.setblocking(False)
        return client

    async def _served(self, client: socket.socket, serve: Serves) -> None:
        try:
            with client, suppress(OSError):
                await serve(client)
        finally:
            self._room.release()

    async def _watch(self, tap: socket.socket) -> None:
        """Note what was sent to where nobody listens; the kernel has refused it."""
        while True:
            await readable(self._loop, tap)
            self._note(tap)

    def _note(self, tap: socket.socket) -> None:
        for one in refused.attempts(tap, MOST_SEEN):
            if one.protocol == "tcp" and one.port in (*self._network.ports, netspace.NAME_PORT):
                continue
            host = self._names.name(one.address) or str(one.address)
            reason = f"nothing is permitted by {one.protocol}"
            if one.protocol == "tcp":
                reason = f"no rule and no request names port {one.port}"
            self._contacts.add(Contact(host, one.port, "refused", one.protocol, reason=reason))

    # --- names ------------------------------------------------------------------------------------

    async def _answer_queries(self, queries: socket.socket) -> None:
        room = asyncio.Semaphore(NAMES_AT_A_TIME)
        while True:
            await readable(self._loop, queries)
            data, about, _, asker = queries.recvmsg(MESSAGE, 256)
            await room.acquire()
            # From the address that was asked, or the asker takes it for a forgery.
            same = [one for one in about if one[1] == socket.IPV6_PKTINFO]
            self._start(self._answer_query(queries, data, (same, asker), room))

    async def _answer_query(
        self,
        queries: socket.socket,
        data: bytes,
        way_back: tuple[list[tuple[int, int, bytes]], tuple[object, ...]],
        room: asyncio.Semaphore,
    ) -> None:
        try:
            answer = await self._resolver.answer(data)
            if answer is not None:
                with suppress(OSError):
                    queries.sendmsg([answer], way_back[0], 0, way_back[1])
        finally:
            room.release()

    async def _answer_stream(self, client: socket.socket) -> None:
        while size := await self._exactly(client, 2):
            answer = await self._resolver.answer(await self._exactly(client, int.from_bytes(size)))
            if answer is None:
                return
            await self._loop.sock_sendall(client, len(answer).to_bytes(2) + answer)

    async def _exactly(self, client: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = await self._loop.sock_recv(client, size - len(data))
            if not chunk:
                return b""
            data += chunk
        return data

    async def _may_resolve(self, name: str) -> bool:
        """Return whether policy lets any connection to this name be."""
        word = await self._word(Destination(name, 0))
        if not word.is_permitted:
            self._contacts.add(Contact(name, 0, "refused", "dns", reason=word.text))
        return word.is_permitted

    async def _word(self, to: Destination) -> Word:
        """Return policy's word, asked once for each destination."""
        if to not in self._words:
            if len(self._words) >= MOST_KEPT:
                return Word(is_permitted=False, text="the command tried too many destinations")
            answer: asyncio.Future[Word] = self._loop.create_future()
            number = len(self._words)
            self._words[to] = self._questions[number] = answer
            question = json.dumps({"number": number, "to": asdict(to)})
            async with self._asking:  # one at a time: a loop waits for one writer of a socket
                await self._loop.sock_sendall(self._server, question.encode())
        return await asyncio.shield(self._words[to])

    # --- connections ------------------------------------------------------------------------------

    async def _connection(self, client: socket.socket) -> None:
        began = time.monotonic()
        to = Destination(*self._destination(client))
        one = Connection(client, to, self._upstreams, (self._word, self._spend))
        verdict: Verdict = "failed"
        reason = TOO_LATE
        try:
            self._count()
            await one.carry()
            reason = ""
        except RefusedError as error:
            reason = str(error)
            verdict = "refused"
        except FailedError as error:
            reason = str(error)
        except OSError as error:
            reason = "" if one.address else str(error)
        finally:
            if one.refusal:
                verdict, reason = "refused", one.refusal
            elif one.address and reason in ("", TOO_LATE):
                verdict, reason = "allowed", ""
            took = round((time.monotonic() - began) * 1000)
            sent, received = one.sent_bytes, one.received_bytes
            self._contacts.add(
                Contact(
                    to.host, to.port, verdict, "tcp", one.address, reason, 1, sent, received, took
                )
            )

    def _destination(self, client: socket.socket) -> tuple[str, int]:
        text, port = client.getsockname()[:2]
        address = parse(text)
        return self._names.name(address) or str(address), port

    def _count(self) -> None:
        self._connections += 1
        if self._connections > self._network.max_connections:
            most = self._network.max_connections
            raise RefusedError(f"the command has made the {most} connections it may make")

    def _spend(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._network.max_bytes:
            raise RefusedError(f"the command has moved the {self._network.max_bytes} bytes it may")


async def readable(loop: asyncio.AbstractEventLoop, one: socket.socket) -> None:
    """Return when there is something to receive."""
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(one, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(one)
