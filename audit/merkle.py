"""Merkle tree over audit records: leaf and node hashes, the growing edge, inclusion proofs.

May touch: bytes and hashlib. May not touch: files, clocks, keys (log.py and note.py do).
Source: RFC 6962 §2.1, and RFC 9162 §2.1.3 and §2.1.4 for checking proofs.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one leaf, 32 bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node, 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: all that appending needs, O(log n) hashes.

    INVARIANT: `_peaks` holds the roots of the perfect subtrees named by the bits of `size`.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)

    def copy(self) -> "Frontier":
        """Return an independent frontier of the same tree."""
        return Frontier(self.size, self._peaks)

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """Return the roots of the perfect subtrees, the widest first."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash on the right."""
        self.extend((leaf,))

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes on the right, level by level: at each, an odd node out is a peak."""
        level, bits, peaks = list(leaves), self.size, list[bytes]()
        while level:
            if bits & 1:
                level.insert(0, self._peaks.pop())
            if len(level) & 1:
                peaks.append(level.pop())
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
            bits >>= 1
        self._peaks += reversed(peaks)
        self.size += len(leaves)

    def graft(self, level: int, root: bytes) -> None:
        """Add a whole tree of 2**level leaves on the right; the size is a multiple of that."""
        bits = self.size >> level
        while bits & 1:
            root = node_hash(self._peaks.pop(), root)
            bits >>= 1
        self._peaks.append(root)
        self.size += 1 << level

    def root(self) -> bytes:
        """Return the tree's root, 32 bytes."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for left in reversed(self._peaks[:-1]):
            root = node_hash(left, root)
        return root


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, 32 bytes (RFC 6962 §2.1)."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def subtrees(leaves: Sequence[bytes], first: int) -> list[tuple[int, bytes]]:
    """Return (level, root) of the widest whole trees over some leaves, from left to right.

    Args:
        leaves: leaf hashes that follow one another in a tree.
        first: zero-based position of the first in that tree.
    """
    row, place, level = list(leaves), first, 0
    left, right = list[tuple[int, bytes]](), list[tuple[int, bytes]]()
    while row:
        if place & 1:
            left.append((level, row.pop(0)))
            place += 1
        if len(row) & 1:
            right.append((level, row.pop()))
        row = [node_hash(*pair) for pair in zip(row[::2], row[1::2], strict=True)]
        place, level = place >> 1, level + 1
    return left + right[::-1]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that `leaf` at `index` of a tree of `size` leads to.

    Raises:
        ValueError: the proof cannot belong to that place.

    Source: RFC 9162 §2.1.3.2.
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} is outside a tree of {size}")
    place, last, root = index, size - 1, leaf
    for sibling in proof:
        if len(sibling) != HASH_BYTES or last == 0:
            raise ValueError("the proof has a hash too many or of the wrong length")
        if place & 1 or place == last:
            root = node_hash(sibling, root)
            place, last = _skip_right_edge(place, last)
        else:
            root = node_hash(root, sibling)
        place >>= 1
        last >>= 1
    if last:
        raise ValueError("the proof is too short for its place")
    return root


def _skip_right_edge(place: int, last: int) -> tuple[int, int]:
    while place and not place & 1:
        place >>= 1
        last >>= 1
    return place, last
