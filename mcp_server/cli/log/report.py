"""`audit report`: one session for whoever answers for it: Markdown, a page, or JSON.

May touch: a log directory for reading, standard output, the page's file.
"""

import dataclasses
import html
import json
from collections.abc import Iterator
from pathlib import Path

import typer

from audit.harmless import harmless
from audit.query import Query, hosts, records
from audit.reading import Reading
from audit.report import Section, SessionReport, markdown, report
from audit.verify import Code
from mcp_server.cli.audit import WORDS
from mcp_server.cli.exits import Exit, stop
from mcp_server.cli.log.asked import Asked, write
from mcp_server.cli.log.page import filled, findings

MOST_RECORDS = 100_000


def print_report(asked: Asked, page: Path | None, *, as_json: bool) -> int:
    """Print the report on a session; return the exit code of the verdict on the log."""
    reading = asked.reading(MOST_RECORDS)
    if not reading.records:
        name = harmless(asked.session or "")
        raise stop(Exit.USAGE, f"{asked.log}: no record of session {name!r}; see `audit query`")
    found = report(
        harmless(asked.session or ""),
        reading.records,
        known_hosts=_known_hosts(asked.log, reading),
        trust=_trust(reading),
    )
    if page is not None:
        write(page, _page(found, reading))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found)))
    elif page is None:
        typer.echo(markdown(found), nl=False)
    return int(reading.report.code)


def _known_hosts(log: Path, reading: Reading) -> set[str]:
    """Return every host that a record before the session's first speaks of."""
    first = reading.lines[0][0]
    outcomes = records(log, Query(before_seq=first, text='"network":[{'))
    return {harmless(host) for record in outcomes for host in hosts(record)}


def _trust(reading: Reading) -> str:
    word = WORDS[reading.report.code]
    said = f"{word}: the log has {reading.report.records} records, {reading.report.signed} signed."
    unproven = sum(reading.trust(seq) in ("unsigned", "broken") for seq, _ in reading.lines)
    if unproven:
        said += f" {unproven} records of this session are not proven."
    if reading.left_out:
        said += f" {reading.left_out} older records of this session were left out."
    if reading.report.code is Code.TAMPERED:
        said += " Do not rely on what follows."
    return said


def _page(found: SessionReport, reading: Reading) -> str:
    return filled(
        "report.html",
        script="",
        values={
            "SESSION": html.escape(found.session),
            "CODE": str(int(reading.report.code)),
            "VERDICT": WORDS[reading.report.code],
            "WRONG": findings(reading),
            "TRUST": html.escape(found.trust),
            "FACTS": "".join(
                f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
                for name, value in found.facts
            ),
            "FINDINGS": "".join(_finding_rows(found)) or '<tr><td class="soft">None.</td></tr>',
            "SECTIONS": "".join(map(_section, found.sections)),
        },
    )


def _finding_rows(found: SessionReport) -> Iterator[str]:
    for one in found.findings:
        seqs = ", ".join(map(str, one.seqs[:8]))
        yield (
            f"<tr><td><strong>{html.escape(one.title)}</strong></td>"
            f'<td>{html.escape(one.text)}</td><td class="soft">records {seqs}</td></tr>'
        )


def _section(section: Section) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in section.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
        for row in section.rows
    )
    more = f"<p class=soft>{section.left_out} more are not shown.</p>" if section.left_out else ""
    return f"<h2>{html.escape(section.title)}</h2><table><tr>{head}</tr>{rows}</table>{more}"
