"""The port a network access names, where that is certain.

May touch: accesses. May not touch: programs' options; a port given apart from its host is unknown.
Source: RFC 3986 §3.2.3; the IANA registry of service names for what a scheme means by itself.
"""

import re
from types import MappingProxyType
from typing import Final

from policy.model import Access

LAST: Final = 65_535
_SCHEMES: Final = MappingProxyType(
    {
        "http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21, "ftps": 990, "sftp": 22,
        "ssh": 22, "scp": 22, "git": 9418, "telnet": 23, "smtp": 25, "smtps": 465, "imap": 143,
        "imaps": 993, "pop3": 110, "pop3s": 995, "ldap": 389, "ldaps": 636, "redis": 6379,
        "rediss": 6379, "postgres": 5432, "postgresql": 5432, "mysql": 3306, "mongodb": 27017,
        "amqp": 5672, "amqps": 5671, "rsync": 873, "gopher": 70, "dict": 2628,
    }
)  # fmt: skip
# To these `host:8080` is a port; to scp, rsync and git it is a path on that host.
_READ_HOST_PORT: Final = frozenset(
    {"curl", "wget", "http", "https", "xh", "grpcurl", "websocat", "openssl", "telnet", "nmap"}
)
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#\\]*)", re.I)
_SOCKET = re.compile(r"/dev/(?:tcp|udp)/[^/]+/(?P<port>[0-9]{1,5})")
_HOST_PORT = re.compile(r"(?:\[[0-9a-f:.]+\]|[^:\s\[\]]*):(?P<port>[0-9]{1,5})", re.I)


def port_of(access: Access) -> int | None:
    """Return the port of a connection or a listener; None where it is not certain."""
    if access.how != "exact":
        return None
    resource = access.resource
    if (socket := _SOCKET.fullmatch(resource)) is not None:
        return _port(socket["port"])
    if (url := _URL.match(resource)) is not None:
        return _of_authority(url["scheme"].lower(), url["authority"].rpartition("@")[2])
    if access.operation == "net.listen":
        return _port(resource if resource.isdecimal() else _after_host(resource))
    if access.program.partition(" ")[0] in _READ_HOST_PORT:
        return _port(_after_host(re.split(r"[/?#]", resource, maxsplit=1)[0].rpartition("@")[2]))
    return None


def _of_authority(scheme: str, authority: str) -> int | None:
    if authority.endswith(":") or ":" not in authority.rpartition("]")[2]:
        return _SCHEMES.get(scheme)
    return _port(_after_host(authority))


def _after_host(authority: str) -> str | None:
    found = _HOST_PORT.fullmatch(authority)
    return found["port"] if found else None


def _port(digits: str | None) -> int | None:
    if digits is None or not digits.isascii() or len(digits) > len(str(LAST)):
        return None
    return int(digits) if int(digits) <= LAST else None
