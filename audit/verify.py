"""Check a log with nothing but its directory and a public key; say what is wrong, and where.

May touch: the log's files for reading. INVARIANT: opens nothing for writing and takes no lock, so
an auditor can run it on a read-only copy or beside a running server.
The argument:
1 the checkpoint is signed by a key the caller trusts
2 every line continues the chain from record 0
3 the tree over them has the signed root at the signed size, and at every other size that a
  checkpoint vouches for (the durable copy, the one the caller kept)
4 what follows the signed size is named: unsigned, or torn
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import final

from audit.canonical import decode_object
from audit.chain import Chain
from audit.deep import DeepChecks
from audit.diagnose import Break, Finding, explain
from audit.directory import CHECKPOINT, DURABLE_CHECKPOINT, LogDirectory, segment_name
from audit.errors import NoteError, RecordRefused
from audit.note import Checkpoint, PublicKey, open_checkpoint, unpad_note
from audit.read import place, raw_blocks

TORN_READ_S = 0.2  # a note that is being overwritten verifies on a later look
_PAUSE_S = 0.005
_RECOVERED = b'"event":"log.recovered"'


class Code(IntEnum):
    """Exit codes of the command line; the worst finding decides."""

    VERIFIED = 0
    TAMPERED = 1  # or rolled back, or forked
    UNUSABLE = 2  # usage or I/O: nothing can be said
    INCOMPLETE = 3  # torn, unsigned, or with --strict recovered


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


def verify(
    directory: Path,
    public_keys: Sequence[PublicKey],
    *,
    pinned: bytes | None = None,
    deep: bool = False,
    strict: bool = False,
) -> Report:
    """Return whether the log is whole, unaltered and signed.

    Args:
        directory: the log; nothing in it is written or locked.
        public_keys: the keys the caller trusts to sign this log.
        pinned: a checkpoint kept elsewhere (a receipt's note): finds roll-backs and forks.
        deep: also parse each record, and check pairing and single use of approvals.
        strict: records that a crash left unsigned make the log incomplete.
    """
    walk = _Walk(public_keys, strict=strict, deep=DeepChecks() if deep else None)
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
    def __init__(self, keys: Sequence[PublicKey], *, strict: bool, deep: DeepChecks | None) -> None:
        self._keys = keys
        self._strict = strict
        self._deep = deep
        self._chain = Chain()
        self._findings: list[Finding] = []
        self._codes = {Code.VERIFIED}
        self._signed: Checkpoint | None = None
        self._heads: dict[int, list[tuple[str, bytes]]] = {}
        self._agreed = 0  # largest size at which a checkpoint's root was met
        self._tail_roots: dict[int, bytes] = {}
        self._recovered: list[tuple[int, int]] = []

    def run(self, path: Path, pinned: bytes | None) -> None:
        """Walk the whole log; findings collect on the way."""
        directory = LogDirectory.open(path)
        try:
            self._take_pinned(pinned)
            self._take_checkpoints(directory)
            self._walk(directory)
            self._end(directory)
        except _Stop:
            return
        finally:
            directory.close()

    def say(self, code: Code, finding: Finding) -> None:
        """Note a finding and what it means for the exit code."""
        self._codes.add(code)
        self._findings.append(finding)

    def report(self) -> Report:
        """Return what was found; tampering outweighs all, then what could not be read."""
        order = (Code.TAMPERED, Code.UNUSABLE, Code.INCOMPLETE, Code.VERIFIED)
        return Report(
            code=next(code for code in order if code in self._codes),
            findings=tuple(self._findings),
            records=self._chain.size,
            signed=self._signed.size if self._signed else 0,
            origin=self._signed.origin if self._signed else "",
            root=self._chain.frontier.root().hex(),
            recovered=tuple(self._recovered),
        )

    # 1 the checkpoints

    def _take_pinned(self, pinned: bytes | None) -> None:
        if pinned is None:
            return
        try:
            self._expect("pinned checkpoint", open_checkpoint(unpad_note(pinned), self._keys))
        except NoteError as error:
            self.say(Code.UNUSABLE, Finding("pinned", "pinned checkpoint", None, str(error)))
            raise _Stop from error

    def _take_checkpoints(self, directory: LogDirectory) -> None:
        # The durable copy first: it is written after the other, so it can only be the older one.
        durable = self._read_checkpoint(directory, DURABLE_CHECKPOINT)
        self._signed = self._read_checkpoint(directory, CHECKPOINT)
        if durable is not None:
            self._expect(DURABLE_CHECKPOINT, durable)
        if self._signed is None:
            message = "there is no checkpoint, so nothing after the durable copy is signed"
            self.say(Code.INCOMPLETE, Finding("no_checkpoint", CHECKPOINT, None, message))
            self._signed = durable
            return
        self._expect(CHECKPOINT, self._signed)
        if durable is not None and durable.size > self._signed.size:
            self._tampered(
                "rolled_back",
                CHECKPOINT,
                None,
                f"it signs {self._signed.size} records, {DURABLE_CHECKPOINT} already "
                f"{durable.size}: the checkpoint was rolled back",
            )

    def _read_checkpoint(self, directory: LogDirectory, name: str) -> Checkpoint | None:
        deadline = time.monotonic() + TORN_READ_S
        while True:
            data = directory.read(name)
            if not (data or b"").strip(b"\0\n"):
                return None
            try:
                return open_checkpoint(unpad_note(data or b""), self._keys)
            except NoteError as error:
                if time.monotonic() > deadline:
                    self._tampered("checkpoint", name, None, str(error))
                time.sleep(_PAUSE_S)

    def _expect(self, name: str, head: Checkpoint) -> None:
        self._heads.setdefault(head.size, []).append((name, head.root))

    # 2 the chain, 3 the roots

    def _walk(self, directory: LogDirectory) -> None:
        self._meet_heads()
        segments = directory.segments()
        for first in segments:
            if first != self._chain.size:
                message = f"no file holds records {self._chain.size} to {first - 1}: it was removed"
                self._tampered("removed", segment_name(first), self._chain.size, message)
            self._walk_segment(directory, first, is_last=first == segments[-1])

    def _walk_segment(self, directory: LogDirectory, first: int, *, is_last: bool) -> None:
        chain, heads = self._chain, self._heads
        signed = self._signed.size if self._signed else 0
        previous, stretches = b"", self._stretches(raw_blocks(directory, first), signed)
        for block in stretches:
            count = chain.follow_block(block)
            self._look_inside(first, block[:count])
            if count < len(block):
                before = block[count - 1] if count else previous
                after = block[count + 1] if count + 1 < len(block) else next(stretches, [b""])[0]
                found = Break(
                    first, chain.size, before, block[count], after, chain.why_not(block[count])
                )
                self._broken(found, is_unsigned=is_last and chain.size >= signed)
                return
            if chain.size in heads:
                self._meet_heads()
            elif chain.size > signed:
                self._tail_roots[chain.size] = chain.frontier.root()
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

    def _look_inside(self, first: int, block: Sequence[bytes]) -> None:
        start = self._chain.size - len(block)
        if self._deep is not None:
            for seq, raw in enumerate(block, start):
                for finding in self._deep.look(seq, place(first, seq), raw[:-1]):
                    self.say(Code.TAMPERED, finding)
        for seq in [seq for seq, raw in enumerate(block, start) if _RECOVERED in raw]:
            self._take_recovered(place(first, seq), block[seq - start][:-1])

    def _take_recovered(self, where: str, line: bytes) -> None:
        try:
            record = decode_object(line)
        except RecordRefused:
            return  # --deep names it
        match record:
            case {"event": "log.recovered", "kept": [int(first), int(last)]}:
                self._recovered.append((first, last))
                message = f"records {first} to {last} were kept after a crash: not signed then"
                code = Code.INCOMPLETE if self._strict else Code.VERIFIED
                self.say(code, Finding("recovered", where, first, message))
            case _:
                return

    # 4 the end

    def _end(self, directory: LogDirectory) -> None:
        if self._chain.size > (self._signed.size if self._signed else 0):
            self._await_signature(directory)
        for size, heads in sorted(self._heads.items()):
            self._tampered(
                "cut",
                f"after record {self._chain.size - 1}",
                self._chain.size,
                f"the log ends here with {self._chain.size} records, the {heads[0][0]} signed "
                f"{size}: its end was cut or it was rolled back",
            )
        if self._deep is not None and self._strict:
            for finding in self._deep.unpaired():
                self.say(Code.INCOMPLETE, finding)

    def _await_signature(self, directory: LogDirectory) -> None:
        """A running server signs what it has just written; what stays unsigned is said."""
        deadline = time.monotonic() + TORN_READ_S
        while self._signed is not None and self._signed.size < self._chain.size:
            newer = self._read_checkpoint(directory, CHECKPOINT)
            if newer is not None and newer.size > self._signed.size:
                self._signed = newer
                if self._tail_roots.get(newer.size, newer.root) != newer.root:
                    message = "the root it signs is not that of the records"
                    self._tampered("rewritten", CHECKPOINT, newer.size - 1, message)
            if time.monotonic() > deadline:
                break
            time.sleep(_PAUSE_S)
        signed = self._signed.size if self._signed else 0
        if signed < self._chain.size:
            message = f"records {signed} to {self._chain.size - 1} are not signed"
            self.say(Code.INCOMPLETE, Finding("unsigned", CHECKPOINT, signed, message))

    def _tampered(self, kind: str, place: str, seq: int | None, message: str) -> None:
        self.say(Code.TAMPERED, Finding(kind, place, seq, message))
        raise _Stop
