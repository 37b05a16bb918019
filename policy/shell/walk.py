"""Every node of a tree, and a tree with some of its nodes changed.

May touch: nothing; the table of branches is in tree.py.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar, cast

import policy.shell.tree as t

Node = TypeVar("Node")


def nodes(value: object) -> Iterator[object]:
    """Yield a node (or a tuple of nodes) and everything below it, in no promised order."""
    pending = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending.extend(node)
        elif node is not None and not isinstance(node, str):
            yield node
            pending.extend([getattr(node, name) for name in t.BRANCHES[type(node)]])


def rebuilt(node: Node, change: Callable[[object], object]) -> Node:
    """Return the node with `change` applied to each of its branches, and itself if none changed.

    `change` must return a node that may stand where the one it was given stood.
    """
    if isinstance(node, tuple):
        items = tuple(map(change, node))
        return node if all(map(_same, node, items)) else cast(Node, items)
    branches = t.BRANCHES.get(type(node), ())
    values = {name: change(getattr(node, name)) for name in branches}
    if all(getattr(node, name) is values[name] for name in branches):
        return node
    make: Callable[..., Node] = type(node)
    return make(*(values.get(name, getattr(node, name)) for name in t.FIELDS[type(node)]))


def _same(left: object, right: object) -> bool:
    return left is right
