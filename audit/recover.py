"""Which announced actions never got an outcome: found while the log is read at start-up.

May touch: lines it is given. The bytes are filtered before JSON is parsed, so that reading stays
close to the speed of hashing.
"""

from collections.abc import Callable
from typing import final

from audit.canonical import Json, decode_object
from audit.record import INTENT, OUTCOME, Record, lost
from audit.writers import Writer

_INTENT_END = f'{INTENT}"'.encode()
_OUTCOME_END = f'{OUTCOME}"'.encode()


@final
class OpenIntents:
    """Intents without an outcome, by action id, in log order."""

    def __init__(self) -> None:
        self._open: dict[Json, Record] = {}

    def observe(self, line: bytes) -> None:
        """Take notice of one line of the log."""
        if _INTENT_END not in line and _OUTCOME_END not in line:
            return
        record = decode_object(line)
        event = record.get("event")
        action_id = record.get("action_id")
        if not isinstance(event, str) or not isinstance(action_id, str):
            return
        if event.endswith(INTENT):
            self._open[action_id] = record
        elif event.endswith(OUTCOME):
            self._open.pop(action_id, None)

    def lost(self, is_gone: Callable[[Writer], bool]) -> list[Record]:
        """Return an outcome `lost` for each intent whose writer is gone, and for no other."""
        found = []
        for record in self._open.values():
            writer = Writer.parse(record.get("writer"))
            if writer is not None and is_gone(writer):
                found.append(lost(record))
        return found
