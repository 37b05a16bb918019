"""Signed notes: keys by name, checkpoints, and the proof file that verifies offline.

May touch: bytes and Ed25519 arithmetic. May not touch: files, clocks, private keys (keys.py does).
Source: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-proof. Every encoding is
checked to be the only one: a second spelling of the same bytes is an error.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.errors import NoteError
from audit.merkle import HASH_BYTES, leaf_hash, root_from_inclusion

ED25519 = 0x01
COSIGNATURE = 0x04
MAX_NOTE_BYTES = 1 << 20
CHECKPOINT_BYTES = 1024  # of the file: fixed, so overwriting it in place never needs a block
MAX_SIGNATURES = 100
MAX_SIZE_DIGITS = 16
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_HEADER_LINE = f"{PROOF_HEADER}\n".encode()
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 key under the name it signs as: a log's own, or a witness's (COSIGNATURE)."""

    name: str
    raw: bytes
    kind: int = ED25519

    @property
    def key_id(self) -> bytes:
        """Return the four bytes that announce this key in a signature line."""
        return _key_id(self.name, self.kind, self.raw)

    @property
    def vkey(self) -> str:
        """Return the key as C2SP text: `name+id+base64`."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(bytes([self.kind]) + self.raw)}"

    @classmethod
    def parse(cls, vkey: str, kind: int = ED25519) -> "PublicKey":
        """Return the key that a `name+id+base64` text spells.

        Raises:
            NoteError: it is no such text, not of this kind, or its id is another key's.
        """
        name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        tagged = _unbase64(encoded)
        if not is_key_name(name) or len(tagged) != 1 + HASH_BYTES or tagged[0] != kind:
            what = "a public key" if kind == ED25519 else "a witness's key"
            raise NoteError(f"{vkey!r} is not {what} of the form name+id+base64 (Ed25519)")
        key = cls(name, tagged[1:], kind)
        if key.key_id.hex() != key_id:
            raise NoteError(f"{vkey!r}: the id is not this key's, so a character is wrong")
        return key

    def check(self, text: bytes, signature: bytes) -> None:
        """Return if `signature` over `text` is this key's.

        Raises:
            NoteError: it is not.

        Source: c2sp.org/tlog-cosignature for a witness: the time it signed at comes first.
        """
        if self.kind == COSIGNATURE:
            moment, signature = signature[:_TIME_BYTES], signature[_TIME_BYTES:]
            text = b"cosignature/v1\ntime %d\n" % int.from_bytes(moment, "big") + text
        try:
            _verifier(self.raw).verify(signature, text)
        except InvalidSignature:
            raise NoteError(f"the signature by {self.name!r} does not verify") from None


class Signer(Protocol):
    """Whoever holds a private key: a file, an agent or a token."""

    @property
    def public_key(self) -> PublicKey:
        """Return the key that verifies what this signer signs."""

    @property
    def is_here(self) -> bool:
        """Return whether the key is in this process, so that signing is arithmetic."""

    def sign(self, message: bytes) -> bytes:
        """Return the raw Ed25519 signature, 64 bytes.

        Raises:
            SignerUnavailable: whoever holds the key does not sign now.
        """

    def successor(self, key: PublicKey) -> "Signer":
        """Return the signer of `key`, to which the log was rotated; forget the one before.

        Raises:
            AuditUnavailable: it cannot be reached from here; the message says what to configure.
        """


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: whose log, how many records, and their root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """Return the bytes that are signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> "Checkpoint":
        """Return the checkpoint in a note's text; extension lines are refused.

        Raises:
            NoteError: the text is not exactly three lines in their only spelling.
        """
        try:
            origin, size, root, rest = text.decode().split("\n")
        except ValueError:
            raise NoteError("a checkpoint is three lines: origin, size, root") from None
        if rest or not origin or not _is_decimal(size):
            raise NoteError(f"the checkpoint of {origin!r} has no plain decimal size: {size!r}")
        digest = _unbase64(root)
        if len(digest) != HASH_BYTES:
            raise NoteError(f"the checkpoint's root has {len(digest)} bytes, not {HASH_BYTES}")
        return cls(origin, int(size), digest)

    @classmethod
    def of(cls, note: bytes) -> "Checkpoint":
        """Return what a note says, whoever signed it.

        Raises:
            NoteError: its text is no checkpoint.
        """
        return cls.parse(note.partition(b"\n\n")[0] + b"\n")


@dataclass(frozen=True, slots=True)
class Proof:
    """A record, its place, and the signed tree it is proven to be in."""

    record: bytes
    index: int
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class ProofFile:
    """The parts of a proof file, none of them proven yet."""

    record: bytes
    handovers: tuple[bytes, ...]  # proofs of each rotation of the key before the checkpoint
    index: int
    path: tuple[bytes, ...]
    note: bytes

    def under(self, checkpoint: Checkpoint) -> Proof:
        """Return what the file proves, given that its checkpoint is signed.

        Raises:
            NoteError: the path misses the root.
        """
        leaf = leaf_hash(self.record)
        try:
            root = root_from_inclusion(leaf, self.index, checkpoint.size, self.path)
        except ValueError as error:
            raise NoteError(f"the proof does not fit its checkpoint: {error}") from None
        if root != checkpoint.root:
            raise NoteError("the record is not in the signed tree: the path leads to another root")
        return Proof(self.record, self.index, checkpoint)


@lru_cache(256)
def _key_id(name: str, kind: int, raw: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + raw).digest()[:_KEY_ID_BYTES]


