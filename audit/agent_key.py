"""An Ed25519 key in ssh-agent: asked for one raw signature at a time; the key stays there.

May touch: the socket that SSH_AUTH_SOCK names. Source: draft-ietf-sshm-ssh-agent §3.5 and §3.6,
RFC 8709 for the key and signature blobs. Each signature has its own connection, so an agent that is
started again under the same name is found again.
"""

import base64
import os
import socket
import struct
from dataclasses import dataclass
from hashlib import sha256

DEADLINE_S = 10.0  # an agent may ask a person to confirm
MAX_ANSWER_BYTES = 1 << 18
_LIST, _LISTED = 11, 12
_SIGN, _SIGNED = 13, 14
_TYPE = b"ssh-ed25519"


@dataclass(frozen=True, slots=True)
class AgentKey:
    """One key of the agent."""

    blob: bytes

    @classmethod
    def find(cls, fingerprint: str, raw: bytes | None = None) -> "AgentKey":
        """Return the key with this fingerprint, or with these 32 public bytes.

        Raises:
            OSError: no agent answers.
            ValueError: it has no such key, or one of another kind.
        """
        parts = _Parts(_ask(bytes([_LIST]), _LISTED))
        for _ in range(parts.number()):
            blob, _comment = parts.text(), parts.text()
            if (raw is None and _fingerprint(blob) == fingerprint) or blob == _blob(raw or b""):
                found = cls(blob)
                found.public_bytes()
                return found
        what = fingerprint if raw is None else _fingerprint(_blob(raw))
        raise ValueError(f"the ssh-agent has no key {what}; add it with ssh-add")

    def public_bytes(self) -> bytes:
        """Return the 32 bytes of the public key.

        Raises:
            ValueError: the key is not Ed25519.
        """
        parts = _Parts(self.blob)
        kind = parts.text()
        if kind != _TYPE:
            raise ValueError(f"the key is {kind.decode(errors='replace')}, not {_TYPE.decode()}")
        return parts.text()

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature.

        Raises:
            OSError: no agent answers in time.
            ValueError: it refuses, because the key was removed, it is locked, or a person said no.
        """
        request = bytes([_SIGN]) + _string(self.blob) + _string(message) + struct.pack(">I", 0)
        parts = _Parts(_Parts(_ask(request, _SIGNED)).text())
        kind = parts.text()
        if kind != _TYPE:
            raise ValueError(f"the ssh-agent signed as {kind.decode(errors='replace')}")
        return parts.text()


class _Parts:
    """The parts of a message of the agent protocol, in order (RFC 4251 §5)."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def text(self) -> bytes:
        return self._take(self.number())

    def _take(self, count: int) -> bytes:
        if count > len(self._rest):
            raise ValueError("the ssh-agent sent a message that ends too early")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


def _ask(request: bytes, expected: int) -> bytes:
    place = os.environ.get("SSH_AUTH_SOCK")
    if not place:
        raise ValueError("SSH_AUTH_SOCK is not set; start an ssh-agent and pass it on")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(place)
        connection.sendall(_string(request))
        length = int.from_bytes(_receive(connection, 4), "big")
        if length > MAX_ANSWER_BYTES:
            raise ValueError("the ssh-agent sent a message that is too long")
        answer = _receive(connection, length)
    if answer[:1] != bytes([expected]):
        raise ValueError("the ssh-agent refused: the key is gone, it is locked, or you said no")
    return answer[1:]


def _receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise ValueError("the ssh-agent hung up")
        data += chunk
    return data


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _blob(raw: bytes) -> bytes:
    return _string(_TYPE) + _string(raw)


def _fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(sha256(blob).digest()).decode().rstrip("=")
