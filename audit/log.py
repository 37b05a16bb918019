"""The audit log: many threads and processes append to one signed log, durably or not at all.

May touch: the log's directory, through tail.py and writers.py; the clock it is given.
Rules: a caller returns only when its record is on disk and signed; after any failure whose effect
on the disk is unknown the log refuses everything until it is opened again.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import final

from audit.canonical import Json, Spelled, encode, spell
from audit.chain import FRAME_BYTES, MAX_LINE_BYTES, check_top_level
from audit.directory import LogDirectory
from audit.epochs import ROTATE
from audit.errors import AuditError, AuditUnavailable, RecordRefused, SignerUnavailable
from audit.note import PublicKey, Signer
from audit.record import INTENT, VERSION, log_open, log_recovered, timestamp
from audit.tail import DISK_FULL, DiskFull, Recovered, Tail
from audit.writers import Writers

BALLAST = "ballast"
CLOSED = "it was closed"
BALLAST_BYTES = 1 << 20
MAX_BATCH = 512  # callers
MAX_SEGMENT_BYTES = 16 << 20  # what a start may have to read
_VERSION, _ROTATE, _INTENT_END = str(VERSION), f'"{ROTATE}"', f'{INTENT}"'  # as they are spelled


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a record stands: its place, and the signed tree that contains it."""

    origin: str
    seq: int
    size: int
    root: str  # hex
    note: str  # the signed checkpoint


@dataclass(frozen=True, slots=True)
class Draft:
    """A record to be appended, spelled; `is_outcome`: the action has already run."""

    record: Spelled
    is_outcome: bool = False


@dataclass(slots=True)
class _Entry:
    """One record on its way; `result` is set once."""

    body: bytes
    is_outcome: bool
    result: Receipt | AuditError | None = None


class _Call:
    """One caller's records, committed together.

    `ready` is set when they have their results, or when this caller must commit what queued up.
    """

    __slots__ = ("entries", "ready")

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self.entries = entries
        self.ready = threading.Event()


