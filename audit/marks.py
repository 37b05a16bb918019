"""How many requests of a log bear certain marks, and the newest of them: to inform people.

May touch: the log's files and its index, by index.py. A mark is sixteen hex digits that say what a
request has in common with others; who writes the record says what. INVARIANT: the counts are the
index's, which anyone who can write it can falsify, so nothing is decided by them; the examples are
read from the log. It ends by its budget: what was not counted by then is not guessed.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from audit.canonical import Json
from audit.directory import LogDirectory, segment_name
from audit.errors import AuditError
from audit.index import LogIndex, Unusable, with_index
from audit.index_rows import mark_number

EXAMPLES = 2
MOST_BEHIND_BYTES = 1 << 20  # what is indexed on the way to an answer; more is left out of it
_NO_SEQ = 1 << 62  # later than any record


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be counted among the requests before one: those that bear any mark of a group."""

    before: str  # the mark of that one request
    among: str  # the mark that every request bears
    groups: tuple[frozenset[str], ...]  # a request bears at most one mark of each


@dataclass(frozen=True, slots=True)
class Group:
    """The requests that bear a mark of a group; None where there was no time to count them."""

    count: int | None = None
    with_mark: tuple[dict[str, Json], ...] = ()  # the newest, newest first
    without: tuple[dict[str, Json], ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many requests there are, and what was wanted of them."""

    requests: int | None
    groups: tuple[Group, ...]
    is_behind: bool = False  # the log has grown by much that the index does not know
    why_not: str = ""  # why nothing could be counted


def tally(log: Path, home: Path, wanted: Wanted, *, budget_s: float) -> Tally:
    """Return how many earlier requests there are, and how many of them bear the marks wanted.

    Args:
        log: the log's directory.
        home: where its index lies, or may be made if the log is short.
        wanted: what is counted.
        budget_s: how long counting may take; bringing the index up to date comes on top, and is
            left to `bring_current` where it would take long.
    """
    work = partial(_counted, wanted, budget_s)
    try:
        if _behind_bytes(log, home) <= MOST_BEHIND_BYTES:
            return with_index(log, home, work)
        with (
            closing(LogDirectory.open(log)) as directory,
            closing(LogIndex.open(home, directory)) as index,
        ):
            return replace(work(index), is_behind=True)
    except (Unusable, OSError, sqlite3.Error, AuditError) as error:
        nothing = tuple(Group() for _ in wanted.groups)
        return Tally(None, nothing, is_behind=True, why_not=str(error))


def bring_current(log: Path, home: Path, is_enough: Callable[[], bool]) -> None:
    """Make or complete the index, unless it is enough; where it cannot be made, nothing happens."""

    def progress(_: int) -> None:
        if is_enough():
            raise Unusable("nobody needs it any more")

    with suppress(Unusable, OSError, sqlite3.Error, AuditError):
        with_index(log, home, lambda _: None, progress)


def _behind_bytes(log: Path, home: Path) -> int:
    with closing(LogDirectory.open(log)) as directory:
        try:
            with closing(LogIndex.open(home, directory)) as index:
                return index.behind_bytes()
        except (Unusable, sqlite3.DatabaseError):
            return sum((log / segment_name(one)).stat().st_size for one in directory.segments())


def _counted(wanted: Wanted, budget_s: float, index: LogIndex) -> Tally:
    """Return what could be counted in the time given; the examples are looked for last."""
    deadline_s = time.monotonic() + budget_s
    requests: int | None = None
    groups = [Group() for _ in wanted.groups]
    with suppress(sqlite3.OperationalError):  # the deadline
        numbers = partial(index.numbers, deadline_s=deadline_s)
        before = [*numbers(_ONE, [mark_number(wanted.before)]), _NO_SEQ][0]
        among = mark_number(wanted.among)
        (requests,) = numbers(_count(1), [among, before])
        marks = [sorted(map(mark_number, group)) for group in wanted.groups]
        for number, group in enumerate(marks):
            (count,) = numbers(_count(len(group)), [*group, before])
            groups[number] = Group(count)
        for number, group in enumerate(marks):
            found = sorted(
                seq for one in group for seq in numbers(_NEWEST, [one, before, EXAMPLES])
            )
            missing = numbers(_without(len(group)), [among, before, *group, EXAMPLES])
            groups[number] = replace(
                groups[number],
                with_mark=tuple(map(index.record, found[: -EXAMPLES - 1 : -1])),
                without=tuple(map(index.record, missing)),
            )
    return Tally(requests, tuple(groups))


_ONE = "SELECT seq FROM mark WHERE mark = ?"
_NEWEST = "SELECT seq FROM mark WHERE mark = ? AND seq < ? ORDER BY seq DESC LIMIT ?"


def _count(marks: int) -> str:
    places = _places(marks)
    return f"SELECT count(*) FROM mark WHERE mark IN ({places}) AND seq < ?"  # noqa: S608  # numbers of places


def _without(marks: int) -> str:
    return (
        "SELECT seq FROM mark AS one WHERE mark = ? AND seq < ? AND NOT EXISTS "  # noqa: S608  # as above
        f"(SELECT 1 FROM mark WHERE seq = one.seq AND mark IN ({_places(marks)})) "
        "ORDER BY seq DESC LIMIT ?"
    )


def _places(count: int) -> str:
    return ", ".join("?" * count)
