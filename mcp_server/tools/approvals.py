"""The `approval_status` tool: wait for a human's answer, and carry on with the call that waits.

May touch: the approval desk, for reading, and the road. There is no tool that approves.
"""

from typing import TYPE_CHECKING

from anyio import to_thread
from pydantic import Field

from approvals.request import NotPending, Pending, State
from audit.log import Receipt
from mcp_server.app import App
from mcp_server.approver import reason_of
from mcp_server.client import Client
from mcp_server.owner import CallRefusedError
from mcp_server.present import receipt_result
from mcp_server.records import by
from mcp_server.results import ApprovalStatusResult
from mcp_server.tool import Answered, AnyTool, Arguments, Tool

if TYPE_CHECKING:
    from mcp_types import InputRequiredResult


class ApprovalStatusArguments(Arguments):
    """Arguments of `approval_status`."""

    approval_id: str = Field(pattern=r"^ap_[0-9a-f]{1,64}$")
    wait_s: float = Field(default=0, ge=0, le=300, description="How long to wait for an answer.")


def tools(app: App) -> list[AnyTool]:
    """Return the tools of this family."""

    async def approval_status(
        arguments: ApprovalStatusArguments, client: Client
    ) -> "Answered | InputRequiredResult":
        approval_id = arguments.approval_id
        unknown = CallRefusedError(f"There is no request {approval_id} of this session.")
        try:
            pending = await to_thread.run_sync(app.desk.get, approval_id)
        except NotPending:
            raise unknown from None
        if pending.question.session != app.caller.session:
            raise unknown
        receipt = await app.journal.append(
            {
                "event": "approval.read",
                **by(app.caller.subject(client), "approval_status"),
                "approval": {"id": approval_id},
            }
        )
        state = pending.state
        if state is State.PENDING:
            state = await app.approver.wait(pending, arguments.wait_s)
        parked = app.road.parked(approval_id, app.caller.session)
        if state is not State.APPROVED or parked is None:
            now = await to_thread.run_sync(app.desk.get, approval_id)
            return _state_only(now, receipt)
        answered = await app.road.take(parked.call, client, parked.shape)
        if not isinstance(answered, Answered):
            return answered
        after = await to_thread.run_sync(app.desk.get, approval_id)
        result = ApprovalStatusResult(
            approval_id=approval_id,
            state=after.state.value,
            reason=None,
            result=answered.result.model_dump(mode="json"),
            receipt=receipt_result(receipt),
        )
        return Answered(result, answered.text, answered.is_error)

    return [
        Tool(
            "approval_status",
            "Wait for an approval",
            "Say what became of a call that waits for a human (`pending`), waiting up to wait_s "
            "seconds. Once a human said yes, this runs the waiting call, once, and returns its "
            "result.",
            ApprovalStatusArguments,
            ApprovalStatusResult,
            "changes",
            approval_status,
        )
    ]


def _state_only(pending: Pending, receipt: Receipt) -> Answered:
    state, reason = pending.state, reason_of(pending)
    result = ApprovalStatusResult(
        approval_id=pending.id,
        state=state.value,
        reason=reason or None,
        result=None,
        receipt=receipt_result(receipt),
    )
    more = " Repeat the identical call to run it." if state is State.APPROVED else ""
    more += f" They said: {reason}" if reason else ""
    return Answered(result, f"{pending.id} is {state.value}.{more}")
