"""What only a reader of every record can check: form, pairing of intents, single use of approvals.

May touch: lines it is given. A line here already follows the chain and the signed root, so a
finding means that the writer itself was wrong or not ours.
"""

from collections.abc import Iterator
from typing import final

from audit.canonical import Json, decode_object
from audit.diagnose import Finding
from audit.errors import RecordRefused
from audit.record import INTENT, OUTCOME


@final
class DeepChecks:
    """Facts gathered over the records so far."""

    def __init__(self) -> None:
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

    def unpaired(self) -> Iterator[Finding]:
        """Yield the intents that have no outcome yet."""
        for action_id, (seq, where) in self._open.items():
            message = f"record {seq}: the intent of action {action_id} has no outcome"
            yield Finding("open_intent", where, seq, message)

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
