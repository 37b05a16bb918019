"""What a grant covers: the words for scopes, offers, acts and terms, and the one comparison.

May touch: nothing. The hall makes the keys; here they are opaque texts.
INVARIANT: an act is covered only where every key of one of its readings is among the grant's, and
every rule that asks about it was among those that the approver saw asking.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_USES = 1000
MAX_MINUTES = 24 * 60


class Scope(StrEnum):
    """How far a grant reaches, narrowest first."""

    EXACT = "exact"
    ARGV_PREFIX = "argv-prefix"
    PROGRAM = "program"
    HOST = "host"


NARROWEST_FIRST = tuple(Scope)


@dataclass(frozen=True, slots=True)
class Offer:
    """One scope that a question offers: what it covers, in keys and for people."""

    scope: Scope
    keys: tuple[str, ...]
    covers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read an action: the keys that a grant of this scope must hold to cover it."""

    scope: Scope
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Act:
    """An action as grants see it; without readings, no grant covers it."""

    readings: tuple[Reading, ...] = ()
    asked: tuple[str, ...] = ()  # what asks about it, each as rule and operation


NO_GRANT: Final = Act()


@dataclass(frozen=True, slots=True)
class Terms:
    """What an approver grants besides a yes; no uses: as many as the session makes."""

    scope: Scope
    uses: int | None
    minutes: int


@dataclass(frozen=True, slots=True)
class Grant:
    """A standing answer; times are milliseconds since 1970, UTC."""

    id: str
    request: str  # the id of the request it was made from
    request_digest: str
    session: str
    requester: str
    scope: Scope
    keys: tuple[str, ...]
    asked: tuple[str, ...]
    covers: tuple[str, ...]
    level: int
    by: tuple[str, ...]
    uses: int | None
    uses_left: int | None
    made_ms: int
    until_ms: int
    revoked_ms: int | None = None


def is_covered(act: Act, scope: Scope, keys: tuple[str, ...], asked: tuple[str, ...]) -> bool:
    """Return whether a grant of this scope, with these keys, made where this asked, covers it."""
    return set(act.asked) <= set(asked) and any(
        reading.scope is scope and reading.keys and set(reading.keys) <= set(keys)
        for reading in act.readings
    )
