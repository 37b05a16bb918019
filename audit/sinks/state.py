"""What is remembered of each sink: its position, how it fares, and who delivers to it now.

May touch: `sinks/` below the log. One process at a time delivers to a sink: it holds the lock. The
position is written after the receiver took the records, so a crash repeats some and loses none.
"""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import final

from audit.directory import PRIVATE_FILE, LogDirectory
from audit.errors import AuditUnavailable
from audit.record import timestamp
from audit.sinks.follow import Position

SINKS = "sinks"
MAX_REASON = 500  # characters; a receiver's answer may be long
BEGINNING = Position()


@dataclass(frozen=True, slots=True)
class State:
    """Where a sink is; `failing_since` is empty while it works."""

    position: Position = BEGINNING
    delivered_at: str = ""
    failing_since: str = ""
    failure: str = ""
    tries: int = 0  # since it began to fail
    rejected: int = 0  # records that the receiver took and said it dropped


def load(log: Path, name: str) -> State:
    """Return what is remembered of a sink; nothing yet is its beginning.

    Raises:
        AuditUnavailable: the file is not readable, or holds something else.
    """
    path = log / SINKS / f"{name}.json"
    try:
        found = json.loads(path.read_bytes())
        return State(
            Position.from_json(found["position"]),
            delivered_at=str(found["delivered_at"]),
            failing_since=str(found["failing_since"]),
            failure=str(found["failure"]),
            tries=int(found["tries"]),
            rejected=int(found["rejected"]),
        )
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AuditUnavailable(
            f"{path}: cannot be used ({error}). Remove it to deliver everything again."
        ) from None


@final
class Book:
    """One sink's page, while this process is the one that delivers."""

    def __init__(self, log: Path, name: str, clock: Callable[[], datetime]) -> None:
        self._log = log
        self._name = name
        self._clock = clock
        self._lock = -1
        self.state = State()

    def claim(self) -> bool:
        """Return whether this process delivers from now on; another may hold the lock.

        Raises:
            AuditError, OSError: the page cannot be used.
        """
        directory = LogDirectory.prepare(self._log / SINKS)
        try:
            lock = directory.own_file(f"{self._name}.lock", os.O_RDWR | os.O_CREAT)
        finally:
            directory.close()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.state = load(self._log, self._name)
        except BlockingIOError:
            os.close(lock)
            return False
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        return True

    @property
    def is_claimed(self) -> bool:
        """Return whether this process is the one that delivers."""
        return self._lock >= 0

    def release(self) -> None:
        """Let another process deliver."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def delivered(self, position: Position, rejected: int = 0) -> None:
        """Remember that everything before `position` was taken.

        Raises:
            AuditError, OSError: it could not be kept; the records will be delivered again.
        """
        now = timestamp(self._clock())
        self._keep(State(position, now, rejected=self.state.rejected + rejected))

    def failed(self, reason: str) -> None:
        """Remember that a delivery failed, and since when.

        Raises:
            AuditError, OSError: only this process knows now.
        """
        since = self.state.failing_since or timestamp(self._clock())
        reason, tries = reason[:MAX_REASON], self.state.tries + 1
        self.state = replace(self.state, failing_since=since, failure=reason, tries=tries)
        self._keep(self.state)

    def _keep(self, state: State) -> None:
        found = {
            "position": state.position.to_json(),
            "delivered_at": state.delivered_at,
            "failing_since": state.failing_since,
            "failure": state.failure,
            "tries": state.tries,
            "rejected": state.rejected,
        }
        directory = LogDirectory.prepare(self._log / SINKS)
        try:
            directory.replace(f"{self._name}.json", json.dumps(found).encode(), PRIVATE_FILE)
        finally:
            directory.close()
        self.state = state
