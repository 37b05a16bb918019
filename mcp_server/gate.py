"""The policy enforcement point: the only road from a tool call to the host.

May touch: the four rooms, through the protocols below. May not touch: the host itself.
The eleven numbers in `Gate.handle` are the argument of docs/threat-model.md: nothing runs before it
was decided, approved where policy says so, permitted once, and written down.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, assert_never

import anyio

from audit.canonical import Json
from audit.errors import AuditError
from audit.log import Receipt
from mcp_server.approver import Approved, Refused, Suspended, Verdict, Waiting
from mcp_server.calls import Call, Frozen, Reply, Unrunnable
from mcp_server.client import Client
from mcp_server.duties import bounded
from mcp_server.records import intent_record, outcome_record, refusal_record
from policy.model import Context, Decision, Effect, Exec, Request
from sandbox.action import Action, digest
from sandbox.outcome import Outcome
from sandbox.permit import Permit, PermitOffice, SandboxError, no_connection

RECORD_GRACE_S = 5.0
POLICY_CHANGED = "The policy changed while a human was asked. Nothing ran; call again."


# With the globs that rules hide, and the environment entries that the call set.
Redact: TypeAlias = Callable[[Outcome, tuple[str, ...], tuple[tuple[str, str], ...]], Outcome]


class Journal(Protocol):
    """Where intents and outcomes are kept."""

    async def append(self, record: Mapping[str, Json], *, is_outcome: bool = False) -> Receipt:
        """Return once the record is on disk.

        Raises:
            AuditError: it is not on disk, and nothing may run on the strength of it.
        """
        ...


class Asker(Protocol):
    """Whoever can get an answer from a human."""

    async def decide(
        self, call: Call, decision: Decision, frozen: Frozen, client: Client
    ) -> Verdict:
        """Return the verdict; anything but a consumed approval is a no."""
        ...


class Runner(Protocol):
    """Whatever carries out a permit inside its limits."""

    async def run(self, permit: Permit) -> Outcome:
        """Run to the end, the time limit or cancellation; leave no process behind."""
        ...


@dataclass(frozen=True, slots=True)
class Rooms:
    """The four rooms, as the gate sees them."""

    classify: Callable[[Request, Context], Decision]
    asker: Asker
    office: PermitOffice
    journal: Journal
    runner: Runner
    redact: Redact


class Gate:
    """Takes each call through decide, approve, permit, record, run, record."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def handle(self, call: Call, client: Client) -> Reply:
        """Carry out one call if, and only if, it is allowed and its intent is on disk.

        A denial, a refused approval and a full log disk are replies, not exceptions.
        """
        # 1 request: the tool parsed its arguments strictly into `call.request`.
        # 2 parse, 3 footprint, 4 decide: one pure function; an error inside it is a DENY.
        decision = self._rooms.classify(call.request, call.context)
        reply = Reply(secrets.token_hex(8), "denied", decision)
        if decision.effect is Effect.DENY:
            return await self._refused(call, reply, decision.reason)
        frozen = bounded(await call.freeze(decision), decision)
        if isinstance(frozen, Unrunnable):
            return await self._refused(call, replace(reply, status=frozen.status), frozen.message)
        reply = replace(reply, frozen=frozen)
        # 5 approve: only what asks, or what would run less confined than its class of command.
        if decision.effect is Effect.ASK or frozen.needs_yes:
            verdict = await self._rooms.asker.decide(call, decision, frozen, client)
            if not isinstance(verdict, Approved):
                return await self._unapproved(call, reply, verdict)
            reply = replace(reply, approval=verdict.approval, approval_id=verdict.approval.id)
            # The yes was to what another policy decided: it is spent, and permits nothing.
            now = self._rooms.classify(call.request, call.context)
            if now.policy_digest != decision.policy_digest:
                return await self._refused(call, replace(reply, status="declined"), POLICY_CHANGED)
            return await self._permitted(call, reply, frozen.action, verdict.action_digest)
        return await self._permitted(call, reply, frozen.action, digest(frozen.action))

    async def _permitted(self, call: Call, reply: Reply, action: Action, approved: str) -> Reply:
        # 6 permit: for this action digest, once; a consumed approval was for the same one. It
        # takes policy's word on each connection along.
        frozen = reply.frozen
        reach = frozen.connections if frozen is not None else None
        try:
            permit = self._rooms.office.issue(
                action,
                approved_digest=approved,
                approval_id=reply.approval_id or None,
                session=call.request.subject.session,
                connects=reach.asks(has_yes=reply.approval is not None) if reach else no_connection,
            )
        except SandboxError as error:
            return await self._refused(call, replace(reply, status="error"), str(error))
        # 7 intent: on disk before anything runs. No disk, no execution.
        try:
            receipt = await self._rooms.journal.append(intent_record(call, reply, permit))
        except AuditError as error:
            message = f"The audit log cannot be written, so nothing ran: {error}"
            return replace(reply, status="error", message=message)
        return await self._run(call, replace(reply, receipt=receipt), permit)

    async def _run(self, call: Call, reply: Reply, permit: Permit) -> Reply:
        ended = replace(reply, status="error", message="interrupted; every process was killed")
        try:
            # 8 run, 9 redact: what leaves the runner is redacted before anyone else sees it.
            seen = await self._rooms.runner.run(permit)
            asked = call.request.action
            entries = asked.env if isinstance(asked, Exec) else ()
            outcome = self._rooms.redact(seen, reply.decision.obligations.redact, entries)
            ended = replace(reply, status="ran", outcome=outcome, message="")
        except SandboxError as error:
            ended = replace(reply, status="error", message=str(error))
        finally:
            # 10 outcome: the intent is on disk, so an outcome must follow even if the client
            # hung up. If this fails too, the next start writes `lost`.
            with anyio.move_on_after(RECORD_GRACE_S, shield=True):
                ended = await self._recorded(call, ended, outcome_record(call, ended))
        # 11 respond
        return ended

    async def _unapproved(
        self, call: Call, reply: Reply, verdict: Refused | Waiting | Suspended
    ) -> Reply:
        match verdict:
            case Suspended(result=result):
                # Nothing was decided yet, and the same call comes again: no record for this round.
                return replace(reply, status="suspended", suspended=result)
            case Waiting(approval_id=approval_id):
                waiting = replace(reply, status="pending", approval_id=approval_id)
                return await self._refused(
                    call,
                    waiting,
                    f"Waiting for a human: approval {approval_id}. The owner answers with "
                    f"`permitgate approvals show {approval_id}`; then call approval_status, or "
                    "repeat the identical call. Nothing ran.",
                )
            case Refused(reason=reason, approval_id=approval_id):
                declined = replace(reply, status="declined", approval_id=approval_id)
                return await self._refused(call, declined, reason)
            case other:
                assert_never(other)

    async def _refused(self, call: Call, reply: Reply, message: str) -> Reply:
        """Record a call that does not run; a log that cannot be written changes nothing for it."""
        ended = replace(reply, message=message)
        return await self._recorded(call, ended, refusal_record(call, ended))

    async def _recorded(self, call: Call, reply: Reply, record: Mapping[str, Json]) -> Reply:
        try:
            receipt = await self._rooms.journal.append(record, is_outcome=True)
        except AuditError as error:
            note = f"This could not be written to the audit log: {error}"
            return replace(reply, message=f"{reply.message} {note}".strip())
        return replace(reply, receipt=receipt)
