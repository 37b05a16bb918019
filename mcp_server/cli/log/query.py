"""`audit query` and `audit show`: records on lines, or one of them whole.

May touch: a log directory for reading, its index, standard output.
"""

import json
import sys
from collections.abc import Mapping

import typer

from audit.canonical import Json
from audit.harmless import harmless, shortened, words
from audit.index import BATCH, Found, newest
from audit.query import Query
from audit.story import Entry, told
from mcp_server.cli.exits import Exit, stop
from mcp_server.cli.log.asked import Asked

LONGEST_LINE = 240
SLOW = 100_000  # records after which a first reading is worth a word
COLOURS = {"allow": "green", "ask": "yellow", "deny": "red"}


def run_query(asked: Asked, last: int, *, scan: bool, as_json: bool) -> None:
    """Print the newest records asked for, newest last: a line each, or one JSON object per line."""
    found = newest(
        asked.log, asked.query(), limit=last, homes=[] if scan else asked.homes(), progress=_told
    )
    _say_gone_around(found)
    for record in found.records:
        if as_json:
            typer.echo(json.dumps(record))
        else:
            _print(record)
    if not found.records and not as_json:
        typer.echo("no records", err=True)


def show_one(asked: Asked, seq: int, *, as_json: bool) -> None:
    """Print one record whole."""
    found = newest(
        asked.log, Query(after_seq=seq - 1, before_seq=seq + 1), limit=1, homes=asked.homes()
    )
    if not found.records:
        raise stop(Exit.USAGE, f"{asked.log}: there is no record {seq}")
    (record,) = found.records
    if as_json:
        typer.echo(json.dumps(record))
        return
    for key, value in record.items():
        _print_value(key, value, 0)


def line_of(record: Mapping[str, Json]) -> str:
    """Return a record on one line; hostile text is written out, long text shortened."""
    (entry,) = told([record])
    what = entry.status if str(record.get("event")).endswith(".outcome") else entry.effect
    facts = [
        f"{words(record.get('@seq')):>6}",
        entry.ts,
        words(record.get("event")),
        what or entry.status,
        entry.what or entry.message,
        *_numbers(entry),
    ]
    return shortened("  ".join(filter(None, facts)), LONGEST_LINE)


def _numbers(entry: Entry) -> list[str]:
    changed = [f"{entry.change_count} changed"] if entry.change_count else []
    reached = [f"network {', '.join(map(str, entry.contacts[:4]))}"] if entry.contacts else []
    return changed + reached


def _print(record: Mapping[str, Json]) -> None:
    effect = record.get("policy")
    named = effect.get("effect") if isinstance(effect, Mapping) else None
    typer.secho(line_of(record), fg=COLOURS.get(str(named)) if named == "deny" else None)


def _print_value(key: str, value: Json, depth: int) -> None:
    indent = "  " * depth
    if isinstance(value, Mapping) and value:
        typer.echo(f"{indent}{harmless(key)}:")
        for inner_key, inner_value in value.items():
            _print_value(inner_key, inner_value, depth + 1)
    elif isinstance(value, list) and value and any(isinstance(one, Mapping) for one in value):
        for number, item in enumerate(value):
            _print_value(f"{key}[{number}]", item, depth)
    else:
        typer.echo(f"{indent}{harmless(key)}: {harmless(json.dumps(value, ensure_ascii=False))}")


def _say_gone_around(found: Found) -> None:
    if found.gone_around:
        typer.echo(f"permitgate: read without an index: {found.gone_around}", err=True)


def _told(count: int) -> None:
    if count // SLOW > (count - BATCH) // SLOW and sys.stderr.isatty():
        typer.echo(f"making the index, once: {count:,} records", err=True)
