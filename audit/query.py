"""Find records: by time, subject, effect, host, session, text. Reading proves nothing; verify does.

May touch: the log's files, for reading.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from audit.canonical import Json, decode_object
from audit.directory import LogDirectory
from audit.errors import AuditError, RecordRefused
from audit.read import raw_lines
from audit.record import timestamp


@dataclass(frozen=True, slots=True)
class Query:
    """Which records: every field that is set must match."""

    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive
    subject: str | None = None  # actor.id
    session: str | None = None
    effect: str | None = None  # policy.effect
    host: str | None = None  # request.host
    text: str | None = None  # anywhere in the record's canonical text
    after_seq: int = -1  # exclusive; for paging

    def may_match(self, line: bytes) -> bool:
        """Return whether a record's bytes hold the text asked for; cheap, before it is decoded."""
        return self.text is None or self.text.encode() in line

    def matches(self, record: Mapping[str, Json]) -> bool:
        """Return whether the record is asked for, whose bytes may match."""
        moment = str(record.get("ts"))
        named = (
            (self.subject, _inner(record, "actor", "id")),
            (self.session, record.get("session")),
            (self.effect, _inner(record, "policy", "effect")),
            (self.host, _inner(record, "request", "host")),
        )
        return (
            all(wanted is None or wanted == found for wanted, found in named)
            and (self.since is None or moment >= timestamp(self.since))
            and (self.until is None or moment < timestamp(self.until))
        )


EVERYTHING = Query()


def records(directory: Path, query: Query = EVERYTHING) -> Iterator[dict[str, Json]]:
    """Yield the records asked for, in log order: the newest is the last.

    A torn last line is not a record yet and is left out.

    Raises:
        AuditError: the log cannot be read, or a line is not a record; the message names it.
    """
    for seq, line in _lines(directory):
        if seq <= query.after_seq or not query.may_match(line):
            continue
        try:
            record = decode_object(line)
        except RecordRefused as error:
            raise AuditError(f"{directory}: record {seq}: {error}. Run audit verify.") from error
        if query.matches(record):
            yield record


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        directory = LogDirectory.open(path)
        try:
            for first in directory.segments():
                for seq, raw in enumerate(raw_lines(directory, first), start=first):
                    if raw.endswith(b"\n"):
                        yield seq, raw[:-1]
        finally:
            directory.close()
    except OSError as error:
        raise AuditError(f"{path}: cannot be read: {error.strerror}") from error


def _inner(record: Mapping[str, Json], field: str, key: str) -> Json:
    value = record.get(field)
    return value.get(key) if isinstance(value, Mapping) else None
