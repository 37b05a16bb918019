"""Cosignatures of witnesses: that somebody else saw this tree grow, and when.

May touch: bytes and Ed25519 arithmetic. May not touch: files, clocks.
Source: c2sp.org/tlog-cosignature, Ed25519 (`cosignature/v1`).
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.errors import NoteError
from audit.note import is_key_name

COSIGNATURE = 0x04
DASH = "— "
_RAW_KEY_BYTES = 32
_ID_BYTES = 4
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The Ed25519 key of a witness, under the name it cosigns as."""

    name: str
    raw: bytes

    @property
    def key_id(self) -> bytes:
        """Return the four bytes that announce this key in a signature line."""
        return sha256(self.name.encode() + b"\n" + bytes([COSIGNATURE]) + self.raw).digest()[:4]

    @classmethod
    def parse(cls, vkey: str) -> "WitnessKey":
        """Return the key that a `name+id+base64` text spells.

        Raises:
            NoteError: it is no such text, no key of a witness, or its id is another key's.
        """
        name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        tagged = _decoded(encoded)
        if not is_key_name(name) or len(tagged) != 1 + _RAW_KEY_BYTES or tagged[0] != COSIGNATURE:
            raise NoteError(
                f"{vkey!r} is not a witness's key of the form name+id+base64 (type 4, Ed25519)"
            )
        key = cls(name, tagged[1:])
        if key.key_id.hex() != key_id:
            raise NoteError(f"{vkey!r}: the id is not this key's, so a character is wrong")
        return key


@dataclass(frozen=True, slots=True)
class Cosignature:
    """One witness's word on one checkpoint; `at` is in seconds since 1970."""

    key: WitnessKey
    at: int
    line: str  # as a signed note holds it, with its newline


def cosignatures(
    text: bytes, lines: Sequence[str], keys: Sequence[WitnessKey]
) -> list[Cosignature]:
    """Return the cosignatures by known witnesses among a note's signature lines.

    Args:
        text: what was signed: the checkpoint's three lines.
        lines: signature lines, without newlines; those of other keys are passed over.
        keys: the witnesses that count.

    Raises:
        NoteError: a known witness's line does not verify.
    """
    known = {(key.name, key.key_id): key for key in keys}
    found: list[Cosignature] = []
    for line in lines:
        name, _, encoded = line.removeprefix(DASH).partition(" ")
        if not line.startswith(DASH):
            continue
        raw = _decoded(encoded)
        key = known.get((name, raw[:_ID_BYTES]))
        if key is not None:
            found.append(Cosignature(key, _checked(key, raw, text), f"{line}\n"))
    return found


def _checked(key: WitnessKey, raw: bytes, text: bytes) -> int:
    at = int.from_bytes(raw[_ID_BYTES : _ID_BYTES + _TIME_BYTES])
    message = b"cosignature/v1\ntime %d\n%s" % (at, text)
    try:
        public = Ed25519PublicKey.from_public_bytes(key.raw)
        public.verify(raw[_ID_BYTES + _TIME_BYTES :], message)
    except InvalidSignature:
        raise NoteError(f"the cosignature by {key.name!r} does not verify") from None
    return at


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError(f"{text[:80]!r} is not base64") from None
