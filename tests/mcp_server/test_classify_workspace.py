"""`permitgate classify` judges words, so it needs no directory, but never takes too wide a one."""

import json

import pytest

WRITE = "touch a.txt"


def effect(rig, *options, cwd=None):
    ended = rig.run("classify", "--json", *options, "--", WRITE, cwd=cwd or rig.workspace)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["effect"], ended.stderr


def test_a_named_workspace_need_not_exist(rig):
    assert effect(rig, "--workspace", "/home/nobody/project") == ("allow", "")


def test_outside_a_checkout_the_current_directory_stands_in(rig):
    elsewhere = rig.base / "elsewhere"
    elsewhere.mkdir()
    assert effect(rig, cwd=elsewhere) == ("allow", "")


@pytest.mark.threat("T02")
def test_the_machine_or_the_home_never_stands_in(rig):
    found, said = effect(rig, cwd="/")
    assert (found, "is no workspace" in said) == ("ask", True)
    home = rig.environment["HOME"]
    found, said = effect(rig, cwd=home)
    assert (found, "is no workspace" in said) == ("ask", True)
