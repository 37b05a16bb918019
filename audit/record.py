"""The words of a record: event endings, statuses and how much they matter, times, the log's own.

May touch: values only. May not touch: clocks, files, keys. A record is a mapping of the canonical
domain; `@prev` and `@seq` belong to the chain, `v`, `ts` and an intent's `writer` to the log.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from audit.canonical import Json

VERSION = 1
INTENT = ".intent"
OUTCOME = ".outcome"
STOPPED = frozenset({"denied", "declined", "blocked"})  # statuses of what did not run
ERROR, WARNING, INFO = 3, 4, 6  # severities of RFC 5424, which the journal shares
_UNKNOWN = frozenset({"lost", "error"})

Record: TypeAlias = Mapping[str, Json]


def timestamp(moment: datetime) -> str:
    """Return a moment as UTC text with microseconds, which sorts as it reads (RFC 3339)."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def family(record: Record) -> str:
    """Return the first part of a record's event."""
    return str(record.get("event")).partition(".")[0]


def inner(record: Record, field: str, key: str) -> Json:
    """Return one fact of a record's part; None if it is not there."""
    value = record.get(field)
    return value.get(key) if isinstance(value, Mapping) else None


def severity(record: Record) -> int:
    """Return how much a record matters to whoever watches: what was refused, what went wrong."""
    status = str(inner(record, "outcome", "status"))
    if status in _UNKNOWN or record.get("event") == "log.recovered":
        return ERROR
    is_denied = inner(record, "policy", "effect") == "deny"
    return WARNING if is_denied or status in STOPPED else INFO


def log_open(*, origin: str, vkey: str, writer: Record) -> Record:
    """Return the first record of each writer: whose log, which key, which process."""
    return {"event": "log.open", "origin": origin, "key": vkey, "writer": writer}


def log_recovered(*, cut: tuple[int, str] | None, kept: tuple[int, int] | None) -> Record:
    """Return what a crash left: bytes cut (count, sha256) and unsigned records kept (from, to)."""
    found: dict[str, Json] = {"event": "log.recovered"}
    if cut is not None:
        found |= {"bytes": cut[0], "sha256": cut[1]}
    return found | ({"kept": list(kept)} if kept is not None else {})


def lost(opened: Record) -> Record:
    """Return the outcome of an intent whose writer died: nobody knows what became of it."""
    event = str(opened["event"]).removesuffix(INTENT) + OUTCOME
    shared = ("action_id", "session", "actor", "tool", "policy", "trace")
    return {
        **{key: opened[key] for key in shared if key in opened},
        "event": event,
        "outcome": {"status": "lost"},
        "intent_seq": opened["@seq"],
    }
