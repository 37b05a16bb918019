"""`permitgate approvals`: the owner's terminal. Any running server answers; without one, the store.

May touch: the sockets of this user's servers, or the approval store itself. A yes names the digest
of what was shown.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from approvals import terminal
from approvals.desk import Desk
from approvals.request import Answer, ApprovalError, State
from approvals.store import Store
from approvals.terminal import Ask, Listed, NoServer, Reply, Shown
from mcp_server.cli.exits import Exit, stop
from mcp_server.config import load_config
from mcp_server.journal import Journal
from mcp_server.known_secrets import redactor
from mcp_server.log_place import log_directory, open_log
from mcp_server.places import places

COLOURS = {"!": "yellow", "+": "green", "-": "red"}


@dataclass(frozen=True, slots=True)
class _Door:
    """Where questions are answered: a server's socket, or the store itself where none runs."""

    directory: Path

    def listed(self) -> tuple[Listed, ...]:
        try:
            return terminal.list_pending(self.directory)
        except NoServer:
            return self._own(Ask(do="list")).listed

    def shown(self, request_id: str) -> Shown:
        try:
            return terminal.show(self.directory, request_id)
        except NoServer:
            shown = self._own(Ask(do="show", id=request_id)).shown
            if shown is None:
                raise
            return shown

    def answered(self, request_id: str, digest: str, said: Answer) -> State:
        try:
            return terminal.answer(self.directory, request_id, said, seen_digest=digest)
        except NoServer:
            state = self._own(Ask(do=said.value, id=request_id, seen_digest=digest)).state
            if state is None:
                raise
            return state

    def _own(self, ask: Ask) -> Reply:
        """Answer from the store in this process, as a server's socket would."""
        principal = terminal.peer_principal(os.geteuid(), os.geteuid())
        with _own_desk(self.directory) as desk:
            reply = terminal.respond(desk, principal, ask.model_dump_json().encode())
        if reply.error:
            raise ApprovalError(reply.message)
        return reply


@contextmanager
def _own_desk(directory: Path) -> Iterator[Desk]:
    """Yield a desk over this user's store, recorded in this user's log."""
    config, where = load_config(places().config_file), places()
    if "terminal" not in config.approvals.channels:
        raise ApprovalError("approvals.channels in the configuration leaves the terminal out")
    store = directory / "approvals.sqlite"
    if not store.exists():
        raise ApprovalError("nothing waits for an answer: no agent has asked yet")
    journal = Journal(
        open_log(config, where), log_directory(config, where), redactor(config, where)
    )
    try:
        yield Desk(Store(store), journal.note, owner_level=config.approvals.owner_level)
    finally:
        journal.close()


def show_list(*, as_json: bool) -> None:
    """Print every request that waits, oldest first."""
    rows = _door().listed()
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
    shown = _door().shown(request_id)
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
            + f"No:  permitgate approvals deny {shown.id}"
        )


def answer(request_id: str, digest: str | None, said: Answer) -> None:
    """Record the owner's answer; a yes without a digest is shown first and asked again."""
    door = _door()
    if digest is None:
        shown = door.shown(request_id)
        digest = shown.request_digest
        if said.is_yes:
            said = _asked_again(shown, said)
    state = door.answered(request_id, digest, said)
    typer.echo(f"{request_id} is {state.value}.")


def _asked_again(shown: Shown, said: Answer) -> Answer:
    if not sys.stdin.isatty():
        raise stop(
            Exit.USAGE,
            "a yes needs to say to what: run `permitgate approvals show "
            f"{shown.id}` and pass its --digest. Nothing was answered.",
        )
    _print(shown)
    words = {"yes": said}
    question = "Type yes to run exactly this once"
    if shown.for_session:
        words = {"yes": Answer.APPROVE, "session": Answer.APPROVE_FOR_SESSION}
        question += ", or session to permit its hosts until the session ends too"
    answered = words.get(input(f"\n{question}: ").strip())
    if answered is None:
        raise stop(Exit.OK, "Nothing was answered.")
    return answered


def _print(shown: Shown) -> None:
    typer.echo(f"{shown.id} is {shown.state.value}\n")
    for line in shown.lines:
        typer.secho(line, fg=COLOURS.get(line[:1]))


def _door() -> _Door:
    return _Door(places().approvals)
