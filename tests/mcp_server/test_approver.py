"""The owner's terminal as a channel, and what a yes is good for: this action, once."""

import os
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from mcp_types import ElicitResult

from approvals.request import Answer, Level, Principal, State
from mcp_server import elicit
from tests.mcp_server.indoors import DEV_SAFE, NOT_HERE, TERMINAL_AT_ONCE, Indoors, append
from tests.mcp_server.rig import ERAS

OWNER = Principal("terminal", os.geteuid(), "owner", Level.OWNER)


@pytest.fixture
def house(tmp_path: Path):
    opened = []

    def make(config: str = TERMINAL_AT_ONCE, *policy: str) -> Indoors:
        opened.append(Indoors.make(tmp_path, config, policy or DEV_SAFE))
        return opened[-1]

    yield make
    for indoors in opened:
        indoors.app.close()


async def answer(indoors: Indoors, approval_id: str, said: Answer = Answer.APPROVE) -> State:
    """Answer as the owner's terminal does, without a terminal."""
    desk = indoors.app.desk
    digest = desk.get(approval_id).request_digest
    return await to_thread.run_sync(desk.vote, approval_id, said, OWNER, digest)


async def structured(client, tool: str, arguments: dict[str, object]) -> dict[str, object]:
    result = await client.call_tool(tool, arguments)
    assert result.structured_content is not None, result.content[0].text
    return result.structured_content


async def pending(client, folder: str = "asks") -> str:
    result = await structured(client, "exec", append(folder))
    assert result["status"] == "pending"
    return result["approval"]["id"]


async def test_a_waiting_call_is_listed_shown_and_approved_from_a_second_process(house):
    indoors = house()
    async with anyio.create_task_group() as group, indoors.connected("auto") as client:
        group.start_soon(indoors.app.serve_owner)
        approval_id = await pending(client, "owner")
        assert approval_id in (await indoors.cli("approvals", "list")).stdout
        shown = (await indoors.cli("approvals", "show", approval_id)).stdout
        assert "owner/ran.txt" in shown
        digest = shown.partition("--digest ")[2].split()[0]

        refused = await indoors.cli("approvals", "approve", approval_id, stdin="yes\n")
        assert refused.returncode == 2
        assert "Nothing was answered" in refused.stderr
        wrong = await indoors.cli("approvals", "approve", approval_id, "--digest", "0" * 64)
        assert wrong.returncode == 2
        assert "approval_mismatch" in wrong.stderr
        assert indoors.runs("owner") == 0

        said = await indoors.cli("approvals", "approve", approval_id, "--digest", digest)
        assert said.stdout == f"{approval_id} is approved.\n"
        ran = await structured(client, "approval_status", {"approval_id": approval_id})
        assert ran["state"] == "consumed"
        assert ran["result"]["status"] == "ok"
        assert ran["result"]["approval"]["level"] == 2
        again = await structured(client, "approval_status", {"approval_id": approval_id})
        assert (again["state"], again["result"]) == ("consumed", None)
        group.cancel_scope.cancel()
    assert indoors.runs("owner") == 1


async def test_a_no_from_a_second_process_is_final_for_a_while(house):
    indoors = house()
    async with anyio.create_task_group() as group, indoors.connected("auto") as client:
        group.start_soon(indoors.app.serve_owner)
        approval_id = await pending(client)
        said = await indoors.cli("approvals", "deny", approval_id)
        assert said.stdout == f"{approval_id} is denied.\n"
        state = await structured(client, "approval_status", {"approval_id": approval_id})
        assert (state["state"], state["result"]) == ("denied", None)
        again = await structured(client, "exec", append())
        assert again["status"] == "declined"
        assert "denied a moment ago" in again["guidance"]["reason"]
        group.cancel_scope.cancel()
    assert indoors.runs() == 0


@ERAS
async def test_a_call_that_waits_runs_as_soon_as_the_owner_says_yes(house, era):
    indoors = house("approvals: {channels: [terminal], wait_s: 30}\n")

    results = []

    async def call(client) -> None:
        results.append(await structured(client, "exec", append()))

    async with indoors.connected(era) as client, anyio.create_task_group() as group:
        group.start_soon(call, client)
        with anyio.fail_after(30):
            while not indoors.app.desk.pending():  # noqa: ASYNC110  # no bell rings for a question
                await anyio.sleep(0.01)
            await answer(indoors, indoors.app.desk.pending()[0].id)
    assert (results[0]["status"], indoors.runs()) == ("ok", 1)


@pytest.mark.threat("T06")
async def test_a_repeated_identical_call_after_a_yes_runs_once(house):
    indoors = house()
    async with indoors.connected("auto") as client:
        approval_id = await pending(client)
        assert await pending(client) == approval_id
        assert await answer(indoors, approval_id) is State.APPROVED
        result = await structured(client, "exec", append())
        assert result["status"] == "ok"
        assert await pending(client) != approval_id
    assert indoors.runs() == 1


