"""What a command may reach, what is asked about one connection, and what became of all of them.

May touch: nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

MESSAGE = 1 << 17  # bytes, the longest between server and broker
Scheme = Literal["", "tcp", "tls", "http"]  # "" while the client has said nothing
Verdict = Literal["allowed", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Network:
    """What was decided about a command's network before it runs; the kernel holds the rest shut.

    `hosts` are what was named and permitted, for people to read: policy is asked again about each
    real connection. `addresses` are networks outside the public internet that may be reached.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]  # where connections are heard; elsewhere they are refused and recorded
    is_anywhere: bool = False  # a person said yes to hosts that nobody knows before
    addresses: tuple[str, ...] = ()
    proxy: str = ""  # http://host:port that connections leave through
    ca_bundle: str = ""  # certificates that programs inside are pointed to
    max_bytes: int = 10 << 30  # of all connections, both ways
    max_connections: int = 10_000


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection goes: a canonical name or address, and what its first bytes show.

    Port 0 asks for a name before anything connects: whether any port of it may be reached.
    """

    host: str
    port: int
    scheme: Scheme = ""
    method: str = ""  # of a plain HTTP request


@dataclass(frozen=True, slots=True)
class Word:
    """What policy says of one destination; `text` is the reason where it is not permitted."""

    is_permitted: bool
    text: str = ""


Asks = Callable[[Destination], Word]


@dataclass(frozen=True, slots=True)
class Contact:
    """Connections of one command to one place that ended alike, counted together."""

    host: str
    port: int
    verdict: Verdict
    protocol: str = "tcp"  # or udp, icmp, dns
    address: str = ""  # the real one, where it was connected to
    reason: str = ""
    connections: int = 1
    sent_bytes: int = 0
    received_bytes: int = 0
    duration_ms: int = 0  # the longest of them
