"""Every node of a tree, and a tree with some of its nodes changed.

May touch: nothing; the table of branches is in tree.py.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter, is_
from typing import TypeVar, cast

import policy.shell.tree as t

Node = TypeVar("Node")


def _all_of(names: tuple[str, ...]) -> Callable[[object], Iterable[object]]:
    """Return a function from a node to what its branches hold, one after another."""
    if len(names) > 1:
        return attrgetter(*names)
    only = attrgetter(names[0])
    return lambda node: held if isinstance(held := only(node), tuple) else (held,)


# Leaves have no branches, and most nodes are leaves.
_LEAVES = frozenset(kind for kind, names in t.BRANCHES.items() if not names)
_BRANCHES = {kind: _all_of(names) for kind, names in t.BRANCHES.items() if names}


def nodes(value: object) -> list[object]:
    """Return a node (or a tuple of nodes) and everything below it, in no promised order."""
    found, kinds = [value], t.BRANCHES
    for node in found:  # which grows meanwhile
        if isinstance(node, tuple):
            found += node
        elif isinstance(node, t.Word):  # as most that have branches are
            found += node.parts
        elif (branches := _BRANCHES.get(type(node))) is not None:
            found += branches(node)
    return [node for node in found if type(node) in kinds]


def is_flat(node: object) -> bool:
    """Return whether a node is a word without other words or commands in it."""
    return isinstance(node, t.Word) and _LEAVES.issuperset(map(type, node.parts))


def rebuilt(node: Node, change: Callable[[object], object]) -> Node:
    """Return the node with `change` applied to each of its branches, and itself if none changed.

    `change` must return a node that may stand where the one it was given stood.
    """
    if isinstance(node, tuple):
        items = tuple(map(change, node))
        return node if all(map(is_, node, items)) else cast(Node, items)
    branches = t.BRANCHES.get(type(node), ())
    if not branches:
        return node
    held = [getattr(node, name) for name in branches]
    changed = [one if one == () else change(one) for one in held]
    if all(map(is_, held, changed)):
        return node
    values = dict(zip(branches, changed, strict=True))
    make: Callable[..., Node] = type(node)
    return make(*(values.get(name, getattr(node, name)) for name in t.FIELDS[type(node)]))
