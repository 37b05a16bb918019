"""The road of one call, with a real desk of permits and hand-written rooms around it."""

import dataclasses
from collections.abc import Mapping

import anyio
import pytest
from mcp_types import InputRequiredResult

from approvals.request import Approval, Level
from audit.errors import AuditUnavailable
from audit.log import Receipt
from mcp_server.approver import Approved, Refused, Suspended, Waiting
from mcp_server.calls import Call, Frozen, Unrunnable
from mcp_server.client import NoClient
from mcp_server.gate import Gate, Rooms
from policy.model import (
    Access,
    Context,
    Decision,
    Effect,
    Exec,
    Executable,
    Obligations,
    Request,
    Subject,
    Verdict,
)
from policy.obligations import NONE
from sandbox.action import Command, Limits, digest
from sandbox.outcome import NO_OUTPUT, CommandOutcome, Enforcement
from sandbox.permit import PermitError, PermitOffice
from sandbox.profile import Profile

CONTEXT = Context("/w", "/home/dev", "dev", "host")
COMMAND = Command(
    argv=("ls",),
    script=None,
    verbatim=False,
    cwd="/w",
    env=(),
    stdin=None,
    profile=Profile("read", "/w"),
    limits=Limits(),
    pins=(),
    policy_digest="0" * 64,
)
OUTCOME = CommandOutcome(
    "ok",
    0,
    None,
    1,
    NO_OUTPUT,
    NO_OUTPUT,
    Enforcement("read", "namespaces", (("seccomp", "enforced"),)),
)
APPROVAL = Approval("ap_1", Level.ATTESTED, ("client:x@0 via elicitation",), "d" * 64)


def decision(effect: Effect, policy: str = "0" * 64, obligations: Obligations = NONE) -> Decision:
    verdict = Verdict(Access("fs.read", "/w"), effect, "rule", "p.yaml:1:1", "because")
    return Decision(
        effect, (verdict,), 1, "because", (), obligations, policy, Executable(argv=("ls",))
    )


class House:
    """All rooms around one gate; `story` is what happened, in order."""

    def __init__(self, effect: Effect = Effect.ALLOW, frozen: Frozen | Unrunnable | None = None):
        self.story: list[str] = []
        self.records: list[Mapping[str, object]] = []
        self.frozen = frozen or Frozen(COMMAND, (("command", "ls"),))
        self.verdict = Approved(APPROVAL, digest(COMMAND))
        self.full_disk_for: set[str] = set()
        self.failure: BaseException | None = None
        self.office = PermitOffice()
        self.effect, self.policy, self.obligations = effect, "0" * 64, NONE
        self.gate = Gate(
            Rooms(
                classify=lambda request, context: decision(
                    self.effect, self.policy, self.obligations
                ),
                asker=self,
                office=self.office,
                journal=self,
                runner=self,
                redact=self.redact,
            )
        )

    async def decide(self, call, decided, frozen, client):
        self.story.append("asked")
        return self.verdict

    async def append(self, record, *, is_outcome=False):
        event = str(record["event"]).partition(".")[2]
        if event in self.full_disk_for:
            raise AuditUnavailable("No space left on device")
        self.story.append(event)
        self.records.append(record)
        return Receipt("log", len(self.records), len(self.records), "00", "note")

    async def run(self, permit):
        self.story.append("run")
        if self.failure is not None:
            raise self.failure
        self.office.redeem(permit, Command)
        return OUTCOME

    def redact(self, outcome, globs, entries):
        self.story.append("redact")
        self.hidden = globs
        return outcome

    async def freeze(self, _):
        return self.frozen

    async def handle(self):
        request = Request(Subject("agent:x", "s", 0, "stdio"), Exec("ls", None, "/w"), "exec")
        return await self.gate.handle(Call(request, CONTEXT, self.freeze, "why"), NoClient())


async def test_an_allowed_call_is_recorded_before_and_after_it_runs():
    house = House()
    reply = await house.handle()
    assert house.story == ["intent", "run", "redact", "outcome"]
    assert reply.status == "ran"
    assert reply.outcome == OUTCOME
    assert reply.receipt is not None
    assert reply.receipt.seq == 2


async def test_a_denied_call_never_runs_and_is_recorded():
    house = House(Effect.DENY)
    reply = await house.handle()
    assert house.story == ["outcome"]
    assert reply.status == "denied"
    assert house.records[0]["outcome"] == {"status": "denied", "message": "because", "ran": False}


async def test_a_call_that_asks_runs_once_on_a_consumed_yes():
    house = House(Effect.ASK)
    reply = await house.handle()
    assert house.story == ["asked", "intent", "run", "redact", "outcome"]
    assert reply.approval == APPROVAL


