"""Loading: every mistake is refused with its place; what is accepted is enforced."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.document import MAX_CHARACTERS, PolicyError, read
from policy.load import FILE_KEYS, load, pack
from policy.model import Effect, Obligations
from policy.obligations import NONE
from policy.rule_file import NOT_YET, RULE_KEYS
from policy.rules import Source

GOOD = """\
version: 1
name: mine
description: What I want.
default: deny
variables: {cache: "~/.cache"}
rules:
  - id: look
    allow: [fs.list, fs.read]
    resources: ["${workspace}/**", "${cache}/**", "/{a,b}/*", "**/x", <unknown path>]
    except: ["**/secret"]
    with: [git.read]
    programs: ["git log"]
    args: ["--{oneline,stat}"]
    tools: [exec]
    subjects: ["agent:*@${user}"]
    remote_hosts: [web1]
    reason: It is harmless.
  - id: push
    ask: {operations: [git.history], level: owner, quorum: 2, timeout_s: 600}
    instead: "git status"
  - id: site
    deny: [net.connect]
    hosts: ["*.Example.com"]
    ports: [443, 8000-8999]
    methods: [POST, M-SEARCH]
  - id: bound
    allow:
      operations: [git.write]
      sandbox: inspect
      network: none
      limits: {timeout_s: 9, memory_bytes: 268435456}
      env: [A, B]
      redact: ["ACME-*", "x{1,2}"]
