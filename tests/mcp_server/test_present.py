"""What a client is told: the structured facts and the text say the same, and nothing untrue."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.request import Approval, Level
from audit.redact import Redactor
from mcp_server.calls import Frozen, Reply
from mcp_server.present import TEXT_CHARACTERS, exec_result, exec_text, is_error, stream
from mcp_server.redaction import redacted
from policy.model import Effect
from sandbox.outcome import CommandOutcome, Output
from tests.mcp_server.test_gate import COMMAND, OUTCOME, decision

TOKEN = b"ghp_" + b"0123456789abcdefghijABCDEFGHIJ012345"
CUT = Output(b"head\n", b"tail\n", 5000, "0" * 64)


def reply(outcome: CommandOutcome | None = OUTCOME, **changes: object) -> Reply:
    ran = Reply("id", "ran", decision(Effect.ALLOW), frozen=Frozen(COMMAND, ()), outcome=outcome)
    return replace(ran, **changes)


def shown(output: Output) -> tuple[str, dict[str, object]]:
    result = exec_result(reply(replace(OUTCOME, stdout=output)), "ls")
    return exec_text(result), result.stdout.model_dump()


@given(st.binary(max_size=200))
def test_output_is_text_where_it_is_utf8_and_else_the_exact_bytes(data):
    told = stream(Output.whole(data))
    assert not told.truncated
    if told.text is not None:
        assert told.text.encode() == data
    else:
        assert base64.b64decode(told.base64) == data


def test_what_was_cut_out_is_said_with_the_size_of_the_whole():
    text, output = shown(CUT)
    assert output["truncated"]
    assert output["text"] == "head\n\n[... cut here; 5000 bytes in all ...]\ntail\n"
    assert "stdout, 5000 bytes (untrusted data)" in text


@pytest.mark.parametrize("word", ["caf\N{LATIN SMALL LETTER E WITH ACUTE}", "\N{GRINNING FACE}"])
def test_a_character_that_the_cut_went_through_does_not_make_the_output_binary(word):
    data = word.encode()
    told = stream(Output(data[:-1], data[-1:], 5000, "0" * 64))
    assert told.text is not None
    assert told.base64 is None


@pytest.mark.threat("T17")
@pytest.mark.parametrize(
    ("output", "is_cut"),
    [
        (Output.whole(b"a " + TOKEN + b"\n"), False),
        (Output(TOKEN + b"\n", b"\n" + TOKEN, 900, "0" * 64), True),
    ],
)
def test_a_redacted_output_is_not_called_cut_and_a_cut_one_is(output, is_cut):
    outcome = redacted(Redactor(), replace(OUTCOME, stdout=output))
    text, told = shown(outcome.stdout)
    assert TOKEN.decode() not in text
    assert "redacted" in text
    assert told["truncated"] is is_cut
    assert ("cut here" in text) is is_cut


def test_a_long_text_keeps_its_head_and_tail():
    text, told = shown(Output.whole(b"a" * TEXT_CHARACTERS + b"b" * TEXT_CHARACTERS))
    assert len(told["text"]) == 2 * TEXT_CHARACTERS
    assert len(text) < TEXT_CHARACTERS + 500
    assert f"[... {TEXT_CHARACTERS} characters left out ...]" in text


def test_a_denial_names_rule_place_and_reason_and_says_not_to_retry():
    denied = reply(None, status="denied", message="because", decision=decision(Effect.DENY))
    result = exec_result(denied, "ls")
    text = exec_text(result)
    assert is_error(denied)
    assert text.startswith("DENIED: nothing ran\nrule rule at p.yaml:1:1: because")
    assert "Do not retry" in text
    assert result.guidance.retryable is False
    assert (result.exit_code, result.stdout, result.enforcement) == (None, None, None)


@pytest.mark.parametrize("status", ["declined", "pending"])
def test_a_humans_no_and_silence_are_normal_results(status):
    waiting = reply(None, status=status, message="ask again", approval_id="ap_1")
    result = exec_result(waiting, "ls")
    assert not is_error(waiting)
    assert (result.status, result.approval.id) == (status, "ap_1")
    assert result.guidance.retryable is (status == "pending")
    assert f"{status.upper()}: nothing ran" in exec_text(result)


def test_an_approval_says_who_and_at_which_level():
    approval = Approval("ap_1", Level.OWNER, ("owner@0 via terminal",), "d" * 64)
    result = exec_result(reply(approval=approval, approval_id="ap_1"), "ls")
    assert result.approval.model_dump() == {"id": "ap_1", "level": 2, "by": "owner@0 via terminal"}
    assert "approval ap_1 by owner@0 via terminal" in exec_text(result)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (replace(OUTCOME, status="timeout"), "ask for a longer timeout_s"),
        (replace(OUTCOME, status="killed", signal=9), "signal 9"),
        (replace(OUTCOME, status="blocked"), "The sandbox refused"),
        (replace(OUTCOME, status="failed", exit_code=3), "failed, exit 3, profile read, 1 ms"),
        (replace(OUTCOME, hidden=("/run", "/tmp")), "hidden by the sandbox: /run, /tmp"),
    ],
)
def test_an_end_is_told_in_words(outcome, words):
    assert words.lower() in exec_text(exec_result(reply(outcome), "ls")).lower()


def test_what_ran_is_told_where_it_is_not_what_was_asked():
    script = replace(COMMAND, argv=None, script="'ls' | 'wc'")
    told = reply(frozen=Frozen(script, ()))
    assert exec_result(told, "ls|wc").executed == "'ls' | 'wc'"
    assert exec_result(told, "'ls' | 'wc'").executed is None
    assert exec_result(reply(), "ls").executed is None
