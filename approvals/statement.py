"""The statement: what every channel shows, what is signed, and what the log keeps.

May touch: text. INVARIANT: the output is printable ASCII, and a backslash never stands for itself,
so no text can draw, hide, reorder, imitate a letter or forge our own marks.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime

from approvals.request import ApprovalError, Need, Pending

MAGIC = "permitgate-approval-v1"
HEAD_KEYS = frozenset(
    {"request", "id", "action", "tool", "session", "requester", "needs", "not-after",
     "preview-sha256"}
)  # fmt: skip
MAX_VALUE_CHARS = 4000
MAX_PREVIEW_LINES = 400

_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_SHORT_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BIDI = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_TWIN_SCRIPTS = ("ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "DESERET", "GREEK", "LISU")
_PLAIN = re.compile(r"[ -\[\]-~]*")
_MARGIN = re.compile(r"[+-]? {0,40}")
_PADDING = re.compile(r" {8,}|^ +| +$")


def _needs(need: Need) -> str:
    roles = "".join(f", each by {' or '.join(roles)}" for roles in need.roles)
    return f"{need.quorum} of level {need.level:d} ({need.level.name.lower()}) or higher{roles}"


def visible(text: str, max_chars: int = MAX_VALUE_CHARS) -> str:
    r"""Return `text` as printable ASCII; the rest becomes \n, \t, \r, \xNN, \uNNNN or \UNNNNNNNN.

    Text longer than `max_chars` keeps its head and tail around
    \[N characters not shown, sha256 HEX\], the hash of the UTF-8 bytes left out. Spaces that could
    push text out of sight are escaped too.
    """
    if len(text) <= max_chars:
        return _escape(text)
    tail_chars = max_chars // 4
    head_chars = max_chars - tail_chars
    middle = text[head_chars : len(text) - tail_chars]
    digest = hashlib.sha256(middle.encode("utf-8", "surrogatepass")).hexdigest()
    mark = rf"\[{len(middle)} characters not shown, sha256 {digest}\]"
    return _escape(text[:head_chars]) + mark + _escape(text[len(text) - tail_chars :])


def warnings(text: str) -> tuple[str, ...]:
    """Return what a careful reader should know about `text`, each tell once, in a fixed order."""
    found = {tell for char in text for tell in _tells(char)}
    if _PADDING.search(text):
        found.add("spaces that could hide text")
    if len(text) > MAX_VALUE_CHARS:
        found.add("longer than shown; the hash covers the hidden middle")
    return tuple(sorted(found))


def statement(pending: Pending) -> str:
    """Return the statement: the magic line, then ASCII `key value` lines in one fixed order.

    Raises:
        ApprovalError: a fact's key is not `[a-z][a-z0-9_.-]*` or repeats a key of the head.
    """
    question = pending.question
    head = (
        ("request", pending.request_digest),
        ("id", pending.id),
        ("action", question.action_digest),
        ("tool", question.tool),
        ("session", question.session),
        ("requester", question.requester.identity),
        ("needs", _needs(question.need)),
        ("not-after", _utc(pending.expires_ms)),
        ("preview-sha256", hashlib.sha256(_utf8(question.preview)).hexdigest()),
    )
    for key, _ in question.facts:
        if not _KEY.fullmatch(key) or key in HEAD_KEYS:
            raise ApprovalError(
                f"the statement's fact {visible(key, 64)!r} is not a free lowercase key. "
                "Nobody was asked; rename it where the question is built."
            )
    lines = (f"{key} {visible(value)}\n" for key, value in (*head, *question.facts))
    return f"{MAGIC}\n" + "".join(lines)


def all_warnings(pending: Pending) -> tuple[str, ...]:
    """Return the caller's warnings, then ours, each naming the fact it is about."""
    question = pending.question
    named = (("preview", question.preview), *question.facts)
    ours = (f"{key}: {tell}" for key, value in named for tell in _text_warnings(key, value))
    return tuple(dict.fromkeys((*(visible(line) for line in question.warnings), *ours)))


def preview_lines(preview: str) -> tuple[str, ...]:
    """Return the preview line by line in visible ASCII, its middle replaced by a count and hash."""
    lines = preview.split("\n") if preview else []
    if len(lines) <= MAX_PREVIEW_LINES:
        return tuple(_escape_line(line) for line in lines)
    tail = MAX_PREVIEW_LINES // 4
    head = MAX_PREVIEW_LINES - tail
    middle = lines[head : len(lines) - tail]
    digest = hashlib.sha256(_utf8("\n".join(middle))).hexdigest()
    mark = rf"\[{len(middle)} lines not shown, sha256 {digest}\]"
    shown = (*map(_escape_line, lines[:head]), mark, *map(_escape_line, lines[len(lines) - tail :]))
    return tuple(shown)


def _text_warnings(key: str, value: str) -> tuple[str, ...]:
    if key != "preview":
        return warnings(value)
    bare = (line[len(_margin(line)) :] for line in value.split("\n"))
    return tuple({tell: None for line in bare for tell in warnings(line)})


def _escape_line(line: str) -> str:
    margin = _margin(line)
    return margin + visible(line[len(margin) :])


def _margin(line: str) -> str:
    """Return the mark of a diff and the indentation: forty columns of it hide nothing."""
    return next(_MARGIN.finditer(line)).group()


def _escape(text: str) -> str:
    escaped = text if _PLAIN.fullmatch(text) else "".join(map(_escape_char, text))
    return _PADDING.sub(lambda spaces: r"\x20" * len(spaces.group()), escaped)


def _escape_char(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if " " <= char <= "~":
        return char
    if char <= "\xff":
        return f"\\x{ord(char):02x}"
    return f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}"


def _tells(char: str) -> Iterator[str]:
    if " " <= char <= "~":
        return
    category = unicodedata.category(char)
    if category == "Cc":
        yield "several lines" if char == "\n" else "control characters"
    elif unicodedata.bidirectional(char) in _BIDI or char in "\u200e\u200f\u061c":
        yield "characters that reverse the reading order"
    elif category in {"Cf", "Zl", "Zp", "Mn", "Me", "Cs", "Co", "Cn"} or char in "\u3164\uffa0":
        yield "characters that show nothing"
    elif _is_twin(char, category):
        yield "letters or marks that look like ASCII and are not"
    else:
        yield "characters outside ASCII"


def _is_twin(char: str, category: str) -> bool:
    name = unicodedata.name(char, "")
    return (
        category[0] in "PZ"
        or category in {"Sm", "Sk"}
        or name.startswith(_TWIN_SCRIPTS)
        or unicodedata.normalize("NFKC", char).isascii()
    )


def _utc(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
