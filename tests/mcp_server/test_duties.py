"""What the policy demands of a run, held against each kind of action."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.calls import Frozen, Unrunnable
from mcp_server.config import LimitSettings
from mcp_server.duties import bounded, landed, least, within
from policy.model import Decision, Effect, Obligations, Rewritten
from policy.obligations import LIMITS, NONE, WITHIN
from sandbox.action import (
    Command,
    CommitChanges,
    DiscardChanges,
    Landing,
    Limits,
    ListDirectory,
    NewContent,
    PatchFiles,
    ReadFile,
    RemoteCommand,
    RestoreChanges,
    SearchFiles,
    UndoChanges,
)
from sandbox.profile import COVERED, Profile
from tests.mcp_server.test_gate import decision

LOCAL = Command(
    argv=("ls",),
    script=None,
    verbatim=False,
    cwd="/w",
    env=(("A", "1"),),
    stdin=None,
    profile=Profile("live", "/w"),
    limits=Limits(),
    pins=(),
    policy_digest="0" * 64,
)
REMOTE = RemoteCommand((), ("ls",), None, False, False, 1, 60.0, 1024, False, "0" * 64)
PATCH = PatchFiles("/w", (NewContent("a", None, b"x" * 2000),), "0" * 64)
READ = ReadFile("/w/a", 1, 10, 65536, "0" * 64)


def ruled(obligations: Obligations, *rewritten: Rewritten) -> Decision:
    return replace(decision(Effect.ALLOW, obligations=obligations), rewritten=rewritten)


def message(action, **demanded) -> str:
    """Return why an action is blocked; empty when it is not."""
    places = tuple((key.removesuffix("_names"), "r at p:1:1") for key in demanded)
    found = bounded(Frozen(action, ()), ruled(Obligations(**demanded, places=places)))
    if isinstance(found, Unrunnable):
        assert (found.status, "r at p:1:1" in found.message) == ("blocked", True)
        return found.message
    return ""


def test_where_nothing_is_demanded_everything_stays_as_it_is():
    for action in (LOCAL, REMOTE, PATCH, READ):
        assert bounded(Frozen(action, ()), ruled(NONE)) == Frozen(action, ())
    refused = Unrunnable("error", "x")
    assert bounded(refused, ruled(NONE)) is refused


@pytest.mark.threat("T02")
@pytest.mark.parametrize("name", ["read", "inspect", "live", "unconfined"])
@pytest.mark.parametrize("widest", sorted(WITHIN))
def test_a_profile_runs_only_where_the_widest_one_covers_it(name, widest):
    assert WITHIN[widest] == COVERED[widest]
    action = replace(LOCAL, profile=Profile(name, "/w"))
    blocked = message(action, sandbox=WITHIN[widest])
    assert bool(blocked) is (name not in COVERED[widest])
    if blocked:
        assert f"needs the profile {name}, and the policy permits only" in blocked


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("action", "least_profile"),
    [
        (PATCH, "write"),
        (UndoChanges("u", "/w", None, False, "0" * 64), "write"),
        (CommitChanges("u", "/w", "0" * 64, None, "0" * 64), "write"),
        (DiscardChanges("u", "/w", "0" * 64), "write"),
        (RestoreChanges("n", "/w", "0" * 64, "0" * 64), "write"),
        (READ, "read"),
        (ListDirectory("/w", 9, "0" * 64), "read"),
        (SearchFiles("/w", "x", False, None, 9, "0" * 64), "read"),
        (REMOTE, "unconfined"),
    ],
)
def test_what_is_no_local_command_needs_the_profile_that_could_do_it(action, least_profile):
    for widest in WITHIN:
        assert bool(message(action, sandbox=WITHIN[widest])) is (
            least_profile not in COVERED[widest]
        )


@pytest.mark.threat("T27")
@pytest.mark.parametrize(
    "demand", [{"preview": True}, {"hold": (("deletions", 3),)}, {"hold_names": ("*.lock",)}]
)
def test_changes_are_held_as_the_rules_demand_or_nothing_runs(demand):
    on_copy = replace(LOCAL, profile=Profile("write", "/w"))
    assert "would not be held" in message(on_copy, **demand)
    held = replace(on_copy, landing=landed(Landing(), Obligations(**demand)))
    assert message(held, **demand) == ""
    for name in ("live", "unconfined"):
        changed = replace(held, profile=Profile(name, "/w"))
        assert "nothing can be held back" in message(changed, **demand)


@pytest.mark.threat("T27")
def test_there_is_no_preview_of_what_lies_outside_the_workspace():
    elsewhere = replace(
        LOCAL,
        profile=Profile("write", "/w", write_paths=("/srv/x",)),
        landing=Landing(preview=True),
    )
    assert "no preview of /srv/x" in message(elsewhere, preview=True)


numbers = st.none() | st.integers(1, 9)


@pytest.mark.threat("T27")
@given(st.booleans(), numbers, numbers, st.integers(1, 9))
def test_a_rule_only_ever_holds_more(preview, deletions, size, bound):
    asked = Landing(preview, deletions=deletions, bytes=size, names=("a",))
    demands = Obligations(hold=(("bytes", bound), ("deletions", bound)), hold_names=("b",))
    found = landed(asked, demands)
    assert found.preview == preview
    assert found.deletions == min(bound, deletions or bound)
    assert found.bytes == min(bound, size or bound)
    assert found.names == ("a", "b")


@pytest.mark.threat("T02")
def test_where_no_network_is_permitted_nothing_that_has_one_runs():
    assert message(LOCAL, network=((),)) == ""
    assert message(PATCH, network=((),)) == ""
    assert "with network" in message(
        replace(LOCAL, profile=Profile("unconfined", "/w")), network=((),)
    )
    assert "with network" in message(REMOTE, network=((),))


@pytest.mark.threat("T02")
def test_only_the_names_that_a_rule_lists_may_be_set():
    assert message(LOCAL, env=frozenset({"A", "B"})) == ""
    assert "env sets A, and the policy lets it set B" in message(LOCAL, env=frozenset({"B"}))
    assert "lets it set no variable" in message(LOCAL, env=frozenset())


@pytest.mark.threat("T02")
def test_limits_that_were_not_applied_stop_the_command():
    assert "were not applied" in message(LOCAL, limits=(("cpu_s", 5),))
    held = replace(LOCAL, limits=within(Limits(), Obligations(limits=(("cpu_s", 5),))))
    assert message(held, limits=(("cpu_s", 5),)) == ""


def test_of_another_host_only_time_and_output_can_be_held():
    assert message(REMOTE, limits=(("output_bytes", 1024), ("timeout_s", 60))) == ""
    assert "nobody can hold cpu_s on another host" in message(REMOTE, limits=(("cpu_s", 5),))


def test_our_own_file_tools_hold_the_limits_that_mean_something_to_them():
    assert "a file would have 2000 bytes" in message(PATCH, limits=(("file_bytes", 1024),))
    assert message(PATCH, limits=(("file_bytes", 2000),)) == ""
    found = bounded(Frozen(READ, ()), ruled(Obligations(limits=(("output_bytes", 1024),))))
    assert isinstance(found, Frozen)
    assert isinstance(found.action, ReadFile)
    assert found.action.max_bytes == 1024


@given(st.dictionaries(st.sampled_from(sorted(LIMITS)), st.integers(1, 1 << 40)))
def test_a_limit_is_never_above_what_is_configured_or_demanded(demanded):
    obligations = Obligations(limits=tuple(sorted(demanded.items())))
    found = within(Limits(), obligations)
    for field in fields(Limits):
        name = "timeout_s" if field.name == "wall_s" else field.name
        expected = min(getattr(Limits(), field.name), demanded.get(name, 1 << 50))
        assert getattr(found, field.name) == expected
        assert least(name, 3, obligations) == min(3, demanded.get(name, 3))


def test_the_limits_of_rules_are_those_of_the_configuration():
    assert set(LIMITS) == set(LimitSettings.model_fields)
    for name, value in LIMITS.items():
        LimitSettings.model_validate({name: value})


def test_a_statement_shows_what_was_asked_for_beside_what_runs():
    rewritten = Rewritten("curl x", "fetch x", "fetch", "p.yaml:3:5", "why")
    found = bounded(Frozen(LOCAL, ()), ruled(NONE, rewritten))
    assert isinstance(found, Frozen)
    assert found.facts == (
        ("asked-for", "curl x"),
        ("runs-instead", "fetch x (rule fetch at p.yaml:3:5)"),
    )