"""


def load_text(text: str, **source: bool):
    return load([Source("p.yaml", text, **source)], check_examples=False)


def test_a_good_file_becomes_rules_with_places():
    policy = load_text(GOOD)
    look, push, site, bound = policy.rules
    assert [rule.place for rule in policy.rules[:3]] == ["p.yaml:7:5", "p.yaml:18:5", "p.yaml:21:5"]
    assert look.args == ("--oneline", "--stat")
    assert (look.subjects, look.remote_hosts) == (("agent:*@${user}",), ("web1",))
    assert site.methods == {"POST", "M-SEARCH"}
    assert site.ports == ((443, 443), (8000, 8999))
    assert bound.obligations == Obligations(
        sandbox=frozenset({"read", "inspect"}),
        network=((),),
        limits=(("memory_bytes", 268435456), ("timeout_s", 9)),
        env=frozenset({"A", "B"}),
        redact=("ACME-*", "x1", "x2"),
    )
    assert ("sandbox", "bound at p.yaml:26:5") in bound.obligations.places
    assert look.resources is not None
    assert "/a/*" in look.resources
    assert (look.programs, look.tools, look.together_with) == ({"git log"}, {"exec"}, {"git.read"})
    assert not push.grantable
    assert push.obligations == Obligations(level=2, quorum=2, timeout_s=600)
    assert site.hosts == ("*.example.com",)
    assert policy.default is Effect.DENY
    assert policy.default_place == "p.yaml:4:10"


def broken(rule: str) -> str:
    return f"version: 1\nrules:\n  - id: r\n{rule}"


def asks(obligation: str) -> str:
    return broken(f"    ask: {{operations: [git.read], {obligation}}}\n")


MISTAKES = [
    ("", "p.yaml:1:1: the file is empty"),
    ("# nothing\n", "the file is empty"),
    ("[1]", "a policy is a mapping"),
    ("version: 1\n", "p.yaml:1:1: the key 'rules' is missing"),
    ("rules: []\n", "the key 'version' is missing"),
    ("version: 2\nrules: []\n", "p.yaml:1:10: version '2' is not known; write 1"),
    ("version: 1\nversion: 1\nrules: []\n", "p.yaml:2:1: key 'version' appears twice"),
    ("version: 1\nrule: []\n", "p.yaml:2:1: a policy file has no key 'rule'; use one of"),
    ("version: 1\nrules: {}\n", "p.yaml:2:8: rules is a list"),
    ("version: 1\nrules: [x]\n", "p.yaml:2:9: a rule is a mapping"),
    ("version: 1\nname: []\nrules: []\n", "p.yaml:2:7: name is text"),
    ("version: 1\ndefault: allow\nrules: []\n", "p.yaml:2:10: default 'allow': what no rule"),
    ("version: 1\nrevision: 0\nrules: []\n", "p.yaml:2:11: revision is a whole number from 1"),
    ("version: 1\nrevision: 1234567890123456\nrules: []\n", "revision is a whole number"),
    ("version: 1\nrevision: '7'\nrules: []\n", "revision is a whole number from 1"),
    ("version: 1\nvariables: []\nrules: []\n", "variables is a mapping"),
    ("version: 1\nvariables: {home: /x}\nrules: []\n", "'home' cannot be a variable's name"),
    ("version: 1\nvariables: {A-b: /x}\nrules: []\n", "'A-b' cannot be a variable's name"),
    ("version: 1\nvariables: {a: [x]}\nrules: []\n", "a is text"),
    ("version: 1\nrules: &a []\n", "anchors and aliases are not read"),
    ("version: 1\nrules: !!seq []\n", "tags are not read"),
    ("version: 1\nrules: []\n---\nversion: 1\n", "a second document"),
    ("version: 1\n[x]: 1\nrules: []\n", "a key is a word"),
    ("version: 1\nname: " + "[" * 20 + "]" * 20 + "\nrules: []\n", "nested too deeply"),
    ("version: 1\n\trules: []\n", "p.yaml:2:1: not YAML"),
    ("version: \0", "not YAML"),
    ("#" * (MAX_CHARACTERS + 1), "the file is longer than"),
    ("version: 1\nrules:\n  - allow: [git.read]\n", "p.yaml:3:5: the rule has no id"),
    ("version: 1\nrules:\n  - {id: No Good, allow: [git.read]}\n", "id 'No Good': use lower-case"),
    (broken(""), "a rule has one of allow, ask, deny, rewrite; this one has 0"),
    (broken("    ask: [git.read]\n    deny: [git.read]\n"), "this one has 2"),
    (broken("    ask: []\n"), "p.yaml:4:10: ask is a list with at least one entry"),
    (broken("    ask: git.read\n"), "ask is a list"),
    (broken("    ask: [[x]]\n"), "an entry of ask is text"),
    (broken("    ask: ['']\n"), "an entry of ask is text"),
    (broken("    ask: [fs.eat]\n"), "p.yaml:4:11: no operation is called 'fs.eat'; use one of"),
    (broken("    ask: {level: owner}\n"), "ask has no operations"),
    (broken("    ask: {operations: [git.read], levels: owner}\n"), "ask has no key 'levels'"),
    (broken("    ask: {operations: [git.read], level: high}\n"), "level 'high' is not one of"),
    (broken("    ask: {operations: [git.read], quorum: 0}\n"), "quorum is a whole number"),
    (broken("    ask: {operations: [git.read], quorum: '2'}\n"), "quorum is a whole number"),
    (broken("    ask: {operations: [git.read], quorum: {approve: 2}}\n"), "names roles"),
    (broken("    ask: {operations: [git.read], quorum: {roles: [Lead]}}\n"), "role 'Lead'"),
    (broken("    ask: {operations: [git.read], quorum: {roles: []}}\n"), "at least one entry"),
    (broken("    ask: {operations: [git.read], quorum: {roles: [a], deny: 1}}\n"), "key 'deny'"),
    (broken("    ask: {operations: [git.read], roles: [a]}\n"), "quorum: {approve: 2, roles"),
    (broken("    ask: {operations: [git.read], timeout_s: 1.5}\n"), "timeout_s is a whole"),
    (broken("    deny: {operations: [git.read]}\n"), "deny is a list"),
    (broken("    allow: [fs.write]\n"), "rule 'r' names no resources, so it would allow all"),
    (broken("    allow: [opaque]\n"), "text that was not understood is never allowed"),
    (
        broken("    allow: [git.read]\n    instead: ls\n"),
        "p.yaml:5:14: instead is for ask and deny",
    ),
    (broken("    ask: [fs.read]\n    resources: [x]\n"), "'x' is not an absolute path glob"),
    (broken("    ask: [fs.read]\n    resources: ['~bob/x']\n"), "not an absolute path glob"),
    (broken("    ask: [fs.read]\n    resources: ['/a/../b']\n"), ". and .. are not names"),
    (broken("    ask: [fs.read]\n    resources: ['/a**/b']\n"), "** stands alone"),
    (broken("    ask: [fs.read]\n    resources: ['/[ab']\n"), "has a [ without its ]"),
    (broken("    ask: [fs.read]\n    resources: ['/${nope}/x']\n"), "unknown variable 'nope'"),
    (
        broken("    ask: [fs.read]\n    hosts: [x]\n"),
        "hosts narrows only net.connect",
    ),
    (broken("    ask: [git.read]\n    ports: [1]\n"), "ports narrows only net.connect and"),
    (broken("    ask: [net.listen]\n    ports: [x]\n"), "'x' is no port; write 443, or a range"),
    (broken("    ask: [net.listen]\n    ports: [0]\n"), "'0' is no port"),
    (broken("    ask: [net.listen]\n    ports: [9-8]\n"), "'9-8' is no port"),
    (broken("    ask: [net.listen]\n    ports: [65536]\n"), "'65536' is no port"),
    (broken("    ask: [net.listen]\n    ports: []\n"), "ports is a list with at least one entry"),
    (
        broken("    ask: [git.read]\n    methods: [GET]\n"),
        "methods narrows only net.connect; split",
    ),
    (broken("    ask: [net.connect]\n    methods: [get]\n"), "p.yaml:5:15: 'get' is no method of"),
    (broken("    ask: [net.connect]\n    methods: ['A B']\n"), "'A B' is no method of HTTP"),
    (broken("    ask: [git.read]\n    args: ['[a']\n"), "p.yaml:5:12: '[a' has a [ without"),
    (broken("    ask: [git.read]\n    args: ['${x}']\n"), "unknown variable 'x'"),
    (broken("    allow: {operations: [git.read], level: owner}\n"), "allow has no key 'level'"),
    (broken("    allow: {sandbox: read}\n"), "p.yaml:4:12: allow has no operations; add"),
    (asks("sandbox: unconfined"), "sandbox 'unconfined' is not one of read, inspect, write, live"),
    (asks("grantable: false"), "grantable 'false': write true, or leave the key out"),
    (asks("preview: yes"), "preview 'yes': write true, or leave the key out"),
    (asks("hold: 5"), "hold is a mapping; write {deletions: 50"),
    (asks("hold: {files: 5}"), "hold has no key 'files'; use one of bytes, deletions, names"),
    (asks("hold: {deletions: -1}"), "deletions"),
    (asks("hold: {names: ['!x']}"), "'!x' names nothing; write a pattern as in .gitignore"),
    (asks("network: all"), "p.yaml:4:44: network 'all' is not none or a list of hosts"),
    (asks("network: ['@nowhere']"), "no file defines the host set"),
    (asks("limits: [a]"), "limits is a mapping; write {timeout_s: 60}"),
    (asks("limits: {}"), "limits is a mapping"),
    (asks("limits: {ram: 1}"), "limits has no key 'ram'; use one of cpu_s,"),
    (asks("limits: {timeout_s: 0}"), "timeout_s is a whole number from 1"),
    (asks("limits: {open_files: 9}"), "open_files 9 lets nothing start; write 32"),
    (asks("env: A"), "env is a list with at least one entry"),
    (asks("env: [A=1]"), "'A=1' is not a variable's name; write names, no values"),
    (asks("redact: []"), "redact is a list with at least one entry"),
    (asks("redact: ['*?']"), "'*?' cannot be redacted: a word's glob has 1 to 256 characters"),
    (asks("redact: ['a b']"), "'a b' cannot be redacted"),
    (asks("redact: ['[a']"), "'[a' has a [ without its ]"),
    (
        broken("    ask: [fs.read]\n    resource: [/x]\n"),
        "p.yaml:5:5: a rule has no key",
    ),
    (broken("    ask: [git.read]\n    lifts: [r]\n"), "p.yaml:5:12: lifts is for allow alone"),
    (broken("    allow: [git.read]\n    lifts: [x]\n"), "rule 'r' lifts 'x', which no rule is"),
    (broken("    allow: [git.read]\n    lifts: [r]\n"), "lifts 'r' at p.yaml:3:5, which is no ask"),
    ("version: 1\nwithout: [x]\nrules: []\n", "p.yaml:2:11: without names 'x', which no rule of"),
    (
        "version: 1\ninclude: [dev-safe]\nwithout: [nope]\nrules: []\n",
        "p.yaml:3:11: without names 'nope'",
    ),
    ("version: 1\ninclude: dev-safe\nrules: []\n", "include is a list"),
    ("version: 1\ninclude: [nope]\nrules: []\n", "p.yaml:2:11: no pack is called 'nope'; choose"),
    ("version: 1\ninclude: [../x]\nrules: []\n", "p.yaml:2:11: no pack is called '../x'"),
    (
        "version: 1\nrules:\n- {id: a, ask: [git.read]}\n- {id: a, ask: [git.read]}\n",
        "p.yaml:4:3: rule id 'a' is already at p.yaml:3:3; choose another",
    ),
]


@pytest.mark.threat("T04")
@pytest.mark.parametrize(
    ("text", "message"), MISTAKES, ids=[f"{n}: {m}" for n, (_, m) in enumerate(MISTAKES)]
)
def test_a_mistake_is_refused_with_its_place(text, message):
    with pytest.raises(PolicyError) as caught:
        load_text(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("p.yaml:")
    assert "\n" not in str(caught.value)


@pytest.mark.threat("T04")
@pytest.mark.parametrize("key", sorted(NOT_YET))
def test_a_key_that_nothing_enforces_is_refused(key):
    with pytest.raises(PolicyError, match=f"p.yaml:5:5: key '{key}' cannot be enforced: .*; "):
        load_text(broken(f"    ask: [git.read]\n    {key}: [x]\n"))


@pytest.mark.threat("T04")
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1))
def test_any_other_key_is_refused(key):
    if key not in RULE_KEYS:
        with pytest.raises(PolicyError):
            load_text(broken(f"    ask: [git.read]\n    {key}: [x]\n"))
    if key not in FILE_KEYS:
        with pytest.raises(PolicyError):
            load_text(f"version: 1\nrules: []\n{key}: x\n")


@given(st.text())
def test_any_text_is_a_policy_or_a_policy_error(text):
    with suppress(PolicyError):
        read("p.yaml", text)


@pytest.mark.threat("T04")
@pytest.mark.parametrize(
    "text",
    [
        broken("    allow: [git.read]\n"),
        "version: 1\ninclude: [dev-safe]\nrules: []\n",
        "version: 1\nwithout: [network]\nrules: []\n",
        "version: 1\nvariables: {cache: /x}\nrules: []\n",
    ],
)
def test_a_projects_file_may_only_tighten(text):
    with pytest.raises(PolicyError, match="may only tighten"):
        load_text(text, tightens_only=True)


def test_a_mapping_of_operations_alone_demands_nothing():
    (rule,) = load_text(broken("    allow: {operations: [git.read]}\n")).rules
    assert rule.obligations == NONE


def test_no_name_of_the_environment_at_all_may_be_set():
    (rule,) = load_text(asks("env: []")).rules
    assert rule.obligations.env == frozenset()


def test_a_projects_file_may_ask_and_deny():
    assert load_text(broken("    deny: [git.read]\n"), tightens_only=True).rules


def test_several_sources_have_the_strictest_default_and_one_set_of_ids():
    ask, deny = "version: 1\nrules: []\n", "version: 1\ndefault: deny\nrules: []\n"
    for texts in ((ask, deny), (deny, ask)):
        sources = [Source(f"{n}.yaml", text) for n, text in enumerate(texts)]
        assert load(sources).default is Effect.DENY
    assert load([Source("a", ask)]).default is Effect.ASK
    rule = broken("    ask: [git.read]\n")
    with pytest.raises(PolicyError, match=r"b.yaml:3:5: rule id 'r' is already at a.yaml:3:5"):
        load([Source("a.yaml", rule), Source("b.yaml", rule)])


def test_the_revision_of_each_source_that_states_one_is_kept():
    one, two = "version: 1\nrevision: 202611210904\nrules: []\n", "version: 1\nrules: []\n"
    policy = load([Source("one.yaml", one), Source("two.yaml", two)])
    assert policy.revisions == {"one.yaml": 202611210904}


def test_no_source_is_no_policy():
    with pytest.raises(PolicyError, match="no policy was given"):
        load([])


def test_the_digest_tells_every_difference_of_name_text_and_kind():
    rule = broken("    ask: [git.read]\n")
    variants = [
        [Source("a", rule)],
        [Source("b", rule)],
        [Source("a", rule + "\n")],
        [Source("a", rule, tightens_only=True)],
    ]
    digests = {load(sources).digest for sources in variants}
    assert len(digests) == len(variants)
    assert load(variants[0]).digest in digests
    assert all(len(digest) == 64 for digest in digests)


def test_a_pack_is_found_by_name_and_an_unknown_one_is_told_the_others():
    assert pack("dev-safe").name == "dev-safe.yaml"
    with pytest.raises(PolicyError, match=r"'nope'; choose one of .*dev-safe.*ops-inspect"):
        pack("nope")


def test_a_pack_that_is_included_is_there_once_however_often_it_is_named():
    text = "version: 1\ninclude: [dev-safe]\nrules: []\n"
    one, two = Source("a.yaml", text), Source("b.yaml", text)
    policy = load([one, two], check_examples=False)
    assert policy.names[:3] == ("a.yaml", "b.yaml", "dev-safe.yaml")
    assert len(set(policy.names)) == len(policy.names)
    assert policy.rules == load([pack("dev-safe")], check_examples=False).rules
    named = load([pack("dev-safe"), one], check_examples=False)
    assert named.names[:2] == ("dev-safe.yaml", "a.yaml")
    assert len(set(named.names)) == len(named.names)
    assert load([Source("a.yaml", text.replace("include: [dev-safe]", "name: x"))]).rules == ()
    other = Source("dev-safe.yaml", "version: 1\nrules: []\n")
    assert len(load([one, other], check_examples=False).rules) == len(policy.rules)


@pytest.mark.threat("T02")
def test_a_rule_of_a_pack_is_left_out_only_where_every_way_to_it_leaves_it_out():
    every = {rule.id for rule in load([pack("dev-safe")], check_examples=False).rules}
    without = "version: 1\ninclude: [dev-safe]\nwithout: [secrets-anywhere]\nrules: []\n"
    one = Source("a.yaml", without)
    plain = Source("b.yaml", without.replace("without: [secrets-anywhere]\n", ""))
    other = Source("c.yaml", without.replace("secrets-anywhere", "network"))

    def ids(*sources: Source) -> set[str]:
        return {rule.id for rule in load(sources, check_examples=False).rules}

    assert ids(one) == every - {"secrets-anywhere"}
    for both in ((one, plain), (plain, one), (one, other), (one, pack("dev-safe"))):
        assert ids(*both) == every


def test_a_rule_that_was_left_out_may_be_written_anew():
    text = (
        "version: 1\ninclude: [dev-safe]\nwithout: [secrets-anywhere]\nrules:\n"
        "  - {id: secrets-anywhere, deny: [fs.read], resources: ['**/.env']}\n"
    )
    policy = load([Source("a.yaml", text)], check_examples=False)
    (rule,) = [rule for rule in policy.rules if rule.id == "secrets-anywhere"]
    assert rule.place == "a.yaml:5:5"


def test_an_allow_may_lift_an_ask_of_another_source():
    allow = broken("    allow: [git.read]\n    lifts: [other]\n")
    ask = "version: 1\nrules: [{id: other, ask: [git.read]}]\n"
    policy = load([Source("a.yaml", allow), Source("b.yaml", ask)])
    assert policy.rules[0].lifts == {"other"}


@pytest.mark.threat("T04")
@pytest.mark.parametrize(
    ("example", "says"),
    [("match: ['cat b']", "does not match"), ("not_match: ['cat a']", "matches")],
)
def test_a_failing_example_refuses_the_file_with_its_place(example, says):
    text = broken(f"    deny: [fs.read]\n    resources: ['**/a']\n    tools: [x]\n    {example}\n")
    with pytest.raises(PolicyError, match=rf"p.yaml:7:\d+: rule 'r' {says} its example 'cat"):
        load([Source("p.yaml", text)])
    assert load([Source("p.yaml", text)], check_examples=False).rules


def test_who_asks_and_of_which_hosts_is_no_part_of_an_example():
    rule = "    deny: [fs.read]\n    subjects: [x]\n    remote_hosts: [y]\n    programs: [cat]\n"
    assert load([Source("p.yaml", broken(f"{rule}    match: [cat a]\n    not_match: [head a]\n"))])
    with pytest.raises(PolicyError, match="matches its example 'cat a'"):
        load([Source("p.yaml", broken(f"{rule}    not_match: [cat a]\n"))])


def test_a_quorum_may_name_the_roles_of_those_who_say_yes():
    text = broken("    ask: {operations: [git.read], quorum: {approve: 2, roles: [ops, lead]}}\n")
    (rule,) = load([Source("p.yaml", text)]).rules
    assert (rule.obligations.quorum, rule.obligations.roles) == (2, (("lead", "ops"),))
    one = broken("    ask: {operations: [git.read], quorum: {roles: [ops]}}\n")
    assert load([Source("p.yaml", one)]).rules[0].obligations.quorum == 1


def test_what_a_rule_holds_is_read_whole():
    demand = "preview: true, hold: {deletions: 5, names: ['b*', 'a*']}"
    (rule,) = load([Source("p.yaml", asks(demand))]).rules
    demanded = rule.obligations
    assert (demanded.preview, demanded.hold) == (True, (("deletions", 5),))
    assert demanded.hold_names == ("a*", "b*")


def test_examples_that_hold_are_accepted():
    text = broken("    deny: [fs.read]\n    resources: ['**/a']\n    match: [cat a]\n")
    assert load([Source("p.yaml", text)]).rules[0].examples[0].matches
