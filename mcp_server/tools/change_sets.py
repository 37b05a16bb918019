"""The `undo`, `preview_commit` and `preview_discard` tools: what becomes of a change set.

May touch: the gate, through the app; the change store, to see what a set holds before policy is
asked about it. A held set lands only with a person's yes to exactly its bytes.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread
from pydantic import Field

from mcp_server.app import App
from mcp_server.calls import Call, Frozen, Reply, Unrunnable
from mcp_server.client import Client
from mcp_server.owner import CallRefusedError
from mcp_server.present import (
    call_fields,
    changes_lines,
    changes_result,
    head_line,
    is_error,
    tail_lines,
)
from mcp_server.redaction import without_words
from mcp_server.results import HeldChangesResult
from mcp_server.tool import Answered, AnyTool, Arguments, Tool
from policy.mentioned import mentioned
from policy.model import Commit, Context, Decision, Request, Undo
from sandbox.action import CommitChanges, DiscardChanges, UndoChanges
from sandbox.changes.filter import OPERATIONS
from sandbox.changes.model import Change, ChangeSet
from sandbox.changes.run import backwards
from sandbox.changes.shelf import Shelf
from sandbox.outcome import ChangesOutcome
from sandbox.permit import SandboxError

if TYPE_CHECKING:
    from mcp_types import InputRequiredResult

SET_ID = r"^[0-9a-f]{32}$"
MOST_NAMED = 1_000  # what policy decides one by one
LISTED = 50  # paths that a statement names; the preview and the digest cover all
SHOWN_DIFF_CHARACTERS = 20_000


class _OfASet(Arguments):
    paths: tuple[str, ...] | None = Field(
        default=None, description="Only these files, relative to the workspace."
    )
    reason: str = Field(default="", max_length=2000, description="Why; shown to the human.")


class UndoArguments(_OfASet):
    """Arguments of `undo`."""

    undo_id: str = Field(pattern=SET_ID, description="From the result of exec or patch.")
    redo: bool = Field(default=False, description="Bring back what an undo took away.")


class CommitArguments(_OfASet):
    """Arguments of `preview_commit`."""

    id: str = Field(pattern=SET_ID, description="Of the held change set.")


class DiscardArguments(Arguments):
    """Arguments of `preview_discard`."""

    id: str = Field(pattern=SET_ID, description="Of the held change set.")
    reason: str = Field(default="", max_length=2000, description="Why; shown to the human.")


def tools(app: App) -> list[AnyTool]:
    """Return the tools of this family."""

    async def run_undo(
        arguments: UndoArguments, client: Client
    ) -> "Answered | InputRequiredResult":
        return await undo(app, arguments, client)

    async def run_commit(
        arguments: CommitArguments, client: Client
    ) -> "Answered | InputRequiredResult":
        return await commit(app, arguments, client)

    async def run_discard(
        arguments: DiscardArguments, client: Client
    ) -> "Answered | InputRequiredResult":
        return await discard(app, arguments, client)

    return [
        Tool(
            "undo",
            "Undo a change",
            "Put back exactly what an exec or patch changed in the workspace, all of it or the "
            "given paths, if nothing changed since. `redo` brings it back.",
            UndoArguments,
            HeldChangesResult,
            "changes",
            run_undo,
        ),
        Tool(
            "preview_commit",
            "Let held changes in",
            "Ask a person to let a held change set into the workspace: they see the diff and say "
            "yes to exactly those bytes. Ask only for what you want kept; else preview_discard.",
            CommitArguments,
            HeldChangesResult,
            "changes",
            run_commit,
        ),
        Tool(
            "preview_discard",
            "Drop held changes",
            "Drop a held change set; the workspace stays as it is. Needs nobody.",
            DiscardArguments,
            HeldChangesResult,
            "changes",
            run_discard,
        ),
    ]


async def undo(
    app: App, arguments: UndoArguments, client: Client
) -> "Answered | InputRequiredResult":
    """Take one undo, or redo, down the road."""
    kept = await _kept(app, arguments.undo_id)
    chosen = app.shelf.changes(kept.set_id, arguments.paths, applied=not arguments.redo)
    if not chosen:
        done = "to bring back" if arguments.redo else "to undo; `redo` brings back what was undone"
        raise CallRefusedError(f"change set {kept.set_id} has nothing {done}. Nothing was changed.")
    context = _context(app, kept)
    if not arguments.redo:
        chosen = tuple(map(backwards, chosen))
    named = pairs(app, context, chosen)

    async def freeze(decision: Decision) -> Frozen:
        action = UndoChanges(
            kept.set_id, kept.about.root, arguments.paths, arguments.redo, decision.policy_digest
        )
        what = "brings-back" if arguments.redo else "puts-back"
        return Frozen(action, (*_facts(kept, context), *listed(what, chosen)))

    request = Request(app.caller.subject(client), Undo(kept.set_id, named), "undo")
    return await taken(app, Call(request, context, freeze, arguments.reason), client)


async def commit(
    app: App, arguments: CommitArguments, client: Client
) -> "Answered | InputRequiredResult":
    """Take the commit of a held change set down the road; it asks, whatever the rules allow."""
    kept = await _kept(app, arguments.id)
    chosen = app.shelf.changes(kept.set_id, arguments.paths, applied=False)
    if not chosen:
        raise CallRefusedError(f"nothing of change set {kept.set_id} waits. Nothing was changed.")
    context = _context(app, kept)

    async def freeze(decision: Decision) -> Frozen | Unrunnable:
        try:
            digest = await to_thread.run_sync(app.shelf.digest, kept.set_id)
            preview = await to_thread.run_sync(_picture, app.shelf, kept.set_id, arguments.paths)
        except SandboxError as error:
            return Unrunnable("blocked", str(error))
        why = "; ".join(reason.text for reason in kept.reasons) or "it was held"
        action = CommitChanges(
            kept.set_id, kept.about.root, digest, arguments.paths, decision.policy_digest
        )
        facts = (
            *_facts(kept, context),
            *(("held-because", f"{one.text}: {', '.join(one.paths)}") for one in kept.reasons),
            ("changes-sha256", digest),
            *listed("lets-in", chosen),
        )
        return Frozen(action, facts, preview=preview, needs_yes=f"these changes were held: {why}")

    named = pairs(app, context, chosen)
    request = Request(app.caller.subject(client), Commit(kept.set_id, named), "preview_commit")
    return await taken(app, Call(request, context, freeze, arguments.reason), client)


async def discard(
    app: App, arguments: DiscardArguments, client: Client
) -> "Answered | InputRequiredResult":
    """Take the dropping of a held change set down the road; nothing of the workspace changes."""
    kept = await _kept(app, arguments.id)
    context = _context(app, kept)

    async def freeze(decision: Decision) -> Frozen:
        action = DiscardChanges(kept.set_id, kept.about.root, decision.policy_digest)
        return Frozen(action, _facts(kept, context))

    request = Request(app.caller.subject(client), Commit(kept.set_id, ()), "preview_discard")
    return await taken(app, Call(request, context, freeze, arguments.reason), client)


def _picture(shelf: Shelf, set_id: str, paths: tuple[str, ...] | None) -> str:
    """Return what a person reads: a line for each file, then the diff."""
    stat = shelf.stat(set_id, paths, applied=False)
    return f"{stat}\n\n{shelf.diff(set_id, paths, applied=False)}"


async def _kept(app: App, set_id: str) -> ChangeSet:
    try:
        return await to_thread.run_sync(app.shelf.one, set_id)
    except SandboxError as error:
        raise CallRefusedError(str(error)) from None


def _context(app: App, kept: ChangeSet) -> Context:
    return app.caller.context(app.caller.workspace(Path(kept.about.root)))


def pairs(app: App, context: Context, chosen: Sequence[Change]) -> tuple[tuple[str, str], ...]:
    """Return what policy decides on: all that rules name, else the first few, for the record."""
    named = [(OPERATIONS[one.operation], f"{context.workspace}/{one.path}") for one in chosen]
    told = tuple(islice(mentioned(named, app.policy, context), MOST_NAMED))
    return told or tuple(named[:LISTED])


def _facts(kept: ChangeSet, context: Context) -> tuple[tuple[str, str], ...]:
    return (
        ("change-set", kept.set_id),
        ("made-by", f"{kept.about.source}: {kept.about.summary}"),
        ("root", kept.about.root),
        ("host", context.host),
    )


def listed(word: str, chosen: Sequence[Change]) -> tuple[tuple[str, str], ...]:
    """Return the lines of a statement that name the first changes, and how many more there are."""
    first = tuple((word, f"{one.operation} {one.path}") for one in chosen[:LISTED])
    more = len(chosen) - LISTED
    return (*first, (word, f"and {more} more, in the digest")) if more > 0 else first


async def taken(app: App, call: Call, client: Client) -> "Answered | InputRequiredResult":
    """Return what became of a call about a change set."""

    def shape(reply: Reply) -> Answered:
        outcome = reply.outcome if isinstance(reply.outcome, ChangesOutcome) else None
        diff = app.redactor.redact_text(reply.frozen.preview if reply.frozen else "")
        result = HeldChangesResult(
            **call_fields(reply),
            changes=changes_result(outcome.effects) if outcome else None,
            diff=without_words(diff, reply.decision.obligations.redact)[:SHOWN_DIFF_CHARACTERS],
        )
        lines = [head_line(result), *changes_lines(result.changes), *tail_lines(result)]
        return Answered(result, "\n".join(lines), is_error(reply))

    return await app.road.take(call, client, shape)
