"""Which announced actions never got an outcome: found while the log is read at start-up.

May touch: lines it is given. The bytes are filtered before JSON is parsed, so that reading stays
close to the speed of hashing.
"""

import re
from collections.abc import Callable, Iterable
from typing import final

from audit.canonical import decode_object
from audit.record import INTENT, OUTCOME, Record, lost
from audit.writers import Writer

_INTENT_END = f'{INTENT}"'.encode()
_OUTCOME_END = f'{OUTCOME}"'.encode()
_EVENT = b'"event":"'
# A line as the log writes it, read without parsing: keys are sorted, so `action_id` leads, and a
# quote inside a string is escaped, so `"event":"` can only be a key.
_USUAL_HEAD = re.compile(rb'\{"@prev":"[0-9a-f]{64}","@seq":\d+,"action_id":"([^"\\]*)",')


@final
class OpenIntents:
    """Intents without an outcome, by action id, in log order."""

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        self._open: dict[str, bytes] = {}
        for line in lines:
            self.observe(line)

    def lines(self) -> list[bytes]:
        """Return the intents' lines, in log order."""
        return list(self._open.values())

    def observe(self, line: bytes) -> None:
        """Take notice of one line of the log."""
        if _INTENT_END not in line and _OUTCOME_END not in line:
            return
        action_id, event = _named(line)
        if action_id and event.endswith(INTENT):
            self._open[action_id] = line
        elif event.endswith(OUTCOME):
            self._open.pop(action_id, None)

    def lost(self, is_gone: Callable[[Writer], bool]) -> list[Record]:
        """Return an outcome `lost` for each intent whose writer is gone, and for no other."""
        found = []
        for line in self._open.values():
            record = decode_object(line)
            writer = Writer.parse(record.get("writer"))
            if writer is not None and is_gone(writer):
                found.append(lost(record))
        return found


def _named(line: bytes) -> tuple[str, str]:
    usual, start = _USUAL_HEAD.match(line), line.find(_EVENT) + len(_EVENT)
    event = line[start : line.find(b'"', start)]
    if usual is not None and b"\\" not in event and line.find(_EVENT, start) < 0:
        return usual[1].decode(), event.decode()
    record = decode_object(line)
    action_id = record.get("action_id")
    return action_id if isinstance(action_id, str) else "", str(record.get("event"))
