"""The commands and their options; what they do is loaded when they are called.

May touch: nothing but the modules it dispatches to. Keep the imports here few: `--help` and
`classify` are waited for.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mcp_server.cli.changes_commands import changes_app
from mcp_server.cli.exits import explained
from mcp_server.cli.log.commands import log_app
from mcp_server.cli.policy.commands import Command, Json, Policies, Workspace, policy_app

app = typer.Typer(
    name="permitgate",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The gate between AI agents and this machine: no permit, no execution.",
)
approvals_app = typer.Typer(no_args_is_help=True, help="See and answer what agents ask for.")
audit_app = typer.Typer(no_args_is_help=True, help="Read, verify and prove the audit log.")
app.add_typer(policy_app, name="policy")
app.add_typer(approvals_app, name="approvals")
app.add_typer(changes_app, name="changes")
app.add_typer(audit_app, name="audit")
audit_app.add_typer(log_app)


@app.command()
def serve(
    workspace: Workspace = None,
    policy: Policies = None,
    http: Annotated[bool, typer.Option("--http", help="Serve HTTP on 127.0.0.1.")] = False,
) -> None:
    """Serve MCP on standard input and output, or with --http on a local port."""
    with explained():
        from mcp_server.cli.serve import run_server  # noqa: PLC0415

        run_server(workspace, tuple(policy or ()), http=http)


@app.command()
def classify(
    command: Command = None,
    policy: Policies = None,
    workspace: Workspace = None,
    batch: Annotated[
        Path | None, typer.Option("--batch", help="JSON Lines {id, command[, cwd]}; - is stdin.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what policy thinks of a command; runs nothing, asks nobody, writes nothing."""
    with explained():
        from mcp_server.cli import classify as door  # noqa: PLC0415

        given = door.Given(tuple(policy or ()), workspace)
        if batch is not None and not command:
            door.classify_batch(given, batch)
        elif command and batch is None:
            door.classify_one(given, tuple(command), as_json=as_json)
        else:
            raise typer.BadParameter("give a command after --, or --batch FILE")