@pytest.mark.threat("T06")
async def test_a_yes_to_one_call_is_none_to_another(house):
    indoors = house()
    async with indoors.connected("auto") as client:
        await answer(indoors, await pending(client))
        for changed in (
            {"command": "echo more >> asks/ran.txt"},
            {**append(), "env": {"A": "1"}},
            {**append(), "stdin": "x"},
            {**append(), "timeout_s": 7},
            {"command": "echo ran >> ran.txt", "cwd": "asks"},
        ):
            assert (await structured(client, "exec", changed))["status"] == "pending"
    assert indoors.runs() == 0


@pytest.mark.threat("T06")
async def test_parallel_repeats_of_an_approved_call_run_once(house):
    indoors = house()
    statuses = []

    async def repeat(client) -> None:
        statuses.append((await structured(client, "exec", append()))["status"])

    async with indoors.connected("auto") as client:
        await answer(indoors, await pending(client))
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(repeat, client)
    assert indoors.runs() == 1
    assert statuses.count("ok") == 1


@ERAS
async def test_a_client_that_is_too_fast_leaves_the_question_to_the_terminal(
    house, era, monkeypatch
):
    monkeypatch.setattr(elicit, "FASTEST_HUMAN_S", 60)

    async def at_once(_: object, __: object) -> ElicitResult:
        return ElicitResult(action="accept", content={"approve": True})

    indoors = house("approvals: {channels: [elicitation, terminal], wait_s: 0.4}\n")
    async with indoors.connected(era, at_once) as client:
        await pending(client)
    assert indoors.runs() == 0


@pytest.mark.threat("T07")
async def test_strict_owner_counts_the_owners_terminal_as_the_client(house):
    strict = "approvals: {channels: [elicitation, terminal], wait_s: 0, strict_owner: true}"
    indoors = house(strict, "attested.yaml")
    async with indoors.connected("auto") as client:
        result = await structured(client, "exec", {"command": NOT_HERE})
        assert result["status"] == "declined"
        assert "level owner" in result["guidance"]["reason"]
        await answer(indoors, await pending(client))
        assert (await structured(client, "exec", append()))["status"] == "ok"


@pytest.mark.threat("T07")
async def test_another_sessions_request_is_unknown_here(house):
    indoors = house()
    async with indoors.connected("auto") as client:
        approval_id = await pending(client)
        theirs = Indoors.open(indoors.base, TERMINAL_AT_ONCE)
        async with theirs.connected("auto") as stranger:
            found = await stranger.call_tool("approval_status", {"approval_id": approval_id})
            assert found.is_error
            assert found.content[0].text == f"There is no request {approval_id} of this session."
            assert await pending(stranger) != approval_id
        theirs.app.close()


class PowerCutError(RuntimeError):
    """The power fails here."""


@pytest.mark.threat("T07")
async def test_a_vote_that_was_recorded_but_not_counted_counts_after_a_restart(house, monkeypatch):
    indoors = house()
    async with indoors.connected("auto") as client:
        approval_id = await pending(client)
    note = indoors.app.journal.note

    def vote_then_stop(record) -> None:
        note(record)
        if record["event"] == "approval.voted":
            raise PowerCutError

    monkeypatch.setattr(indoors.app.desk, "_journal", vote_then_stop)
    with pytest.raises(Exception, match="did not take approval"):
        await answer(indoors, approval_id)
    assert indoors.app.desk.get(approval_id).state is State.PENDING

    restarted = Indoors.open(indoors.base, TERMINAL_AT_ONCE).app
    assert restarted.desk.get(approval_id).state is State.APPROVED
    applied = [r for r in indoors.records() if r["event"] == "approval.applied"]
    assert applied[-1]["approval"].items() >= {"id": approval_id, "state": "approved"}.items()
    restarted.close()


@pytest.mark.threat("T06")
async def test_a_waiting_call_whose_files_changed_is_not_what_was_approved(house):
    indoors = house()
    (indoors.workspace / "asks" / "tool.sh").write_text("echo one >> asks/ran.txt\n")
    call = {"command": "bash asks/tool.sh"}
    async with indoors.connected("auto") as client:
        approval_id = (await structured(client, "exec", call))["approval"]["id"]
        await answer(indoors, approval_id)
        (indoors.workspace / "asks" / "tool.sh").write_text("echo two >> asks/ran.txt\n")
        found = await structured(client, "approval_status", {"approval_id": approval_id})
    assert found["result"]["status"] == "pending"
    assert found["state"] == "approved"
    assert indoors.runs() == 0
