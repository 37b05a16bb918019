"""Unified diffs: text to sections, strictly; nothing is guessed, skipped or moved.

Pure. Counts decide where a hunk ends, lines end only at LF, and every line of the text must mean
something, so that no section can hide behind another. Source: GNU diffutils manual, "Detailed
Unified". unidiff skips what it does not understand and splits lines at U+2028, so it cannot be the
reader here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sandbox.patches.headers import (
    Header,
    named,
    not_a_header,
    read_header,
    starts_section,
    subject,
)
from sandbox.patches.lines import DiffError, Reader
from sandbox.unified import NO_NEWLINE

Operation = Literal["create", "modify", "delete"]
MAX_DIFF_CHARACTERS = 10 << 20
_RANGE = r"(0|[1-9][0-9]{0,8})(?:,(0|[1-9][0-9]{0,8}))?"
_HUNK = re.compile(rf"@@ -{_RANGE} \+{_RANGE} @@(?: .*|)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Hunk:
    """One hunk: `old` and `new` are its whole lines with their line ends, as the diff says."""

    at_line: int
    old_start: int
    new_start: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """The file whose content a created one starts from; a rename deletes it, a copy leaves it."""

    path: str
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Section:
    """What a diff says about one file; `mode` is set when the diff names one."""

    at_line: int
    operation: Operation
    path: str
    mode: int | None
    hunks: tuple[Hunk, ...]
    origin: Origin | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """The paths that are not as before afterwards."""
        if self.origin is not None and self.origin.is_deleted:
            return (self.origin.path, self.path)
        return (self.path,)


def parse(diff: str) -> tuple[Section, ...]:
    """Return the sections of a unified diff in their order.

    Raises:
        DiffError: with the diff line, for anything that is not exactly a unified diff.
    """
    sections: list[Section] = []
    for answer in _answers(diff):
        if isinstance(answer, DiffError):
            raise answer
        sections.append(answer)
    for answer in _one_per_file(sections):
        if isinstance(answer, DiffError):
            raise answer
    return tuple(sections)


def parse_each(diff: str) -> tuple[Section | DiffError, ...]:
    """Return each section of a unified diff, or why it alone is refused.

    Raises:
        DiffError: where a section ends is not certain, so nothing behind it is either.
    """
    return tuple(_one_per_file(tuple(_answers(diff))))


def _answers(diff: str) -> Iterator[Section | DiffError]:
    if len(diff) > MAX_DIFF_CHARACTERS:
        raise DiffError("diff", f"longer than {MAX_DIFF_CHARACTERS} characters; split it")
    if "\0" in diff:
        raise DiffError("diff", "contains NUL; only text files can be patched")
    reader = Reader(diff)
    if not reader.skip_blank():
        raise DiffError("diff", "contains no file section; send a unified diff (--- / +++ / @@)")
    while reader.skip_blank():
        yield _section(reader)


def _one_per_file(answers: Sequence[Section | DiffError]) -> Iterator[Section | DiffError]:
    """Yield the answers, with one error in place of all sections that change the same file."""
    places: dict[str, list[str]] = {}
    for answer in answers:
        for path in _changed(answer):
            places.setdefault(path, []).append(_place(answer))
    told: set[str] = set()
    for answer in answers:
        twice = next((path for path in _changed(answer) if len(places[path]) > 1), None)
        if twice is None:
            yield answer
        elif twice not in told:
            told.add(twice)
            first, second, *_ = places[twice]
            message = f"second section for {twice!r} (first at {first}); put all its hunks into one"
            yield DiffError(second, f"{message} section", twice)


def _changed(answer: Section | DiffError) -> tuple[str, ...]:
    if isinstance(answer, Section):
        return answer.changed
    return (answer.path,) if answer.path else ()


def _place(answer: Section | DiffError) -> str:
    return answer.place if isinstance(answer, DiffError) else f"diff line {answer.at_line}"


def _section(reader: Reader) -> Section | DiffError:
    """Read one section to its end; return it, or why it alone is refused."""
    header = read_header(reader)
    hunks: list[Hunk] = []
    while reader.peek().startswith("@@"):
        hunks.append(_hunk(reader))
    following = reader.peek()
    if following[:1] in {" ", "+", "-", "\\"} and following and not starts_section(reader):
        if following == "-- " or not hunks:
            raise not_a_header(reader)
        refused = reader.refuse(f"{following[:60]!r} is outside of the line counts of its hunk")
        raise DiffError(refused.place, f"{refused.message}; {_counted(reader, hunks[-1].at_line)}")
    try:
        return _sound(header, tuple(hunks))
    except DiffError as error:
        return DiffError(error.place, error.message, named(header))


def _sound(header: Header, hunks: tuple[Hunk, ...]) -> Section:
    about = subject(header, has_hunks=bool(hunks))
    operation: Operation = "modify"
    if about.old is None or about.origin is not None:
        operation = "create"
    elif about.new is None:
        operation = "delete"
    path = about.new or about.old or ""
    if not hunks and header.old is not None:
        raise DiffError(header.place, f"{path!r} has no hunks")
    if hunks and header.old is None and header.git_names is None:
        place = f"diff line {hunks[0].at_line}"
        raise DiffError(place, "a hunk needs --- and +++ lines above it")
    origin = Origin(about.old or "", about.origin == "rename") if about.origin else None
    section = Section(header.at_line, operation, path, about.mode, hunks, origin)
    _check_order(hunks)
    _check_sides(section)
    return section


def _hunk(reader: Reader) -> Hunk:
    at_line = reader.number
    match = _HUNK.fullmatch(reader.peek())
    if match is None:
        merge = " but of a combined diff; diff one parent" * reader.peek().startswith("@@@")
        found = f"{reader.peek()[:60]!r} is not a hunk header (@@ -1,3 +1,4 @@){merge}"
        raise reader.refuse(found)
    reader.index += 1
    counts = tuple(int(match.group(group) or "1") for group in (2, 4))
    old: list[str] = []
    new: list[str] = []
    while len(old) < counts[0] or len(new) < counts[1]:
        _hunk_line(reader, old, new, at_line)
    if (len(old), len(new)) != counts:
        raise DiffError(
            f"diff line {at_line}",
            f"the hunk says {counts[0]} old and {counts[1]} new lines, but has {len(old)} and "
            f"{len(new)}; {_counted(reader, at_line)}",
        )
    if not reader.is_done() and reader.peek().startswith("\\"):
        raise reader.refuse(f"only {NO_NEWLINE!r} directly behind the line it is about is known")
    return Hunk(at_line, int(match.group(1)), int(match.group(3)), tuple(old), tuple(new))


def _hunk_line(reader: Reader, old: list[str], new: list[str], at_line: int) -> None:
    if reader.is_done():
        raise DiffError(
            f"diff line {at_line}",
            f"the hunk ends before its line counts; {_counted(reader, at_line)}",
        )
    # An empty line is a context line whose only space an editor stripped; git reads it so too.
    line = reader.lines[reader.index] or " "
    if line[0] not in " +-":
        refused = reader.refuse(
            f"{line[:60]!r} inside a hunk starts with neither space, '+' nor '-', or the counts "
            f"of the hunk at diff line {at_line} are too high"
        )
        raise DiffError(refused.place, f"{refused.message}; {_counted(reader, at_line)}")
    reader.index += 1
    end = "\n"
    if not reader.is_done() and reader.peek() == NO_NEWLINE:
        reader.index += 1
        end = ""
    if line[0] != "+":
        old.append(line[1:] + end)
    if line[0] != "-":
        new.append(line[1:] + end)


def _counted(reader: Reader, at_line: int) -> str:
    """Say which counts would fit the lines below a hunk's header; the reader is of no use then."""
    header = _HUNK.fullmatch(reader.lines[at_line - 1].removesuffix("\r"))
    reader.index = at_line
    old = new = blank = 0
    while not reader.is_done() and reader.peek() != "-- " and not starts_section(reader):
        mark = reader.peek()[:1]
        if mark not in {"", " ", "+", "-", "\\"}:
            break
        reader.index += 1
        if mark == "":  # context whose space was stripped, or what stands behind the hunk
            blank += 1
        elif mark != "\\":
            old, new = old + blank + (mark != "+"), new + blank + (mark != "-")
            blank = 0
    starts = header.group(1, 3) if header else ("1", "1")
    return f"make the counts exact: as it stands it is @@ -{starts[0]},{old} +{starts[1]},{new} @@"


def _check_order(hunks: Sequence[Hunk]) -> None:
    """Hunks ascend without touching, and new starts follow from the old ones."""
    shift, free_from = 0, -1  # a hunk at line 0 is told where its lines are
    for hunk in hunks:
        place = f"diff line {hunk.at_line}"
        start = first_index(hunk.old_start, hunk.old)
        if start < free_from:
            raise DiffError(
                place,
                "the hunk overlaps or precedes the hunk before it, which goes to old line "
                f"{free_from}; put them in order, or into one",
            )
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
        if section.operation == "create" and section.origin is None and hunk.old:
            raise DiffError(place, f"{section.path!r} is created, but the hunk has old lines")
        if section.operation == "delete" and hunk.new:
            raise DiffError(place, f"{section.path!r} is deleted, but the hunk leaves lines")
        if hunk.old == hunk.new:
            raise DiffError(place, "the hunk changes nothing")
        for side in (hunk.old, hunk.new):
            if any(not line.endswith("\n") for line in side[:-1]):
                raise DiffError(place, f"{NO_NEWLINE!r} can only follow the last line of a file")
