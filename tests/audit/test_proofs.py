"""A tree whose nodes are kept gives the proofs that the tree of the log gives."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from audit.merkle import tree_root
from audit.proofs import ProofTree


def path(leaves, index):
    """Return PATH(m, D[n]) as RFC 6962 §2.1.1 defines it."""
    if len(leaves) < 2:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = leaves[:split], leaves[split:]
    if index < split:
        return [*path(left, index), tree_root(right)]
    return [*path(right, index - split), tree_root(left)]


@given(st.integers(0, 130))
def test_root_and_every_path_are_those_of_the_rfc(count):
    leaves = [sha256(bytes([n])).digest() for n in range(count)]
    tree = ProofTree(b"".join(leaves))
    assert (tree.size, tree.root) == (count, tree_root(leaves))
    for index in range(count):
        assert tree.proof(index) == path(leaves, index)
