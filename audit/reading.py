"""A log read for people: the verdict on it, the records asked for, and what proves each of them.

May touch: the log's files, for reading. A log that does not verify is shown too, for then it is
looked at most: what is wrong is said, and no record is called proven that the signed root does not
cover. `Trust` says for each record how far it goes.
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

from audit.canonical import Json, decode_object
from audit.directory import LogDirectory
from audit.errors import AuditError, RecordRefused
from audit.heads import Head, Heads, HeadsError
from audit.merkle import HASH_BYTES
from audit.note import Checkpoint, PublicKey, make_proof
from audit.proofs import ProofTree
from audit.query import Query, holds
from audit.read import raw_lines
from audit.trust import TrustPolicy
from audit.verify import Report, verify

Trust: TypeAlias = Literal["signed", "recovered", "unsigned", "broken"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The records asked for, the newest last, and what is known of the log they stand in."""

    report: Report
    head: Checkpoint | None  # None: there is no checkpoint that a trusted key signed
    note: bytes
    handovers: tuple[bytes, ...]  # of the key, each as a proof; mostly none
    tree: ProofTree | None  # over the signed records; None: they do not lead to the signed root
    lines: tuple[tuple[int, bytes], ...]
    records: tuple[dict[str, Json], ...]
    left_out: int  # older ones that were asked for too
    unreadable: int  # lines that are no records of ours

    def trust(self, seq: int) -> Trust:
        """Return how far the signature goes for one record.

        `signed` and `recovered` are under the signed root; a recovered one was not signed when it
        was written. `unsigned` comes after it. `broken` is what a changed log cannot prove.
        """
        if self.tree is None or self.head is None:
            return "broken"
        if seq >= self.head.size:
            return "unsigned"
        kept = any(first <= seq <= last for first, last in self.report.recovered)
        return "recovered" if kept else "signed"

    def proof(self, seq: int, line: bytes) -> bytes | None:
        """Return one record's proof file as audit.prove gives it; None if nothing proves it."""
        if self.tree is None or seq >= self.tree.size:
            return None
        siblings = self.tree.proof(seq)
        return make_proof(line, seq, siblings, self.note, self.handovers)


def read(log: Path, keys: Sequence[PublicKey], query: Query, *, last: int) -> Reading:
    """Return the newest `last` records asked for, and the verdict on the whole log.

    Raises:
        AuditError: the log cannot be read.
    """
    report = verify(log, keys)
    try:
        with closing(LogDirectory.open(log)) as directory:
            head, handovers = _head(directory, keys)
            found = _Lines(query, last)
            for first in directory.segments():
                for seq, raw in enumerate(raw_lines(directory, first), start=first):
                    found.take(seq, raw)
    except OSError as error:
        raise AuditError(f"{log}: cannot be read: {error.strerror}") from error
    tree = None
    if head is not None:
        signed = head.checkpoint
        tree = ProofTree(found.leaves[: signed.size * HASH_BYTES])
        if (tree.size, tree.root) != (signed.size, signed.root):
            tree = None
    records = tuple(found.records())
    return Reading(
        report,
        head.checkpoint if head is not None else None,
        head.note if head is not None else b"",
        handovers,
        tree,
        tuple((seq, line) for seq, line, _ in records),
        tuple(record for *_, record in records),
        found.matched - len(found.kept),
        found.unreadable,
    )


class _Lines:
    """What is kept of the lines as they pass: all hashes, and the newest that are asked for."""

    def __init__(self, query: Query, last: int) -> None:
        self._query = query
        self._needles = query.needles()
        self._is_asked = bool(self._needles or query.since or query.until)
        self.leaves = bytearray()
        self.kept: deque[tuple[int, bytes]] = deque(maxlen=last)
        self.matched = 0
        self.unreadable = 0

    def take(self, seq: int, raw: bytes) -> None:
        """Take one line; a torn last one is no record yet."""
        if not raw.endswith(b"\n"):
            return
        line = raw[:-1]
        self.leaves += sha256(b"\0" + line).digest()
        if self._query.spans(seq) and holds(line, self._needles) and self._matches(line):
            self.matched += 1
            self.kept.append((seq, line))

    def records(self) -> Iterator[tuple[int, bytes, dict[str, Json]]]:
        """Yield what was kept, strictly read; what is no record of ours is counted."""
        for seq, line in self.kept:
            try:
                yield seq, line, decode_object(line)
            except RecordRefused:
                self.unreadable += 1

    def _matches(self, line: bytes) -> bool:
        """Return whether a line is asked for; read quickly, since most are not kept."""
        if not self._is_asked:
            return True
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            self.unreadable += 1
            return False
        return isinstance(record, dict) and self._query.matches(record)


def _head(
    directory: LogDirectory, keys: Sequence[PublicKey]
) -> tuple[Head | None, tuple[bytes, ...]]:
    """Return the newest signed head, and what hands its key over from a trusted one."""
    heads = Heads(directory, TrustPolicy(tuple(keys)))
    try:
        heads.load_ring()
        newest, _ = heads.all()
    except HeadsError:
        return None, ()
    if newest is None:
        return None, ()
    size = newest.checkpoint.size
    rotations = [one.proof for one in heads.ring.rotations if one.closing.size < size]
    return newest, tuple(rotations)
