"""What a grant would have covered of what was asked for before: to inform, never to decide.

May touch: the count it is given. A request is recorded with marks: hashes of what a grant compares,
so that a log can count by them what a grant would cover. INVARIANT: a request bears one of the
marks of an offer exactly where `scope.is_covered` says that a grant of it would have covered it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, combinations

from approvals.request import Pending
from approvals.scope import Offer, Scope
from approvals.statement import HEAD_KEYS, MAGIC, visible

MOST_MARKS = 1024  # of one offer; a scope of more hosts and rules together is not counted
SHOWN = 120
UNKNOWN = "nobody counts here"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be counted of the requests recorded before one."""

    before: str  # the mark of that one
    among: str  # the mark of every request
    groups: tuple[frozenset[str], ...]  # the marks of each offer


@dataclass(frozen=True, slots=True)
class Counted:
    """How many requests bear a mark of one group, and records of some that do and do not."""

    count: int | None = None  # None: there was no time to count them
    covered: tuple[Mapping[str, object], ...] = ()
    missed: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Earlier:
    """The earlier requests, as far as they were counted; `left_out` says what was not, and why."""

    requests: int | None = None
    groups: tuple[Counted, ...] = ()
    left_out: str = ""


Count = Callable[[Wanted], Earlier]


@dataclass(frozen=True, slots=True)
class Reach:
    """An offer, and of how many earlier requests it would have spared the asking, and which."""

    offer: Offer
    covered: int | None
    missed: int | None
    covered_such: tuple[str, ...] = ()
    missed_such: tuple[str, ...] = ()


def nothing_counted(_: Wanted) -> Earlier:
    """Return that nobody counts, for a desk without a log that can be counted."""
    return Earlier(left_out=UNKNOWN)


def marks(pending: Pending) -> list[str]:
    """Return the marks that a request is recorded with."""
    act = pending.question.act
    own = (_mark(one.scope, one.keys, act.asked) for one in act.readings if one.keys)
    return [_every(), _only(pending), *own]


def reaches(pending: Pending, count: Count) -> tuple[tuple[Reach, ...], str]:
    """Return what a request offers, measured against the requests before it; and what is left out.

    The counts and examples inform an approver; no grant is made or used by them.
    """
    question = pending.question
    if not question.offers:
        return (), ""
    groups = tuple(_covered_marks(offer, question.act.asked) for offer in question.offers)
    earlier = count(Wanted(_only(pending), _every(), groups))
    found = earlier.groups or (Counted(),) * len(groups)
    pairs = zip(question.offers, groups, found, strict=True)
    return tuple(
        _reach(offer, of_it if group else Counted(), earlier.requests)
        for offer, group, of_it in pairs
    ), earlier.left_out


def _reach(offer: Offer, found: Counted, requests: int | None) -> Reach:
    covered = None if requests is None else found.count
    return Reach(
        offer,
        covered,
        None if requests is None or covered is None else requests - covered,
        tuple(map(_told, found.covered)),
        tuple(map(_told, found.missed)),
    )


def _told(record: Mapping[str, object]) -> str:
    """Return one recorded request in a line of printable ASCII: when, and what it asked for."""
    facts = record.get("approval")
    said = facts.get("statement") if isinstance(facts, Mapping) else None
    lines = str(said or "").splitlines()
    first = next((one for one in lines if one.partition(" ")[0] not in (MAGIC, *HEAD_KEYS)), "")
    line = f"{str(record.get('ts'))[:16]}  {first or 'a longer statement'}"[:SHOWN]
    return line if line.isascii() and line.isprintable() else visible(line)


def _covered_marks(offer: Offer, asked: Iterable[str]) -> frozenset[str]:
    """Return every mark of a reading that a grant of this offer covers; none if they are many."""
    keys, rules = set(offer.keys), set(asked)
    if 2 ** (len(keys) + len(rules)) > MOST_MARKS:
        return frozenset()
    return frozenset(
        _mark(offer.scope, some, rule)
        for some in _subsets(keys)
        if some
        for rule in _subsets(rules)
    )


def _subsets(of: set[str]) -> Iterable[tuple[str, ...]]:
    return chain.from_iterable(combinations(of, length) for length in range(len(of) + 1))


def _mark(scope: Scope, keys: Iterable[str], asked: Iterable[str]) -> str:
    return _hashed([scope.value, sorted(set(keys)), sorted(set(asked))])


def _every() -> str:
    return _hashed(["request"])


def _only(pending: Pending) -> str:
    return _hashed(["request", pending.id])


def _hashed(what: object) -> str:
    text = json.dumps(what).encode()
    return hashlib.sha256(b"permitgate-mark-v1\0" + text).hexdigest()[:16]
