"""Stretches of a segment, each followed apart from the others, in any process, and then joined.

May touch: the log's segments, for reading. A stretch takes from its first line what came before;
whoever joins it to what did come before holds it to that.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from typing_extensions import override

from audit.chain import Chain, claimed_prev, claimed_seq, own_lines
from audit.directory import LogDirectory
from audit.merkle import Frontier, subtrees
from audit.read import line_starts, raw_blocks

STRETCH_BYTES = 4 << 20
WORTHWHILE_BYTES = 8 * STRETCH_BYTES  # of a log; starting processes takes as long as 10 MiB


@dataclass(frozen=True, slots=True)
class Part:
    """Where a stretch lies: a log, its segment by first record, and bytes from line to line."""

    log: Path
    first: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Lines that follow one another from record `seq` on, after a record whose hash is `prev`."""

    seq: int
    prev: bytes
    tip: bytes
    size: int  # of the log at its end
    roots: tuple[tuple[int, bytes], ...]  # (level, root) of the whole trees over it, left to right
    own: tuple[tuple[int, bytes], ...]  # what the log wrote about itself
    last: bytes

    def continues(self, chain: Chain) -> bool:
        """Return whether it starts where a chain stands."""
        return (self.seq, self.prev) == (chain.size, chain.tip)

    def join(self, chain: Chain) -> None:
        """Move a chain that it continues to its end."""
        for level, root in self.roots:
            chain.frontier.graft(level, root)
        chain.tip = self.tip


Spread = Callable[[Callable[[Part], Stretch | None], Sequence[Part]], Iterator[Stretch | None]]


def parts(directory: LogDirectory) -> list[Part]:
    """Return the parts of a log in order; none if it is short.

    Raises:
        OSError: a segment cannot be read.
    """
    cut = {first: line_starts(directory, first, STRETCH_BYTES) for first in directory.segments()}
    if sum(starts[-1] for starts in cut.values()) < WORTHWHILE_BYTES:
        return []
    return [
        Part(directory.path, first, *ends)
        for first, starts in cut.items()
        for ends in pairwise(starts)
    ]


def follow(part: Part) -> Stretch | None:
    """Return the stretch of a part; None if its lines do not follow one another."""
    try:
        directory = LogDirectory.open(part.log)
        try:
            return _followed(raw_blocks(directory, part.first, part.start, part.end))
        finally:
            directory.close()
    except OSError:
        return None  # whoever reads it again says why


def _followed(blocks: Iterator[list[bytes]]) -> Stretch | None:
    block = next(blocks, [b""])
    seq, prev = claimed_seq(block[0]), claimed_prev(block[0])
    if seq is None:
        return None
    leaves = _Leaves(seq)
    chain, own, last = Chain(prev, leaves), list[tuple[int, bytes]](), b""
    while block:
        own += own_lines(block, chain.size)
        if chain.follow_block(block) < len(block):
            return None
        last, block = block[-1], next(blocks, [])
    roots = tuple(subtrees(leaves.all, seq))
    return Stretch(seq, prev, chain.tip, chain.size, roots, tuple(own), last)


class _Leaves(Frontier):
    """Keeps the leaves of a tree whose beginning is elsewhere."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.all: list[bytes] = []

    @override
    def extend(self, leaves: Sequence[bytes]) -> None:
        self.all += leaves
        self.size += len(leaves)
