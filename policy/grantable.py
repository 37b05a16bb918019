"""Which asks one yes may stand for again: the operations that never are, unless a rule says so.

May touch: decisions. May not touch: grants, profiles; the hall knows what is unconfined.
INVARIANT: only a rule with `grantable: true` opens what this table closes, for its own asks alone,
and only where every rule that asks about the access says it.
"""

from collections.abc import Iterator
from typing import Final

from policy.decide import LIMIT
from policy.model import Decision, Effect, Verdict

# What deletes, what takes rights, what happens on other machines, what nobody could read.
NEVER: Final = frozenset(
    {
        "fs.delete", "git.history", "device.write", "resource.exhaust",
        "privilege.escalate", "persistence", "env.poison", "sys.control", "service.control",
        "credential.read", "audit.tamper", "proc.signal",
        "remote.exec", "cloud.mutate", "container.exec",
        "opaque",
    }
)  # fmt: skip
# Which code runs is in the words that a wider scope leaves open.
EXACTLY: Final = frozenset({"code.exec", "opaque"})


def asking(decision: Decision) -> tuple[str, ...]:
    """Return what asks, each as rule and operation, sorted: a grant covers these and no others."""
    found = {
        f"{rule} {one.access.operation}"
        for one in _asked(decision)
        for rule in one.asking or (one.rule_id,)
    }
    return tuple(sorted(found))


def ungrantable(decision: Decision, *, needs_more: bool) -> str:
    """Return why no grant may stand for this decision's yes; "" where one may.

    `needs_more`: the run leaves the sandbox, or asks for another reason than the rules'; then
    every rule that asks must say so.
    """
    asked = list(_asked(decision))
    closed = [one for one in asked if not one.grantable]
    if needs_more and (closed or not asked):
        return "it is more than the rules ask about, and no rule of it is grantable"
    if any(one.rule_id == LIMIT for one in asked):
        return "it takes too long to check"
    found = sorted({one.access.operation for one in closed} & NEVER)
    return f"{', '.join(found)} is asked each time; no rule of it is grantable" if found else ""


def is_exact_only(decision: Decision) -> bool:
    """Return whether a grant may stand for exactly this action and nothing wider.

    So it is where a rule only may concern what is asked about: other words may be what it means.
    """
    return any(one.access.operation in EXACTLY or not one.certain for one in _asked(decision))


def _asked(decision: Decision) -> Iterator[Verdict]:
    return (one for one in decision.verdicts if one.effect is Effect.ASK)