@final
class AuditLog:
    """An open log. `append` may be called from any thread."""

    def __init__(
        self, directory: LogDirectory, signer: Signer, clock: Callable[[], datetime]
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._queue: list[_Call] = []
        self._queue_lock = threading.Lock()
        self._has_leader = False  # a caller commits for all; INVARIANT: it is first in the queue
        self._turn = threading.Lock()  # held while the files are in use
        self._dead = ""
        self._lock = -1
        self._recovery: list[bytes] = []  # what must be recorded before anything else
        self._writers = Writers(directory.path)
        self._writer = encode(self._writers.current.to_json()).decode()
        self._tail = Tail(directory, signer, max_segment=MAX_SEGMENT_BYTES)

    @classmethod
    def open(
        cls, directory: Path, signer: Signer, *, origin: str, clock: Callable[[], datetime]
    ) -> "AuditLog":
        """Return the log in `directory`, made or recovered, with this process as a writer.

        Raises:
            AuditUnavailable: the directory cannot be used, or the first record not be written.
            AuditTampered: the log is not what was signed, or its files are not plainly ours.
        """
        if signer.public_key.name != origin:
            raise AuditError(f"the key is named {signer.public_key.name!r}, the log {origin!r}")
        log = cls(LogDirectory.prepare(directory), signer, clock)
        try:
            log._start()
        except OSError as error:
            log.close()
            raise AuditUnavailable(f"{directory}: {error.strerror}; nothing runs.") from error
        except AuditError:
            log.close()
            raise
        return log

    def append(self, record: Mapping[str, Json], *, is_outcome: bool = False) -> Receipt:
        """Return when the record is durable, signed and published.

        Args:
            record: fields in the canonical domain; `v`, `ts` and an intent's `writer` are added.
            is_outcome: the action has already run, so the reserve on a full disk may be spent.

        Raises:
            RecordRefused: outside the domain, or too long; nothing was written.
            AuditUnavailable: it is not durable; what it announces must not happen.
        """
        (result,) = self.append_all([Draft(spell(record), is_outcome)])
        if isinstance(result, AuditError):
            raise result
        return result

    def append_all(self, drafts: Sequence[Draft]) -> list[Receipt | AuditError]:
        """Return for each record what `append` returns or raises; they share one commit."""
        now = self._now()
        entries = [self._entry(draft, now) for draft in drafts]
        if accepted := [entry for entry in entries if entry.result is None]:
            self._enqueue(_Call(accepted))
        return [entry.result or AuditUnavailable(self._poisoned()) for entry in entries]

    def rotate(self, make: Callable[[], Signer]) -> tuple[PublicKey, PublicKey]:
        """Hand the log over to the signer that `make` returns; return the old key and the new.

        `make` is called with the log's lock held. The new signer's `successor` is told once the
        rotation is in force; a file key destroys the old one there.

        Raises:
            AuditError: nothing happened, or the log must be opened again to find out.
        """
        with self._turn:
            if self._dead:
                raise AuditUnavailable(self._poisoned())
            self._dead = "a rotation of the key was interrupted"
            try:
                with self._exclusive():
                    keys = self._rotate(make)
            except OSError as error:
                raise AuditUnavailable(f"{self._poisoned()} {error.strerror}") from error
            self._dead = ""
        return keys

    @property
    def first_key(self) -> PublicKey:
        """Return the key that began the log: the one to give to whoever audits it."""
        return self._tail.ring.first[0]

    def close(self) -> None:
        """Make the last checkpoint durable and leave; unused afterwards."""
        with self._turn:
            if self._dead == CLOSED:
                return
            self._dead = CLOSED
            with ExitStack() as ending:
                ending.callback(self._directory.close)
                if self._lock >= 0:
                    ending.callback(os.close, self._lock)  # and with it the lock
                    fcntl.flock(self._lock, fcntl.LOCK_EX)
                ending.callback(self._writers.leave)
                self._tail.close()

    def _start(self) -> None:
        self._lock = self._directory.own_file("lock", os.O_RDWR | os.O_CREAT)
        with self._turn, self._exclusive():
            recovered = self._tail.start()
            self._writers.enter()
            records = [*self._tail.intents.lost(self._writers.is_gone), self._opening()]
            self._keep_ballast()
            self._note_recovery(recovered)
            self._tail.add([*self._recovery, *(self._body(record) for record in records)])
            self._recovery = []

    def _entry(self, draft: Draft, now: str) -> _Entry:
        try:
            _check_event(draft.record)
            return _Entry(self._stamped(draft.record, now), draft.is_outcome)
        except RecordRefused as refused:
            return _Entry(b"", draft.is_outcome, refused)

    def _now(self) -> str:
        return encode(timestamp(self._clock())).decode()

    def _body(self, record: Mapping[str, Json]) -> bytes:
        return self._stamped(spell(record), self._now())

    def _stamped(self, record: Spelled, now: str) -> bytes:
        check_top_level(tuple(record))
        stamped = Spelled({"v": _VERSION, "ts": now, **record})
        if record.get("event", "").endswith(_INTENT_END) and "job_id" not in record:
            stamped["writer"] = self._writer
        body = stamped.to_bytes()
        if len(body) + FRAME_BYTES > MAX_LINE_BYTES:
            raise RecordRefused(
                f"the record takes {len(body)} of {MAX_LINE_BYTES} bytes; hash or shorten its parts"
            )
        return body

    def _opening(self) -> Mapping[str, Json]:
        key, writer = self._tail.signer.public_key, self._writers.current.to_json()
        return log_open(origin=key.name, vkey=key.vkey, writer=writer)

    def _rotate(self, make: Callable[[], Signer]) -> tuple[PublicKey, PublicKey]:
        self._note_recovery(self._tail.catch_up())
        try:
            self._add_recovery()
            old, new = self._tail.signer.public_key, _made(make)
            _check_successor(new.public_key, [*self._tail.ring.keys, old])
            self._tail.rotate(new, self._body)
        except (DiskFull, SignerUnavailable, RecordRefused):
            self._dead = ""  # the log is as it was
            raise
        self._tail.add([self._body(self._opening())])
        return old, new.public_key

    def _note_recovery(self, recovered: Recovered | None) -> None:
        if recovered is not None:
            record = log_recovered(cut=recovered.cut, kept=recovered.kept)
            self._recovery.append(self._body(record))

    def _enqueue(self, call: _Call) -> None:
        with self._queue_lock:
            self._queue.append(call)
            if not self._has_leader:
                self._pass_lead()
        try:
            call.ready.wait()
        except BaseException:
            self._withdraw(call)
            raise
        if call.entries[0].result is None:
            self._lead()

    def _lead(self) -> None:
        batch: list[_Call] = []
        try:
            with self._turn:
                with self._queue_lock:
                    batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
                self._commit_batch([entry for call in batch for entry in call.entries])
        finally:
            with self._queue_lock:
                self._pass_lead()
            for call in batch:
                call.ready.set()

    def _pass_lead(self) -> None:
        self._has_leader = bool(self._queue)
        if self._queue:
            self._queue[0].ready.set()

    def _withdraw(self, call: _Call) -> None:
        """Take back what an interrupted caller queued; another must lead if it was to."""
        with self._queue_lock:
            if call in self._queue:
                self._queue.remove(call)
                if call.ready.is_set():
                    self._pass_lead()

    def _commit_batch(self, batch: Sequence[_Entry]) -> None:
        why = "the commit was interrupted"
        try:
            if not self._dead:
                with self._tail.turn(), self._exclusive():
                    self._commit(batch)
        except (AuditError, OSError) as error:
            why = str(error)
        finally:
            # INVARIANT: every entry has an answer, and an unknown state is never built upon.
            unanswered = [entry for entry in batch if entry.result is None]
            if unanswered and not self._dead:
                self._dead = why
            _refuse(unanswered, self._poisoned())

    def _commit(self, batch: Sequence[_Entry]) -> None:
        self._note_recovery(self._tail.catch_up())
        outcomes = [entry for entry in batch if entry.is_outcome]
        intents = [entry for entry in batch if not entry.is_outcome]
        try:
            if intents:
                self._keep_ballast()
            self._add(batch)
        except DiskFull as full:
            _refuse(intents, str(full))
            self._add_from_reserve(outcomes)
        except SignerUnavailable as gone:
            if outcomes:
                self._tail.leave_unsigned([entry.body for entry in outcomes])
            _refuse(batch, str(gone))

    def _add_from_reserve(self, outcomes: Sequence[_Entry]) -> None:
        if not outcomes:
            return
        self._directory.remove(BALLAST)
        try:
            self._add(outcomes)
        except DiskFull as full:
            _refuse(outcomes, f"{full} The reserve is spent too.")

    def _add(self, entries: Sequence[_Entry]) -> None:
        self._add_recovery()
        first, head, note = self._tail.add([entry.body for entry in entries])
        root, signed = head.root.hex(), note.decode()
        for seq, entry in enumerate(entries, start=first):
            entry.result = Receipt(head.origin, seq, head.size, root, signed)

    def _add_recovery(self) -> None:
        if self._recovery:
            self._tail.add(self._recovery)
            self._recovery = []

    def _keep_ballast(self) -> None:
        """Set space aside for outcomes; without it no new intent may start."""
        if (self._directory.size(BALLAST) or 0) >= BALLAST_BYTES:
            return
        descriptor = self._directory.own_file(BALLAST, os.O_WRONLY | os.O_CREAT)
        try:
            os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
        except OSError as error:
            self._directory.remove(BALLAST)
            if error.errno not in (*DISK_FULL, errno.EFBIG):
                raise
            raise DiskFull(
                f"{self._directory.path / BALLAST}: {error.strerror}: no room for the reserve that "
                "outcomes need. Nothing runs until there is; make room on this file system."
            ) from error
        finally:
            os.close(descriptor)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _poisoned(self) -> str:
        return f"the audit log is out of use until it is opened again: {self._dead}. Nothing ran."


def _check_event(record: Spelled) -> None:
    if record.get("event") == _ROTATE:
        raise RecordRefused(f"{ROTATE} is written by a rotation alone; it was not")


def _refuse(entries: Sequence[_Entry], why: str) -> None:
    for entry in entries:
        entry.result = AuditUnavailable(why)


def _made(make: Callable[[], Signer]) -> Signer:
    try:
        return make()
    except OSError as error:
        raise SignerUnavailable(f"no new key: {error.strerror}; the old one stays.") from error


def _check_successor(new: PublicKey, used: Sequence[PublicKey]) -> None:
    if new in used or new.name != used[-1].name:
        raise RecordRefused(
            f"{new.vkey} cannot take over from {used[-1].vkey}: it signed this log before, or is "
            "named otherwise. The old key stays."
        )
