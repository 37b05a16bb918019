"""Exact edits: replace a text that occurs once. Every edit matches the file as it was before all.

Pure. Since no edit sees another's result, their order never matters and overlaps are errors.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.dirfd import PathRefusedError, relative_parts
from sandbox.patches.diffs import Operation
from sandbox.patches.lines import DiffError
from sandbox.patches.matching import convention, require_text

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `old`, which occurs exactly once in `path`; an empty `old` creates the file."""

    path: str
    old: str
    new: str


Numbered = list[tuple[int, Edit]]


def by_path(edits: Iterable[Edit]) -> dict[str, tuple[Operation, Numbered] | DiffError]:
    """Return the edits of each path with their numbers from 1, in order of first mention.

    In their place stands the error of a path: it leaves the root, an edit changes nothing, or a
    creation is not alone.

    Raises:
        DiffError: there is no edit.
    """
    grouped: dict[str, Numbered] = {}
    for number, edit in enumerate(edits, start=1):
        grouped.setdefault(edit.path, []).append((number, edit))
    if not grouped:
        raise DiffError("edits", "there is none")
    return {path: _operation(path, numbered) for path, numbered in grouped.items()}


def _operation(path: str, numbered: Numbered) -> tuple[Operation, Numbered] | DiffError:
    try:
        for number, edit in numbered:
            _require_sound(number, edit)
    except DiffError as error:
        return DiffError(error.place, error.message, path)
    creations = [number for number, edit in numbered if edit.old == ""]
    if creations and len(numbered) > 1:
        return DiffError(
            f"edit {creations[0]}",
            f"an empty `old` creates {path!r}, so no other edit can name that file",
            path,
        )
    return ("create" if creations else "modify"), numbered


def _require_sound(number: int, edit: Edit) -> None:
    place = f"edit {number}"
    if "\0" in edit.new or "\0" in edit.old:
        raise DiffError(place, "contains NUL; only text files can be edited")
    if edit.old == edit.new and edit.old != "":
        raise DiffError(place, "old and new are the same text")
    try:
        relative_parts(edit.path)
        edit.new.encode()
        edit.old.encode()
    except PathRefusedError as error:
        raise DiffError(place, str(error)) from error
    except UnicodeEncodeError as error:
        raise DiffError(place, "contains a lone surrogate, which no file can hold") from error


def edited(numbered: Numbered, before: bytes) -> bytes:
    """Return the bytes after every edit of one file.

    Raises:
        DiffError: an `old` that is absent or occurs twice, or edits that overlap.
    """
    text = "".join(edit.old + edit.new for _, edit in numbered)
    path = numbered[0][1].path
    require_text(path, before, text)
    rules = convention(before, text)
    spans: list[tuple[int, int, int, bytes]] = []
    for number, edit in numbered:
        old = rules.encode(edit.old)
        at = _only_place(before, old, path, number)
        spans.append((at, at + len(old), number, rules.encode(edit.new)))
    spans.sort()
    pieces: list[bytes] = []
    done = 0
    for start, end, number, new in spans:
        if start < done:
            raise DiffError(f"edit {number}", f"overlaps another edit of {path!r}; join the two")
        pieces += [before[done:start], new]
        done = end
    return b"".join([*pieces, before[done:]])


def _only_place(before: bytes, old: bytes, path: str, number: int) -> int:
    places: list[int] = []
    at = before.find(old)
    while at >= 0 and len(places) <= _SHOWN:
        places.append(at)
        at = before.find(old, at + 1)
    if len(places) == 1:
        return places[0]
    if places:
        lines = ", ".join(str(before.count(b"\n", 0, place) + 1) for place in places[:_SHOWN])
        raise DiffError(
            f"edit {number}",
            f"`old` is ambiguous in {path!r}: it occurs at lines {lines}"
            f"{' …' if len(places) > _SHOWN else ''}; give more of the lines around it",
        )
    raise DiffError(f"edit {number}", f"`old` does not occur in {path!r}. {_near(before, old)}")


def _near(before: bytes, old: bytes) -> str:
    """Return the first line of the file that equals the first line of `old` but for white space."""
    wanted = next((line.split() for line in old.split(b"\n") if line.strip()), [])
    for number, line in enumerate(before.split(b"\n"), start=1):
        if wanted and line.split() == wanted:
            shown = ascii(line[:80].decode(errors="backslashreplace"))
            return f"Nearest: line {number} is {shown}. Read the file again."
    return "No line is like its first line. Read the file again."
