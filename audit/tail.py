"""The growing end of the log on disk: follow it, add to it, sign it. One process at a time.

May touch: the files of one LogDirectory. Every method but `turn` runs with the log's lock
held. The order that makes a record true:
1 write   the lines, after everything other processes wrote; who is next in line may look at them
2 sync    fdatasync: from here the power may fail
3 sign    the checkpoint; its note exists only for what is durable
4 publish the note in place (pwrite: no new block, so a full disk does not stop it)
A rotation of the key is the same, and between 3 and 4 its proof is made durable in `epochs/`: from
there the new key is in force. A record `key.rotate` without that proof never happened and is cut.
A crash between any two steps leaves complete records without a signature, or a torn line.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import final

from audit.chain import MAX_LINE_BYTES, Chain
from audit.directory import (
    CHECKPOINT,
    DURABLE_CHECKPOINT,
    PUBLIC_FILE,
    LogDirectory,
    segment_name,
)
from audit.epochs import (
    EPOCHS,
    KeyRing,
    has_newer,
    is_rotation,
    read_rotations,
    rotation_record,
    save_rotation,
)
from audit.errors import AuditTampered, AuditUnavailable, NoteError, SignerUnavailable
from audit.merkle import Frontier
from audit.note import Checkpoint, Signer, make_proof, pad_note, sign_note, unpad_note
from audit.read import BLOCK_BYTES
from audit.record import Record
from audit.recover import OpenIntents
from audit.shortcut import Shortcut, load_shortcut
from audit.turns import Ahead, Line, look_ahead

DURABLE_EVERY_S = 1.0
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
WHAT_TO_DO = (
    "Run audit verify, keep the directory as evidence, and restore a copy or start a log of a new "
    "origin in another directory."
)
_CHUNK_BYTES = 1 << 20


class DiskFull(AuditUnavailable):
    """There is no space for a record; the log is as it was and works again once there is."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a dead writer left behind: bytes that were cut, unsigned records that were kept."""

    cut: tuple[int, str] | None
    kept: tuple[int, int] | None


