"""Names that stand in a file, and names that a regular expression means."""

import pytest

from policy.model import Context
from policy.programs.index import Programs
from policy.programs.words import HOLE, Argument, Place, Stdin
from policy.traversal import Traversal

CONTEXT = Context("/w", "/home/me", "me", "host")
PROGRAMS = Programs(
    {
        "t.yaml": """
pack: {args: fs.list..., options: {-T: names}}
seek: {args: fs.list..., options: {-name: name, -regex: regex, -exec: command;}}
look: {args: fs.read...}
"""
    }
)


def run(*words, stdin=None, texts=None):
    walk = Traversal(PROGRAMS, CONTEXT)
    walk.texts |= texts or {}
    accesses = walk.argv([Argument(one) for one in words], Place("/w", CONTEXT), stdin or Stdin())
    return [f"{one.operation} {one.resource}" for one in accesses]


@pytest.mark.threat("T02")
@pytest.mark.parametrize("dash", ["-", "/dev/stdin"])
def test_names_on_standard_input_are_read_as_they_are_and_below_each_operand(dash):
    found = run("pack", "-T", dash, "/etc", stdin=Stdin("a\nb\n", connected=True))
    assert {"fs.read /w/a", "fs.read /etc/a", "fs.read /w/b", "fs.read /etc/b"} <= {*found}


@pytest.mark.threat("T02")
def test_names_that_another_command_found_are_read():
    origins = (Argument(f"/etc/{HOLE}", "pattern"),)
    assert f"fs.read /etc/{HOLE}" in run("pack", "-T", "-", stdin=Stdin(None, True, False, origins))
    assert f"fs.read {HOLE}" in run("pack", "-T", "-", stdin=Stdin(None, True))


@pytest.mark.threat("T02")
def test_names_in_a_file_that_the_text_wrote_are_read():
    assert "fs.read /etc/a" in run("pack", "-T", "l", texts={"/w/l": "/etc/a\n"})
    assert run("pack", "-T", "l") == ["fs.read /w/l"]


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        (r".*/\.env.*", "/w/**/.env*"),
        (r".*/id_[a-z0-9]+", "/w/**/id_*"),
        (r".*\.pem", f"/w/{HOLE}*.pem"),
        (r".*/\(a\)?b", "/w/**/*b"),
        (r"\(a\|b\)", f"/w/{HOLE}?"),
    ],
)
def test_a_regular_expression_is_a_pattern_of_names(regex, expected):
    assert f"fs.read {expected}" in run("seek", ".", "-regex", regex, "-exec", "look", "{}", ";")
