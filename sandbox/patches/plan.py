"""Patches: a diff or edits to the exact bytes each file will have.

May touch: the files below the root, for reading. The paths come out before any file is read, so
that policy decides on them first. INVARIANT: no other file is read or changed than these.
"""

import difflib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, overload

from sandbox import unified
from sandbox.action import NewContent, PatchFiles
from sandbox.dirfd import (
    FileState,
    Metadata,
    PathRefusedError,
    below,
    directory,
    read_state,
    relative_parts,
)
from sandbox.patches.diffs import Operation, Origin, Section, parse_each
from sandbox.patches.edits import Edit, Numbered, by_path, edited
from sandbox.patches.lines import DiffError
from sandbox.patches.matching import MAX_FILE_BYTES, patched

MAX_FILES = 500
_NEW_FILE_MODE = 0o644
_MAX_NAMES = 200  # in a directory that is searched for the name that was meant
_PREVIEW_STEPS = 4_000_000
_UNIMPORTANT = frozenset({"security.selinux"})  # every file has one where there are any


@dataclass(frozen=True, slots=True)
class PatchRefused:
    """Why a patch, or one file of it, was not planned, and where in it; nothing was changed."""

    place: str
    message: str
    path: str = field(default="", compare=False)  # the file it is about, where one is known


@dataclass(frozen=True, slots=True)
class PatchPart:
    """What is sound of a patch, None when no file is, and why each of the others is not."""

    action: PatchFiles | None
    refused: tuple[PatchRefused, ...]


Paths = tuple[tuple[Operation | Literal["read"], str], ...]
MayRead = Callable[[str], bool]


def named_paths(change: str | Iterable[Edit], *, partial: bool = False) -> Paths | PatchRefused:
    """Return operation and relative path of every file a diff or edits name; reads no file.

    A rename is named as mv is in policy: it modifies the old path, whose content stays, and reads
    it; a copy reads it. With `partial`, files that are refused as written are left out.
    """
    try:
        steps = _sound_steps(change, [] if partial else None)
    except DiffError as error:
        return _refused(error)
    return tuple(name for step in steps for name in step.named())


@overload
def plan(
    root: str,
    change: str | Iterable[Edit],
    policy_digest: str,
    *,
    may_read: MayRead | None = None,
) -> PatchFiles | PatchRefused: ...
@overload
def plan(
    root: str,
    change: str | Iterable[Edit],
    policy_digest: str,
    *,
    partial: Literal[True],
    may_read: MayRead | None = None,
) -> PatchPart | PatchRefused: ...
def plan(
    root: str,
    change: str | Iterable[Edit],
    policy_digest: str,
    *,
    partial: bool = False,
    may_read: MayRead | None = None,
) -> PatchFiles | PatchPart | PatchRefused:
    """Return the exact bytes each file below `root` will have.

    Args:
        root: absolute path of the workspace, free of symlinks.
        change: a unified diff, or exact edits.
        policy_digest: of the policy that decided on the paths.
        partial: give what is sound, and the refusal of each other file, instead of all or nothing.
            A diff is still refused as a whole where it is not certain where a file's part ends.
        may_read: whether policy lets the agent read a file, by its absolute path; a refusal quotes
            or names no other file.
    """
    refused: list[PatchRefused] | None = [] if partial else None
    files: list[NewContent] = []
    try:
        steps = _sound_steps(change, refused)
        with directory(root) as root_fd:
            planner = _Planner(root, root_fd, may_read or (lambda _: True))
            for step in steps:
                answer = planner.planned(step)
                if not isinstance(answer, PatchRefused):
                    files += answer
                elif refused is None:
                    return answer
                else:
                    refused.append(answer)
    except DiffError as error:
        return _refused(error)
    except (PathRefusedError, OSError) as error:
        return PatchRefused(root, _said(error))
    action = PatchFiles(root, tuple(files), policy_digest)
    if refused is None:
        return action
    return PatchPart(action if files else None, tuple(refused))


def _refused(error: DiffError) -> PatchRefused:
    return PatchRefused(error.place, error.message, error.path)


def _said(error: PathRefusedError | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename!r}; nothing was changed"
    return str(error)