async def test_an_allowed_call_that_would_leave_the_sandbox_asks_all_the_same():
    house = House(frozen=Frozen(COMMAND, (), needs_yes="outside the sandbox"))
    house.verdict = Refused("no")
    assert (await house.handle()).status == "declined"
    assert house.story == ["asked", "outcome"]


@pytest.mark.threat("T08")
@pytest.mark.parametrize(
    ("verdict", "status"), [(Refused("no", "ap_1"), "declined"), (Waiting("ap_1"), "pending")]
)
async def test_without_a_yes_nothing_runs(verdict, status):
    house = House(Effect.ASK)
    house.verdict = verdict
    reply = await house.handle()
    assert reply.status == status
    assert reply.approval_id == "ap_1"
    assert house.story == ["asked", "outcome"]


async def test_a_client_that_must_be_asked_first_leaves_no_trace_of_the_round():
    house = House(Effect.ASK)
    house.verdict = Suspended(InputRequiredResult(request_state="x"))
    reply = await house.handle()
    assert reply.suspended is not None
    assert house.story == ["asked"]


async def test_what_cannot_be_frozen_is_blocked_and_recorded():
    house = House(frozen=Unrunnable("blocked", "split it"))
    reply = await house.handle()
    assert (reply.status, reply.message) == ("blocked", "split it")
    assert house.story == ["outcome"]


@pytest.mark.threat("T02")
@pytest.mark.parametrize("effect", [Effect.ALLOW, Effect.ASK])
async def test_an_obligation_that_the_action_does_not_meet_blocks_it_before_anyone_is_asked(effect):
    house = House(effect)
    house.obligations = Obligations(sandbox=frozenset({"live"}), places=(("sandbox", "r at p:1"),))
    reply = await house.handle()
    assert (reply.status, house.story) == ("blocked", ["outcome"])
    assert "permits only live here (r at p:1). Nothing ran" in reply.message
    assert house.records[0]["policy"]["demands"] == {"sandbox": "live (r at p:1)"}


async def test_what_rules_hide_reaches_the_redactor_and_what_they_demand_the_statement():
    house = House()
    house.obligations = Obligations(redact=("ACME-*",), places=(("redact", "r at p:1"),))
    reply = await house.handle()
    assert house.hidden == ("ACME-*",)
    assert reply.frozen.facts[-1] == ("rule-demands", "redact ACME-* (r at p:1)")


@pytest.mark.threat("T06")
async def test_a_yes_to_another_action_permits_nothing():
    house = House(Effect.ASK)
    other = dataclasses.replace(COMMAND, argv=("rm", "-rf", "/"))
    house.verdict = Approved(APPROVAL, digest(other))
    reply = await house.handle()
    assert reply.status == "error"
    assert "approval_mismatch" in reply.message
    assert house.story == ["asked", "outcome"]


@pytest.mark.threat("T06")
async def test_a_yes_under_a_policy_that_changed_since_permits_nothing():
    house = House(Effect.ASK)
    asked = house.decide

    async def decide(*arguments):
        house.policy = "1" * 64
        return await asked(*arguments)

    house.decide = decide
    reply = await house.handle()
    assert reply.status == "declined"
    assert "policy changed" in reply.message
    assert house.story == ["asked", "outcome"]


@pytest.mark.threat("T16")
async def test_nothing_runs_when_the_intent_cannot_be_recorded():
    house = House()
    house.full_disk_for = {"intent"}
    reply = await house.handle()
    assert reply.status == "error"
    assert "nothing ran: No space left on device" in reply.message
    assert house.story == []


async def test_an_outcome_that_cannot_be_recorded_is_said():
    house = House()
    house.full_disk_for = {"outcome"}
    reply = await house.handle()
    assert reply.outcome == OUTCOME
    assert "could not be written to the audit log" in reply.message


async def test_a_runner_that_refuses_its_permit_is_an_error_with_an_outcome():
    house = House()
    house.failure = PermitError("approval_mismatch: a pinned file changed")
    reply = await house.handle()
    assert (reply.status, reply.message) == ("error", "approval_mismatch: a pinned file changed")
    assert house.story == ["intent", "run", "outcome"]


@pytest.mark.threat("T16")
async def test_a_client_that_hangs_up_still_gets_an_outcome_on_disk():
    house = House()

    async def run(permit):
        house.story.append("run")
        await anyio.sleep_forever()

    house.run = run
    house.gate = Gate(
        Rooms(lambda r, c: decision(Effect.ALLOW), house, house.office, house, house, house.redact)
    )
    with anyio.move_on_after(0.05) as scope:
        await house.handle()
    assert scope.cancelled_caught
    assert house.story == ["intent", "run", "outcome"]
    assert house.records[-1]["outcome"]["message"] == "interrupted; every process was killed"
