"""The connection a call came in on, as approval sees it: who calls, and can its human be asked.

May touch: nothing; mcp_server/elicit.py is the real one behind MCP. Answers that come through the
agent's own client prove little (level 1), and an impossible speed proves that no human read it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import anyio

from approvals.scope import Scope, Terms

if TYPE_CHECKING:
    from mcp_types import InputRequiredResult  # loads slowly; the command line does without

# No human reads a request and answers in less; seen only from clients that answer by themselves.
FASTEST_HUMAN_S = 0.3

Word = Literal["approve", "approve-for-session", "deny", "cancel", "malformed", "unavailable"]
Answer = Word | Terms  # terms: yes, and a grant besides


@dataclass(frozen=True, slots=True)
class Form:
    """What the human is shown, and what a yes may stand for besides this once."""

    text: str
    has_session: bool = False
    scopes: tuple[Scope, ...] = ()


@dataclass(frozen=True, slots=True)
class Resumed:
    """A 2026-07-28 client calling again: which request it answers, and how."""

    approval_id: str
    answer: Answer | None  # None: it called again without an answer


class Client(Protocol):
    """What approval needs from the connection a call came in on."""

    @property
    def name(self) -> str:
        """Return the client's own name, as it gave it."""
        ...

    @property
    def can_be_asked(self) -> bool:
        """Return whether the client can show a form and send the answer back."""
        ...

    @property
    def resumed(self) -> Resumed | None:
        """Return the request this call answers, if it is a second round."""
        ...

    async def ask(self, approval_id: str, form: Form) -> "Answer | InputRequiredResult":
        """Return the answer, or what to return so that the client calls again with one."""
        ...

    async def keep_alive(self, text: str) -> None:
        """Report progress until cancelled, so that the client does not give up waiting."""
        ...


class NoClient:
    """A caller without a channel back: the command line."""

    name = "cli"
    can_be_asked = False
    resumed = None

    async def ask(self, approval_id: str, form: Form) -> "Answer | InputRequiredResult":
        """Return that nobody can be asked here."""
        return "unavailable"

    async def keep_alive(self, text: str) -> None:
        """Wait to be cancelled; there is nobody to keep alive."""
        await anyio.sleep_forever()
