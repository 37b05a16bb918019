"""What the moves of a grant record, and how a half move is read back.

May touch: plain mappings of str, int, bool, None, lists and mappings. Grants.recover decides what
becomes of a half move. A use is announced before it is taken, and then something may run.
"""

from dataclasses import dataclass

from approvals.moves import SHORT, Facts
from approvals.scope import Grant
from approvals.statement import visible

_KINDS = frozenset({"made", "used", "revoked"})


def grant_facts(grant: Grant) -> dict[str, object]:
    """Return what every move of a grant records: which grant it is, and how far it reaches."""
    return {
        "id": grant.id,
        "approval_id": grant.request,
        "scope": grant.scope.value,
        "covers": [visible(line, SHORT) for line in grant.covers],
    }


def made_facts(grant: Grant) -> dict[str, object]:
    """Return what the making of a grant records besides: for whom, by whom, how far."""
    return {
        "request_digest": grant.request_digest,
        "requester": visible(grant.requester, SHORT),
        "by": [visible(one, SHORT) for one in grant.by],
        "level": grant.level,
        "uses": grant.uses,
        "until_ms": grant.until_ms,
    }


@dataclass(frozen=True, slots=True)
class HalfGrant:
    """A recorded move of a grant without its `grant.applied`."""

    kind: str
    move: str
    grant_id: str
    action_digest: str


def half_grant(kind: str, move: str, facts: Facts) -> HalfGrant:
    """Return the half move that these facts announced.

    Raises:
        KeyError, ValueError: they announce none.
    """
    if kind not in _KINDS:
        raise ValueError(f"grants do not move by {kind}")
    return HalfGrant(kind, move, str(facts["id"]), str(facts.get("action_digest", "")))
