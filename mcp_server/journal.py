"""The audit log as the rest of the house writes it: redacted first, then durable.

May touch: the audit log and its openings. INVARIANT: nothing reaches the log around this door, so
no secret that the redactor knows is ever written.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

from anyio import to_thread

from audit.canonical import Json
from audit.directory import LogDirectory
from audit.log import AuditLog, Receipt
from audit.openings import Openings
from audit.redact import Redactor


class Journal:
    """Appends records; a secret in one stands in the log as a salted commitment."""

    def __init__(self, log: AuditLog, directory: Path, redactor: Redactor) -> None:
        self._log = log
        self._openings = Openings(LogDirectory.open(directory))
        self._redactor = redactor

    def write(self, record: Mapping[str, Json], *, is_outcome: bool = False) -> Receipt:
        """Return once the record is on disk.

        Raises:
            AuditError: it is not, so what it announces must not happen.
        """
        safe = {
            key: self._redactor.redact_record(value, self._openings.seal)
            for key, value in record.items()
        }
        return self._log.append(safe, is_outcome=is_outcome)

    def note(self, record: Mapping[str, object]) -> None:
        """Write a record of another room, whose receipt nobody needs.

        Raises:
            AuditError: it is not on disk, or holds a value that no record may hold.
        """
        self.write(cast("Mapping[str, Json]", record))

    async def append(self, record: Mapping[str, Json], *, is_outcome: bool = False) -> Receipt:
        """Write from a worker thread, so that no other call waits for the disk."""
        return await to_thread.run_sync(partial(self.write, record, is_outcome=is_outcome))

    def close(self) -> None:
        """Make the log's last checkpoint durable."""
        self._log.close()
