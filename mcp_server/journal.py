"""The audit log as the rest of the house writes it: redacted first, then durable.

May touch: the audit log and its openings. INVARIANT: nothing reaches the log around this door, so
no secret that the redactor knows is ever written.
Calls that wait at the same time share one commit: the first writes for all that have queued up,
from one worker thread, and hands on to the first that came meanwhile.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from anyio import CancelScope, Event, to_thread
from anyio.lowlevel import checkpoint

from audit.canonical import Json
from audit.directory import LogDirectory
from audit.errors import AuditError, AuditUnavailable
from audit.log import AuditLog, Draft, Receipt
from audit.openings import Openings
from audit.redact import Redactor

MAX_BATCH = 512
INTERRUPTED = "the write to the audit log was interrupted. Nothing ran."


class _Entry:
    """One call's record; `ready` is set with its result, or when this call must write for all."""

    __slots__ = ("draft", "ready", "result")

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.ready = Event()
        self.result: Receipt | AuditError | None = None


class Journal:
    """Appends records; a secret in one stands in the log as a salted commitment."""

    def __init__(self, log: AuditLog, directory: Path, redactor: Redactor) -> None:
        self._log = log
        self._openings = Openings(LogDirectory.open(directory))
        self._redactor = redactor
        self._queue: list[_Entry] = []
        self._has_leader = False  # INVARIANT: it is first in the queue

    def write(self, record: Mapping[str, Json], *, is_outcome: bool = False) -> Receipt:
        """Return once the record is on disk.

        Raises:
            AuditError: it is not, so what it announces must not happen.
        """
        (result,) = self._write_all([Draft(record, is_outcome)])
        return _receipt(result)

    def note(self, record: Mapping[str, object]) -> None:
        """Write a record of another room, whose receipt nobody needs.

        Raises:
            AuditError: it is not on disk, or holds a value that no record may hold.
        """
        self.write(cast("Mapping[str, Json]", record))

    async def append(self, record: Mapping[str, Json], *, is_outcome: bool = False) -> Receipt:
        """Return once the record is on disk; no other call waits for the disk meanwhile.

        A cancelled caller learns of it only then: what is queued is written.

        Raises:
            AuditError: as `write`.
        """
        entry = _Entry(Draft(record, is_outcome))
        self._queue.append(entry)
        with CancelScope(shield=True):
            if self._has_leader:
                await entry.ready.wait()
            if entry.result is None:
                await self._lead()
        return _receipt(entry.result)

    def close(self) -> None:
        """Make the log's last checkpoint durable."""
        self._log.close()

    async def _lead(self) -> None:
        self._has_leader = True
        await checkpoint()  # whoever was answered together may ask together again
        batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
        results: list[Receipt | AuditError] = [AuditUnavailable(INTERRUPTED)] * len(batch)
        try:
            results = await to_thread.run_sync(self._write_all, [one.draft for one in batch])
        finally:
            # INVARIANT: every entry has an answer, and whoever waits next is told to lead.
            for entry, result in zip(batch, results, strict=True):
                entry.result = result
            self._has_leader = bool(self._queue)
            for entry in [*batch, *self._queue[:1]]:
                entry.ready.set()

    def _write_all(self, drafts: Sequence[Draft]) -> list[Receipt | AuditError]:
        safe = [self._redacted(draft) for draft in drafts]
        written = iter(self._log.append_all([one for one in safe if isinstance(one, Draft)]))
        return [next(written) if isinstance(one, Draft) else one for one in safe]

    def _redacted(self, draft: Draft) -> Draft | AuditError:
        try:
            record = self._redactor.redact_record(draft.record, self._openings.seal)
        except AuditError as error:
            return error
        return Draft(record, draft.is_outcome)


def _receipt(result: Receipt | AuditError | None) -> Receipt:
    if isinstance(result, Receipt):
        return result
    raise result or AuditUnavailable(INTERRUPTED)
