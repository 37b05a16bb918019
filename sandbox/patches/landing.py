"""Landing a patch: its files as a change set, applied as a whole and durably.

May touch: the named files, to read; a draft in the store; the workspace through the engine of
change sets. Every file is read after the draft was made and must be what the permit says, so what
somebody writes from then on has a later time, and the engine finds it.
"""

import os
import time
from contextlib import suppress
from dataclasses import replace

from sandbox.action import NewContent, PatchFiles
from sandbox.changes.drafts import Draft, opened
from sandbox.changes.model import About, Change, Found, Move, Step
from sandbox.changes.objects import dress_open
from sandbox.changes.store import ChangeStore
from sandbox.changes.transaction import apply_whole
from sandbox.dirfd import (
    Descent,
    FileState,
    Metadata,
    PathRefusedError,
    directory,
    lstat,
    relative_parts,
)
from sandbox.patches.plan import current_state, sha256_or_none
from sandbox.permit import SandboxError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644

Contents = dict[str, bytes | None]


class ConflictError(SandboxError):
    """A file is not what it was when the change was decided; the whole set was left out."""


def land(store: ChangeStore, patch: PatchFiles, session: str) -> tuple[str, Contents]:
    """Change all files and return the id of the set, and what each file held before.

    Raises:
        ConflictError, ChangedError, PathRefusedError: a file is not as decided.
        SandboxError, OSError: no space or no permission. Nothing was changed in any case.
    """
    draft = store.draft(patch.root)
    try:
        with directory(patch.root) as root_fd:
            building = _Building(root_fd, draft)
            for file in patch.files:
                building.add(file)
        about = About(
            patch.root,
            draft.since_ns,
            draft.after,
            "patch",
            f"patch of {len(patch.files)} files",
            session,
            time.time(),
        )
        set_id = store.keep_set(draft, building.found(), about).set_id
    finally:
        draft.drop()
    try:
        apply_whole(store, set_id, durable=True)
    except (OSError, SandboxError):
        with suppress(OSError, SandboxError):  # it waits for recovery, or can be discarded later
            store.discard(set_id)
        raise
    return set_id, building.before


class _Building:
    """The draft of one patch."""

    def __init__(self, root: int, draft: Draft) -> None:
        self._root = root
        self._draft = draft
        self._changes: list[Change] = []
        self._steps: dict[str, Move] = {}
        self._times: dict[str, int] = {}
        self.before: Contents = {}

    def found(self) -> Found:
        """Return the change set."""
        return Found(
            tuple(sorted(self._changes, key=lambda change: change.path)),
            tuple(Step(self._steps[path], path) for path in sorted(self._steps)),
            tuple(sorted(self._times.items())),
        )

    def add(self, file: NewContent) -> None:
        """Write one file into the draft, if it is what the permit says."""
        state = _verified(self._root, file)
        self.before[file.path] = None if state is None else state.content
        above = file.path.rpartition("/")[0]
        top = self._missing(above) if state is None else ""
        if file.after is None:
            self._steps[file.path] = "take"
        elif state is not None:
            self._steps[file.path] = "exchange"
        else:
            self._steps[top or file.path] = "place"
        if state is None or file.after is None:
            changed = top.rpartition("/")[0] if top else above
            self._times[changed or "."] = time.time_ns()
        self._changes.append(self._change(file, state))

    def _missing(self, path: str) -> str:
        """Return the topmost directory of a path that is not there, "" if all are."""
        parts = path.split("/") if path else []
        with Descent(self._root) as inside:
            for depth, part in enumerate(parts):
                if lstat(inside.at("/".join(parts[:depth])), part) is None:
                    return "/".join(parts[: depth + 1])
        return ""

    def _change(self, file: NewContent, state: FileState | None) -> Change:
        mode_before = 0 if state is None else state.metadata.mode
        size = 0 if state is None else len(state.content)
        if file.after is None:
            return Change(file.path, "deleted", "file", bytes_before=size, mode_before=mode_before)
        written = self._write(file, None if state is None else state.metadata)
        return Change(
            file.path,
            "created" if state is None else "modified",
            "file",
            size,
            len(file.after),
            mode_before,
            written.st_mode & 0o7777,
            written.st_mtime_ns,
        )

    def _write(self, file: NewContent, kept: Metadata | None) -> os.stat_result:
        with opened(self._draft.upper) as upper, Descent(upper) as inside:
            parent, name = self._made(inside, file.path)
            descriptor = os.open(name, _NEW, 0o600, dir_fd=parent)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(file.after or b"")
                stream.flush()
                self._dress(descriptor, file, kept)
                return os.fstat(descriptor)

    def _made(self, inside: Descent, path: str) -> tuple[int, str]:
        """Return the place of a file in the draft, making the directories above it."""
        *above, _ = relative_parts(path)
        missing = self._missing("/".join(above))
        for depth, part in enumerate(above):
            parent = inside.at("/".join(above[:depth]))
            if lstat(parent, part) is not None:
                continue
            os.mkdir(part, _DIRECTORY_MODE, dir_fd=parent)
            made = "/".join(above[: depth + 1])
            if missing and (made == missing or made.startswith(f"{missing}/")):
                self._changes.append(_directory(made))
        return inside.parent(path)

    def _dress(self, descriptor: int, file: NewContent, kept: Metadata | None) -> None:
        if kept is None:
            os.fchmod(descriptor, _FILE_MODE if file.mode is None else file.mode)
            return
        wanted = kept if file.mode is None else replace(kept, mode=file.mode)
        try:
            dress_open(descriptor, wanted)
        except PermissionError as error:
            raise PathRefusedError(
                f"{file.path!r} belongs to uid {wanted.uid}, gid {wanted.gid}; its owner or "
                "attributes could not be kept, so nothing was changed"
            ) from error


def _directory(path: str) -> Change:
    return Change(path, "created", "directory", mode_after=_DIRECTORY_MODE, mtime_ns=time.time_ns())


def _verified(root: int, file: NewContent) -> FileState | None:
    state = current_state(root, file.path)
    found = None if state is None else sha256_or_none(state.content)
    if found == file.before_sha256:
        return state
    if file.before_sha256 is None:
        raise ConflictError(f"{file.path!r} exists now; nothing was changed")
    what = "is gone" if found is None else "was changed"
    raise ConflictError(f"{file.path!r} {what} meanwhile; nothing was changed, read it again")
