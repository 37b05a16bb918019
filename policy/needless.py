"""Rules that change nothing: allows that a stricter rule always overrules, and repetitions.

May touch: rules. May not touch: accesses, decisions; whether one rule speaks wherever another does
is cover.py's to show.
INVARIANT: a rule called needless can be removed and no decision becomes looser or stricter; where
that cannot be shown nothing is said.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Literal

from policy.cover import Everywhere, everywhere, narrows_no_more, same_words, speaks_of
from policy.model import Effect, Obligations
from policy.obligations import strictest
from policy.rules import Rule

Severity = Literal["warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at: where, in which rule, what it is, and what to do about it."""

    kind: str
    severity: Severity
    place: str
    rule_id: str
    what: str
    fix: str
    also: tuple[str, ...] = ()  # every place it is about, where `what` names the first


def warning(kind: str, rule: Rule, what: str, fix: str) -> Finding:
    """Return a finding about a whole rule."""
    return Finding(kind, "warning", rule.place, rule.id, what, fix)


def needless(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Yield every rule that could be removed alone without any decision changing."""
    gone: set[str] = set()  # of two that say the same, one stays
    lifted = frozenset[str]().union(*(rule.lifts for rule in rules))
    many = list(map(everywhere, rules))
    for rule, mine in zip(rules, many, strict=True):
        if rule.lifts:
            continue  # it silences others, so it says more than its effect
        others = [other for other in many if other is not mine and other[0].id not in gone]
        stricter = _covering(mine, others, _overrules)
        if rule.effect is Effect.ALLOW and stricter:
            names = _listed(stricter)
            what = f"never allows anything: {names} is stricter wherever it matches"
            fix = "remove it, or narrow the stricter rule with `except`"
            yield warning("shadowed", rule, what, fix)
            continue
        same = _covering(mine, [one for one in others if one[0].id not in lifted], _repeats)
        if same:
            gone.add(rule.id)
            what = f"says nothing that {_listed(same)} does not say"
            found = warning("duplicate", rule, what, "remove one of them")
            # Files that are also used alone may well repeat one another.
            is_own = any(_file(one.place) == _file(rule.place) for one in same)
            yield found if is_own else replace(found, severity="note")


def _file(place: str) -> str:
    return place.rsplit(":", 2)[0]


def _covering(
    mine: Everywhere, others: Iterable[Everywhere], counts: Callable[[Rule, Rule], bool]
) -> list[Rule]:
    """Return rules that count and together speak wherever this one does, or none."""
    fitting = [one for one in others if all(map(counts, one, mine))]
    found: dict[str, Rule] = {}
    for operation in sorted(mine[0].operations):
        for globs in zip(*(rule.resources or (None,) for rule in mine), strict=True):
            over = [
                one[0]
                for one in fitting
                if all(map(speaks_of, one, mine, repeat(operation), globs))
            ]
            if not over:
                return []
            found[over[0].id] = over[0]
    return list(found.values())


def _overrules(other: Rule, rule: Rule) -> bool:
    """Return whether `other` always outweighs an allow: it is stricter, and what it adds stays."""
    return (
        other.effect > rule.effect
        and not other.tightens_only
        and (other.effect is Effect.DENY or rule.obligations == Obligations())
        and narrows_no_more(other, rule)
    )


def _repeats(other: Rule, rule: Rule) -> bool:
    return (
        other.effect is rule.effect
        and (rule.tightens_only or not other.tightens_only)
        and strictest([other.obligations, rule.obligations]) == strictest([other.obligations])
        and other.grantable <= rule.grantable
        and narrows_no_more(other, rule)
        and (rule.effect is not Effect.DENY or _denies_alike(other, rule))
    )


def _denies_alike(other: Rule, rule: Rule) -> bool:
    # A host that is not known weakens a deny to an ask; what the sandbox can mask may be passed by.
    is_as_strict = bool(other.hosts) <= bool(rule.hosts)
    return is_as_strict and other.narrows is rule.narrows and same_words(other, rule)


def _listed(rules: Iterable[Rule]) -> str:
    return ", ".join(f"{rule.id} ({rule.place})" for rule in rules)
