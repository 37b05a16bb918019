"""Calls and events as rows of a CSV file that a spreadsheet opens without running anything.

May touch: values only. Source: RFC 4180; a cell that a spreadsheet would take for a formula, also
after spaces or in full-width letters, is preceded by an apostrophe, which makes it text.
"""

import csv
import io
import re
from collections.abc import Sequence

from audit.story import Entry

COLUMNS = (
    "record", "time", "session", "agent", "tool", "kind", "effect", "risk", "status", "what",
    "rules", "profile", "changed", "changed_count", "reached", "refused", "answered", "secrets",
    "message", "trust",
)  # fmt: skip
_FORMULA = re.compile(r"[\s'\"]*[=+\-@|%＝＋－＠]")  # noqa: RUF001 — full width on purpose


def header() -> str:
    """Return the first line."""
    return _line(COLUMNS)


def row(entry: Entry, *, trust: str) -> str:
    """Return one line for a call or event; its texts are harmless."""
    return _line(
        (
            str(entry.seqs[0]),
            entry.ts,
            entry.session,
            entry.actor,
            entry.tool,
            entry.family,
            entry.effect,
            str(entry.risk),
            entry.status,
            entry.what,
            " ".join(entry.rules),
            entry.profile,
            "; ".join(f"{kind} {path}" for kind, path in entry.changed),
            str(entry.change_count),
            "; ".join(str(one) for one in entry.contacts if one.verdict == "allowed"),
            "; ".join(str(one) for one in entry.refused),
            "; ".join(entry.approved_by),
            " ".join(entry.secrets),
            entry.message,
            trust,
        )
    )


def _line(cells: Sequence[str]) -> str:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(map(_cell, cells))
    return written.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text
