"""Key epochs: the old key signs its last checkpoint over the record that names the new one.

May touch: `epochs/` of a log. A rotation is in force once its file is there: a
tlog-proof of the record `key.rotate` under the old key's closing checkpoint, named by its size. The
chain of these files leads from the first key to today's without the log. Rules:
1 the record says which key hands over to which, and the new key has signed that it agrees
2 the closing checkpoint ends with that record and is the last that the old key may sign
3 a checkpoint of n records is signed by the key that was in force when record n - 1 was written
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from audit.canonical import decode_object
from audit.directory import PUBLIC_FILE, LogDirectory
from audit.errors import AuditError, NoteError, RecordRefused
from audit.note import (
    Checkpoint,
    PublicKey,
    Signer,
    is_signed_by,
    open_checkpoint,
    open_note,
    proof_parts,
)
from audit.record import Record

EPOCHS = "epochs"
ROTATE = "key.rotate"
ROTATE_MARK = b'"event":"key.rotate"'  # as a key this stands in such a record, and rarely elsewhere
_SUFFIX = ".proof"
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Rotation:
    """One change of keys: `old` signed the first records, `new` signs what follows."""

    closing: Checkpoint
    old: PublicKey
    new: PublicKey
    proof: bytes

    @classmethod
    def open(cls, proof: bytes) -> "Rotation":
        """Return the rotation that a file of `epochs/` proves; whether to trust `old` is open.

        Raises:
            NoteError: it breaks one of the rules 1 and 2.
        """
        parts = proof_parts(proof)
        old, new, signature = _named(parts.record)
        proven = parts.under(open_checkpoint(parts.note, [old]))
        if proven.index + 1 != proven.checkpoint.size:
            raise NoteError(
                f"the closing checkpoint signs {proven.checkpoint.size} records, but the rotation "
                f"is record {proven.index}"
            )
        new.check(_agreement(old, new, proven.index), signature)
        return cls(proven.checkpoint, old, new, proof)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one log in order: those trusted to begin it, and each that took over."""

    first: tuple[PublicKey, ...]
    rotations: tuple[Rotation, ...] = ()

    @classmethod
    def link(cls, first: Sequence[PublicKey], rotations: Sequence[Rotation]) -> "KeyRing":
        """Return the ring if each rotation hands over the key that the one before it introduced.

        Raises:
            NoteError: a link is missing, or the first key is not one of `first`.
        """
        trusted = tuple(first)
        for rotation in rotations:
            if rotation.old not in trusted:
                raise NoteError(
                    f"the rotation at record {rotation.closing.size - 1} hands over the key "
                    f"{rotation.old.vkey}, where {' or '.join(key.vkey for key in trusted)} was "
                    "in force. Give the key that began the log"
                )
            trusted = (rotation.new,)
        return cls(tuple(first), tuple(rotations))

    @property
    def current(self) -> tuple[PublicKey, ...]:
        """Return the keys of which one signs now."""
        return (self.rotations[-1].new,) if self.rotations else self.first

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """Return every key of the ring, oldest first."""
        return (*self.first, *(rotation.new for rotation in self.rotations))

    def at(self, size: int) -> tuple[PublicKey, ...]:
        """Return the keys of which one must sign a checkpoint of this size (rule 3)."""
        for before, rotation in enumerate(self.rotations):
            if size <= rotation.closing.size:
                return (self.rotations[before - 1].new,) if before else self.first
        return self.current

    def open(self, note: bytes, signer: Signer | None = None) -> Checkpoint:
        """Return the checkpoint in a note that the key in force signed; `signer` may have.

        Raises:
            NoteError: it is malformed, or signed by none of these keys or in another's epoch.
        """
        signed_by: Sequence[PublicKey]
        if signer is not None and is_signed_by(note, signer):
            checkpoint, signed_by = Checkpoint.of(note), [signer.public_key]
        else:
            text, signed_by = open_note(note, self.keys)
            checkpoint = Checkpoint.parse(text)
        signers = [key for key in signed_by if key.name == checkpoint.origin]
        if not signers:
            raise NoteError(f"the log {checkpoint.origin!r} has not signed its own checkpoint")
        if not set(signers).intersection(self.at(checkpoint.size)):
            raise NoteError(
                f"the checkpoint of size {checkpoint.size} is signed by {signers[0].vkey}, where "
                f"{self.at(checkpoint.size)[0].vkey} was in force"
            )
        return checkpoint


