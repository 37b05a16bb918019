"""The decision point: accesses and rules to one effect, the same for any order of rules.

May touch: accesses and rules. May not touch: commands, programs, clocks, files.
INVARIANT: an allow rule needs certainty, an ask or deny rule needs possibility, the strictest
matching rule wins for an access and the strictest access for the whole. What no rule mentions is
the policy's default, and an error while deciding is DENY (law 1). Adding an ask or deny rule can
therefore only add to a maximum (law 2). Two things are meant to open, in trusted files alone:
under `default: deny`, where doubt is a no, an ask lets a human answer; and an allow silences the
asks that it `lifts` by name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from policy.globs import path_regex
from policy.match import Target, is_mask
from policy.model import PATH_OPERATIONS, Access, Context, Effect, Obligations, Verdict
from policy.narrowing import Asked, Narrowing, Truth
from policy.obligations import NONE, strictest
from policy.phrases import unmentioned
from policy.rules import BoundPolicy, BoundRule, Policy, bind

OWNER: Final = Obligations(level=2)
NOBODY: Final = Asked()
DEFAULT: Final = "default"  # the id of what speaks where no rule does
LIMIT: Final = "limit"  # and of what speaks where nobody looked
MAX_ACCESSES: Final = 2_000
MAX_COMPARISONS: Final = 4_000  # of some 4 microseconds; fifty patterns need no more
ENOUGH: Final = 400  # once something is denied, the rest is only there to be shown
MAX_PATH: Final = 4_096  # PATH_MAX; no path beyond it can be opened in one piece


@dataclass(frozen=True, slots=True)
class Ruling:
    """The strictest effect, the rule behind every access, and what else must hold."""

    effect: Effect
    verdicts: tuple[Verdict, ...]
    obligations: Obligations


class Match(NamedTuple):
    """One rule that matched, and what it says here; not `certain` where it only may hold."""

    bound: BoundRule
    effect: Effect
    certain: bool = True

    @property
    def obligations(self) -> Obligations:
        """Return the rule's own; who may answer for a possible deny is the owner."""
        return OWNER if self.bound.rule.effect is Effect.DENY else self.bound.rule.obligations


def decide(
    accesses: Sequence[Access], policy: Policy, context: Context, asked: Asked = NOBODY
) -> Ruling:
    """Return the ruling over a footprint; no access at all is ALLOW, for nothing is touched."""
    desk = _Desk(policy, context, asked, frozenset(access.operation for access in accesses))
    verdicts: list[Verdict] = []
    obligations: list[Obligations] = []
    for access in dict.fromkeys(accesses):
        try:
            verdict, also = desk.verdict(access, len(verdicts))
        except Exception as error:  # noqa: BLE001 - law 1: an error while deciding is DENY
            verdict, also = _error(access, error), ()
        verdicts.append(verdict)
        obligations.extend(also)
        if len(verdicts) > MAX_ACCESSES:
            break
    effect = max((verdict.effect for verdict in verdicts), default=Effect.ALLOW)
    return Ruling(effect, tuple(verdicts), strictest(obligations))


def matching_rules(
    accesses: Sequence[Access], policy: Policy, context: Context, asked: Asked = NOBODY
) -> frozenset[str]:
    """Return the ids of all rules that match any of the accesses, whatever the outcome."""
    desk = _Desk(policy, context, asked, frozenset(access.operation for access in accesses))
    return frozenset(
        match.bound.rule.id for access in dict.fromkeys(accesses) for match in desk.matches(access)
    )


def _error(access: Access, error: Exception) -> Verdict:
    reason = f"the rules could not be applied ({type(error).__name__}), so it is denied; report it"
    return Verdict(access, Effect.DENY, "error", "", reason)


def _limit(access: Access, what: str) -> Verdict:
    return Verdict(access, Effect.DENY, LIMIT, "", f"{what}; split the command")


