"""What people are told of a request that waits: a few bounded lines and a link that grants nothing.

May touch: text. INVARIANT: a notice holds no digest and no token, so nobody can answer with what
is in it; what came from the agent is printable ASCII that links to nothing and calls nobody.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from approvals.request import Pending, State
from approvals.statement import visible

MAX_SUMMARY = 160
MAX_NAME = 80
Kind = Literal["opened", "answered", "test"]
# Once approved, what becomes of the yes is no news for whoever could have given it.
_ANSWERED = {
    State.DENIED: "denied",
    State.EXPIRED: "expired",
    State.CANCELLED: "cancelled",
}
_LINES = (
    ("summary", "{}"),
    ("requester", "asked by {}"),
    ("level", "needs a yes of level {}"),
    ("expires", "until {}"),
    ("link", "{}"),
)
# What chats make a link, a mention or a tag of.
_LIVELY = re.compile(r"<|@|:(?=//)|(?<=\])\(")


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell; `id` is the same however often it is told."""

    kind: Kind
    id: str
    at_ms: int
    title: str
    data: Mapping[str, object]

    def body(self) -> bytes:
        """Return the notice as JSON, in the form that Standard Webhooks recommends."""
        event = {
            "type": f"approval.{self.kind}",
            "timestamp": _utc(self.at_ms),
            "data": dict(self.data),
        }
        return json.dumps(event, separators=(",", ":")).encode("ascii")

    def text(self) -> str:
        """Return the notice as lines for people; the link, where there is one, comes last."""
        return "\n".join(
            line.format(self.data[name]) for name, line in _LINES if self.data.get(name)
        )


def opened(pending: Pending, page: str) -> Notice:
    """Return the news that a request waits; `page` is where its page is shown, or empty."""
    return Notice(
        kind="opened",
        id=f"{pending.id}-opened",
        at_ms=pending.created_ms,
        title=f"A person's yes is asked for: {inert(pending.question.tool, MAX_NAME)}",
        data=_data(pending, page),
    )


def answered(pending: Pending, page: str, now_ms: int) -> Notice:
    """Return the news that a request waits no more."""
    state = _ANSWERED.get(pending.state, "approved")
    return Notice(
        kind="answered",
        id=f"{pending.id}-answered",
        at_ms=now_ms,
        title=f"{pending.id} is {state}",
        data=_data(pending, page) | {"state": state},
    )


def trial(nonce: str, page: str, now_ms: int) -> Notice:
    """Return a notice that asks for nothing."""
    said = "This is a test by the owner of this Permitgate. Nothing waits."
    data = {"summary": said, "link": f"{page}/" if page else None}
    return Notice("test", f"test-{nonce}", now_ms, "Permitgate: a test", data)


def inert(text: str, max_chars: int) -> str:
    r"""Return `text` as `visible` does, and `<`, `@`, `://` and `](` escaped too."""
    return _LIVELY.sub(lambda found: f"\\x{ord(found.group()):02x}", visible(text, max_chars))


def _data(pending: Pending, page: str) -> dict[str, object]:
    question = pending.question
    return {
        "id": pending.id,
        "state": pending.state.value,
        "tool": inert(question.tool, MAX_NAME),
        "summary": inert(" ".join(question.facts[0]), MAX_SUMMARY) if question.facts else "",
        "requester": inert(question.requester.identity, MAX_NAME),
        "level": question.need.level.name.lower(),
        "quorum": question.need.quorum,
        "expires": _utc(pending.expires_ms),
        "link": f"{page}/#{pending.id}" if page else None,
    }


def _utc(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return moment.isoformat().replace("+00:00", "Z")
