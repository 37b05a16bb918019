"""The short way of `classify` says what the long way says, and leaves it what it is unsure of."""

import io
import sys
from contextlib import chdir, redirect_stdout

import pytest

from mcp_server.cli.exits import Exit
from mcp_server.cli.start import INTERRUPTED, OK, USAGE, classified
from tests.mcp_server.rig import Rig
from tests.mcp_server.test_cli import Line

SHORT = [
    ["classify", "--", "rm -rf src"],
    ["classify", "--json", "--", "rm", "-rf", "src"],
    ["classify", "--policy", "dev-safe", "--policy", "ops-inspect", "--", "cat /srv/x"],
    ["classify", "--workspace", "/nonexistent/x", "--json", "--", "touch a"],
    ["classify", "--", "cat $'\\e[2J'"],
]
LONG = [
    [],
    ["--help"],
    ["classify"],
    ["classify", "ls"],
    ["classify", "--"],
    ["classify", "--help", "--", "ls"],
    ["classify", "--batch", "x", "--", "ls"],
    ["classify", "--policy", "--", "ls"],
    ["classify", "--policy=dev-safe", "--", "ls"],
    ["classify", "--policy", "nopack", "--", "ls"],
    ["policy", "explain", "--", "ls"],
    ["exec", "--", "ls"],
]


@pytest.fixture
def here(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Line:
    for name, value in rig.environment.items():
        monkeypatch.setenv(name, value)
    return Line(rig)


@pytest.mark.parametrize("words", SHORT, ids=" ".join)
def test_both_ways_say_the_same(here: Line, words: list[str]):
    with chdir(here.rig.workspace), redirect_stdout(io.StringIO()) as out:
        assert classified(words)
    assert out.getvalue() == here.run(*words).stdout


@pytest.mark.parametrize("words", LONG, ids=" ".join)
def test_what_the_short_way_does_not_know_it_leaves_alone(here: Line, words: list[str]):
    with chdir(here.rig.workspace), redirect_stdout(io.StringIO()) as out:
        assert not classified(words)
    assert out.getvalue() == ""


def test_a_completion_is_not_a_command(here: Line, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("_PERMITGATE_COMPLETE", "complete_bash")
    assert not classified(["classify", "--", "ls"])


def test_both_ways_end_with_the_same_codes():
    assert (OK, USAGE, INTERRUPTED) == (Exit.OK, Exit.USAGE, Exit.INTERRUPTED)


def test_the_first_word_is_enough_for_a_colour(here: Line, monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for no_colour, start in (("", "\x1b[1;33mASK\x1b[0m  risk"), ("1", "ASK  risk")):
        monkeypatch.setenv("NO_COLOR", no_colour)
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        with chdir(here.rig.workspace):
            classified(["classify", "--", "rm -rf src"])
        assert terminal.getvalue().startswith(start)
