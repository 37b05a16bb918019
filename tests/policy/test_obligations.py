"""Obligations combine to the strictest, in any order, and are said with the rules behind them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.model import Obligations
from policy.obligations import LIMITS, NONE, WITHIN, described, not_permitted, said_by, strictest

names = st.sampled_from(("A", "B", "C"))
profiles = st.none() | st.sampled_from(sorted(WITHIN.values(), key=sorted))
some = st.builds(
    Obligations,
    level=st.integers(1, 4),
    quorum=st.integers(1, 9),
    roles=st.sets(st.sampled_from((("a",), ("a", "b"), ("c",)))).map(
        lambda one: tuple(sorted(one))
    ),
    timeout_s=st.none() | st.integers(1, 900),
    sandbox=profiles,
    network=st.sets(st.sampled_from(((), ("a",), ("a", "b")))).map(lambda one: tuple(sorted(one))),
    limits=st.dictionaries(st.sampled_from(sorted(LIMITS)), st.integers(1, 9)).map(
        lambda limits: tuple(sorted(limits.items()))
    ),
    env=st.none() | st.frozensets(names),
    redact=st.lists(names, unique=True).map(lambda globs: tuple(sorted(globs))),
    preview=st.booleans(),
    hold=st.dictionaries(st.sampled_from(("bytes", "deletions")), st.integers(1, 9)).map(
        lambda numbers: tuple(sorted(numbers.items()))
    ),
    hold_names=st.lists(names, unique=True).map(lambda globs: tuple(sorted(globs))),
)


def is_as_strict(tight: Obligations, loose: Obligations) -> bool:
    """Return whether whatever satisfies `tight` satisfies `loose`, key by key."""
    bounds, others = dict((*tight.limits, *tight.hold)), dict((*loose.limits, *loose.hold))
    return all(
        (
            tight.level >= loose.level,
            tight.quorum >= loose.quorum,
            set(loose.roles) <= set(tight.roles),
            loose.timeout_s is None
            or (tight.timeout_s is not None and tight.timeout_s <= loose.timeout_s),
            loose.sandbox is None or (tight.sandbox is not None and tight.sandbox <= loose.sandbox),
            set(loose.network) <= set(tight.network),
            all(bounds.get(name, value + 1) <= value for name, value in others.items()),
            loose.env is None or (tight.env is not None and tight.env <= loose.env),
            set(loose.redact) <= set(tight.redact),
            tight.preview or not loose.preview,
            set(loose.hold_names) <= set(tight.hold_names),
        )
    )


@pytest.mark.threat("T02")
@given(st.lists(some, max_size=4), st.randoms())
def test_what_is_combined_is_as_strict_as_each_in_any_order(many, random):
    combined = strictest(many)
    assert all(is_as_strict(combined, one) for one in many)
    random.shuffle(many)
    assert strictest(many) == combined
    assert strictest([combined, *many]) == combined


@given(some, some)
def test_nothing_more_is_asked_than_the_strictest_of_them(one, other):
    both = strictest([one, other])
    assert both.level in (one.level, other.level)
    assert both.quorum in (one.quorum, other.quorum)
    assert {name for name, _ in both.limits} == {n for n, _ in (*one.limits, *other.limits)}
    assert set(both.roles) == {*one.roles, *other.roles}
    assert set(both.redact) == {*one.redact, *other.redact}


@pytest.mark.threat("T28")
def test_a_host_is_permitted_where_every_rule_permits_it():
    assert not_permitted(NONE, "a.test") == ""
    both = Obligations(network=(("*.test",), ("a.test",)), places=(("network", "r at p:1:1"),))
    assert not_permitted(both, "a.test") == ""
    assert not_permitted(both, "b.test") == "only a.test, says r at p:1:1"
    assert not_permitted(Obligations(network=((),)), "a.test") == "no network, says "


def test_nothing_is_demanded_by_nobody():
    assert strictest([]) == NONE
    assert described(NONE) == ()


def test_two_profiles_that_do_not_cover_each_other_leave_what_both_permit():
    both = strictest([Obligations(sandbox=WITHIN["inspect"]), Obligations(sandbox=WITHIN["live"])])
    assert both.sandbox == {"read"}


def test_each_is_said_with_the_rules_that_set_it():
    one = Obligations(sandbox=WITHIN["read"], network=((),), places=(("sandbox", "a at p:1:1"),))
    two = Obligations(
        sandbox=WITHIN["live"],
        env=frozenset(),
        limits=(("cpu_s", 3),),
        redact=("X*",),
        roles=(("lead", "ops"), ("auditor",)),
        preview=True,
        hold=(("deletions", 5),),
        hold_names=("*.lock",),
        places=(("env", "b at p:2:1"), ("sandbox", "b at p:2:1")),
    )
    both = strictest([two, one])
    assert said_by(both, "sandbox") == "a at p:1:1, b at p:2:1"
    assert dict(described(both)) == {
        "roles": "each yes by auditor, and by lead or ops ()",
        "sandbox": "read (a at p:1:1, b at p:2:1)",
        "network": "none ()",
        "limits": "cpu_s 3 ()",
        "env": "none (b at p:2:1)",
        "redact": "X* ()",
        "preview": "before anything is changed ()",
        "hold": "deletions 5, names *.lock ()",
    }
