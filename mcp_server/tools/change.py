"""The `patch` and `undo` tools: change files as one set, and put them back.

May touch: the gate, through the app; the sandbox's planner, which reads files only after policy has
seen their paths.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from anyio import to_thread
from pydantic import Field, model_validator

from mcp_server.app import App
from mcp_server.calls import Call, Frozen, Reply, Status, Unrunnable
from mcp_server.client import Client
from mcp_server.duties import bounded
from mcp_server.owner import CallRefusedError
from mcp_server.present import call_fields, head_line, is_error, tail_lines
from mcp_server.redaction import without_words
from mcp_server.results import FileChangeResult, PatchResult
from mcp_server.tool import Answered, AnyTool, Arguments, Tool
from policy.classify import classify
from policy.model import Decision, Effect, Patch, Read, Request, Undo
from sandbox.action import UndoPatch
from sandbox.outcome import PatchOutcome
from sandbox.patches.edits import Edit
from sandbox.patches.plan import PatchRefused, named_paths, plan, preview
from sandbox.patches.run import undo_paths

if TYPE_CHECKING:
    from mcp_types import InputRequiredResult

SHOWN_DIFF_CHARACTERS = 20_000
OPERATIONS = {
    "create": "fs.create",
    "modify": "fs.write",
    "delete": "fs.delete",
    "read": "fs.read",  # what a rename or copy takes its content from
}


class EditArguments(Arguments):
    """One exact replacement."""

    path: str = Field(description="File, relative to the root.")
    old: str = Field(description="Text that stands exactly once; empty to create the file.")
    new: str = Field(description="What it becomes.")


class PatchArguments(Arguments):
    """Arguments of `patch`."""

    diff: str | None = Field(default=None, description="A unified diff, one or more files.")
    edits: tuple[EditArguments, ...] | None = Field(default=None, description="Exact edits.")
    root: str | None = Field(default=None, description="Directory the paths start from.")
    dry_run: bool = Field(default=False, description="Check and show; change nothing.")
    reason: str = Field(default="", max_length=2000, description="Why; shown to the human.")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.diff is None) == (self.edits is None):
            raise ValueError("give exactly one of diff and edits")
        return self


class UndoArguments(Arguments):
    """Arguments of `undo`."""

    undo_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$", description="From a patch result.")
    reason: str = Field(default="", max_length=2000, description="Why; shown to the human.")


def tools(app: App) -> list[AnyTool]:
    """Return the tools of this family."""

    async def patch(arguments: PatchArguments, client: Client) -> "Answered | InputRequiredResult":
        change = _PatchCall(app, arguments, client)
        if arguments.dry_run:
            return await change.dry_run()
        return await change.run()

    async def undo(arguments: UndoArguments, client: Client) -> "Answered | InputRequiredResult":
        return await _undo(app, arguments, client)

    return [
        Tool(
            "patch",
            "Change files",
            "Change files by a unified diff (`diff`) or exact replacements (`edits`), all or "
            "nothing. Context must match exactly and only once; a refusal names the place and the "
            "nearest match. Protected files ask a human, who sees the diff. Returns an undo_id.",
            PatchArguments,
            PatchResult,
            "changes",
            patch,
        ),
        Tool(
            "undo",
            "Undo a change",
            "Put back exactly what an earlier patch replaced, if nothing changed since.",
            UndoArguments,
            PatchResult,
            "changes",
            undo,
        ),
    ]


class _PatchCall:
    """One patch: its paths are decided before any file is read."""

    def __init__(self, app: App, arguments: PatchArguments, client: Client) -> None:
        self._app = app
        self._client = client
        self._reason = arguments.reason
        root = app.caller.cwd(arguments.root)
        self._root = str(root)
        self._context = app.caller.context(app.caller.workspace(root))
        self._change: str | tuple[Edit, ...] = (
            arguments.diff
            if arguments.diff is not None
            else tuple(Edit(edit.path, edit.old, edit.new) for edit in arguments.edits or ())
        )
        named = named_paths(self._change)
        if isinstance(named, PatchRefused):
            raise CallRefusedError(f"{named.place}: {named.message}")
        changes = tuple(
            (OPERATIONS[operation], str(app.caller.path(f"{self._root}/{path}")))
            for operation, path in named
        )
        self._request = Request(app.caller.subject(client), Patch(changes), "patch")

    async def run(self) -> "Answered | InputRequiredResult":
        call = Call(self._request, self._context, self._freeze, self._reason)
        return await self._app.road.take(call, self._client, _answered)

    async def dry_run(self) -> Answered:
        decision = classify(self._request, self._app.policy, self._context)
        frozen: Frozen | Unrunnable | None = None
        if decision.effect is not Effect.DENY:
            frozen = bounded(await self._freeze(decision), decision)
        message = "dry run: nothing was changed"
        if isinstance(frozen, Unrunnable):
            message = frozen.message
        status: Status = "denied" if decision.effect is Effect.DENY else "blocked"
        reply = Reply("", status, decision, message=message)
        diff = frozen.preview if isinstance(frozen, Frozen) else ""
        result = _result(reply, diff, dry_run=True)
        if isinstance(frozen, Frozen):
            result = result.model_copy(update={"status": "ok"})
        lines = [f"would be {decision.effect.name.lower()}", result.diff, *tail_lines(result)]
        return Answered(result, "\n".join(lines), not isinstance(frozen, Frozen))

    async def _freeze(self, decision: Decision) -> Frozen | Unrunnable:
        planning = partial(
            plan,
            self._root,
            self._change,
            decision.policy_digest,
            may_read=self._may_read,
        )
        planned = await to_thread.run_sync(planning)
        if isinstance(planned, PatchRefused):
            return Unrunnable("blocked", f"{planned.place}: {planned.message}")
        shown = await to_thread.run_sync(preview, planned)
        if isinstance(shown, PatchRefused):
            return Unrunnable("blocked", f"{shown.place}: {shown.message}")
        facts = [("root", self._root), ("host", self._context.host)]
        facts += [("changes", f"{file.path}") for file in planned.files]
        return Frozen(planned, tuple(facts), preview=shown)

    def _may_read(self, path: str) -> bool:
        """Return whether the agent could read a file itself, so that a refusal may quote it."""
        request = Request(self._request.subject, Read("fs.read", path), "read_file")
        return classify(request, self._app.policy, self._context).effect is Effect.ALLOW


async def _undo(
    app: App, arguments: UndoArguments, client: Client
) -> "Answered | InputRequiredResult":
    found = await to_thread.run_sync(undo_paths, app.places.changes, arguments.undo_id)
    if isinstance(found, PatchRefused):
        raise CallRefusedError(f"{found.place}: {found.message}")
    root, named = found
    workspace = app.caller.workspace(Path(root))
    changes = tuple(
        (OPERATIONS[operation], str(app.caller.path(f"{root}/{path}"))) for operation, path in named
    )
    context = app.caller.context(workspace)

    async def freeze(decision: Decision) -> Frozen:
        action = UndoPatch(arguments.undo_id, root, decision.policy_digest)
        facts = (("undo", arguments.undo_id), ("root", root))
        return Frozen(action, facts + tuple(("restores", path) for _, path in named))

    request = Request(app.caller.subject(client), Undo(arguments.undo_id, changes), "undo")
    call = Call(request, context, freeze, arguments.reason)
    return await app.road.take(call, client, _answered)


def _result(reply: Reply, diff: str, *, dry_run: bool) -> PatchResult:
    outcome = reply.outcome if isinstance(reply.outcome, PatchOutcome) else None
    return PatchResult(
        **call_fields(reply),
        files=[
            FileChangeResult(
                path=file.path,
                operation=file.operation,
                added_lines=file.added_lines,
                removed_lines=file.removed_lines,
                sha256=file.sha256,
            )
            for file in (outcome.files if outcome else ())
        ],
        diff=without_words(diff, reply.decision.obligations.redact)[:SHOWN_DIFF_CHARACTERS],
        undo_id=outcome.undo_id if outcome else None,
        dry_run=dry_run,
    )


def _answered(reply: Reply) -> Answered:
    result = _result(reply, reply.frozen.preview if reply.frozen else "", dry_run=False)
    lines = [head_line(result)]
    lines += [f"{f.operation} {f.path} +{f.added_lines} -{f.removed_lines}" for f in result.files]
    if result.undo_id is not None:
        lines.append(f"undo with undo_id {result.undo_id}")
    return Answered(result, "\n".join(lines + tail_lines(result)), is_error(reply))
