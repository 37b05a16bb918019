"""The vectors are those of the RFC 6962 reference tree (Certificate Transparency)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    subtrees,
    tree_root,
)
from audit.proofs import ProofTree

INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def inclusion_proof(leaves, index):
    return ProofTree(b"".join(leaves)).proof(index)


LEAVES = [leaf_hash(bytes([number])) for number in range(40)]


def naive_root(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size):
    assert tree_root([leaf_hash(data) for data in INPUTS[:size]]).hex() == ROOTS[size]


def test_the_published_inclusion_path_leads_to_the_published_root():
    leaves = [leaf_hash(data) for data in INPUTS]
    proof = inclusion_proof(leaves, 5)
    assert [node.hex() for node in proof] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_every_small_tree_agrees_with_the_definition_and_its_proofs_hold():
    frontier = Frontier()
    for size in range(1, 41):
        frontier.append(LEAVES[size - 1])
        leaves = LEAVES[:size]
        root = naive_root(leaves)
        assert frontier.root() == tree_root(leaves) == root
        for index in range(size):
            proof = inclusion_proof(leaves, index)
            assert root_from_inclusion(leaves[index], index, size, proof) == root


def test_a_copied_frontier_grows_alone():
    one = Frontier()
    one.append(LEAVES[0])
    two = one.copy()
    two.append(LEAVES[1])
    assert (one.size, two.size) == (1, 2)
    assert one.root() != two.root()


@given(st.integers(0, 39), st.integers(0, 5), st.integers(0, 255))
def test_no_altered_path_leads_to_the_root(index, which, byte):
    proof = inclusion_proof(LEAVES, index)
    altered = list(proof)
    place = which % len(proof)
    altered[place] = bytes([byte]) + altered[place][1:]
    if altered != proof:
        assert root_from_inclusion(LEAVES[index], index, 40, altered) != tree_root(LEAVES)


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 0, []),
        (-1, 3, []),
        (3, 3, []),
        (0, 1, [LEAVES[0]]),
        (0, 2, []),
        (0, 2, [b"short"]),
        (0, 2, [LEAVES[0], LEAVES[1]]),
    ],
)
def test_a_path_that_cannot_belong_there_is_refused(index, size, proof):
    with pytest.raises(ValueError, match=r"proof|index"):
        root_from_inclusion(LEAVES[0], index, size, proof)


def test_a_proof_for_no_leaf_is_an_index_error():
    with pytest.raises(IndexError):
        inclusion_proof(LEAVES, 40)


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_tree_can_be_joined_from_whole_trees_over_its_parts(first, count):
    frontier = Frontier()
    frontier.extend(LEAVES[:first])
    for level, root in subtrees(LEAVES[first : first + count], first):
        assert frontier.size % (1 << level) == 0
        frontier.graft(level, root)
    assert frontier.size == len(LEAVES[: first + count])
    assert frontier.root() == naive_root(LEAVES[: first + count])
