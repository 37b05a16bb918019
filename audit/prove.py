"""Prove one record to someone who has only the public key.

May touch: the log's files, for reading. Source: c2sp.org/tlog-proof; RFC 6962 §2.1.1.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from audit.chain import claimed_seq
from audit.directory import CHECKPOINT, LogDirectory
from audit.errors import AuditError, AuditTampered, NoteError
from audit.merkle import inclusion_proof, leaf_hash, tree_root
from audit.note import Checkpoint, Proof, PublicKey, make_proof, open_proof, unpad_note
from audit.read import raw_lines

TORN_READ_S = 0.2  # the checkpoint is overwritten in place while a server runs
_PAUSE_S = 0.005


def prove(directory: Path, seq: int) -> bytes:
    """Return a proof file: the record, its path in the tree, and the signed checkpoint.

    Linear: every record up to the signed size is hashed once.

    Raises:
        AuditError: the record is not there or not signed yet, or the log cannot be read.
        AuditTampered: the records do not lead to the signed root.
    """
    deadline = time.monotonic() + TORN_READ_S
    while True:
        try:
            return _prove(directory, seq)
        except OSError as error:
            raise AuditError(f"{directory}: cannot be read: {error.strerror}") from error
        except (AuditTampered, NoteError):
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)


def verify_proof(data: bytes, keys: Sequence[PublicKey]) -> Proof:
    """Return the record that a proof file proves, its place and its signed tree.

    Raises:
        NoteError: malformed, not signed by one of `keys`, or the record is not in that tree.
    """
    proof = open_proof(data, keys)
    if claimed_seq(proof.record) != proof.index:
        raise NoteError(f"the record proven at index {proof.index} says another @seq")
    return proof


def _prove(path: Path, seq: int) -> bytes:
    directory = LogDirectory.open(path)
    try:
        note = unpad_note(directory.read(CHECKPOINT) or b"")
        head = Checkpoint.parse(note.partition(b"\n\n")[0] + b"\n")
        if not 0 <= seq < head.size:
            raise AuditError(f"{path}: no signed record {seq}; {head.size} records are signed")
        record, leaves = _read_leaves(directory, seq, head.size)
    finally:
        directory.close()
    if len(leaves) != head.size or tree_root(leaves) != head.root:
        raise AuditTampered(
            f"{path}: the records do not lead to the signed root of size {head.size}. "
            "Run audit verify: it names the place."
        )
    return make_proof(record, seq, inclusion_proof(leaves, seq), note)


def _read_leaves(directory: LogDirectory, seq: int, size: int) -> tuple[bytes, list[bytes]]:
    record, leaves = b"", list[bytes]()
    for first in directory.segments():
        for raw in raw_lines(directory, first):
            if len(leaves) == size:
                return record, leaves
            line = raw.removesuffix(b"\n")
            if len(leaves) == seq:
                record = line
            leaves.append(leaf_hash(line))
    return record, leaves
