"""Check a log with nothing but its directory and a public key; say what is wrong, and where.

May touch: the log's files for reading. INVARIANT: opens nothing for writing and takes no lock, so
an auditor can run it on a read-only copy or beside a running server.
The argument:
1 each checkpoint is signed by the key in force: the one the caller trusts, or its successors
2 every line continues the chain from record 0
3 the tree over them has the signed root at the signed size, and at every other size that a
  checkpoint vouches for (the durable copy, the end of each key's epoch, the one the caller kept)
4 what follows the signed size is named: unsigned, or torn
5 enough witnesses signed, if the caller's policy asks for them
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import final

from audit.canonical import decode_object
from audit.chain import Chain, own_lines
from audit.deep import DeepChecks, VoteCheck
from audit.diagnose import Break, Finding, explain
from audit.directory import CHECKPOINT, LogDirectory, segment_name
from audit.epochs import EPOCHS, ROTATE, epoch_name
from audit.errors import RecordRefused
from audit.heads import LOOK_AGAIN_S, Head, Heads, HeadsError
from audit.note import Checkpoint, PublicKey
from audit.read import place, raw_blocks
from audit.record import VERSION
from audit.stretches import Part, Spread, Stretch, follow, parts
from audit.trust import TrustPolicy

_PAUSE_S = 0.005


class Code(IntEnum):
    """Exit codes of the command line; the worst finding decides."""

    VERIFIED = 0
    TAMPERED = 1  # or rolled back, or forked
    UNUSABLE = 2  # usage or I/O: nothing can be said
    INCOMPLETE = 3  # torn, unsigned, or with --strict recovered
    UNMET = 4  # too few witnesses signed for the policy


@dataclass(frozen=True, slots=True)
class Report:
    """What the log is, as far as these keys can tell."""

    code: Code
    findings: tuple[Finding, ...]
    records: int
    signed: int
    origin: str
    root: str  # hex, of all records read
    recovered: tuple[tuple[int, int], ...]  # records kept after a crash: not signed at the time
    witnessed: int | None  # records that enough witnesses vouch for; None if nobody asked
    epochs: int  # how many keys signed the log


def verify(  # noqa: PLR0913 — each is one thing that an auditor may ask for
    directory: Path,
    trusted: Sequence[PublicKey] | TrustPolicy,
    *,
    pinned: bytes | None = None,
    deep: bool = False,
    vote: VoteCheck | None = None,
    strict: bool = False,
    progress: Callable[[int], None] | None = None,
    spread: Spread | None = None,
) -> Report:
    """Return whether the log is whole, unaltered and signed.

    Args:
        directory: the log; nothing in it is written or locked.
        trusted: the keys the caller trusts to have begun this log, or a trust policy.
        pinned: a checkpoint kept elsewhere (a receipt's note): finds roll-backs and forks.
        deep: also parse each record, and check pairing and single use of approvals.
        vote: how a signed vote is checked; with `deep`, what is signed is said unchecked without.
        strict: records that a crash left unsigned make the log incomplete.
        progress: is told how many records were read, every few hundred.
        spread: maps a function over parts of a long log, in order, where there are processors.
    """
    policy = trusted if isinstance(trusted, TrustPolicy) else TrustPolicy(tuple(trusted))
    spread = None if deep else spread  # that looks at each record in turn
    walk = _Walk(policy, progress, spread, strict=strict, deep=DeepChecks(vote) if deep else None)
    try:
        walk.run(directory, pinned)
    except OSError as error:
        message = f"cannot be read: {error.strerror} ({error.filename})"
        walk.say(Code.UNUSABLE, Finding("io", str(directory), None, message))
    return walk.report()


class _Stop(Exception):  # noqa: N818 — the walk has its answer
    """Leaves the walk at the first tampering: what follows it proves nothing."""


@final
class _Walk:
    def __init__(
        self,
        policy: TrustPolicy,
        progress: Callable[[int], None] | None,
        spread: Spread | None,
        *,
        strict: bool,
        deep: DeepChecks | None,
    ) -> None:
        self._policy = policy
        self._progress = progress
        self._spread = spread
        self._parts = deque[Part]()  # those that are followed elsewhere
        self._ahead: Iterator[Stretch | None] = iter(())
        self._strict = strict
        self._deep = deep
        self._chain = Chain()
        self._findings: list[Finding] = []
        self._codes = {Code.VERIFIED}
        self._signed: Checkpoint | None = None
        self._rotations = 0
        self._witnessed: int | None = None
        self._found: list[Head] = []
        self._heads: dict[int, list[tuple[str, bytes]]] = {}
        self._agreed = 0  # largest size at which a checkpoint's root was met
        self._tail_roots: dict[int, bytes] = {}
        self._recovered: list[tuple[int, int]] = []

    def run(self, path: Path, pinned: bytes | None) -> None:
        """Walk the whole log; findings collect on the way."""
        directory = LogDirectory.open(path)
        heads = Heads(directory, self._policy)
        try:
            self._take_heads(heads, pinned)  # 1
            self._walk(directory, heads)  # 2, 3
            self._end(heads)  # 4
            self._count_witnesses(heads)  # 5
        except _Stop:
            return
        except HeadsError as error:
            code = Code.UNUSABLE if error.kind == "pinned" else Code.TAMPERED
            self.say(code, Finding(error.kind, error.place, None, str(error)))
        finally:
            self._rotations = len(heads.ring.rotations)
            directory.close()

    def say(self, code: Code, finding: Finding) -> None:
        """Note a finding and what it means for the exit code."""
        self._codes.add(code)
        self._findings.append(finding)

    def report(self) -> Report:
        """Return what was found; tampering outweighs all, then what could not be read."""
        order = (Code.TAMPERED, Code.UNUSABLE, Code.UNMET, Code.INCOMPLETE, Code.VERIFIED)
        return Report(
            code=next(code for code in order if code in self._codes),
            findings=tuple(self._findings),
            records=self._chain.size,
            signed=self._signed.size if self._signed else 0,
            origin=self._signed.origin if self._signed else "",
            root=self._chain.frontier.root().hex(),
            recovered=tuple(self._recovered),
            witnessed=self._witnessed,
            epochs=self._rotations + 1,
        )

    # 1 the keys and the checkpoints

    def _take_heads(self, heads: Heads, pinned: bytes | None) -> None:
        heads.load_ring()
        if pinned is not None:
            for head in heads.pinned(pinned):
                self._expect(head)
        newest, found = heads.all()
        self._found = found
        for head in found:
            self._expect(head)
        if newest is None:
            message = "there is no checkpoint, so nothing after an older copy is signed"
            self.say(Code.INCOMPLETE, Finding("no_checkpoint", CHECKPOINT, None, message))
            newest = max(found, key=lambda head: head.checkpoint.size, default=None)
        self._signed = newest.checkpoint if newest else None

    def _expect(self, head: Head) -> None:
        self._heads.setdefault(head.checkpoint.size, []).append((head.place, head.checkpoint.root))

    # 2 the chain, 3 the roots

    def _walk(self, directory: LogDirectory, heads: Heads) -> None:
        self._meet_heads()
        self._begin_elsewhere(directory)
        segments = directory.segments()
        for first in segments:
            if first != self._chain.size:
                message = f"no file holds records {self._chain.size} to {first - 1}: it was removed"
                self._tampered("removed", segment_name(first), self._chain.size, message)
            self._check_owner(directory, first)
            try:
                self._walk_segment(directory, heads, first)
            except OSError as error:
                name = segment_name(first)
                message = (
                    f"record {self._chain.size} cannot be read: expected a regular file {name}, "
                    f"found: {error.strerror}"
                )
                self.say(Code.UNUSABLE, Finding("io", name, self._chain.size, message))
                raise _Stop from error

    def _begin_elsewhere(self, directory: LogDirectory) -> None:
        if self._spread is not None:
            with suppress(OSError):  # who reads it line by line says where
                self._parts.extend(parts(directory))
            self._ahead = self._spread(follow, tuple(self._parts))

    def _check_owner(self, directory: LogDirectory, first: int) -> None:
        """A file of somebody else in the log's directory is not the log's own."""
        name = segment_name(first)
        expected = os.fstat(directory.descriptor).st_uid
        found = os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False).st_uid
        if found != expected:
            message = (
                f"record {first} and what follows: expected a file of uid {expected}, who owns "
                f"the log, found one of uid {found}"
            )
            self.say(Code.UNUSABLE, Finding("foreign", name, first, message))

    def _walk_segment(self, directory: LogDirectory, heads: Heads, first: int) -> None:
        """Follow a segment; what was not followed elsewhere, line by line."""
        start, before = 0, b""
        for part, stretch in self._followed(first):
            if self._has_roots(stretch.size):
                self._walk_lines(directory, heads, first, (start, part.end, before))
            else:
                self._join(heads, first, stretch)
            start, before = part.end, stretch.last
        self._walk_lines(directory, heads, first, (start, None, before))

    def _followed(self, first: int) -> Iterator[tuple[Part, Stretch]]:
        """Yield the parts of a segment, as long as each continues the chain."""
        while self._parts and self._parts[0].first == first:
            part, stretch = self._parts.popleft(), next(self._ahead, None)
            if stretch is None or not stretch.continues(self._chain):
                self._parts.clear()
                return
            yield part, stretch

    def _has_roots(self, size: int) -> bool:
        """Return whether a root must be looked at before the log has this size, or then."""
        signed = self._signed.size if self._signed else 0
        return size > signed or any(head <= size for head in self._heads)

    def _join(self, heads: Heads, first: int, stretch: Stretch) -> None:
        stretch.join(self._chain)
        for seq, raw in stretch.own:
            self._take_own(heads, seq, place(first, seq), raw[:-1])
        if self._progress is not None:
            self._progress(self._chain.size)

    def _walk_lines(
        self,
        directory: LogDirectory,
        heads: Heads,
        first: int,
        where: tuple[int, int | None, bytes],
    ) -> None:
        """Follow a segment from one byte to another; also given is the line before."""
        chain, expected = self._chain, self._heads
        signed = self._signed.size if self._signed else 0
        start, end, previous = where
        stretches = self._stretches(raw_blocks(directory, first, start, end), signed)
        for block in stretches:
            count = chain.follow_block(block)
            self._look_inside(heads, first, block[:count])
            if count < len(block):
                before = block[count - 1] if count else previous
                after = block[count + 1] if count + 1 < len(block) else next(stretches, [b""])[0]
                found = Break(
                    first, chain.size, before, block[count], after, chain.why_not(block[count])
                )
                is_last = first == directory.segments()[-1]
                self._broken(found, is_unsigned=is_last and chain.size >= signed)
                return
            if chain.size in expected:
                self._meet_heads()
            elif chain.size > signed:
                self._tail_roots[chain.size] = chain.frontier.root()
            if self._progress is not None:
                self._progress(chain.size)
            previous = block[-1]

    def _stretches(self, blocks: Iterator[list[bytes]], signed: int) -> Iterator[list[bytes]]:
        """Yield the blocks, cut wherever a root must be looked at."""
        for block in blocks:
            rest = block
            while rest:
                stride = self._stride(signed)
                yield rest[:stride]
                rest = rest[stride:]

    def _stride(self, signed: int) -> int:
        """Return how many lines may be followed before a root must be looked at."""
        size = self._chain.size
        next_head = min((head for head in self._heads if head > size), default=size + 1)
        return 1 if size >= signed else next_head - size

    def _meet_heads(self) -> None:
        root = self._chain.frontier.root()
        for name, expected in self._heads.pop(self._chain.size, ()):
            if root == expected:
                self._agreed = self._chain.size
                continue
            kind = "forked" if name.startswith("pinned") else "rewritten"
            self._tampered(
                kind,
                f"records {self._agreed} to {self._chain.size - 1}",
                max(self._chain.size - 1, 0),
                f"they lead to another root than the {name} of size {self._chain.size} signed: "
                "at least one of them was altered, and all after it recomputed",
            )

    def _broken(self, found: Break, *, is_unsigned: bool) -> None:
        # A line that the file ends in is torn, whatever its record; a missing end is said later.
        if is_unsigned or (not found.line.endswith(b"\n") and not found.following):
            message = f"what follows record {found.seq - 1} is torn: {found.why}"
            where = place(found.first, found.seq)
            self.say(Code.INCOMPLETE, Finding("torn", where, found.seq, message))
            return
        finding = explain(found)
        self._tampered(finding.kind, finding.place, finding.seq, finding.message)

    def _look_inside(self, heads: Heads, first: int, block: Sequence[bytes]) -> None:
        start = self._chain.size - len(block)
        if self._deep is not None:
            for seq, raw in enumerate(block, start):
                for finding in self._deep.look(seq, place(first, seq), raw[:-1]):
                    self.say(Code.TAMPERED, finding)
        for seq, raw in own_lines(block, start):
            self._take_own(heads, seq, place(first, seq), raw[:-1])

    def _take_own(self, heads: Heads, seq: int, where: str, line: bytes) -> None:
        """Heed a record that the log wrote about itself."""
        try:
            record = decode_object(line)
        except RecordRefused:
            return  # --deep names it
        match record:
            case {"event": "log.open", "v": int(version)} if version > VERSION:
                message = (
                    f"record {seq}: expected format version {VERSION}, found {version}: a newer "
                    "Permitgate wrote what follows, verify it with that"
                )
                self.say(Code.UNUSABLE, Finding("version", where, seq, message))
            case {"event": "log.recovered", "kept": [int(first), int(last)]}:
                self._recovered.append((first, last))
                message = f"records {first} to {last} were kept after a crash: not signed then"
                code = Code.INCOMPLETE if self._strict else Code.VERIFIED
                self.say(code, Finding("recovered", where, first, message))
            case {"event": event} if event == ROTATE:
                self._take_rotation(heads, seq, where)
            case _:
                return

    def _take_rotation(self, heads: Heads, seq: int, where: str) -> None:
        closing = {head.checkpoint.size for head in heads.closing()}
        signed = self._signed.size if self._signed else 0
        if seq + 1 not in closing and seq >= signed:
            heads.load_ring()  # the key may be handed over while we read
            closing = {head.checkpoint.size for head in heads.closing()}
        if seq + 1 in closing:
            return
        message = (
            f"record {seq} hands the log over to another key: expected {EPOCHS}/"
            f"{epoch_name(seq + 1)} to prove it, found none"
        )
        if seq < signed:
            self._tampered("rotation", where, seq, message)
        self.say(Code.INCOMPLETE, Finding("rotation", where, seq, message))

    # 4 the end

    def _end(self, heads: Heads) -> None:
        if self._chain.size > (self._signed.size if self._signed else 0):
            self._await_signature(heads)
        for size, expected in sorted(self._heads.items()):
            self._tampered(
                "cut",
                f"after record {self._chain.size - 1}",
                self._chain.size,
                f"the log ends here with {self._chain.size} records, the {expected[0][0]} signed "
                f"{size}: its end was cut or it was rolled back",
            )
        for finding in self._deep.unchecked() if self._deep is not None else ():
            self.say(Code.VERIFIED, finding)
        if self._deep is not None and self._strict:
            for finding in self._deep.unpaired():
                self.say(Code.INCOMPLETE, finding)

    def _await_signature(self, heads: Heads) -> None:
        """A running server signs what it has just written; what stays unsigned is said."""
        deadline = time.monotonic() + LOOK_AGAIN_S
        while self._signed is not None and self._signed.size < self._chain.size:
            newer = heads.read(CHECKPOINT)
            if newer is not None and newer.checkpoint.size > self._signed.size:
                self._signed = newer.checkpoint
                for head in (newer, *heads.closing()):
                    self._meet_late(head)
            if time.monotonic() > deadline:
                break
            time.sleep(_PAUSE_S)
        signed = self._signed.size if self._signed else 0
        if signed < self._chain.size:
            message = f"records {signed} to {self._chain.size - 1} are not signed"
            self.say(Code.INCOMPLETE, Finding("unsigned", CHECKPOINT, signed, message))

    def _meet_late(self, head: Head) -> None:
        size = head.checkpoint.size
        if self._tail_roots.get(size, head.checkpoint.root) != head.checkpoint.root:
            message = "the root it signs is not that of the records"
            self._tampered("rewritten", head.place, size - 1, message)

    def _count_witnesses(self, heads: Heads) -> None:
        if not self._policy.defined:
            return
        best, why = heads.witnessed(self._found)
        self._witnessed = best.checkpoint.size if best else 0
        if best is None:
            self.say(Code.UNMET, Finding("policy", CHECKPOINT, None, why))

    def _tampered(self, kind: str, place: str, seq: int | None, message: str) -> None:
        self.say(Code.TAMPERED, Finding(kind, place, seq, message))
        raise _Stop
