"""The host a network resource names, in one spelling, so that no other spelling slips by a rule.

May touch: strings. May not touch: name servers; what a name resolves to is the egress broker's.
Source: RFC 3986 §3.2; the numeric forms are those of inet_aton(3); names beyond ASCII become the
A-labels of RFC 5891, mapped first as browsers and curl do (UTS #46, non-transitional).
"""

import ipaddress
import re
from typing import Final

import idna

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?P<authority>[^/?#]*)", re.I)
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_LONGEST: Final = 255  # octets of a name on the wire; a longer one names nothing
_MOST_NUMBERS: Final = 4
_BYTE: Final = 256
_SOCKET = re.compile(r"/dev/(?:tcp|udp)/(?P<host>[^/]+)/")


def host_of(resource: str) -> str | None:
    """Return the host of a URL, `user@host:path`, `host:port` or `host`; None if it is not certain.

    Without user and port, spelled as `canonical` does.
    """
    match = _URL.match(resource) or _SOCKET.match(resource)
    authority = match[1] if match else re.split(r"[/?#]", resource, maxsplit=1)[0]
    if "\\" in authority:
        return None  # some programs read it as a slash
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        return _ipv6(host[1:].partition("]")[0])
    if host.count(":") > 1:
        return _ipv6(host)
    return canonical(host.partition(":")[0])


def canonical(host: str) -> str | None:
    """Return a host name or an address in its one spelling; None for what is neither.

    Lower case, A-labels, no final dot; numeric addresses in their usual form, an IPv4 address
    inside an IPv6 one as itself, without an interface.
    """
    if ":" in host:
        return _ipv6(host)
    name = host.lower() if host.isascii() else _ascii(host)
    if name is None or len(name) > _LONGEST or not _HOST.fullmatch(name):
        return None
    name = name.rstrip(".")
    parts = name.split(".")
    if not all(_NUMBER.fullmatch(part) for part in parts):
        return name
    return _inet_aton(parts) if len(parts) <= _MOST_NUMBERS else None


def address(host: str) -> Address | None:
    """Return the address that a host in its one spelling is; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _ascii(host: str) -> str | None:
    """Return a name beyond ASCII in A-labels; a full-width digit or dot is the plain one."""
    if len(host) > _LONGEST:
        return None
    try:
        mapped = idna.uts46_remap(host, std3_rules=True)
        return mapped if mapped.isascii() else idna.encode(mapped).decode("ascii")
    except idna.IDNAError:
        return None


def _ipv6(text: str) -> str | None:
    try:
        found = ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return None
    return str(found.ipv4_mapped or found)


def _inet_aton(parts: list[str]) -> str | None:
    """Read 1 to 4 numbers, decimal, octal or hexadecimal; the last fills what is left."""
    try:
        *first, last = [
            int(part, 16 if part[:2] == "0x" else 8 if part[0] == "0" else 10) for part in parts
        ]
    except ValueError:
        return None
    if any(value >= _BYTE for value in first) or last >= _BYTE ** (_MOST_NUMBERS - len(first)):
        return None
    whole = last + sum(value << (24 - 8 * at) for at, value in enumerate(first))
    return str(ipaddress.IPv4Address(whole))
