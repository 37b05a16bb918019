"""Undo records: what a change set replaced, on disk before anything is replaced.

May touch: the state directory alone (mode 0700). A record moves through three directories, and
each move is one rename: `active` (not landed: roll back), `landed` (clean up), `undo` (at rest).
An undo id is 128 random bits, so no one can name a record that was not told to them.
"""

import base64
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sandbox.dirfd import Metadata
from sandbox.permit import SandboxError

Stage = Literal["active", "landed", "undo"]
_ID = re.compile(r"[0-9a-f]{32}")
_RECORD = "record.json"
MAX_RECORDS = 200  # the oldest beyond can no longer be undone


class UndoError(SandboxError):
    """An undo record is unknown, damaged or cannot be kept; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """One file: what it was (None: absent) and the digest of what it became (None: gone)."""

    path: str
    before_sha256: str | None
    after_sha256: str | None
    metadata: Metadata | None


@dataclass(frozen=True, slots=True)
class Record:
    """One change set below one root, and the directories made for it, parents first."""

    undo_id: str
    root: str
    files: tuple[Replaced, ...]
    made_directories: tuple[str, ...]
    prune_directories: tuple[str, ...]  # made by the change set that this one undoes


class _FileModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    path: str
    before_sha256: str | None
    after_sha256: str | None
    mode: int | None
    uid: int | None
    gid: int | None
    xattrs: list[tuple[str, str]]


class _RecordModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    version: Literal[1]
    root: str
    made_directories: list[str]
    prune_directories: list[str]
    files: list[_FileModel]


class UndoStore:
    """The undo records of one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._base = state_dir / "patches"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store against every other process and thread; a crash releases it."""
        self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stage in ("active", "landed", "undo"):
            (self._base / stage).mkdir(mode=0o700, exist_ok=True)
        with (self._base / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def begin(self, record: Record, contents: Sequence[bytes | None]) -> None:
        """Write an active record with the previous contents; durable when this returns.

        Raises:
            OSError: the disk is full or not writable; the half-written record is removed.
        """
        place = self._place("active", record.undo_id)
        place.mkdir(mode=0o700)
        try:
            for number, content in enumerate(contents):
                if content is not None:
                    _write_durably(place / f"before.{number}", content)
            _write_durably(place / _RECORD, _to_json(record))
            sync_directory(place)
            sync_directory(place.parent)
        except OSError:
            shutil.rmtree(place, ignore_errors=True)
            raise

    def move(self, undo_id: str, start: Stage, end: Stage) -> None:
        """Move a record on, durably."""
        self._place(start, undo_id).rename(self._place(end, undo_id))
        sync_directory(self._base / end)
        sync_directory(self._base / start)
        if end == "undo":
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        kept = sorted((self._base / "undo").iterdir(), key=lambda place: place.stat().st_mtime_ns)
        for place in kept[:-MAX_RECORDS]:
            shutil.rmtree(place, ignore_errors=True)

    def discard(self, undo_id: str) -> None:
        """Remove an active record whose change set was rolled back."""
        # The record goes first: without it, recovery knows that nothing is left to roll back.
        (self._place("active", undo_id) / _RECORD).unlink(missing_ok=True)
        shutil.rmtree(self._place("active", undo_id), ignore_errors=True)

    def unfinished(self, stage: Literal["active", "landed"]) -> list[str]:
        """Return the ids of records that a crash left in `stage`."""
        return sorted(entry.name for entry in (self._base / stage).iterdir())

    def load(self, undo_id: str, stage: Stage = "undo") -> Record:
        """Return a record.

        Raises:
            UndoError: there is none of this id, or it cannot be read.
        """
        if _ID.fullmatch(undo_id) is None:
            raise UndoError(f"{undo_id[:40]!r} is not an undo id (32 hexadecimal digits)")
        place = self._place(stage, undo_id)
        try:
            model = _RecordModel.model_validate_json((place / _RECORD).read_bytes())
        except FileNotFoundError as error:
            raise UndoError(f"there is no undo record {undo_id}; nothing was changed") from error
        except ValidationError as error:
            raise UndoError(f"{place / _RECORD} is damaged; nothing was changed") from error
        return _from_model(undo_id, model)

    def before(self, record: Record, number: int) -> bytes | None:
        """Return what file `number` of the record held, None when it was absent.

        Raises:
            UndoError: the kept content is not what was replaced.
        """
        file = record.files[number]
        if file.before_sha256 is None:
            return None
        path = self._place("undo", record.undo_id) / f"before.{number}"
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != file.before_sha256:
            raise UndoError(f"{path} is damaged; {file.path!r} was not restored")
        return content

    def _place(self, stage: Stage, undo_id: str) -> Path:
        return self._base / stage / undo_id


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _to_json(record: Record) -> bytes:
    body = {
        "version": 1,
        "root": record.root,
        "made_directories": record.made_directories,
        "prune_directories": record.prune_directories,
        "files": [_file_fields(file) for file in record.files],
    }
    return json.dumps(body).encode()


def _file_fields(file: Replaced) -> dict[str, object]:
    kept = file.metadata
    fields = {"mode": None, "uid": None, "gid": None} if kept is None else asdict(kept)
    xattrs = () if kept is None else kept.xattrs
    return {
        **fields,
        "path": file.path,
        "before_sha256": file.before_sha256,
        "after_sha256": file.after_sha256,
        "xattrs": [(name, base64.b64encode(value).decode()) for name, value in xattrs],
    }


def _from_model(undo_id: str, model: _RecordModel) -> Record:
    return Record(
        undo_id,
        model.root,
        tuple(
            Replaced(file.path, file.before_sha256, file.after_sha256, _metadata(file))
            for file in model.files
        ),
        tuple(model.made_directories),
        tuple(model.prune_directories),
    )


def _metadata(file: _FileModel) -> Metadata | None:
    if file.mode is None or file.uid is None or file.gid is None:
        return None
    xattrs = tuple((name, base64.b64decode(value)) for name, value in file.xattrs)
    return Metadata(file.mode, file.uid, file.gid, xattrs)
