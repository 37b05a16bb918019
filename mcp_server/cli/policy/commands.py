"""The options of `permitgate policy`; what each does is loaded when it is called.

May touch: nothing but the modules it dispatches to. Every start of the command line imports this.
"""

from pathlib import Path
from typing import Annotated

import typer

from mcp_server.cli.exits import explained

policy_app = typer.Typer(no_args_is_help=True, help="Check, try and learn policies.")

Workspace = Annotated[
    Path | None, typer.Option("--workspace", help="The directory the agent works in.")
]
Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", help="A pack or a policy file; repeat for several."),
]
Command = Annotated[
    list[str] | None,
    typer.Argument(help="After --: a command line, or a program and its arguments."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]


@policy_app.command("check")
def policy_check(
    files: Annotated[list[str], typer.Argument(help="Policy files, or names of packs.")],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are exit 1.")] = False,
    as_json: Json = False,
) -> None:
    """Load policy files together, run their examples, and say what is probably wrong with them."""
    with explained():
        from mcp_server.cli.policy.check import check  # noqa: PLC0415

        raise typer.Exit(check(files, strict=strict, as_json=as_json))


@policy_app.command("explain")
def policy_explain(
    command: Command = None,
    policy: Policies = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Show why a command is allowed, asked about or denied, rule by rule; runs nothing."""
    with explained():
        from mcp_server.cli.classify import Given  # noqa: PLC0415
        from mcp_server.cli.policy.explain import explain_one  # noqa: PLC0415

        if not command:
            raise typer.BadParameter("give a command after --")
        explain_one(Given(tuple(policy or ()), workspace), tuple(command), as_json=as_json)


@policy_app.command("test")
def policy_test(
    files: Annotated[list[Path], typer.Argument(help="Files of commands and what is expected.")],
    as_json: Json = False,
) -> None:
    """Try commands against policies; exit 1 and the tree of each that is not as expected."""
    with explained():
        from mcp_server.cli.policy.cases import run_files  # noqa: PLC0415

        raise typer.Exit(run_files(files, as_json=as_json))
