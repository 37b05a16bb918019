"""What a change set did, for people: a line per file, and a diff; both bounded.

Pure but for the two readers. Works for held sets, undo records and patches alike.
INVARIANT: every line begins as this module means it: names and contents are escaped here, so no
name breaks a line or forges another, and nothing is hidden. `<U+202E>` stands for that character,
`<0xE9>` for a byte of a name that is not UTF-8, and `<U+003C>` for a `<` that would begin such a
sign. Characters that control the order of others are escaped, letters of any script are not: a
caller that signs what it shows escapes these as well.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sandbox.changes.model import Change, Operation
from sandbox.unified import Effort, Side, file_diff, line_counts

# Content of a file or target of a link by path; None where there is none, or none to be shown.
Read = Callable[[str], bytes | None]
Contents = tuple[bytes | None, bytes | None]

_LETTERS: dict[Operation, str] = {
    "created": "A",
    "modified": "M",
    "deleted": "D",
    "attributes": "T",
}
_SIGN = re.compile(r"<(?=U\+[0-9A-F]|0x[0-9A-F])")
# Printable for Unicode, and yet nothing, or a blank, on the screen.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_STRAY_BYTES = range(0xDC80, 0xDD00)  # what os.fsdecode makes of bytes that are not UTF-8
_OTHER_ATTRIBUTES = "owner, times or extended attributes"
_RUNS = 0o7111  # bits of a mode that a reader should see: it runs, perhaps as somebody else
_MAX_DIRECTORIES = 5  # named where lines were left out
_STEPS = 4_000_000  # for all comparisons of one text: about a second


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a diff is shown at most."""

    files: int = 100
    file_bytes: int = 256 << 10  # of a file before or after; larger ones are only named
    characters: int = 200_000


def visible(text: str, *, keep: str = "") -> str:
    """Return a text in characters that show what they are; those in `keep` stay as well."""
    if text.isascii() and text.isprintable() and not _SIGN.search(text):
        return text
    pieces = ("".join(_shown(char, keep) for char in piece) for piece in _SIGN.split(text))
    return "<U+003C>".join(pieces)


def _shown(char: str, keep: str) -> str:
    code = ord(char)
    is_selector = any(code in codes for codes in _SELECTORS)
    if char in keep or (char.isprintable() and char not in _BLANKS and not is_selector):
        return char
    if code in _STRAY_BYTES:
        return f"<0x{code - 0xDC00:02X}>"
    return f"<U+{code:04X}>"


def shown_path(path: str) -> str:
    """Return a path on one line, in double quotes where it has spaces or quotes."""
    plain = visible(path)
    if plain and " " not in plain and '"' not in plain:
        return plain
    inner = plain.replace('"', "<U+0022>")
    return f'"{inner}"'


def stat(changes: Sequence[Change], before: Read, after: Read, *, max_lines: int = 200) -> str:
    """Return a line per change, what was left out by directory, and the totals.

    Args:
        changes: sorted by path, as `Found` has them.
        before: what was there; bounded by the caller, as is `after`.
        after: what is there now.
        max_lines: changes that are listed; where there are more, the smallest directories come
            first.
    """
    listed = _listed(changes)
    chosen = _chosen(listed, max_lines)
    view = _View(before, after, Effort(_STEPS))
    lines = [view.line(change) for change in chosen]
    if len(chosen) < len(listed):
        lines.append(_left_out(listed, chosen))
    return "".join(f"{line}\n" for line in [*lines, _totals(listed)])


def diff(changes: Sequence[Change], before: Read, after: Read, bounds: Bounds | None = None) -> str:
    """Return a unified diff of the files and links among the changes.

    What is not shown is said in its place: other than UTF-8 text, too large, or beyond the bounds.
    """
    bounds = bounds or Bounds()
    listed = [change for change in _listed(changes) if change.kind != "directory"]
    view = _View(before, after, Effort(_STEPS))
    shown: list[str] = []
    files, left = 0, bounds.characters
    for change in _chosen(listed, bounds.files):
        for line in view.section(change, bounds.file_bytes):
            left -= len(line)
            if left < 0:
                break
            shown.append(line)
        if left < 0:
            path = shown_path(change.path)
            shown.append(f"... {path} is cut: {bounds.characters:,} characters are shown\n")
            break
        files += 1
    hidden = len(listed) - files - (left < 0)
    return "".join([*shown, f"... and {hidden:,} more files, not shown\n" if hidden else ""])


