"""Whether one rule speaks wherever another does: the ground for calling a rule needless.

May touch: rules and globs. May not touch: accesses, decisions.
INVARIANT: a yes holds for every access in every context; where that cannot be shown it is a no.
Rules are compared as they stand in two made-up contexts whose folders nobody names, so nothing is
inside anything, or apart from it, by where a workspace lies. A glob inside another is shown name by
name, as overlap.py compares an access with a rule, so decide.py sees it inside too.
"""

import re
from dataclasses import fields
from typing import Final

from policy.globs import policy_glob, text_glob
from policy.host_globs import within
from policy.model import PATH_OPERATIONS, Context
from policy.overlap import inside, overlaps
from policy.rules import Rule, placed

ANYWHERE: Final = (
    Context("/\ue000", "/\ue001", "\ue002", "\ue003"),
    Context("/\ue004/\ue004/\ue004", "/\ue005/\ue005", "\ue006", "\ue007"),
)
_OF_CONTEXT: Final = re.compile("[^/]*[\ue000-\ue007][^/]*")  # names that may be any
UNKNOWN_PATH: Final = "<unknown path>"
Everywhere = tuple[Rule, ...]  # one rule, as it stands in each of these contexts
# What a rule says besides when it speaks, and what is compared here field by field.
_COMPARED: Final = frozenset(
    {
        "id", "place", "effect", "operations", "resources", "exceptions", "obligations", "reason",
        "grantable",
        "instead", "examples", "variables", "tightens_only", "together_with", "programs", "tools",
        "hosts", "lifts",
    }
)  # fmt: skip


def everywhere(rule: Rule) -> Everywhere:
    """Return a rule as it is compared."""
    return tuple(placed(rule, context) for context in ANYWHERE)


def narrows_no_more(wide: Rule, narrow: Rule) -> bool:
    """Return whether `wide` holds whenever the conditions of `narrow` hold, resources aside."""
    return (
        _subset(narrow.together_with, wide.together_with)
        and _subset(narrow.tools, wide.tools)
        and _programs_inside(narrow.programs, wide.programs)
        and _hosts_inside(narrow.hosts, wide.hosts)
        and all(
            getattr(wide, field.name) in (field.default, getattr(narrow, field.name))
            for field in fields(Rule)
            if field.name not in _COMPARED
        )
    )


def speaks_of(wide: Rule, narrow: Rule, operation: str, glob: str | None) -> bool:
    """Return whether `wide` speaks of all that one glob of `narrow` names (None: any resource)."""
    return (
        operation in wide.operations
        and _resources_inside(wide, operation, glob)
        and all(
            any(glob_inside(mine, hole) for hole in narrow.exceptions)
            or (glob is not None and not _may_meet(glob, mine))
            for mine in wide.exceptions
        )
    )


def same_words(wide: Rule, narrow: Rule) -> bool:
    """Return whether every glob of `narrow` stands in `wide`, and no exception of `wide` is new."""
    if wide.resources is None or narrow.resources is None:
        return wide.resources is narrow.resources and set(wide.exceptions) <= set(narrow.exceptions)
    named = set(narrow.resources) <= set(wide.resources)
    return named and set(wide.exceptions) <= set(narrow.exceptions)


def glob_inside(one: str, other: str) -> bool:
    """Return whether everything one glob names, as a path and as a text, the other names too."""
    if one == other:
        return True
    as_text = inside(text_glob(one), text_glob(other))
    if one.startswith("<") or other.startswith("<"):
        return as_text and one.startswith("<")
    # A path glob that begins with `**` also matches texts; `/…` can match none in brackets.
    return inside(policy_glob(one), policy_glob(other)) and (one.startswith("/") or as_text)


def _may_meet(one: str, other: str) -> bool:
    """Return False only if no resource is named by both globs, wherever a workspace may lie."""
    one, other = (_OF_CONTEXT.sub("**", glob) for glob in (one, other))
    if overlaps(text_glob(one), text_glob(other)):
        return True
    is_path = not (one.startswith("<") or other.startswith("<"))
    return is_path and overlaps(policy_glob(one), policy_glob(other))


def _resources_inside(wide: Rule, operation: str, glob: str | None) -> bool:
    if wide.resources is None:
        return True
    if glob is None:
        return operation not in PATH_OPERATIONS and "*" in wide.resources
    if glob == UNKNOWN_PATH and operation in PATH_OPERATIONS:
        # As a resource it stands for a path that nobody knows, and as a text for itself.
        return "/**" in wide.resources and glob in wide.resources
    return any(glob_inside(glob, other) for other in wide.resources)


def _subset(narrow: frozenset[str], wide: frozenset[str]) -> bool:
    return not wide or (bool(narrow) and narrow <= wide)


def _programs_inside(narrow: frozenset[str], wide: frozenset[str]) -> bool:
    return not wide or (
        bool(narrow)
        and all(any(f"{name} ".startswith(f"{other} ") for other in wide) for name in narrow)
    )


def _hosts_inside(narrow: tuple[str, ...], wide: tuple[str, ...]) -> bool:
    return not wide or (
        bool(narrow) and all(any(within(one, other) for other in wide) for one in narrow)
    )
