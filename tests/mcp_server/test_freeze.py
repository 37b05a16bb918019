"""From a decision to the exact command: what is resolved, pinned, bounded and refused."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_server.calls import Frozen, Unrunnable
from mcp_server.freeze import CommandWish
from mcp_server.pins import NOT_PINNED, QUICK_BYTES, pins
from policy.classify import classify
from policy.model import Decision, Exec, Request, Subject
from sandbox.action import ABSENT, Command, Pin, digest
from tests.mcp_server.indoors import NOT_HERE, Indoors


@pytest.fixture(scope="module")
def indoors(tmp_path_factory: pytest.TempPathFactory):
    made = Indoors.make(tmp_path_factory.mktemp("freeze"))
    yield made
    made.app.close()


async def frozen(indoors: Indoors, command: str, **wish: object) -> Frozen | Unrunnable:
    """Freeze a command line as `exec` does; `env` belongs to the action, the rest to the wish."""
    context = indoors.app.caller.context(indoors.workspace)
    action = Exec(command, None, str(indoors.workspace), wish.pop("env", ()))
    decision = decided(indoors, command, action)
    return await indoors.app.freezer.command(CommandWish(action, context, **wish), decision)


def decided(indoors: Indoors, command: str, action: Exec | None = None) -> Decision:
    context = indoors.app.caller.context(indoors.workspace)
    subject = Subject("agent:x", "s", 0, "stdio")
    asked = Request(subject, action or Exec(command, None, str(indoors.workspace)), "exec")
    return classify(asked, indoors.app.policy, context)


async def command(indoors: Indoors, text: str, **wish: object) -> Command:
    found = await frozen(indoors, text, **wish)
    assert isinstance(found, Frozen), found
    assert isinstance(found.action, Command)
    return found.action


@pytest.mark.threat("T01")
async def test_a_lone_command_is_a_vector_whose_program_is_resolved_once(indoors):
    found = await command(indoors, "cat 'a b' $HOME/x")
    assert found.script is None or found.argv is None
    lone = await command(indoors, "cat 'a b'")
    assert lone.argv is not None
    assert Path(lone.argv[0]).is_absolute()
    assert os.access(lone.argv[0], os.X_OK)
    assert lone.argv[1:] == ("a b",)
    piped = await command(indoors, "cat notes.txt | wc")
    assert (piped.argv, piped.verbatim) == (None, False)
    assert piped.script == "'cat' 'notes.txt' | 'wc'"


@pytest.mark.threat("T03")
async def test_text_that_was_not_understood_is_kept_byte_for_byte_and_asks(indoors):
    text = 'eval   "$(cat notes.txt)"'
    found = await frozen(indoors, text)
    assert isinstance(found, Frozen)
    assert (found.action.script, found.action.verbatim) == (text, True)
    assert "not wholly understood" in found.needs_yes


@pytest.mark.threat("T06")
async def test_every_wish_is_inside_the_digest(indoors):
    plain = digest(await command(indoors, "cat notes.txt"))
    for wish in (
        {"stdin": b""},
        {"stdin": b"x"},
        {"timeout_s": 3.0},
        {"env": (("A", "1"),)},
        {"env": (("A", "2"),)},
    ):
        assert digest(await command(indoors, "cat notes.txt", **wish)) != plain, wish
    assert digest(await command(indoors, "cat notes.txt")) == plain


@pytest.mark.threat("T06")
async def test_files_that_will_be_executed_are_pinned_by_their_content(indoors):
    tool = indoors.workspace / "tool.sh"
    tool.write_text("echo one\n")
    first = await command(indoors, "bash tool.sh")
    assert [pin.path for pin in first.pins] == [str(tool)]
    tool.write_text("echo two\n")
    assert digest(await command(indoors, "bash tool.sh")) != digest(first)
    with tool.open("wb") as file:
        file.truncate(QUICK_BYTES + 1)
    large = await frozen(indoors, "bash tool.sh")
    assert large.action.pins == ()
    said = [text for key, text in large.facts if key == "not-pinned"]
    assert said == [f"{tool}: too large, no file, or not readable", NOT_PINNED]
    assert (await command(indoors, "sudo bash tool.sh")).pins[0].sha256 != ABSENT
    tool.unlink()
    assert (await command(indoors, "bash tool.sh")).pins == (Pin(str(tool), ABSENT),)


@pytest.mark.threat("T06")
async def test_the_build_files_of_a_directory_are_pinned_and_those_that_would_come_first(indoors):
    folder = indoors.workspace / "built"
    folder.mkdir()
    (folder / "Makefile").write_text("all:\n")
    found = {pin.path: pin.sha256 for pin in (await command(indoors, "make -C built")).pins}
    assert found.pop(f"{folder}/Makefile") != ABSENT
    assert found == {f"{folder}/GNUmakefile": ABSENT, f"{folder}/makefile": ABSENT}
    assert [pin.path for pin in (await command(indoors, "npm test")).pins] == [
        str(indoors.workspace / "package.json")
    ]


@pytest.mark.threat("T06")
def test_a_program_that_is_not_roots_own_is_pinned_where_a_person_is_asked(indoors):
    tool = indoors.workspace / "asks" / "tool"
    tool.write_text("#!/bin/sh\n")
    asked, allowed = decided(indoors, NOT_HERE), decided(indoors, "cat notes.txt")
    assert [pin.path for pin in pins(asked, str(tool))] == [str(tool)]
    assert pins(asked, "/usr/bin/ping") == pins(allowed, str(tool)) == ()


async def test_a_wish_to_only_read_refuses_what_does_more(indoors):
    assert isinstance(await frozen(indoors, "cat notes.txt", read_only=True), Frozen)
    refused = await frozen(indoors, "touch x", read_only=True)
    assert isinstance(refused, Unrunnable)
    assert refused.status == "blocked"
    assert "Leave `profile` out" in refused.message


@pytest.mark.threat("T09")
async def test_what_no_profile_covers_needs_a_yes_of_the_owner(indoors):
    found = await frozen(indoors, "ping -c1 -W1 192.0.2.1")
    assert isinstance(found, Frozen)
    assert found.least_level == 2
    assert "outside the sandbox" in found.needs_yes


@pytest.mark.threat("T06")
async def test_a_decision_of_a_policy_that_is_no_longer_in_force_freezes_nothing(indoors):
    app = indoors.app
    reloaded, kept = replace(app.policy, digest="1" * 64), app.freezer._policy
    app.freezer._policy = lambda: reloaded
    refused = await frozen(indoors, "ls")
    app.freezer._policy = kept
    assert isinstance(refused, Unrunnable)
    assert "policy changed" in refused.message


@pytest.mark.threat("T25")
async def test_a_host_below_the_minimum_is_told_what_to_do(indoors):
    app = indoors.app
    controls = tuple(replace(c, seen="absent", fix="do this") for c in app.host.controls[:2])
    weak = replace(app.host, rung="none", controls=controls)
    app.freezer._host, kept = weak, app.freezer._host
    refused = await frozen(indoors, "ls")
    app.freezer._host = kept
    assert isinstance(refused, Unrunnable)
    assert "do this" in refused.message
    assert "nothing ran" in refused.message.lower()
