"""SSH signatures over files and statements: what `ssh-keygen -Y sign` makes, verified.

May touch: bytes and text. May not touch: files, clocks (the caller says when).
Stricter than `ssh-keygen -Y verify`: an allowed signer must name the namespace, a security key must
have been touched, an RSA key has at least 2,048 bits.
Source: OpenSSH PROTOCOL.sshsig, PROTOCOL.u2f; ALLOWED SIGNERS in ssh-keygen(1).
"""

import base64
import binascii
import hashlib
import re
import struct
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization.ssh import load_ssh_public_key

from approvals.request import ApprovalError

MAGIC: Final = b"SSHSIG"
MIN_RSA_BITS: Final = 2048
MAX_SIGNATURE_BYTES: Final = 1 << 16
TOUCHED: Final = 0x01  # the user-presence flag of FIDO
_EDGE: Final = ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----")
_ARMOR = re.compile(rf"\s*{_EDGE[0]}\s+([A-Za-z0-9+/=\s]+){_EDGE[1]}\s*")
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_RSA_HASHES = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}
_SIGNER = re.compile(
    r'(?P<who>\S+)\s+(?:(?P<options>(?:[a-z-]+(?:="[^"]*")?,?)+)\s+)?'
    r"(?P<type>(?:ssh-|ecdsa-|sk-)\S+)\s+(?P<key>[A-Za-z0-9+/=]+)(?:\s.*)?"
)
_OPTION = re.compile(r'([a-z-]+)(?:="([^"]*)")?')
_TIMES = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


class BadSignature(ApprovalError):  # noqa: N818  # the name is the fact a caller acts on
    """These bytes were not signed by this key for this purpose, or nothing says they may be."""


@dataclass(frozen=True, slots=True)
class Signer:
    """One line of an allowed-signers file; times are seconds since 1970."""

    principals: tuple[str, ...]
    key: bytes
    namespaces: tuple[str, ...]
    valid_after: float | None = None
    valid_before: float | None = None

    def may_sign(self, namespace: str, at: float) -> bool:
        """Return whether this line lets its key sign for a namespace at a time."""
        begun = self.valid_after is None or at >= self.valid_after
        over = self.valid_before is not None and at >= self.valid_before
        return begun and not over and any(fnmatchcase(namespace, one) for one in self.namespaces)


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed: the principals of the key, its fingerprint, and whether someone touched it."""

    principals: tuple[str, ...]
    fingerprint: str
    touched: bool


class _Fields:
    """Length-prefixed fields, read once, to the last byte."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise BadSignature("the signature is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self) -> int:
        return int(struct.unpack(">I", self.take(4))[0])

    def field(self) -> bytes:
        return self.take(self.number())

    def end(self) -> None:
        if self._at != len(self._data):
            raise BadSignature("the signature has bytes after its end")


@dataclass(frozen=True, slots=True)
class _Envelope:
    key: bytes
    namespace: str
    digest_name: bytes
    signature: bytes


def verify(
    message: bytes, signature: str, namespace: str, signers: Sequence[Signer], at: float
) -> Signed:
    """Return who signed exactly these bytes for exactly this namespace.

    Args:
        message: what was signed.
        signature: its text, as `ssh-keygen -Y sign` writes it.
        namespace: what it must have been signed for.
        signers: who may sign.
        at: when it is judged, in seconds since 1970.

    Raises:
        BadSignature: it is not a signature over this, or not by anybody who may.
    """
    envelope = _envelope(signature)
    if envelope.namespace != namespace:
        raise BadSignature(f"it was signed for {envelope.namespace[:80]!r}, not for {namespace!r}")
    touched = _checked(envelope, _signed_data(message, envelope))
    fingerprint = base64.b64encode(hashlib.sha256(envelope.key).digest()).decode().rstrip("=")
    known = [one for one in signers if one.key == envelope.key and one.may_sign(namespace, at)]
    if not known:
        raise BadSignature(f"key SHA256:{fingerprint} is not among those who may sign this now")
    names = tuple(dict.fromkeys(name for one in known for name in one.principals))
    return Signed(names, f"SHA256:{fingerprint}", touched)


def signed_data(message: bytes, namespace: str) -> bytes:
    """Return the bytes that a key signs for a message: what `ssh-keygen -Y sign` hands to it."""
    return _signed_data(message, _Envelope(b"", namespace, b"sha512", b""))


def armored(key: bytes, namespace: str, signature: bytes) -> str:
    """Return the text of a signature over `signed_data`, as `ssh-keygen -Y sign` writes it.

    Args:
        key: the public key in SSH's own encoding.
        namespace: what it was signed for.
        signature: what the key or the agent gave, in SSH's own encoding.
    """
    fields = (key, namespace.encode(), b"", b"sha512", signature)
    data = MAGIC + struct.pack(">I", 1) + b"".join(map(_field, fields))
    lines = textwrap.wrap(base64.b64encode(data).decode(), 70)
    return "\n".join((_EDGE[0], *lines, _EDGE[1], ""))


