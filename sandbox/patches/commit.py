"""Landing a patch: exact new contents become a change set, and the set lands whole or not at all.

May touch: a draft of the change store; the workspace through the store's own renames. The order:
  1. a draft begins: what somebody changes from here on is seen
  2. every file is read and must be what the permit says
  3. the new contents lie in the draft, with the owner, mode and attributes of the old
  4. the set lands whole and durably (changes/transaction.py), or is dropped again
"""

import hashlib
import os
import time
from collections.abc import Sequence

from sandbox.action import NewContent, PatchFiles
from sandbox.changes import transaction
from sandbox.changes.drafts import Draft, opened
from sandbox.changes.model import About, Change, Found, Step
from sandbox.changes.objects import dress
from sandbox.changes.store import ChangeStore
from sandbox.dirfd import FileState, PathRefusedError, below, directory, relative_parts
from sandbox.patches.plan import current_state
from sandbox.permit import SandboxError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644


class ConflictError(SandboxError):
    """A file is not what it was when the change was decided; the whole set was left out."""


Before = tuple[FileState | None, ...]


def land(store: ChangeStore, patch: PatchFiles, session: str) -> tuple[str, Before]:
    """Change all files and return the id of the change set, and what each file was.

    Raises:
        ConflictError, PathRefusedError: a file is not as decided; nothing was changed.
        SandboxError, OSError: no space or no permission; nothing was changed.
    """
    draft = store.draft(patch.root)  # 1
    try:
        with directory(patch.root) as root, opened(draft.upper) as upper:
            before = tuple(_verified(root, file) for file in patch.files)  # 2
            found = _Staging(root, upper).stage(patch.files, before)  # 3
        kept = store.keep_set(draft, found, _about(patch, draft, session))
    finally:
        draft.drop()
    try:
        transaction.apply_whole(store, kept.set_id, durable=True)  # 4
    except transaction.ChangedError as error:
        store.discard(kept.set_id)
        named = ", ".join(map(repr, error.paths))
        raise ConflictError(
            f"{named} was changed meanwhile; nothing was changed, read it again"
        ) from error
    except SandboxError:
        store.discard(kept.set_id)
        raise
    return kept.set_id, before


def _about(patch: PatchFiles, draft: Draft, session: str) -> About:
    names = ", ".join(file.path for file in patch.files)
    return About(
        root=patch.root,
        since_ns=draft.since_ns,
        after=draft.after,
        source="patch",
        summary=names[:200],
        session=session,
        created_s=time.time(),
    )


def _verified(root: int, file: NewContent) -> FileState | None:
    state = current_state(root, file.path)
    found = None if state is None else hashlib.sha256(state.content).hexdigest()
    if found == file.before_sha256:
        return state
    if file.before_sha256 is None:
        raise ConflictError(f"{file.path!r} exists now; nothing was changed")
    what = "is gone" if found is None else "was changed"
    raise ConflictError(f"{file.path!r} {what} meanwhile; nothing was changed, read it again")


class _Staging:
    """The draft of one patch, file by file."""

    def __init__(self, root: int, upper: int) -> None:
        self._root, self._upper = root, upper
        self._steps: dict[str, Step] = {}
        self._changes: dict[str, Change] = {}

    def stage(self, files: Sequence[NewContent], before: Before) -> Found:
        """Write what the files will hold, and return what landing them does."""
        for file, state in zip(files, before, strict=True):
            if file.after is not None:
                self._write(file, file.after, state)
            elif state is not None:
                self._steps[file.path] = Step("take", file.path)
                self._changes[file.path] = Change(
                    file.path, "deleted", "file", len(state.content), 0, state.metadata.mode
                )
        changes = sorted(self._changes.values(), key=lambda change: change.path)
        return Found(tuple(changes), tuple(self._steps.values()))

    def _write(self, file: NewContent, after: bytes, state: FileState | None) -> None:
        *above, name = relative_parts(file.path)
        self._directories(above)
        with below(self._upper, above) as parent:
            descriptor = os.open(name, _NEW, 0o600, dir_fd=parent)
            with os.fdopen(descriptor, "wb") as content:
                content.write(after)
            if state is None:
                mode = _FILE_MODE if file.mode is None else file.mode
                os.chmod(name, mode, dir_fd=parent)
            else:
                self._dress(parent, name, file.path, state)
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        is_inside = any(file.path.startswith(f"{path}/") for path in self._steps)
        if not is_inside:
            move = Step("place" if state is None else "exchange", file.path)
            self._steps[file.path] = move
        self._changes[file.path] = Change(
            file.path,
            "created" if state is None else "modified",
            "file",
            bytes_before=0 if state is None else len(state.content),
            bytes_after=len(after),
            mode_before=0 if state is None else state.metadata.mode,
            mode_after=status.st_mode & 0o7777,
            mtime_ns=status.st_mtime_ns,
        )

    def _directories(self, above: Sequence[str]) -> None:
        """Make the directories of a file; the first that the workspace lacks is placed whole."""
        for depth in range(1, len(above) + 1):
            path = "/".join(above[:depth])
            with below(self._upper, above[: depth - 1]) as parent:
                try:
                    os.mkdir(above[depth - 1], _DIRECTORY_MODE, dir_fd=parent)
                except FileExistsError:
                    continue
                os.chmod(above[depth - 1], _DIRECTORY_MODE, dir_fd=parent)
            if _is_there(self._root, above[:depth]):
                continue
            self._changes[path] = Change(path, "created", "directory", mode_after=_DIRECTORY_MODE)
            if not any(path.startswith(f"{other}/") for other in self._steps):
                self._steps[path] = Step("place", path)

    def _dress(self, parent: int, name: str, shown: str, state: FileState) -> None:
        kept = state.metadata
        try:
            dress(parent, name, kept)
        except PermissionError as error:
            raise PathRefusedError(
                f"{shown!r} belongs to uid {kept.uid}, gid {kept.gid}; its owner or attributes "
                "could not be kept, so nothing was changed"
            ) from error


def _is_there(root: int, parts: Sequence[str]) -> bool:
    try:
        with below(root, parts):
            return True
    except FileNotFoundError:
        return False
