"""Levels that no configured channel reaches: an error at load, or a no when the call comes."""

import json
import os
from functools import partial

import pytest

from approvals.request import Answer, ApprovalError, Level, Principal, State
from mcp_server.config import ApprovalSettings
from mcp_server.policies import PolicyFiles, quick_load
from mcp_server.reach import check_levels
from policy.document import PolicyError
from tests.mcp_server.indoors import Indoors, append

CLIENT_ONLY = "approvals: {channels: [elicitation]}\n"


def dev_safe(tmp_path):
    return quick_load(PolicyFiles(("dev-safe",), tmp_path))


@pytest.mark.parametrize(
    ("settings", "reached"),
    [
        (ApprovalSettings(channels=("elicitation",)), "reaches attested at most"),
        (ApprovalSettings(channels=()), "reaches policy at most"),
        (ApprovalSettings(strict_owner=True), "reaches attested at most"),
    ],
)
def test_a_level_that_nobody_can_reach_is_an_error_with_the_rules_place(
    tmp_path, settings, reached
):
    with pytest.raises(PolicyError, match=rf"^dev-safe.yaml:\d+:5: rule .* {reached}"):
        check_levels(dev_safe(tmp_path), settings)


def test_a_level_that_nobody_can_reach_is_a_no_if_the_operator_says_so(tmp_path):
    settings = ApprovalSettings(channels=("elicitation",), unreachable="deny")
    check_levels(dev_safe(tmp_path), settings)


def test_levels_that_a_channel_reaches_load(tmp_path):
    check_levels(dev_safe(tmp_path), ApprovalSettings())


@pytest.mark.threat("T07")
def test_a_terminal_that_is_no_channel_answers_nothing(rig):
    rig.configure("approvals: {wait_s: 0}\n")
    asked = json.loads(rig.run("exec", "--json", "--", "git", "push").stdout)
    approval = asked["approval"]["id"]
    rig.configure(CLIENT_ONLY)
    answered = rig.run("approvals", "approve", approval, "--digest", "0" * 64)
    assert answered.returncode == 2
    assert "leaves the terminal out" in answered.stderr


@pytest.mark.threat("T23")
def test_a_named_policy_that_everybody_may_write_is_refused(rig):
    policy = rig.base / "open.yaml"
    policy.write_text("version: 1\nrules: []\n")
    policy.chmod(0o666)
    ended = rig.run("classify", "--policy", str(policy), "--", "ls")
    assert (ended.returncode, "everybody may write this policy" in ended.stderr) == (2, True)


def test_a_write_that_no_profile_can_show_is_refused_before_anyone_is_asked(rig):
    ended = rig.run("exec", "--json", "--", "touch", "/opt/permitgate-absent/elsewhere.txt")
    result = json.loads(ended.stdout)
    assert (result["status"], result["approval"]) == ("blocked", None)
    assert "does not exist" in result["guidance"]["reason"]


QUORUM = """\
version: 1
name: quorum-for-tests
default: ask
rules:
  - id: leads
    ask: {operations: [fs.create, fs.write], quorum: {approve: 2, roles: [ops-lead]}}
    resources: ["${workspace}/owner/**"]
"""


def quorum(tmp_path):
    (tmp_path / "quorum.yaml").write_text(QUORUM)
    return quick_load(PolicyFiles((str(tmp_path / "quorum.yaml"),), tmp_path))


@pytest.mark.parametrize(
    ("roles", "can"),
    [
        ({}, 0),
        ({"ops-lead": ()}, 0),
        ({"ops-lead": ("owner",)}, 1),
        ({"ops-lead": ("alice", "owner")}, 1),
        ({"dba": ("owner", "root")}, 0),
    ],
)
def test_a_quorum_that_the_configured_people_cannot_give_is_an_error_at_load(tmp_path, roles, can):
    with pytest.raises(PolicyError, match=rf"quorum\.yaml:5:5: .* by ops-lead, and {can} of the"):
        check_levels(quorum(tmp_path), ApprovalSettings(roles=roles))
    check_levels(quorum(tmp_path), ApprovalSettings(roles=roles, unreachable="deny"))


@pytest.mark.threat("T07")
async def test_a_quorum_of_a_role_is_asked_for_and_no_other_yes_counts(tmp_path):
    (tmp_path / "quorum.yaml").write_text(QUORUM.replace("approve: 2", "approve: 1"))
    held = "approvals: {wait_s: 0, roles: {ops-lead: [root]}}\n"
    house = Indoors.make(tmp_path, held, ("quorum.yaml",))
    async with house.connected("auto") as client:
        result = await client.call_tool("exec", append("owner"))
        pending = house.app.desk.get(result.structured_content["approval"]["id"])
        assert pending.question.need.roles == (("ops-lead",),)
        owner = Principal("terminal", os.geteuid(), "owner", Level.OWNER)
        vote = partial(house.app.desk.vote, pending.id, Answer.APPROVE)
        with pytest.raises(ApprovalError, match="owner does not hold the role ops-lead"):
            vote(owner, pending.request_digest)
        root = Principal("terminal", 0, "root", Level.SEPARATE)
        assert vote(root, pending.request_digest) is State.APPROVED
        again = await client.call_tool("exec", append("owner"))
        assert again.structured_content["status"] == "ok"
    house.app.close()


@pytest.mark.threat("T08")
async def test_where_a_role_is_held_by_nobody_the_call_is_declined_if_the_operator_says_so(
    tmp_path,
):
    (tmp_path / "quorum.yaml").write_text(QUORUM)
    config = "approvals: {wait_s: 0, unreachable: deny}\n"
    house = Indoors.make(tmp_path, config, ("quorum.yaml",))
    async with house.connected("auto") as client:
        result = await client.call_tool("exec", append("owner"))
    assert result.structured_content["status"] == "declined"
    assert house.app.desk.pending() == []
    house.app.close()
