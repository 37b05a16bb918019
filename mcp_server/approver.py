"""Step 5 of the road: one question to whoever may answer it, and at most one yes to run with.

May touch: the approval desk and the calling client. INVARIANT: only `Approved` carries an approval,
and its approval is already consumed: burnt for this action digest whatever happens next.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from approvals.desk import Desk, wait_resolved
from approvals.grants import FOR_SESSION
from approvals.request import (
    Answer,
    Approval,
    ApprovalError,
    Level,
    Need,
    NotPending,
    Pending,
    Principal,
    Question,
    State,
)
from approvals.scope import Terms
from approvals.terminal_view import as_lines
from mcp_server.calls import Call, Frozen
from mcp_server.client import Answer as ClientAnswer
from mcp_server.client import Client, Form, Resumed
from mcp_server.config import ApprovalSettings, ServerSettings
from mcp_server.questions import question_for
from mcp_server.reach import Channel, Reach, lacking, reach
from policy.model import Decision

if TYPE_CHECKING:
    from mcp_types import InputRequiredResult

    from mcp_server.approval_server import ApprovalServer


@dataclass(frozen=True, slots=True)
class Approved:
    """A human's yes, consumed for exactly the action with this digest."""

    approval: Approval
    action_digest: str


@dataclass(frozen=True, slots=True)
class Refused:
    """No yes, and none will come for this request."""

    reason: str
    approval_id: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nobody answered yet; the request stays open."""

    approval_id: str


@dataclass(frozen=True, slots=True)
class Suspended:
    """The client must be asked by returning; it will call again (2026-07-28)."""

    result: "InputRequiredResult"


Verdict = Approved | Refused | Waiting | Suspended
NOBODY_ASKED = (
    "This needs a human's yes, and nobody is asked: `headless` is deny. Nothing ran. The owner can "
    "grant it beforehand, or run it with --headless wait or exit."
)


class Approver:
    """Asks through the configured channels that reach the level an action needs."""

    def __init__(
        self,
        desk: Desk,
        settings: ApprovalSettings,
        owner: tuple[int, Callable[[str], str]],
    ) -> None:
        """Build an approver; `owner` is the uid that may answer and what hides its secrets."""
        self._desk = desk
        self._settings = settings
        self._uid, self._redact = owner
        self._server = None if settings.server is None else _server(desk, settings.server, owner[0])

    async def decide(
        self, call: Call, decision: Decision, frozen: Frozen, client: Client
    ) -> Verdict:
        """Return the verdict on one frozen action; a yes is consumed before it is returned."""
        question = question_for(call, decision, frozen, self._settings, self._redact)
        try:
            now, granted = await to_thread.run_sync(self._looked_up, question, client.resumed)
            if granted is not None:
                return Approved(granted, question.action_digest)
            verdict = await self._asked(question, client, now)
            if isinstance(verdict, Approved) and verdict.approval.for_session:
                pending = await to_thread.run_sync(self._desk.get, verdict.approval.id)
                await to_thread.run_sync(self._desk.grants.make, pending, FOR_SESSION)
        except ApprovalError as error:
            return Refused(str(error))
        return verdict

    async def wait(self, pending: Pending, wait_s: float) -> State:
        """Return the state of a waiting request once it is answered, here or elsewhere.

        PENDING when that many seconds passed; with 0, what is known by now.
        """
        server = self._server
        if server is None or not _is_for_elsewhere(pending.question.need):
            return await wait_resolved(self._desk, pending.id, deadline_s=wait_s)

        async def follow() -> None:
            with suppress(ApprovalError):  # a refusal there leaves it to whoever answers here
                await server.follow(pending)

        with suppress(ApprovalError):
            await server.ask(pending, is_alone=False)
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await wait_resolved(self._desk, pending.id, deadline_s=wait_s)
            group.cancel_scope.cancel()
        return (await to_thread.run_sync(self._desk.get, pending.id)).state

    def _looked_up(
        self, question: Question, resumed: Resumed | None
    ) -> tuple[Reach, Approval | None]:
        """Return who could answer now, and the yes of a grant if one covers the question."""
        now = reach(self._settings)
        # Whoever was asked in a first round is heard in the second, a no above all.
        if resumed is None and question.need.level <= now.highest:
            return now, self._desk.covered(question)
        return now, None

    async def _asked(self, question: Question, client: Client, now: Reach) -> Verdict:
        if self._settings.headless == "deny" and question.requester.channel == "cli":
            return Refused(NOBODY_ASKED)
        channels = self._channels(question, client, now)
        if not channels:
            return Refused(_nobody(question, now))
        pending = await to_thread.run_sync(self._request, question, client.resumed)
        if pending is None:
            return Refused("The call answers another request; call again afresh.")
        if self._server is not None and "server" in channels and pending.state is State.PENDING:
            await self._server.ask(pending, is_alone=list(channels) == ["server"])
            pending = await to_thread.run_sync(self._desk.get, pending.id)
        if pending.state is State.PENDING:
            suspended = await self._answered(pending, channels, client)
            if suspended is not None:
                return suspended
            pending = await to_thread.run_sync(self._desk.get, pending.id)
        return await self._verdict(pending, question)

    def _request(self, question: Question, resumed: Resumed | None) -> Pending | None:
        """Return the request to answer; None when a second round answers a different one.

        A second round never opens a request: a yes that is replayed finds the old one spent.
        """
        if resumed is None:
            return self._desk.open(question)
        pending = self._desk.get(resumed.approval_id)
        asked = (pending.question.action_digest, pending.question.session)
        return pending if asked == (question.action_digest, question.session) else None

    def _channels(self, question: Question, client: Client, now: Reach) -> Sequence[Channel]:
        """Return the channels whose level suffices and that can answer now."""
        if lacking(now.people, question.need, self._settings.roles):
            return []
        return [
            channel
            for channel, level in now.levels.items()
            if question.need.level <= level
            and (channel != "elicitation" or client.can_be_asked)
            and (channel != "server" or _is_for_elsewhere(question.need))
        ]

    async def _answered(
        self, pending: Pending, channels: Sequence[Channel], client: Client
    ) -> Verdict | None:
        """Hear the channels; None when the desk now knows all that was answered."""
        resumed = client.resumed
        if resumed is None:
            answer = await self._heard(pending, channels, client)
        elif resumed.answer is None:
            return Refused("The call answers no question; call again afresh.", pending.id)
        elif resumed.answer == "unavailable" and _elsewhere(channels):
            answer = await self._heard(pending, _elsewhere(channels), client)
        else:
            answer = resumed.answer
        if answer is not None and not isinstance(answer, str | Terms):
            return Suspended(answer)
        if answer == "unavailable":
            return Refused("The client answered faster than a person can read.", pending.id)
        if answer is not None:
            await self._record(pending, answer, client)
        return None

    async def _heard(
        self, pending: Pending, channels: Sequence[Channel], client: Client
    ) -> "ClientAnswer | InputRequiredResult | None":
        """Return the client's answer; None when another channel answered or time is up."""
        try:
            with anyio.move_on_after(self._settings.wait_s):
                return await self._first_answer(pending, channels, client)
        except ExceptionGroup as group:
            # The desk's refusal comes out of the waiting tasks wrapped; it is still just a no.
            refusals, others = group.split(ApprovalError)
            if refusals is None or others is not None:
                raise
            raise ApprovalError(str(refusals.exceptions[0])) from None
        return None

    async def _first_answer(
        self, pending: Pending, channels: Sequence[Channel], client: Client
    ) -> "ClientAnswer | InputRequiredResult | None":
        """Ask the client while the desk is watched for an answer from elsewhere."""
        answer: ClientAnswer | InputRequiredResult | None = None
        text = f"waiting for approval {pending.id}: {self._where(pending.id, channels)}"
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await wait_resolved(self._desk, pending.id, deadline_s=self._settings.wait_s)
                group.cancel_scope.cancel()

            group.start_soon(watch)
            if self._server is not None and "server" in channels:
                group.start_soon(self._server.follow, pending)
            group.start_soon(client.keep_alive, text)
            if "elicitation" in channels:
                form = await to_thread.run_sync(self._form, pending)
                answer = await client.ask(pending.id, form)
            if answer is None or (answer == "unavailable" and _elsewhere(channels)):
                answer = None
                await anyio.sleep_forever()
            group.cancel_scope.cancel()
        return answer

    def _form(self, pending: Pending) -> Form:
        question = pending.question
        offered = self._desk.offer_lines(pending, "chosen under grant in the form")
        text = "\n".join((*as_lines(pending), *offered))
        scopes = tuple(offer.scope for offer in question.offers)
        return Form(text, bool(question.for_session), scopes)

    def _where(self, request_id: str, channels: Sequence[Channel]) -> str:
        """Return where it can be answered."""
        here = "" if list(channels) == ["server"] else f"permitgate approvals show {request_id}"
        there = self._settings.server.url if self._settings.server and "server" in channels else ""
        return ", or ".join(filter(None, (here, there)))

    async def _record(self, pending: Pending, answer: ClientAnswer, client: Client) -> None:
        """Put the client's answer on the desk as a client-attested vote."""
        principal = Principal("elicitation", self._uid, f"client:{client.name}", Level.ATTESTED)
        seen = pending.request_digest
        try:
            if isinstance(answer, Terms):
                await to_thread.run_sync(self._desk.grant, pending.id, answer, principal, seen)
            elif answer in ("approve", "approve-for-session", "deny"):
                vote = Answer(answer)
                await to_thread.run_sync(self._desk.vote, pending.id, vote, principal, seen)
            else:
                await to_thread.run_sync(self._desk.cancel, pending.id)
        except NotPending:
            return  # another channel was first; the desk says what became of it

    async def _verdict(self, pending: Pending, question: Question) -> Verdict:
        if pending.state is State.APPROVED:
            approval = await to_thread.run_sync(
                self._desk.consume, pending.id, question.action_digest, question.session
            )
            return Approved(approval, question.action_digest)
        if pending.state is State.PENDING:
            return Waiting(pending.id)
        said = f" They said: {reason}" if (reason := reason_of(pending)) else ""
        return Refused(f"The request was {pending.state.value}.{said}", pending.id)


def _nobody(question: Question, now: Reach) -> str:
    return (
        f"No approver can be reached: this needs level {question.need.level.name.lower()}, and "
        f"of the configured channels ({now.named}) none "
        "reaches it from here. See `approvals.channels` in docs/configuration.md."
    )


def _is_for_elsewhere(need: Need) -> bool:
    """Return whether people elsewhere may answer: nobody's role is known there."""
    return need.level <= Level.SEPARATE and not need.roles


def _server(desk: Desk, settings: ServerSettings, uid: int) -> "ApprovalServer":
    from mcp_server.approval_server import ApprovalServer  # noqa: PLC0415  # loads slowly

    return ApprovalServer(desk, settings, uid)


def _elsewhere(channels: Sequence[Channel]) -> Sequence[Channel]:
    """Return the channels that do not go through the agent's own client."""
    return [channel for channel in channels if channel != "elicitation"]


def reason_of(pending: Pending) -> str:
    """Return what the person who denied a request said to the agent; empty without words."""
    said = (vote.reason for vote in pending.votes if vote.answer is Answer.DENY)
    return next(filter(None, said), "")
