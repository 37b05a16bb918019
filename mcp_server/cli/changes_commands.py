"""The commands of `permitgate changes` and their options; what they do is loaded when called.

May touch: nothing but the module it dispatches to.
"""

from pathlib import Path
from typing import Annotated

import typer

from mcp_server.cli.exits import explained
from mcp_server.cli.policy.commands import Json, Policies, Workspace

changes_app = typer.Typer(
    no_args_is_help=True, help="See what agents changed, answer what waits, and take it back."
)
SetId = Annotated[str, typer.Argument(help="A change set, or how its id begins.", metavar="ID")]
Paths = Annotated[
    list[str] | None,
    typer.Option("--path", help="Only this file, relative to the workspace; repeat for more."),
]


@changes_app.command("list")
def changes_list(
    every: Annotated[bool, typer.Option("--all", help="Of every workspace.")] = False,
    as_json: Json = False,
) -> None:
    """List what commands and patches changed here, newest last."""
    with explained():
        from mcp_server.cli import changes  # noqa: PLC0415

        changes.show_list(as_json=as_json, every=every)


@changes_app.command("show")
def changes_show(
    set_id: SetId,
    stat: Annotated[bool, typer.Option("--stat", help="Files and lines, no diff.")] = False,
    as_json: Json = False,
) -> None:
    """Show one change set: why it is held, its files, and the diff."""
    with explained():
        from mcp_server.cli import changes  # noqa: PLC0415

        changes.show_one(set_id, stat=stat, as_json=as_json)


@changes_app.command("commit")
def changes_commit(
    set_id: SetId, path: Paths = None, policy: Policies = None, as_json: Json = False
) -> None:
    """Let a held change set into its workspace, after your yes to exactly these bytes."""
    with explained():
        from mcp_server.cli import changes  # noqa: PLC0415

        wanted = changes.Wanted(set_id, tuple(path) if path else None, tuple(policy or ()), as_json)
        raise typer.Exit(changes.commit(wanted))


@changes_app.command("discard")
def changes_discard(set_id: SetId, policy: Policies = None, as_json: Json = False) -> None:
    """Drop what a held change set has not let in; the workspace stays as it is."""
    with explained():
        from mcp_server.cli import changes  # noqa: PLC0415

        wanted = changes.Wanted(set_id, None, tuple(policy or ()), as_json)
        raise typer.Exit(changes.discard(wanted))


@changes_app.command("undo")
def changes_undo(
    set_id: SetId, path: Paths = None, policy: Policies = None, as_json: Json = False
) -> None:
    """Put back what a change set changed, deleted files too; all of it, or the given files."""
    with explained():
        from mcp_server.cli import changes  # noqa: PLC0415

        wanted = changes.Wanted(set_id, tuple(path) if path else None, tuple(policy or ()), as_json)
        raise typer.Exit(changes.undo(wanted, redo=False))


@changes_app.command("redo")
def changes_redo(
    set_id: SetId, path: Paths = None, policy: Policies = None, as_json: Json = False
) -> None:
    """Bring back what an undo took away."""
    with explained():
        from mcp_server.cli import changes  # noqa: PLC0415

        wanted = changes.Wanted(set_id, tuple(path) if path else None, tuple(policy or ()), as_json)
        raise typer.Exit(changes.undo(wanted, redo=True))


@changes_app.command("mark")
def changes_mark(name: str, workspace: Workspace = None) -> None:
    """Name this moment, to come back to it with `restore`."""
    with explained():
        from mcp_server.cli import restore_points  # noqa: PLC0415

        restore_points.mark(name, workspace or Path.cwd())


@changes_app.command("marks")
def changes_marks(workspace: Workspace = None, as_json: Json = False) -> None:
    """List the moments that have names."""
    with explained():
        from mcp_server.cli import restore_points  # noqa: PLC0415

        restore_points.show(workspace or Path.cwd(), as_json=as_json)


@changes_app.command("restore")
def changes_restore(
    name: str,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say it, change nothing.")] = False,
    workspace: Workspace = None,
    policy: Policies = None,
    as_json: Json = False,
) -> None:
    """Take back all that commands and patches changed since a named moment, newest first."""
    with explained():
        from mcp_server.cli import restore_points  # noqa: PLC0415

        given = (workspace or Path.cwd(), tuple(policy or ()))
        raise typer.Exit(restore_points.restore(name, given, dry_run=dry_run, as_json=as_json))
