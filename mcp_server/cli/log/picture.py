"""The timeline in the terminal: what ran, changed, was reached, denied and approved, day by day.

May touch: standard output, through rich. Every text of the log is harmless before it comes here.
"""

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from audit.reading import Reading, Trust
from audit.record import STOPPED
from audit.story import Entry, told
from mcp_server.cli.audit import COLOURS, WORDS

WIDEST = 140
_STATES = {
    "ok": ("ran", "green"),
    "failed": ("failed", "yellow"),
    "timeout": ("timeout", "yellow"),
    "killed": ("killed", "yellow"),
    "denied": ("DENIED", "bold red"),
    "declined": ("DECLINED", "bold red"),
    "blocked": ("BLOCKED", "bold red"),
    "pending": ("waits", "cyan"),
    "running": ("runs", "cyan"),
    "lost": ("LOST", "bold magenta"),
}
_TRUST: dict[Trust, tuple[str, str]] = {
    "signed": (" ", ""),
    "recovered": ("r", "yellow"),
    "unsigned": ("u", "yellow"),
    "broken": ("!", "bold red"),
}


def draw(reading: Reading) -> None:
    """Print the timeline on standard output."""
    console = Console(highlight=False, emoji=False, markup=False)
    if console.width > WIDEST:
        console = Console(highlight=False, emoji=False, markup=False, width=WIDEST)
    with console.capture() as drawn:
        for line in _lines(reading, console.width):
            line.truncate(console.width, overflow="ellipsis")
            console.print(line, no_wrap=True, crop=True)
    sys.stdout.write("\n".join(line.rstrip() for line in drawn.get().splitlines()) + "\n")


def _lines(reading: Reading, width: int) -> Iterator[Text]:
    entries = told(reading.records)
    word, style = WORDS[reading.report.code], COLOURS[reading.report.code]
    head = Text().append(f" {word} ", f"bold reverse {style}")
    head.append(f"  {reading.report.origin}  {reading.report.records} records")
    yield head.append(f", {reading.report.signed} signed")
    for finding in reading.report.findings:
        yield Text(f"  {finding.place}: {finding.message}", style)
    if reading.left_out:
        yield Text(f"  {reading.left_out} older records are not shown", "dim")
    if reading.unreadable:
        yield Text(f"  {reading.unreadable} lines are no records", "red")
    day, last_trust = "", None
    for entry in entries:
        if entry.ts[:10] != day:
            day = entry.ts[:10]
            yield Text()
            yield Text(day, "bold")
        trust = reading.trust(entry.seqs[-1])
        if trust not in (last_trust, "signed"):
            yield Text(f"  --- {_meaning(trust)}", _TRUST[trust][1])
        last_trust = trust
        yield _row(entry, trust)
        yield from _facts(entry)
    yield Text()
    yield Text(summary(entries), "bold")


def summary(entries: list[Entry]) -> str:
    """Return the counts an auditor asks for first, in one line."""
    calls = [entry for entry in entries if entry.kind == "call"]
    counts = {
        "ran": sum(entry.ran for entry in calls),
        "changed files": sum(bool(entry.changed) for entry in calls),
        "reached the network": sum(bool(entry.contacts) for entry in calls),
        "denied": sum(entry.status in STOPPED for entry in calls),
        "approved by people": sum(bool(entry.approved_by) for entry in calls),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _meaning(trust: Trust | None) -> str:
    return {
        "recovered": "kept after a crash: not signed when written",
        "unsigned": "not signed yet: nothing proves what follows",
        "broken": "the log does not lead to what was signed: nothing here is proven",
    }.get(trust or "", "")


def _row(entry: Entry, trust: Trust) -> Text:
    mark, mark_style = _TRUST[trust]
    state, style = _STATES.get(entry.status, (entry.status, ""))
    if entry.kind == "event":
        state, style = "", "dim"
    line = Text().append(mark, mark_style).append(f" {entry.ts[11:19]} ", "dim")
    line.append(f"{entry.seqs[0]:>6}  ", "dim")
    line.append(f"{state[:9]:<9} ", style)
    line.append(f"{entry.family:<8} ", "dim")
    return line.append(entry.what or entry.message, "dim" if entry.kind == "event" else "")


def _facts(entry: Entry) -> Iterator[Text]:
    """Yield what became of a call: what it changed, reached, and who let it."""
    facts: list[tuple[str, str]] = []
    if entry.changed:
        names = ", ".join(f"{kind} {path}" for kind, path in entry.changed[:4])
        facts.append((f"changed {entry.change_count}: {names}", "blue"))
    facts += [(f"held: {text}", "yellow") for text in entry.held[:4]]
    reached = [str(one) for one in entry.contacts if one.verdict == "allowed"]
    if reached:
        facts.append((f"reached {', '.join(reached[:6])}", "blue"))
    facts += [(f"network {one.verdict} {one}", "red") for one in entry.refused[:4]]
    if entry.approved_by:
        facts.append((f"approved: {', '.join(entry.approved_by)}", "green"))
    if entry.profile == "unconfined" and entry.ran:
        facts.append(("ran outside the sandbox", "bold red"))
    if entry.status in STOPPED and entry.rules:
        facts.append((f"rules {', '.join(entry.rules[:4])}", "red"))
    for text, style in facts:
        yield Text(" " * 40).append(text, style)
