"""What only a reader of every record can check: form, pairs of intents, use of approvals, votes.

May touch: lines it is given. How a vote is signed is another room's to know: who calls brings it.
A line here already follows the chain and the signed root, so a finding means that the writer itself
was wrong or not ours.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias, final

from audit.canonical import Json, decode_object
from audit.diagnose import Finding
from audit.errors import RecordRefused
from audit.record import INTENT, OUTCOME

# What a recorded vote says → why its signature does not prove it, or "".
VoteCheck: TypeAlias = Callable[[Mapping[str, Json]], str]


@final
class DeepChecks:
    """Facts gathered over the records so far."""

    def __init__(self, vote: VoteCheck | None = None) -> None:
        """Look at signed votes too, where it is given how."""
        self._vote = vote
        self._unchecked = 0
        self._open: dict[str, tuple[int, str]] = {}
        self._consumed: dict[str, int] = {}

    def look(self, seq: int, where: str, line: bytes) -> Iterator[Finding]:
        """Yield what is wrong with one record."""
        try:
            record = decode_object(line)
        except RecordRefused as error:
            yield Finding("form", where, seq, f"record {seq}: {error}")
            return
        event, action_id = str(record.get("event")), str(record.get("action_id"))
        if event.endswith(INTENT):
            self._open[action_id] = (seq, where)
        elif event.endswith(OUTCOME):
            self._open.pop(action_id, None)
        elif event == "approval.consumed":
            yield from self._consume(seq, where, record.get("approval"))
        elif event == "approval.voted":
            yield from self._voted(seq, where, record.get("approval"))

    def unpaired(self) -> Iterator[Finding]:
        """Yield the intents that have no outcome yet."""
        for action_id, (seq, where) in self._open.items():
            message = f"record {seq}: the intent of action {action_id} has no outcome"
            yield Finding("open_intent", where, seq, message)

    def unchecked(self) -> Iterator[Finding]:
        """Yield that signatures of votes were not looked at, if there were any."""
        if self._unchecked:
            message = (
                f"{self._unchecked} signatures of votes were not checked: that needs the file of "
                "those who may sign (--signers)"
            )
            yield Finding("votes_unchecked", "approvals", None, message)

    def _voted(self, seq: int, where: str, approval: Json) -> Iterator[Finding]:
        if not isinstance(approval, Mapping) or "signed" not in approval:
            return
        if self._vote is None:
            self._unchecked += 1
        elif why := self._vote(approval):
            message = f"record {seq}: the signature does not prove this vote: {why}"
            yield Finding("vote_signature", where, seq, message)

    def _consume(self, seq: int, where: str, approval: Json) -> Iterator[Finding]:
        match approval:
            case {"id": str(name)} if name in self._consumed:
                before = self._consumed[name]
                message = f"record {seq}: approval {name} was used before, in record {before}"
                yield Finding("approval_reused", where, seq, message)
            case {"id": str(name)}:
                self._consumed[name] = seq
            case _:
                yield Finding("form", where, seq, f"record {seq}: it names no approval")
