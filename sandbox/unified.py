"""Unified diffs, written: what differs between two contents, counted or as text.

Pure. INVARIANT: the time is bounded whatever the contents are: when the effort given is spent, all
lines between the common head and tail count as replaced, which is still exact. difflib is not used
because it takes minutes for files that any agent can write.
Source: Myers, "An O(ND) Difference Algorithm and Its Variations", 1986, the greedy form; GNU
diffutils manual, "Detailed Unified".
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

NO_NEWLINE = "\\ No newline at end of file"
_CONTEXT = 3
_MAX_EDITS = 1_000  # lines added and removed in one piece, beyond which all of it is replaced
_LINES_PER_STEP = 2  # lines that are split and trimmed in the time of one step


@dataclass(slots=True)
class Effort:
    """Steps that comparing may still take, for one file or for all of a set; 1 million is 0.3 s."""

    steps: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a file's diff: its content, None where the file is not, and its git mode."""

    content: bytes | None
    mode: int = 0o100644


@dataclass(frozen=True, slots=True)
class _Span:
    """Lines `old_from` to before `old_to` became lines `new_from` to before `new_to`."""

    old_from: int
    old_to: int
    new_from: int
    new_to: int


def split_lines(content: bytes) -> list[bytes]:
    """Return the lines with their ends; only LF ends a line."""
    lines = content.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def line_counts(
    before: bytes | None, after: bytes | None, effort: Effort | None = None
) -> tuple[int, int]:
    """Return how many lines a change adds and removes, as `file_diff` would show them."""
    spans = _spans(split_lines(before or b""), split_lines(after or b""), effort or Effort())
    added = sum(span.new_to - span.new_from for span in spans)
    return added, sum(span.old_to - span.old_from for span in spans)


def file_diff(name: str, old: Side, new: Side, effort: Effort | None = None) -> Iterator[str]:
    """Yield the lines of one file's section in git's form, one by one, each with its line end.

    Args:
        name: the path; what does not display stands in the headers as it is.
        old: the file before.
        new: the file afterwards.
        effort: shared by the files of a set, so that the whole set is bounded.
    """
    yield f"diff --git {_quoted(f'a/{name}')} {_quoted(f'b/{name}')}\n"
    yield from _mode_lines(old, new)
    lines = split_lines(old.content or b""), split_lines(new.content or b"")
    spans = _spans(*lines, effort or Effort())
    if spans:
        end = "\t\n" if " " in name else "\n"  # else what follows a space could be a time
        yield "--- /dev/null\n" if old.content is None else f"--- {_quoted(f'a/{name}')}{end}"
        yield "+++ /dev/null\n" if new.content is None else f"+++ {_quoted(f'b/{name}')}{end}"
    for group in _groups(spans):
        yield from _hunk(*lines, group)


def _quoted(name: str) -> str:
    """Return a name as git writes it, but for characters that do not display."""
    if '"' not in name and "\\" not in name:
        return name
    plain = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'


def _mode_lines(old: Side, new: Side) -> Iterator[str]:
    if old.content is None:
        yield f"new file mode {new.mode:06o}\n"
    elif new.content is None:
        yield f"deleted file mode {old.mode:06o}\n"
    elif old.mode != new.mode:
        yield f"old mode {old.mode:06o}\n"
        yield f"new mode {new.mode:06o}\n"


def _hunk(old: list[bytes], new: list[bytes], group: list[_Span]) -> Iterator[str]:
    first, last = group[0], group[-1]
    lead = min(_CONTEXT, first.old_from)
    trail = min(_CONTEXT, len(old) - last.old_to)
    at = first.old_from - lead
    olds = _range(at, last.old_to + trail)
    yield f"@@ -{olds} +{_range(first.new_from - lead, last.new_to + trail)} @@\n"
    for span in group:
        yield from _marked(" ", old[at : span.old_from])
        yield from _marked("-", old[span.old_from : span.old_to])
        yield from _marked("+", new[span.new_from : span.new_to])
        at = span.old_to
    yield from _marked(" ", old[at : at + trail])


def _range(start: int, end: int) -> str:
    """Return a side's range: from 1, without a length of 1; an empty one names the line before."""
    if end - start == 1:
        return f"{end}"
    return f"{start + (end > start)},{end - start}"


def _marked(mark: str, lines: list[bytes]) -> Iterator[str]:
    for line in lines:
        yield mark + line.decode(errors="backslashreplace").removesuffix("\n") + "\n"
        if not line.endswith(b"\n"):
            yield NO_NEWLINE + "\n"


def _groups(spans: list[_Span]) -> Iterator[list[_Span]]:
    """Yield the spans of each hunk: those whose context would touch."""
    group: list[_Span] = []
    for span in spans:
        if group and span.old_from - group[-1].old_to > 2 * _CONTEXT:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _spans(old: list[bytes], new: list[bytes], effort: Effort) -> list[_Span]:
    """Return what differs, in order; no two spans touch."""
    effort.steps -= (len(old) + len(new)) // _LINES_PER_STEP
    whole = _trimmed(old, new, _Span(0, len(old), 0, len(new)))
    spans: list[_Span] = []
    old_from, new_from = whole.old_from, whole.new_from
    for old_to, new_to in (*_anchors(old, new, whole), (whole.old_to, whole.new_to)):
        spans += _between(old, new, _Span(old_from, old_to, new_from, new_to), effort)
        old_from, new_from = old_to + 1, new_to + 1
    return spans


