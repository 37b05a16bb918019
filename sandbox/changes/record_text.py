"""How a change set's record is written down: three lines of JSON, read again strictly.

May touch: nothing; values in, bytes out and back. The lines are the head that lists show, the body,
and the last transition with all that is needed to take it back. Rows are arrays, as there may be
ten thousands. A name stands there as Latin-1 would show its bytes, so any name is text.
"""

import json
import os
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from sandbox.changes.model import (
    About,
    Change,
    ChangeSet,
    Found,
    Kind,
    Move,
    Operation,
    Reason,
    State,
    Step,
)
from sandbox.changes.record import Record, Stamp, Standing, Touched, Transition, Turn
from sandbox.dirfd import Metadata
from sandbox.permit import SandboxError

VERSION = 1

_StampRow = tuple[str, Literal["f", "d", "l", "o"], int, int, int]
_MetadataRow = tuple[int, int, int, list[tuple[str, str]]]
_StandingRow = tuple[
    Move,
    str,
    str,
    list[int],
    bool,
    list[_StampRow],
    list[_StampRow],
    _MetadataRow | None,
    _MetadataRow | None,
]
_TurnRow = tuple[int, Literal["in", "out", "swap", "dress"], str, str, int, int]


class SetError(SandboxError):
    """A change set is unknown, damaged, or has nothing to do; nothing was changed."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _About(_Line):
    root: str
    since_ns: int
    after: int
    source: Literal["exec", "patch"]
    summary: str
    session: str
    created_s: float


class _Head(_Line):
    version: Literal[1]
    set_id: str
    about: _About
    reasons: list[tuple[str, str, list[str]]]
    state: State
    changes: int
    kept_bytes: int
    moved_s: float
    number: int


class _Body(_Line):
    changes: list[tuple[str, Operation, Kind, int, int, int, int, int]]
    times: list[tuple[str, int]]
    left_out: list[str]
    orphans: list[str]
    standings: list[_StandingRow]
    directories: list[tuple[str, int, int]]
    parts: int
    forgotten: int


class _Last(_Line):
    number: int
    to_apply: bool
    at_ns: int
    is_staged: bool
    turns: list[_TurnRow]
    touched: list[tuple[str, int, int, int, int, int]]


def to_text(record: Record) -> bytes:
    """Return the three lines of a record."""
    lines = (_head_line(record.head), _body_line(record), _last_line(record.last))
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()


def head_from_text(line: bytes) -> ChangeSet:
    """Return what the first line says.

    Raises:
        SetError: it is not one that was written here.
    """
    try:
        head = _Head.model_validate_json(line)
        return _change_set(head)
    except ValueError as error:  # a ValidationError, or a name that is no bytes
        raise SetError("its record is damaged") from error


def _change_set(head: _Head) -> ChangeSet:
    about = head.about
    return ChangeSet(
        head.set_id,
        About(
            _name(about.root),
            about.since_ns,
            about.after,
            about.source,
            about.summary,
            about.session,
            about.created_s,
        ),
        tuple(Reason(rule, text, tuple(map(_name, paths))) for rule, text, paths in head.reasons),
        head.state,
        head.changes,
        head.kept_bytes,
        head.moved_s,
        head.number,
    )


def from_text(text: bytes) -> Record:
    """Return a record.

    Raises:
        SetError: it is not one that was written here.
    """
    try:
        first, second, third, _ = text.split(b"\n")
        head = head_from_text(first)
        body = _Body.model_validate_json(second)
        last = None if third == b"null" else _Last.model_validate_json(third)
        return _record(head, body, last)
    except ValueError as error:  # a ValidationError, or a name that is no bytes
        raise SetError("its record is damaged") from error


def _record(head: ChangeSet, body: _Body, last: _Last | None) -> Record:
    return Record(
        head.set_id,
        head.about,
        _found(body),
        tuple(map(_standing, body.standings)),
        head.reasons,
        tuple((_path(path), before, after) for path, before, after in body.directories),
        body.parts,
        body.forgotten,
        None if last is None else _transition(last),
    )


def _head_line(head: ChangeSet) -> dict[str, object]:
    about = head.about
    return {
        "version": VERSION,
        "set_id": head.set_id,
        "about": {
            "root": _text(about.root),
            "since_ns": about.since_ns,
            "after": about.after,
            "source": about.source,
            "summary": _for_people(about.summary),
            "session": about.session,
            "created_s": about.created_s,
        },
        "reasons": [
            (reason.rule, _for_people(reason.text), _texts(reason.paths)) for reason in head.reasons
        ],
        "state": head.state,
        "changes": head.changes,
        "kept_bytes": head.kept_bytes,
        "moved_s": head.moved_s,
        "number": head.number,
    }


def _body_line(record: Record) -> dict[str, object]:
    found = record.found
    return {
        "changes": [_change_row(change) for change in found.changes],
        "times": [(_text(path), mtime_ns) for path, mtime_ns in found.times],
        "left_out": _texts(found.left_out),
        "orphans": _texts(found.orphans),
        "standings": [_standing_row(standing) for standing in record.standings],
        "directories": [(_text(path), before, after) for path, before, after in record.times],
        "parts": record.parts,
        "forgotten": record.forgotten,
    }


def _last_line(last: Transition | None) -> dict[str, object] | None:
    if last is None:
        return None
    return {
        "number": last.number,
        "to_apply": last.to_apply,
        "at_ns": last.at_ns,
        "is_staged": last.is_staged,
        "turns": [
            (turn.index, turn.kind, _text(turn.slot), _text(turn.source), turn.coming, turn.going)
            for turn in last.turns
        ],
        "touched": [
            (_text(t.path), t.inode, t.mode_before, t.mtime_before, t.mode_after, t.mtime_after)
            for t in last.touched
        ],
    }


def _change_row(change: Change) -> tuple[object, ...]:
    return (
        _text(change.path),
        change.operation,
        change.kind,
        change.bytes_before,
        change.bytes_after,
        change.mode_before,
        change.mode_after,
        change.mtime_ns,
    )


def _standing_row(standing: Standing) -> tuple[object, ...]:
    return (
        standing.step.move,
        _text(standing.step.path),
        _text(standing.slot),
        standing.numbers,
        standing.is_bare,
        [(_text(path), *rest) for path, *rest in standing.ours],
        [(_text(path), *rest) for path, *rest in standing.theirs],
        _metadata_row(standing.dressed),
        _metadata_row(standing.undressed),
    )


def _metadata_row(kept: Metadata | None) -> _MetadataRow | None:
    if kept is None:
        return None
    xattrs = [(_text(name), value.decode("latin-1")) for name, value in kept.xattrs]
    return kept.mode, kept.uid, kept.gid, xattrs


def _found(body: _Body) -> Found:
    standings = body.standings
    return Found(
        tuple(Change(_path(path), *rest) for path, *rest in body.changes),  # type: ignore[arg-type]  # mypy loses the types of a starred rest
        tuple(Step(move, _path(path)) for move, path, *_ in standings),
        tuple((_path(path), mtime_ns) for path, mtime_ns in body.times),
        tuple(map(_path, body.left_out)),
        tuple(map(_path, body.orphans)),
    )


def _standing(row: _StandingRow) -> Standing:
    move, path, slot, numbers, is_bare, ours, theirs, dressed, undressed = row
    return Standing(
        Step(move, _path(path)),
        _path(slot),
        tuple(numbers),
        is_bare,
        _stamps(ours),
        _stamps(theirs),
        _metadata(dressed),
        _metadata(undressed),
    )


def _stamps(rows: list[_StampRow]) -> tuple[Stamp, ...]:
    return tuple(
        Stamp(path and _path(path), kind, size, mtime_ns, mode)
        for path, kind, size, mtime_ns, mode in rows
    )


def _metadata(row: _MetadataRow | None) -> Metadata | None:
    if row is None:
        return None
    mode, uid, gid, xattrs = row
    kept = tuple((_name(name), value.encode("latin-1")) for name, value in xattrs)
    return Metadata(mode, uid, gid, kept)


def _transition(last: _Last) -> Transition:
    return Transition(
        last.number,
        last.to_apply,
        last.at_ns,
        last.is_staged,
        tuple(
            Turn(index, kind, slot and _path(slot), source and _path(source), coming, going)
            for index, kind, slot, source, coming, going in last.turns
        ),
        tuple(Touched(_path(path), *rest) for path, *rest in last.touched),
    )


def _texts(names: Iterable[str]) -> list[str]:
    return [_text(name) for name in names]


def _text(name: str) -> str:
    return name if name.isascii() else os.fsencode(name).decode("latin-1")


def _name(text: str) -> str:
    return text if text.isascii() else os.fsdecode(text.encode("latin-1"))


def _path(text: str) -> str:
    """Return a relative path that stays below its base."""
    if not text or text.startswith("/") or ".." in text.split("/"):
        raise SetError(f"its record is damaged: {text!r} is no path below the workspace")
    return _name(text)


def _for_people(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
