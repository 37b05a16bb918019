"""`permitgate audit`: read, verify and prove a log with nothing but its files and a public key.

May touch: a log directory, for reading. Verification needs neither this machine nor this user.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from audit.canonical import Json
from audit.errors import AuditError, NoteError
from audit.note import PublicKey
from audit.prove import prove, verify_proof
from audit.verify import verify
from mcp_server.cli.exits import Exit, stop
from mcp_server.config import load_config
from mcp_server.log_place import log_directory, public_key
from mcp_server.places import places

WORDS = {0: "VERIFIED", 1: "TAMPERED", 2: "UNREADABLE", 3: "INCOMPLETE"}
COLOURS = {0: "green", 1: "red", 2: "red", 3: "yellow"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What `audit verify` was asked to look at."""

    directory: Path | None
    key: str | None
    pinned: Path | None
    deep: bool
    strict: bool


def verify_log(asked: Asked, *, as_json: bool) -> int:
    """Print the verdict on a log and return its exit code."""
    directory = asked.directory or own_directory()
    report = verify(
        directory,
        [trusted_key(asked.key)],
        pinned=_bytes(asked.pinned) if asked.pinned else None,
        deep=asked.deep,
        strict=asked.strict,
    )
    if as_json:
        found = {
            "verdict": WORDS[report.code].lower(),
            "records": report.records,
            "signed": report.signed,
            "root": report.root,
            "findings": [
                {"kind": f.kind, "place": f.place, "seq": f.seq, "message": f.message}
                for f in report.findings
            ],
        }
        typer.echo(json.dumps(found))
        return int(report.code)
    typer.secho(WORDS[report.code], fg=COLOURS[report.code], bold=True, nl=False)
    typer.echo(f"  {directory}: {report.records} records, {report.signed} signed")
    for finding in report.findings:
        typer.echo(f"  {finding.place}: {finding.message}")
    return int(report.code)


def print_proof(seq: int, directory: Path | None) -> None:
    """Print the proof file of one record."""
    typer.echo(prove(directory or own_directory(), seq).decode("utf-8"), nl=False)


def verify_proof_file(file: Path, key: str | None) -> int:
    """Print what a proof proves; exit 1 when it proves nothing."""
    try:
        proof = verify_proof(_bytes(file), [trusted_key(key)])
    except NoteError as error:
        typer.echo(f"NOT PROVEN  {file}: {error}", err=True)
        return 1
    typer.secho("PROVEN", fg="green", bold=True, nl=False)
    typer.echo(f"  record {proof.index} of {proof.checkpoint.size} in {proof.checkpoint.origin}")
    typer.echo(proof.record.decode("utf-8", "backslashreplace"))
    return int(Exit.OK)


def print_key() -> None:
    """Print the public key of this user's log."""
    typer.echo(public_key(places()).vkey)


def part_of(record: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    """Return one part of a record; empty if it has none."""
    part = record.get(name)
    return part if isinstance(part, Mapping) else {}


def own_directory() -> Path:
    """Return where this user's log lies."""
    return log_directory(load_config(places().config_file), places())


def trusted_key(given: str | None) -> PublicKey:
    """Return the key named on the command line (text or file), else this user's own."""
    if given is None:
        return public_key(places())
    try:
        text = given if "+" in given else Path(given).read_text(encoding="ascii")
        return PublicKey.parse(text)
    except (OSError, NoteError, UnicodeDecodeError) as error:
        raise stop(Exit.USAGE, f"--key: {error}") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuditError(f"{path}: cannot be read: {error.strerror}.") from None
