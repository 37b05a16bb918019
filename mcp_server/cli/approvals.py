"""`permitgate approvals`: the owner's terminal. Any running server answers; without one, the store.

May touch: the sockets of this user's servers, or the approval store itself. A yes names the digest
of what was shown.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import typer

from approvals.request import Answer, ApprovalError, Mismatch, State
from approvals.terminal import Ask, Shown
from approvals.terminal_grants import AskedTerms
from approvals.voters import MAX_SIGNATURE_CHARS
from mcp_server.cli.exits import Exit, stop
from mcp_server.cli.owners_door import open_door

COLOURS = {"!": "yellow", "+": "green", "-": "red"}


def show_list(*, as_json: bool) -> None:
    """Print every request that waits, oldest first."""
    with open_door() as door:
        rows = door.listed()
    if as_json:
        typer.echo(json.dumps([row.model_dump(mode="json") for row in rows]))
        return
    if not rows:
        typer.echo("Nothing waits for an answer.")
    for row in rows:
        left_s = max(0, row.expires_ms // 1000 - int(time.time()))
        typer.echo(f"{row.id}  {row.tool:8} {left_s:>5} s left  {row.requester}")
        typer.echo(f"    {row.summary}")
    if rows:
        typer.echo("See one whole: permitgate approvals show ID")


def show_one(request_id: str, *, as_json: bool) -> None:
    """Print one request whole, and how to answer it."""
    with open_door() as door:
        shown = door.shown(request_id)
    if as_json:
        typer.echo(shown.model_dump_json())
        return
    _print(shown)
    if shown.state is State.PENDING:
        typer.echo(
            f"\nYes: permitgate approvals approve {shown.id} --digest {shown.request_digest}\n"
            + (
                "     with --session also its hosts, until the session ends\n"
                * bool(shown.for_session)
            )
            + ("     with --grant SCOPE --uses N --minutes N also a grant\n" * bool(shown.offers))
            + f"No:  permitgate approvals deny {shown.id}"
        )


def answer(request_id: str, digest: str | None, said: Answer) -> None:
    """Record the owner's answer; a yes without a digest is shown first and asked again."""
    with open_door() as door:
        if digest is None:
            shown = door.shown(request_id)
            digest = shown.request_digest
            if said.is_yes:
                said = _asked_again(shown, said)
        state = door.answered(request_id, digest, said)
    typer.echo(f"{request_id} is {state.value}.")


def approve_and_grant(request_id: str, digest: str | None, terms: AskedTerms) -> None:
    """Say yes once and grant more besides; without a digest it is shown first and asked again."""
    with open_door() as door:
        if digest is None:
            shown = door.shown(request_id)
            digest = shown.request_digest
            further = (
                f"what {terms.scope} covers, {terms.uses} times within {terms.minutes} minutes"
            )
            question = f"Type yes to run exactly this, and then {further}"
            _typed(shown, {"yes": Answer.APPROVE}, question)
        asked = Ask(do="approve", id=request_id, seen_digest=digest, terms=terms)
        (made,) = door.asked(asked).grants
    typer.echo(f"{request_id} is approved; {made.id} grants {made.scope}, {made.uses} uses.")
    typer.echo(f"Take it back: permitgate approvals revoke {made.id}")


def print_statement(request_id: str) -> None:
    """Print the statement of one request, to the byte what a signature over it signs."""
    with open_door() as door:
        sys.stdout.buffer.write(door.shown(request_id).statement.encode())


def answer_by_key(request_id: str, digest: str | None, key: Path) -> None:
    """Sign a yes with a key of the owner's; without a digest it is shown first and asked again."""
    from mcp_server.cli.signing import signature  # noqa: PLC0415  # loads slowly

    with open_door() as door:
        shown = door.shown(request_id)
        if digest is None:
            _asked_again(shown, Answer.APPROVE)
        elif digest != shown.request_digest:
            raise Mismatch(
                f"approval_mismatch: {digest} is not the digest of {request_id}. "
                "Nothing was signed; look at the request again."
            )
        state = door.signed(request_id, signature(key, shown.statement.encode()))
    typer.echo(f"{request_id} is {state.value}.")


def answer_by_signature(request_id: str, file: Path) -> None:
    """Hand in a signature that was made elsewhere, over what `print_statement` printed."""
    try:
        with file.open("rb") as opened:
            signature = opened.read(MAX_SIGNATURE_CHARS + 1).decode("ascii", "replace")
    except OSError as error:
        raise ApprovalError(f"{file}: {error.strerror}. Nothing was answered.") from error
    if len(signature) > MAX_SIGNATURE_CHARS:
        raise ApprovalError(f"{file}: is too long for an SSH signature. Nothing was answered.")
    with open_door() as door:
        typer.echo(f"{request_id} is {door.signed(request_id, signature).value}.")


def watch_live() -> None:
    """Show what waits on a live screen and take single-key answers."""
    from mcp_server.cli.watch.run import watch  # noqa: PLC0415  # loads rich

    with open_door() as door:
        watch(door)


def _asked_again(shown: Shown, said: Answer) -> Answer:
    words = {"yes": said}
    question = "Type yes to run exactly this once"
    if shown.for_session:
        words = {"yes": Answer.APPROVE, "session": Answer.APPROVE_FOR_SESSION}
        question += ", or session to permit its hosts until the session ends too"
    return _typed(shown, words, question)


def _typed(shown: Shown, words: Mapping[str, Answer], question: str) -> Answer:
    """Return what a person answers who was shown the request."""
    if not sys.stdin.isatty():
        raise stop(
            Exit.USAGE,
            "a yes needs to say to what: run `permitgate approvals show "
            f"{shown.id}` and pass its --digest. Nothing was answered.",
        )
    _print(shown)
    answered = words.get(input(f"\n{question}: ").strip())
    if answered is None:
        raise stop(Exit.OK, "Nothing was answered.")
    return answered


def show_grants(*, as_json: bool) -> None:
    """Print every grant that could still be used, oldest first."""
    with open_door() as door:
        rows = door.asked(Ask(do="grants")).grants
    if as_json:
        typer.echo(json.dumps([row.model_dump(mode="json") for row in rows]))
        return
    if not rows:
        typer.echo("No grant stands.")
    for row in rows:
        left_s = max(0, row.until_ms // 1000 - int(time.time()))
        uses = "until the session ends" if row.uses is None else f"{row.uses_left} of {row.uses}"
        typer.echo(f"{row.id}  {row.scope:11} uses left: {uses}, {-(-left_s // 60)} min left")
        typer.echo(f"    for {row.requester}, session {row.session}; by {', '.join(row.by)}")
        for line in row.covers:
            typer.echo(f"    {line}")
    if rows:
        typer.echo("Take one back: permitgate approvals revoke GRANT")


def revoke(grant_id: str) -> None:
    """End a grant."""
    with open_door() as door:
        door.asked(Ask(do="revoke", id=grant_id))
    typer.echo(f"{grant_id} is revoked.")


def _print(shown: Shown) -> None:
    typer.echo(f"{shown.id} is {shown.state.value}\n")
    for line in shown.lines:
        typer.secho(line, fg=COLOURS.get(line[:1]))
