"""A small test that `make run` has the agent run inside the write profile; standard library only.

Source of the two roots: RFC 6962 §2.1 (the empty tree is SHA-256 of nothing; a leaf is hashed with
a zero byte in front).
"""

import hashlib
import tempfile
import unittest
from pathlib import Path


def leaf_hash(record: bytes) -> bytes:
    """Return the RFC 6962 hash of one log record."""
    return hashlib.sha256(b"\0" + record).digest()


class MerkleTest(unittest.TestCase):
    """Two facts about the tree, and one about where this test may write."""

    def test_a_leaf_is_not_hashed_like_plain_data(self) -> None:
        """A leaf's hash differs from the data's, so no inner node can pass for a record."""
        self.assertNotEqual(leaf_hash(b"record"), hashlib.sha256(b"record").digest())

    def test_the_empty_leaf_has_its_published_hash(self) -> None:
        """The hash that RFC 6962 implementations agree on."""
        expected = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        self.assertEqual(leaf_hash(b"").hex(), expected)

    def test_the_workspace_can_be_written(self) -> None:
        """In the write profile a test may leave files in the workspace."""
        with tempfile.NamedTemporaryFile(dir=Path.cwd()) as file:
            file.write(b"results")