def rotation_record(old: PublicKey, new: Signer, seq: int) -> Record:
    """Return the record that hands the log over, with the new key's signature that it agrees."""
    signature = new.sign(_agreement(old, new.public_key, seq))
    return {
        "event": ROTATE,
        "old": old.vkey,
        "new": new.public_key.vkey,
        "pop": base64.b64encode(signature).decode(),
    }


def is_rotation(line: bytes) -> bool:
    """Return whether a record hands the log over."""
    if ROTATE_MARK not in line:
        return False
    try:
        return decode_object(line).get("event") == ROTATE
    except RecordRefused:
        return False


def epoch_name(size: int) -> str:
    """Return the name of the file that closes an epoch of this size."""
    return f"{size:0{_DIGITS}d}{_SUFFIX}"


def save_rotation(directory: LogDirectory, size: int, proof: bytes) -> None:
    """Put a rotation in force: once this returns, no crash takes it back.

    Raises:
        AuditError, OSError: it may be in force or not.
    """
    below = LogDirectory.prepare(directory.path / EPOCHS)
    try:
        directory.sync()
        below.replace(epoch_name(size), proof, PUBLIC_FILE)
    finally:
        below.close()


def has_newer(directory: LogDirectory, ring: KeyRing) -> bool:
    """Return whether the log knows of other rotations than the ring.

    Raises:
        OSError: `epochs` is something else than a directory, or cannot be read.
    """
    below = _below(directory)
    if below is None:
        return bool(ring.rotations)
    try:
        return _sizes(below) != [rotation.closing.size for rotation in ring.rotations]
    finally:
        below.close()


def read_rotations(directory: LogDirectory) -> list[Rotation]:
    """Return the rotations of a log in order.

    Raises:
        NoteError: a file proves no rotation, or not the one of its name.
        OSError: a file cannot be read.
    """
    found = list[Rotation]()
    for name, proof in proof_files(directory):
        try:
            rotation = Rotation.open(proof)
        except NoteError as error:
            raise NoteError(f"{EPOCHS}/{name}: {error}") from None
        if epoch_name(rotation.closing.size) != name:
            raise NoteError(f"{EPOCHS}/{name}: it closes {rotation.closing.size} records")
        found.append(rotation)
    return found


def proof_files(directory: LogDirectory) -> list[tuple[str, bytes]]:
    """Return the names below `epochs/` and the contents of the files that close epochs, in order.

    Raises:
        OSError: one cannot be read.
    """
    below = _below(directory)
    if below is None:
        return []
    try:
        return [(name, below.read(name) or b"") for name in map(epoch_name, _sizes(below))]
    finally:
        below.close()


def _below(directory: LogDirectory) -> LogDirectory | None:
    try:
        return directory.below(EPOCHS)
    except FileNotFoundError:
        return None


def _sizes(below: LogDirectory) -> list[int]:
    digits = (name.removesuffix(_SUFFIX) for name in below.names() if name.endswith(_SUFFIX))
    return sorted(int(text) for text in digits if text.isdigit() and len(text) == _DIGITS)


def _agreement(old: PublicKey, new: PublicKey, seq: int) -> bytes:
    return f"permitgate-key-rotate-v1\n{old.name}\n{old.vkey}\n{new.vkey}\n{seq}\n".encode()


def _named(line: bytes) -> tuple[PublicKey, PublicKey, bytes]:
    try:
        record = decode_object(line)
        old, new = (PublicKey.parse(str(record.get(name))) for name in ("old", "new"))
        signature = base64.b64decode(str(record.get("pop")), validate=True)
    except (AuditError, binascii.Error) as error:
        raise NoteError(f"its record hands nothing over: {error}") from None
    if record.get("event") != ROTATE or old.name != new.name:
        raise NoteError("its record hands nothing over from one key of the log to another")
    return old, new, signature