@lru_cache(256)
def _verifier(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


def is_key_name(name: str) -> bool:
    """Return whether a log or key may have this name."""
    return name.split() == [name] and "+" not in name


def sign_note(text: bytes, signer: Signer) -> bytes:
    """Return the signed note of `text`, which ends in a newline."""
    key = signer.public_key
    line = f"\n— {key.name} {_base64(key.key_id + signer.sign(text))}\n"
    return text + line.encode()


def is_signed_by(note: bytes, signer: Signer) -> bool:
    """Return whether a note is what a signer at hand makes of its text.

    An Ed25519 signature is always the same, so making it again shows whose it is, in a third of
    the time of verifying it. Source: RFC 8032 §5.1.6.
    """
    text = note.partition(b"\n\n")[0] + b"\n"
    return signer.is_here and compare_digest(sign_note(text, signer), note)


def open_note(note: bytes, keys: Sequence[PublicKey]) -> tuple[bytes, tuple[PublicKey, ...]]:
    """Return the note's text and the known keys that signed it.

    Raises:
        NoteError: malformed, a known key's signature does not verify, or no known key signed.

    Source: c2sp.org/signed-note, Verifying signatures.
    """
    text, lines = _split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    signed_by: list[PublicKey] = []
    for line in lines:
        name, raw = _signature(line)
        key = known.get((name, raw[:_KEY_ID_BYTES]))
        if key is not None and key not in signed_by:
            key.check(text, raw[_KEY_ID_BYTES:])
            signed_by.append(key)
    if not signed_by:
        raise NoteError("no signature by a key you trust")
    return text, tuple(signed_by)


def open_checkpoint(note: bytes, keys: Sequence[PublicKey]) -> Checkpoint:
    """Return the checkpoint in a note that the log's own key signed.

    Raises:
        NoteError: as `open_note`, or the signing key is not named like the origin.
    """
    text, signed_by = open_note(note, keys)
    checkpoint = Checkpoint.parse(text)
    if all(key.name != checkpoint.origin for key in signed_by):
        raise NoteError(f"the log {checkpoint.origin!r} has not signed its own checkpoint")
    return checkpoint


def pad_note(note: bytes) -> bytes:
    """Return a note as the checkpoint file holds it, filled up with newlines."""
    return note.ljust(CHECKPOINT_BYTES, b"\n")


def unpad_note(data: bytes) -> bytes:
    """Return the note in a checkpoint file's bytes."""
    return data.rstrip(b"\n") + b"\n"


def make_proof(
    record: bytes, index: int, path: Sequence[bytes], note: bytes, handovers: Sequence[bytes] = ()
) -> bytes:
    """Return one file that proves a record offline: record, place, path and signed checkpoint."""
    extra = b"\n".join([record, b"".join(handovers)]) if handovers else record
    head = [PROOF_HEADER, f"extra {_base64(extra)}", f"index {index}", *map(_base64, path)]
    return "\n".join(head).encode() + b"\n\n" + note


def proof_parts(data: bytes) -> ProofFile:
    """Return the parts of a proof file; nothing about them is proven.

    Raises:
        NoteError: malformed.
    """
    head, _, note = data.partition(b"\n\n")
    try:
        header, extra, index, *siblings = head.decode().split("\n")
    except ValueError:
        raise NoteError(f"not a {PROOF_HEADER} file with its record inside") from None
    place = index.removeprefix("index ")
    if header != PROOF_HEADER or not extra.startswith("extra ") or f"index {place}" != index:
        raise NoteError(f"not a {PROOF_HEADER} file with its record inside")
    if not _is_decimal(place):
        raise NoteError(f"the proof's index {place!r} is not a plain decimal")
    record, _, handed = _unbase64(extra.removeprefix("extra ")).partition(b"\n")
    before, *handovers = handed.split(_HEADER_LINE)
    if before:
        raise NoteError("what follows the record in the proof is no proof of a key's rotation")
    path = tuple(_unbase64(sibling) for sibling in siblings)
    return ProofFile(record, tuple(_HEADER_LINE + one for one in handovers), int(place), path, note)


def _split_note(note: bytes) -> tuple[bytes, list[str]]:
    if len(note) > MAX_NOTE_BYTES or _CONTROL.search(note):
        raise NoteError("not a signed note: too long, or with control characters")
    text, separator, block = note.rpartition(b"\n\n")
    try:
        lines = block.decode().split("\n")
        text.decode()
    except UnicodeDecodeError:
        raise NoteError("not a signed note: not UTF-8") from None
    if not separator or lines[-1] or not 1 < len(lines) <= MAX_SIGNATURES + 1:
        raise NoteError("not a signed note: text, an empty line, then signature lines")
    return text + b"\n", lines[:-1]


def _signature(line: str) -> tuple[str, bytes]:
    dash, name, encoded = [*line.split(" "), "", "", ""][:3]
    raw = _unbase64(encoded)
    if dash != "—" or not is_key_name(name) or len(raw) <= _KEY_ID_BYTES or line.count(" ") != 2:  # noqa: PLR2004 — dash, name, base64
        raise NoteError(f"malformed signature line {line[:80]!r}")
    return name, raw


def _is_decimal(text: str) -> bool:
    is_plain = text.isascii() and text.isdigit() and len(text) <= MAX_SIZE_DIGITS
    return is_plain and (text == "0" or not text.startswith("0"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError(f"{text[:80]!r} is not base64") from None
    if _base64(data) != text:
        raise NoteError(f"{text[:80]!r} is not the one base64 spelling of its bytes")
    return data
