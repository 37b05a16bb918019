"""What an offer would have covered is counted by marks, which say what the comparison says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.desk import Desk
from approvals.reach import Counted, Earlier, marks, reaches
from approvals.scope import Act, Offer, Reading, Scope, is_covered
from approvals.store import Store
from tests.approvals.conftest import question
from tests.approvals.test_grants import OFFERS, push

WORDS = st.lists(st.sampled_from("abc"), max_size=3).map(tuple)
READINGS = st.builds(Reading, st.sampled_from(Scope), WORDS)
ACTS = st.builds(Act, st.lists(READINGS, max_size=3).map(tuple), WORDS)
OFFERED = st.builds(Offer, st.sampled_from(Scope), WORDS.filter(bool), st.just(("it",)))


@pytest.fixture(scope="module")
def pending(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("desk") / "a" / "db")
    yield Desk(store, lambda record: None).open(question())
    store.close()


@pytest.mark.threat("T29")
@given(earlier=ACTS, offer=OFFERED, asked=WORDS)
def test_a_request_bears_a_mark_of_an_offer_where_a_grant_would_have_covered_it(
    pending, earlier, offer, asked
):
    before = marks(replace(pending, question=question(act=earlier)))
    now = replace(pending, question=question(offers=(offer,), act=Act((), asked)))

    def count(wanted):
        assert [wanted.among, wanted.before] == before[:2]
        return Earlier(1, tuple(Counted(int(not one.isdisjoint(before))) for one in wanted.groups))

    ((found,), _) = reaches(now, count)
    assert found.covered == is_covered(earlier, offer.scope, offer.keys, asked)


@pytest.fixture
def told(store, log, clock):
    """Return what shows the offers of a request where this was counted."""

    def show(earlier, asked=None):
        desk = Desk(store, log, clock=clock, count=lambda _: earlier)
        return desk.offer_lines(desk.open(asked or push()), "so")

    return show


def record(said: str | None) -> dict[str, object]:
    statement = f"permitgate-approval-v1\nid ap_1\ntool exec\n{said}\ncwd /srv\n" if said else None
    return {"ts": "2026-11-20T14:02:31.000000Z", "approval": {"statement": statement}}


def test_an_offer_says_what_it_would_have_spared_and_what_not(told):
    groups = (
        Counted(0, (), (record("argv git push x"),)),
        Counted(3, (record("argv \x1b[2J" + "x" * 999), record(None)), ()),
        Counted(None),
    )
    lines = told(Earlier(3, groups, "the newest\nare left out"))
    assert lines[:7] == (
        "",
        "A yes can also grant what comes later, so:",
        "  exact        exactly this, again",
        "               of 3 earlier requests in this log: 0 covered, 3 not",
        "               not      2026-11-20T14:02  argv git push x",
        "  program      git push with any arguments",
        "               of 3 earlier requests in this log: 3 covered, 0 not",
    )
    assert lines[7].startswith(r"               covered  2026-11-20T14:02  argv \x1b[2Jxxx")
    assert lines[8:] == (
        "               covered  2026-11-20T14:02  a longer statement",
        "  host         a.test",
        "               b.test",
        r"               (the newest\nare left out)",
    )
    assert max(map(len, lines)) < 200


def test_where_nothing_was_asked_before_or_nothing_can_be_counted_no_number_is_told(told, desk):
    one = push(offers=OFFERS[:1])
    assert told(Earlier(0, (Counted(0),)), one)[2:] == ("  exact        exactly this, again",)
    (_, _, _, why) = desk.offer_lines(desk.open(one), "so")
    assert why.strip() == "(nobody counts here)"
    assert told(Earlier(9), push("2" * 64, offers=())) == ()


def test_an_offer_of_more_hosts_and_rules_than_can_be_counted_is_not_counted(told):
    many = Offer(Scope.HOST, tuple(map(str, range(11))), ("many hosts",))
    lines = told(Earlier(9, (Counted(0),)), push(offers=(many,)))
    assert lines[2:] == ("  host         many hosts",)