@app.command("exec")
def execute(
    command: Command = None,
    policy: Policies = None,
    workspace: Workspace = None,
    as_json: Json = False,
    headless: Annotated[
        Literal["wait", "deny", "exit"] | None,
        typer.Option("--headless", help="Where a human's yes is needed; default: configured."),
    ] = None,
    wait_s: Annotated[
        float | None,
        typer.Option("--wait-s", min=0, help="How long to wait for a human; implies wait."),
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout-s", min=0.001, help="Time limit of the command.")
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            "--network", help="A host it connects to, HOST[:PORT] or @SET; again for more."
        ),
    ] = None,
    proof: Annotated[
        Path | None,
        typer.Option("--proof", help="Write there the proof of the decision, if people made one."),
    ] = None,
) -> None:
    """Run one command through the gate: exit 0, the command's own, 10 pending, 11 denied, 124."""
    with explained():
        from mcp_server.cli.execute import Asking, execute_one  # noqa: PLC0415

        if not command:
            raise typer.BadParameter("give a command after --")
        if wait_s is not None and headless not in (None, "wait"):
            raise typer.BadParameter(f"--wait-s waits, and --headless {headless} does not")
        asking = Asking(tuple(command), timeout_s, tuple(network or ()), headless, wait_s, proof)
        raise typer.Exit(execute_one(asking, (tuple(policy or ()), workspace), as_json=as_json))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Try what this host can enforce and whether Permitgate can work here."""
    with explained():
        from mcp_server.cli.doctor import examine  # noqa: PLC0415

        raise typer.Exit(examine(as_json=as_json))


@approvals_app.command("list")
def approvals_list(as_json: Json = False) -> None:
    """List the requests that wait for an answer."""
    with explained():
        from mcp_server.cli import approvals  # noqa: PLC0415

        approvals.show_list(as_json=as_json)


@approvals_app.command("watch")
def approvals_watch() -> None:
    """Show what waits on a live screen: y yes, n no, s yes for the session, j k move, q quit."""
    with explained():
        from mcp_server.cli import approvals  # noqa: PLC0415

        approvals.watch_live()


@approvals_app.command("show")
def approvals_show(request_id: str, as_json: Json = False) -> None:
    """Show one request in full: what it would run, and what exactly a yes is said to."""
    with explained():
        from mcp_server.cli import approvals  # noqa: PLC0415

        approvals.show_one(request_id, as_json=as_json)


@approvals_app.command("approve")
def approvals_approve(
    request_id: str,
    digest: Annotated[
        str | None, typer.Option("--digest", help="The request digest that `show` printed.")
    ] = None,
    for_session: Annotated[
        bool, typer.Option("--session", help="Also permit its hosts until the session ends.")
    ] = False,
    grant: Annotated[
        str | None,
        typer.Option("--grant", help="Also grant: exact, argv-prefix, program or host."),
    ] = None,
    uses: Annotated[
        int, typer.Option("--uses", min=1, max=1000, help="How often the grant may be used.")
    ] = 1,
    minutes: Annotated[
        int, typer.Option("--minutes", min=1, max=1440, help="How long the grant stands.")
    ] = 30,
    sign: Annotated[
        Path | None,
        typer.Option("--sign", help="Sign it: a private key, or a .pub whose key ssh-agent has."),
    ] = None,
    signature: Annotated[
        Path | None,
        typer.Option("--signature", help="What `ssh-keygen -Y sign` made of its statement."),
    ] = None,
) -> None:
    """Say yes to one request; without --digest it is shown first and asked again."""
    with explained():
        from approvals.request import Answer  # noqa: PLC0415
        from approvals.scope import Scope  # noqa: PLC0415
        from approvals.terminal_grants import AskedTerms  # noqa: PLC0415
        from mcp_server.cli import approvals  # noqa: PLC0415

        if sum((for_session, grant is not None, sign is not None, signature is not None)) > 1:
            raise typer.BadParameter("give one of --session, --grant, --sign and --signature")
        if grant is not None:
            if grant not in set(Scope):
                raise typer.BadParameter("--grant is exact, argv-prefix, program or host")
            terms = AskedTerms(scope=Scope(grant), uses=uses, minutes=minutes)
            approvals.approve_and_grant(request_id, digest, terms)
        elif sign is not None:
            approvals.answer_by_key(request_id, digest, sign)
        elif signature is not None:
            approvals.answer_by_signature(request_id, signature)
        else:
            yes = Answer.APPROVE_FOR_SESSION if for_session else Answer.APPROVE
            approvals.answer(request_id, digest, yes)


@approvals_app.command("statement")
def approvals_statement(request_id: str) -> None:
    """Print what a signature over one request signs, for `ssh-keygen -Y sign`."""
    with explained():
        from mcp_server.cli import approvals  # noqa: PLC0415

        approvals.print_statement(request_id)


@approvals_app.command("deny")
def approvals_deny(request_id: str) -> None:
    """Say no to one request."""
    with explained():
        from approvals.request import Answer  # noqa: PLC0415
        from mcp_server.cli import approvals  # noqa: PLC0415

        approvals.answer(request_id, None, Answer.DENY)


@approvals_app.command("grants")
def approvals_grants(as_json: Json = False) -> None:
    """List the grants that stand: what each covers, for whom, how often and how long yet."""
    with explained():
        from mcp_server.cli import approvals  # noqa: PLC0415

        approvals.show_grants(as_json=as_json)


@approvals_app.command("revoke")
def approvals_revoke(grant_id: str) -> None:
    """Take a grant back; what already runs on it goes on."""
    with explained():
        from mcp_server.cli import approvals  # noqa: PLC0415

        approvals.revoke(grant_id)


@approvals_app.command("page")
def approvals_page() -> None:
    """Print a link that opens the page once, within two minutes."""
    with explained():
        from mcp_server.cli import approval_doors  # noqa: PLC0415

        approval_doors.print_link()


@approvals_app.command("token")
def approvals_token(
    name: str,
    reader: Annotated[
        bool, typer.Option("--reader", help="It may read requests, not answer them.")
    ] = False,
    agent: Annotated[
        bool, typer.Option("--agent", help="It may ask, and see its own requests; needs --actor.")
    ] = False,
    actor: Annotated[
        list[str] | None,
        typer.Option("--actor", help="Who can set that agent off: no yes of theirs counts."),
    ] = None,
    owner_answers: Annotated[
        bool, typer.Option("--owner-answers", help="You are none of them, and may answer it.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="End NAME's token.")] = False,
) -> None:
    """Make a token for the API and print it, once; an earlier one of NAME ends."""
    with explained():
        from mcp_server.cli import approval_doors  # noqa: PLC0415

        if reader and agent:
            raise typer.BadParameter("give one of --reader and --agent")
        role: Literal["approver", "reader", "agent"]
        role = "agent" if agent else "reader" if reader else "approver"
        wanted = approval_doors.Wanted(name, role, tuple(actor or ()), owner_answers)
        approval_doors.token(wanted, ends=remove)


@approvals_app.command("notify-test")
def approvals_notify_test() -> None:
    """Send a test to every target of approvals.notify and print what each answered."""
    with explained():
        from mcp_server.cli import notify_test  # noqa: PLC0415

        raise typer.Exit(notify_test.tell_all())


@audit_app.command("verify")
def audit_verify(
    directory: Annotated[
        Path | None, typer.Argument(help="A log directory; default: yours.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="The public key (name+id+base64) or its file.")
    ] = None,
    pinned: Annotated[
        Path | None, typer.Option("--pinned", help="A checkpoint kept elsewhere.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="A C2SP trust policy: logs, witnesses, quorum.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also check every record's form.")] = False,
    signers: Annotated[
        Path | None, typer.Option("--signers", help="Who signs approvals: --deep checks each vote.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Recovered records are exit 3.")] = False,
    as_json: Json = False,
) -> None:
    """Verify the log with the public key alone.

    Exit 0 verified, 1 tampered, 2 unreadable, 3 incomplete, 4 too few witnesses.
    """
    with explained():
        from mcp_server.cli import audit  # noqa: PLC0415

        if signers is not None and not deep:
            raise typer.BadParameter("--signers is for --deep, which looks at each vote")
        asked = audit.Asked(directory, key, policy, pinned, deep, strict, signers)
        raise typer.Exit(audit.verify_log(asked, as_json=as_json))


@audit_app.command("prove")
def audit_prove(
    seq: Annotated[int, typer.Argument(min=0, help="The record's number.")],
    directory: Annotated[
        Path | None, typer.Option("--directory", help="Default: your log.")
    ] = None,
) -> None:
    """Print a proof that one record is in the log; it verifies offline."""
    with explained():
        from mcp_server.cli import audit  # noqa: PLC0415

        audit.print_proof(seq, directory)


@audit_app.command("verify-proof")
def audit_verify_proof(
    file: Annotated[Path, typer.Argument(help="What `audit prove` printed.")],
    key: Annotated[str | None, typer.Option("--key", help="The public key or its file.")] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="A C2SP trust policy: logs, witnesses, quorum.")
    ] = None,
) -> None:
    """Verify a proof with the public key alone."""
    with explained():
        from mcp_server.cli import audit  # noqa: PLC0415

        raise typer.Exit(audit.verify_proof_file(file, key, policy))


@audit_app.command("key")
def audit_key() -> None:
    """Print the public key that verifies your log; give it to whoever audits you."""
    with explained():
        from mcp_server.cli import audit  # noqa: PLC0415

        audit.print_key()


@audit_app.command("deliver")
def audit_deliver() -> None:
    """Deliver to the sinks what waits; a running server does this by itself."""
    with explained():
        from mcp_server.cli import sinks  # noqa: PLC0415

        raise typer.Exit(sinks.deliver())


@audit_app.command("open")
def audit_open(
    seq: Annotated[int, typer.Argument(min=0, help="The record's number.")],
    directory: Annotated[
        Path | None, typer.Option("--directory", help="Default: your log.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show that a value, given on standard input, is one that a record holds redacted."""
    with explained():
        from mcp_server.cli import openings  # noqa: PLC0415

        raise typer.Exit(openings.open_record(seq, directory, as_json=as_json))


@audit_app.command("rotate")
def audit_rotate(
    to: Annotated[
        str | None,
        typer.Option("--to", help="Where the new key is, as audit.signer; default: a new file."),
    ] = None,
) -> None:
    """Hand the log over to a new key; the old one signs that and is destroyed."""
    with explained():
        from mcp_server.cli import audit_rotate as rotation  # noqa: PLC0415

        rotation.rotate(to)
