"""A SQLite index of a log: where the records lie that a query asks for. Never trusted.

May touch: the log's files, for reading; one database file, which anyone may delete.
INVARIANT: no row of it is shown. It only says where to look: each record is read again from the
log, its hash compared with the next record's `@prev`, and asked again whether it matches. So an
index can leave a record out, never make one up; who must be sure reads the log itself (`scan`).
It is built beside and renamed, and brought up to date in one transaction; whatever is wrong with
it, it is built again, and where it cannot be, the log is read without it.
"""

import os
import sqlite3
import stat
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TypeVar, final

from audit.canonical import Json, decode_object
from audit.chain import FIRST_PREV, MAX_LINE_BYTES
from audit.directory import LogDirectory, segment_name
from audit.errors import AuditError, RecordRefused
from audit.index_rows import ORDERS, STRETCH, TABLES, Batch, Place
from audit.query import Query, holds, records
from audit.record import timestamp

INDEX = "index.sqlite"
VERSION = 2
BATCH = 8192  # records between two words of progress
MAX_STRETCH_BYTES = 8 << 20
BUSY_S = 1.0
_PLACE = "SELECT seq, first, start, length FROM record WHERE seq = ?"
_HEAD_BYTES = len(b'{"@prev":"') + len(FIRST_PREV)
Answer = TypeVar("Answer")
Progress = Callable[[int], None]  # is told how many records are indexed


def _quiet(count: int) -> None:
    """Say nothing of progress."""


@dataclass(frozen=True, slots=True)
class Found:
    """The newest records asked for, in log order, and why the index was not used, if it was not."""

    records: tuple[dict[str, Json], ...]
    gone_around: str = ""


class Unusable(Exception):  # noqa: N818 — the state is the name
    """The index cannot help: the message says why."""


class Stale(Unusable):
    """The index speaks of another log than this; built again, it may help."""


class Broken(Unusable):
    """The log itself is broken, so no index of it can be made."""


def newest(
    log: Path, query: Query, *, limit: int, homes: Sequence[Path], progress: Progress = _quiet
) -> Found:
    """Return the newest `limit` records asked for, oldest of them first.

    Args:
        log: the log's directory; nothing of the log is written or locked.
        query: which records.
        limit: how many at most.
        homes: where the index may lie; the first that can be used is. None: read the log itself.
        progress: told how far a first reading has come.

    Raises:
        AuditError: the log cannot be read, or a line is not a record; the message names it.
    """
    why = ""
    for home in homes:
        try:
            return Found(
                tuple(with_index(log, home, lambda own: own.newest(query, limit), progress))
            )
        except Broken as error:
            why = str(error)
            break
        except (Unusable, OSError, sqlite3.Error) as error:
            why = why or f"{home}: {error}"
    return Found(tuple(deque(records(log, query), maxlen=limit)), why)


def with_index(
    log: Path, home: Path, work: Callable[["LogIndex"], Answer], progress: Progress = _quiet
) -> Answer:
    """Return what `work` says of the index, which knows the whole log by then.

    Raises:
        Unusable, OSError, sqlite3.Error: there is none, and none can be made.
        AuditError: the log cannot be read.
    """
    with closing(LogDirectory.open(log)) as directory:
        try:
            with closing(LogIndex.open(home, directory)) as index:
                index.catch_up(progress)
                return work(index)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise
        except (Stale, sqlite3.DatabaseError, TypeError, ValueError, OverflowError):
            pass  # a damaged database can answer anything
        _build(home, directory, progress)
        with closing(LogIndex.open(home, directory)) as index:
            return work(index)


def _build(home: Path, directory: LogDirectory, progress: Progress) -> None:
    """Make the index anew beside its place, then move it there: readers see the old or the new."""
    home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{INDEX}.", dir=home.parent)
    os.close(descriptor)
    made = Path(name)
    try:
        with closing(LogIndex(_connect(made), directory)) as index:
            index.fill(progress)
        made.replace(home)
    finally:
        made.unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)


@dataclass(slots=True)
class _State:
    """How far the index has come: records, the last one's hash, its segment and where it ends."""

    size: int = 0
    tip: bytes = FIRST_PREV
    first: int = 0
    ends: int = 0