def _trimmed(old: list[bytes], new: list[bytes], piece: _Span) -> _Span:
    """Return a piece without the equal lines at its head and at its tail."""
    i, i_end, j, j_end = piece.old_from, piece.old_to, piece.new_from, piece.new_to
    while i < i_end and j < j_end and old[i] == new[j]:
        i, j = i + 1, j + 1
    while i < i_end and j < j_end and old[i_end - 1] == new[j_end - 1]:
        i_end, j_end = i_end - 1, j_end - 1
    return _Span(i, i_end, j, j_end)


def _anchors(old: list[bytes], new: list[bytes], piece: _Span) -> list[tuple[int, int]]:
    """Return the longest rising row of lines that both sides have once, as places in both.

    They cut a large piece into some that are small enough to be compared; a small one needs none.
    """
    gone, come = old[piece.old_from : piece.old_to], new[piece.new_from : piece.new_to]
    if len(gone) + len(come) <= _MAX_EDITS:
        return []
    counts = Counter(gone), Counter(come)
    once = {line: at for at, line in enumerate(come, piece.new_from) if counts[1][line] == 1}
    pairs = [
        (at, once[line])
        for at, line in enumerate(gone, piece.old_from)
        if line in once and counts[0][line] == 1
    ]
    lowest: list[int] = []  # by length of row less one: the lowest new place such a row ends at
    ends: list[int] = []  # and the pair it ends with
    before: list[int] = []  # of each pair, the pair before it in its row
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(lowest, place)
        before.append(ends[length - 1] if length else -1)
        lowest[length : length + 1] = [place]
        ends[length : length + 1] = [number]
    row: list[tuple[int, int]] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        row.append(pairs[number])
        number = before[number]
    return row[::-1]


def _between(old: list[bytes], new: list[bytes], piece: _Span, effort: Effort) -> list[_Span]:
    """Return what differs in one piece."""
    piece = _trimmed(old, new, piece)
    gone, come = old[piece.old_from : piece.old_to], new[piece.new_from : piece.new_to]
    if not gone and not come:
        return []
    trace = _trace(gone, come, effort) if gone and come else None
    if trace is None:
        return [piece]
    return _spans_along(trace, piece)


def _trace(old: list[bytes], new: list[bytes], effort: Effort) -> "list[array[int]] | None":
    """Return, per number of edits, how far each diagonal got before it; None if it takes too much.

    A diagonal k holds the places with k more old lines than new ones behind them.
    """
    numbers: dict[bytes, int] = {}
    a = [numbers.setdefault(line, len(numbers)) for line in old]
    b = [numbers.setdefault(line, len(numbers)) for line in new]
    goal, most = len(a) - len(b), min(len(a) + len(b), _MAX_EDITS)
    if abs(goal) > most:
        return None
    middle = most + 1
    reach = array("l", [0] * (2 * middle + 1))
    trace: list[array[int]] = []
    for edits in range(most + 1):
        trace.append(reach[middle - edits : middle + edits + 1])
        effort.steps -= edits + 1 + _advance(a, b, reach, edits)
        if reach[middle + goal] >= len(a):
            return trace
        if effort.steps <= 0:
            return None
    return None


def _advance(a: list[int], b: list[int], reach: "array[int]", edits: int) -> int:
    """Take every diagonal one edit further, then along equal lines; return how many of these."""
    middle, old_count, new_count, equal = len(reach) // 2, len(a), len(b), 0
    for k in range(-edits, edits + 1, 2):
        at = middle + k
        adds = k == -edits or (k != edits and reach[at - 1] < reach[at + 1])
        start = x = reach[at + 1] if adds else reach[at - 1] + 1
        y = x - k
        while x < old_count and y < new_count and a[x] == b[y]:
            x += 1
            y += 1
        reach[at] = x
        equal += x - start
    return equal


def _spans_along(trace: "list[array[int]]", piece: _Span) -> list[_Span]:
    """Return what the shortest way from the start to the end of a piece adds and removes."""
    spans: list[_Span] = []
    x, y = piece.old_to - piece.old_from, piece.new_to - piece.new_from
    for edits in range(len(trace) - 1, 0, -1):
        reach, k = trace[edits], x - y
        at = edits + k
        adds = k == -edits or (k != edits and reach[at - 1] < reach[at + 1])
        x = reach[at + 1] if adds else reach[at - 1]
        y = x - (k + 1 if adds else k - 1)
        old_from, new_from = piece.old_from + x, piece.new_from + y
        span = _Span(old_from, old_from + (not adds), new_from, new_from + adds)
        if spans and (span.old_to, span.new_to) == (spans[-1].old_from, spans[-1].new_from):
            behind = spans.pop()
            span = _Span(old_from, behind.old_to, new_from, behind.new_to)
        spans.append(span)
    return spans[::-1]
