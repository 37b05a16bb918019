"""One connection of a command: permitted, made, held to what its first bytes say, and carried.

May touch: the two sockets. The server may speak first; the client's first bytes wait until they are
checked, and of plain HTTP every request.
"""

import asyncio  # noqa: TID251  # the broker has a loop of its own: anyio does not splice
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from sandbox.network.addresses import parse
from sandbox.network.first_bytes import (
    DENIED,
    MOST_BYTES,
    Asked,
    Http,
    Other,
    RequestError,
    Requests,
    Tls,
    greeting,
)
from sandbox.network.model import Destination, Word
from sandbox.network.relay import CHUNK, Flow
from sandbox.network.upstream import RefusedError, Upstreams

ANSWER: Final = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
)
LOCALHOST: Final = "localhost"
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing is a reset

Asks = Callable[[Destination], Awaitable[Word]]


class Connection:
    """A connection that was taken in the namespace and is not answered yet."""

    def __init__(
        self,
        client: socket.socket,
        to: Destination,
        upstreams: Upstreams,
        rules: tuple[Asks, Callable[[int], None]],
    ) -> None:
        self._client, self.to, self._upstreams = client, to, upstreams
        self._asks, self._spend = rules
        self._loop = asyncio.get_running_loop()
        self._sent: Flow | None = None
        self._received: Flow | None = None
        self._checked_bytes = 0
        self.address = ""  # where it leads in truth, once it is made
        self.refusal = ""  # why it is not carried, or not any further

    @property
    def sent_bytes(self) -> int:
        """Return how much went to the server."""
        return self._checked_bytes + (self._sent.total if self._sent else 0)

    @property
    def received_bytes(self) -> int:
        """Return how much came from the server."""
        return self._received.total if self._received else 0

    async def carry(self) -> None:
        """Do all of it, to the end of both directions.

        Raises:
            RefusedError, FailedError: nothing, or nothing more, was carried; it says why.
            OSError: one of the two hung up.
        """
        try:
            await self._permit(self.to)
            addresses = await self._upstreams.addresses(self.to.host)
            for address in filter(self._upstreams.is_listed, addresses):
                await self._permit(replace(self.to, host=str(address)))
            upstream, self.address = await self._upstreams.connect(
                self.to.host, self.to.port, addresses
            )
        except Exception:
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            raise
        with upstream:
            self._received = Flow(upstream, self._client, self._pay)
            ways = [
                self._loop.create_task(way)
                for way in (self._received.run(), self._forward(upstream))
            ]
            try:
                await asyncio.gather(*ways)
            except RefusedError:
                with suppress(OSError):
                    self._client.shutdown(socket.SHUT_WR)
                raise
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _forward(self, upstream: socket.socket) -> None:
        data = b""
        while (found := greeting(data)) is None and len(data) < MOST_BYTES:
            chunk = await self._loop.sock_recv(self._client, CHUNK)
            if not chunk:
                break
            data += chunk
        match found:
            case Tls(name=name):
                await self._check_tls(name)
            case Http():
                return await self._forward_requests(upstream, data)
            case Other() | None:
                await self._permit(replace(self.to, scheme="tcp"))
        await self._send(upstream, data)
        self._sent = Flow(self._client, upstream, self._pay)
        return await self._sent.run()

    async def _check_tls(self, name: str) -> None:
        if _is_name(self.to.host) and name != self.to.host:
            await self._say(DENIED)
            asked = f"for {name}" if name else "for no server by name"
            raise self._refused(f"TLS asks {asked}, and the connection was made to {self.to.host}")
        await self._permit(replace(self.to, scheme="tls"), DENIED)

    async def _forward_requests(self, upstream: socket.socket, data: bytes) -> None:
        requests = Requests()
        while data:
            try:
                asked = requests.feed(data)
            except RequestError as error:
                await self._say(_forbidden(str(error)))
                raise self._refused(f"HTTP: {error}") from None
            for one in asked:
                await self._check_request(one)
            await self._send(upstream, data)
            if requests.is_over:
                self._sent = Flow(self._client, upstream, self._pay)
                return await self._sent.run()
            data = await self._loop.sock_recv(self._client, CHUNK)
        upstream.shutdown(socket.SHUT_WR)
        return None

    async def _check_request(self, asked: Asked) -> None:
        if asked.host != self.to.host and not _is_same_address(asked.host, self.to.host):
            text = f"HTTP asks for {asked.host}, and the connection was made to {self.to.host}"
            await self._say(_forbidden(text))
            raise self._refused(text)
        to = replace(self.to, scheme="http", method=asked.method)
        word = await self._asks(to)
        if not word.is_permitted:
            await self._say(_forbidden(word.text))
            raise self._refused(f"{asked.method}: {word.text}")

    async def _permit(self, to: Destination, farewell: bytes = b"") -> None:
        word = await self._asks(to)
        if not word.is_permitted:
            if farewell:
                await self._say(farewell)
            raise self._refused(word.text)

    def _refused(self, why: str) -> RefusedError:
        """Keep the reason, which outlives whatever else ends the connection at that moment."""
        self.refusal = self.refusal or why
        return RefusedError(why)

    def _pay(self, size: int) -> None:
        try:
            self._spend(size)
        except RefusedError as error:
            raise self._refused(str(error)) from None

    async def _say(self, text: bytes) -> None:
        """Tell the client why, where the server has not said anything yet."""
        if not self.received_bytes:
            with suppress(OSError):
                await self._loop.sock_sendall(self._client, text)

    async def _send(self, upstream: socket.socket, data: bytes) -> None:
        self._checked_bytes += len(data)
        self._pay(len(data))
        await self._loop.sock_sendall(upstream, data)


def _forbidden(text: str) -> bytes:
    body = f"Permitgate: {text}\n".encode()
    return ANSWER % (len(body), body)


def _is_name(host: str) -> bool:
    try:
        parse(host)
    except ValueError:
        return True
    return False


def _is_same_address(name: str, host: str) -> bool:
    """Return whether a Host line names the address that was connected to."""
    try:
        address = parse(host)
        return (name == LOCALHOST and address.is_loopback) or parse(name) == address
    except ValueError:
        return False
