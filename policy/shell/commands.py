"""Tree to the list of simple commands it can start."""

from collections.abc import Iterator, Mapping
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
    return list(_below(folded(tree, known)))


def _below(node: object) -> Iterator[Found]:
    """Yield the commands of a node and of everything below it, outermost first."""
    match node:
        case t.SimpleCommand(assignments=assignments, words=words, redirects=redirects):
            yield Found(words, assignments, redirects)
        case t.Declaration(keyword=keyword, arguments=arguments, redirects=redirects):
            named = t.Word((t.Literal(keyword),))
            words = tuple(one for one in arguments if isinstance(one, t.Word))
            assignments = tuple(one for one in arguments if isinstance(one, t.Assignment))
            yield Found((named, *words), assignments, redirects)
        case tuple():
            for item in node:
                yield from _below(item)
        case _:
            pass
    for name in t.BRANCHES.get(type(node), ()):
        yield from _below(getattr(node, name))
