"""Every way a client can answer, in both protocol eras: a clear and timely yes runs once."""

import json
from pathlib import Path

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult, ErrorData, InputRequiredResult

from approvals.request import Level
from mcp_server import earlier, elicit
from mcp_server.elicit import FORM_KEY
from tests.mcp_server.indoors import NOT_HERE, Indoors, append
from tests.mcp_server.rig import ERAS, HUMAN_S, YES, answering

ONLY_THE_CLIENT = "approvals: {channels: [elicitation], wait_s: 5}\n"


async def _at_once(_: object, __: object) -> ElicitResult:
    return ElicitResult(action="accept", content={"approve": True})


async def _error(_: object, __: object) -> ErrorData:
    await anyio.sleep(HUMAN_S)
    return ErrorData(code=-32000, message="no")


NOT_A_YES = {
    "accept with false": answering("accept", {"approve": False}),
    "accept without content": answering("accept"),
    "accept with an empty form": answering("accept", {}),
    "accept with a key nobody asked for": answering("accept", {"approve": True, "always": True}),
    "accept with a word": answering("accept", {"approve": "true"}),
    "accept with a number": answering("accept", {"approve": 1}),
    "accept with a list": answering("accept", {"approve": ["true"]}),
    "accept under another name": answering("accept", {"ok": True}),
    "decline": answering("decline"),
    "decline with a filled form": answering("decline", {"approve": True}),
    "cancel": answering("cancel"),
    "cancel with a filled form": answering("cancel", {"approve": True}),
    "an error": _error,
    "no capability": None,
}


@pytest.fixture
def indoors(tmp_path: Path):
    made = Indoors.make(tmp_path, ONLY_THE_CLIENT, ("attested.yaml",))
    yield made
    made.app.close()


@ERAS
async def test_a_clear_yes_runs_exactly_once(indoors, era):
    async with indoors.connected(era, YES) as client:
        result = (await client.call_tool("exec", append())).structured_content
    assert (result["status"], indoors.runs()) == ("ok", 1)
    assert result["approval"]["level"] == 1
    assert result["approval"]["by"].endswith("via elicitation")


