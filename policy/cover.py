"""Whether one rule speaks wherever another does: the ground for calling a rule needless.

May touch: rules and globs. May not touch: accesses, decisions.
INVARIANT: a yes holds for every access in every context; where that cannot be shown it is a no.
A glob inside another is shown name by name, as overlap.py compares an access with a rule, so what
is inside the first is inside the second for decide.py too. A variable stands for any path.
"""

import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Final

from policy.globs import EVERYTHING_BELOW, Name, Part, Path, policy_glob, text_tokens
from policy.model import PATH_OPERATIONS
from policy.overlap import inside, overlaps
from policy.rules import Rule, variables_in

UNKNOWN_PATH: Final = "<unknown path>"
_VARIABLE: Final = re.compile(r"\$\{\w+\}")
_LEADING: Final = re.compile(r"\$\{(?:workspace|home)\}(?=/|$)")
# What a rule says besides when it speaks, and what is compared here field by field.
_COMPARED: Final = frozenset(
    {
        "id", "place", "effect", "operations", "resources", "exceptions", "obligations", "reason",
        "instead", "examples", "variables", "tightens_only", "together_with", "programs", "tools",
        "hosts", "lifts",
    }
)  # fmt: skip


def narrows_no_more(wide: Rule, narrow: Rule) -> bool:
    """Return whether `wide` holds whenever the conditions of `narrow` hold, resources aside."""
    return (
        _subset(narrow.together_with, wide.together_with)
        and _subset(narrow.tools, wide.tools)
        and _programs_inside(narrow.programs, wide.programs)
        and _hosts_inside(texts_of(narrow, "hosts"), texts_of(wide, "hosts"))
        and all(
            getattr(wide, field.name) == field.default
            or _said(wide, field.name) == _said(narrow, field.name)
            for field in fields(Rule)
            if field.name not in _COMPARED
        )
    )


def speaks_of(wide: Rule, narrow: Rule, operation: str, glob: str | None) -> bool:
    """Return whether `wide` speaks of all that one glob of `narrow` names (None: any resource)."""
    if operation not in wide.operations:
        return False
    if not _resources_inside(wide, narrow, operation, glob):
        return False
    return all(
        any(glob_inside(mine, wide, hole, narrow) for hole in narrow.exceptions)
        or (glob is not None and not _may_meet(glob, narrow, mine, wide))
        for mine in wide.exceptions
    )


def same_words(wide: Rule, narrow: Rule) -> bool:
    """Return whether every glob of `narrow` stands in `wide`, and no exception of `wide` is new."""
    if wide.resources is None:
        return narrow.resources is None and set(wide.exceptions) <= set(narrow.exceptions)
    mine = {written(glob, wide) for glob in wide.resources}
    theirs = {written(glob, narrow) for glob in narrow.resources or ("",)}
    spared = {written(glob, wide) for glob in wide.exceptions}
    return theirs <= mine and spared <= {written(glob, narrow) for glob in narrow.exceptions}


def written(glob: str, rule: Rule) -> str:
    """Return a glob with the file's own variables and `~` written out."""
    values = dict(rule.variables)
    text = _VARIABLE.sub(lambda match: values.get(match[0][2:-1], match[0]), glob)
    return "${home}" + text[1:] if text == "~" or text.startswith("~/") else text


def glob_inside(left: str, left_rule: Rule, right: str, right_rule: Rule) -> bool:
    """Return whether everything one glob names, as a path and as a text, the other names too."""
    one, other = written(left, left_rule), written(right, right_rule)
    if one == other:
        return True
    lead = _LEADING.match(one)
    if lead and other.startswith(lead[0]) and _LEADING.match(other):
        one, other = one[lead.end() :] or "/", other[lead.end() :] or "/"
    if variables_in(other):
        return False
    as_text = inside(_as_text(_VARIABLE.sub("*", one)), _as_text(other))
    if one.startswith("<") or other.startswith("<"):
        return as_text and one.startswith("<")
    # A path glob that begins with `**` also matches texts; `/…` can match none in brackets.
    is_only_path = one.startswith("/") or _LEADING.match(one) is not None
    return inside(_shape(one), policy_glob(other)) and (is_only_path or as_text)


def _may_meet(left: str, left_rule: Rule, right: str, right_rule: Rule) -> bool:
    """Return False only if no resource is named by both globs."""
    one, other = written(left, left_rule), written(right, right_rule)
    as_texts = _as_text(_VARIABLE.sub("*", one)), _as_text(_VARIABLE.sub("*", other))
    if overlaps(*as_texts):
        return True
    if one.startswith("<") or other.startswith("<"):
        return False
    return overlaps(_shape(one), _shape(other))


def _as_text(glob: str) -> Path:
    """Return a glob over a whole text as one name, slashes being characters like others."""
    return (Name(glob, text_tokens(glob, hidden=True), None, hides=False, sweep=False),)


def _shape(glob: str) -> Path:
    """Return the parts of a glob; a name with a variable may be any number of names."""
    parts: list[Part] = []
    for part in policy_glob(glob):
        unknown = isinstance(part, Name) and _VARIABLE.search(part.text) is not None
        parts.append(EVERYTHING_BELOW if unknown else part)
    return tuple(parts)


def _resources_inside(wide: Rule, narrow: Rule, operation: str, glob: str | None) -> bool:
    if wide.resources is None:
        return True
    if glob is None:
        return operation not in PATH_OPERATIONS and "*" in wide.resources
    if glob == UNKNOWN_PATH and operation in PATH_OPERATIONS:
        # As a resource it stands for a path that nobody knows, and as a text for itself.
        return "/**" in wide.resources and glob in wide.resources
    return any(glob_inside(glob, narrow, other, wide) for other in wide.resources)


def _subset(narrow: frozenset[str], wide: frozenset[str]) -> bool:
    return not wide or (bool(narrow) and narrow <= wide)


def _programs_inside(narrow: frozenset[str], wide: frozenset[str]) -> bool:
    if not wide:
        return True
    return bool(narrow) and all(
        any(name == other or name.startswith(f"{other} ") for other in wide) for name in narrow
    )


def _hosts_inside(narrow: Iterable[str], wide: Iterable[str]) -> bool:
    mine, theirs = tuple(narrow), tuple(wide)
    if not theirs:
        return True
    if any(map(variables_in, (*mine, *theirs))):
        return bool(mine) and set(mine) <= set(theirs)
    return bool(mine) and all(
        any(inside(_as_text(one), _as_text(two)) for two in theirs) for one in mine
    )


def texts_of(rule: Rule, name: str) -> tuple[str, ...]:
    """Return the globs of one field as they are meant; nothing if it holds none."""
    value = getattr(rule, name)
    if not isinstance(value, tuple):
        return ()
    return tuple(written(one, rule) for one in value if isinstance(one, str))


def _said(rule: Rule, name: str) -> object:
    return texts_of(rule, name) or getattr(rule, name)