@final
class Tail:
    """The last segment, the chain up to its end, and the checkpoint that signs it."""

    def __init__(self, directory: LogDirectory, signer: Signer, *, max_segment: int) -> None:
        self._directory = directory
        self.signer = signer
        self.ring = KeyRing((signer.public_key,))
        self._max_segment = max_segment
        self._segment = -1
        self._first = -1
        self._offset = 0
        self._shortcut: Shortcut | None = None
        self._note = b""
        self._durable_at = float("-inf")
        self._is_note_durable = True
        self._checkpoint = -1
        self._ahead: Ahead | None = None
        self._line = Line(directory)
        self.chain = Chain()
        self.intents = OpenIntents()  # of every process

    def start(self) -> Recovered | None:
        """Read the log to its end and return what had to be recovered.

        One read and one hash per record, of the last segment if the earlier ones are as they were.

        Raises:
            AuditTampered: anything up to the signed size is not what was signed.
        """
        self._line.open()
        flags = os.O_RDWR | os.O_CREAT
        self._checkpoint = self._directory.own_file(CHECKPOINT, flags, PUBLIC_FILE)
        self._refresh_ring()
        firsts = self._directory.segments()
        if not firsts and not any(self._read_notes()) and not self.ring.rotations:
            self._publish(sign_note(self._head().text(), self.signer))
            self._save_durable()  # before any record: a log with records always has a checkpoint
            self._open_segment(0, os.O_CREAT)
            return None
        if firsts[:1] != [0]:
            raise AuditTampered(
                f"{self._directory.path}: the log's first records are gone: {segment_name(0)} is "
                "missing but a checkpoint or later segments exist. Restore it from a copy."
            )
        recovered = self._follow_all(firsts)
        unread = [first for first in firsts if first > self._first]
        if unread:
            raise AuditTampered(
                f"{self._directory.path}: records {self.chain.size} to {unread[0] - 1} are "
                f"missing: {segment_name(unread[0])} exists, what leads to it does not. "
                "Restore them from a copy."
            )
        return recovered

    def _follow_all(self, firsts: Sequence[int]) -> Recovered | None:
        found = load_shortcut(self._directory, firsts)
        if found is not None:
            frontier = Frontier(found.first, map(bytes.fromhex, found.peaks))
            self.chain = Chain(found.tip.encode(), frontier)
            self.intents = OpenIntents(line.encode() for line in found.open_intents)
            self._open_segment(found.first)
            try:
                return self._follow(self._signed())
            except AuditTampered:
                self.chain, self.intents = Chain(), OpenIntents()
        self._open_segment(0)
        recovered = self._follow(self._signed())
        self._keep_shortcut()
        return recovered

    def _keep_shortcut(self) -> None:
        if self._shortcut is not None:
            with suppress(OSError):  # the next start takes the long way
                self._shortcut.save(self._directory, self._directory.segments())

    def catch_up(self) -> Recovered | None:
        """Follow what other processes wrote; return what a dead one of them left behind.

        Raises:
            AuditTampered: the log shrank, or what was added is not what was signed.
        """
        size, ahead, self._ahead = os.fstat(self._segment).st_size, self._ahead, None
        if size < self._offset:
            raise AuditTampered(
                f"{self._place()}: shrank to {size} bytes while the log was open; record "
                f"{self.chain.size - 1} is gone. Run audit verify with a kept checkpoint."
            )
        if size == self._offset and not self._has_next_segment():
            return None
        if ahead is None or ahead.offset != size:
            ahead = self._look()
        if ahead is not None and ahead.is_signed(self._directory):
            self._go_on(ahead)
            return None
        self._refresh_ring()
        return self._follow(self._signed())

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait without the log's lock until it is this writer's turn to wait for it."""
        with self._line.turn():
            self._ahead = self._look()
            yield

    def _look(self) -> Ahead | None:
        return look_ahead(self._segment, self._offset, self.chain, self.signer)

    def _go_on(self, ahead: Ahead) -> None:
        self.chain, self._offset = ahead.chain, ahead.offset
        for line in ahead.lines:
            self.intents.observe(line[:-1])

    def add(
        self, bodies: Sequence[bytes], seal: Callable[[bytes, bytes], None] | None = None
    ) -> tuple[int, Checkpoint, bytes]:
        """Make records durable and signed; return the first `@seq`, the tree head and its note.

        Args:
            bodies: the records, canonical, without their frame.
            seal: is given the last line and the note before the note is published.

        Raises:
            DiskFull, SignerUnavailable: it cannot be done now; the log is as it was.
            AuditUnavailable: the log's state is unknown; it must not be used again.
        """
        if self._offset >= self._max_segment:
            self._open_segment(self.chain.size, os.O_CREAT | os.O_EXCL)
            self._keep_shortcut()
        chain = self.chain.copy()
        lines = chain.extend_block(bodies)
        data = b"\n".join([*lines, b""])
        self._write(data)  # 1
        self._line.step_aside()
        os.fdatasync(self._segment)  # 2
        head = self._head(chain)
        try:
            note = sign_note(head.text(), self.signer)  # 3
            if seal is not None:
                seal(lines[-1], note)
            self._publish(note)  # 4
        except (DiskFull, SignerUnavailable):
            self._cut()  # the signature has not left this process, so the records may be taken back
            raise
        first = self.chain.size
        self.chain = chain
        self._offset += len(data)
        for line in lines:
            self.intents.observe(line)
        if time.monotonic() - self._durable_at >= DURABLE_EVERY_S:
            self._save_durable()
        return first, head, note

    def leave_unsigned(self, bodies: Sequence[bytes]) -> None:
        """Make records durable that nobody can sign now; the next writer keeps and names them.

        Raises:
            DiskFull: no space; the log is as it was.
        """
        chain = self.chain.copy()
        self._write(b"\n".join([*chain.extend_block(bodies), b""]))
        os.fdatasync(self._segment)

    def rotate(self, new: Signer, body: Callable[[Record], bytes]) -> None:
        """Hand the log over to a new key; nothing else may be added meanwhile.

        Raises:
            DiskFull, SignerUnavailable: it did not happen.
            AuditUnavailable, OSError: nobody knows; the next start finds out.
        """
        path = self.chain.frontier.peaks[::-1]  # of the next leaf, the rotation
        handing = rotation_record(self.signer.public_key, new, self.chain.size)

        def seal(line: bytes, note: bytes) -> None:
            proof = make_proof(line, self.chain.size, path, note)
            save_rotation(self._directory, self.chain.size + 1, proof)

        self.add([body(handing)], seal)
        self._save_durable()
        self.signer = new.successor(new.public_key)
        self._refresh_ring()

    def close(self) -> None:
        """Make the last checkpoint durable and give the files back."""
        try:
            if not self._is_note_durable:
                self._save_durable()
        finally:
            self._line.close()
            for descriptor in (self._segment, self._checkpoint):
                if descriptor >= 0:
                    os.close(descriptor)

    def _head(self, chain: Chain | None = None) -> Checkpoint:
        now = self.chain if chain is None else chain
        return Checkpoint(self.signer.public_key.name, now.size, now.frontier.root())

    def _refresh_ring(self) -> None:
        """Take notice of rotations, and go on with the signer that the last one names.

        The first key is taken from the log: a chain that ends in our key has our signature in it.
        """
        try:
            if not has_newer(self._directory, self.ring):
                return
            rotations = read_rotations(self._directory)
            self.ring = KeyRing.link([rotations[0].old], rotations)
        except (NoteError, OSError, IndexError) as error:
            raise AuditTampered(
                f"{self._directory.path / EPOCHS}: the chain of its keys is broken: {error}. "
                f"{WHAT_TO_DO}"
            ) from error
        if self.signer.public_key not in self.ring.current:
            self.signer = self.signer.successor(self.ring.current[0])

    def _signed(self) -> Checkpoint:
        heads: list[Checkpoint] = []
        why = "there is none"
        for note in self._read_notes():
            try:
                heads.append(self.ring.open(note, self.signer))
                if self.chain.size:
                    break  # the one in place is the newest; the durable copy is for starting up
            except NoteError as error:
                why = str(error)
        if not heads:
            raise AuditTampered(
                f"{self._directory.path / CHECKPOINT}: no checkpoint by this log's key "
                f"{self.signer.public_key.vkey}: {why}. Restore it, or start a log of a new "
                "origin in another directory."
            )
        heads += [rotation.closing for rotation in self.ring.rotations]
        return max(heads, key=lambda head: head.size)

    def _read_notes(self) -> Iterator[bytes]:
        for data in map(self._directory.read, (CHECKPOINT, DURABLE_CHECKPOINT)):
            if data:
                yield unpad_note(data)

    def _follow(self, signed: Checkpoint) -> Recovered | None:
        if self.chain.size > signed.size:
            raise self._not_what_was_signed(signed, "it was rolled back")
        self._check_root(signed)
        cut = None
        for block in self._new_blocks():
            unread = max(signed.size - self.chain.size, 0)
            for lines in filter(None, (block[:unread], block[unread:])):
                is_signed = self.chain.size < signed.size
                count = len(lines) if is_signed else _before_rotation(lines)
                broken = self._take(lines[:count]) or b"".join(lines[count : count + 1])
                self._check_root(signed)
                if broken and self.chain.size < signed.size:
                    raise AuditTampered(
                        f"{self._place()}: record {self.chain.size} is not what was signed: "
                        f"{self.chain.why_not(broken)}. {WHAT_TO_DO}"
                    )
                if broken:
                    cut = self._cut()
                    break
            if cut:
                break
        if self.chain.size < signed.size:
            raise self._not_what_was_signed(signed, f"it ends at record {self.chain.size - 1}")
        kept = (signed.size, self.chain.size - 1) if self.chain.size > signed.size else None
        return Recovered(cut, kept) if cut or kept else None

    def _check_root(self, signed: Checkpoint) -> None:
        if self.chain.size == signed.size and self.chain.frontier.root() != signed.root:
            raise self._not_what_was_signed(signed, "its history was rewritten")

    def _not_what_was_signed(self, signed: Checkpoint, how: str) -> AuditTampered:
        return AuditTampered(
            f"{self._directory.path}: the log is not the one whose {signed.size} records were "
            f"signed: {how}. {WHAT_TO_DO}"
        )

    def _take(self, lines: Sequence[bytes]) -> bytes:
        """Move past the lines that follow; return the first that does not, or nothing."""
        count = self.chain.follow_block(lines)
        self._offset += sum(map(len, lines[:count]))
        for raw in lines[:count]:
            self.intents.observe(raw[:-1])
        return lines[count] if count < len(lines) else b""

    def _new_blocks(self) -> Iterator[list[bytes]]:
        """Yield the lines after the offset, the last one perhaps torn; cross into new segments."""
        while True:
            position, rest = self._offset, b""
            while chunk := os.pread(self._segment, BLOCK_BYTES, position):
                position += len(chunk)
                lines = BytesIO(rest + chunk).readlines()
                rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
                yield lines
                if len(rest) > MAX_LINE_BYTES:
                    break
            if rest:
                yield [rest]  # no newline: it does not follow, whatever it says
            if not self._has_next_segment():
                return
            self._open_segment(self.chain.size)

    def _has_next_segment(self) -> bool:
        size = self.chain.size
        return size != self._first and self._directory.size(segment_name(size)) is not None

    def _open_segment(self, first: int, create: int = 0) -> None:
        flags = os.O_RDWR | os.O_APPEND | create
        descriptor = self._directory.own_file(segment_name(first), flags)
        if self._segment >= 0:
            os.close(self._segment)
        self._segment, self._first, self._offset = descriptor, first, 0
        if first:
            self._shortcut = Shortcut(
                first,
                self.chain.tip.decode(),
                tuple(peak.hex() for peak in self.chain.frontier.peaks),
                tuple(line.decode() for line in self.intents.lines()),
            )
        if create:
            self._directory.sync()

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._segment, rest) :]
        except OSError as error:
            self._cut()
            raise self._no_room(error) from error

    def _publish(self, note: bytes) -> None:
        try:
            os.pwrite(self._checkpoint, pad_note(note), 0)
        except OSError as error:
            raise self._no_room(error) from error
        self._note, self._is_note_durable = note, False

    def _save_durable(self) -> None:
        self._durable_at = time.monotonic()
        try:
            os.fdatasync(self._checkpoint)  # else a power cut makes it look rolled back
            self._directory.replace(DURABLE_CHECKPOINT, self._note, PUBLIC_FILE)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            return  # the hot checkpoint stands; this copy only shortens what recovery must name
        self._is_note_durable = True

    def _cut(self) -> tuple[int, str]:
        """Take the file back to the last whole record; return what went: bytes and SHA-256."""
        digest, count = sha256(), 0
        while chunk := os.pread(self._segment, _CHUNK_BYTES, self._offset + count):
            digest.update(chunk)
            count += len(chunk)
        os.ftruncate(self._segment, self._offset)
        os.fsync(self._segment)
        return count, digest.hexdigest()

    def _no_room(self, error: OSError) -> DiskFull:
        return DiskFull(
            f"{self._place()}: {error.strerror}. The record was not written and nothing ran. Make "
            "room on this file system; the log then goes on by itself."
        )

    def _place(self) -> str:
        return str(self._directory.path / segment_name(self._first))


def _before_rotation(lines: Sequence[bytes]) -> int:
    """Return how many lines come before the first that hands the log over."""
    marked = (n for n, raw in enumerate(lines) if is_rotation(raw.removesuffix(b"\n")))
    return next(marked, len(lines))
