"""Consistency proofs against RFC 6962's own recursion and a verifier written from RFC 9162."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.consistency import ConsistencyProof
from audit.merkle import Frontier, leaf_hash, tree_root
from tests.audit.sinks.receivers import consistent

pytestmark = pytest.mark.threat("T15")


def edge(leaves: list[bytes]) -> Frontier:
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier


def by_recursion(old: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962 §2.1.2."""
    if old == len(leaves):
        return [] if whole else [tree_root(leaves)]
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old <= k:
        return [*by_recursion(old, leaves[:k], whole=whole), tree_root(leaves[k:])]
    return [*by_recursion(old - k, leaves[k:], whole=False), tree_root(leaves[:k])]


def test_every_pair_of_small_trees_is_proven_from_the_edge_alone():
    leaves = [leaf_hash(bytes([n])) for n in range(70)]
    for new in range(1, 70):
        for old in range(new + 1):
            proof = ConsistencyProof(edge(leaves[:old]), new)
            for start in range(old, new, 9):  # as the log is read: in blocks
                proof.extend(leaves[start : min(start + 9, new)])
            hashes = proof.hashes()
            assert hashes == (by_recursion(old, leaves[:new]) if old else [])
            roots = tree_root(leaves[:old]), tree_root(leaves[:new])
            assert consistent(old, new, hashes, *roots)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 20))
def test_no_proof_fits_another_history(old, more, changed):
    leaves = [sha256(bytes([n % 256, n // 256])).digest() for n in range(old + more)]
    forged = list(leaves)
    forged[changed % old] = leaf_hash(b"forged")
    proof = ConsistencyProof(edge(forged[:old]), old + more)
    proof.extend(forged[old:])
    assert not consistent(
        old, old + more, proof.hashes(), tree_root(leaves[:old]), tree_root(forged)
    )
