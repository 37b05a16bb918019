"""Accepted host keys: which keys a known_hosts file vouches for, and their fingerprints.

May touch: the known_hosts file, for reading. Certificate authorities are not accepted: a pinned
key is. Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
"""

import base64
import binascii
import fnmatch
import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from sandbox.permit import SandboxError

_PORT = 22
_FIELDS = 3


class KnownHostsError(SandboxError):
    """The known_hosts file cannot be read."""


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The text of a known_hosts file, and where it came from."""

    source: str
    text: str

    def accepted(self, address: str, port: int) -> tuple[str, ...]:
        """Return every key accepted for one host, as "type base64", without revoked ones."""
        accepted: dict[str, None] = {}
        revoked: set[str] = set()
        for line in self.text.splitlines():
            marker, names, key = _fields(line)
            if key is None or not _names_host(names, host_name(address, port)):
                continue
            if marker == "@revoked":
                revoked.add(key)
            elif marker == "":
                accepted[key] = None
        return tuple(key for key in accepted if key not in revoked)


def load_known_hosts(path: Path) -> KnownHosts:
    """Return the file; an absent one accepts no key.

    Raises:
        KnownHostsError: it is there, but cannot be read.
    """
    try:
        return KnownHosts(str(path), path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return KnownHosts(str(path), "")
    except OSError as error:
        raise KnownHostsError(f"{path}: {error.strerror}; no host can be verified") from error


def host_name(address: str, port: int) -> str:
    """Return how known_hosts spells a host: with brackets unless the port is 22."""
    return address.lower() if port == _PORT else f"[{address.lower()}]:{port}"


def fingerprint(key: str) -> str:
    """Return `SHA256:…` of a key written as "type base64"."""
    blob = base64.b64decode(key.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _fields(line: str) -> tuple[str, str, str | None]:
    """Return marker, names and key of a line; the key is None when it is not a sound entry."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return "", "", None
    marker = words.pop(0) if words[0].startswith("@") else ""
    if len(words) < _FIELDS:
        return marker, "", None
    names, kind, encoded = words[:_FIELDS]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return marker, "", None
    inner = blob[4 : 4 + int.from_bytes(blob[:4])]
    return marker, names, f"{kind} {encoded}" if inner == kind.encode() else None


def _names_host(names: str, host: str) -> bool:
    if names.startswith("|1|"):
        return _hash_matches(names, host)
    patterns = names.lower().split(",")
    if any(p.startswith("!") and _matches(p[1:], host) for p in patterns):
        return False
    return any(_matches(p, host) for p in patterns if not p.startswith("!"))


def _matches(pattern: str, host: str) -> bool:
    # Brackets are literal here (they enclose an address), not a character class.
    return fnmatch.fnmatchcase(host, pattern.replace("[", "[[]"))


def _hash_matches(names: str, host: str) -> bool:
    try:
        _, _, salt, digest = names.split("|")
        wanted = base64.b64decode(digest, validate=True)
        found = hmac.digest(base64.b64decode(salt, validate=True), host.encode(), "sha1")
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(found, wanted)
