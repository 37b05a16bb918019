"""The sets that are at work: a journal each, and a marker where recovery needs more than that.

May touch: one directory of the store. A journal is the record of a set as it will be; it becomes
the record by one rename. Whoever writes here holds the store's lock.
"""

import json
import os
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from sandbox.changes.record import Record
from sandbox.changes.record_text import SetError, from_text, to_text

_MARKER = ".marker"
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Marker:
    """What a transition does before its journal, and recovery could not know otherwise."""

    number: int  # of the transition
    root_mtime_ns: int
    is_staged: bool  # a directory in the root comes and goes
    opened: tuple[tuple[str, int], ...] = ()  # directories, and the modes they had


class _MarkerFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    number: int
    root_mtime_ns: int
    is_staged: bool
    opened: list[tuple[str, int]]


class Active:
    """What is at work in one store."""

    def __init__(self, path: str) -> None:
        self._path = path

    def sets(self) -> set[str]:
        """Return the sets that are at work; what a crash left half written goes away."""
        found: set[str] = set()
        with os.scandir(self._path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    os.unlink(entry)  # noqa: PTH108  # an entry is a path
                else:
                    found.add(entry.name.removesuffix(_MARKER))
        return found

    def has(self, set_id: str) -> bool:
        """Return whether a set is at work."""
        return any(os.path.lexists(self._path + f"/{set_id}{end}") for end in ("", _MARKER))

    def journal(self, set_id: str) -> Record | None:
        """Return the journal of a set, None where there is none.

        Raises:
            SetError: it cannot be read.
        """
        content = self._read(set_id)
        try:
            return None if content is None else from_text(content)
        except SetError as error:
            raise SetError(f"change set {set_id}: its journal: {error}") from error

    def write_journal(self, record: Record, *, durable_name: bool) -> None:
        """Write a journal durably; its name is durable too where that is asked for.

        Raises:
            OSError: no space or no permission.
        """
        self._write(record.set_id, to_text(record))
        if durable_name:
            sync_path(self._path)

    def commit(self, set_id: str, record: str) -> None:
        """Let the journal be the record: the transition has happened."""
        os.rename(f"{self._path}/{set_id}", record)  # noqa: PTH104  # hot

    def marker(self, set_id: str) -> Marker:
        """Return the marker of a set; one that says nothing where there is none."""
        content = self._read(set_id + _MARKER)
        if content is None:
            return Marker(0, 0, is_staged=False)
        found = _MarkerFile.model_validate_json(content)
        opened = tuple((os.fsdecode(p.encode("latin-1")), mode) for p, mode in found.opened)
        return Marker(found.number, found.root_mtime_ns, found.is_staged, opened)

    def mark(self, set_id: str, marker: Marker) -> None:
        """Write a marker, durably: what it tells of is about to be done."""
        fields = {
            "number": marker.number,
            "root_mtime_ns": marker.root_mtime_ns,
            "is_staged": marker.is_staged,
            "opened": [(os.fsencode(p).decode("latin-1"), mode) for p, mode in marker.opened],
        }
        self._write(set_id + _MARKER, json.dumps(fields).encode())
        sync_path(self._path)

    def end(self, set_id: str) -> None:
        """Say that a set is at rest; the marker goes last."""
        for name in (set_id, set_id + _MARKER):
            if os.path.lexists(f"{self._path}/{name}"):
                os.unlink(f"{self._path}/{name}")  # noqa: PTH108  # hot

    def _read(self, name: str) -> bytes | None:
        try:
            with open(f"{self._path}/{name}", "rb") as file:  # noqa: PTH123  # hot
                return file.read()
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        new = f"{self._path}/.{name}"
        descriptor = os.open(new, _WRITE, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fdatasync(descriptor)
        except OSError:
            os.unlink(new)  # noqa: PTH108  # hot
            raise
        os.rename(new, f"{self._path}/{name}")  # noqa: PTH104  # hot


def sync_path(directory: str) -> None:
    """Put the names in a directory on disk."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
