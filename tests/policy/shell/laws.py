"""The reader's first law, as all tests of it ask for it."""

import policy.shell.tree as t
from policy.shell.reader import read
from policy.shell.render import render

# Quotes cost four characters each, and braces are written out: a rendering may pass the bounds.
_BOUNDS = ("longer than 16 KiB", "work budget spent")


def is_read_back(tree: t.CommandTree) -> bool:
    """Return whether a tree is read from its rendering, unless that is too long to be read."""
    again = read(render(tree))
    return again.reason in _BOUNDS if isinstance(again, t.Opaque) else again == tree
