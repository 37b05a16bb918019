"""Changes to a tree before it is decided, shown and run, so that all three are one value.

May touch: trees and specs. A pattern that could expand to an option is anchored with `./` where
the program's options can write, run or send (the `tar *` trick).
"""

from collections.abc import Mapping

import policy.shell.tree as t
from policy.programs.spec import STRONG, Spec
from policy.shell.render import anchored


def hardened(tree: t.CommandTree, programs: Mapping[str, Spec]) -> t.CommandTree:
    """Return the tree that is decided and run instead of the one that was read."""

    def has_dangerous_options(name: str | None) -> bool:
        base = (name or "").rpartition("/")[2]
        return base not in programs or _can_act(programs[base])

    return anchored(tree, has_dangerous_options)


def _can_act(spec: Spec) -> bool:
    """Return whether an option of the program, or of what it starts, can write, run or send."""
    starts = any(role.takes_the_rest or role.name in STRONG for role in spec.args or ())
    return spec.acts or starts or any(map(_can_act, spec.commands.values()))
