"""Inclusion proofs for many records of one tree: every node is hashed once and kept.

May touch: bytes and hashlib. May not touch: files, clocks, keys.
Source: RFC 6962 §2.1; a node without a sibling is its own parent, which gives the same tree.
"""

from hashlib import sha256
from typing import final

from audit.merkle import HASH_BYTES

_PAIR = 2 * HASH_BYTES


@final
class ProofTree:
    """All nodes over some leaves, level by level; about 64 bytes for each leaf."""

    def __init__(self, leaves: bytes | bytearray) -> None:
        """Hash the nodes over leaf hashes that stand one after the other."""
        self._levels = [bytes(leaves)]
        while len(self._levels[-1]) > HASH_BYTES:
            self._levels.append(_above(self._levels[-1]))

    @property
    def size(self) -> int:
        """Return how many leaves there are."""
        return len(self._levels[0]) // HASH_BYTES

    @property
    def root(self) -> bytes:
        """Return the tree's root hash."""
        return self._levels[-1] or sha256(b"").digest()

    def path(self, index: int) -> list[tuple[int, int]]:
        """Return the level and place of each sibling from a leaf to the root, lowest first."""
        found = []
        for level, nodes in enumerate(self._levels[:-1]):
            sibling = (index >> level) ^ 1
            if sibling * HASH_BYTES < len(nodes):
                found.append((level, sibling))
        return found

    def proof(self, index: int) -> list[bytes]:
        """Return the sibling hashes that lead from one leaf to the root, lowest first.

        Raises:
            IndexError: the tree has no leaf at `index`.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"the tree has {self.size} leaves and none at {index}")
        return [self.node(*place) for place in self.path(index)]

    def node(self, level: int, place: int) -> bytes:
        """Return the hash of one node."""
        return self._levels[level][place * HASH_BYTES : (place + 1) * HASH_BYTES]


def _above(nodes: bytes) -> bytes:
    paired = len(nodes) - len(nodes) % _PAIR
    hashed = [
        sha256(b"\x01" + nodes[start : start + _PAIR]).digest() for start in range(0, paired, _PAIR)
    ]
    return b"".join(hashed) + nodes[paired:]
