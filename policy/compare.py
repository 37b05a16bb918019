"""Two policies compared: rule by rule, and by what they say of past actions.

May touch: policies, past actions. May not touch: logs, files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from policy.model import Effect
from policy.replay import Past, Replay, deciding
from policy.rules import Policy, Rewrite, Rule

AnyRule = Rule | Rewrite
_NO_DIFFERENCE: Final = frozenset({"id", "place", "examples", "variables"})


@dataclass(frozen=True, slots=True)
class Changed:
    """A rule of both policies that says something else, with the fields that differ."""

    old: AnyRule
    new: AnyRule
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two policies, by rule id."""

    added: tuple[AnyRule, ...]
    removed: tuple[AnyRule, ...]
    changed: tuple[Changed, ...]
    default: tuple[Effect, Effect] | None


@dataclass(frozen=True, slots=True)
class Flip:
    """An action that the new policy decides otherwise, and how often it was asked for."""

    text: str
    tool: str
    old: Effect
    new: Effect
    old_rules: Mapping[str, str]  # rule id to place
    new_rules: Mapping[str, str]
    count: int
    first: Past
    last: Past

    @property
    def is_looser(self) -> bool:
        """Return whether the new policy stops less."""
        return self.new < self.old


def changes(old: Policy, new: Policy) -> Changes:
    """Return what differs by rule; where a rule stands, and its examples, make no difference."""
    before = {rule.id: rule for rule in _all(old)}
    after = {rule.id: rule for rule in _all(new)}
    changed = [
        Changed(before[name], rule, found)
        for name, rule in after.items()
        if name in before and (found := _differing(before[name], rule))
    ]
    return Changes(
        added=tuple(rule for name, rule in after.items() if name not in before),
        removed=tuple(rule for name, rule in before.items() if name not in after),
        changed=tuple(changed),
        default=None if old.default is new.default else (old.default, new.default),
    )


def verb(rule: AnyRule) -> str:
    """Return what a rule does: allow, ask, deny or rewrite."""
    return rule.effect.name.lower() if isinstance(rule, Rule) else "rewrite"


def _all(policy: Policy) -> tuple[AnyRule, ...]:
    return (*policy.rules, *policy.rewrites)


def _differing(old: AnyRule, new: AnyRule) -> tuple[str, ...]:
    if type(old) is not type(new):
        return (verb(new),)
    names = [field.name for field in fields(new) if field.name not in _NO_DIFFERENCE]
    found = [name for name in names if getattr(old, name) != getattr(new, name)]
    if isinstance(old, Rule) and isinstance(new, Rule) and _values(old) != _values(new):
        found.append("variables")
    return tuple(found)


def _values(rule: Rule) -> dict[str, str]:
    return dict(rule.variables)


def flips(past: Iterable[Past], old: Policy, new: Policy) -> tuple[Flip, ...]:
    """Return the actions that would be decided otherwise: the looser first, then the frequent."""
    before, after = Replay(old), Replay(new)
    found: dict[tuple[str, str, Effect, Effect], Flip] = {}
    for one in past:
        was, now = before.decision(one), after.decision(one)
        if was.effect is now.effect:
            continue
        key = (one.text, one.request.tool, was.effect, now.effect)
        known = found.get(key)
        if known is None:
            rules = deciding(was), deciding(now)
            found[key] = Flip(*key, *rules, count=1, first=one, last=one)
        else:
            found[key] = replace(known, count=known.count + 1, last=one)
    return tuple(
        sorted(found.values(), key=lambda one: (not one.is_looser, -one.count, one.first.seq))
    )
