"""What is decided is what runs: anchored patterns, git that starts nothing."""

import pytest

from policy.footprint import footprint
from policy.hardening import hardened, hardened_argv
from policy.model import Context, Exec
from policy.programs.index import Programs
from policy.shell.reader import read
from policy.shell.render import render

CONTEXT = Context("/w", "/home/me", "me", "host")
PROGRAMS = Programs(
    {
        "t.yaml": "look: {args: fs.read..., options: {-v: flag}}\n"
        "act: {args: fs.read..., options: {-x: shell}}\n"
        "wrap: {args: command}\n"
        "deep: {commands: {a: {args: text...}, b: {args: text..., options: {-o: fs.write}}}}\n"
        "lock: {args: text..., options: {-m: {as: w}}, modes: {w: {options: {-o: fs.write}}}}\n"
        "git: {args: text...}\n"
        "find: {args: fs.list..., options: {-name: text, -delete: {does: fs.delete .}}}\n"
    }
)


def change(text):
    return hardened(read(text), text, PROGRAMS)


@pytest.mark.threat("T02")
@pytest.mark.parametrize("program", ["act", "wrap", "deep", "lock", "nope", "/usr/bin/act"])
def test_a_pattern_is_anchored_where_an_option_could_act(program):
    assert render(change(f"{program} *")) == f"'{program}' './'*"


@pytest.mark.threat("T02")
def test_git_in_the_text_of_a_shell_starts_nothing_either():
    quiet = "'git' '-c' 'core.fsmonitor=false' '--no-pager' 'status' && 'make'"
    assert hardened_argv(("sh", "-c", "git status && make")) == ("sh", "-c", quiet)
    for line in ("sh -c 'git status && make' a", "true; bash -c 'git status && make' a"):
        words = change(line).statements[-1].words
        assert [word.literal for word in words[2:]] == [quiet, "a"]


@pytest.mark.parametrize(
    "argv",
    [
        ("sh", "-c", "echo git"),
        ("sh", "-c", "cat <<< x; git status"),
        ("sh", "-c", "git status $'\\x01'"),
        ("sh", "-c", "git status; ${x:=y}"),
        ("sh", "-e", "git status"),
        ("cat", "-c", "git status"),
        ("sh", "-c"),
    ],
)
def test_other_text_of_a_shell_stays_as_it_is(argv):
    assert hardened_argv(argv) == argv


def test_a_pattern_stays_where_no_option_acts():
    assert render(change("look *")) == "'look' *"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("find . -name *.py", "'find' '.' '-name' *'.py'"),
        ("find . -name *.py | act *", "'find' '.' '-name' *'.py' | 'act' './'*"),
        ("find *.d -name a", "'find' './'*'.d' '-name' 'a'"),
    ],
)
def test_a_name_that_find_looks_for_is_no_path(given, expected):
    assert render(change(given)) == expected


@pytest.mark.threat("T02")
@pytest.mark.parametrize("pattern", ["*", "*e", "[-]*", "?name"])
def test_a_name_that_could_become_an_option_of_find_is_anchored(pattern):
    assert "'-name' './'" in render(change(f"find . -name {pattern}"))


QUIET = ("git", "-c", "core.fsmonitor=false", "--no-pager")


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("git", "status"), (*QUIET, "status")),
        (("git", "log", "-p"), (*QUIET, "log", "--no-ext-diff", "--no-textconv", "-p")),
        (("git", "diff"), (*QUIET, "diff", "--no-ext-diff", "--no-textconv")),
        (("git", "-C", "x", "show"), (*QUIET, "-C", "x", "show", "--no-ext-diff", "--no-textconv")),
        (("git", "push"), ("git", "push")),
        (("git",), ("git",)),
        (("git", "-C"), ("git", "-C")),
        (("ls", "log"), ("ls", "log")),
        ((), ()),
        ((*QUIET, "status"), (*QUIET, "status")),
    ],
)
def test_git_that_reads_starts_nothing_a_repository_names(given, expected):
    assert hardened_argv(given) == expected
    text = " ".join(given) or ":"
    wanted = " ".join(f"'{word}'" for word in expected) or ":"
    assert render(change(text)) == wanted.replace("':'", ":") or not given


@pytest.mark.threat("T02")
def test_a_sub_command_that_is_not_known_is_left_as_it_is():
    assert render(change('git "$x"')) == "'git' \"${x}\""


@pytest.mark.parametrize("command", ["git status", "git -C x log -p", "git diff"])
def test_what_hardening_adds_touches_nothing(command):
    by_text = footprint(Exec(command, None, "/w"), CONTEXT)
    by_vector = footprint(Exec(None, tuple(command.split()), "/w"), CONTEXT)
    assert {one.operation for one in by_text.accesses} <= {"git.read", "fs.read"}
    assert by_text.executable == by_vector.executable
    assert by_text.accesses == by_vector.accesses
    assert by_text.executable.argv[:4] == QUIET


@pytest.mark.threat("T02")
def test_a_git_setting_of_the_callers_own_still_shows():
    found = footprint(Exec("git -c core.fsmonitor=x status", None, "/w"), CONTEXT)
    assert "code.exec" in {one.operation for one in found.accesses}
