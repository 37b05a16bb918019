import os
from dataclasses import replace

import pytest

from sandbox.action import Command, Limits
from sandbox.environment import build, steering
from sandbox.profile import Profile
from tests.sandbox.rig import HOST


def command(*env: tuple[str, str]) -> Command:
    profile = Profile("read", "/w")
    return Command(("true",), None, False, "/w", env, None, profile, Limits(), (), "0" * 64)


@pytest.mark.threat("T13")
def test_nothing_is_inherited_from_the_server(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    environment = build(HOST, command())
    assert not {"AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK"} & set(environment)
    assert os.environ["SSH_AUTH_SOCK"]


def test_permitted_entries_replace_base_ones():
    assert build(HOST, command(("LANG", "de_DE.UTF-8"), ("X", "1")))["LANG"] == "de_DE.UTF-8"


def test_the_owners_git_identity_is_given_as_values():
    host = replace(HOST, git_config=(("user.name", "Ada"),))
    environment = build(host, command())
    assert environment["GIT_CONFIG_COUNT"] == "1"
    assert environment["GIT_CONFIG_KEY_0"] == "user.name"
    assert environment["GIT_CONFIG_VALUE_0"] == "Ada"


@pytest.mark.threat("T06")
@pytest.mark.parametrize(
    "name", ["BASH_ENV", "BASH_FUNC_ls%%", "ENV", "SHELLOPTS", "PS4", "LD_PRELOAD", "IFS", "CDPATH"]
)
def test_names_that_steer_bash_are_named(name):
    assert steering(((name, "x"), ("FINE", "y"))) == (name,)