@pytest.fixture
def long_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a round takes as long as a fast reader; so a human needs a minute here."""
    monkeypatch.setattr(elicit, "FASTEST_HUMAN_S", 60)


@pytest.mark.threat("T08")
@pytest.mark.parametrize("answer", NOT_A_YES.values(), ids=NOT_A_YES.keys())
async def test_whatever_is_not_a_clear_yes_runs_nothing(indoors, answer):
    async def ask(era: str) -> None:
        async with indoors.connected(era, answer) as client:
            command = {"command": f"echo {era} >> asks/ran.txt"}
            try:
                result = await client.call_tool("exec", command)
            except MCPError:
                assert answer is _error  # a 2026-07-28 client keeps its own error to itself
            else:
                assert result.structured_content["status"] == "declined"

    async with anyio.create_task_group() as both_eras:
        both_eras.start_soon(ask, "legacy")
        both_eras.start_soon(ask, "auto")
    assert indoors.runs() == 0


@pytest.mark.threat("T07")
@ERAS
async def test_a_yes_that_is_faster_than_a_person_runs_nothing(indoors, era, long_reading):
    async with indoors.connected(era, _at_once) as client:
        result = await client.call_tool("exec", append())
    assert result.structured_content["status"] == "declined"
    assert "faster than a person can read" in result.content[0].text
    assert indoors.runs() == 0


@pytest.mark.threat("T08")
@ERAS
async def test_a_client_that_hangs_up_while_it_is_asked_runs_nothing(indoors, era):
    async def never(_: object, __: object) -> ElicitResult:
        await anyio.sleep_forever()
        raise AssertionError

    async with indoors.connected(era, never) as client:
        with anyio.move_on_after(0.5):
            await client.call_tool("exec", append())
    assert indoors.runs() == 0


async def _first_round(client, arguments) -> InputRequiredResult:
    first = await client.session.call_tool("exec", arguments, allow_input_required=True)
    assert isinstance(first, InputRequiredResult)
    return first


YES_TO_THE_FORM = {FORM_KEY: ElicitResult(action="accept", content={"approve": True})}


async def _again(client, arguments, state, responses=YES_TO_THE_FORM):
    """Call again with a yes, after the time a person needs."""
    await anyio.sleep(HUMAN_S)
    return await client.session.call_tool(
        "exec",
        arguments,
        request_state=state,
        input_responses=responses,
        allow_input_required=True,
    )


@pytest.mark.threat("T07")
async def test_a_replayed_yes_runs_nothing_and_asks_nobody_again(indoors):
    async with indoors.connected("auto", YES) as client:
        first = await _first_round(client, append())
        assert (await _again(client, append(), first.request_state)).structured_content[
            "status"
        ] == "ok"
        for _ in range(2):
            replay = await _again(client, append(), first.request_state)
            assert replay.structured_content["status"] == "declined"
    assert indoors.runs() == 1
    assert indoors.app.desk.pending() == []


@pytest.mark.threat("T06")
async def test_an_old_state_with_other_arguments_runs_nothing(indoors):
    async with indoors.connected("auto", YES) as client:
        first = await _first_round(client, append())
        with pytest.raises(MCPError):
            await _again(client, {"command": "echo other >> asks/ran.txt"}, first.request_state)
    assert indoors.runs() == 0


@pytest.mark.threat("T08")
@pytest.mark.parametrize("responses", [None, {}, {"other": YES_TO_THE_FORM[FORM_KEY]}])
async def test_a_second_round_without_our_answer_runs_nothing(indoors, responses):
    async with indoors.connected("auto", YES) as client:
        first = await _first_round(client, append())
        result = await _again(client, append(), first.request_state, responses)
    assert result.structured_content["status"] == "declined"
    assert "answers no question" in result.content[0].text
    assert indoors.runs() == 0


@pytest.mark.threat("T06")
async def test_a_yes_to_a_file_that_changed_since_it_was_shown_is_not_even_counted(indoors):
    script = indoors.workspace / "asks" / "tool.sh"
    script.write_text("echo ran >> asks/ran.txt\n")
    call = {"command": "bash asks/tool.sh"}
    async with indoors.connected("auto", YES) as client:
        first = await _first_round(client, call)
        script.write_text("echo other >> asks/ran.txt\n")
        result = await _again(client, call, first.request_state)
    assert "answers another request" in result.content[0].text
    assert "approval.voted" not in [record["event"] for record in indoors.records()]
    assert indoors.runs() == 0


@pytest.mark.threat("T07")
@pytest.mark.parametrize("state", [None, "", "{}", json.dumps({"approval_id": "ap_1"}), "\0"])
async def test_a_forged_answer_on_a_first_call_runs_nothing(indoors, state):
    async with indoors.connected("auto", YES) as client:
        try:
            result = await _again(client, append(), state)
        except MCPError:
            pass
        else:
            assert isinstance(result, InputRequiredResult)
    assert indoors.runs() == 0


@pytest.mark.threat("T07")
async def test_a_second_round_that_is_too_fast_is_no_answer_even_to_an_old_request(
    indoors, monkeypatch
):
    async with indoors.connected("auto", YES) as client:
        await _first_round(client, append())
        await anyio.sleep(0.5)
        monkeypatch.setattr(elicit, "FASTEST_HUMAN_S", 0.5)
        again = await _first_round(client, append())
        result = await client.session.call_tool(
            "exec",
            append(),
            request_state=again.request_state,
            input_responses=YES_TO_THE_FORM,
            allow_input_required=True,
        )
    assert result.structured_content["status"] == "declined"
    assert indoors.runs() == 0


@ERAS
async def test_a_client_that_cannot_be_asked_is_told_at_once_that_nobody_can(indoors, era):
    async with indoors.connected(era) as client:
        with anyio.fail_after(30):
            result = await client.call_tool("exec", append())
    assert "No approver can be reached" in result.content[0].text
    assert indoors.app.desk.pending() == []


@pytest.mark.threat("T07")
@ERAS
async def test_a_clients_yes_does_not_reach_the_owners_level(indoors, era):
    async with indoors.connected(era, YES) as client:
        result = await client.call_tool("exec", {"command": NOT_HERE})
    assert result.structured_content["status"] == "declined"
    assert "level owner" in result.content[0].text
    assert not [r for r in indoors.records() if r["event"] == "exec.intent"]


@pytest.mark.threat("T07")
async def test_a_client_is_not_even_asked_where_its_yes_is_not_enough(tmp_path):
    asked = []

    async def look(_: object, params) -> ElicitResult:
        asked.append(params)
        return ElicitResult(action="cancel")

    indoors = Indoors.make(tmp_path, "approvals: {wait_s: 0.5}\n", ("attested.yaml",))
    async with indoors.connected("auto", look) as client:
        result = await client.call_tool("exec", {"command": NOT_HERE})
    assert result.structured_content["status"] == "pending"
    assert asked == []
    indoors.app.close()


@pytest.mark.threat("T29")
@ERAS
async def test_a_form_can_grant_what_it_shows_and_no_more_than_a_client_may_attest(
    indoors, era, monkeypatch
):
    monkeypatch.setattr(earlier, "BUDGET_S", 60)  # however busy the machine is
    asked = []

    async def granting(_: object, params) -> ElicitResult:
        asked.append(params)
        await anyio.sleep(HUMAN_S)
        chosen = {"approve": True, "grant": "program", "uses": 1, "minutes": 5}
        return ElicitResult(action="accept", content=chosen)

    async with indoors.connected(era, granting) as client:
        for name, questions in (("a", 1), ("b", 1), ("c", 2)):
            result = await client.call_tool("exec", {"argv": ["touch", f"asks/{name}"]})
            assert result.structured_content["status"] == "ok"
            assert result.structured_content["approval"]["level"] == Level.ATTESTED
            assert len(asked) == questions
    first, second = asked
    fields = first.requested_schema["properties"]
    assert first.requested_schema["required"] == ["approve"]
    assert fields["grant"]["enum"] == ["once", "exact", "program"]
    assert fields["grant"]["default"] == "once"
    assert (fields["uses"]["maximum"], fields["minutes"]["maximum"]) == (1000, 1440)
    assert "chosen under grant in the form" in first.message
    assert "touch with any arguments" in first.message
    assert "of 1 earlier requests in this log: 1 covered, 0 not" in second.message
    assert [grant.level for grant in indoors.app.desk.grants.live()] == [Level.ATTESTED]


WRONG_GRANTS = (
    {"grant": "all"},
    {"grant": "host"},  # which this request does not offer
    {"grant": "exact", "uses": 0},
    {"grant": "exact", "minutes": 1441},
    {"grant": "exact", "uses": "2"},
    {"grant": "exact", "for_session": True},
)


@pytest.mark.threat("T29")
async def test_a_grant_that_the_form_does_not_offer_is_no_yes(indoors, monkeypatch):
    monkeypatch.setattr(elicit, "FASTEST_HUMAN_S", 0)
    wrong = iter(WRONG_GRANTS)

    async def answer(_: object, __: object) -> ElicitResult:
        return ElicitResult(action="accept", content={"approve": True, **next(wrong)})

    async with indoors.connected("auto", answer) as client:
        for number in range(len(WRONG_GRANTS)):
            call = {"argv": ["touch", f"asks/{number}"]}
            result = await client.call_tool("exec", call)
            assert result.structured_content["status"] == "declined", number
    assert list((indoors.workspace / "asks").iterdir()) == []
    assert indoors.app.desk.grants.live() == []


async def test_a_form_shows_no_field_of_what_is_not_offered(indoors):
    forms = []

    async def look(_: object, params) -> ElicitResult:
        forms.append(params.requested_schema["properties"])
        return ElicitResult(action="cancel")

    asks = indoors.workspace / "asks"
    (asks / "old").touch()
    async with indoors.connected("auto", look) as client:
        await client.call_tool("exec", {"argv": ["rm", "asks/old"]})
    assert [list(form) for form in forms] == [["approve"]]
