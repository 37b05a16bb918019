"""The desk: takes questions, counts answers, hands each yes out once.

May touch: the store and the journal it is given, the clock, a nonce. INVARIANT: every move is
recorded durably before it happens and confirmed after, so a crash leaves either nothing, or a
record `recover` can finish (a vote) or burn (a use).
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import anyio
from anyio import to_thread

from approvals.bell import Bell
from approvals.grant_store import GrantStore
from approvals.grants import Grants
from approvals.moves import Facts, Moves, Write
from approvals.reach import Count, Reach, nothing_counted, reaches
from approvals.records import (
    HalfMove,
    decision_facts,
    half_move,
    opened_facts,
    proven_facts,
    request_facts,
    signed_facts,
    vote_facts,
)
from approvals.request import (
    Answer,
    Approval,
    ApprovalError,
    CoolingDown,
    Level,
    Mismatch,
    NotPending,
    Pending,
    Principal,
    Question,
    State,
    Vote,
    request_digest,
)
from approvals.scope import Grant, Terms
from approvals.statement import statement, visible
from approvals.store import Standing, Store, too_many
from approvals.terminal_view import offer_lines
from approvals.voters import Voters
from approvals.worth import Roles, refusal, weighed

# The law: (state, kind of move) → what it may become. What is not here does not happen; a state
# without a row is an end. Only votes approve, and the store counts them.
MOVES: Mapping[tuple[State, str], frozenset[State]] = MappingProxyType(
    {
        (State.PENDING, "voted"): frozenset({State.PENDING, State.APPROVED, State.DENIED}),
        (State.PENDING, "resolved"): frozenset({State.EXPIRED, State.CANCELLED}),
        (State.APPROVED, "consumed"): frozenset({State.CONSUMED}),
        (State.APPROVED, "resolved"): frozenset({State.LAPSED, State.REVOKED}),
    }
)
DECISIONS = frozenset({State.APPROVED, State.DENIED})
MAX_PENDING = 10
COOL_DOWN_S = 60
STORE_POLL_S = 1.0
MAX_REASON = 500


class Desk:
    """The state machine of requests; thread-safe, and one of many over the same store."""

    def __init__(  # noqa: PLR0913 — each is one thing that the owner configures
        self,
        store: Store,
        journal: Write,
        *,
        clock: Callable[[], float] = time.time,
        cool_down_s: int = COOL_DOWN_S,
        roles: Roles = MappingProxyType({}),
        owner_level: Level = Level.OWNER,
        count: Count = nothing_counted,
    ) -> None:
        """Build a desk; `journal` appends one record durably or raises, and then nothing moves.

        `roles` says who holds which; a need's role that is not in it is held by nobody.
        `owner_level` is what an answer counts as, by any channel, that proves no more than the
        owner's uid. `count` looks into the log for `offer_lines`, and for nothing else.
        """
        self._store = store
        self._journal = journal
        self._clock = clock
        self._cool_down_ms = cool_down_s * 1000
        self._roles = roles
        self._owner_level = owner_level
        self._count_earlier = count
        self._moving = threading.RLock()
        self.bell = Bell()
        self._moves = Moves("approval", self._write, half_move)
        self.grants = Grants(GrantStore(store.database), self._write, self._now_ms)

    def open(self, question: Question) -> Pending:
        """Return a new pending request, or the live one this session has for the same action.

        Raises:
            TooManyPending: the session waits for enough answers already.
            CoolingDown: this action was denied to this session or requester a moment ago.
            ApprovalError: the statement cannot be made, or the record cannot be kept.
        """
        with self._moving:
            standing = self._standing(question)
            if standing.twin_id:
                return self._load(standing.twin_id)
            self._refuse_while_cooling(standing)
            if standing.waiting >= MAX_PENDING:
                raise too_many(MAX_PENDING)
            pending = self._new(question)
            move = self._append("opened", pending, opened_facts(pending))
            live_id = self._store.create(pending, MAX_PENDING)
            created = live_id == pending.id
            self._applied(move, pending.id, State.PENDING if created else None)
        self.bell.ring()
        return pending if created else self._load(live_id)

    def open_once(self, question: Question) -> Pending:
        """Return the request that asked this before, whatever became of it, or a new one.

        Raises:
            ApprovalError: as for `open`.
        """
        with self._moving:
            self.expire()
            return self._store.last_asked(question) or self.open(question)

    def get(self, request_id: str) -> Pending:
        """Return one request as it stands now.

        Raises:
            NotPending: no request has this id.
        """
        return self._current(request_id)

    def pending(self) -> list[Pending]:
        """Return every request that waits for an answer, oldest first."""
        self.expire()
        return self._store.pending()

    def waiting(self) -> list[str]:
        """Return the ids of `pending`, which costs less to look at again and again."""
        self.expire()
        return self._store.waiting()

    def answered(self, limit: int) -> list[Pending]:
        """Return the requests that wait no more, the latest move first."""
        self.expire()
        return self._store.answered(limit)

    def edition(self) -> str:
        """Return a text that is another one whenever any request moved, in any process."""
        self.expire()
        return self._store.edition()

    def vote(
        self,
        request_id: str,
        answer: Answer,
        principal: Principal,
        seen_digest: str,
        reason: str = "",
    ) -> State:
        """Count one answer and return the state it led to; `reason` is for the one who asked.

        Raises:
            NotPending: the request is unknown, answered or too late.
            Mismatch: `seen_digest` is not this request's digest.
            ApprovalError: the requester itself, too weak a channel, or a second yes of one voter.
        """
        with self._moving:
            pending = self._current(request_id)
            _must_be(pending, State.PENDING)
            _same(seen_digest, pending.request_digest, request_id, "what was shown")
            vote = Vote(answer, principal, visible(reason, MAX_REASON))
            return self._cast(pending, vote, {})

    def vote_signed(self, request_id: str, armored: str, voters: Voters) -> State:
        """Count the yes that an SSH signature over the statement gives, and return its state.

        A signature says yes to this request once, and never for a session: that is not in it.

        Raises:
            NotPending: the request is unknown, answered or too late.
            BadSignature: these bytes were not signed by anybody who may say yes now.
            ApprovalError: as for `vote`, or the log could not keep what was signed.
        """
        with self._moving:
            pending = self._current(request_id)
            _must_be(pending, State.PENDING)
            text, now_ms = statement(pending), self._now_ms()
            by = voters.signer(text.encode(), armored, now_ms / 1000)
            vote = Vote(Answer.APPROVE, by)
            return self._cast(pending, vote, signed_facts(by, text, armored, now_ms))

    def vote_proven(self, request_id: str, votes: Sequence[Vote], proof: str) -> State:
        """Count what people answered elsewhere, as `proof` tells, and return the state it led to.

        Raises:
            NotPending: the request is unknown, answered or too late.
            ApprovalError: as for `vote`, or the log could not keep the proof.
        """
        facts = proven_facts(proof)
        with self._moving:
            for vote in votes:
                pending = self.get(request_id)
                _must_be(pending, State.PENDING)
                self._cast(pending, vote, facts)
            return self.get(request_id).state

    def grant(
        self, request_id: str, terms: Terms, principal: Principal, seen_digest: str
    ) -> tuple[State, Grant]:
        """Say yes once and grant more besides; return the state and the grant.

        Raises:
            ApprovalError: as `vote` and `Grants.check`; nothing was answered then.
        """
        self.grants.check(self.get(request_id), terms)
        state = self.vote(request_id, Answer.APPROVE, principal, seen_digest)
        return state, self.grants.make(self._load(request_id), terms)

    def offer_lines(self, pending: Pending, how: str) -> tuple[str, ...]:
        """Return what a yes to a request can grant besides, for people; `how` they say so."""
        return tuple(offer_lines(*self.reach(pending), how))

    def reach(self, pending: Pending) -> tuple[tuple[Reach, ...], str]:
        """Return what a yes to a request can grant, as far as the log counts, and what is left."""
        return reaches(pending, self._count_earlier)

    def covered(self, question: Question) -> Approval | None:
        """Return the yes of a grant, one use of it taken; None where a human is to be asked.

        A yes to exactly this goes first, and a no to exactly this stands while it cools.

        Raises:
            CoolingDown: this action was denied to this session or requester a moment ago.
            ApprovalError: the record cannot be kept.
        """
        if not self.grants.of_session(question.session):
            return None
        standing = self._standing(question)
        if standing.twin_id and self._load(standing.twin_id).state is State.APPROVED:
            return None
        self._refuse_while_cooling(standing)
        return self.grants.use(question)

    def cancel(self, request_id: str) -> None:
        """Withdraw a pending request.

        Raises:
            NotPending: it is unknown or no longer pending.
        """
        self._resolve(request_id, State.PENDING, State.CANCELLED)

    def revoke(self, request_id: str) -> None:
        """Take back an approval that was not used yet.

        Raises:
            NotPending: it is unknown, not approved or already used.
        """
        self._resolve(request_id, State.APPROVED, State.REVOKED)

    def consume(self, request_id: str, action_digest: str, session: str) -> Approval:
        """Spend an approval and return it; of any number of callers, one.

        Raises:
            NotPending: there is no unspent approval of this id for this session.
            Mismatch: `action_digest` is not what was approved (`approval_mismatch`).
        """
        with self._moving:
            pending = self._current(request_id)
            if pending.question.session != session:
                raise NotPending(f"{visible(request_id, 80)}: no such request")
            _must_be(pending, State.APPROVED)
            again = request_digest(action_digest, session, pending.nonce, pending.expires_ms)
            _same(again, pending.request_digest, request_id, "what is about to run")
            state = self._move(pending, "consumed", State.CONSUMED)
        if state is None:
            raise NotPending(f"{request_id}: the approval was spent or lapsed a moment ago")
        yes = [vote for vote in pending.votes if vote.answer.is_yes]
        return Approval(
            id=request_id,
            level=min(vote.by.level for vote in yes),
            by=tuple(vote.by.identity for vote in yes),
            request_digest=pending.request_digest,
            for_session=all(vote.answer is Answer.APPROVE_FOR_SESSION for vote in yes),
        )

    def expire(self) -> None:
        """Close what is past its time: pending requests expire, unused approvals lapse."""
        if not self._store.due(self._now_ms()):
            return
        with self._moving:
            for request_id, before in self._store.due(self._now_ms()):
                after = State.EXPIRED if before is State.PENDING else State.LAPSED
                self._move(self._load(request_id), "resolved", after)

    def rest(self) -> None:
        """Return once no move of this desk is half made."""
        with self._moving:
            return

    def recover(self, records: Iterable[Facts]) -> int:
        """Finish or burn every half move of the log; return how many there were.

        Call once at start-up with the log's records. A vote counts if it still may; a use is
        burnt, since what it ran, if it ran, is not known; an opening nobody waits for is lost.
        """
        kept = list(records)
        halves = self._moves.half(kept)
        with self._moving:
            for half in halves:
                pending = self._store.load(half.request_id)
                state = self._finish(half, pending) if pending else None
                self._applied(half.move, half.request_id, state)
        self.bell.ring()
        return len(halves) + self.grants.recover(kept)

    def _cast(self, pending: Pending, given: Vote, proof: Facts) -> State:
        """Record one answer, with what proves it, and count it."""
        vote = weighed(given, self._owner_level)
        if why := refusal(pending, vote, self._roles):
            raise ApprovalError(f"{pending.id}: {why} The request is still pending.")
        move = self._append("voted", pending, {**vote_facts(vote), **proof})
        state = self._count(pending, vote)
        self._applied(move, pending.id, state)
        self.bell.ring()
        if state is None:
            raise NotPending(f"{pending.id}: another answer or the deadline came first")
        return state

    def _finish(self, half: HalfMove, pending: Pending) -> State | None:
        if half.request_digest != pending.request_digest:
            return None
        if half.vote is None:
            done = pending.state is half.target or half.kind == "opened"
            return pending.state if done else self._swap(pending, half.kind, half.target)
        if half.vote in pending.votes:
            return pending.state
        return None if refusal(pending, half.vote, self._roles) else self._count(pending, half.vote)

    def _resolve(self, request_id: str, before: State, after: State) -> None:
        pending = self._current(request_id)
        _must_be(pending, before)
        if self._move(pending, "resolved", after) is None:
            raise NotPending(f"{request_id}: another answer came first")

    def _move(self, pending: Pending, kind: str, after: State) -> State | None:
        with self._moving:
            facts = {"state": after.value} if kind == "resolved" else {}
            move = self._append(kind, pending, facts)
            state = self._swap(pending, kind, after)
            self._applied(move, pending.id, state)
        self.bell.ring()
        return state

    def _swap(self, pending: Pending, kind: str, after: State | None) -> State | None:
        if after is None or after not in MOVES.get((pending.state, kind), ()):
            return None
        won = self._store.swap(pending.id, pending.state, after, self._now_ms())
        return after if won else None

    def _count(self, pending: Pending, vote: Vote) -> State | None:
        now_ms = self._now_ms()
        use_by_ms = now_ms + pending.question.need.use_within_s * 1000
        return self._store.vote(pending.id, vote, now_ms, use_by_ms)

    def _new(self, question: Question) -> Pending:
        now_ms = self._now_ms()
        expires_ms = now_ms + question.need.ttl_s * 1000
        nonce = secrets.token_hex(16)
        return Pending(
            id="ap_" + secrets.token_hex(8),
            question=question,
            nonce=nonce,
            created_ms=now_ms,
            expires_ms=expires_ms,
            request_digest=request_digest(
                question.action_digest, question.session, nonce, expires_ms
            ),
        )

    def _standing(self, question: Question) -> Standing:
        standing = self._store.standing(question, self._now_ms())
        if standing.is_due:
            self.expire()
            standing = self._store.standing(question, self._now_ms())
        return standing

    def _refuse_while_cooling(self, standing: Standing) -> None:
        denied_ms = standing.denied_ms
        left_ms = 0 if denied_ms is None else denied_ms + self._cool_down_ms - self._now_ms()
        if left_ms > 0:
            retry_after_s = -(-left_ms // 1000)
            raise CoolingDown(
                "this very action was denied a moment ago. Nobody was asked again; "
                f"do something else, or ask again in {retry_after_s} s.",
                retry_after_s,
            )

    def _current(self, request_id: str) -> Pending:
        """Return a request as it stands at this moment: closed, if its time has passed."""
        pending = self._load(request_id)
        if not pending.is_due(self._now_ms()):
            return pending
        self.expire()
        return self._load(request_id)

    def _load(self, request_id: str) -> Pending:
        pending = self._store.load(request_id)
        if pending is None:
            raise NotPending(f"{visible(request_id, 80)}: no such request")
        return pending

    def _append(self, kind: str, pending: Pending, facts: Facts) -> str:
        session = pending.question.session
        return self._moves.announce(kind, session, {**request_facts(pending), **facts})

    def _applied(self, move: str, request_id: str, state: State | None) -> None:
        decided = decision_facts(self._load(request_id)) if state in DECISIONS else {}
        self._moves.confirm(move, request_id, state.value if state else None, decided)

    def _write(self, record: Facts) -> None:
        try:
            self._journal(record)
        except Exception as error:
            raise ApprovalError(
                f"the audit log did not take {record['event']}: {error}. "
                "Nothing may run on it; make the log writable and ask again."
            ) from error

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


async def wait_resolved(desk: Desk, request_id: str, *, deadline_s: float) -> State:
    """Return the request's state once it is not pending, or PENDING when the deadline passed.

    Wakes at once for moves of this process; the store is asked every second for other servers'.

    Raises:
        NotPending: no request has this id.
    """
    with desk.bell.listener() as listener:
        state = State.PENDING
        with anyio.move_on_after(deadline_s):
            while state is State.PENDING:
                state = (await to_thread.run_sync(desk.get, request_id)).state
                if state is State.PENDING:
                    await listener.wait(STORE_POLL_S)
        return state


def _must_be(pending: Pending, state: State) -> None:
    if pending.state is not state:
        raise NotPending(f"{pending.id}: the request is {pending.state.value}, not {state.value}")


def _same(given: str, wanted: str, request_id: str, what: str) -> None:
    if not secrets.compare_digest(given.encode("utf-8", "replace"), wanted.encode()):
        raise Mismatch(
            f"approval_mismatch: {what} is not what {request_id} asks for. "
            "Nothing was approved and nothing ran; look at the request again."
        )
