"""The rows of the index of a log: its tables, and records on their way into them.

May touch: values, and the database it is handed. index.py reads the log, and says what to trust.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from audit.canonical import Json
from audit.query import hosts
from audit.record import family, inner

MARK = re.compile(r"[0-9a-f]{16}")
STRETCH = 1024  # records whose times are summed up, and that are searched for text, together
TABLES = """
CREATE TABLE state (version INT, size INT, tip BLOB, first INT, ends INT);
CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT UNIQUE);
CREATE TABLE record (
    seq INTEGER PRIMARY KEY, first INT, start INT, length INT,
    ts TEXT, subject INT, session INT, effect INT, family INT
);
CREATE TABLE host (word INT, seq INT, PRIMARY KEY (word, seq)) WITHOUT ROWID;
CREATE TABLE mark (mark INT, seq INT);
CREATE TABLE stretch (number INTEGER PRIMARY KEY, earliest TEXT, latest TEXT);
"""
ORDERS = """
CREATE INDEX by_subject ON record (subject, seq);
CREATE INDEX by_session ON record (session, seq);
CREATE INDEX by_effect ON record (effect, seq);
CREATE INDEX by_family ON record (family, seq);
CREATE INDEX by_mark ON mark (mark, seq);
ANALYZE;
"""
_INSERT_RECORD = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_WIDEN_STRETCH = (
    "INSERT INTO stretch VALUES (?, ?, ?) ON CONFLICT (number) DO UPDATE SET "
    "earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record lies: its segment by first record, offset and length in bytes."""

    seq: int
    first: int
    start: int
    length: int


def marks(record: Mapping[str, Json]) -> set[int]:
    """Return the marks that a request for approval bears, as the index keeps them."""
    found = inner(record, "approval", "marks")
    if not isinstance(found, list):
        return set()
    return {mark_number(one) for one in found if isinstance(one, str) and MARK.fullmatch(one)}


def mark_number(mark: str) -> int:
    """Return a mark as the integer that SQLite keeps in eight bytes."""
    return int.from_bytes(bytes.fromhex(mark), "big", signed=True)


class Batch:
    """Rows on their way into the database."""

    def __init__(self, word: Callable[[str], int]) -> None:
        self._word = word
        self.rows: list[tuple[object, ...]] = []
        self._hosts: list[tuple[int, int]] = []
        self._marks: list[tuple[int, int]] = []
        self._stretches: dict[int, tuple[str, str]] = {}

    def take(self, place: Place, line: bytes) -> None:
        """Note one record.

        Raises:
            ValueError: the line is no record of ours.
        """
        try:
            self._take(place, json.loads(line))
        except RecursionError as error:
            raise ValueError(error) from error

    def _take(self, place: Place, record: Mapping[str, Json]) -> None:
        moment = str(record.get("ts"))
        words = (
            inner(record, "actor", "id"),
            record.get("session"),
            inner(record, "policy", "effect"),
            family(record),
        )
        ids = [self._word(text) if isinstance(text, str) else None for text in words]
        self.rows.append((place.seq, place.first, place.start, place.length, moment, *ids))
        self._hosts += [(self._word(host), place.seq) for host in hosts(record)]
        self._marks += [(one, place.seq) for one in marks(record)]
        number = place.seq // STRETCH
        earliest, latest = self._stretches.get(number, (moment, moment))
        self._stretches[number] = (min(earliest, moment), max(latest, moment))

    def flush(self, database: sqlite3.Connection) -> None:
        """Hand the rows over."""
        database.executemany(_INSERT_RECORD, self.rows)
        database.executemany("INSERT INTO host VALUES (?, ?)", self._hosts)
        database.executemany("INSERT INTO mark VALUES (?, ?)", self._marks)
        rows = [(number, *times) for number, times in self._stretches.items()]
        database.executemany(_WIDEN_STRETCH, rows)
        self.rows.clear()
        self._hosts.clear()
        self._marks.clear()
        self._stretches.clear()
