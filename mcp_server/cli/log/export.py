"""`audit export`: the log in the words of other systems: OCSF, OpenTelemetry, CSV.

May touch: a log directory for reading, standard output, the file a result is written to.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Literal

import typer

from audit import ocsf, otlp, sheet
from audit.canonical import Json, encode
from audit.query import records
from audit.record import INTENT, OUTCOME
from audit.story import Entry, told
from audit.verify import Code, Report, verify
from mcp_server.cli.audit import trusted_key
from mcp_server.cli.log.asked import Asked, write_lines

Form = Literal["ocsf", "otlp", "csv"]
BATCH = 512  # records in one message of OTLP


def export(asked: Asked, form: Form, output: Path | None) -> int:
    """Write the records asked for; return the exit code of the verdict on the log."""
    query = asked.query()
    report = verify(asked.log, [trusted_key(asked.key)])
    found = records(asked.log, query)
    version = metadata.version("permitgate")
    if form == "otlp":
        lines = _otlp(found, report.origin, version)
    elif form == "ocsf":
        lines = _ocsf(_entries(found), report, version)
    else:
        lines = _csv(_entries(found), report)
    if output is not None:
        write_lines(output, lines)
    else:
        sys.stdout.writelines(lines)
    for finding in report.findings:
        typer.echo(f"permitgate: {finding.place}: {finding.message}", err=True)
    return int(report.code)


def _entries(found: Iterator[dict[str, Json]]) -> Iterator[Entry]:
    """Yield calls, each when its outcome is known, and all else as it stands."""
    begun: dict[str, dict[str, Json]] = {}
    for record in found:
        event, action = str(record.get("event")), str(record.get("action_id"))
        if event.endswith(INTENT):
            begun[action] = record
        elif event.endswith(OUTCOME) and action in begun:
            yield from told([begun.pop(action), record])
        else:
            yield from told([record])
    yield from told(begun.values())


def _ocsf(entries: Iterator[Entry], report: Report, version: str) -> Iterator[str]:
    for entry in entries:
        told_as = ocsf.event(
            entry, origin=report.origin, product_version=version, trust=_trust(entry, report)
        )
        yield json.dumps(told_as) + "\n"


def _otlp(found: Iterator[dict[str, Json]], origin: str, version: str) -> Iterator[str]:
    while batch := list(islice(found, BATCH)):
        lines: list[tuple[bytes, Mapping[str, Json]]] = [(encode(one), one) for one in batch]
        yield json.dumps(otlp.logs(lines, origin=origin, product_version=version)) + "\n"


def _csv(entries: Iterator[Entry], report: Report) -> Iterator[str]:
    yield sheet.header()
    for entry in entries:
        yield sheet.row(entry, trust=_trust(entry, report))


def _trust(entry: Entry, report: Report) -> str:
    """Return how far the signature goes for the records of an entry."""
    last = entry.seqs[-1]
    if report.code in (Code.TAMPERED, Code.UNUSABLE):
        return "broken"
    if last >= report.signed:
        return "unsigned"
    return "recovered" if any(a <= last <= b for a, b in report.recovered) else "signed"
