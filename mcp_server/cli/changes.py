"""`permitgate changes`: what agents changed, what waits, and the way back; for the owner.

May touch: the change store, to look; everything that changes a workspace takes the gate's road, as
an agent's call does. At a terminal the owner's yes is asked for right here, else it waits.
"""

import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import anyio
import click
import typer
from anyio import to_thread
from rich.console import Console
from rich.table import Table
from rich.text import Text

from approvals import terminal
from approvals.terminal import Ask
from approvals.terminal_view import as_lines
from mcp_server.app import App, Wishes, open_app
from mcp_server.cli.execute import NOT_RUN_EXITS
from mcp_server.cli.exits import Exit, stop
from mcp_server.client import NoClient
from mcp_server.config import load_config
from mcp_server.places import places
from mcp_server.present import changes_lines, says_the_same
from mcp_server.reach import voters
from mcp_server.results import HeldChangesResult
from mcp_server.tool import Answered
from mcp_server.tools import change_sets
from sandbox.changes import shelf as shelves
from sandbox.changes.model import ChangeSet
from sandbox.changes.shelf import Shelf
from sandbox.permit import SandboxError

SCHEMA = "permitgate-changes-1"
STATES = {"held": "yellow", "applied": "green", "partly": "yellow", "undone": "dim"}
SHORT = 8  # hexadecimal digits that name a set among a few hundred
WAIT_S, POLL_S = 3600.0, 0.05
COLOURS = {"+": "green", "-": "red", "@": "cyan", "!": "yellow"}
Doing = Callable[[App], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of one change set."""

    set_id: str
    paths: tuple[str, ...] | None
    policy: tuple[str, ...] = ()
    as_json: bool = False


def show_list(*, as_json: bool, every: bool) -> None:
    """Print the change sets that are kept, newest last; of all workspaces or of this one."""
    shelf, here = _shelf(), Path.cwd()
    rows = [kept for kept in shelf.all() if every or here.is_relative_to(kept.about.root)]
    if as_json:
        typer.echo(json.dumps({"schema": SCHEMA, "sets": [_plain(kept) for kept in rows]}))
        return
    if not rows:
        typer.echo("No changes are kept for this directory; --all shows every workspace's.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("ID", "WHEN", "STATE", "FILES", "WHAT"):
        table.add_column(name, no_wrap=name != "WHAT", overflow="ellipsis")
    for kept in rows:
        when = datetime.fromtimestamp(kept.about.created_s).astimezone()
        table.add_row(
            kept.set_id[:SHORT], f"{when:%m-%d %H:%M}", Text(kept.state, STATES[kept.state]),
            str(kept.changes), Text(_line(kept.about.summary)),
        )  # fmt: skip
    _console().print(table)
    if any(kept.state == "held" for kept in rows):
        typer.echo("Held sets wait for you: permitgate changes show ID, then commit or discard it")


def show_one(set_id: str, *, stat: bool, as_json: bool) -> None:
    """Print one change set: why it is held, what it changes, and the diff."""
    shelf = _shelf()
    kept = _found(shelf, set_id)
    if as_json:
        typer.echo(json.dumps({"schema": SCHEMA, **_plain(kept), "changes": _rows(shelf, kept)}))
        return
    lines = [*_head(kept), "", *shelf.stat(kept.set_id).splitlines()]
    if not stat:
        lines += ["", *shelf.diff(kept.set_id).splitlines()]
    lines += ["", *_ways(kept)]
    _paged(lines)


def commit(wanted: Wanted) -> int:
    """Let a held set in, after a yes."""
    return _act(
        wanted,
        lambda app, kept: change_sets.commit(
            app, change_sets.CommitArguments(id=kept.set_id, paths=wanted.paths), NoClient()
        ),
    )


def discard(wanted: Wanted) -> int:
    """Drop a held set."""
    return _act(
        wanted,
        lambda app, kept: change_sets.discard(
            app, change_sets.DiscardArguments(id=kept.set_id), NoClient()
        ),
    )


def undo(wanted: Wanted, *, redo: bool) -> int:
    """Put back what a set changed, or bring it back."""
    return _act(
        wanted,
        lambda app, kept: change_sets.undo(
            app,
            change_sets.UndoArguments(undo_id=kept.set_id, paths=wanted.paths, redo=redo),
            NoClient(),
        ),
    )


def _act(wanted: Wanted, take: Callable[[App, ChangeSet], Awaitable[object]]) -> int:
    shelf = _shelf()
    kept = _found(shelf, wanted.set_id)
    result = on_the_road(Path(kept.about.root), wanted.policy, lambda app: take(app, kept))
    return told(result, as_json=wanted.as_json)


def on_the_road(workspace: Path, policy: tuple[str, ...], take: Doing) -> HeldChangesResult:
    """Take one call down the gate's road; a person at this terminal is asked right here."""
    config = load_config(places().config_file)
    waits = WAIT_S if sys.stdin.isatty() else 0.0
    config = config.model_copy(
        update={
            "approvals": config.approvals.model_copy(update={"wait_s": waits, "headless": "exit"})
        }
    )
    wishes = replace(Wishes("cli"), policy=policy, workspace=workspace)
    app = open_app(config, places(), wishes)
    try:
        return anyio.run(_run, app, take)
    finally:
        app.close()


async def _run(app: App, take: Doing) -> HeldChangesResult:
    async with anyio.create_task_group() as group:
        group.start_soon(app.serve_owner)
        if sys.stdin.isatty():
            group.start_soon(_ask_here, app)
        answered = await take(app)
        group.cancel_scope.cancel()
    if not isinstance(answered, Answered) or not isinstance(answered.result, HeldChangesResult):
        raise SandboxError("the call answered in a way that the command line does not know")
    return answered.result


async def _ask_here(app: App) -> None:
    """Show what this very command asks for, and take the owner's answer."""
    while True:
        waiting = await to_thread.run_sync(app.desk.pending)
        own = [one for one in waiting if one.question.session == app.caller.session]
        if own:
            break
        await anyio.sleep(POLL_S)
    pending = own[-1]
    for line in as_lines(pending):
        typer.secho(line, fg=COLOURS.get(line[:1]))
    said = await to_thread.run_sync(input, "\nType yes to let exactly this in: ")
    ask = Ask(
        do="approve" if said.strip() == "yes" else "deny",
        id=pending.id,
        seen_digest=pending.request_digest,
    )
    known = voters(app.config.approvals)
    principal = terminal.peer_principal(known.uid, known)
    reply = await to_thread.run_sync(
        terminal.respond, app.desk, principal, ask.model_dump_json().encode(), known
    )
    if reply.error:
        typer.echo(f"permitgate: {reply.message}", err=True)


def told(result: HeldChangesResult, *, as_json: bool) -> int:
    """Print what became of a call and return the exit code."""
    if as_json:
        typer.echo(result.model_dump_json())
    else:
        for line in changes_lines(result.changes):
            typer.echo(line)
        if result.status != "ok":
            typer.echo(f"permitgate: {result.status}", err=True)
            for rule in result.decision.rules if result.status == "denied" else ():
                typer.echo(f"  {rule.place} {rule.id}: {rule.reason}", err=True)
        if result.guidance is not None and not says_the_same(result):
            typer.echo(f"  {result.guidance.reason}", err=True)
    if result.status in NOT_RUN_EXITS:
        return int(NOT_RUN_EXITS[result.status])
    return int(Exit.OK if result.status == "ok" else Exit.USAGE)


def _shelf() -> Shelf:
    return shelves.at(places().changes)


def _found(shelf: Shelf, given: str) -> ChangeSet:
    """Return the one set whose id begins with what was given."""
    named = [kept for kept in shelf.all() if kept.set_id.startswith(given)] if given else []
    if len(named) == 1:
        return named[0]
    what = f"{len(named)} change sets begin" if named else "no change set begins"
    raise stop(Exit.USAGE, f"{what} with {given!r}: permitgate changes list --all")


def _plain(kept: ChangeSet) -> dict[str, object]:
    return {
        "id": kept.set_id,
        "state": kept.state,
        "root": kept.about.root,
        "source": kept.about.source,
        "summary": kept.about.summary,
        "created": kept.about.created_s,
        "files": kept.changes,
        "kept_bytes": kept.kept_bytes,
        "held": [{"rule": why.rule, "text": why.text, "paths": why.paths} for why in kept.reasons],
    }


def _rows(shelf: Shelf, kept: ChangeSet) -> list[dict[str, object]]:
    return [
        {
            "path": one.path,
            "operation": one.operation,
            "kind": one.kind,
            "bytes": one.bytes_after,
            "bytes_before": one.bytes_before,
            "mode": f"{one.mode_after:o}",
            "mode_before": f"{one.mode_before:o}",
        }
        for one in shelf.changes(kept.set_id)
    ]


def _head(kept: ChangeSet) -> Sequence[str]:
    when = datetime.fromtimestamp(kept.about.created_s).astimezone()
    return (
        f"change set {kept.set_id}, {kept.state}",
        f"made by {kept.about.source} on {when:%Y-%m-%d %H:%M:%S}: {_line(kept.about.summary)}",
        f"in {kept.about.root}",
        *(f"! held: {why.text}: {', '.join(why.paths)}".rstrip(": ") for why in kept.reasons),
    )


def _ways(kept: ChangeSet) -> Sequence[str]:
    """Return what can be done with a set now."""
    short = kept.set_id[:SHORT]
    ways = []
    if kept.state in ("held", "partly"):
        ways += [
            f"Let it in: permitgate changes commit {short}",
            f"Drop it:   permitgate changes discard {short}",
        ]
    if kept.state in ("applied", "partly"):
        ways.append(f"Take back: permitgate changes undo {short}")
    if kept.state == "undone":
        ways.append(f"Bring back: permitgate changes redo {short}")
    return ways


def _line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "·" for letter in text)


def _paged(lines: Sequence[str]) -> None:
    is_tall = len(lines) > shutil.get_terminal_size().lines
    if not sys.stdout.isatty():
        typer.echo("\n".join(lines))
        return
    coloured = (typer.style(line, fg=COLOURS.get(line[:1])) + "\n" for line in lines)
    if is_tall:
        click.echo_via_pager(coloured)
    else:
        typer.echo("".join(coloured), nl=False)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())