class _Desk:
    """One decision: everything a rule may look at besides the access itself."""

    def __init__(
        self, policy: Policy, context: Context, asked: Asked, operations: frozenset[str]
    ) -> None:
        self._policy, self._context = policy, context
        self._narrowing = Narrowing(asked, operations)
        self._bound: BoundPolicy = bind(policy, context)
        self._comparisons, self._budget = 0, MAX_COMPARISONS

    def verdict(self, access: Access, index: int) -> tuple[Verdict, tuple[Obligations, ...]]:
        """Return the strictest matching rule's word, and the obligations of all that match."""
        if index >= MAX_ACCESSES:
            return _limit(access, f"the command touches more than {MAX_ACCESSES} things"), ()
        if len(access.resource) > MAX_PATH and access.operation in PATH_OPERATIONS:
            return _limit(access, f"a path is longer than {MAX_PATH} characters"), ()
        target = self._target(access)
        matches = self._settled(access, target)
        if matches is None:
            return self._unchecked(access), (OWNER,)
        if not matches:
            return self._default(access), ()
        lifted = _lifted(matches) if self._bound.lifts else ()
        if lifted:
            matches = [match for match in matches if match.bound.rule.id not in lifted]
        also = tuple(own for match in matches if (own := match.obligations) is not NONE)
        best = self._best(matches, target)
        if best is None:
            return self._default(access), also
        if best.effect is Effect.DENY:
            self._budget = min(self._budget, self._comparisons + ENOUGH)
        rule = best.bound.rule
        said = (rule.id, rule.place, rule.reason, rule.instead)
        asks = [match.bound.rule for match in matches if match.effect is Effect.ASK]
        asking = tuple(sorted(asked.id for asked in asks))
        grantable = bool(asks) and all(asked.grantable for asked in asks)
        return Verdict(access, best.effect, *said, best.certain, lifted, asking, grantable), also

    def _settled(self, access: Access, target: Target) -> list[Match] | None:
        """Return the matches that a verdict rests on; None when the work is spent."""
        if self._comparisons > self._budget:
            return None
        matches = self._matches(access, target, settle=True)
        return None if self._comparisons > self._budget else matches

    def _best(self, matches: Sequence[Match], target: Target) -> Match | None:
        """Return the match that speaks; None where the default is stricter than all of them."""
        best = _speaker(matches, target)
        if best.effect is Effect.ALLOW or best.effect >= self._policy.default:
            return best
        rules = [match.bound.rule for match in matches]
        if any(rule.effect is Effect.ASK and not rule.tightens_only for rule in rules):
            return best  # the author of a trusted file wants a human to answer
        # Nobody is meant to be asked here: what is in doubt is denied.
        doubts = [
            one for one in matches if one.bound.rule.effect is Effect.DENY and not one.certain
        ]
        if doubts:
            return _speaker(doubts, target)._replace(effect=self._policy.default)
        return best if any(rule.effect is Effect.ALLOW for rule in rules) else None

    def _unchecked(self, access: Access) -> Verdict:
        """Return the verdict on what would take too long: it is not known to be allowed."""
        effect = max(Effect.ASK, self._policy.default)
        reason = "the command takes too long to check; split it"
        return Verdict(access, effect, LIMIT, "", reason)

    def _default(self, access: Access) -> Verdict:
        policy = self._policy
        reason = unmentioned(access.operation, (access.resource,), self._context)
        return Verdict(access, policy.default, DEFAULT, policy.default_place, reason)

    def matches(self, access: Access) -> Sequence[Match]:
        """Return every rule that matches one access."""
        return self._matches(access, self._target(access))

    def _target(self, access: Access) -> Target:
        return Target(access, self._context, self._policy.host_sets)

    def _matches(self, access: Access, target: Target, *, settle: bool = False) -> list[Match]:
        """Return the matches; to `settle` an access that is denied, the denies are enough."""
        matches: list[Match] = []
        is_denied = False
        for bound in target.candidates(self._bound):
            if is_denied and bound.rule.effect is not Effect.DENY:
                break
            holds = self._narrowing.holds(bound, access) if bound.narrows else Truth.YES
            found = _match(bound, target, holds) if holds else None
            if found is not None:
                is_denied = is_denied or (settle and found.effect is Effect.DENY)
                matches.append(found)
            self._comparisons += target.comparisons
            target.comparisons = 0
            if self._comparisons > self._budget:
                break
        return matches


def _match(bound: BoundRule, target: Target, holds: Truth) -> Match | None:
    """Return what the rule says of this target, or None when it says nothing."""
    effect = bound.rule.effect
    if effect is Effect.ALLOW:
        return Match(bound, effect) if holds is Truth.YES and target.certainly(bound) else None
    found = target.possibly(bound)
    if found is None:
        return None
    certain = found is Effect.DENY and holds is Truth.YES
    if effect is Effect.ASK:
        # A pattern that sweeps over what the rule names asks like one that means it.
        return Match(bound, effect, certain and target.is_meant(bound))
    return Match(bound, effect if certain else Effect.ASK, certain)


def _speaker(matches: Sequence[Match], target: Target) -> Match:
    """Return the strictest.

    Among equals the rule that is certain speaks first, then the one that names all of the access
    before one that names what lies below it, then the first by id: the order of files shows
    nowhere.
    """
    if len(matches) == 1:
        return matches[0]
    ranked = [((-match.effect, not match.certain), match) for match in matches]
    first = min(rank for rank, _ in ranked)
    equals = [match for rank, match in ranked if rank == first]
    if len(equals) == 1:
        return equals[0]
    return min(equals, key=lambda match: (target.distance(match.bound), match.bound.rule.id))


def _lifted(matches: Sequence[Match]) -> tuple[str, ...]:
    """Return the asks that an allow, which is certain, silences here: never a deny."""
    lifts = [match.bound.rule.lifts for match in matches if match.bound.rule.lifts]
    if not lifts:
        return ()
    names = frozenset().union(*lifts)
    rules = (match.bound.rule for match in matches)
    return tuple(
        sorted(rule.id for rule in rules if rule.effect is Effect.ASK and rule.id in names)
    )


# --- what the sandbox takes from the policy -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeniedReads:
    """Which paths the sandbox covers: those that a deny of fs.read names whatever else holds."""

    pattern: re.Pattern[str]

    def denies(self, path: str) -> bool:
        """Return whether reading this plain absolute path is denied."""
        return self.pattern.fullmatch("" if path == "/" else path) is not None


def denied_reads(policy: Policy, context: Context) -> DeniedReads:
    """Return the unconditional denies of fs.read as one expression."""
    sources = []
    for bound in bind(policy, context).rules_for("fs.read"):
        if is_mask(bound):
            texts = ("/**",) if bound.resources is None else bound.resources.texts
            excepted = path_regex(_only_paths(bound.exceptions.texts)).pattern
            sources.append(rf"(?!(?:{excepted})\Z)(?:{path_regex(_only_paths(texts)).pattern})")
    return DeniedReads(re.compile("|".join(sources) or r"(?!)", re.S))


def _only_paths(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if text[0] != "<"]


def readable_roots(policy: Policy, context: Context) -> tuple[str, ...]:
    """Return the fixed roots of the allow rules for fs.read, sorted, none below another."""
    roots = {
        root
        for bound in bind(policy, context).rules_for("fs.read")
        if bound.rule.effect is Effect.ALLOW and bound.resources is not None
        for root in bound.resources.roots()
    }
    kept = [
        root
        for root in roots
        if not any(root != other and root.startswith(other.rstrip("/") + "/") for other in roots)
    ]
    return tuple(sorted(kept))
