"""`permitgate audit open SEQ`: show that a value is the one that a record's commitment stands for.

May touch: the log and its openings, for reading. The value comes on standard input, never as an
argument, and is not printed. Whoever has the record, the salt and the value can check it alone.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path

import typer

from audit.canonical import Json
from audit.errors import AuditError
from audit.openings import commitment, salts
from audit.query import Query, records
from mcp_server.cli.audit import own_directory
from mcp_server.cli.exits import Exit, stop

MAX_VALUE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sealed:
    """One redacted value of a record: where it stood, what kind it was, and its commitment."""

    path: str
    kind: str
    sha256: str


def open_record(seq: int, directory: Path | None, *, as_json: bool) -> int:
    """Print which redacted values of a record the given one opens; exit 1 when none."""
    log = directory or own_directory()
    found = list(_sealed(_record(log, seq), ""))
    if not found:
        raise stop(Exit.USAGE, f"record {seq} has no redacted value.")
    known = salts(log)
    value = _value()
    opened = {
        one.path: salt.hex()
        for one in found
        if (salt := known.get(one.sha256)) is not None and commitment(salt, value) == one.sha256
    }
    if as_json:
        rows = [
            {"path": one.path, "kind": one.kind, "sha256": one.sha256, "salt": opened.get(one.path)}
            for one in found
        ]
        typer.echo(json.dumps({"seq": seq, "opened": bool(opened), "values": rows}))
    else:
        for one in found:
            if one.path in opened:
                word = typer.style("OPENS", fg="green", bold=True)
                typer.echo(f"{word}  {one.path} ({one.kind}) with salt {opened[one.path]}")
            else:
                why = "another value" if one.sha256 in known else "its opening was deleted"
                typer.echo(f"no     {one.path} ({one.kind}): {why}")
    return 0 if opened else 1


def _record(log: Path, seq: int) -> Mapping[str, Json]:
    for record in records(log, Query(after_seq=seq - 1)):
        if record["@seq"] == seq:
            return record
        break
    raise AuditError(f"{log}: there is no record {seq}.")


def _sealed(value: Json, path: str) -> Iterator[Sealed]:
    if isinstance(value, Mapping):
        mark = value.get("$redacted")
        if isinstance(mark, Mapping):
            yield Sealed(path, str(mark.get("kind")), str(mark.get("sha256")))
            return
        for key, item in value.items():
            yield from _sealed(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            yield from _sealed(item, f"{path}.{index}")


def _value() -> bytes:
    if sys.stdin.isatty():
        return getpass("value: ").encode()
    data = sys.stdin.buffer.read(MAX_VALUE_BYTES)
    return data.removesuffix(b"\n")
