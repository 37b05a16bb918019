"""The proof of a decision that people made: from this log, or the one that came with their answer.

May touch: the log's files, for reading. The record that is proven says to which action and request
the answer is, and by whom; `permitgate audit verify-proof` needs the public key alone.
"""

from pathlib import Path

from audit.prove import prove
from audit.query import Query, records
from audit.record import inner

DECIDED = ("approved", "denied")
MOST_KEPT = 256


class DecisionProofs:
    """The proofs of one log's decisions; each is made once, and the latest are kept."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._kept: dict[str, str] = {}

    def of(self, approval_id: str) -> str | None:
        """Return the proof of a request's decision, or None where nobody decided it.

        Raises:
            AuditError: as `decision_proof`.
        """
        found = self._kept.get(approval_id) or decision_proof(self._log, approval_id)
        if found is not None:
            self._kept[approval_id] = found
            while len(self._kept) > MOST_KEPT:
                self._kept.pop(next(iter(self._kept)), None)
        return found


def decision_proof(log: Path, approval_id: str) -> str | None:
    """Return the proof of a request's decision, or None where nobody decided it.

    Raises:
        AuditError: the log cannot be read, or is not what was signed.
    """
    proof = None
    for record in records(log, Query(text=f'"id":"{approval_id}"')):
        if inner(record, "approval", "id") != approval_id:
            continue
        given = inner(record, "approval", "proof")
        if record["event"] == "approval.voted" and isinstance(given, str):
            return given
        decided = inner(record, "approval", "state") in DECIDED
        if proof is None and record["event"] == "approval.applied" and decided:
            seq = record["@seq"]
            proof = prove(log, seq).decode() if isinstance(seq, int) else None
    return proof
