"""Writers take turns: who waits for the log stands in line, and looks ahead at what is written.

May touch: `lock.next` below the log, which is locked before the log's own lock and never after it,
and the end of a segment, for reading. INVARIANT: what was seen ahead counts only under the log's
lock, and only if the note in place is the one that this server makes of just that.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hmac import compare_digest
from io import BytesIO
from typing import final

from audit.chain import Chain
from audit.directory import CHECKPOINT, LogDirectory, segment_name
from audit.epochs import ROTATE_MARK
from audit.note import Checkpoint, Signer, pad_note, sign_note
from audit.read import BLOCK_BYTES

LINE = "lock.next"


@final
class Line:
    """Where one writer waits before it waits for the log's lock."""

    def __init__(self, directory: LogDirectory) -> None:
        self._directory = directory
        self._lock = -1

    def open(self) -> None:
        """Make the line if there is none.

        Raises:
            AuditUnavailable, AuditTampered: its file cannot be made, or is not plainly ours.
        """
        self._lock = self._directory.own_file(LINE, os.O_RDWR | os.O_CREAT)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until those before have written, or given up."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            self.step_aside()

    def step_aside(self) -> None:
        """Let the next in line look at what is written."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave for good."""
        if self._lock >= 0:
            os.close(self._lock)


@final
@dataclass(frozen=True, slots=True)
class Ahead:
    """Where a segment's end and the chain stand after another's lines, if they are signed."""

    offset: int
    chain: Chain
    lines: Sequence[bytes]
    note: bytes

    def is_signed(self, directory: LogDirectory) -> bool:
        """Return whether just this is signed, and no further segment begins here."""
        if directory.size(segment_name(self.chain.size)) is not None:
            return False
        return compare_digest(directory.read(CHECKPOINT) or b"", self.note)


def look_ahead(segment: int, offset: int, chain: Chain, signer: Signer) -> Ahead | None:
    """Return what an open segment holds after `offset`, if it is plainly what writers write.

    That is: whole lines that follow, none of which hands the log over, and a key in this process,
    so that the note of the tree with them can be made as they make it.
    """
    length = os.fstat(segment).st_size - offset
    if not (0 < length <= BLOCK_BYTES and signer.is_here):
        return None
    data = os.pread(segment, length, offset)
    lines, after = BytesIO(data).readlines(), chain.copy()
    if ROTATE_MARK in data or after.follow_block(lines) < len(lines):
        return None
    head = Checkpoint(signer.public_key.name, after.size, after.frontier.root())
    return Ahead(offset + len(data), after, lines, pad_note(sign_note(head.text(), signer)))
