"""Of many changed paths, those that some rule has a word on: few enough to decide one by one.

May touch: paths and rules. INVARIANT: what is left out matches no ask and no deny, so deciding it
too would add nothing but allows and the default.
"""

from collections.abc import Iterable, Iterator

from policy.model import Context, Effect
from policy.rules import BoundPolicy, Policy, bind

Pair = tuple[str, str]  # operation, absolute path


def mentioned(changes: Iterable[Pair], policy: Policy, context: Context) -> Iterator[Pair]:
    """Yield the changes that an ask or a deny may concern, in the order given.

    Every path is one that was changed itself: of a deleted directory each file is one of them.
    """
    bound = bind(policy, context)
    spoken: dict[str, _Spoken] = {}
    for operation, path in changes:
        if operation not in spoken:
            spoken[operation] = _Spoken(bound, operation)
        if spoken[operation].concerns(path):
            yield operation, path


class _Spoken:
    """What rules say of one operation, besides what they allow."""

    def __init__(self, bound: BoundPolicy, operation: str) -> None:
        found = bound.by_operation.get(operation)
        self._named = found.named if found else None
        rules = found.others if found else ()
        self._rest = [one.exceptions for one in rules if one.rule.effect is not Effect.ALLOW]

    def concerns(self, path: str) -> bool:
        """Return whether a rule may stop this path."""
        if self._named is None:
            return False
        return self._named.has_path(path) or any(not one.has_path(path) for one in self._rest)
