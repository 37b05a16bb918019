"""Lines of plain and simply quoted words, pipes, `&&` and `;`: most lines, read without a grammar.

INVARIANT: a tree that is returned here is the tree that the grammar returns.
"""

import re

import policy.shell.tree as t
from policy.shell.builtins import DECLARATIONS, RULES
from policy.shell.cursor import MAX_WORK

_NAME = "[A-Za-z0-9_./:,@%+-]+"
_WORD = r"[A-Za-z0-9_./:,@%+=-]+"
_QUOTED = r"'[^'\n]*'|\"[^\"$`\\\n]*\""
_COMMAND = rf"{_NAME}(?: (?:{_WORD}|{_QUOTED}))*"
_LINE = re.compile(rf"{_COMMAND}(?:(?: \|| &&|;) {_COMMAND})*")
_TOKEN = re.compile(rf"(\||&&|;)|({_WORD})|{_QUOTED}")
_SIGNS = re.compile("['\"|;&]")
# What the grammar must see: reserved words, and builtins whose words may be evaluated.
_OTHERWISE = (
    DECLARATIONS
    | frozenset(RULES)
    | frozenset(
        {
            "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case",
            "esac", "function", "select", "time", "coproc", "in", "command", "builtin",
        }
    )
)  # fmt: skip
_Pipe = list[t.Command]


def plain(text: str) -> t.CommandTree | None:
    """Return the tree of a line that needs no grammar, or None."""
    if len(text) >= MAX_WORK or not _LINE.fullmatch(text):
        return None
    if not _SIGNS.search(text):
        literals = text.split(" ")
        simple = t.SimpleCommand((), tuple([t.Word((t.Literal(one),)) for one in literals]))
        return None if literals[0] in _OTHERWISE else t.Sequence((simple,))
    return _parted(text)


def _parted(text: str) -> t.CommandTree | None:
    lists = list[list[_Pipe]]([[[]]])
    words = list[t.Word]()
    for found in _TOKEN.finditer(text + ";"):
        operator, word = found.groups()
        if not operator:
            words.append(t.Word((t.Literal(word or found.group()[1:-1]),)))
            continue
        if words[0].literal in _OTHERWISE:
            return None
        lists[-1][-1].append(t.SimpleCommand((), tuple(words)))
        words = []
        if operator == "&&":
            lists[-1].append([])
        elif operator == ";" and found.end() <= len(text):
            lists.append([[]])
    return t.Sequence(tuple(map(_statement, lists)))


def _statement(pipes: list[_Pipe]) -> t.Statement:
    first, *rest = [one[0] if len(one) == 1 else t.Pipeline(tuple(one)) for one in pipes]
    return t.AndOr(first, tuple(("&&", one) for one in rest)) if rest else first
