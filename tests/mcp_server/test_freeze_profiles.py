"""What a decision's programs change about its profile, and how that is said."""

import os
from pathlib import Path

import pytest

from approvals.request import Level
from mcp_server.calls import Frozen, Unrunnable
from mcp_server.freeze import CommandWish, Freezer
from policy.classify import classify
from policy.model import Exec, Request, Subject
from tests.mcp_server.indoors import Indoors


@pytest.fixture(scope="module")
def indoors(tmp_path_factory: pytest.TempPathFactory):
    made = Indoors.make(tmp_path_factory.mktemp("freeze"))
    yield made
    made.app.close()


async def frozen(
    indoors: Indoors, command: str, freezer: Freezer | None = None
) -> Frozen | Unrunnable:
    app = indoors.app
    context = app.caller.context(indoors.workspace)
    action = Exec(command, None, str(indoors.workspace))
    request = Request(Subject("agent:x", "s", 0, "stdio"), action, "exec")
    decision = classify(request, app.policy, context)
    return await (freezer or app.freezer).command(CommandWish(action, context), decision)


@pytest.mark.threat("T12")
@pytest.mark.skipif(not os.access("/usr/bin/passwd", os.X_OK), reason="no passwd here")
async def test_a_set_id_program_is_unconfined_only_and_the_decision_says_so(indoors):
    found = await frozen(indoors, "passwd --status")
    assert isinstance(found, Frozen)
    assert found.action.profile.name == "unconfined"
    assert "passwd takes rights when it starts (set-id)" in found.needs_yes
    assert found.least_level is Level.OWNER


async def test_a_set_id_program_that_works_without_its_rights_stays_confined(indoors):
    found = await frozen(indoors, "mount")
    assert isinstance(found, Frozen)
    assert found.action.profile.name in ("inspect", "look")
    assert found.needs_yes == ""


@pytest.mark.threat("T10")
async def test_what_cannot_be_searched_whole_asks_the_owner(indoors):
    app = indoors.app
    freezer = Freezer(lambda: app.policy, app.host, app.config.limits, "none", lambda _: False)
    found = await frozen(indoors, "cat notes.txt", freezer)
    assert isinstance(found, Frozen)
    assert found.action.profile.unmasked
    assert "too many files" in found.needs_yes
    assert found.least_level is Level.OWNER
    assert "not-covered" in dict(found.facts)
    assert not (await frozen(indoors, "cat notes.txt")).needs_yes


@pytest.mark.threat("T13")
@pytest.mark.skipif(not Path("/usr/bin/systemctl").exists(), reason="no systemctl here")
@pytest.mark.parametrize(
    ("command", "speaks"),
    [
        ("systemctl status cron", True),
        ("systemctl --failed", True),
        ("systemctl status cron | cat", False),
        ("systemctl restart cron", False),
        ("systemctl show-environment", False),
    ],
)
async def test_a_client_speaks_to_its_daemon_alone_and_only_to_ask(indoors, command, speaks):
    found = await frozen(indoors, command)
    assert isinstance(found, Frozen)
    assert bool(found.action.profile.sockets) == speaks
    assert ("speaks-to" in dict(found.facts)) == speaks
