"""Which names of a text are given a value only once, or only ever numbers.

May touch: trees. What the values are is known when the assignment is walked (invocation.py).
INVARIANT: a name is settled only if nothing in the text could assign it unseen; an assignment is
certain only at the top level, where nothing decides whether it happens.
"""

from typing import NamedTuple

import policy.shell.tree as t
from policy.programs.words import Argument
from policy.shell.walk import nodes

NUMBER = Argument("[-0-9]*", "pattern")
# They assign names that are not written as assignments.
_UNSEEN = frozenset(
    {
        None, "read", "mapfile", "readarray", "printf", "unset", "getopts", "wait", "command",
        "builtin", "eval", "source", ".", "let",
    }
)  # fmt: skip
_STATE = frozenset({"IFS", "PWD", "OLDPWD", "HOME", "REPLY", "OPTARG", "SHLVL", "CDPATH", "PATH"})


class Settled(NamedTuple):
    """The names whose one assignment holds, and those that only ever hold a number."""

    once: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()


def settled(tree: t.Sequence) -> Settled:
    """Return what can be said of the names that a text assigns."""
    times: dict[str, int] = {}
    other = set(_STATE)
    for node in nodes(tree):
        if isinstance(node, t.Assignment):
            times[node.name] = times.get(node.name, 0) + (2 if node.append else 1)
            if node.append or not _is_number(node.value):
                other.add(node.name)
        elif isinstance(node, t.For):
            times[node.name] = 2
            other.add(node.name)
        elif isinstance(node, t.SimpleCommand) and node.words:
            if node.words[0].literal in _UNSEEN and not _only_prints(node):
                return Settled()
        elif isinstance(node, t.Declaration | t.ArithmeticFor | t.ArithmeticCommand):
            return Settled()
    once = frozenset(name for name, count in times.items() if count == 1) - _STATE
    return Settled(once, frozenset(times) - other)


def _is_number(value: t.Word) -> bool:
    literal = value.literal
    if literal is not None:
        return literal.isdecimal()
    return len(value.parts) == 1 and isinstance(value.parts[0], t.Arithmetic)


def _only_prints(command: t.SimpleCommand) -> bool:
    return (
        command.words[0].literal == "printf"
        and len(command.words) > 1
        and (command.words[1].literal or "-")[:1] != "-"
    )


def certain(tree: t.Sequence) -> tuple[t.SimpleCommand, ...]:
    """Return the plain assignments that happen whatever else does."""
    firsts = (one.first if isinstance(one, t.AndOr) else one for one in tree.statements)
    return tuple(one for one in firsts if isinstance(one, t.SimpleCommand) and not one.words)
