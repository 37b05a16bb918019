"""The options of `permitgate policy`; what each does is loaded when it is called.

May touch: nothing but the modules it dispatches to. Every start of the command line imports this.
"""

import re
from pathlib import Path
from typing import Annotated

import typer

from mcp_server.cli.exits import explained

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
policy_app = typer.Typer(no_args_is_help=True, help="Check, try and learn policies.")

Workspace = Annotated[
    Path | None, typer.Option("--workspace", help="The directory the agent works in.")
]
Policies = Annotated[
    list[str] | None, typer.Option("--policy", help="A pack or a policy file; repeat for several.")
]
Command = Annotated[
    list[str] | None,
    typer.Argument(help="After --: a command line, or a program and its arguments."),
]
Key = Annotated[
    str | None, typer.Option("--key", help="The log's public key, or its file; default: yours.")
]
Since = Annotated[
    str | None, typer.Option("--since", help="Only actions from this date, or date and time, on.")
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


@policy_app.command("diff")
def policy_diff(  # noqa: PLR0913 - a command's options are its arguments
    old: Annotated[str, typer.Argument(help="A pack or a policy file.")],
    new: Annotated[str, typer.Argument(help="The one that would take its place.")],
    *,
    beside: Annotated[
        list[str] | None,
        typer.Option("--with", help="In force with both: a pack or a file; repeat for several."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="An audit log: which of its actions would flip?")
    ] = None,
    key: Key = None,
    since: Since = None,
    as_json: Json = False,
) -> None:
    """Show what changes by rule and, with --log, for past actions; exit 1 if one gets looser."""
    with explained():
        from mcp_server.cli.policy.diff import Asked, diff  # noqa: PLC0415
        from mcp_server.cli.policy.history import Log  # noqa: PLC0415

        tried = None if log is None else Log(log, key, since)
        raise typer.Exit(diff(Asked(old, new, tuple(beside or ()), tried), as_json=as_json))


@policy_app.command("learn")
def policy_learn(  # noqa: PLR0913 - a command's options are its arguments
    *,
    log: Annotated[
        Path | None, typer.Option("--log", help="An audit log's directory; default: yours.")
    ] = None,
    key: Key = None,
    since: Since = None,
    name: Annotated[str, typer.Option("--name", help="What to call the policy.")] = "learned",
    trust_approved: Annotated[
        bool, typer.Option("--trust-approved", help="Allow what a human said yes to.")
    ] = False,
    deny_the_rest: Annotated[
        bool, typer.Option("--deny-the-rest", help="Deny what the log does not hold; else ask.")
    ] = False,
    proof: Annotated[
        Path | None, typer.Option("--proof", help="Write the proof here, as JSON.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the least policy that lets a log's actions run again; its proof is on standard error.

    Exit 1, and no policy, if something that did not run would be allowed.
    """
    with explained():
        from mcp_server.cli.policy.history import Log  # noqa: PLC0415
        from mcp_server.cli.policy.learn import Asked, learn_policy  # noqa: PLC0415
        from policy.proof import Wish  # noqa: PLC0415

        if not _NAME.fullmatch(name):
            raise typer.BadParameter(f"--name {name!r}: use lower-case letters, digits and dashes")
        wish = Wish(name, trust_approved, "deny" if deny_the_rest else "ask")
        raise typer.Exit(learn_policy(Asked(Log(log, key, since), wish, proof), as_json=as_json))


@policy_app.command("show")
def policy_show(
    names: Annotated[
        list[str] | None, typer.Argument(help="Packs or files; none: the rules in force here.")
    ] = None,
    policy: Policies = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Print the text of a pack, to read or to copy; or the rules in force here, file by file."""
    with explained():
        from mcp_server.cli.classify import Given  # noqa: PLC0415
        from mcp_server.cli.policy.show import show  # noqa: PLC0415

        show(names or (), Given(tuple(policy or ()), workspace), as_json=as_json)


@policy_app.command("hosts")
def policy_hosts(
    write: Annotated[
        Path | None, typer.Option("--write", help="Write them here, as a policy file.")
    ] = None,
) -> None:
    """Print host sets: where pip, npm, apt, go and cargo are configured to install from."""
    with explained():
        from mcp_server.cli.policy.hosts import hosts  # noqa: PLC0415

        raise typer.Exit(hosts(write))
