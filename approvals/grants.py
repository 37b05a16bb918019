"""Grants: a yes that stands for more than one action, within what the approver saw.

May touch: the database and the journal it is given, the clock, randomness. INVARIANT: a grant is
made from the counted votes of one request and from a scope which that request offered; each use is
recorded, then taken from what is left, then confirmed, before anything may run on it.
"""

import secrets
from collections.abc import Callable, Iterable

from approvals.grant_records import HalfGrant, grant_facts, half_grant, made_facts
from approvals.grant_store import GrantStore
from approvals.moves import SHORT, Facts, Moves, Write
from approvals.request import (
    Answer,
    Approval,
    ApprovalError,
    Level,
    NotPending,
    Pending,
    Principal,
    Question,
    State,
)
from approvals.scope import (
    MAX_MINUTES,
    MAX_USES,
    NARROWEST_FIRST,
    Grant,
    Offer,
    Scope,
    Terms,
    is_covered,
)
from approvals.statement import visible

FOR_SESSION = Terms(Scope.HOST, None, MAX_MINUTES)  # what a yes for the session grants


class Grants:
    """The standing answers of every server that shares the store; thread-safe."""

    def __init__(
        self,
        store: GrantStore,
        write: Write,
        now_ms: Callable[[], int],
    ) -> None:
        """Build them; `write` appends one record durably or raises, and then nothing moves."""
        self._store = store
        self._moves = Moves("grant", write, half_grant)
        self._now_ms = now_ms

    def live(self) -> list[Grant]:
        """Return every grant that could still be used, oldest first."""
        return self._store.live(self._now_ms())

    def of_session(self, session: str) -> list[Grant]:
        """Return those of one session."""
        return self._store.live_of(session, self._now_ms())

    def check(self, pending: Pending, terms: Terms) -> Offer:
        """Return the offer that the terms name.

        Raises:
            ApprovalError: the request does not offer it, or the terms are out of bounds.
        """
        question = pending.question
        offer = next((one for one in question.offers if one.scope is terms.scope), None)
        if offer is None or not question.need.is_for_anyone:
            offers = ", ".join(one.scope for one in question.offers) or "no grant"
            raise ApprovalError(
                f"{pending.id}: it offers {offers}, not {terms.scope}. Nothing was answered; "
                "say yes to this once, or choose what `approvals show` lists."
            )
        if terms.uses is not None and not 1 <= terms.uses <= MAX_USES:
            raise ApprovalError(f"a grant has 1 to {MAX_USES} uses, not {terms.uses}")
        if not 1 <= terms.minutes <= MAX_MINUTES:
            raise ApprovalError(f"a grant lasts 1 to {MAX_MINUTES} minutes, not {terms.minutes}")
        return offer

    def make(self, pending: Pending, terms: Terms) -> Grant:
        """Return the grant that an approved request makes, kept.

        Raises:
            ApprovalError: see `check`; or nobody approved the request so far, or it has made one.
        """
        offer = self.check(pending, terms)
        yes = [vote for vote in pending.votes if vote.answer.is_yes]
        said_so = all(vote.answer is Answer.APPROVE_FOR_SESSION for vote in yes)
        if not yes or pending.state not in (State.APPROVED, State.CONSUMED):
            raise ApprovalError(f"{pending.id}: it is {pending.state.value}, so it grants nothing")
        if terms.uses is None and not said_so:
            raise ApprovalError(f"{pending.id}: nobody said yes for the session; name the uses")
        now_ms = self._now_ms()
        grant = Grant(
            id="gr_" + secrets.token_hex(8),
            request=pending.id,
            request_digest=pending.request_digest,
            session=pending.question.session,
            requester=pending.question.requester.identity,
            scope=offer.scope,
            keys=offer.keys,
            asked=pending.question.act.asked,
            covers=offer.covers,
            level=int(min(vote.by.level for vote in yes)),
            by=tuple(vote.by.identity for vote in yes),
            uses=terms.uses,
            uses_left=terms.uses,
            made_ms=now_ms,
            until_ms=now_ms + terms.minutes * 60_000,
        )
        move = self._announce("made", grant, made_facts(grant))
        is_made = self._store.insert(grant)
        self._moves.confirm(move, grant.id, "made" if is_made else None)
        if not is_made:
            raise ApprovalError(f"{pending.id}: a grant was made from it already")
        return grant

    def use(self, question: Question) -> Approval | None:
        """Return the yes of a grant that covers a question, one use of it taken; else None.

        Raises:
            ApprovalError: the record cannot be kept, so nothing may run on a grant.
        """
        if not question.act.readings or not question.need.is_for_anyone:
            return None
        requester = visible(question.requester.identity)
        found = [
            grant
            for grant in self.of_session(question.session)
            if grant.requester == requester
            and grant.level >= question.need.level
            and is_covered(question.act, grant.scope, grant.keys, grant.asked)
        ]
        for grant in sorted(found, key=_narrowest_first):
            facts = {"action_digest": question.action_digest}
            move = self._announce("used", grant, facts)
            is_taken = self._store.take(grant.id, move, question.action_digest, self._now_ms())
            self._moves.confirm(move, grant.id, "used" if is_taken else None)
            if is_taken:
                return Approval(
                    id=grant.request,
                    level=Level(grant.level),
                    by=grant.by,
                    request_digest=grant.request_digest,
                    for_session=grant.uses is None,
                    grant=grant.id,
                )
        return None

    def revoke(self, grant_id: str, by: Principal) -> Grant:
        """End a grant and return it as it was; any approver may.

        Raises:
            NotPending: no grant has this id, or it has ended.
        """
        grant = self._store.load(grant_id)
        if grant is None:
            raise NotPending(f"{visible(grant_id, 80)}: no such grant")
        if grant.revoked_ms is not None:
            raise NotPending(f"{grant.id}: it has been revoked already")
        move = self._announce("revoked", grant, {"revoked_by": visible(by.identity, SHORT)})
        is_ended = self._store.revoke(grant.id, self._now_ms())
        self._moves.confirm(move, grant.id, "revoked" if is_ended else None)
        return grant

    def recover(self, records: Iterable[Facts]) -> int:
        """Finish or burn every half move of the log; return how many there were.

        A grant that was announced stands if it was kept. A use is burnt, for what ran on it, if
        anything did, is not known. A revocation is carried out.
        """
        halves = self._moves.half(records)
        for half in halves:
            state = self._finished(half) if self._store.load(half.grant_id) else None
            self._moves.confirm(half.move, half.grant_id, state)
        return len(halves)

    def _finished(self, half: HalfGrant) -> str:
        if half.kind == "used":
            self._store.burn(half.grant_id, half.move, half.action_digest, self._now_ms())
        elif half.kind == "revoked":
            self._store.revoke(half.grant_id, self._now_ms())
        return half.kind

    def _announce(self, kind: str, grant: Grant, facts: Facts) -> str:
        return self._moves.announce(kind, grant.session, {**grant_facts(grant), **facts})


def _narrowest_first(grant: Grant) -> tuple[int, int]:
    return NARROWEST_FIRST.index(grant.scope), grant.until_ms