@dataclass(frozen=True, slots=True)
class _Step:
    """What is wanted of one file, or of the two of a rename."""

    place: str
    operation: Operation
    path: str
    source: Section | Numbered

    @property
    def origin(self) -> Origin | None:
        return self.source.origin if isinstance(self.source, Section) else None

    @property
    def changed(self) -> tuple[str, ...]:
        return self.source.changed if isinstance(self.source, Section) else (self.path,)

    def named(self) -> Iterator[tuple[Operation | Literal["read"], str]]:
        if self.origin is not None and self.origin.is_deleted:
            yield "modify", self.origin.path
        yield self.operation, self.path
        if self.origin is not None:
            yield "read", self.origin.path

    def after(self, before: bytes) -> bytes | None:
        if not isinstance(self.source, Section):
            return edited(self.source, before)
        result = patched(self.source, before)
        return None if self.operation == "delete" else result

    def created(self) -> bytes:
        if isinstance(self.source, Section):
            return patched(self.source, b"")
        return self.source[0][1].new.encode()

    @property
    def mode(self) -> int | None:
        return self.source.mode if isinstance(self.source, Section) else None


def _sound_steps(change: str | Iterable[Edit], refused: list[PatchRefused] | None) -> list[_Step]:
    """Return what is wanted; a step that is refused as written raises, or goes to `refused`."""
    sound: list[_Step] = []
    for step in _apart(_steps(change)):
        if isinstance(step, _Step):
            sound.append(step)
        elif refused is None:
            raise step
        else:
            refused.append(_refused(step))
    count = sum(len(step.changed) for step in sound)
    if count > MAX_FILES:
        raise DiffError("patch", f"names {count} files, more than {MAX_FILES}; split it")
    return sound


def _steps(change: str | Iterable[Edit]) -> Iterator[_Step | DiffError]:
    if isinstance(change, str):
        for section in parse_each(change):
            if isinstance(section, DiffError):
                yield section
            else:
                place = f"diff line {section.at_line}"
                yield _Step(place, section.operation, section.path, section)
        return
    for path, answer in by_path(change).items():
        if isinstance(answer, DiffError):
            yield answer
        else:
            operation, numbered = answer
            yield _Step(f"edit {numbered[0][0]}", operation, path, numbered)


def _apart(steps: Iterable[_Step | DiffError]) -> Iterator[_Step | DiffError]:
    """Yield the steps, but an error for a file that would lie below another one."""
    known = list(steps)
    paths = {path for step in known if isinstance(step, _Step) for path in step.changed}
    for step in known:
        yield (isinstance(step, _Step) and _below_another(step, paths)) or step


def _below_another(step: _Step, paths: set[str]) -> DiffError | None:
    for path in step.changed:
        parts = path.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        file = next((one for one in above if one in paths), None)
        if file is not None:
            message = f"{path!r} lies below {file!r}, which is a file here"
            return DiffError(step.place, message, path)
    return None


