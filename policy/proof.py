"""Every past action decided by another policy: what that opens, and what it stops.

May touch: past actions, the text of a policy. May not touch: how the text was made (learn.py), so
the proof is about the text alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from policy.load import load
from policy.model import Effect
from policy.replay import Past, Replay, deciding
from policy.rules import Policy, Source


@dataclass(frozen=True, slots=True)
class Wish:
    """What to call the policy, what to do with approved actions and with what was never seen."""

    name: str = "learned"
    trust_approved: bool = False
    default: Literal["ask", "deny"] = "ask"


@dataclass(frozen=True, slots=True)
class Stopped:
    """An action that the learned policy stops more than it was stopped, and why."""

    past: Past
    effect: Effect
    why: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Every action of the log decided by the learned policy."""

    policy: Policy
    allowed: int
    asked: int
    stay: int  # what did not run is not allowed
    exceptions: tuple[Stopped, ...]
    violations: tuple[Past, ...]  # did not run, and would be allowed: then the proof fails

    @property
    def holds(self) -> bool:
        """Return whether nothing that did not run would be allowed."""
        return not self.violations


def prove(text: str, actions: Sequence[Past], wish: Wish) -> Proof:
    """Return what the policy of this text says of every action."""
    # It has no examples of its own, and those of the pack it includes were tried when it was made.
    replay = Replay(load([Source(f"{wish.name}.yaml", text)], check_examples=False))
    ran = [past for past in actions if past.ran]
    later = {past.what for past in ran}
    # What waited for a yes and then got it is judged by the run; what something else than the
    # policy stopped may well be allowed.
    kept_out = [
        past
        for past in actions
        if not past.ran
        and past.effect is not Effect.ALLOW
        and (past.was_refused or past.what not in later)
    ]
    effects = [replay.decision(past).effect for past in ran]
    violations = [one for one in kept_out if replay.decision(one).effect is Effect.ALLOW]
    return Proof(
        policy=replay.policy,
        allowed=effects.count(Effect.ALLOW),
        asked=effects.count(Effect.ASK),
        stay=len(kept_out) - len(violations),
        exceptions=tuple(_stopped(ran, replay, wish)),
        violations=tuple(violations),
    )


def _stopped(ran: Iterable[Past], replay: Replay, wish: Wish) -> Iterator[Stopped]:
    for past in ran:
        decision = replay.decision(past)
        if decision.effect > wanted(past, wish):
            rules = ", ".join(f"{name} ({place})" for name, place in deciding(decision).items())
            operations = frozenset(
                one.access.operation for one in decision.verdicts if one.effect is decision.effect
            )
            why = f"{', '.join(sorted(operations))} by {rules}"
            yield Stopped(past, decision.effect, why)


def wanted(past: Past, wish: Wish) -> Effect:
    """Return how permitted an action that ran should stay."""
    is_free = past.effect is Effect.ALLOW and not past.approved
    return Effect.ALLOW if is_free or wish.trust_approved else Effect.ASK
