"""What a command sent that no listener took: read from a packet socket of its namespace.

May touch: the socket it is given. The kernel has refused these already; this is for the record.
Source: packet(7), the classic BPF of socket filters, RFC 791, RFC 8200, RFC 9293.
"""

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sandbox.network.addresses import Address, parse

SO_ATTACH_FILTER: Final = 26
PACKET_OUTGOING: Final = 4
HEAD_BYTES: Final = 64  # of a packet: two headers
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
SYN, ACK = 0x02, 0x10
ECHO: Final = {ICMP: 8, ICMPV6: 128}
NAME_PORT: Final = 53
_IPV4, _IPV6 = 4, 6
_LOAD, _LOAD_AFTER_HEADER, _LOAD_HEADER_LENGTH = 0x30, 0x50, 0xB1
_IF_EQUAL, _GO, _AND, _RETURN = 0x15, 0x05, 0x54, 0x06
_PACKET_TYPE = 0xFFFF_F004  # where the kernel shows it


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing that was sent and taken by nobody; port 0 where the protocol has none."""

    protocol: str  # tcp, udp, icmp
    address: Address
    port: int


def attach(tap: socket.socket) -> None:
    """Let only first packets through: TCP's SYN, UDP but for name queries, pings."""
    code = ctypes.create_string_buffer(_PROGRAM)
    program = struct.pack("HL", len(_PROGRAM) // 8, ctypes.addressof(code))
    tap.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def attempts(tap: socket.socket, most: int) -> Iterator[Attempt]:
    """Yield what waits on the socket, at most so many packets of it."""
    for _ in range(most):
        try:
            packet, (_, _, kind, *_) = tap.recvfrom(HEAD_BYTES)
        except BlockingIOError:
            return
        attempt = read(packet) if kind == PACKET_OUTGOING else None
        if attempt is not None and not attempt.address.is_loopback:
            yield attempt


def read(packet: bytes) -> Attempt | None:
    """Return what one packet attempts, None for one that only answers or goes on."""
    try:
        version = packet[0] >> 4
        if version == _IPV4:
            protocol, rest = packet[9], packet[4 * (packet[0] & 15) :]
            address = parse(str(ipaddress.IPv4Address(packet[16:20])))
        elif version == _IPV6:
            protocol, rest = packet[6], packet[40:]
            address = parse(str(ipaddress.IPv6Address(packet[24:40])))
        else:
            return None
        if protocol == TCP:
            is_first = rest[13] & (SYN | ACK) == SYN
            return Attempt("tcp", address, _port(rest)) if is_first else None
        if protocol == UDP:
            is_name = NAME_PORT in (_port(rest), _port(rest, 0))  # a query, or our own answer
            return None if is_name else Attempt("udp", address, _port(rest))
        if protocol in ECHO and rest[0] == ECHO[protocol]:
            return Attempt("icmp", address, 0)
    except (IndexError, ValueError, struct.error):
        return None
    return None


def _port(head: bytes, at: int = 2) -> int:
    return int(struct.unpack_from("!H", head, at)[0])


def _program() -> bytes:
    """Keep what goes out and is no TCP that goes on; the rest is sorted out in `read`.

    Without this a download would be read twice: once by its reader, once here.
    """
    lines = [
        (_LOAD, 0, 0, _PACKET_TYPE),
        (_IF_EQUAL, 0, 13, PACKET_OUTGOING),
        (_LOAD, 0, 0, 0),
        (_AND, 0, 0, 0xF0),
        (_IF_EQUAL, 0, 5, _IPV4 << 4),
        (_LOAD, 0, 0, 9),
        (_IF_EQUAL, 0, 9, TCP),
        (_LOAD_HEADER_LENGTH, 0, 0, 0),
        (_LOAD_AFTER_HEADER, 0, 0, 13),
        (_GO, 0, 0, 3),
        (_LOAD, 0, 0, 6),  # IPv6
        (_IF_EQUAL, 0, 4, TCP),
        (_LOAD, 0, 0, 53),
        (_AND, 0, 0, SYN | ACK),
        (_IF_EQUAL, 1, 0, SYN),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, HEAD_BYTES),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


_PROGRAM: Final = _program()
