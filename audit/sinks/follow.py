"""Follow the log's files, read-only, from a remembered position: every writer's records are seen.

May touch: the log's segments and checkpoint, for reading. What is handed on was signed, follows the
chain, and, at the end, has the signed root: a log that was cut or rewritten since the last delivery
is noticed here and goes no further.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import final

from audit.canonical import Json
from audit.chain import FIRST_PREV, MAX_LINE_BYTES, Chain
from audit.directory import CHECKPOINT, LogDirectory, segment_name
from audit.errors import AuditTampered
from audit.heads import Head, Heads, HeadsError
from audit.merkle import Frontier
from audit.note import PublicKey
from audit.trust import TrustPolicy

MAX_RECORDS = 500
MAX_BYTES = 1 << 18  # of one batch, so that a dead receiver never costs memory


@dataclass(frozen=True, slots=True)
class Position:
    """How far one sink is: the file and byte to go on from, and the tree up to there."""

    size: int = 0  # records before it
    segment: int = 0
    offset: int = 0
    earlier: int = 0  # bytes of all segments before this one
    tip: str = FIRST_PREV.decode()
    peaks: tuple[bytes, ...] = ()

    def chain(self) -> Chain:
        """Return the chain up to here."""
        return Chain(self.tip.encode(), Frontier(self.size, self.peaks))

    @property
    def bytes(self) -> int:
        """Return the bytes of all records before it."""
        return self.earlier + self.offset

    def to_json(self) -> dict[str, Json]:
        """Return what `from_json` reads."""
        return {
            "size": self.size,
            "segment": self.segment,
            "offset": self.offset,
            "earlier": self.earlier,
            "tip": self.tip,
            "peaks": [peak.hex() for peak in self.peaks],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, object]) -> "Position":
        """Return the position that was kept.

        Raises:
            ValueError: it is none.
        """
        peaks = found["peaks"]
        numbers = [found[name] for name in ("size", "segment", "offset", "earlier")]
        size, segment, offset, earlier = (n for n in numbers if isinstance(n, int) and n >= 0)
        if not isinstance(peaks, list) or len(peaks) != size.bit_count():
            raise ValueError("no such tree")
        hashes = tuple(bytes.fromhex(str(peak)) for peak in peaks)
        return cls(size, segment, offset, earlier, str(found["tip"]), hashes)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records in a row, each with its newline, and where they stand."""

    start: Position
    end: Position
    lines: tuple[bytes, ...]
    head: Head

    @property
    def data(self) -> bytes:
        """Return the records as they stand in the log."""
        return b"".join(self.lines)


@final
class Follower:
    """Reads one log; keeps nothing between two reads."""

    def __init__(self, directory: Path, keys: Callable[[], Sequence[PublicKey]]) -> None:
        self.path = directory
        self._keys = keys

    def head(self) -> Head:
        """Return the newest checkpoint.

        Raises:
            OSError: it cannot be read.
            AuditTampered: it is not signed by the log's key.
        """
        directory = LogDirectory.open(self.path)
        try:
            heads = Heads(directory, TrustPolicy(tuple(self._keys())))
            heads.load_ring()
            head = heads.read(CHECKPOINT)
        except HeadsError as error:
            raise AuditTampered(f"{self.path / error.place}: {error}. Run audit verify.") from None
        finally:
            directory.close()
        if head is None:
            raise AuditTampered(f"{self.path / CHECKPOINT}: there is none. Run audit verify.")
        return head

    def read(self, start: Position, head: Head, until: int | None = None) -> Batch:
        """Return the next records after `start`, as many as fit a batch; none at the end.

        Args:
            start: where the last delivery ended.
            head: the signed end; nothing after it is read.
            until: stop before this record.

        Raises:
            OSError: the log cannot be read.
            AuditTampered: it is not what was delivered before, or not what was signed.
        """
        signed = head.checkpoint
        if start.size > signed.size:
            raise AuditTampered(
                f"{self.path}: {start.size} records were delivered, and the log now has "
                f"{signed.size}: it was rolled back. Run audit verify, and compare with the copy."
            )
        stop = signed.size if until is None else until
        directory = LogDirectory.open(self.path)
        try:
            at, lines = _lines(directory, start, stop)
        finally:
            directory.close()
        chain = start.chain()
        if chain.follow_block(lines) < len(lines) or (not lines and start.size < stop):
            why = chain.why_not(lines[chain.size - start.size]) if lines else "it is missing"
            raise AuditTampered(
                f"{self.path}: record {chain.size} does not follow what was delivered before: "
                f"{why}. Run audit verify, and compare with the copy."
            )
        if chain.size == signed.size and chain.frontier.root() != signed.root:
            raise AuditTampered(
                f"{self.path}: its {signed.size} records are not the ones that were delivered or "
                "signed: the roots differ. Run audit verify, and compare with the copy."
            )
        end = Position(chain.size, *at, chain.tip.decode(), chain.frontier.peaks)
        return Batch(start, end, tuple(lines), head)


def _lines(
    directory: LogDirectory, start: Position, stop: int
) -> tuple[tuple[int, int, int], list[bytes]]:
    """Return where the lines end (segment, offset, bytes before) and the lines themselves."""
    segment, offset, earlier = start.segment, start.offset, start.earlier
    wanted = min(stop - start.size, MAX_RECORDS)
    if wanted <= 0:
        return (segment, offset, earlier), []
    if offset and directory.size(segment_name(start.size)) is not None:
        segment, offset, earlier = start.size, 0, earlier + offset  # the log went on in a new file
    descriptor = directory.file(segment_name(segment), os.O_RDONLY)
    try:
        data = os.pread(descriptor, MAX_BYTES + MAX_LINE_BYTES, offset)
    finally:
        os.close(descriptor)
    lines: list[bytes] = []
    taken = 0
    for line in BytesIO(data):
        if len(lines) == wanted or taken >= MAX_BYTES or not line.endswith(b"\n"):
            break
        lines.append(line)
        taken += len(line)
    return (segment, offset + taken, earlier), lines
