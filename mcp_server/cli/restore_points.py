"""`permitgate changes mark`, `marks` and `restore`: named moments of a workspace, and the way back.

May touch: the change store; going back takes the gate's road, as any change of a workspace does.
"""

import json
from datetime import datetime
from pathlib import Path

import typer

from mcp_server.cli.changes import SCHEMA, on_the_road, told
from mcp_server.cli.exits import Exit, stop
from mcp_server.client import NoClient
from mcp_server.config import load_config
from mcp_server.owner import current_owner, workspace_roots
from mcp_server.places import places
from mcp_server.tools.restore import RestoreArguments, restore_to
from sandbox.changes import points
from sandbox.changes.rendered import shown_path
from sandbox.changes.store import ChangeStore
from sandbox.permit import SandboxError

LISTED = 40  # changes that a dry run prints; --json has all


def mark(name: str, start: Path) -> None:
    """Name this moment of the workspace around a directory."""
    root = _root(start)
    points.mark(_store(), name, root)
    typer.echo(f"{name} names this moment of {root}. Back: permitgate changes restore {name}")


def show(start: Path, *, as_json: bool) -> None:
    """Print the moments of the workspace that have names, newest last."""
    root = _root(start)
    found = points.marks(_store(), root)
    if as_json:
        rows = [{"name": one.name, "root": one.root, "made": one.made_s} for one in found]
        typer.echo(json.dumps({"schema": SCHEMA, "marks": rows}))
        return
    if not found:
        typer.echo(f"No moment of {root} has a name: permitgate changes mark NAME")
    for one in found:
        when = datetime.fromtimestamp(one.made_s).astimezone()
        typer.echo(f"{when:%Y-%m-%d %H:%M:%S}  {one.name}")


def restore(name: str, given: tuple[Path, tuple[str, ...]], *, dry_run: bool, as_json: bool) -> int:
    """Bring the workspace back to a named moment, or say what that would mean."""
    start, policy = given
    root = _root(start)
    if dry_run:
        _say(_plan(name, root), as_json=as_json)
        return 0
    _plan(name, root)  # before anything else: most names that are wrong are wrong here
    arguments = RestoreArguments(name=name)
    result = on_the_road(
        Path(root), policy, lambda app: restore_to(app, arguments, root, NoClient())
    )
    return told(result, as_json=as_json)


def _plan(name: str, root: str) -> tuple[points.Inversion, ...]:
    try:
        return points.restore_plan(_store(), name, root)
    except SandboxError as error:
        raise stop(Exit.USAGE, f"{error}: permitgate changes marks") from None


def _say(plan: tuple[points.Inversion, ...], *, as_json: bool) -> None:
    lines = [
        (one.set_id, "redo" if one.to_apply else "undo", change.operation, change.path)
        for one in plan
        for change in one.changes
    ]
    if as_json:
        keys = ("id", "does", "operation", "path")
        rows = [dict(zip(keys, line, strict=True)) for line in lines]
        typer.echo(json.dumps({"schema": SCHEMA, "plan": rows}))
        return
    if not lines:
        typer.echo("Nothing has changed since.")
    for set_id, does, operation, path in lines[:LISTED]:
        typer.echo(f"{does} {set_id[:8]}  {operation} {shown_path(path)}")
    if len(lines) > LISTED:
        typer.echo(f"... {len(lines)} changes in all")


def _store() -> ChangeStore:
    return ChangeStore(places().changes)


def _root(start: Path) -> str:
    """Return the workspace around a directory."""
    start = start.resolve()
    config = load_config(places().config_file)
    roots = workspace_roots(config, None, current_owner().home)
    return str(next((root for root in roots if start.is_relative_to(root)), start))
