"""Values that a text assigns where nobody can say whether: each of them may be the one used."""

import pytest

from policy.footprint import footprint
from policy.model import Context, Exec

CONTEXT = Context("/home/dev/work", "/home/dev", "dev", "box")
W = CONTEXT.workspace

SUPPOSED = {
    "two halves in a group": ("{ a=/etc/sha; b=dow; cat $a$b; }", "fs.read /etc/shadow"),
    "a program in a group": ("{ x=rm; $x -rf /; }", "fs.delete /"),
    "a program and its options": ('{ x="rm -rf"; $x /; }', "fs.delete /"),
    "a program in a function": ("f() { x=rm; $x -rf /; }; f", "fs.delete /"),
    "one branch": ("if [ -e x ]; then a=/b; else a=c; fi; cat $a", "fs.read /b"),
    "the other branch": ("if [ -e x ]; then a=/b; else a=c; fi; cat $a", f"fs.read {W}/c"),
    "the next round of a loop": ("for i in 1 2; do cat $f; f=/b; done", "fs.read /b"),
    "a value that grows": ("{ a=/et; a+=c; cat $a; }", "fs.read /etc"),
    "a value made of another": ("{ a=/et; b=${a}c; cat $b; }", "fs.read /etc"),
    "what a function is given": ('f() { cat "$1$2"; }; f /et c', "fs.read /etc"),
    "what a function leaves": ("f() { a=/et; b=c; }; f; cat $a$b", "fs.read /etc"),
    "a shell inside": ("{ a=/et; export b=c; sh -c 'cat $a$b'; }", "fs.read /etc"),
}


def lines(command):
    found = footprint(Exec(command, None, W), CONTEXT)
    return [f"{one.operation} {one.resource}" for one in found.accesses]


@pytest.mark.threat("T01")
@pytest.mark.parametrize(("command", "expected"), SUPPOSED.values(), ids=SUPPOSED)
def test_each_value_a_name_may_hold_is_tried(command, expected):
    assert expected in lines(command)


def test_what_is_supposed_takes_nothing_away():
    assert "opaque the program's name is not known: '…'" in lines("{ x=ls; $x; }")


def test_a_name_that_is_given_to_one_function_is_not_given_to_the_next():
    assert f"fs.read {W}/b" not in lines('g() { cat "$1"; }; f() { ls "$1"; }; f b; g')


def test_all_rounds_share_one_budget():
    branches = "; ".join(f"a=x{number}; cat $a" for number in range(60))
    found = footprint(Exec(f"{{ {branches}; }}", None, W), CONTEXT)
    assert "the work budget is spent" in (found.opaque or "")


def test_the_programs_that_may_start_are_named():
    found = footprint(Exec("{ x=ls; $x a; }", None, W), CONTEXT)
    assert "ls" in found.programs
    assert [[word.text for word in words] for words in found.words["ls"]] == [["ls", "a"]]
