"""Tree to the list of simple commands it can start."""

from collections.abc import Mapping
from dataclasses import dataclass

import policy.shell.tree as t
from policy.shell.folding import folded


@dataclass(frozen=True, slots=True)
class Found:
    """One command that may start: its folded words, what it assigns and where it redirects."""

    words: tuple[t.Word, ...]
    assignments: tuple[t.Assignment, ...] = ()
    redirects: t.Redirects = ()

    @property
    def argv(self) -> tuple[str | None, ...]:
        """Return the argument vector; None marks a word that only the run will know."""
        return tuple(word.literal for word in self.words)


def commands(tree: t.CommandTree, known: Mapping[str, str] | None = None) -> list[Found]:
    """Return every simple command of the tree in source order, those in substitutions too.

    Args:
        tree: what was read; its provable constants are put in their places.
        known: what the run will find in its environment: HOME, PWD, USER.
    """
    found, pending = list[Found](), list[object]([folded(tree, known)])
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending.extend(reversed(node))
            continue
        if isinstance(node, t.SimpleCommand):
            found.append(Found(node.words, node.assignments, node.redirects))
        elif isinstance(node, t.Declaration):
            found.append(_declared(node))
        branches = t.BRANCHES.get(type(node), ())
        pending.extend([getattr(node, name) for name in reversed(branches)])
    return found


def _declared(node: t.Declaration) -> Found:
    words = tuple(one for one in node.arguments if isinstance(one, t.Word))
    assignments = tuple(one for one in node.arguments if isinstance(one, t.Assignment))
    return Found((t.Word((t.Literal(node.keyword),)), *words), assignments, node.redirects)
