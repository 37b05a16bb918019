"""Once more through a text, with each value that a name may hold where nobody can say which.

May touch: a walk that is done, and new ones. May not touch: rules.
INVARIANT: it only adds accesses, and costs no more than what the first walk left of the budget.
"""

import policy.shell.tree as t
from policy.model import Access
from policy.programs.words import Argument
from policy.surroundings import Setting
from policy.traversal import Traversal

_MOST_ROUNDS = 4


def supposed(walk: Traversal, tree: t.CommandTree, text: str, setting: Setting) -> list[Access]:
    """Return what the commands touch if the names they use hold what the text gives them.

    The first round gives each name what was assigned last; the others one value throughout, which
    is also what a loop or a function may find that comes before the assignment.

    Raises:
        SpentError: all rounds together are more work than one text may be.
    """
    found, fixed = list[Access](), dict[str, Argument]()
    held: dict[str, dict[Argument, None]] = {}
    for number in range(_MOST_ROUNDS):
        again = Traversal(walk.programs, walk.context)
        again.work, again.held = walk.work, held
        again.suppose(fixed)
        again.tree(tree, text, setting)
        found += again.found
        walk.work = again.work
        for name, words in again.words.items():
            walk.words.setdefault(name, []).extend(words)
        walk.names |= again.names
        values = {name: list(held[name]) for name in walk.missed & held.keys()}
        rounds = max(map(len, values.values()), default=0)
        if number >= rounds or not (again.missed or rounds > 1):
            break
        fixed = {name: several[number % len(several)] for name, several in values.items()}
    return found