@dataclass(frozen=True, slots=True)
class _View:
    """Both states of the files, and the effort left for comparing them."""

    before: Read
    after: Read
    effort: Effort

    def line(self, change: Change) -> str:
        """Return a change's line of the stat."""
        slash = "/" if change.kind == "directory" else ""
        head = f"{_LETTERS[change.operation]} {shown_path(change.path + slash)}"
        details = ", ".join(filter(None, (self._content(change), _modes(change))))
        if change.operation == "attributes" and not details:
            details = _OTHER_ATTRIBUTES
        return f"{head}  {details}" if details else head

    def section(self, change: Change, file_bytes: int) -> Iterator[str]:
        """Yield a file's lines of the diff, escaped."""
        contents = self._contents(change)
        why = _why_not_shown(contents, change, file_bytes)
        if why:
            contents = _stand_ins(change)
        old = Side(contents[0], _git_mode(change, change.mode_before))
        new = Side(contents[1], _git_mode(change, change.mode_after))
        for line in file_diff(change.path, old, new, self.effort):
            yield visible(line[:-1], keep="\t") + "\n"
        if why:
            yield f"not shown: {why}\n"

    def _contents(self, change: Change) -> Contents:
        if change.operation == "attributes":
            return _stand_ins(change)
        old, new = _stand_ins(change)
        return (
            None if old is None else self.before(change.path),
            None if new is None else self.after(change.path),
        )

    def _content(self, change: Change) -> str:
        """Return what the stat says of the content: lines, or the target of a link, or bytes."""
        if change.kind == "directory" or change.operation == "attributes":
            return ""
        old, new = self._contents(change)
        if change.kind == "symlink":
            target = old if change.operation == "deleted" else new
            return f"-> {shown_path(os.fsdecode(target))}" if target else ""
        unlike = _unlike_text(old, new)
        if unlike or (old is None and new is None) or self.effort.steps <= 0:
            return ", ".join(filter(None, (unlike, _sizes(change))))
        added, removed = line_counts(old, new, self.effort)
        return (
            " ".join([f"+{added:,}"] * bool(added) + [f"-{removed:,}"] * bool(removed)) or "empty"
        )


def _stand_ins(change: Change) -> Contents:
    """Return no content at all for the sides on which there is something."""
    return (
        None if change.operation == "created" else b"",
        None if change.operation == "deleted" else b"",
    )


def _git_mode(change: Change, bits: int) -> int:
    return 0o120000 if change.kind == "symlink" else 0o100000 | bits


def _modes(change: Change) -> str:
    """Return what a reader should know of a mode: that it changed, or that a new file runs."""
    if change.kind == "symlink":
        return ""
    if change.operation in {"attributes", "modified"} and change.mode_before != change.mode_after:
        return f"{change.mode_before:o} -> {change.mode_after:o}"
    if change.operation == "created" and change.kind == "file" and change.mode_after & _RUNS:
        return f"mode {change.mode_after:o}"
    return ""


def _why_not_shown(contents: Contents, change: Change, file_bytes: int) -> str:
    if change.operation == "attributes":
        return "" if change.mode_before != change.mode_after else f"only {_OTHER_ATTRIBUTES}"
    if any(
        real is None and side is not None
        for real, side in zip(contents, _stand_ins(change), strict=True)
    ):
        return f"not read, {_sizes(change)}"
    if any(len(content or b"") > file_bytes for content in contents):
        return f"larger than {file_bytes:,} bytes, {_sizes(change)}"
    unlike = _unlike_text(*contents)
    return f"{unlike}, {_sizes(change)}" if unlike else ""


def _unlike_text(*contents: bytes | None) -> str:
    """Return why contents are not shown as text, "" when they are."""
    if any(b"\0" in content for content in contents if content is not None):
        return "binary"
    try:
        for content in contents:
            (content or b"").decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return ""


def _sizes(change: Change) -> str:
    if change.operation == "created":
        return f"{change.bytes_after:,} bytes"
    if change.operation == "deleted":
        return f"{change.bytes_before:,} bytes"
    return f"{change.bytes_before:,} -> {change.bytes_after:,} bytes"


def _listed(changes: Sequence[Change]) -> list[Change]:
    """Return the changes without directories that came or went with something in them."""
    full: set[str] = set()
    for change in changes:
        above = change.path.rpartition("/")[0]
        while above and above not in full:
            full.add(above)
            above = above.rpartition("/")[0]
    return [
        change
        for change in changes
        if change.kind != "directory" or change.operation == "attributes" or change.path not in full
    ]


def _top(change: Change) -> str:
    """Return the uppermost directory of a change, "." for a file in the root itself."""
    first, slash, _ = change.path.partition("/")
    return first if slash else "."


def _chosen(listed: list[Change], most: int) -> list[Change]:
    """Return the changes to show, in their order: whole directories, the smallest first."""
    if len(listed) <= most:
        return listed
    counts = Counter(map(_top, listed))
    order = sorted(range(len(listed)), key=lambda at: (counts[_top(listed[at])], at))
    return [listed[at] for at in sorted(order[:most])]


def _left_out(listed: Sequence[Change], chosen: Sequence[Change]) -> str:
    counts = Counter(map(_top, listed))
    counts.subtract(map(_top, chosen))
    left = [(name, count) for name, count in counts.most_common() if count]
    named = [f"{shown_path(name)} {count:,}" for name, count in left[:_MAX_DIRECTORIES]]
    others = sum(count for _, count in left[_MAX_DIRECTORIES:])
    if others:
        named.append(f"others {others:,}")
    return f"... and {len(listed) - len(chosen):,} more, by directory: {', '.join(named)}"


def _totals(listed: Sequence[Change]) -> str:
    if not listed:
        return "no changes"
    counts = Counter(change.operation for change in listed)
    by_kind = ", ".join(f"{counts[word]:,} {word}" for word in _LETTERS if word in counts)
    before = sum(change.bytes_before for change in listed)
    after = sum(change.bytes_after for change in listed)
    noun = "change" if len(listed) == 1 else "changes"
    return f"{len(listed):,} {noun}: {by_kind}; {before:,} -> {after:,} bytes"
