"""The records of grants: what is appended before a move and after it, and what a crash left half.

May touch: plain mappings of str, int, bool, None, lists and mappings. Grants.recover decides what
becomes of a half move. A use is announced before it is taken, and then something may run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from approvals.records import SHORT
from approvals.scope import Grant
from approvals.statement import visible

_KINDS = frozenset({"made", "used", "revoked"})


def grant_record(
    kind: str, move: str, grant: Grant, facts: Mapping[str, object]
) -> dict[str, object]:
    """Return the record that announces one move of a grant."""
    return {
        "event": f"grant.{kind}",
        "move": move,
        "session": visible(grant.session, SHORT),
        "grant": {
            "id": grant.id,
            "approval_id": grant.request,
            "scope": grant.scope.value,
            "covers": [visible(line, SHORT) for line in grant.covers],
            **facts,
        },
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


def applied_record(move: str, grant_id: str, state: str) -> dict[str, object]:
    """Return the record that confirms one move: what it did, or `lost`."""
    return {"event": "grant.applied", "move": move, "grant": {"id": grant_id, "state": state}}


@dataclass(frozen=True, slots=True)
class HalfGrant:
    """A recorded move of a grant without its `grant.applied`."""

    kind: str
    move: str
    grant_id: str
    action_digest: str


def half_grants(records: Iterable[Mapping[str, object]]) -> list[HalfGrant]:
    """Return the unconfirmed moves of grants, in the order they were recorded.

    A record whose form is not ours is passed over: nothing can be granted by what nobody can read.
    """
    found: dict[str, HalfGrant] = {}
    for record in records:
        room, _, kind = str(record.get("event")).partition(".")
        move, facts = record.get("move"), record.get("grant")
        if room != "grant" or not isinstance(move, str) or not isinstance(facts, Mapping):
            continue
        if kind == "applied":
            found.pop(move, None)
        elif kind in _KINDS and "id" in facts:
            digest = str(facts.get("action_digest", ""))
            found[move] = HalfGrant(kind, move, str(facts["id"]), digest)
    return list(found.values())
