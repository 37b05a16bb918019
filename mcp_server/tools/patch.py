"""The `patch` tool: change files as one set, by a diff or by exact edits.

May touch: the gate, through the app; the sandbox's planner, which reads files only after policy has
seen their paths.
"""

from typing import TYPE_CHECKING, Self

from anyio import to_thread
from pydantic import Field, model_validator

from mcp_server.app import App
from mcp_server.calls import Call, Frozen, Reply, Status, Unrunnable
from mcp_server.client import Client
from mcp_server.duties import bounded, landed
from mcp_server.owner import CallRefusedError
from mcp_server.present import call_fields, head_line, is_error, tail_lines
from mcp_server.redaction import without_words
from mcp_server.results import FileChangeResult, PatchResult, RefusedFileResult
from mcp_server.tool import Answered, AnyTool, Arguments, Tool
from policy.classify import classify
from policy.model import Decision, Effect, Obligations, Patch, Read, Request
from sandbox.action import Landing, NewContent, PatchFiles
from sandbox.changes.filter import Layers, bounds, grouped, guarded
from sandbox.changes.model import Change, Found, Operation
from sandbox.outcome import PatchOutcome
from sandbox.patches.edits import Edit
from sandbox.patches.plan import PatchRefused, named_paths, plan, preview

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
    partial: bool = Field(
        default=False, description="Change the files that fit; else one misfit refuses all."
    )
    reason: str = Field(default="", max_length=2000, description="Why; shown to the human.")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.diff is None) == (self.edits is None):
            raise ValueError("give exactly one of diff and edits")
        return self


def tools(app: App) -> list[AnyTool]:
    """Return the tools of this family."""

    async def patch(arguments: PatchArguments, client: Client) -> "Answered | InputRequiredResult":
        change = _PatchCall(app, arguments, client)
        if arguments.dry_run:
            return await change.dry_run()
        return await change.run()

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
        self._partial = arguments.partial
        self._refused: tuple[PatchRefused, ...] = ()
        named = named_paths(self._change, partial=arguments.partial)
        if isinstance(named, PatchRefused):
            raise CallRefusedError(f"{named.place}: {named.message}")
        changes = tuple(
            (OPERATIONS[operation], str(app.caller.path(f"{self._root}/{path}")))
            for operation, path in named
        )
        self._request = Request(app.caller.subject(client), Patch(changes), "patch")

    async def run(self) -> "Answered | InputRequiredResult":
        call = Call(self._request, self._context, self._freeze, self._reason)
        return await self._app.road.take(call, self._client, self._answered)

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
        result = self._result(reply, diff, dry_run=True)
        if isinstance(frozen, Frozen):
            result = result.model_copy(update={"status": "ok"})
        lines = [f"would be {decision.effect.name.lower()}", result.diff, *tail_lines(result)]
        return Answered(result, "\n".join(lines), not isinstance(frozen, Frozen))

    async def _freeze(self, decision: Decision) -> Frozen | Unrunnable:
        planned = await to_thread.run_sync(self._planned, decision.policy_digest)
        if isinstance(planned, PatchRefused):
            return Unrunnable("blocked", f"{planned.place}: {planned.message}")
        shown = await to_thread.run_sync(preview, planned)
        if isinstance(shown, PatchRefused):
            return Unrunnable("blocked", f"{shown.place}: {shown.message}")
        facts = [("root", self._root), ("host", self._context.host)]
        facts += [("changes", f"{file.path}") for file in planned.files]
        facts += [("left-out", f"{one.path} ({one.place}): {one.message}") for one in self._refused]
        held = await to_thread.run_sync(_held, planned, decision.obligations)
        return Frozen(planned, tuple(facts), preview=shown, needs_yes=held)

    def _planned(self, policy_digest: str) -> PatchFiles | PatchRefused:
        """Return what would be changed; of a partial patch the files that fit, if any does."""
        given, may = (self._root, self._change, policy_digest), self._may_read
        if not self._partial:
            return plan(*given, may_read=may)
        part = plan(*given, partial=True, may_read=may)
        if isinstance(part, PatchRefused):
            return part
        self._refused = part.refused
        if part.action is not None:
            return part.action
        lines = "; ".join(f"{one.place}: {one.message}" for one in part.refused)
        return PatchRefused("no file", f"none of them fits: {lines}")

    def _may_read(self, path: str) -> bool:
        """Return whether the agent could read a file itself, so that a refusal may quote it."""
        request = Request(self._request.subject, Read("fs.read", path), "read_file")
        return classify(request, self._app.policy, self._context).effect is Effect.ALLOW

    def _result(self, reply: Reply, diff: str, *, dry_run: bool) -> PatchResult:
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
            refused=[
                RefusedFileResult(path=one.path, place=one.place, message=one.message)
                for one in self._refused
            ],
            diff=without_words(
                self._app.redactor.redact_text(diff), reply.decision.obligations.redact
            )[:SHOWN_DIFF_CHARACTERS],
            undo_id=outcome.undo_id if outcome else None,
            dry_run=dry_run,
        )

    def _answered(self, reply: Reply) -> Answered:
        result = self._result(reply, reply.frozen.preview if reply.frozen else "", dry_run=False)
        lines = [head_line(result)]
        lines += [
            f"{f.operation} {f.path} +{f.added_lines} -{f.removed_lines}" for f in result.files
        ]
        lines += [f"left out {one.path}, {one.place}: {one.message}" for one in result.refused]
        if result.undo_id is not None:
            lines.append(f"undo with undo_id {result.undo_id}")
        return Answered(result, "\n".join(lines + tail_lines(result)), is_error(reply))


def _held(planned: PatchFiles, obligations: Obligations) -> str:
    """Return why a person should see this patch although the rules allow it; "" where none does."""
    found = Found(tuple(map(_change, planned.files)))
    reasons = [
        *bounds(found, landed(Landing(), obligations)),
        *grouped(guarded(found, Layers("", planned.root)).items()),
    ]
    return "; ".join(f"{why.text}: {', '.join(why.paths)}".rstrip(": ") for why in reasons)


def _change(file: NewContent) -> Change:
    operation: Operation = "modified"
    if file.before_sha256 is None:
        operation = "created"
    elif file.after is None:
        operation = "deleted"
    return Change(file.path, operation, "file", bytes_after=len(file.after or b""))
