"""Text to an understood tree, or Opaque: strict, total, linear.

    1  bound the text: size, characters
    2  read it; every character belongs to exactly one token
    3  refuse what would read data as shell text (evaluation.py, numbers.py)
Other parsers are oracles in the tests, not judges at run time: their misreads would be ours.
"""

import re

import policy.shell.tree as t
from policy.shell import evaluation, numbers
from policy.shell.cursor import MAX_BYTES, RefusalError
from policy.shell.grammar import Grammar
from policy.shell.plain import plain

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# Who reads the text sees these reorder what is beside them, or does not see them at all.
_MISLEADS = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")


def read(text: str) -> t.CommandTree | t.Opaque:
    """Return the tree of a command line, or why it has none. Never raises."""
    try:
        return _read(text)
    except RefusalError as refusal:
        before = text[: refusal.place].encode("utf-8", "surrogatepass")
        return t.Opaque(refusal.reason, len(before))


def _read(text: str) -> t.CommandTree:
    _bound(text)
    if (tree := plain(text)) is not None:
        return tree
    grammar = Grammar(text)
    tree = grammar.script()
    if grammar.counts and (name := numbers.unproven(tree)):
        raise RefusalError(f"{name} is used as a number", 0)
    if grammar.declares and evaluation.has_arrays(tree):
        raise RefusalError("value that an array may evaluate", 0)
    return tree


def _bound(text: str) -> None:
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise RefusalError("not text", error.start) from None
    if size > MAX_BYTES:
        raise RefusalError("longer than 16 KiB", 0)
    if found := _CONTROL.search(text):
        raise RefusalError("control character", found.start())
    if not text.isascii() and (found := _MISLEADS.search(text)):
        raise RefusalError("character that misleads who reads it", found.start())
