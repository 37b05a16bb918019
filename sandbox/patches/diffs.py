"""Unified diffs: text to sections, strictly; nothing is guessed, skipped or moved.

Pure. Counts decide where a hunk ends, lines end only at LF, and every line of the text must mean
something, so that no section can hide behind another. Source: GNU diffutils manual, "Detailed
Unified"; git-diff-format for the extended headers. unidiff skips what it does not understand and
splits lines at U+2028, so it cannot be the reader here.
"""

import re
from dataclasses import dataclass
from typing import Literal

from sandbox.dirfd import PathRefusedError, relative_parts
from sandbox.permit import SandboxError

Operation = Literal["create", "modify", "delete"]
NO_NEWLINE = "\\ No newline at end of file"
MAX_DIFF_CHARACTERS = 10 << 20
_RANGE = r"(0|[1-9][0-9]{0,8})(?:,(0|[1-9][0-9]{0,8}))?"
_HUNK = re.compile(rf"@@ -{_RANGE} \+{_RANGE} @@(?: .*|)", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb'\\([abtnvfr"\\]|[0-3][0-7]{2})')
_ESCAPES = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))
_MODES = {"100644": 0o644, "100755": 0o755}


class DiffError(SandboxError):
    """A patch that cannot be applied exactly as written; nothing was changed."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message


@dataclass(frozen=True, slots=True)
class Hunk:
    """One hunk: `old` and `new` are its whole lines with their line ends, as the diff says."""

    at_line: int
    old_start: int
    new_start: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """What a diff says about one file; `mode` is set when the diff names one."""

    at_line: int
    operation: Operation
    path: str
    mode: int | None
    hunks: tuple[Hunk, ...]


@dataclass(slots=True)
class _Header:
    at_line: int
    git_names: str | None = None
    created_mode: str | None = None
    deleted_mode: str | None = None
    old: str | None = None
    new: str | None = None


def parse(diff: str) -> tuple[Section, ...]:
    """Return the sections of a unified diff in their order.

    Raises:
        DiffError: with the diff line, for anything that is not exactly a unified diff.
    """
    if len(diff) > MAX_DIFF_CHARACTERS:
        raise DiffError("diff", f"longer than {MAX_DIFF_CHARACTERS} characters; split it")
    if "\0" in diff:
        raise DiffError("diff", "contains NUL; only text files can be patched")
    reader = _Reader(diff)
    sections: list[Section] = []
    while reader.skip_blank():
        sections.append(_section(reader))
    if not sections:
        raise DiffError("diff", "contains no file section; send a unified diff (--- / +++ / @@)")
    seen: dict[str, int] = {}
    for section in sections:
        if section.path in seen:
            raise DiffError(
                f"diff line {section.at_line}",
                f"second section for {section.path!r} (first at diff line "
                f"{seen[section.path]}); put all its hunks into one section",
            )
        seen[section.path] = section.at_line
    return tuple(sections)


class _Reader:
    """The lines of a diff, and how far they are read."""

    def __init__(self, diff: str) -> None:
        self.lines = diff.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()
        self.index = 0

    @property
    def number(self) -> int:
        return self.index + 1

    def peek(self, ahead: int = 0) -> str:
        """Return a coming line without its line end, or "" behind the last."""
        at = self.index + ahead
        return self.lines[at].removesuffix("\r") if at < len(self.lines) else ""

    def skip_blank(self) -> bool:
        """Skip empty lines; return whether anything is left."""
        while self.index < len(self.lines) and self.peek() == "":
            self.index += 1
        return self.index < len(self.lines)

    def refuse(self, message: str) -> DiffError:
        return DiffError(f"diff line {self.number}", message)


def _section(reader: _Reader) -> Section:
    header = _header(reader)
    operation, path, mode = _subject(header, reader)
    hunks: list[Hunk] = []
    while reader.peek().startswith("@@"):
        hunks.append(_hunk(reader))
    following = reader.peek()
    if following[:1] in {" ", "+", "-", "\\"} and following and not _starts_section(reader):
        raise reader.refuse(
            f"{following[:60]!r} is outside of the line counts of its hunk; "
            "make the counts in the @@ line exact"
        )
    if not hunks and header.old is not None:
        raise DiffError(f"diff line {header.at_line}", f"{path!r} has no hunks")
    _check_order(hunks)
    section = Section(header.at_line, operation, path, mode, tuple(hunks))
    _check_sides(section)
    return section


def _starts_section(reader: _Reader) -> bool:
    line = reader.peek()
    if line.startswith("diff --git "):
        return True
    return line.startswith("--- ") and reader.peek(1).startswith("+++ ")


def _header(reader: _Reader) -> _Header:
    header = _Header(reader.number)
    if not _starts_section(reader):
        raise reader.refuse(
            f"expected a file header (diff --git, or --- and +++), found {reader.peek()[:60]!r}"
        )
    if reader.peek().startswith("diff --git "):
        header.git_names = reader.peek().removeprefix("diff --git ")
        reader.index += 1
        while _extended(header, reader):
            reader.index += 1
    if _starts_section(reader) and reader.peek().startswith("--- "):
        header.old = _file_name(reader.peek()[4:], reader)
        reader.index += 1
        header.new = _file_name(reader.peek()[4:], reader)
        reader.index += 1
    return header


def _extended(header: _Header, reader: _Reader) -> bool:
    """Take in one extended git header line; return False when the line is not one."""
    line = reader.peek()
    if line.startswith("new file mode "):
        header.created_mode = line.removeprefix("new file mode ")
    elif line.startswith("deleted file mode "):
        header.deleted_mode = line.removeprefix("deleted file mode ")
    elif line.startswith(("rename ", "copy ", "similarity index ", "dissimilarity index ")):
        raise reader.refuse("renames and copies are not applied; delete the one, create the other")
    elif line.startswith(("old mode ", "new mode ")):
        raise reader.refuse("a patch does not change modes; use chmod, which is decided by itself")
    elif line.startswith(("GIT binary patch", "Binary files ")):
        raise reader.refuse("binary patches are not applied; only text can be shown and approved")
    else:
        return line.startswith("index ")
    return True


def _file_name(text: str, reader: _Reader) -> str:
    """Return the name in a --- or +++ line: quoted as git does, or up to the first tab."""
    if not text.startswith('"'):
        return text.split("\t", 1)[0]
    quoted = _QUOTED.match(text)
    if quoted is None:
        raise reader.refuse(f"the quoted name {text[:60]!r} does not end")
    return _unquote(quoted.group(1), reader)


def _unquote(text: str, reader: _Reader) -> str:
    def replace(match: re.Match[bytes]) -> bytes:
        escape = match.group(1)
        return bytes([int(escape, 8) if len(escape) == 3 else _ESCAPES[escape[0]]])  # noqa: PLR2004  # three octal digits

    try:
        return _ESCAPE.sub(replace, text.encode()).decode()
    except UnicodeError as error:
        raise reader.refuse(f"the name {text[:60]!r} is not UTF-8") from error


def _subject(header: _Header, reader: _Reader) -> tuple[Operation, str, int | None]:
    """Return operation, path and mode of a section, or refuse what is not one plain file."""
    place = f"diff line {header.at_line}"
    old, new = header.old, header.new
    if old is None or new is None:
        old, new = _names_without_hunks(header, place)
    operation: Operation = "modify"
    if old == "/dev/null":
        operation, path = "create", new.removeprefix("b/")
    elif new == "/dev/null":
        operation, path = "delete", old.removeprefix("a/")
    else:
        path = _common_name(old, new, place)
    expected = {"create": header.created_mode, "delete": header.deleted_mode, "modify": None}
    if [mode for mode in (header.created_mode, header.deleted_mode) if mode is not None] not in (
        [],
        [expected[operation]],
    ):
        raise DiffError(place, f"the mode lines of {path!r} do not fit the --- and +++ lines")
    if header.git_names is not None and not _git_names_fit(header.git_names, path, reader):
        raise DiffError(place, f"the diff --git line names another file than {path!r}")
    try:
        relative_parts(path)
    except PathRefusedError as error:
        raise DiffError(place, str(error)) from error
    return operation, path, _mode(expected[operation], path, place)


def _names_without_hunks(header: _Header, place: str) -> tuple[str, str]:
    """Names of an empty file that git creates or deletes: only the diff --git line has them."""
    names = header.git_names or ""
    half = names[2 : 2 + (len(names) - 5) // 2]
    if names != f"a/{half} b/{half}" or '"' in names:
        raise DiffError(place, "neither --- and +++ lines nor one name in the diff --git line")
    if header.created_mode is not None:
        return "/dev/null", f"b/{half}"
    if header.deleted_mode is not None:
        return f"a/{half}", "/dev/null"
    raise DiffError(place, f"{half!r} has no hunks")


def _common_name(old: str, new: str, place: str) -> str:
    if old.startswith("a/") and new.startswith("b/"):
        old, new = old[2:], new[2:]
    if old != new:
        raise DiffError(
            place,
            f"--- names {old!r} and +++ names {new!r}; a patch does not rename, "
            "delete the one and create the other",
        )
    return old


def _git_names_fit(names: str, path: str, reader: _Reader) -> bool:
    if '"' not in names:
        return names == f"a/{path} b/{path}"
    found = [_unquote(match.group(1), reader) for match in _QUOTED.finditer(names)]
    return found == [f"a/{path}", f"b/{path}"]


def _mode(text: str | None, path: str, place: str) -> int | None:
    if text is None:
        return None
    if text not in _MODES:
        raise DiffError(
            place, f"{path!r} has mode {text!r}; only regular files, 100644 and 100755, are patched"
        )
    return _MODES[text]


def _hunk(reader: _Reader) -> Hunk:
    at_line = reader.number
    match = _HUNK.fullmatch(reader.peek())
    if match is None:
        raise reader.refuse(f"{reader.peek()[:60]!r} is not a hunk header (@@ -1,3 +1,4 @@)")
    reader.index += 1
    old_left, new_left = (int(match.group(group) or "1") for group in (2, 4))
    old: list[str] = []
    new: list[str] = []
    while len(old) < old_left or len(new) < new_left:
        _hunk_line(reader, old, new, at_line)
    if len(old) > old_left or len(new) > new_left:
        raise DiffError(
            f"diff line {at_line}",
            f"the hunk says {old_left} old and {new_left} new lines, but has {len(old)} and "
            f"{len(new)}; make the counts exact",
        )
    if reader.index < len(reader.lines) and reader.peek().startswith("\\"):
        raise reader.refuse(f"only {NO_NEWLINE!r} directly behind the line it is about is known")
    return Hunk(at_line, int(match.group(1)), int(match.group(3)), tuple(old), tuple(new))


def _hunk_line(reader: _Reader, old: list[str], new: list[str], at_line: int) -> None:
    if reader.index >= len(reader.lines):
        raise DiffError(
            f"diff line {at_line}", "the hunk ends before its line counts; make the counts exact"
        )
    # An empty line is a context line whose only space an editor stripped; git reads it so too.
    line = reader.lines[reader.index] or " "
    if line[0] not in " +-":
        raise reader.refuse(
            f"{line[:60]!r} inside a hunk starts with neither space, '+' nor '-', or the counts "
            f"of the hunk at diff line {at_line} are too high"
        )
    reader.index += 1
    end = "\n"
    if reader.index < len(reader.lines) and reader.peek() == NO_NEWLINE:
        reader.index += 1
        end = ""
    if line[0] != "+":
        old.append(line[1:] + end)
    if line[0] != "-":
        new.append(line[1:] + end)


def _check_order(hunks: list[Hunk]) -> None:
    """Hunks ascend without touching, and new starts follow from the old ones."""
    shift, free_from = 0, 0
    for hunk in hunks:
        place = f"diff line {hunk.at_line}"
        start = first_index(hunk.old_start, hunk.old)
        if start < free_from:
            raise DiffError(place, "the hunk overlaps or precedes the hunk before it")
        if first_index(hunk.new_start, hunk.new) != start + shift:
            right = start + shift + (1 if hunk.new else 0)
            raise DiffError(place, f"the hunk says +{hunk.new_start}, its place is +{right}")
        free_from = start + len(hunk.old)
        shift += len(hunk.new) - len(hunk.old)


def first_index(start: int, lines: tuple[str, ...]) -> int:
    """Return the zero-based index of a hunk side; an empty side names the line before it."""
    return start - 1 if lines else start


def _check_sides(section: Section) -> None:
    """Refuse lines of a side that an absent file cannot have, and joined lines."""
    for hunk in section.hunks:
        place = f"diff line {hunk.at_line}"
        if section.operation == "create" and hunk.old:
            raise DiffError(place, f"{section.path!r} is created, but the hunk has old lines")
        if section.operation == "delete" and hunk.new:
            raise DiffError(place, f"{section.path!r} is deleted, but the hunk leaves lines")
        if hunk.old == hunk.new:
            raise DiffError(place, "the hunk changes nothing")
        for side in (hunk.old, hunk.new):
            if any(not line.endswith("\n") for line in side[:-1]):
                raise DiffError(place, f"{NO_NEWLINE!r} can only follow the last line of a file")
