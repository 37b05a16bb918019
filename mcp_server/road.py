"""From a tool to the gate and back: every gated tool answers through here.

May touch: the gate. Keeps calls that wait for a human, so that `approval_status` can take exactly
the same call down the road again once there is a yes.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcp_server.calls import Call, Reply
from mcp_server.client import Client
from mcp_server.gate import Gate
from mcp_server.tool import Answered

if TYPE_CHECKING:
    from mcp_types import InputRequiredResult

MAX_PARKED = 100

Shape = Callable[[Reply], Answered]


@dataclass(frozen=True, slots=True)
class Parked:
    """A call that waits for a human, and how its result is shaped."""

    call: Call
    shape: Shape


class Road:
    """Takes calls to the gate and shapes what comes back."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._parked: OrderedDict[str, Parked] = OrderedDict()

    async def take(
        self, call: Call, client: Client, shape: Shape
    ) -> "Answered | InputRequiredResult":
        """Return the shaped result, or what the client must be asked first."""
        reply = await self._gate.handle(call, client)
        if reply.suspended is not None:
            return reply.suspended
        if reply.status == "pending":
            self._parked[reply.approval_id] = Parked(call, shape)
            while len(self._parked) > MAX_PARKED:
                self._parked.popitem(last=False)
        else:
            self._parked.pop(reply.approval_id, None)
        return shape(reply)

    def parked(self, approval_id: str, session: str) -> Parked | None:
        """Return the waiting call of one's own session; another's is unknown."""
        parked = self._parked.get(approval_id)
        if parked is None or parked.call.request.subject.session != session:
            return None
        return parked