@final
class LogIndex:
    """An open index of one log."""

    def __init__(self, database: sqlite3.Connection, directory: LogDirectory) -> None:
        self._database = database
        self._directory = directory
        self._state = _State()
        self._words: dict[str, int] = {}
        self._segments: dict[int, int] = {}  # descriptors, by first record

    @classmethod
    def open(cls, home: Path, directory: LogDirectory) -> "LogIndex":
        """Return the index as it lies there.

        Raises:
            Stale: there is none, or it was not made for this log.
            Unusable: something that is not plainly ours stands in its place.
            sqlite3.Error: it is damaged, or another process is writing it.
        """
        try:
            found = home.lstat()
        except FileNotFoundError:
            raise Stale("there is none yet") from None
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise Unusable("not a file of the user's own")
        index = cls(_connect(home), directory)
        try:
            index._load()
        except BaseException:
            index.close()
            raise
        return index

    def close(self) -> None:
        """Give the database and the log's files back."""
        for descriptor in self._segments.values():
            os.close(descriptor)
        self._segments.clear()
        self._database.close()

    def fill(self, progress: Progress) -> None:
        """Read the whole log into an empty database."""
        self._database.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + TABLES)
        self._database.execute("BEGIN")
        self._read_on(progress)
        self._database.execute("COMMIT")
        self._database.executescript(ORDERS)

    def catch_up(self, progress: Progress) -> None:
        """Read what the log has grown by; written only if it has.

        Raises:
            Unusable: the log does not follow from some record on.
        """
        if next(self._lines(), None) is None:
            return
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._load()  # another reader may have been quicker
            self._read_on(progress)
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def newest(self, query: Query, limit: int) -> list[dict[str, Json]]:
        """Return the newest records asked for, oldest of them first, each read from the log.

        Raises:
            Stale: the log holds something else than the index says.
        """
        needles, found = query.needles(), list[dict[str, Json]]()
        places = self._places(query)
        for place in self._near(places, needles) if query.text is not None else places:
            line = self._reread(place, needles)
            if line:
                record = self._decoded(place, line)
                found += [record] if query.matches(record) else []
            if len(found) == limit:
                break
        return found[::-1]

    def behind_bytes(self) -> int:
        """Return how much of the log it does not know yet."""
        segments = [first for first in self._directory.segments() if first >= self._state.first]
        known = self._state.ends if self._state.first in segments else 0
        return sum(os.fstat(self._open(first)).st_size for first in segments) - known

    def numbers(self, statement: str, values: Sequence[int], deadline_s: float) -> list[int]:
        """Return the first column of what a SELECT finds, if it ends by a monotonic time.

        Raises:
            sqlite3.OperationalError: it did not.
        """
        if time.monotonic() > deadline_s:
            raise sqlite3.OperationalError("no time is left")
        self._database.set_progress_handler(lambda: time.monotonic() > deadline_s, 2000)
        try:
            return [int(row[0]) for row in self._database.execute(statement, values)]
        finally:
            self._database.set_progress_handler(None, 0)

    def record(self, seq: int) -> dict[str, Json]:
        """Return one record, read from the log.

        Raises:
            Stale: the log holds something else than the index says.
        """
        place = self._place(seq)
        return self._decoded(place, self._reread(place))

    def _place(self, seq: int) -> Place:
        row = self._database.execute(_PLACE, (seq,)).fetchone()
        if row is None:
            raise Stale(f"record {seq} is missing in it")
        return Place(*row)

    def _decoded(self, place: Place, line: bytes) -> dict[str, Json]:
        try:
            return decode_object(line)
        except RecordRefused as error:
            raise AuditError(
                f"{self._directory.path}: record {place.seq}: {error}. Run audit verify."
            ) from error

    def _load(self) -> None:
        row = self._database.execute("SELECT * FROM state").fetchone()
        if row is None or row[0] != VERSION:
            raise Stale("made by another version")
        self._state = _State(*row[1:])
        if self._state.size:
            self._reread(self._place(self._state.size - 1))

    # reading the log

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield what follows the indexed part: segment, offset, and the line with its newline."""
        state, due = self._state, self._state.size
        for first in self._directory.segments():
            if first < state.first:
                continue
            start = state.ends if first == state.first else 0
            if first not in (state.first, due):
                raise Broken(f"no file holds record {due}; run audit verify")
            descriptor = self._directory.file(segment_name(first), os.O_RDONLY)
            with os.fdopen(descriptor, "rb", buffering=1 << 20) as stream:
                stream.seek(start)
                while (line := stream.readline(MAX_LINE_BYTES + 1)).endswith(b"\n"):
                    yield first, start, line
                    start, due = start + len(line), due + 1

    def _read_on(self, progress: Progress) -> None:
        state, batch = self._state, Batch(self._word)
        for first, start, raw in self._lines():
            line = raw[:-1]
            if not line.startswith(b'{"@prev":"%s","@seq":%d,' % (state.tip, state.size)):
                raise Broken(f"record {state.size} does not follow; run audit verify")
            try:
                batch.take(Place(state.size, first, start, len(line)), line)
            except ValueError:
                why = f"record {state.size} is no record; run audit verify"
                raise Broken(why) from None
            state.tip = sha256(b"\0" + line).hexdigest().encode()
            state.size, state.first, state.ends = state.size + 1, first, start + len(raw)
            if len(batch.rows) == BATCH:
                batch.flush(self._database)
                progress(state.size)
        batch.flush(self._database)
        self._database.execute("DELETE FROM state")
        row = (VERSION, state.size, state.tip, state.first, state.ends)
        self._database.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?)", row)

    def _reread(self, place: Place, needles: Sequence[tuple[bytes, ...]] = ()) -> bytes:
        """Return a record's line if it holds the needles: its hash is what the next record says.

        Raises:
            Stale: it is not; the log or the index is another than the index was made from.
        """
        if not 0 < place.length <= MAX_LINE_BYTES:
            raise Stale("it names a place that no record has")
        data = os.pread(self._open(place.first), place.length + 1 + _HEAD_BYTES, place.start)
        line, following = data[: place.length], data[place.length + 1 :]
        if not holds(line, needles):
            return b""
        leaf = sha256(b"\0" + line).hexdigest().encode()
        if place.seq + 1 == self._state.size:
            following = b'{"@prev":"' + self._state.tip
        elif not following:
            following = os.pread(self._open(place.seq + 1), _HEAD_BYTES, 0)
        if following != b'{"@prev":"' + leaf or data[place.length : place.length + 1] != b"\n":
            raise Stale(f"record {place.seq} is not what it was; run audit verify")
        return line

    def _near(
        self, places: Iterator[Place], needles: Sequence[tuple[bytes, ...]]
    ) -> Iterator[Place]:
        """Yield the places without those in stretches of the log that hold no such text."""
        while some := list(islice(places, STRETCH)):
            low, high = some[-1], some[0]
            length = high.start + high.length - low.start
            is_one = low.first == high.first and 0 < length <= MAX_STRETCH_BYTES
            if not is_one or holds(os.pread(self._open(low.first), length, low.start), needles):
                yield from some

    def _open(self, first: int) -> int:
        if first not in self._segments:
            try:
                self._segments[first] = self._directory.file(segment_name(first), os.O_RDONLY)
            except FileNotFoundError:
                raise Stale(f"{segment_name(first)} is not there") from None
        return self._segments[first]

    # the database

    def _word(self, text: str) -> int:
        if text not in self._words:
            with suppress(sqlite3.IntegrityError):  # it is there
                self._database.execute("INSERT INTO word (text) VALUES (?)", (text,))
            self._words[text] = self._known(text) or 0
        return self._words[text]

    def _known(self, text: str) -> int | None:
        row = self._database.execute("SELECT id FROM word WHERE text = ?", (text,)).fetchone()
        return int(row[0]) if row else None

    def _places(self, query: Query) -> Iterator[Place]:
        """Yield where the records lie that may be asked for, newest first."""
        low, high = self._span(query)
        clauses, values = ["record.seq BETWEEN ? AND ?"], [low, high]
        kind = query.event.partition(".")[0] if query.event is not None else None
        named = {
            "subject": query.subject,
            "session": query.session,
            "effect": query.effect,
            "family": kind,
            "host.word": query.host,
        }
        for column, text in named.items():
            if text is not None:
                known = self._known(text.encode("utf-8", "replace").decode())
                if known is None:
                    return
                clauses.append(f"{column} = ?")
                values.append(known)
        joined = "host JOIN record ON record.seq = host.seq" if query.host is not None else "record"
        rows = self._database.execute(
            f"SELECT record.seq, first, start, length, ts FROM {joined} "  # noqa: S608 — constants
            f"WHERE {' AND '.join(clauses)} ORDER BY {joined.split(maxsplit=1)[0]}.seq DESC",
            values,
        )
        since = timestamp(query.since) if query.since is not None else ""
        until = timestamp(query.until) if query.until is not None else "~"
        for *place, moment in rows:
            if since <= moment < until:
                yield Place(*place)

    def _span(self, query: Query) -> tuple[int, int]:
        """Return the first and last record between which all times asked for lie."""
        # Bounded on both sides: an integer of a caller may be larger than a database takes.
        low = max(min(query.after_seq + 1, self._state.size), 0)
        high = self._state.size - 1
        if query.before_seq is not None:
            high = max(min(high, query.before_seq - 1), -1)
        clauses = {
            "latest >= ?": query.since,
            "earliest < ?": query.until,
        }
        asked = {clause: timestamp(moment) for clause, moment in clauses.items() if moment}
        if asked:
            row = self._database.execute(
                "SELECT min(number), max(number) FROM stretch WHERE "  # noqa: S608 — constants
                + " AND ".join(asked),
                list(asked.values()),
            ).fetchone()
            if row[0] is None:
                return 1, 0
            low = max(low, row[0] * STRETCH)
            high = min(high, row[1] * STRETCH + STRETCH - 1)
        return low, high
