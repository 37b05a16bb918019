"""Prove one record to someone who has only the key that began the log.

May touch: the log's files, for reading. A proof carries the rotations of the key that lead to its
checkpoint. Source: c2sp.org/tlog-proof; RFC 6962 §2.1.1.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from audit.chain import claimed_seq
from audit.directory import CHECKPOINT, LogDirectory
from audit.epochs import KeyRing, Rotation, read_rotations
from audit.errors import AuditError, AuditTampered, NoteError, PolicyUnmet
from audit.heads import cosigned_notes
from audit.merkle import leaf_hash
from audit.note import Checkpoint, Proof, PublicKey, make_proof, proof_parts, unpad_note
from audit.proofs import ProofTree
from audit.read import raw_lines
from audit.trust import TrustPolicy

TORN_READ_S = 0.2  # the checkpoint is overwritten in place while a server runs
_PAUSE_S = 0.005


def prove(directory: Path, seq: int) -> bytes:
    """Return a proof file: the record, its path in the tree, and the signed checkpoint.

    The checkpoint is the newest that witnesses signed, if the record is below it.
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


def verify_proof(data: bytes, trusted: Sequence[PublicKey] | TrustPolicy) -> Proof:
    """Return the record that a proof file proves, its place and its signed tree.

    Args:
        data: the file.
        trusted: keys of which one began the log or signed the checkpoint, or a trust policy.

    Raises:
        NoteError: malformed, not signed by a key that `trusted` leads to, or not in that tree.
        PolicyUnmet: it is all that, but not witnessed as the policy asks.
    """
    policy = trusted if isinstance(trusted, TrustPolicy) else TrustPolicy(tuple(trusted))
    parts = proof_parts(data)
    rotations = list(map(Rotation.open, parts.handovers))
    while rotations and rotations[0].old not in policy.logs:
        rotations.pop(0)
    proof = parts.under(KeyRing.link(policy.logs, rotations).open(parts.note))
    if claimed_seq(proof.record) != proof.index:
        raise NoteError(f"the record proven at index {proof.index} says another @seq")
    if unmet := policy.unmet(parts.note):
        raise PolicyUnmet(unmet)
    return proof


def _prove(path: Path, seq: int) -> bytes:
    directory = LogDirectory.open(path)
    try:
        note, head = _head(directory, seq)
        if not 0 <= seq < head.size:
            raise AuditError(f"{path}: no signed record {seq}; {head.size} records are signed")
        record, leaves = _read_leaves(directory, seq, head.size)
        rotations = read_rotations(directory)
    finally:
        directory.close()
    tree = ProofTree(leaves)
    if (tree.size, tree.root) != (head.size, head.root):
        raise AuditTampered(
            f"{path}: the records do not lead to the signed root of size {head.size}. "
            "Run audit verify: it names the place."
        )
    handovers = [one.proof for one in rotations if one.closing.size < head.size]
    return make_proof(record, seq, tree.proof(seq), note, handovers)


def _head(directory: LogDirectory, seq: int) -> tuple[bytes, Checkpoint]:
    for name, note in cosigned_notes(directory):
        if int(name) <= seq:
            break
        if note.partition(b"\n\n")[2].count(b"\n") > 1:  # more than the log's own signature
            return note, Checkpoint.of(note)
    note = unpad_note(directory.read(CHECKPOINT) or b"")
    return note, Checkpoint.of(note)


def _read_leaves(directory: LogDirectory, seq: int, size: int) -> tuple[bytes, bytearray]:
    record, leaves, count = b"", bytearray(), 0
    for first in directory.segments():
        for raw in raw_lines(directory, first):
            if count == size:
                return record, leaves
            line = raw.removesuffix(b"\n")
            if count == seq:
                record = line
            leaves += leaf_hash(line)
            count += 1
    return record, leaves
