"""What lies inside a glob for certain, and what may lie inside: names and paths, compared.

May touch: parsed globs (globs.py). May not touch: rules, accesses.
Tables are filled row by row from the end, so the work is the product of both lengths.
INVARIANT: `inside` never says yes too often, `overlaps` never says no too often.
"""

from collections.abc import Sequence
from typing import Final

from policy.globs import Many, Name, Part, Path, Token, text_tokens

MAX_CELLS: Final = 65_536  # work of name against name; beyond it the careful answer


def overlaps(left: Path, right: Path) -> bool:
    """Return whether some path is in both the access `left` and the policy glob `right`."""
    return _meet(left, right, aimed_at=-1)


def aims(left: Path, right: Path) -> bool:
    """Return whether `left` picks out what `right` names, instead of sweeping over it.

    `cat .en?` aims at `**/.env`; `cat *` and `cat *.json` sweep. The last name of `right` that is
    more than `*` decides.
    """
    telling = _telling(right)
    if telling < 0:
        return inside(left, right)
    name = right[telling]
    if not any(_aims_at(part, name) for part in left):
        return False
    return _meet(left, right, aimed_at=telling)


def _telling(right: Path) -> int:
    """Return the index of the last name that is more than `*`, or -1."""
    for at in reversed(range(len(right))):
        part = right[at]
        if isinstance(part, Name) and not part.is_any:
            return at
    return -1


def may_overlap(left: Path, right: Path) -> bool:
    """Return False where names in the same position differ; this settles most pairs cheaply."""
    if left and right and _differ(left[-1], right[-1]):
        return False
    for one, other in zip(left, right, strict=False):
        if isinstance(one, Many) or isinstance(other, Many):
            return True
        if _differ(one, other):
            return False
    return True


def _differ(one: Part, other: Part) -> bool:
    """Return whether two names differ for certain, by their text or their first and last signs."""
    if isinstance(one, Many) or isinstance(other, Many):
        return False
    if one.literal is not None and other.literal is not None:
        return one.literal != other.literal
    first, second = one.tokens[0], other.tokens[0]
    if first is not None and second is not None and not first.meets(second):
        return True
    first, second = one.tokens[-1], other.tokens[-1]
    return first is not None and second is not None and not first.meets(second)


def _meet(left: Path, right: Path, *, aimed_at: int) -> bool:
    """Fill the table row by row from the end: row[j] says whether left[i:] and right[j:] meet."""
    width = len(right)
    below = _tail(right)
    for part in reversed(left):
        row = [False] * (width + 1)
        row[width] = isinstance(part, Many) and below[width]
        for j in reversed(range(width)):
            other = right[j]
            if isinstance(other, Many):
                row[j] = row[j + 1] or below[j]
            elif isinstance(part, Many):
                hidden = part.hides and other.text.startswith(".")
                row[j] = below[j] or (row[j + 1] and not hidden and j != aimed_at)
            elif below[j + 1]:
                row[j] = _aims_at(part, other) if j == aimed_at else _names_meet(part, other)
        below = row
    return below[0]


def _tail(right: Path) -> list[bool]:
    """Return, for each j, whether right[j:] matches no names at all."""
    row = [True] * (len(right) + 1)
    for j in reversed(range(len(right))):
        row[j] = row[j + 1] and isinstance(right[j], Many)
    return row


def _aims_at(part: Part, glob: Part) -> bool:
    if isinstance(part, Many) or isinstance(glob, Many):
        return False
    if part.sweep:
        return glob.literal is None and _name_inside(part, glob)  # `*.pem` among `*.pem`
    if part.literal is not None or glob.literal is not None:
        return _names_meet(part, glob)
    if _name_inside(part, glob):
        return True
    # Both have wildcards: `test*` only passes by `*.pem`, but `shad*` means `shadow*`.
    same_start = part.tokens[0] is not None and glob.tokens[0] is not None
    return (same_start or part.tokens[-1] is not None) and _names_meet(part, glob)


def _names_meet(left: Name, right: Name) -> bool:
    if left.literal is not None and right.literal is not None:
        return left.literal == right.literal
    if _differ(left, right) or (left.hides and right.text.startswith((".", "\\.", "[.]"))):
        return False
    return _tokens_meet(left.tokens, right.tokens)


def _stars(right: Sequence[Token]) -> list[bool]:
    """Return, for each j, whether right[j:] matches no signs at all."""
    width = end = len(right)
    while end and right[end - 1] is None:
        end -= 1
    return [False] * end + [True] * (width + 1 - end)


def _tokens_meet(left: Sequence[Token], right: Sequence[Token]) -> bool:
    if len(left) * len(right) > MAX_CELLS:
        return True
    width = len(right)
    below = _stars(right)
    for token in reversed(left):
        row = [False] * (width + 1)
        row[width] = token is None and below[width]
        for j in reversed(range(width)):
            other = right[j]
            if token is None or other is None:
                row[j] = below[j] or row[j + 1]
            else:
                row[j] = below[j + 1] and token.meets(other)
        below = row
    return below[0]


def inside(left: Path, right: Path) -> bool:
    """Return whether everything `left` can be is in the policy glob `right`."""
    width = len(right)
    below = _tail(right)
    for part in reversed(left):
        row = [False] * (width + 1)
        for j in reversed(range(width)):
            other = right[j]
            if isinstance(other, Many):
                row[j] = row[j + 1] or below[j]
            else:
                row[j] = below[j + 1] and isinstance(part, Name) and _name_inside(part, other)
        below = row
    return below[0]


def _name_inside(left: Name, right: Name) -> bool:
    if left.literal is not None and right.literal is not None:
        return left.literal == right.literal
    for end in (0, -1):
        if left.tokens[end] is None and right.tokens[end] is not None:
            return False  # what begins or ends anyhow is not in what begins or ends so
    if _differ(left, right):
        return False
    return _tokens_inside(left.tokens, right.tokens)


def _tokens_inside(left: Sequence[Token], right: Sequence[Token]) -> bool:
    if len(left) * len(right) > MAX_CELLS:
        return False
    width = len(right)
    below = _stars(right)
    for token in reversed(left):
        row = [False] * (width + 1)
        for j in reversed(range(width)):
            other = right[j]
            if other is None:
                row[j] = row[j + 1] or below[j]
            else:
                row[j] = below[j + 1] and token is not None and token.within(other)
        below = row
    return below[0]


def text_overlaps(text: str, glob: str) -> bool:
    """Return whether a text with unknown parts may become one that the text glob matches."""
    return _tokens_meet(text_tokens(text, hidden=False), text_tokens(glob, hidden=True))


def text_inside(text: str, glob: str) -> bool:
    """Return whether everything a text with unknown parts can become is in the text glob."""
    return _tokens_inside(text_tokens(text, hidden=False), text_tokens(glob, hidden=True))
