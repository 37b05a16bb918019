"""Going back to a restore point, down the road; for the owner's command line, not for agents.

May touch: the gate, through the app; the change store, to see what going back means.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread
from pydantic import Field

from mcp_server.app import App
from mcp_server.calls import Call, Frozen
from mcp_server.client import Client
from mcp_server.tool import Answered, Arguments
from mcp_server.tools.change_sets import listed, pairs, taken
from policy.model import Decision, Request, Undo
from sandbox.action import RestoreChanges
from sandbox.changes import points
from sandbox.changes.run import made, plan_digest

if TYPE_CHECKING:
    from mcp_types import InputRequiredResult


class RestoreArguments(Arguments):
    """Arguments of `permitgate changes restore`."""

    name: str = Field(min_length=1, max_length=100)
    reason: str = ""


async def restore_to(
    app: App, arguments: RestoreArguments, root: str, client: Client
) -> "Answered | InputRequiredResult":
    """Take the way back to a named moment down the road.

    Raises:
        SandboxError: there is no such moment, or it is out of reach.
    """
    plan = await to_thread.run_sync(points.restore_plan, app.runners.changes, arguments.name, root)
    context = app.caller.context(app.caller.workspace(Path(root)))
    changes = made(plan)

    async def freeze(decision: Decision) -> Frozen:
        digest = plan_digest(plan)
        action = RestoreChanges(arguments.name, root, digest, decision.policy_digest)
        facts = (
            ("restore-point", arguments.name),
            ("root", root),
            ("host", context.host),
            ("plan-sha256", digest),
            *listed("makes", changes),
        )
        return Frozen(action, facts)

    request = Request(
        app.caller.subject(client), Undo(arguments.name, pairs(app, context, changes)), "restore"
    )
    return await taken(app, Call(request, context, freeze, arguments.reason), client)