def _field(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _envelope(text: str) -> _Envelope:
    match = _ARMOR.fullmatch(text) if len(text) <= MAX_SIGNATURE_BYTES else None
    if match is None:
        raise BadSignature("it is not an SSH signature")
    try:
        data = base64.b64decode("".join(match[1].split()), validate=True)
    except binascii.Error:
        raise BadSignature("it is not an SSH signature: the base64 is broken") from None
    fields = _Fields(data)
    if fields.take(len(MAGIC)) != MAGIC or fields.number() != 1:
        raise BadSignature("it is not an SSH signature of version 1")
    key, namespace, reserved = fields.field(), fields.field(), fields.field()
    digest_name, signature = fields.field(), fields.field()
    fields.end()
    if reserved or digest_name not in _HASHES:
        raise BadSignature("it uses a hash or a field that is not known")
    return _Envelope(key, namespace.decode("utf-8", "replace"), digest_name, signature)


def _signed_data(message: bytes, envelope: _Envelope) -> bytes:
    digest = _HASHES[envelope.digest_name](message).digest()
    fields = (envelope.namespace.encode(), b"", envelope.digest_name, digest)
    return MAGIC + b"".join(map(_field, fields))


def _checked(envelope: _Envelope, data: bytes) -> bool:
    """Verify the signature itself; return whether a security key was touched for it."""
    fields = _Fields(envelope.signature)
    algorithm, raw = fields.field(), fields.field()
    key_type = _Fields(envelope.key).field()
    is_security_key = key_type.startswith(b"sk-")
    if is_security_key:
        data = _touched_data(envelope, fields, data)
    fields.end()
    if algorithm != key_type and (key_type != b"ssh-rsa" or algorithm not in _RSA_HASHES):
        raise BadSignature(f"a key of type {key_type!r} does not sign by {algorithm!r}")
    try:
        _check(key_type, envelope.key, algorithm, (raw, data))
    except InvalidSignature:
        raise BadSignature("the signature is wrong: the bytes or the key are others") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadSignature(f"the key of type {key_type!r} cannot be read") from None
    return is_security_key


def _touched_data(envelope: _Envelope, fields: _Fields, data: bytes) -> bytes:
    application = _application(envelope.key)
    flags, counter = fields.take(1), fields.take(4)
    if not flags[0] & TOUCHED:
        raise BadSignature("the security key was not touched for it")
    return hashlib.sha256(application).digest() + flags + counter + hashlib.sha256(data).digest()


def _application(key: bytes) -> bytes:
    fields = _Fields(key)
    if fields.field().startswith(b"sk-ecdsa"):
        fields.field()  # the curve
    fields.field()  # the point
    return fields.field()


def _check(key_type: bytes, blob: bytes, algorithm: bytes, signed: tuple[bytes, bytes]) -> None:
    raw, data = signed
    match load_ssh_public_key(key_type + b" " + base64.b64encode(blob)):
        case Ed25519PublicKey() as key:
            key.verify(raw, data)
        case ec.EllipticCurvePublicKey() as key:
            fields = _Fields(raw)
            r, s = (int.from_bytes(fields.field(), "big") for _ in range(2))
            fields.end()
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(_curve_hash(key)))
        case RSAPublicKey() as key if key.key_size >= MIN_RSA_BITS:
            key.verify(raw, data, padding.PKCS1v15(), _RSA_HASHES[algorithm])
        case _:
            raise BadSignature(f"a key of type {key_type!r} is too weak")


def _curve_hash(key: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    sizes = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    return sizes[key.key_size]


def read_signers(text: str, source: str) -> tuple[Signer, ...]:
    """Return the lines of an allowed-signers file.

    Raises:
        BadSignature: a line cannot be read, or names no namespace; begins with source:line.
    """
    lines = enumerate(text.splitlines(), start=1)
    return tuple(
        _signer(line.strip(), f"{source}:{number}")
        for number, line in lines
        if line.strip() and not line.strip().startswith("#")
    )


def _signer(line: str, place: str) -> Signer:
    match = _SIGNER.fullmatch(line)
    if match is None:
        raise BadSignature(f"{place}: not a line of ssh-keygen's ALLOWED SIGNERS format")
    options = {name: value for name, value in _OPTION.findall(match["options"] or "") if name}
    unknown = sorted(options.keys() - {"namespaces", "valid-after", "valid-before"})
    if unknown:
        raise BadSignature(f"{place}: option {unknown[0]!r} is not supported; remove it")
    if not options.get("namespaces"):
        raise BadSignature(f'{place}: says not what the key may sign; add namespaces="…"')
    try:
        key = base64.b64decode(match["key"], validate=True)
        after, before = (_time(options.get(name)) for name in ("valid-after", "valid-before"))
    except (ValueError, KeyError):
        raise BadSignature(f"{place}: the key or a time cannot be read") from None
    names = tuple(options["namespaces"].split(","))
    return Signer(tuple(match["who"].split(",")), key, names, after, before)


def _time(text: str | None) -> float | None:
    """Read a time as ssh-keygen writes it, always as UTC: no file means another thing elsewhere."""
    if text is None:
        return None
    digits = text.removesuffix("Z")
    return datetime.strptime(digits, _TIMES[len(digits)]).replace(tzinfo=UTC).timestamp()
