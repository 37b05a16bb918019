"""Patches: a diff or edits to the exact bytes each file will have, and their run.

May touch: the files below the root, for reading; `run` lands what a permit names through
`commit.py`. The paths come out before any file is read, so that policy decides on them first.
"""

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.action import NewContent, PatchFiles
from sandbox.dirfd import FileState, PathRefusedError, below, directory, read_state, relative_parts
from sandbox.patches.diffs import DiffError, Operation, Section, parse
from sandbox.patches.edits import Edit, by_path, edited
from sandbox.patches.matching import MAX_FILE_BYTES, patched, split_lines

MAX_FILES = 500
_MAX_COMPARED_LINES = 40_000  # beyond, the changed middle is shown whole: difflib is quadratic
_NEW_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class PatchRefused:
    """Why a patch was not planned, and where in it; nothing was changed."""

    place: str
    message: str


Paths = tuple[tuple[Operation, str], ...]


def named_paths(change: str | Iterable[Edit]) -> Paths | PatchRefused:
    """Return operation and relative path of every file a diff or edits name; reads no file."""
    try:
        return tuple((step.operation, step.path) for step in _steps(change))
    except DiffError as error:
        return PatchRefused(error.place, error.message)


def plan(root: str, change: str | Iterable[Edit], policy_digest: str) -> PatchFiles | PatchRefused:
    """Return the exact bytes each file below `root` will have.

    Args:
        root: absolute path of the workspace, free of symlinks.
        change: a unified diff, or exact edits.
        policy_digest: of the policy that decided on the paths.
    """
    place = root
    try:
        steps = _steps(change)
        files: list[NewContent] = []
        with directory(root) as root_fd:
            for step in steps:
                place = step.place
                files.append(_planned(root_fd, step))
    except DiffError as error:
        return PatchRefused(error.place, error.message)
    except PathRefusedError as error:
        return PatchRefused(place, str(error))
    except OSError as error:
        return PatchRefused(place, f"{error.strerror}: {error.filename!r}; nothing was changed")
    return PatchFiles(root, tuple(files), policy_digest)


@dataclass(frozen=True, slots=True)
class _Step:
    """What is wanted of one file."""

    place: str
    operation: Operation
    path: str
    source: Section | list[tuple[int, Edit]]

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
        if self.operation != "create":
            return None
        named = self.source.mode if isinstance(self.source, Section) else None
        return named or _NEW_FILE_MODE


def _steps(change: str | Iterable[Edit]) -> list[_Step]:
    if isinstance(change, str):
        steps = [
            _Step(f"diff line {section.at_line}", section.operation, section.path, section)
            for section in parse(change)
        ]
    else:
        steps = [
            _Step(f"edit {numbered[0][0]}", operation, path, numbered)
            for path, (operation, numbered) in by_path(change).items()
        ]
    if len(steps) > MAX_FILES:
        raise DiffError("patch", f"names {len(steps)} files, more than {MAX_FILES}; split it")
    paths = {step.path for step in steps}
    for step in steps:
        parts = step.path.split("/")
        above = next((p for n in range(1, len(parts)) if (p := "/".join(parts[:n])) in paths), None)
        if above is not None:
            raise DiffError(step.place, f"{step.path!r} lies below {above!r}, which is a file here")
    return steps


def _planned(root_fd: int, step: _Step) -> NewContent:
    before = current_state(root_fd, step.path)
    if step.operation == "create":
        if before is not None:
            raise DiffError(step.place, f"{step.path!r} exists; modify it, or delete it first")
        after: bytes | None = step.created()
        digest = None
    else:
        if before is None:
            raise DiffError(step.place, f"{step.path!r} does not exist below the root")
        after = step.after(before.content)
        digest = hashlib.sha256(before.content).hexdigest()
    if after is not None and len(after) > MAX_FILE_BYTES:
        raise DiffError(step.place, f"{step.path!r} would be larger than {MAX_FILE_BYTES} bytes")
    return NewContent(step.path, digest, after, step.mode)


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
    try:
        with directory(planned.root) as root_fd:
            for file in planned.files:
                place = file.path
                state = current_state(root_fd, place)
                before = None if state is None else state.content
                if sha256_or_none(before) != file.before_sha256:
                    return PatchRefused(place, "changed since the patch was planned; plan again")
                shown.append(_file_diff(file, before))
    except (PathRefusedError, OSError) as error:
        return PatchRefused(place, f"{error}; the patch was not shown")
    return "".join(shown)


def sha256_or_none(content: bytes | None) -> str | None:
    """Return the hex digest of a file's bytes, None for an absent file."""
    return None if content is None else hashlib.sha256(content).hexdigest()


def _file_diff(file: NewContent, before: bytes | None) -> str:
    name = file.path
    head = [f"diff --git a/{name} b/{name}\n"]
    if before is None:
        head.append(f"new file mode 100{file.mode or _NEW_FILE_MODE:o}\n")
    if file.after is None:
        head.append("deleted file mode 100644\n")
    body = list(
        _unified(
            [_text(line) for line in split_lines(before or b"")],
            [_text(line) for line in split_lines(file.after or b"")],
            "/dev/null" if before is None else f"a/{name}",
            "/dev/null" if file.after is None else f"b/{name}",
        )
    )
    return "".join([*head, *body])


def _text(line: bytes) -> str:
    return line.decode(errors="backslashreplace")


def _unified(old: list[str], new: list[str], old_name: str, new_name: str) -> Iterable[str]:
    if len(old) + len(new) > _MAX_COMPARED_LINES:
        lines: Iterable[str] = _coarse(old, new, old_name, new_name)
    else:
        lines = difflib.unified_diff(old, new, old_name, new_name)
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _coarse(old: list[str], new: list[str], old_name: str, new_name: str) -> Iterable[str]:
    """Yield one hunk with everything between the common head and tail, without context."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    gone, come = old[head : len(old) - tail], new[head : len(new) - tail]
    yield f"--- {old_name}\n"
    yield f"+++ {new_name}\n"
    yield f"@@ -{head + bool(gone)},{len(gone)} +{head + bool(come)},{len(come)} @@\n"
    yield from (f"-{line}" for line in gone)
    yield from (f"+{line}" for line in come)


def line_counts(before: bytes | None, after: bytes | None) -> tuple[int, int]:
    """Return how many lines a change adds and removes, as the preview would show them."""
    old = [_text(line) for line in split_lines(before or b"")]
    new = [_text(line) for line in split_lines(after or b"")]
    added = removed = 0
    for line in list(_unified(old, new, "a", "b"))[2:]:
        added += line.startswith("+")
        removed += line.startswith("-")
    return added, removed
