"""What the first bytes of a client say: a TLS server name, an HTTP request, or neither.

Pure. TLS is read by OpenSSL, which stops at the name; HTTP by h11, request after request, so that
a kept connection names no other host later.
Source: RFC 8446 §4.1.2, RFC 6066 §3, RFC 9110 §7.2, RFC 9112.
"""

import re
import ssl
from dataclasses import dataclass
from typing import Final

import h11

MOST_BYTES: Final = 1 << 16  # of a greeting: what is not told by then is not told at all
DENIED: Final = b"\x15\x03\x03\x00\x02\x02\x31"  # a fatal alert: access_denied
REQUESTS: Final = (
    b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ",
    b"CONNECT ", b"PRI ",
)  # fmt: skip
_REQUEST = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} [^\r\n]{1,8000} HTTP/1")
_HANDSHAKE: Final = b"\x16\x03"


@dataclass(frozen=True, slots=True)
class Tls:
    """A TLS client that asks for a server by name; "" where it names none."""

    name: str


@dataclass(frozen=True, slots=True)
class Http:
    """A plain HTTP client."""


@dataclass(frozen=True, slots=True)
class Other:
    """Neither."""


Greeting = Tls | Http | Other


def greeting(data: bytes) -> Greeting | None:
    """Return what a client began with; None where more bytes are needed to tell."""
    if data.startswith(_HANDSHAKE) or _HANDSHAKE.startswith(data):
        return _server_name(data) if len(data) > len(_HANDSHAKE) else None
    if data.startswith(REQUESTS) or _REQUEST.match(data):
        return Http()
    if any(word.startswith(data) for word in REQUESTS):
        return None
    return Other()


def _server_name(data: bytes) -> Greeting | None:
    seen: list[str | None] = []

    def stop(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> int:
        seen.append(name)
        return ssl.ALERT_DESCRIPTION_ACCESS_DENIED

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = stop
    incoming = ssl.MemoryBIO()
    server = context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    incoming.write(data)
    try:
        server.do_handshake()
    except ssl.SSLWantReadError:
        return None if len(data) < MOST_BYTES else Tls("")
    except (ssl.SSLError, ValueError, UnicodeError):
        pass
    return Tls(seen[0].lower().rstrip(".") if seen and seen[0] else "")


class RequestError(Exception):
    """The client does not speak HTTP as the broker can check it; nothing more goes on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the host it names, without port, and its method."""

    host: str
    method: str
    switches: bool  # to a protocol that goes on with this host


class Requests:
    """Follows the requests of one plain HTTP connection."""

    def __init__(self) -> None:
        self._read = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_BYTES)
        self.is_over = False  # what follows is not HTTP/1.1 any more

    def feed(self, data: bytes) -> list[Asked]:
        """Return the requests whose heads are complete with these bytes.

        Raises:
            RequestError: it is no request, or one that hides what it asks for.
        """
        if self.is_over:
            return []
        found: list[Asked] = []
        try:
            self._read.receive_data(data)
            while True:
                event = self._read.next_event()
                if isinstance(event, h11.Request):
                    found.append(_asked(event))
                elif isinstance(event, h11.EndOfMessage):
                    self._next()
                elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(
                    event, h11.ConnectionClosed
                ):
                    break
            if found and found[-1].switches:
                self.is_over = True
        except h11.ProtocolError as error:
            raise RequestError(f"it is no HTTP/1.1 request ({error})") from None
        return found

    def _next(self) -> None:
        """Take the answer as given: what the server says is not looked at."""
        if self._read.our_state is h11.SEND_RESPONSE:
            self._read.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            self._read.send(h11.EndOfMessage())
        if self._read.our_state is h11.DONE and self._read.their_state is h11.DONE:
            self._read.start_next_cycle()


def _asked(request: h11.Request) -> Asked:
    method = request.method.decode("ascii")
    if method == "CONNECT":
        raise RequestError("it asks the server to connect elsewhere (CONNECT)")
    headers = [(name, value.decode("latin-1")) for name, value in request.headers]
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1:
        raise RequestError("it does not name one host")
    target = request.target.decode("latin-1")
    if "://" in target and _authority(target) != hosts[0].lower():
        raise RequestError("its address names one host and its Host line another")
    protocols = [value.strip().lower() for name, value in headers if name == b"upgrade"]
    if any(protocol != "websocket" for protocol in protocols):
        raise RequestError(f"it asks for the protocol {protocols[0]}, which cannot be checked")
    return Asked(_host(hosts[0].lower()), method, switches=bool(protocols))


def _authority(target: str) -> str:
    return re.split(r"[/?#]", target.partition("://")[2], maxsplit=1)[0].lower()


def _host(authority: str) -> str:
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^:@\[\]]+))(?::[0-9]{1,5})?", authority)
    if found is None:
        raise RequestError("its Host line is no host")
    return (found[1] or found[2]).rstrip(".")
