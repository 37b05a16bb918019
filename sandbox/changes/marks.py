"""Restore points: names for the moments between two transitions.

May touch: its directory, one small file for each mark. Whoever calls `add` or `forget` holds the
store's lock.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sandbox.changes.record_text import SetError

MAX_NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment to which a workspace can be brought back."""

    name: str
    root: str
    number: int  # of the last transition before it
    made_s: float  # Unix time


class _MarkFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    name: str
    root: str
    number: int
    made_s: float


class Marks:
    """The restore points of one store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, name: str, root: str, number: int) -> Mark:
        """Make a mark, or move the one of this name to now.

        Raises:
            SetError: the name does not display as written, or is too long.
        """
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME_CHARACTERS:
            raise SetError(
                f"{name[:MAX_NAME_CHARACTERS]!r} is no name for a restore point: it has 1 to "
                f"{MAX_NAME_CHARACTERS} characters that display"
            )
        mark = Mark(name, root, number, time.time())
        shown = os.fsencode(root).decode("latin-1")
        fields = {"name": name, "root": shown, "number": number, "made_s": mark.made_s}
        place = self._path / _file_name(name, root)
        new = place.with_suffix(".new")
        new.write_text(json.dumps(fields), encoding="ascii")
        new.rename(place)
        return mark

    def all(self) -> Iterator[Mark]:
        """Yield every mark, in no order."""
        for path in self._path.glob("*[!w]"):
            with suppress(OSError, ValueError):
                model = _MarkFile.model_validate_json(path.read_bytes())
                root = os.fsdecode(model.root.encode("latin-1"))
                yield Mark(model.name, root, model.number, model.made_s)

    def forget(self, before_s: float) -> None:
        """Remove the marks that were made before a moment."""
        for mark in list(self.all()):
            if mark.made_s < before_s:
                (self._path / _file_name(mark.name, mark.root)).unlink(missing_ok=True)


def _file_name(name: str, root: str) -> str:
    return hashlib.sha256(os.fsencode(root) + b"\0" + name.encode()).hexdigest()
