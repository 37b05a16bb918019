"""How a change set's record is written down: three lines of JSON, read again strictly.

May touch: nothing; values in, bytes out and back. The lines are the head that lists show, the body,
and the last transition with all that is needed to take it back. A name stands there as Latin-1
would show its bytes, so any name is text.
INVARIANT: a record that is read names nothing outside the workspace and the set's directory.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict

from sandbox.changes.model import ChangeSet, Found
from sandbox.changes.record import Record, Standing, Transition
from sandbox.permit import SandboxError

VERSION = 2

_Value = TypeVar("_Value")


class SetError(SandboxError):
    """A change set is unknown, damaged, or has nothing to do; nothing was changed."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, val_json_bytes="hex")


class _Head(_Line):
    version: Literal[2]
    head: ChangeSet


class _Body(_Line):
    found: Found  # without its steps, as the standings have them
    standings: tuple[Standing, ...]
    times: tuple[tuple[str, int, int], ...]
    parts: int
    forgotten: int


class _Last(_Line):
    last: Transition | None


def to_text(record: Record) -> bytes:
    """Return the three lines of a record."""
    head = record.head
    reasons = tuple(replace(each, text=_for_people(each.text)) for each in head.reasons)
    about = replace(head.about, summary=_for_people(head.about.summary))
    body = {
        "found": replace(record.found, steps=(), closed=()),
        "standings": record.standings,
        "times": record.times,
        "parts": record.parts,
        "forgotten": record.forgotten,
    }
    return (
        _line({"version": VERSION, "head": replace(head, about=about, reasons=reasons)})
        + _line(body)
        + _line({"last": record.last})
    )


def head_from_text(line: bytes) -> ChangeSet:
    """Return what the first line says.

    Raises:
        SetError: it is not one that was written here.
    """
    try:
        return _named(_Head.model_validate_json(line).head, line)
    except ValueError as error:  # a ValidationError, or a name that is no bytes
        raise SetError("its record is damaged") from error


def from_text(text: bytes) -> Record:
    """Return a record.

    Raises:
        SetError: it is not one that was written here.
    """
    try:
        first, second, third, _ = text.split(b"\n")
        head = head_from_text(first)
        body = _Body.model_validate_json(second)
        found, standings, times = _named((body.found, body.standings, body.times), second)
        last = _named(_Last.model_validate_json(third).last, third)
    except ValueError as error:  # as above
        raise SetError("its record is damaged") from error
    found = replace(found, steps=tuple(each.step for each in standings))
    record = Record(
        head.set_id, head.about, found, standings, head.reasons, times,
        body.parts, body.forgotten, last,
    )  # fmt: skip
    _require_inside(_paths(record))
    return record


def _line(value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_as_json)
    return os.fsencode(text).decode("latin-1").encode() + b"\n"


def _as_json(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return {field.name: getattr(value, field.name) for field in fields(cast("Found", value))}


def _named(value: _Value, line: bytes) -> _Value:
    """Return what a line says with the names that it shows."""
    return value if line.isascii() else cast("_Value", _name(value))


def _name(value: object) -> object:
    if isinstance(value, str):
        return value if value.isascii() else os.fsdecode(value.encode("latin-1"))
    if isinstance(value, tuple):
        return getattr(value, "_make", tuple)(map(_name, value))
    if is_dataclass(value) and not isinstance(value, type):
        inside = {field.name: _name(getattr(value, field.name)) for field in fields(value)}
        return replace(value, **inside)
    return value


def _paths(record: Record) -> Iterator[str]:
    """Yield every path that is joined to a directory."""
    found, last = record.found, record.last
    yield from (change.path for change in found.changes)
    yield from (path for path, _ in found.times)
    yield from (path for path, _, _ in record.times)
    yield from (*found.left_out, *found.orphans)
    for standing in record.standings:
        yield standing.step.path
        yield standing.slot
        yield from (each.path for each in (*standing.ours, *standing.theirs) if each.path)
    if last is not None:
        yield from (path for turn in last.turns for path in (turn.slot, turn.source) if path)
        yield from (each.path for each in last.touched)


def _require_inside(paths: Iterable[str]) -> None:
    for path in paths:
        if not path or path.startswith("/") or (".." in path and ".." in path.split("/")):
            raise SetError(f"its record is damaged: {path!r} is no path below the workspace")


def _for_people(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
