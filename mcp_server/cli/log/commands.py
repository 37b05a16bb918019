"""The options of the commands that read a log; what each does is loaded when it is called.

May touch: nothing but the modules it dispatches to. Every start of the command line imports this.
"""

from pathlib import Path
from typing import Annotated

import typer

from mcp_server.cli.exits import explained
from mcp_server.cli.policy.commands import Json

log_app = typer.Typer()

Directory = Annotated[Path | None, typer.Argument(help="A log directory; default: yours.")]
Key = Annotated[
    str | None, typer.Option("--key", help="The public key (name+id+base64) or its file.")
]
Since = Annotated[str | None, typer.Option("--since", help="From this time on, or 2h for ago.")]
Until = Annotated[str | None, typer.Option("--until", help="Before this time, or 2h for ago.")]
Subject = Annotated[str | None, typer.Option("--subject", help="Which agent: actor.id.")]
Session = Annotated[str | None, typer.Option("--session", help="Which session.")]
Effect = Annotated[str | None, typer.Option("--effect", help="allow, ask or deny.")]
Host = Annotated[str | None, typer.Option("--host", help="A machine asked for or reached.")]
Event = Annotated[str | None, typer.Option("--event", help="exec.intent, or a family: exec.")]
Contains = Annotated[str | None, typer.Option("--text", help="Only records with this text.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write one self-contained page.")]


@log_app.command("query")
def audit_query(
    directory: Directory = None,
    since: Since = None,
    until: Until = None,
    subject: Subject = None,
    session: Session = None,
    effect: Effect = None,
    host: Host = None,
    event: Event = None,
    text: Contains = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many, newest last.")] = 100,
    scan: Annotated[bool, typer.Option("--scan", help="Read all of it, without an index.")] = False,
    as_json: Json = False,
) -> None:
    """Find records by time, agent, session, effect, host, event or text."""
    with explained():
        from mcp_server.cli.log.asked import Asked  # noqa: PLC0415
        from mcp_server.cli.log.query import run_query  # noqa: PLC0415

        asked = Asked(directory, since, until, subject, session, effect, host, event, text)
        run_query(asked, last, scan=scan, as_json=as_json)


@log_app.command("show")
def audit_show(
    directory: Directory = None,
    seq: Annotated[int | None, typer.Option("--seq", min=0, help="This record, whole.")] = None,
    text: Contains = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many, newest last.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest records, one line each, or one record whole."""
    with explained():
        from mcp_server.cli.log.asked import Asked  # noqa: PLC0415
        from mcp_server.cli.log.query import run_query, show_one  # noqa: PLC0415

        asked = Asked(directory, text=text)
        if seq is not None:
            show_one(asked, seq, as_json=as_json)
        else:
            run_query(asked, last, scan=False, as_json=as_json)


@log_app.command("timeline")
def audit_timeline(
    directory: Directory = None,
    since: Since = None,
    until: Until = None,
    subject: Subject = None,
    session: Session = None,
    effect: Effect = None,
    host: Host = None,
    event: Event = None,
    text: Contains = None,
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="How many records: 500, of a page 20000.")
    ] = None,
    key: Key = None,
    html: Html = None,
) -> None:
    """Show what ran, changed, was reached, denied and approved, and where trust ends.

    Exit codes as for verify.
    """
    with explained():
        from mcp_server.cli.log.asked import Asked  # noqa: PLC0415
        from mcp_server.cli.log.timeline import timeline  # noqa: PLC0415

        asked = Asked(directory, since, until, subject, session, effect, host, event, text, key)
        raise typer.Exit(timeline(asked, last, html))


@log_app.command("report")
def audit_report(
    session: Annotated[str, typer.Argument(help="A session, as `audit query` shows it.")],
    directory: Annotated[
        Path | None, typer.Option("--directory", help="Default: your log.")
    ] = None,
    key: Key = None,
    html: Html = None,
    as_json: Json = False,
) -> None:
    """Report on one session: decisions, changes, refusals, approvals, findings; as Markdown.

    Exit codes as for verify.
    """
    with explained():
        from mcp_server.cli.log.asked import Asked  # noqa: PLC0415
        from mcp_server.cli.log.report import print_report  # noqa: PLC0415

        asked = Asked(directory, session=session, key=key)
        raise typer.Exit(print_report(asked, html, as_json=as_json))


@log_app.command("export")
def audit_export(
    directory: Directory = None,
    ocsf: Annotated[bool, typer.Option("--ocsf", help="OCSF 1.3.0 events, one per line.")] = False,
    otlp: Annotated[bool, typer.Option("--otlp", help="OTLP/JSON logs, 512 per line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A row for each call or event.")] = False,
    since: Since = None,
    until: Until = None,
    subject: Subject = None,
    session: Session = None,
    effect: Effect = None,
    host: Host = None,
    event: Event = None,
    text: Contains = None,
    key: Key = None,
    output: Annotated[Path | None, typer.Option("--output", help="A file, not stdout.")] = None,
) -> None:
    """Write the log, or what is asked for of it, for other systems.

    Exit codes as for verify.
    """
    with explained():
        from mcp_server.cli.log.asked import Asked  # noqa: PLC0415
        from mcp_server.cli.log.export import Form, export  # noqa: PLC0415

        forms: dict[Form, bool] = {"ocsf": ocsf, "otlp": otlp, "csv": as_csv}
        chosen = [form for form, is_chosen in forms.items() if is_chosen]
        if len(chosen) != 1:
            raise typer.BadParameter("choose one of --ocsf, --otlp, --csv")
        asked = Asked(directory, since, until, subject, session, effect, host, event, text, key)
        raise typer.Exit(export(asked, chosen[0], output))
