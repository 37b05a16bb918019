"""A standing yes: made from counted votes and an offered scope, used up, ended, recovered."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from approvals.desk import Desk
from approvals.request import (
    Answer,
    ApprovalError,
    CoolingDown,
    Level,
    Need,
    NotPending,
    Principal,
    State,
)
from approvals.scope import Act, Offer, Reading, Scope, Terms, is_covered
from approvals.store import Store
from tests.approvals.conftest import ACTION, AGENT, CLIENT, OWNER, Log, question

HOUSE = Path(__file__).parents[2]
OFFERS = (
    Offer(Scope.EXACT, (ACTION,), ("exactly this, again",)),
    Offer(Scope.PROGRAM, ("git push",), ("git push with any arguments",)),
    Offer(Scope.HOST, ("p", "a.test", "b.test"), ("a.test", "b.test")),
)
PUSHES = Terms(Scope.PROGRAM, 2, 30)
RACER = """
import sys
from pathlib import Path
from approvals.desk import Desk
from approvals.store import Store
from tests.approvals.test_grants import push

desk = Desk(Store(Path(sys.argv[1])), lambda record: None, clock=lambda: float(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
taken = [desk.covered(push("%064x" % number)) for number in range(3)]
print(sum(one is not None for one in taken))
"""


def act(*asked: str, **keys: tuple[str, ...]) -> Act:
    """Return an act with one reading for each scope that is given keys."""
    readings = [Reading(Scope(name.replace("_", "-")), keys[name]) for name in keys]
    return Act(tuple(readings), asked)


def push(digest: str = ACTION, need: Need | None = None, **changes):
    """Return a question about some `git push`, as the hall asks it."""
    given = {
        "action_digest": digest,
        "offers": OFFERS,
        "act": act("ours net.connect", exact=(digest,), program=("git push",)),
    }
    return question(need, **{**given, **changes})


def granted(desk, terms=PUSHES, asked=None, by=OWNER):
    pending = desk.open(asked or push())
    _, grant = desk.grant(pending.id, terms, by, pending.request_digest)
    desk.consume(pending.id, pending.question.action_digest, "s1")
    return grant


def test_a_grant_stands_for_as_many_later_actions_as_it_has_uses(desk, log):
    grant = granted(desk)
    first, second = desk.covered(push("1" * 64)), desk.covered(push("2" * 64))
    assert (first.id, first.grant, first.level) == (grant.request, grant.id, Level.OWNER)
    assert (second.by, second.for_session) == (("owner@1000 via terminal",), False)
    assert desk.covered(push("3" * 64)) is None
    assert desk.grants.live() == []
    events = [record["event"] for record in log.records if record["event"].startswith("grant.")]
    assert events == ["grant.made", "grant.applied"] + 2 * ["grant.used", "grant.applied"]
    made = next(record for record in log.records if record["event"] == "grant.made")
    assert made["grant"]["covers"] == ["git push with any arguments"]
    assert (made["session"], made["grant"]["uses"]) == ("s1", 2)


@pytest.mark.threat("T29")
@pytest.mark.parametrize(
    "other",
    [
        {"session": "s2"},
        {"requester": replace(AGENT, name="agent:other")},
        {"need": Need(Level.SEPARATE)},
        {"need": Need(quorum=2)},
        {"act": act("ours net.connect", exact=("2" * 64,), program=("git fetch",))},
        {"act": act("ours net.connect", "default fs.write", program=("git push",))},
        {"act": act("ours net.connect", host=("git push",))},
        {"act": act("ours net.connect", program=())},
        {"act": Act()},
    ],
    ids=[
        "session", "subject", "level", "quorum", "program", "rule", "scope", "no-key", "ungrantable"
    ],
)  # fmt: skip
def test_a_grant_covers_nothing_else(desk, other):
    granted(desk)
    assert desk.covered(push("2" * 64, **other)) is None
    assert desk.covered(push("2" * 64)) is not None


@pytest.mark.threat("T29")
def test_all_hosts_of_an_action_must_be_granted_and_one_grant_must_hold_them(desk):
    granted(desk, Terms(Scope.HOST, 5, 5))

    def asks(*hosts: str):
        return push("2" * 64, act=act("ours net.connect", host=("p", *hosts)))

    assert desk.covered(asks("a.test")) is not None
    assert desk.covered(asks("a.test", "b.test")) is not None
    assert desk.covered(asks("a.test", "c.test")) is None


def test_the_narrowest_grant_is_used_first(desk):
    wide = granted(desk)
    exact = granted(desk, Terms(Scope.EXACT, 1, 5), push("2" * 64, offers=(
        Offer(Scope.EXACT, ("2" * 64,), ("exactly this, again",)),
    )))  # fmt: skip
    assert [desk.covered(push("2" * 64)).grant for _ in range(2)] == [exact.id, wide.id]


@pytest.mark.threat("T29")
def test_a_grant_lapses_by_time(desk, clock):
    granted(desk)
    clock.now_s += 30 * 60 - 1
    assert desk.covered(push("2" * 64)) is not None
    clock.now_s += 1
    assert desk.covered(push("3" * 64)) is None


@pytest.mark.threat("T29")
def test_a_revoked_grant_covers_nothing(desk, log):
    grant = granted(desk)
    assert desk.grants.revoke(grant.id, OWNER).id == grant.id
    assert desk.covered(push("2" * 64)) is None
    assert [one["event"] for one in log.records[-2:]] == ["grant.revoked", "grant.applied"]
    assert log.records[-2]["grant"]["revoked_by"] == "owner@1000 via terminal"
    for gone in (grant.id, "gr_0"):
        with pytest.raises(NotPending, match=gone):
            desk.grants.revoke(gone, OWNER)


def test_a_yes_to_exactly_this_is_used_before_a_grant(desk):
    granted(desk)
    pending = desk.open(push("2" * 64))
    desk.vote(pending.id, Answer.APPROVE, OWNER, pending.request_digest)
    assert desk.covered(push("2" * 64)) is None
    desk.consume(pending.id, "2" * 64, "s1")
    assert desk.covered(push("2" * 64)).grant


@pytest.mark.threat("T29")
def test_a_no_to_exactly_this_stands_against_a_grant(desk):
    pending = desk.open(push("2" * 64))
    granted(desk)
    desk.vote(pending.id, Answer.DENY, OWNER, pending.request_digest)
    with pytest.raises(CoolingDown):
        desk.covered(push("2" * 64))


@pytest.mark.threat("T29")
@pytest.mark.parametrize(
    ("terms", "asked", "by", "why"),
    [
        (Terms(Scope.ARGV_PREFIX, 1, 1), push(), OWNER, "not argv-prefix"),
        (PUSHES, push(offers=()), OWNER, "it offers no grant"),
        (PUSHES, push(need=Need(quorum=2)), OWNER, "not program"),
        (Terms(Scope.PROGRAM, 0, 1), push(), OWNER, "1 to 1000 uses, not 0"),
        (Terms(Scope.PROGRAM, 1001, 1), push(), OWNER, "1 to 1000 uses, not 1001"),
        (Terms(Scope.PROGRAM, 1, 0), push(), OWNER, "1 to 1440 minutes, not 0"),
        (Terms(Scope.PROGRAM, 1, 1441), push(), OWNER, "1 to 1440 minutes, not 1441"),
        (PUSHES, push(need=Need(Level.OWNER)), CLIENT, "does not reach the level 2"),
        (PUSHES, push(requester=OWNER), OWNER, "cannot approve it"),
    ],
)
def test_what_may_not_be_granted_is_refused_and_nothing_is_answered(desk, terms, asked, by, why):
    pending = desk.open(asked)
    with pytest.raises(ApprovalError, match=why):
        desk.grant(pending.id, terms, by, pending.request_digest)
    assert desk.get(pending.id).state is State.PENDING
    assert desk.grants.live() == []


@pytest.mark.threat("T29")
def test_only_an_approved_request_makes_a_grant_and_only_one(desk):
    pending = desk.open(push())
    with pytest.raises(ApprovalError, match="is pending, so it grants nothing"):
        desk.grants.make(pending, PUSHES)
    desk.vote(pending.id, Answer.DENY, OWNER, pending.request_digest)
    with pytest.raises(ApprovalError, match="is denied, so it grants nothing"):
        desk.grants.make(desk.get(pending.id), PUSHES)
    grant = granted(desk, asked=push("2" * 64))
    with pytest.raises(ApprovalError, match="was made from it already"):
        desk.grants.make(desk.get(grant.request), PUSHES)
    with pytest.raises(ApprovalError, match="nobody said yes for the session"):
        desk.grants.make(desk.get(grant.request), Terms(Scope.PROGRAM, None, 5))
    assert [one.id for one in desk.grants.live()] == [grant.id]


@pytest.mark.threat("T29")
def test_nothing_is_granted_or_used_that_the_log_does_not_take(desk, log):
    pending = desk.open(push())
    log.room = 2  # the vote, and no more
    with pytest.raises(ApprovalError, match=r"the audit log did not take grant\.made"):
        desk.grant(pending.id, PUSHES, OWNER, pending.request_digest)
    log.room = None
    assert desk.grants.live() == []
    granted(desk, asked=push("1" * 64))
    for room, left in ((0, 2), (1, 1)):
        log.room = room
        with pytest.raises(ApprovalError, match=r"the audit log did not take grant\."):
            desk.covered(push("2" * 64))
        log.room = None
        assert desk.grants.live()[0].uses_left == left


@pytest.mark.threat("T29")
def test_of_eight_racing_processes_no_more_use_a_grant_than_it_has_uses(desk, path, clock):
    granted(desk, Terms(Scope.PROGRAM, 13, 30))
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(path), str(clock.now_s)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HOUSE,
        )
        for _ in range(8)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    assert sum(int(racer.communicate(timeout=30)[0]) for racer in racers) == 13
    assert desk.grants.live() == []


@pytest.mark.threat("T29")
def test_one_that_was_faster_leaves_nothing_and_the_record_says_lost(desk, store, log, clock):
    granted(desk, Terms(Scope.PROGRAM, 1, 30))
    other = Desk(store, Log(), clock=clock)

    def slow(record) -> None:
        log(record)
        if record["event"] == "grant.used":
            other.covered(push("3" * 64))

    assert Desk(store, slow, clock=clock).covered(push("2" * 64)) is None
    assert log.records[-1]["grant"]["state"] == "lost"


@pytest.mark.threat("T29")
@pytest.mark.parametrize("stops_at", ["grant.used", "grant.applied"])
def test_a_use_at_a_crash_is_burnt_once(desk, store, log, clock, stops_at):
    granted(desk)
    kept = []

    def dying(record) -> None:
        if record["event"] == "grant.applied" == stops_at:
            raise OSError("gone")
        kept.append(json.loads(json.dumps(record)))
        if record["event"] == stops_at:
            raise OSError("gone")

    with pytest.raises(ApprovalError):
        Desk(store, dying, clock=clock).covered(push("2" * 64))
    for _ in range(2):  # two servers start after it
        assert desk.recover(kept) == 1
        assert desk.grants.live()[0].uses_left == 1
    assert desk.recover([*kept, *log.records[-1:]]) == 0


def test_what_a_crash_left_of_a_making_or_a_revocation_is_finished(desk, log):
    grant = granted(desk)
    revoked = {"event": "grant.revoked", "move": "m", "grant": {"id": grant.id}}
    made = {"event": "grant.made", "move": "n", "grant": {"id": "gr_unknown"}}
    again = {"event": "grant.made", "move": "o", "grant": {"id": grant.id}}
    strange = [
        {"event": "grant.used", "move": "q", "grant": {}},
        {"event": "grant.used", "move": 3, "grant": {"id": grant.id}},
        {"event": "grant.used", "move": "r", "grant": 3},
        {"event": "grant.read", "move": "s", "grant": {"id": grant.id}},
        {"event": "granted"},
    ]
    assert desk.recover([again, made, revoked, *strange]) == 3
    assert [one["grant"]["state"] for one in log.records[-3:]] == ["made", "lost", "revoked"]
    assert desk.grants.live() == []


def test_a_grant_of_the_same_session_id_survives_a_restart(desk, path, log, clock):
    granted(desk)
    store = Store(path)
    again = Desk(store, log, clock=clock)
    assert again.covered(push("2" * 64, session="s2")) is None
    assert again.covered(push("2" * 64)) is not None
    store.close()


@pytest.mark.threat("T29")
def test_only_a_yes_for_the_session_grants_without_a_bound(desk):
    for_session = Terms(Scope.HOST, None, 60)
    asked = push(for_session=("a.test",))
    pending = desk.open(asked)
    desk.vote(pending.id, Answer.APPROVE_FOR_SESSION, OWNER, pending.request_digest)
    grant = desk.grants.make(desk.get(pending.id), for_session)
    host = act("ours net.connect", host=("a.test",))
    for number in range(5):
        assert desk.covered(push(f"{number:064x}", act=host)).for_session
    assert (grant.uses, desk.grants.of_session("s1")[0].uses_left) == (None, None)


def test_a_reading_without_keys_covers_nothing():
    assert not is_covered(act(exact=()), Scope.EXACT, ("a",), ())


def test_a_question_comes_back_as_it_was_kept(desk):
    asked = push(requester=Principal("mcp", 1, "a", Level.POLICY))
    assert desk.get(desk.open(asked).id).question == asked
