"""The audit log as the rest of the house writes it: redacted first, then durable.

May touch: the audit log and its openings. INVARIANT: nothing reaches the log around this door, so
no secret that the redactor knows is ever written.
Calls that wait at the same time share one commit: the first of them writes for all, from one worker
thread, once those before them are written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

from anyio import (
    CancelScope,
    Event,
    current_effective_deadline,
    get_cancelled_exc_class,
    to_thread,
)
from anyio.lowlevel import checkpoint

from audit.canonical import Json, Spelled
from audit.directory import LogDirectory
from audit.errors import AuditError, AuditUnavailable
from audit.log import AuditLog, Draft, Receipt
from audit.openings import Openings
from audit.redact import Redactor

MAX_BATCH = 512
_Asked: TypeAlias = tuple[Mapping[str, Json], bool]  # a record, and whether it is an outcome
INTERRUPTED = "the write to the audit log was interrupted. Nothing ran."


class _Batch:
    """Records of calls that wait at the same time; whoever opened it writes it.

    INVARIANT: `done` is set once each record has its result, and batches are written in turn.
    """

    def __init__(self, before: "_Batch | None") -> None:
        self.before = before
        self.asked: list[_Asked] = []
        self.results: Sequence[Receipt | AuditError] = ()
        self.done = Event()

    async def written(self) -> None:
        """Return once it is written, also to a cancelled caller, whom its scope tells again.

        A scope of its own for every call would take longer than all else that a call does here.
        """
        try:
            await self.done.wait()
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await self.done.wait()
            if current_effective_deadline() > float("-inf"):
                raise  # no scope was cancelled, so nobody would tell it again


class Journal:
    """Appends records; a secret in one stands in the log as a salted commitment."""

    def __init__(self, log: AuditLog, directory: Path, redactor: Redactor) -> None:
        self._log = log
        self._openings = Openings(LogDirectory.open(directory))
        self._redactor = redactor
        self._open: _Batch | None = None  # which still takes records
        self._last: _Batch | None = None

    def write(self, record: Mapping[str, Json], *, is_outcome: bool = False) -> Receipt:
        """Return once the record is on disk.

        Raises:
            AuditError: it is not, so what it announces must not happen.
        """
        (result,) = self._write_all([(record, is_outcome)])
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
        if (batch := self._open) is None or len(batch.asked) == MAX_BATCH:
            batch = self._open = self._last = _Batch(self._last)
        place = len(batch.asked)
        batch.asked.append((record, is_outcome))
        await (batch.written() if place else self._write_batch(batch))
        return _receipt(batch.results[place])

    def close(self) -> None:
        """Make the log's last checkpoint durable."""
        self._log.close()

    async def _write_batch(self, batch: _Batch) -> None:
        try:
            with CancelScope(shield=True):
                if batch.before is not None:
                    await batch.before.done.wait()
                    batch.before = None
                await checkpoint()  # whoever was answered together may ask together again
                self._shut(batch)
                batch.results = await to_thread.run_sync(self._write_all, batch.asked)
        finally:
            self._shut(batch)
            batch.results = batch.results or [AuditUnavailable(INTERRUPTED)] * len(batch.asked)
            batch.done.set()

    def _shut(self, batch: _Batch) -> None:
        if self._open is batch:
            self._open = None

    def _write_all(self, asked: Sequence[_Asked]) -> list[Receipt | AuditError]:
        records, are_outcomes = zip(*asked, strict=True)
        safe = self._redactor.spell_all(records, self._openings.seal)
        drafts = [
            Draft(one, is_outcome)
            for one, is_outcome in zip(safe, are_outcomes, strict=True)
            if isinstance(one, Spelled)
        ]
        written = iter(self._log.append_all(drafts))
        return [next(written) if isinstance(one, Spelled) else one for one in safe]


def _receipt(result: Receipt | AuditError) -> Receipt:
    if isinstance(result, AuditError):
        raise result
    return result
