"""`permitgate exec`: one command through the same road an agent's call takes.

May touch: the app; standard output carries the result and nothing else with --json.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import typer
from typing_extensions import override

from mcp_server.app import App, Wishes, open_app
from mcp_server.cli.exits import Exit
from mcp_server.client import NoClient
from mcp_server.config import ApprovalSettings, Headless, load_config
from mcp_server.decision_proofs import decision_proof
from mcp_server.owner import CallRefusedError, standing_in
from mcp_server.places import places
from mcp_server.present import rewritten_lines, says_the_same
from mcp_server.results import ExecResult
from mcp_server.tool import Answered
from mcp_server.tools.execute import ExecArguments, execute

MAX_EXIT = 255
SIGNALLED = 128
QUIET_S = 0.5  # a grant or a yes that is there already is waited for without a word
NOT_RUN_EXITS = {
    "pending": Exit.PENDING,
    "denied": Exit.DENIED,
    "declined": Exit.DENIED,
    "timeout": Exit.TIMEOUT,
}
Choice = tuple[tuple[str, ...], Path | None]


@dataclass(frozen=True, slots=True)
class Asking:
    """One command of the command line, and what else was said of it."""

    command: tuple[str, ...]
    timeout_s: float | None
    network: tuple[str, ...]
    headless: Headless | None  # None: as configured
    wait_s: float | None  # None: as configured, where it waits
    proof: Path | None = None  # where the proof of people's decision goes


class _Waiting(NoClient):
    """The command line, which says what it waits for."""

    @override
    async def keep_alive(self, text: str) -> None:
        await anyio.sleep(QUIET_S)
        typer.echo(f"permitgate: {text}", err=True)
        await anyio.sleep_forever()


def execute_one(asking: Asking, choice: Choice, *, as_json: bool) -> int:
    """Run one command and return the exit code: the command's own, or the gate's.

    One word is a shell command line; several are a program and its arguments.
    """
    policy, workspace = choice
    config = load_config(places().config_file)
    config = config.model_copy(update={"approvals": _approvals(asking, config.approvals)})
    app = open_app(config, places(), replace(Wishes("cli"), policy=policy, workspace=workspace))
    try:
        result = anyio.run(_run, app, asking)
    finally:
        app.close()
    if asking.proof is not None and result.approval is not None:
        _keep_proof(asking.proof, app, result.approval.id)
    if as_json:
        sys.stdout.write(result.model_dump_json() + "\n")
    else:
        _print(result)
    return _exit_code(result)


def _keep_proof(path: Path, app: App, approval_id: str) -> None:
    """Write how the decision is proven, where there is one."""
    found = decision_proof(app.log_directory, approval_id)
    if found is None:
        return
    try:
        path.write_text(found, encoding="utf-8")
    except OSError as error:
        typer.echo(f"permitgate: --proof: {path}: {error.strerror}; it is not kept.", err=True)


def _approvals(asking: Asking, configured: ApprovalSettings) -> ApprovalSettings:
    """Return how this command is asked about; who says how long to wait wants to wait."""
    waits = "wait" if asking.wait_s is not None else None
    headless = asking.headless or waits or configured.headless
    wait_s = configured.wait_s if asking.wait_s is None else asking.wait_s
    return configured.model_copy(
        update={"headless": headless, "wait_s": wait_s if headless == "wait" else 0.0}
    )


async def _run(app: App, asking: Asking) -> ExecResult:
    command = asking.command
    cwd = standing_in(app.caller.roots)
    arguments = ExecArguments(
        command=command[0] if len(command) == 1 else None,
        argv=command if len(command) > 1 else None,
        cwd=None if cwd is None else str(cwd),
        timeout_s=asking.timeout_s,
        network=list(asking.network),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(app.serve_owner)
        answered = await execute(app, arguments, _Waiting())
        group.cancel_scope.cancel()
    if not isinstance(answered, Answered) or not isinstance(answered.result, ExecResult):
        raise CallRefusedError("the command line cannot be asked; use the owner's terminal")
    return answered.result


def _print(result: ExecResult) -> None:
    for stream, target in ((result.stdout, sys.stdout), (result.stderr, sys.stderr)):
        if stream is not None and stream.bytes:
            target.write(stream.text if stream.text is not None else f"{stream.base64}\n")
            target.flush()
    for line in (*rewritten_lines(result.decision), *_changes(result)):
        typer.echo(f"permitgate: {line}", err=True)
    if result.status in ("ok", "failed") and result.guidance is None:
        return
    lines = [f"permitgate: {result.status}"]
    decision = result.decision
    if result.status in ("denied", "declined", "pending"):
        lines += [f"  {rule.place} {rule.id}: {rule.reason}" for rule in decision.rules]
    if result.guidance is not None:
        if not says_the_same(result):
            lines.append(f"  {result.guidance.reason}")
        lines += [f"  instead: {text}" for text in result.guidance.alternatives]
    typer.echo("\n".join(lines), err=True)


def _changes(result: ExecResult) -> list[str]:
    """Return what became of the changes: what waits always, what landed for a person only."""
    changes = result.changes
    if changes is None:
        return []
    lines = [f"conflict, somebody else changed it meanwhile: {path}" for path in changes.conflicts]
    if changes.held:
        lines.append("HELD: nothing of what it changed is in the workspace yet")
        lines += [f"  {one.text}: {', '.join(one.paths[:8])}".rstrip(": ") for one in changes.held]
        lines.append(f"  see it: permitgate changes show {changes.id}")
    elif changes.undo_id is not None and sys.stderr.isatty():
        lines.append(f"{changes.total} changed; back: permitgate changes undo {changes.undo_id}")
    return lines


def _exit_code(result: ExecResult) -> int:
    if result.status in NOT_RUN_EXITS:
        return NOT_RUN_EXITS[result.status]
    if result.changes is not None and result.changes.held and result.exit_code == 0:
        return Exit.PENDING
    if result.status == "error" or (result.exit_code is None and result.signal is None):
        # Without a record it was the log that failed; with one, the sandbox.
        return Exit.AUDIT_BROKEN if result.log_seq is None else Exit.SANDBOX_BELOW_MINIMUM
    if result.signal is not None:
        return SIGNALLED + result.signal
    return min(result.exit_code or 0, MAX_EXIT)
