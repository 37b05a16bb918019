"""The values that travel the road: a call, its frozen action, and the reply.

May touch: nothing. Every step returns a new reply; none is changed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from policy.model import Context, Decision, Request
from sandbox.action import Action
from sandbox.outcome import Outcome

if TYPE_CHECKING:
    # The command line classifies and shows without loading these.
    from mcp_types import InputRequiredResult

    from approvals.request import Approval
    from audit.log import Receipt
    from mcp_server.connections import Connections

Status = Literal["ran", "denied", "declined", "pending", "suspended", "blocked", "error"]


@dataclass(frozen=True, slots=True)
class Frozen:
    """A decision made runnable: the exact action, and what a human is shown about it."""

    action: Action
    facts: tuple[tuple[str, str], ...]  # the statement's lines, every argument complete
    preview: str = ""
    needs_yes: str = ""  # why this asks although the rules allow it; empty: it does not
    least_level: int = 1  # the approval level the profile itself demands
    connections: "Connections | None" = None


@dataclass(frozen=True, slots=True)
class Unrunnable:
    """A decision that cannot become an action here; nothing runs."""

    status: Literal["blocked", "error"]
    message: str


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call: who asks for what, and how its decision becomes a frozen action."""

    request: Request
    context: Context
    freeze: Callable[[Decision], Awaitable[Frozen | Unrunnable]]
    reason: str = ""  # the agent's own words, shown and logged, never trusted


@dataclass(frozen=True, slots=True)
class Reply:
    """Everything known about one call when it ends."""

    action_id: str
    status: Status
    decision: Decision
    frozen: Frozen | None = None
    outcome: Outcome | None = None
    approval: "Approval | None" = None
    approval_id: str = ""
    receipt: "Receipt | None" = None
    message: str = ""
    suspended: "InputRequiredResult | None" = None
