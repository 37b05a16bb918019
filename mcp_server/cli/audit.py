"""`permitgate audit`: read, verify and prove a log with nothing but its files and a public key.

May touch: a log directory, for reading. Verification needs neither this machine nor this user.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer

from audit.canonical import Json
from audit.deep import VoteCheck
from audit.errors import AuditError, NoteError, PolicyUnmet
from audit.note import PublicKey
from audit.prove import prove, verify_proof
from audit.trust import TrustPolicy
from audit.verify import Code, verify
from mcp_server.cli.exits import Exit, stop
from mcp_server.cli.processors import spread
from mcp_server.config import load_config
from mcp_server.log_place import log_directory, public_key
from mcp_server.places import places

WORDS = {0: "VERIFIED", 1: "TAMPERED", 2: "UNREADABLE", 3: "INCOMPLETE", 4: "UNWITNESSED"}
COLOURS = {0: "green", 1: "red", 2: "red", 3: "yellow", 4: "yellow"}
PROGRESS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """What `audit verify` was asked to look at."""

    directory: Path | None
    key: str | None
    policy: Path | None
    pinned: Path | None
    deep: bool
    strict: bool
    signers: Path | None = None


def verify_log(asked: Asked, *, as_json: bool) -> int:
    """Print the verdict on a log and return its exit code."""
    directory = asked.directory or own_directory()
    report = verify(
        directory,
        _trusted(asked.key, asked.policy),
        pinned=_bytes(asked.pinned) if asked.pinned else None,
        deep=asked.deep,
        vote=_vote_check(asked.signers) if asked.signers else None,
        strict=asked.strict,
        progress=_shown_progress() if sys.stderr.isatty() else None,
        spread=spread,
    )
    if as_json:
        found = {
            "verdict": WORDS[report.code].lower(),
            "records": report.records,
            "signed": report.signed,
            "root": report.root,
            "epochs": report.epochs,
            "witnessed": report.witnessed,
            "findings": [
                {"kind": f.kind, "place": f.place, "seq": f.seq, "message": f.message}
                for f in report.findings
            ],
        }
        typer.echo(json.dumps(found))
        return int(report.code)
    typer.secho(WORDS[report.code], fg=COLOURS[report.code], bold=True, nl=False)
    witnessed = "" if report.witnessed is None else f", {report.witnessed} witnessed"
    typer.echo(f"  {directory}: {report.records} records, {report.signed} signed{witnessed}")
    for finding in report.findings:
        typer.echo(f"  {finding.place}: {finding.message}")
    return int(report.code)


def print_proof(seq: int, directory: Path | None) -> None:
    """Print the proof file of one record."""
    typer.echo(prove(directory or own_directory(), seq).decode("utf-8"), nl=False)


def verify_proof_file(file: Path, key: str | None, policy: Path | None) -> int:
    """Print what a proof proves; exit 1 when it proves nothing, 4 when too few witnesses signed."""
    try:
        proof = verify_proof(_bytes(file), _trusted(key, policy))
    except PolicyUnmet as error:
        typer.echo(f"UNWITNESSED  {file}: {error}", err=True)
        return int(Code.UNMET)
    except NoteError as error:
        typer.echo(f"NOT PROVEN  {file}: {error}", err=True)
        return 1
    typer.secho("PROVEN", fg="green", bold=True, nl=False)
    typer.echo(f"  record {proof.index} of {proof.checkpoint.size} in {proof.checkpoint.origin}")
    typer.echo(proof.record.decode("utf-8", "backslashreplace"))
    return int(Exit.OK)


def print_key() -> None:
    """Print the public key that began this user's log, which verifies all of it."""
    typer.echo(_own_key().vkey)


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
        return _own_key()
    try:
        text = given if "+" in given else Path(given).read_text(encoding="ascii")
        return PublicKey.parse(text)
    except (OSError, NoteError, UnicodeDecodeError) as error:
        raise stop(Exit.USAGE, f"--key: {error}") from None


def _own_key() -> PublicKey:
    return public_key(load_config(places().config_file), places())


def _trusted(key: str | None, policy: Path | None) -> TrustPolicy:
    """Return whom to trust: the logs of the policy, unless it names none or a key is given."""
    if policy is None:
        return TrustPolicy((trusted_key(key),))
    try:
        found = TrustPolicy.parse(_bytes(policy))
    except NoteError as error:
        raise stop(Exit.USAGE, f"{policy}: {error}") from None
    return found if found.logs and key is None else found.trusting([trusted_key(key)])


def _shown_progress() -> Callable[[int], None]:
    """Return what shows on the terminal, now and then, how far a long log was read."""
    shown_at = time.monotonic()

    def show_count(records_read: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= PROGRESS_EVERY_S:
            shown_at = time.monotonic()
            typer.echo(f"\r{records_read} records \r", err=True, nl=False)

    return show_count


def _vote_check(signers: Path) -> VoteCheck:
    """Return how the signature of a vote is checked against a file of the auditor's."""
    from approvals.recorded import why_not  # noqa: PLC0415  # loads pydantic
    from approvals.sshsig import read_signers  # noqa: PLC0415

    return partial(
        why_not, signers=read_signers(_bytes(signers).decode("utf-8", "replace"), str(signers))
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuditError(f"{path}: cannot be read: {error.strerror}.") from None
