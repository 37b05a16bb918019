"""One request as the rows of a card: what would happen first, what it is known by last.

May touch: text. The words are those of approvals/terminal_view.py, in another order; long lines
are folded, never cut.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from approvals.statement import HEAD_KEYS
from approvals.terminal import Shown

FOLD: Final = "    "
_STYLES: Final = {"!": "bold yellow", "+": "green", "-": "red", "@": "cyan"}
_ASKED: Final = frozenset({"command", "script", "text-verbatim"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the screen, no wider than it."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """All rows of one request; a yes counts once the first `to_read` were on the screen."""

    rows: tuple[Row, ...]
    to_read: int


def card(shown: Shown, width: int) -> Card:
    """Return the card of a request: its facts, warnings and offers, the preview, then its ids."""
    said = shown.statement.splitlines()
    known_by = HEAD_KEYS - {"requester"}  # who asks is to be read like what is asked
    facts = [line for line in said[1:] if line.partition(" ")[0] not in known_by]
    ids = [line for line in said[1:] if line not in facts]
    before, after = _around(shown.lines, said)
    read = [
        *(Row(line, _fact_style(line)) for line in facts),
        *(Row(line, _STYLES.get(line[:1], "")) for line in after),
        Row(""),
        *(Row(line, _STYLES.get(line[:1], "")) for line in before),
    ]
    folded = [part for row in read for part in _folded(row, width)]
    last = [part for line in ids for part in _folded(Row(line, "dim"), width)]
    return Card((*folded, *last), len(folded))


def _around(lines: tuple[str, ...], said: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines before the statement, and those after it.

    The whole statement is looked for: a preview could hold any line of one, but not the digest.
    """
    starts = range(len(lines) - len(said) + 1)
    start = next(at for at in starts if list(lines[at : at + len(said)]) == said)
    return list(lines[:start]), list(lines[start + len(said) :])


def _fact_style(line: str) -> str:
    return "bold" if line.partition(" ")[0] in _ASKED else ""


def _folded(row: Row, width: int) -> Iterator[Row]:
    room = max(width, len(FOLD) + 8)
    text, indent = row.text, ""
    while len(indent) + len(text) > room:
        yield Row(indent + text[: room - len(indent)], row.style)
        text, indent = text[room - len(indent) :], FOLD
    yield Row(indent + text, row.style)
