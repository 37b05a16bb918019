"""The question a human is asked: exactly the frozen action, bounded, at the level it needs."""

from dataclasses import replace

import pytest

from approvals.request import Level
from mcp_server.calls import Frozen
from mcp_server.config import ApprovalSettings
from mcp_server.questions import PREVIEW_CHARACTERS, question_for
from policy.model import Effect, Obligations
from sandbox.action import digest
from tests.mcp_server.test_gate import COMMAND, decision
from tests.mcp_server.test_records import call


@pytest.mark.threat("T24")
def test_a_long_preview_keeps_its_head_and_tail_and_says_what_is_missing():
    frozen = Frozen(COMMAND, (), preview="a" * PREVIEW_CHARACTERS + "the end")
    question = question_for(call(), decision(Effect.ASK), frozen, ApprovalSettings(), str)
    assert len(question.preview) < PREVIEW_CHARACTERS + 100
    assert question.preview.endswith("the end")
    assert "characters left out" in question.preview


@pytest.mark.threat("T06")
def test_a_question_is_about_exactly_the_frozen_action():
    question = question_for(
        call(reason="why"), decision(Effect.ASK), Frozen(COMMAND, ()), ApprovalSettings(), str
    )
    assert question.action_digest == digest(COMMAND)
    assert (question.session, question.requester.name) == ("s", "agent:x")
    assert dict(question.facts)["agent-says"] == "why"


@pytest.mark.threat("T17")
def test_everything_that_is_shown_was_redacted_first():
    def redact(text: str) -> str:
        return text.replace("secret", "[redacted]")

    frozen = Frozen(COMMAND, (("command", "echo secret"),), preview="+secret")
    question = question_for(
        call(reason="a secret"), decision(Effect.ASK), frozen, ApprovalSettings(), redact
    )
    assert "secret" not in repr((question.facts, question.preview))
    assert question.action_digest == digest(COMMAND)


@pytest.mark.threat("T07")
@pytest.mark.parametrize(
    ("rule", "profile", "needed"), [(1, 1, 1), (1, 2, 2), (3, 2, 3), (2, 1, 2)]
)
def test_the_level_is_the_stricter_of_the_rules_and_the_profiles(rule, profile, needed):
    asks = replace(decision(Effect.ASK), obligations=Obligations(level=rule, quorum=2))
    frozen = Frozen(COMMAND, (), least_level=profile)
    need = question_for(call(), asks, frozen, ApprovalSettings(), str).need
    assert (need.level, need.quorum) == (Level(needed), 2)


def test_a_rules_time_replaces_the_configured_one():
    settings = ApprovalSettings(ttl_s=77, use_within_s=33)
    for obligations, ttl_s in ((Obligations(), 77), (Obligations(timeout_s=5), 5)):
        asks = replace(decision(Effect.ASK), obligations=obligations)
        need = question_for(call(), asks, Frozen(COMMAND, ()), settings, str).need
        assert (need.ttl_s, need.use_within_s) == (ttl_s, 33)
