"""Levels that no configured channel reaches: an error at load, or a no when the call comes."""

import json

import pytest

from mcp_server.config import ApprovalSettings
from mcp_server.policies import PolicyFiles, quick_load
from mcp_server.reach import check_levels
from policy.document import PolicyError

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
