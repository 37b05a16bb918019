"""The numbers of transitions: one line of a file for each, so that any two have an order.

May touch: that file. A number is given out before its transition begins; whether it came to pass is
in the set's record alone. Whoever calls `add` or `prune` holds the store's lock.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_TAIL_BYTES = 1 << 16  # more than one line can have


@dataclass(frozen=True, slots=True)
class Line:
    """One transition that was begun."""

    number: int
    set_id: str
    root: str


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    number: int
    set_id: str
    root: str


class History:
    """The transitions of one store, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self) -> int:
        """Return the last number that was given out, 0 when none was."""
        return next((line.number for line in self._backwards(_TAIL_BYTES)), 0)

    def add(self, set_id: str, root: str, at_least: int = 0) -> int:
        """Give out a number, higher than any before."""
        number = max(self.last(), at_least) + 1
        shown = os.fsencode(root).decode("latin-1")
        line = json.dumps({"number": number, "set_id": set_id, "root": shown})
        with self._path.open("ab") as file:
            file.write(b"\n" + line.encode())  # what a crash cut off must not join this line
        return number

    def since(self, number: int) -> Iterator[Line]:
        """Yield what was begun after a number, newest first."""
        for line in self._backwards(None):
            if line.number <= number:
                return
            yield line

    def prune(self, known: set[str], after: int) -> None:
        """Forget the transitions of sets that are gone, but for the last and those after one."""
        lines = list(self._backwards(None))
        kept = [line for line in lines[1:] if line.set_id in known or line.number > after]
        if len(kept) + 1 >= len(lines):
            return
        new = self._path.with_suffix(".new")
        new.unlink(missing_ok=True)
        renewed = History(new)
        for line in (*reversed(kept), lines[0]):
            renewed.add(line.set_id, line.root, line.number - 1)
        new.rename(self._path)

    def _backwards(self, most_bytes: int | None) -> Iterator[Line]:
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - (size if most_bytes is None else most_bytes)))
                text = file.read()
        except FileNotFoundError:
            return
        for line in reversed(text.split(b"\n")):
            if line and (found := _parsed(line)) is not None:
                yield found


def _parsed(line: bytes) -> Line | None:
    try:
        model = _Line.model_validate_json(line)
        return Line(model.number, model.set_id, os.fsdecode(model.root.encode("latin-1")))
    except ValueError:  # cut off by a crash, or by where reading began
        return None
