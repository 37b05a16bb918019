"""The room's public door: one request, one policy, one context, one decision.

May touch: the footprint and the rules. May not touch: clocks, files, the environment.
INVARIANT: it never raises; whatever goes wrong is a DENY that says so (law 1).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from policy.decide import DEFAULT, Ruling, decide
from policy.footprint import Footprint, footprint
from policy.model import (
    Access,
    Context,
    Decision,
    Effect,
    Exec,
    Obligations,
    Request,
    Rewritten,
    Verdict,
)
from policy.narrowing import Asked, asked_by
from policy.phrases import unmentioned
from policy.rewriting import apply, missed
from policy.risk import risk
from policy.rules import Policy

_QUOTED_COMMAND = re.compile(r"`([^`]+)`")


def classify(request: Request, policy: Policy, context: Context) -> Decision:
    """Return the policy's whole answer to one request; never raises.

    The effect is the strictest over the footprint. `instead` holds what the rules that stopped the
    request offer, without any alternative that would itself be denied.
    """
    try:
        return _classify(request, policy, context)
    except Exception as error:  # noqa: BLE001 - law 1: an error while deciding is DENY
        return _failed(policy, error)


def _classify(request: Request, policy: Policy, context: Context) -> Decision:
    found, ruling = _read(request, policy, context)
    rewrites = [one for one in policy.rewrites if not one.tools or request.tool in one.tools]
    done: tuple[Rewritten, ...] = ()
    # What is denied as it was asked stays denied: nothing that runs instead is looked at.
    if rewrites and ruling.effect is not Effect.DENY:
        applied = apply(request.action, rewrites)
        made = applied.made
        if applied.done:
            changed = replace(request, action=applied.action)
            then, ruled = _read(changed, policy, context)
            if then.opaque is None:
                request, done, found, ruling = changed, applied.done, then, ruled
            else:
                made = frozenset()  # what was put in cannot be followed, so it does not run
        ruling = _and(ruling, missed(rewrites, made, found.words))
    decision = _decision(request, policy, context, found, ruling)
    return replace(decision, rewritten=done) if done else decision


def _read(request: Request, policy: Policy, context: Context) -> tuple[Footprint, Ruling]:
    found = footprint(request.action, context)
    asked = asked_by(request, found.words)
    return found, decide(_complete(found), policy, context, asked)


def _and(ruling: Ruling, more: Sequence[Verdict]) -> Ruling:
    """Return the ruling with some more verdicts."""
    effects = [ruling.effect, *(verdict.effect for verdict in more)]
    return replace(ruling, effect=max(effects), verdicts=(*ruling.verdicts, *more))


def _decision(
    request: Request, policy: Policy, context: Context, found: Footprint, ruling: Ruling
) -> Decision:
    stopping = _stopping(ruling)
    return Decision(
        effect=ruling.effect,
        verdicts=ruling.verdicts,
        risk=risk(verdict.access.operation for verdict in ruling.verdicts),
        reason=_reason(stopping, context),
        instead=_alternatives(stopping, request, policy, context),
        obligations=ruling.obligations,
        policy_digest=policy.digest,
        executable=found.executable,
        opaque=found.opaque,
        programs=found.programs,
        words=found.words,
    )


def _complete(found: Footprint) -> tuple[Access, ...]:
    """Text that was not understood is an access of its own, so it is never allowed by silence."""
    said = any(access.operation == "opaque" for access in found.accesses)
    if found.opaque is None or said:
        return found.accesses
    return (*found.accesses, Access("opaque", found.opaque, "dynamic"))


def _stopping(ruling: Ruling) -> list[Verdict]:
    """Return what the effect rests on: what is certain, or else what may be."""
    if ruling.effect is Effect.ALLOW:
        return []
    strictest = [verdict for verdict in ruling.verdicts if verdict.effect is ruling.effect]
    return [verdict for verdict in strictest if verdict.certain] or strictest


def _reason(stopping: Iterable[Verdict], context: Context) -> str:
    """Return one sentence for each rule's reason, and one for each operation no rule mentions."""
    said: dict[str, None] = {}
    silent: dict[str, dict[str, None]] = {}
    for verdict in stopping:
        access = verdict.access
        if verdict.rule_id == DEFAULT:
            silent.setdefault(access.operation, {})[access.resource] = None
        else:
            said[_sentence(verdict)] = None
    default = (unmentioned(name, list(resources), context) for name, resources in silent.items())
    return " ".join((*said, *default))


def _sentence(verdict: Verdict) -> str:
    text = verdict.reason or f"{verdict.access.operation}: rule {verdict.rule_id}"
    text = text if text.endswith((".", "!", "?")) else f"{text}."
    return text if verdict.certain else f"It cannot be ruled out: {text}"


def _alternatives(
    stopping: Iterable[Verdict], request: Request, policy: Policy, context: Context
) -> tuple[str, ...]:
    offered = dict.fromkeys(verdict.instead for verdict in stopping if verdict.instead)
    if not offered:
        return ()
    action = request.action
    cwd = action.cwd if isinstance(action, Exec) else context.workspace
    where = (cwd, asked_by(request, {}))
    return tuple(text for text in offered if _is_open(text, where, policy, context))


@lru_cache(maxsize=512)
def _is_open(text: str, where: tuple[str, Asked], policy: Policy, context: Context) -> bool:
    """Return whether none of the commands in an alternative is denied.

    A sentence begins with a capital letter and holds its commands in backquotes; anything else is
    one command.
    """
    commands = _QUOTED_COMMAND.findall(text) if text[:1].isupper() else [text]
    return all(_effect(command, where, policy, context) < Effect.DENY for command in commands)


def _effect(command: str, where: tuple[str, Asked], policy: Policy, context: Context) -> Effect:
    cwd, asked = where
    found = footprint(Exec(command, None, cwd), context)
    return decide(_complete(found), policy, context, replace(asked, words=found.words)).effect


def _failed(policy: Policy, error: Exception) -> Decision:
    kind = type(error).__name__
    reason = f"The request could not be classified ({kind}), so it is denied. Report it."
    verdict = Verdict(Access("opaque", kind, "dynamic"), Effect.DENY, "error", "", reason)
    return Decision(
        effect=Effect.DENY,
        verdicts=(verdict,),
        risk=100,
        reason=reason,
        instead=(),
        obligations=Obligations(),
        policy_digest=policy.digest,
    )
