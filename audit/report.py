"""One session as a report: counts, findings, and what was decided, changed, reached and approved.

May touch: values only. Markdown here is safe to render: every text of the log stands in a code
span, where no renderer finds a link, an image, a mention or HTML.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from audit.canonical import Json
from audit.findings import Finding, of_session
from audit.harmless import shortened
from audit.record import STOPPED
from audit.story import Entry, told

LONGEST_CELL = 160
MOST_ROWS = 200
MOST_FILES = 50
MOST_SEQS = 8
_PIPE = re.compile(r"\\*\|")
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report: a table of harmless texts, some rows of it perhaps left out."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class SessionReport:
    """What there is to say of one session."""

    session: str
    trust: str  # the verdict on the log, in words
    facts: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    sections: tuple[Section, ...]


def report(
    session: str,
    records: Sequence[Mapping[str, Json]],
    *,
    known_hosts: Iterable[str],
    trust: str,
) -> SessionReport:
    """Return the report on a session.

    Args:
        session: its name, harmless.
        records: all records of the session, in log order.
        known_hosts: the places that were reached before its first record.
        trust: the verdict on the log, in words.
    """
    entries = told(records)
    calls = [entry for entry in entries if entry.kind == "call"]
    tables: dict[str, Table] = {
        "Blocked": (("time", "what", "how", "rules"), _blocked(calls)),
        "Changes": (("time", "what changed", "file", "by"), _changes(calls)),
        "Network refusals": (("time", "host", "why", "by"), _refusals(calls)),
        "Network": (("time", "host", "by"), _reached(calls)),
        "Approvals": (("time", "what", "answer"), _approvals(entries)),
        "Grants": (("time", "what it covers", "answer", "uses", "last"), _grants(entries)),
        "All calls": (("record", "time", "status", "effect", "what"), _calls(calls)),
    }
    sections = [_section(title, *table) for title, table in tables.items() if table[1]]
    return SessionReport(
        session=session,
        trust=trust,
        facts=tuple(_facts(entries, calls)),
        findings=tuple(of_session(entries, known_hosts)),
        sections=tuple(sections),
    )


def markdown(found: SessionReport) -> str:
    """Return a report as Markdown that any renderer shows harmlessly."""
    lines = [f"# Session {_code(found.session)}", "", found.trust, ""]
    lines += [f"- {name}: {_code(value)}" for name, value in found.facts]
    lines += ["", "## Findings", ""]
    lines += [
        f"- **{one.title}**: {_code(one.text)} ({_places(one.seqs)})" for one in found.findings
    ]
    if not found.findings:
        lines.append("None.")
    for section in found.sections:
        lines += ["", f"## {section.title}", "", _cells(section.columns)]
        lines.append(_cells("---" for _ in section.columns))
        lines += [_cells(_code(cell, in_table=True) for cell in row) for row in section.rows]
        if section.left_out:
            lines += ["", f"{section.left_out} more are not shown."]
    return "\n".join(lines) + "\n"


def _facts(entries: Sequence[Entry], calls: Sequence[Entry]) -> Iterable[tuple[str, str]]:
    if entries:
        yield "from", entries[0].ts
        yield "to", entries[-1].ts
    yield "agent", ", ".join(dict.fromkeys(entry.actor for entry in calls if entry.actor)) or "-"
    effects = [
        sum(entry.effect == effect for entry in calls) for effect in ("allow", "ask", "deny")
    ]
    yield "decisions", "{} allowed, {} asked, {} denied".format(*effects)
    yield "ran", str(sum(entry.ran for entry in calls))
    yield "files changed", str(sum(entry.change_count for entry in calls if not entry.held))
    yield "blocked", str(sum(entry.status in STOPPED for entry in calls))
    policies = dict.fromkeys(entry.policy[:12] for entry in calls if entry.policy)
    yield "policy", ", ".join(policies) or "-"


def _blocked(calls: Sequence[Entry]) -> list[tuple[str, ...]]:
    return [
        (_time(entry), entry.what, entry.status, ", ".join(entry.rules))
        for entry in calls
        if entry.status in STOPPED
    ]


def _changes(calls: Sequence[Entry]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for entry in calls:
        state = "held: " if entry.held else ""
        rows += [
            (_time(entry), f"{state}{kind}", path, entry.what)
            for kind, path in entry.changed[:MOST_FILES]
        ]
        if entry.change_count > min(len(entry.changed), MOST_FILES):
            rows.append((_time(entry), f"{state}{entry.change_count} in all", "", entry.what))
    return rows


def _refusals(calls: Sequence[Entry]) -> list[tuple[str, ...]]:
    return [
        (_time(entry), str(one), f"{one.verdict} {one.reason}".strip(), entry.what)
        for entry in calls
        for one in entry.refused
    ]


def _reached(calls: Sequence[Entry]) -> list[tuple[str, ...]]:
    return [
        (_time(entry), str(one), entry.what)
        for entry in calls
        for one in entry.contacts
        if one.verdict == "allowed"
    ]


def _approvals(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    return [
        (_time(entry), entry.what, ", ".join(entry.approved_by) or entry.status)
        for entry in entries
        if entry.kind == "approval" or (entry.kind == "call" and entry.approved_by)
    ]


def _grants(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    return [
        (_time(entry), entry.what, ", ".join(entry.approved_by), str(entry.uses), entry.status)
        for entry in entries
        if entry.kind == "grant"
    ]


def _calls(calls: Sequence[Entry]) -> list[tuple[str, ...]]:
    return [
        (str(entry.seqs[0]), _time(entry), entry.status, entry.effect, entry.what or entry.message)
        for entry in calls
    ]


def _section(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Section:
    shown = tuple(tuple(shortened(cell, LONGEST_CELL) for cell in row) for row in rows[:MOST_ROWS])
    return Section(title, columns, shown, len(rows) - len(shown))


def _time(entry: Entry) -> str:
    return entry.ts[:19].replace("T", " ")


def _places(seqs: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, seqs[:MOST_SEQS]))
    return f"records {shown}{' and more' if len(seqs) > MOST_SEQS else ''}"


def _cells(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(text: str, *, in_table: bool = False) -> str:
    """Return text as a code span that nothing inside can end, nor end the cell it stands in."""
    if not text.strip():
        return "-"
    inside = shortened(text, LONGEST_CELL * 2)
    if in_table:
        # Renderers do not agree on what backslashes before an escaped bar mean.
        inside = _PIPE.sub(lambda bar: "\\|" if bar[0] == "|" else r"\x7c", inside)
    fence = "`" * (max(map(len, re.findall("`+", inside)), default=0) + 1)
    edge = " " if "`" in (inside[0], inside[-1]) else ""
    return f"{fence}{edge}{inside}{edge}{fence}"