@dataclass(frozen=True, slots=True)
class _Planner:
    """One workspace, and what of it may not be quoted."""

    root: str
    root_fd: int
    may_read: MayRead

    def planned(self, step: _Step) -> tuple[NewContent, ...] | PatchRefused:
        """Return what becomes of the files of one step, or why nothing does."""
        try:
            files = self._files(step)
        except DiffError as error:
            return PatchRefused(error.place, error.message, step.path)
        except (PathRefusedError, OSError) as error:
            return PatchRefused(step.place, _said(error), step.path)
        if any(len(file.after or b"") > MAX_FILE_BYTES for file in files):
            message = f"{step.path!r} would be larger than {MAX_FILE_BYTES} bytes"
            return PatchRefused(step.place, message, step.path)
        return files

    def _files(self, step: _Step) -> tuple[NewContent, ...]:
        if step.operation != "create":
            before = self._read(step.path, step)
            after = self._after(step.path, step, before)
            return (NewContent(step.path, sha256_or_none(before.content), after),)
        if current_state(self.root_fd, step.path) is not None:
            raise DiffError(step.place, f"{step.path!r} exists; modify it, or delete it first")
        if step.origin is not None:
            return self._moved(step, step.origin)
        return (NewContent(step.path, None, step.created(), step.mode or _NEW_FILE_MODE),)

    def _moved(self, step: _Step, origin: Origin) -> tuple[NewContent, ...]:
        before = self._read(origin.path, step)
        after = self._after(origin.path, step, before)
        created = NewContent(step.path, None, after, step.mode or before.metadata.mode & 0o777)
        if not origin.is_deleted:
            return (created,)
        lost = _lost(before.metadata)
        if lost:
            raise DiffError(
                step.place,
                f"{origin.path!r} has {lost}, which a rename by patch would lose; move it with mv",
            )
        return NewContent(origin.path, sha256_or_none(before.content), None), created

    def _read(self, path: str, step: _Step) -> FileState:
        state = current_state(self.root_fd, path)
        if state is None:
            near = self._near(path)
            nearest = f". Nearest: {near!r}" if near and self._may_quote(near) else ""
            raise DiffError(step.place, f"{path!r} does not exist below the root{nearest}")
        return state

    def _after(self, path: str, step: _Step, before: FileState) -> bytes | None:
        try:
            return step.after(before.content)
        except DiffError as error:
            if self._may_quote(path):
                raise
            # Else a wrong line here and there would read the file, one answer at a time.
            raise DiffError(
                error.place,
                f"does not fit {path!r}, which policy does not let you read; none of it is shown",
            ) from None

    def _may_quote(self, path: str) -> bool:
        return self.may_read(f"{self.root.rstrip('/')}/{path}")

    def _near(self, path: str) -> str | None:
        """Return the path of a file that was probably meant by one that does not exist."""
        parts = path.split("/")
        if len(parts) > 1 and parts[-1] in self._names(parts[1:-1]):
            return "/".join(parts[1:])  # the name of the workspace stood in front
        for depth, part in enumerate(parts):
            names = self._names(parts[:depth])
            if part not in names:
                close = difflib.get_close_matches(part, names, n=1)
                return "/".join([*parts[:depth], *close]) if close else None
        return None

    def _names(self, parts: list[str]) -> list[str]:
        """Return the first names in a directory below the root, none where there is none."""
        try:
            with below(self.root_fd, parts) as opened, os.scandir(opened) as found:
                return [entry.name for entry in islice(found, _MAX_NAMES)]
        except (OSError, PathRefusedError):
            return []


def _lost(metadata: Metadata) -> str:
    """Return what a new file would not have of an old one's metadata, besides its mode."""
    if (metadata.uid, metadata.gid) != (os.geteuid(), os.getegid()):
        return f"owner {metadata.uid} and group {metadata.gid}"
    names = [name for name, _ in metadata.xattrs if name not in _UNIMPORTANT]
    return f"extended attributes ({', '.join(names)})" if names else ""


def current_state(root_fd: int, path: str) -> FileState | None:
    """Return a patchable file as it is now, None when it (or a directory above) is absent.

    Raises:
        PathRefusedError: a link, special or set-id file, several names, or larger than 5 MiB.
        OSError: not permitted.
    """
    *above, name = relative_parts(path)
    try:
        with below(root_fd, above) as parent:
            state = read_state(parent, name, path, max_bytes=MAX_FILE_BYTES)
    except FileNotFoundError:
        return None
    if state is not None and state.links > 1:
        raise PathRefusedError(
            f"{path!r} has {state.links} names (hard links); replacing one would split them"
        )
    if state is not None and state.metadata.mode & 0o6000:
        raise PathRefusedError(f"{path!r} is a set-id file; it is not patched")
    return state


def preview(planned: PatchFiles) -> str | PatchRefused:
    """Return the unified diff of what will be applied, made from the bytes before and after.

    PatchRefused when a file is no longer what the plan read. Content is shown as it is: whoever
    prints it escapes control characters.
    """
    shown: list[str] = []
    place = planned.root
    effort = unified.Effort(_PREVIEW_STEPS)
    try:
        with directory(planned.root) as root_fd:
            for file in planned.files:
                place = file.path
                state = current_state(root_fd, place)
                before = None if state is None else state.content
                if sha256_or_none(before) != file.before_sha256:
                    return PatchRefused(place, "changed since the patch was planned; plan again")
                new = unified.Side(file.after, 0o100000 | (file.mode or _NEW_FILE_MODE))
                shown += unified.file_diff(place, unified.Side(before), new, effort)
    except (PathRefusedError, OSError) as error:
        return PatchRefused(place, f"{error}; the patch was not shown")
    return "".join(shown)


def sha256_or_none(content: bytes | None) -> str | None:
    """Return the hex digest of a file's bytes, None for an absent file."""
    return None if content is None else hashlib.sha256(content).hexdigest()
