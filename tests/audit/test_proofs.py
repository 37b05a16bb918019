"""A tree whose nodes are kept gives the proofs that the tree of the log gives."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from audit.merkle import inclusion_proof, tree_root
from audit.proofs import ProofTree


@given(st.integers(0, 130))
def test_root_and_every_path_are_those_of_the_rfc(count):
    leaves = [sha256(bytes([n])).digest() for n in range(count)]
    tree = ProofTree(b"".join(leaves))
    assert (tree.size, tree.root) == (count, tree_root(leaves))
    for index in range(count):
        siblings = [tree.node(*place) for place in tree.path(index)]
        assert siblings == inclusion_proof(leaves, index)
