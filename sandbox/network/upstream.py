"""Connections to the real servers: resolved once, checked by address, made directly or by a proxy.

May touch: name servers, and the network, as the broker alone does. What a name resolved to is kept
for as long as the command runs, so an answer that changes later changes nothing.
Source: RFC 9110 §9.3.6 (CONNECT).
"""

import asyncio  # noqa: TID251  # the broker has a loop of its own: anyio does not splice
import errno
import os
import socket
from typing import Final
from urllib.parse import urlsplit

import h11

from sandbox.network.addresses import Address, networks, not_public, parse
from sandbox.network.model import Network

FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
NO_ROOM: Final = "the broker has no descriptor left; raise the server's limit of open files"
CONNECT_S: Final = 10.0
MOST_ADDRESSES: Final = 4  # of one name, that are tried in turn
HTTP_OK: Final = 200
IPV4: Final = 4
PROXY_PORT: Final = 3128
HEAD_BYTES: Final = 1 << 14


class RefusedError(Exception):
    """The connection is not permitted; the message is the reason."""


class FailedError(Exception):
    """It is permitted and could not be made; the message says what happened."""


class Upstreams:
    """Reaches servers for one command."""

    def __init__(self, network: Network) -> None:
        self._listed = networks(network.addresses)
        self._proxy = network.proxy
        self._answers: dict[str, asyncio.Task[list[Address]]] = {}

    async def addresses(self, host: str) -> list[Address]:
        """Return where a host may be reached; empty where a proxy finds out.

        Raises:
            RefusedError: only outside the public internet, and not listed.
            FailedError: the name was not resolved.
        """
        if self._proxy:
            return self._through_proxy(host)
        found = await self._resolved(host)
        kinds = {address: not_public(address, self._listed) for address in found}
        open_ones = [address for address, kind in kinds.items() if not kind]
        if not open_ones:
            address, kind = next(iter(kinds.items()))
            what = "is" if str(address) == host else f"resolves to {address}, which is"
            raise RefusedError(
                f"{host} {what} {kind}; a rule has to list such an address in its hosts"
            )
        return open_ones[:MOST_ADDRESSES]

    def is_listed(self, address: Address) -> bool:
        """Return whether an address is reached only because it is listed."""
        return bool(not_public(address, ()))

    async def connect(
        self, host: str, port: int, addresses: list[Address]
    ) -> tuple[socket.socket, str]:
        """Return a connection to the first address that answers, and that address.

        Raises:
            FailedError: none did.
        """
        if self._proxy:
            return await self._by_proxy(host, port), "proxy"
        error: OSError | TimeoutError = TimeoutError()
        for address in addresses:
            try:
                return await _open(address, port), str(address)
            except (OSError, TimeoutError) as failed:
                error = failed
        raise FailedError(f"{host}:{port} {_told(error)}")

    def _through_proxy(self, host: str) -> list[Address]:
        """A proxy resolves names itself; what is an address is checked here."""
        try:
            address = parse(host)
        except ValueError:
            return []
        if kind := not_public(address, self._listed):
            raise RefusedError(f"{host} is {kind}; a rule has to list it in its hosts")
        return []

    async def _resolved(self, host: str) -> list[Address]:
        try:
            return [parse(host)]
        except ValueError:
            pass
        if host not in self._answers:
            self._answers[host] = asyncio.create_task(_resolve(host))
        try:
            return await asyncio.shield(self._answers[host])
        except FailedError:
            self._answers.pop(host, None)
            raise

    async def _by_proxy(self, host: str, port: int) -> socket.socket:
        proxy = urlsplit(self._proxy)
        try:
            addresses = await _resolve(proxy.hostname or "")
            upstream = await _open(addresses[0], proxy.port or PROXY_PORT)
        except (OSError, TimeoutError, FailedError) as error:
            raise FailedError(f"the proxy {proxy.netloc} {_told(error)}") from None
        try:
            await asyncio.wait_for(_tunnel(upstream, host, port), CONNECT_S)
        except (OSError, TimeoutError, h11.ProtocolError) as error:
            upstream.close()
            raise FailedError(f"the proxy {proxy.netloc} gave no tunnel: {error}") from None
        except FailedError:
            upstream.close()
            raise
        return upstream


async def _resolve(host: str) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        reason = error.strerror or error
        raise FailedError(f"{host} could not be resolved on this host: {reason}") from None
    return list(dict.fromkeys(parse(str(entry[4][0])) for entry in found))


async def _open(address: Address, port: int) -> socket.socket:
    upstream = socket.socket(socket.AF_INET if address.version == IPV4 else socket.AF_INET6)
    upstream.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(upstream, (str(address), port))
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        upstream.close()
        raise
    return upstream


async def _tunnel(upstream: socket.socket, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    client = h11.Connection(h11.CLIENT)
    request = h11.Request(method="CONNECT", target=authority, headers=[("Host", authority)])
    await loop.sock_sendall(upstream, client.send(request) or b"")
    while (event := client.next_event()) is h11.NEED_DATA:
        client.receive_data(await loop.sock_recv(upstream, HEAD_BYTES))
    if not isinstance(event, h11.Response) or event.status_code // 100 * 100 != HTTP_OK:
        said = getattr(event, "status_code", "no answer")
        raise FailedError(f"the proxy refused {authority}: {said}")


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not getattr(error, "errno", None):
        return f"did not answer within {CONNECT_S:g} s"
    number = getattr(error, "errno", None)
    if number == errno.ECONNREFUSED:
        return "refused the connection"
    if number in FULL:
        return f"was not reached: {NO_ROOM}"
    return f"could not be reached: {os.strerror(number) if number else error}"
