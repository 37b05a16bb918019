"""The options of `permitgate policy`; what each does is loaded when it is called.

May touch: nothing but the modules it dispatches to. Every start of the command line imports this.
"""

from typing import Annotated

import typer

from mcp_server.cli.exits import explained

policy_app = typer.Typer(no_args_is_help=True, help="Check, try and learn policies.")

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
