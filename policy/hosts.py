"""The host a network resource names, in one spelling, so that no other spelling slips by a rule.

May touch: strings. May not touch: name servers; what a name resolves to is the egress broker's.
Source: RFC 3986 §3.2; the numeric forms are those of inet_aton(3).
"""

import ipaddress
import re

_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?P<authority>[^/?#]*)", re.I)
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_MOST_NUMBERS = 4
_SOCKET = re.compile(r"/dev/(?:tcp|udp)/(?P<host>[^/]+)/")


def host_of(resource: str) -> str | None:
    """Return the host of a URL, `user@host:path`, `host:port` or `host`; None if it is not certain.

    Lower case, without user, port and final dot; numeric addresses in their usual form.
    """
    match = _URL.match(resource) or _SOCKET.match(resource)
    authority = match[1] if match else re.split(r"[/?#]", resource, maxsplit=1)[0]
    if "\\" in authority:
        return None  # some programs read it as a slash
    host = authority.rpartition("@")[2].lower()
    if host.startswith("["):
        return _address(host[1:].partition("]")[0])
    if host.count(":") > 1:
        return _address(host)
    host = host.partition(":")[0]
    if not _HOST.fullmatch(host):
        return None
    host = host.rstrip(".")
    parts = host.split(".")
    if not all(_NUMBER.fullmatch(part) for part in parts):
        return host
    return _inet_aton(parts) if len(parts) <= _MOST_NUMBERS else None


def _address(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    return str(address.ipv4_mapped or address)


def _inet_aton(parts: list[str]) -> str | None:
    """Read 1 to 4 numbers, decimal, octal or hexadecimal; the last fills what is left."""
    try:
        values = [
            int(part, 16 if part[:2] == "0x" else 8 if part[0] == "0" else 10) for part in parts
        ]
        whole = values[-1] + sum(value << (24 - 8 * at) for at, value in enumerate(values[:-1]))
        return str(ipaddress.IPv4Address(whole))
    except ValueError:
        return None
