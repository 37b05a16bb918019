"""Find records: by time, subject, effect, host, session, text. Reading proves nothing; verify does.

May touch: the log's files, for reading.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from audit.canonical import Json, decode_object
from audit.directory import LogDirectory
from audit.errors import AuditError, RecordRefused
from audit.read import raw_lines
from audit.record import family, inner, timestamp


@dataclass(frozen=True, slots=True)
class Query:
    """Which records: every field that is set must match."""

    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive
    subject: str | None = None  # actor.id
    session: str | None = None
    effect: str | None = None  # policy.effect
    host: str | None = None  # any of `hosts`
    event: str | None = None  # `exec.intent`, or a family: `exec`
    text: str | None = None  # anywhere in the record's canonical text
    after_seq: int = -1  # exclusive; for paging
    before_seq: int | None = None  # exclusive

    def needles(self) -> list[tuple[bytes, ...]]:
        """Return the bytes a record asked for must hold, one of each group; no decoding needed."""
        whole = [word for word in (self.subject, self.session, self.host) if word is not None]
        groups: list[tuple[bytes, ...]] = [(b'"' + _inside(word) + b'"',) for word in whole]
        if self.effect is not None:
            groups.append((b'"effect":"' + _inside(self.effect) + b'"',))
        if self.event is not None:
            groups.append((b'"event":"' + _inside(self.event),))
        if self.text is not None:
            groups.append((_raw(self.text), _inside(self.text)))
        return groups

    def spans(self, seq: int) -> bool:
        """Return whether a record of this number may be asked for."""
        return seq > self.after_seq and (self.before_seq is None or seq < self.before_seq)

    def matches(self, record: Mapping[str, Json]) -> bool:
        """Return whether the record is asked for, whose bytes hold the needles."""
        moment = str(record.get("ts"))
        named = (
            (self.subject, inner(record, "actor", "id")),
            (self.session, record.get("session")),
            (self.effect, inner(record, "policy", "effect")),
        )
        return (
            all(wanted is None or wanted == found for wanted, found in named)
            and (self.since is None or moment >= timestamp(self.since))
            and (self.until is None or moment < timestamp(self.until))
            and (self.event is None or self.event in (record.get("event"), family(record)))
            and (self.host is None or self.host in hosts(record))
        )


EVERYTHING = Query()


def holds(line: bytes, needles: Sequence[tuple[bytes, ...]]) -> bool:
    """Return whether a record's bytes hold one of each group of needles."""
    return all(any(needle in line for needle in group) for group in needles)


def hosts(record: Mapping[str, Json]) -> list[str]:
    """Return the other machines a record speaks of: asked for, reached, or refused."""
    asked, became = record.get("request"), record.get("outcome")
    found: list[Json] = []
    if isinstance(asked, Mapping):
        found += [asked.get("host"), *_items(asked.get("hosts"))]
    if isinstance(became, Mapping):
        contacts = [*_items(became.get("network")), *_items(became.get("hosts"))]
        found += [one.get("host") for one in contacts if isinstance(one, Mapping)]
    return list(dict.fromkeys(host for host in found if isinstance(host, str)))


def records(directory: Path, query: Query = EVERYTHING) -> Iterator[dict[str, Json]]:
    """Yield the records asked for, in log order: the newest is the last.

    A torn last line is not a record yet and is left out.

    Raises:
        AuditError: the log cannot be read, or a line is not a record; the message names it.
    """
    needles = query.needles()
    for seq, line in _lines(directory):
        if not query.spans(seq) or not holds(line, needles):
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


def _items(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list | tuple) else ()


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _inside(text: str) -> bytes:
    """Return text as it stands inside a canonical string."""
    return _raw(json.dumps(text, ensure_ascii=False)[1:-1])
