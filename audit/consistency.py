"""Consistency proofs: that a tree of some records is the beginning of a longer one.

May touch: bytes and hashlib. May not touch: files, clocks, keys. The proof is built while the new
leaves stream by, from the old tree's edge: old leaves are never read again.
Source: RFC 6962 §2.1.2.
"""

from collections.abc import Iterator, Sequence
from typing import final

from audit.merkle import Frontier

Range = tuple[int, int]


@final
class ConsistencyProof:
    """The proof from one tree to a longer one, while the leaves between them come in."""

    def __init__(self, old: Frontier, new_size: int) -> None:
        self._size = old.size
        self._old = dict(zip(_peak_ranges(old.size), old.peaks, strict=True))
        self._nodes = list(_nodes(old.size, (0, new_size), is_whole=True)) if old.size else []
        self._new = {node: Frontier() for node in self._nodes if node not in self._old}

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Take the next leaf hashes after the old tree."""
        first, self._size = self._size, self._size + len(leaves)
        for (low, high), frontier in self._new.items():
            frontier.extend(leaves[max(low - first, 0) : max(high - first, 0)])

    def hashes(self) -> list[bytes]:
        """Return the proof, lowest first; every new leaf must have come in."""
        return [self._old.get(node) or self._new[node].root() for node in self._nodes]


def _nodes(old_size: int, tree: Range, *, is_whole: bool) -> Iterator[Range]:
    """Yield the subtrees of a proof; what lies in the old tree is always one of its peaks."""
    low, high = tree
    if old_size == high - low:
        if not is_whole:
            yield tree
        return
    middle = low + (1 << ((high - low - 1).bit_length() - 1))
    if old_size <= middle - low:
        yield from _nodes(old_size, (low, middle), is_whole=is_whole)
        yield (middle, high)
    else:
        yield from _nodes(old_size - (middle - low), (middle, high), is_whole=False)
        yield (low, middle)


def _peak_ranges(size: int) -> Iterator[Range]:
    low = 0
    for bit in reversed(range(size.bit_length())):
        if size >> bit & 1:
            yield low, low + (1 << bit)
            low += 1 << bit
