"""A diff section and a file's bytes to the bytes after; exactly there, exactly so, or refused.

Pure. INVARIANT: bytes outside of the hunks stay, line ends and a byte order mark included. A hunk
is never moved: when it does not match where it says, the answer names where it would.
"""

from dataclasses import dataclass

from sandbox.patches.diffs import Section, first_index
from sandbox.patches.lines import DiffError
from sandbox.unified import split_lines

MAX_FILE_BYTES = 5 << 20
_BOM = b"\xef\xbb\xbf"
_SHOWN_PLACES = 4
_NEAREST_WORK = 2_000_000  # line comparisons that the search for a nearest match may take


@dataclass(frozen=True, slots=True)
class Convention:
    """What every line of a file has and a diff may leave out: CRLF ends, a byte order mark."""

    crlf: bool
    bom: bool

    def encode(self, text: str) -> bytes:
        """Return diff text as bytes in the file's convention."""
        return (text.replace("\n", "\r\n") if self.crlf else text).encode()


def require_text(path: str, content: bytes, patch_text: str) -> None:
    """Refuse files whose bytes a text patch cannot name exactly.

    Raises:
        DiffError: NUL bytes, or non-ASCII patch text for a file that is not UTF-8.
    """
    if b"\0" in content:
        raise DiffError(path, "contains NUL bytes; only text files can be patched")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        if not patch_text.isascii():
            raise DiffError(
                path,
                f"is not UTF-8 (byte {error.start}), and the patch has non-ASCII characters: "
                "the file would end up in two encodings",
            ) from error


def convention(content: bytes, patch_text: str) -> Convention:
    """Return what the patch text leaves out and the file has throughout."""
    crlf = b"\r\n" in content and content.count(b"\n") == content.count(b"\r\n")
    return Convention(
        crlf=crlf and "\r" not in patch_text,
        bom=content.startswith(_BOM) and "\ufeff" not in patch_text,
    )


def patched(section: Section, before: bytes) -> bytes:
    """Return the bytes of the file after all hunks of `section`.

    Raises:
        DiffError: a hunk does not match exactly where it says; names the nearest match.
    """
    text = "".join(line for hunk in section.hunks for line in (*hunk.old, *hunk.new))
    path = section.path if section.origin is None else section.origin.path
    require_text(path, before, text)
    rules = convention(before, text)
    body = before.removeprefix(_BOM) if rules.bom else before
    lines = split_lines(body)
    result: list[bytes] = []
    done = 0
    for hunk in section.hunks:
        old = [rules.encode(line) for line in hunk.old]
        start = first_index(hunk.old_start, hunk.old)
        place = f"diff line {hunk.at_line}"
        new = [rules.encode(line) for line in hunk.new]
        if not old and (lines or start):
            raise DiffError(
                place,
                "a hunk without context could land anywhere; give the lines around it. "
                f"{_line_at(lines, start)}",
            )
        if start < 0 or lines[start : start + len(old)] != old:
            ours = first_index(hunk.new_start, hunk.new)
            done_already = bool(new) and lines[ours : ours + len(new)] == new
            raise DiffError(place, _mismatch(path, lines, (start, old), done_already))
        result += [*lines[done:start], *new]
        done = start + len(old)
    result += lines[done:]
    _require_whole_lines(section, result, lines[done:])
    return (_BOM if rules.bom else b"") + b"".join(result)


def _require_whole_lines(section: Section, result: list[bytes], rest: list[bytes]) -> None:
    place = f"diff line {section.hunks[-1].at_line if section.hunks else section.at_line}"
    if any(not line.endswith(b"\n") for line in result[:-1]):
        raise DiffError(
            place, "'\\ No newline at end of file' stands before lines that would be joined"
        )
    if section.operation == "delete" and (result or rest):
        raise DiffError(
            place,
            f"{section.path!r} is deleted, but {len(result)} of its lines are not in the hunk, the "
            f"first of them {_shown(result[0])}; a deletion shows the whole file",
        )


def _mismatch(path: str, lines: list[bytes], said: tuple[int, list[bytes]], is_done: bool) -> str:
    """Say where the lines of a hunk are instead, or what the nearest lines are."""
    start, old = said
    places = _places(lines, old)
    if len(places) == 1:
        return (
            f"the hunk says line {start + 1} of {path!r}, its lines are at line {places[0]}; "
            f"hunks are not moved, write -{places[0]}"
        )
    if places:
        shown = ", ".join(str(place) for place in places[:_SHOWN_PLACES])
        return (
            f"the hunk does not match at line {start + 1} of {path!r} and is ambiguous: its lines "
            f"are at lines {shown}{' …' if len(places) > _SHOWN_PLACES else ''}; name the one meant"
        )
    if is_done:
        advice = "Its new lines stand there already: it seems to be applied."
    else:
        advice = "Read the file again and rebuild the diff."
    end = f", which has {len(lines)} lines" if start + len(old) > len(lines) > 0 else ""
    return (
        f"the hunk does not match {path!r} at line {start + 1}{end}. "
        f"{_nearest(lines, old, start)} {advice}"
    )


def _line_at(lines: list[bytes], start: int) -> str:
    """Return a sentence about the line that an insertion would follow."""
    at = min(start, len(lines))
    if at == 0:
        return "It stands before line 1."
    return f"Nearest: line {at} is {_shown(lines[at - 1])}."


def _places(lines: list[bytes], old: list[bytes]) -> list[int]:
    """Return the first few line numbers at which all lines of the hunk stand."""
    # An LF in front makes every hit begin at a line, so that hostile input finds no detours.
    body, wanted = b"\n" + b"".join(lines), b"\n" + b"".join(old)
    places: list[int] = []
    at = body.find(wanted)
    while at >= 0 and len(places) <= _SHOWN_PLACES:
        if old[-1].endswith(b"\n") or at + len(wanted) == len(body):
            places.append(body.count(b"\n", 0, at) + 1)
        at = body.find(wanted, at + 1)
    return places


def _nearest(lines: list[bytes], old: list[bytes], start: int) -> str:
    """Return a sentence about the place where most lines of the hunk match."""
    if not lines:
        return "The file is empty."
    candidates = range(len(lines)) if len(lines) * len(old) <= _NEAREST_WORK else [max(start, 0)]
    best = max(candidates, key=lambda at: (_agreement(lines, old, at), -abs(at - start)))
    for offset, wanted in enumerate(old):
        found = lines[best + offset] if best + offset < len(lines) else None
        if found != wanted:
            return f"Nearest: line {best + offset + 1} {_difference(found, wanted)}."
    return "Nearest: none."


def _agreement(lines: list[bytes], old: list[bytes], at: int) -> int:
    return sum(
        1 for found, wanted in zip(lines[at : at + len(old)], old, strict=False) if found == wanted
    )


def _difference(found: bytes | None, wanted: bytes) -> str:
    if found is None:
        return f"does not exist, where the diff has {_shown(wanted)}"
    if found.rstrip(b"\r\n") == wanted.rstrip(b"\r\n"):
        return f"ends in {_end(found)}, where the diff has {_end(wanted)}"
    if found.split() == wanted.split():
        return f"is {_shown(found)}, where the diff has other white space: {_shown(wanted)}"
    return f"is {_shown(found)}, where the diff has {_shown(wanted)}"


def _end(line: bytes) -> str:
    if line.endswith(b"\r\n"):
        return "CRLF"
    return "LF" if line.endswith(b"\n") else "no newline"


def _shown(line: bytes) -> str:
    return ascii(line.rstrip(b"\r\n")[:80].decode(errors="backslashreplace"))
