"""Commit: a set of files below one root changes as a whole or not at all.

May touch: the named files, temporary names beside them, and the undo store. The order:
  1. every file is read and must be what the permit says
  2. the undo record is durable
  3. new contents lie beside their targets, durable, with owner, mode and xattrs
  4. each target is linked aside, then replaced by rename
  5. the record moves to `landed`: this rename is the moment at which the set has happened
  6. what was linked aside goes away
If the power fails before 5, recovery puts back what was linked aside; after 5 it finishes 6.
"""

import hashlib
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from sandbox.dirfd import (
    FileState,
    Metadata,
    PathRefusedError,
    below,
    directory,
    lstat,
    read_state,
    relative_parts,
    stamp_of,
)
from sandbox.patches.matching import MAX_FILE_BYTES
from sandbox.patches.plan import current_state, sha256_or_none
from sandbox.patches.undo import Record, Replaced, UndoStore
from sandbox.permit import SandboxError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644


class ConflictError(SandboxError):
    """A file is not what it was when the change was decided; the whole set was left out."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a file must be now and will be; `metadata` None keeps what the file has."""

    path: str
    before_sha256: str | None
    after: bytes | None
    metadata: Metadata | None = None
    mode: int | None = None  # for new files without metadata


def land(
    store: UndoStore, root: str, changes: Sequence[Change], prune: Sequence[str] = ()
) -> tuple[Record, tuple[bytes | None, ...]]:
    """Change all files and return the undo record with the previous contents.

    Args:
        store: where the previous state is kept; must not be locked by the caller.
        root: absolute path, free of symlinks.
        changes: one per file.
        prune: directories below root to remove afterwards if they are empty.

    Raises:
        ConflictError, PathRefusedError: a file is not as decided; nothing was changed.
        OSError: no space or no permission; nothing was changed.
    """
    with store.locked(), directory(root) as root_fd:
        _recover_locked(store)
        states = [_verified(root_fd, change) for change in changes]  # 1
        record = Record(
            secrets.token_hex(16),
            root,
            tuple(map(_replaced, changes, states)),
            _missing_directories(root_fd, changes),
            tuple(prune),
        )
        contents = tuple(None if state is None else state.content for state in states)
        store.begin(record, contents)  # 2
        try:
            _stage_all(root_fd, record, changes, states)  # 3
            for number, state in enumerate(states):
                _swap(root_fd, record, number, state)  # 4
            store.move(record.undo_id, "active", "landed")  # 5
        except (OSError, SandboxError):
            _settle(store, record, _roll_back(root_fd, record))
            raise
        with suppress(OSError):  # the set has landed; what is left is done at the next start
            _finish(root_fd, store, record)  # 6
    return record, contents


def recover(store: UndoStore) -> tuple[str, ...]:
    """Bring what a crash left to old or new; return a line per change set for the operator."""
    with store.locked():
        return tuple(_recover_locked(store))


def _recover_locked(store: UndoStore) -> list[str]:
    told: list[str] = []
    for undo_id in store.unfinished("active"):
        try:
            record = store.load(undo_id, "active")
        except SandboxError:  # it was being written: nothing had been touched
            store.discard(undo_id)
            continue
        told.append(_recovered(store, record, "active"))
    for undo_id in store.unfinished("landed"):
        try:
            told.append(_recovered(store, store.load(undo_id, "landed"), "landed"))
        except SandboxError as error:
            told.append(str(error))
    return told


def _recovered(store: UndoStore, record: Record, stage: Literal["active", "landed"]) -> str:
    """Finish one record; one that cannot be finished now stays and must not stop the others."""
    try:
        with directory(record.root) as root_fd:
            if stage == "landed":
                _finish(root_fd, store, record)
                return f"{record.root}: a finished patch was cleaned up, undo id {record.undo_id}"
            kept = _roll_back(root_fd, record)
            _settle(store, record, kept)
    except FileNotFoundError:
        store.move(record.undo_id, stage, "undo")
        return f"{record.root}: is gone, and with it an interrupted patch"
    except (OSError, SandboxError) as error:
        return f"{record.root}: an interrupted patch could not be recovered yet: {error}"
    left = f"; changed by someone else and left: {', '.join(kept)}" if kept else ""
    return f"{record.root}: an interrupted patch was rolled back{left}"


def _settle(store: UndoStore, record: Record, kept: Sequence[str]) -> None:
    """Drop the record of a set that was rolled back, unless it alone holds someone's bytes."""
    if kept:
        store.move(record.undo_id, "active", "undo")
    else:
        store.discard(record.undo_id)


def _replaced(change: Change, state: FileState | None) -> Replaced:
    return Replaced(
        change.path,
        change.before_sha256,
        sha256_or_none(change.after),
        None if state is None else state.metadata,
    )


def _verified(root_fd: int, change: Change) -> FileState | None:
    state = current_state(root_fd, change.path)
    found = None if state is None else hashlib.sha256(state.content).hexdigest()
    if found == change.before_sha256:
        return state
    if change.before_sha256 is None:
        raise ConflictError(f"{change.path!r} exists now; nothing was changed")
    what = "is gone" if found is None else "was changed"
    raise ConflictError(f"{change.path!r} {what} meanwhile; nothing was changed, read it again")


def _missing_directories(root_fd: int, changes: Sequence[Change]) -> tuple[str, ...]:
    missing: dict[str, None] = {}
    for change in changes:
        parts = relative_parts(change.path)[:-1]
        for depth in range(1, len(parts) + 1):
            if change.after is not None and not _is_directory(root_fd, parts[:depth]):
                missing["/".join(parts[:depth])] = None
    return tuple(missing)


def _is_directory(root_fd: int, parts: Sequence[str]) -> bool:
    try:
        with below(root_fd, parts):
            return True
    except FileNotFoundError:
        return False


