"""What a decision's programs change about its profile, and how that is said."""

import os
from pathlib import Path

import pytest

from approvals.request import Level
from mcp_server.calls import Frozen, Unrunnable
from mcp_server.freeze import CommandWish, Freezer
from policy.classify import classify
from policy.model import Exec, Request, Subject
from sandbox.profile import Profile
from tests.mcp_server.indoors import Indoors


@pytest.fixture(scope="module")
def indoors(tmp_path_factory: pytest.TempPathFactory):
    made = Indoors.make(tmp_path_factory.mktemp("freeze"))
    yield made
    made.app.close()


class Blind:
    """A sandbox that can neither find every denied file nor copy a workspace."""

    def sees_all(self, profile: Profile) -> bool:
        return False

    def no_copy(self, workspace: str) -> str:
        return "there is no overlay"


async def frozen(
    indoors: Indoors, command: str, freezer: Freezer | None = None, **wish: bool
) -> Frozen | Unrunnable:
    app = indoors.app
    context = app.caller.context(indoors.workspace)
    action = Exec(command, None, str(indoors.workspace))
    request = Request(Subject("agent:x", "s", 0, "stdio"), action, "exec")
    decision = classify(request, app.policy, context)
    wanted = CommandWish(action, context, **wish)
    return await (freezer or app.freezer).command(wanted, decision)


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
    freezer = Freezer(
        lambda: app.policy, app.host, (app.config.limits, app.config.network, "none"), Blind()
    )
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


@pytest.mark.threat("T27")
async def test_a_command_that_writes_gets_a_copy_of_the_workspace(indoors):
    found = await frozen(indoors, "touch new.txt")
    assert isinstance(found, Frozen)
    assert (found.action.profile.name, found.needs_yes) == ("write", "")


@pytest.mark.threat("T27")
async def test_writing_the_workspace_itself_asks_a_person(indoors):
    found = await frozen(indoors, "touch new.txt", live=True)
    assert isinstance(found, Frozen)
    assert found.action.profile.name == "live"
    assert "without undo" in found.needs_yes


@pytest.mark.threat("T27")
async def test_where_no_copy_can_be_made_the_workspace_itself_is_written_and_that_is_said(indoors):
    app = indoors.app
    freezer = Freezer(
        lambda: app.policy, app.host, (app.config.limits, app.config.network, "none"), Blind()
    )
    found = await frozen(indoors, "touch new.txt", freezer)
    assert isinstance(found, Frozen)
    assert found.action.profile.name == "live"
    assert dict(found.facts)["no-copy"] == "there is no overlay"
    refused = await frozen(indoors, "touch new.txt", freezer, preview=True)
    assert isinstance(refused, Unrunnable)
    assert "no preview here: there is no overlay" in refused.message


@pytest.mark.threat("T27")
async def test_a_preview_is_refused_of_what_happens_elsewhere(indoors):
    for command in ("systemctl restart nginx", "cp a /srv/a"):
        found = await frozen(indoors, command, preview=True)
        assert isinstance(found, Unrunnable)
        assert "preview" in found.message


@pytest.mark.threat("T27")
async def test_a_directory_that_git_renames_is_renamed_in_the_workspace_itself(indoors):
    (indoors.workspace / "folder").mkdir(exist_ok=True)
    (indoors.workspace / "file").touch()
    names = [
        found.action.profile.name
        for command in ("git mv folder other", "git mv file other")
        if isinstance(found := await frozen(indoors, command), Frozen)
    ]
    assert names == ["live", "write"]
