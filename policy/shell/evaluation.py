"""Where bash would read data as shell text: the uses of each command that stay understood.

Source: Bash Reference Manual §3.2.5.2 (`[[ ]]`), §4 (builtins), §6.5 (arithmetic).
"""

import policy.shell.tree as t
from policy.shell.builtins import (
    NUMERIC_TESTS,
    declared_refusal,
    names_refusal,
    program_refusal,
    split_names,
    target_refusal,
)
from policy.shell.numbers import is_number
from policy.shell.walk import nodes

_MAKES_ARRAYS = frozenset({"mapfile", "readarray"})


def refusal(command: t.Command) -> str | None:
    """Return why this command would evaluate data as shell text, or None."""
    match command:
        case t.SimpleCommand(assignments=assignments, words=words):
            reason = names_refusal(one.name for one in assignments) if assignments else None
            return reason or program_refusal(words)
        case t.Declaration(arguments=arguments):
            return next(filter(None, map(declared_refusal, arguments)), None)
        case t.For(name=name):
            return names_refusal([name])
        case t.Conditional(expression=expression):
            return _conditional(expression)
        case _:
            return None


def splits_numbers(command: t.Command) -> bool:
    """Return whether `[` splits a name, which must then be proven to be a number."""
    return isinstance(command, t.SimpleCommand) and bool(split_names(command.words))


def _conditional(expression: t.TestExpression) -> str | None:
    match expression:
        case t.NotTest(operand=operand):
            return _conditional(operand)
        case t.BothTests(left=left, right=right):
            return _conditional(left) or _conditional(right)
        case t.UnaryTest(operator="-v" | "-R", operand=word):
            return target_refusal(word)
        case t.BinaryTest(left=first, operator=operator, right=second):
            is_safe = operator not in NUMERIC_TESTS or (is_number(first) and is_number(second))
            return None if is_safe else "computed number in [[ ]]"
        case _:
            return None


def may_be_array(argument: t.Word | t.Assignment) -> bool:
    """Return whether `declare` would evaluate this value if the name is an array: `a='(...)'`."""
    if not isinstance(argument, t.Assignment):
        return False
    match argument.value.parts:
        case (t.Literal(text=""),) | (t.Array(), *_):
            return False
        case (t.Literal(text=text), *_):
            return text[:1] in ("", "(")
        case _:
            return True


def has_arrays(tree: t.CommandTree) -> bool:
    """Return whether the text makes an array anywhere."""
    return any(map(_makes_array, nodes(tree)))


def _makes_array(node: object) -> bool:
    match node:
        case t.Array():
            return True
        case t.Declaration(arguments=arguments):
            options = [one.literal or "" for one in arguments if isinstance(one, t.Word)]
            return any(one[:1] == "-" and "a" in one for one in options)
        case t.SimpleCommand(words=words):
            return any(word.literal in _MAKES_ARRAYS for word in words)
        case _:
            return False