def _aside(record: Record, number: int, suffix: str) -> str:
    return f".permitgate-{record.undo_id[:16]}-{number}.{suffix}"


def _stage_all(
    root_fd: int, record: Record, changes: Sequence[Change], states: Sequence[FileState | None]
) -> None:
    for path in record.made_directories:
        *above, name = path.split("/")
        with below(root_fd, above) as parent:
            os.mkdir(name, _DIRECTORY_MODE, dir_fd=parent)
            os.fsync(parent)
    for number, (change, state) in enumerate(zip(changes, states, strict=True)):
        if change.after is None:
            continue
        metadata = change.metadata or (None if state is None else state.metadata)
        with below(root_fd, relative_parts(change.path)[:-1]) as parent:
            opened = os.open(_aside(record, number, "new"), _NEW, 0o600, dir_fd=parent)
            with os.fdopen(opened, "wb") as file:
                file.write(change.after)
                file.flush()
                if metadata is None:
                    os.fchmod(opened, _FILE_MODE if change.mode is None else change.mode)
                else:
                    _dress(opened, metadata, change.path)
                os.fsync(opened)


def _dress(opened: int, metadata: Metadata, shown: str) -> None:
    """Give a staged file owner, xattrs and mode, in this order: each may reset the next."""
    status = os.fstat(opened)
    try:
        if (status.st_uid, status.st_gid) != (metadata.uid, metadata.gid):
            os.fchown(opened, metadata.uid, metadata.gid)
        wanted = dict(metadata.xattrs)
        for name in _names_of(opened) - wanted.keys():
            os.removexattr(opened, name)
        for name, value in wanted.items():
            if name not in _names_of(opened) or os.getxattr(opened, name) != value:
                os.setxattr(opened, name, value)
        os.fchmod(opened, metadata.mode)
    except PermissionError as error:
        raise PathRefusedError(
            f"{shown!r} belongs to uid {metadata.uid}, gid {metadata.gid}; its owner or attributes "
            "could not be kept, so nothing was changed"
        ) from error


def _names_of(opened: int) -> set[str]:
    try:
        return set(os.listxattr(opened))
    except OSError:  # the filesystem has none
        return set()


def _swap(root_fd: int, record: Record, number: int, state: FileState | None) -> None:
    """Put the staged file in place; what was there keeps its inode under the aside name."""
    file = record.files[number]
    *above, name = relative_parts(file.path)
    new, old = _aside(record, number, "new"), _aside(record, number, "old")
    with below(root_fd, above) as parent:
        if state is None:
            # link, not rename: it fails when someone created the file meanwhile.
            os.link(new, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
        elif file.after_sha256 is None:
            os.rename(name, old, src_dir_fd=parent, dst_dir_fd=parent)
            _require_untouched(parent, old, state, file.path)
        else:
            os.link(name, old, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
            _require_untouched(parent, old, state, file.path)
            os.replace(new, name, src_dir_fd=parent, dst_dir_fd=parent)
            _require_untouched(parent, old, state, file.path)
        os.fsync(parent)


def _require_untouched(parent: int, old: str, state: FileState, shown: str) -> None:
    found = lstat(parent, old)
    if found is None or stamp_of(found) != state.stamp:
        raise ConflictError(f"{shown!r} was changed meanwhile; nothing was changed, read it again")


def _roll_back(root_fd: int, record: Record) -> list[str]:
    """Put every file back as it was; return the paths that were not ours to put back.

    Safe to repeat: each step looks at what is there, so a crash in here changes nothing.
    """
    kept: list[str] = []
    for number in reversed(range(len(record.files))):
        *above, name = relative_parts(record.files[number].path)
        try:
            with below(root_fd, above) as parent:
                if not _put_back(parent, name, record, number):
                    kept.append(record.files[number].path)
                _remove(parent, _aside(record, number, "old"))
                _remove(parent, _aside(record, number, "new"))
                os.fsync(parent)
        except FileNotFoundError:  # its directory was never made
            continue
    _remove_empty(root_fd, record.made_directories)
    return kept


def _put_back(parent: int, name: str, record: Record, number: int) -> bool:
    """Restore one file; return False when what is there now is neither old nor ours."""
    file = record.files[number]
    new, old = _aside(record, number, "new"), _aside(record, number, "old")
    there = lstat(parent, name)
    if file.before_sha256 is None:
        staged = lstat(parent, new)
        if there is not None and staged is not None and there.st_ino == staged.st_ino:
            os.unlink(name, dir_fd=parent)
        return True
    kept = lstat(parent, old)
    if kept is None or (there is not None and there.st_ino == kept.st_ino):
        return True
    if there is None:
        os.link(old, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
        return True
    with suppress(PathRefusedError):
        state = read_state(parent, name, file.path, max_bytes=MAX_FILE_BYTES)
        if state is not None and sha256_or_none(state.content) == file.after_sha256:
            os.replace(old, name, src_dir_fd=parent, dst_dir_fd=parent)
            return True
    return False


def _finish(root_fd: int, store: UndoStore, record: Record) -> None:
    for number, file in enumerate(record.files):
        with suppress(FileNotFoundError), below(root_fd, file.path.split("/")[:-1]) as parent:
            _remove(parent, _aside(record, number, "old"))
            _remove(parent, _aside(record, number, "new"))
    _remove_empty(root_fd, record.prune_directories)
    store.move(record.undo_id, "landed", "undo")


def _remove(parent: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)


def _remove_empty(root_fd: int, directories: Sequence[str]) -> None:
    for path in reversed(directories):
        *above, name = path.split("/")
        with suppress(OSError, PathRefusedError), below(root_fd, above) as parent:
            os.rmdir(name, dir_fd=parent)
