"""The laws of deciding, over hand-written accesses."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.decide import (
    MAX_ACCESSES,
    decide,
    denied_reads,
    matching_rules,
    readable_roots,
)
from policy.load import load, pack
from policy.model import Access, Context, Effect
from policy.narrowing import Asked
from policy.obligations import strictest
from policy.programs.words import HOLE, Argument
from policy.rules import Source, bind

CONTEXT = Context("/w", "/home/dev", "dev", "box")
BLIND = Context("/w", "/home/dev", "dev", "box", can_mask=False)


def policy_of(*rules: str, default: str = "ask"):
    text = f"version: 1\ndefault: {default}\nrules:\n"
    text += "\n".join(f"  - {{id: r{n}, {rule}}}" for n, rule in enumerate(rules))
    return load([Source("p.yaml", text if rules else text.replace("rules:\n", "rules: []\n"))])


def effect(rules, *accesses, context=CONTEXT, tool=""):
    return decide(accesses, policy_of(*rules), context, Asked(tool)).effect


# --- the laws, as properties ---------------------------------------------------

GLOBS = ("/w/**", "/w/a", "/w/*", "/**", "**/a", "/w/a/**", "<unknown path>", "**/.env")
OPERATIONS = ("fs.read", "fs.list", "fs.write", "fs.delete", "code.exec")
RESOURCES = ("/w", "/w/a", "/w/a/b", "/w/*", "/w/.en?", f"/w/{HOLE}", HOLE, "/x", "<network>")


NARROWED = (
    "", ", with: [net.connect]", ", programs: [git]", ", tools: [x]", ", except: [/w/a]",
    ", args: ['--f*']", ", args: [a]", ", subjects: ['s*']", ", subjects: [other]",
    ", remote_hosts: ['web*']", ", remote_hosts: [web1]",
)  # fmt: skip
DEMANDS = (
    "", ", sandbox: read", ", sandbox: inspect", ", network: none", ", env: [A]", ", env: [B]",
    ", limits: {timeout_s: 5}", ", limits: {timeout_s: 3, cpu_s: 9}", ", redact: ['X*']",
)  # fmt: skip


def rule_text(verb: str, operations, resources, conditions, demands) -> str:
    listed = ", ".join(f"'{glob}'" for glob in resources)
    asked = f"[{', '.join(operations)}]"
    if verb == "ask":
        asked = f"{{operations: {asked}, level: owner, quorum: 2, timeout_s: 9{demands}}}"
    if verb == "allow" and demands:
        asked = f"{{operations: {asked}{demands}}}"
    return f"{verb}: {asked}, resources: [{listed}]{conditions}"


def rules(verbs):
    return st.builds(
        rule_text,
        st.sampled_from(verbs),
        st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=3, unique=True),
        st.lists(st.sampled_from(GLOBS), min_size=1, max_size=2, unique=True),
        st.sampled_from(NARROWED),
        st.sampled_from(DEMANDS),
    )


def access_of(operation: str, resource: str, program: str) -> Access:
    how = "dynamic" if HOLE in resource else "pattern" if set(resource) & {"*", "?"} else "exact"
    return Access(operation, resource, how, program)


accesses = st.lists(
    st.builds(
        access_of,
        st.sampled_from((*OPERATIONS, "net.connect")),
        st.sampled_from(RESOURCES),
        st.sampled_from(("git push", "cat")),
    ),
    max_size=4,
)
some_rules = st.lists(rules(("allow", "ask", "deny")), max_size=4)
contexts = st.sampled_from((CONTEXT, BLIND))
some_asked = st.builds(
    Asked,
    st.sampled_from(("x", "y")),
    st.sampled_from(("s@1", "t@1")),
    st.sampled_from(((), ("web1",), ("web1", "web2"), ("db", "web1"))),
    st.fixed_dictionaries(
        {},
        optional={
            "git": st.sampled_from(
                (
                    [[Argument("git"), Argument("push"), Argument("--force")]],
                    [[Argument("git"), Argument("push"), Argument(HOLE, "dynamic", several=True)]],
                    [[Argument("git"), Argument("push"), Argument("a")], [Argument("git")]],
                )
            ),
            "cat": st.just([[Argument("cat"), Argument("a")]]),
        },
    ),
)


@pytest.mark.threat("T02")
@given(some_rules, rules(("ask", "deny")), accesses, contexts, some_asked)
def test_one_more_ask_or_deny_never_loosens(before, added, touched, context, asked):
    old = decide(touched, policy_of(*before), context, asked)
    new = decide(touched, policy_of(*before, added), context, asked)
    for was, now in zip(old.verdicts, new.verdicts, strict=True):
        assert now.effect >= was.effect or was.rule_id == "default"
    if all(verdict.rule_id != "default" for verdict in old.verdicts):
        assert new.effect >= old.effect
    if new.effect < Effect.DENY:  # what is denied runs nowhere
        assert new.obligations == strictest([old.obligations, new.obligations])


@pytest.mark.threat("T02")
@given(some_rules, rules(("ask", "deny")), accesses, contexts, some_asked)
def test_with_the_default_ask_no_added_ask_or_deny_loosens_anything(
    before, added, touched, context, asked
):
    old = decide(touched, policy_of(*before), context, asked)
    new = decide(touched, policy_of(*before, added), context, asked)
    assert new.effect >= old.effect


@pytest.mark.threat("T02")
@given(some_rules, rules(("allow",)), accesses, contexts, some_asked)
def test_one_more_allow_changes_only_what_no_rule_mentioned(before, added, touched, context, asked):
    old = decide(touched, policy_of(*before), context, asked)
    new = decide(touched, policy_of(*before, added), context, asked)
    for was, now in zip(old.verdicts, new.verdicts, strict=True):
        assert was.rule_id == "default" or now.effect is was.effect
    assert new.obligations == strictest([old.obligations, new.obligations])


@pytest.mark.threat("T02")
@given(st.permutations(range(4)), st.lists(rules(("allow", "ask", "deny")), min_size=4, max_size=4),
       accesses, contexts, some_asked)  # fmt: skip
def test_order_never_matters(order, texts, touched, context, asked):
    header = "version: 1\nrules:\n"
    lines = [f"  - {{id: r{n}, {text}}}\n" for n, text in enumerate(texts)]
    one = load([Source("a", header + "".join(lines))])
    two = load([Source(f"{n}", header + lines[n]) for n in order])
    left, right = (decide(touched, policy, context, asked) for policy in (one, two))
    assert (left.effect, left.obligations) == (right.effect, right.obligations)
    assert [(v.access, v.effect, v.rule_id, v.certain) for v in left.verdicts] == [
        (v.access, v.effect, v.rule_id, v.certain) for v in right.verdicts
    ]


@pytest.mark.threat("T02")
def test_a_projects_ask_does_not_open_what_the_default_denies():
    admin = Source("admin", "version: 1\ndefault: deny\nrules: []\n")
    text = "version: 1\nrules: [{id: a, VERB: [fs.read], resources: ['/**']}]\n"
    read = [Access("fs.read", "/x")]
    for verb, reader in (("ask", "default"), ("deny", "a")):
        project = Source("project", text.replace("VERB", verb), tightens_only=True)
        ruling = decide(read, load([admin, project]), CONTEXT)
        assert (ruling.effect, ruling.verdicts[0].rule_id) == (Effect.DENY, reader)
    own = Source("own", text.replace("VERB", "ask"))
    assert decide(read, load([admin, own]), CONTEXT).effect is Effect.ASK


# --- law 1 ---------------------------------------------------------------------


@pytest.mark.threat("T04")
def test_what_no_rule_mentions_is_the_default_with_its_place():
    (verdict,) = decide([Access("fs.read", "/x")], policy_of(), CONTEXT).verdicts
    assert (verdict.effect, verdict.rule_id, verdict.place) == (
        Effect.ASK,
        "default",
        "p.yaml:2:10",
    )
    assert verdict.reason == "It reads /x, and no rule allows that."
    denied = policy_of(default="deny")
    assert decide([Access("fs.read", "/x")], denied, CONTEXT).effect is Effect.DENY


@pytest.mark.threat("T04")
def test_an_error_while_deciding_denies():
    class Broken(str):
        def __len__(self):
            raise ValueError

    access = Access("fs.read", Broken("/w/a"))
    ruling = decide([access], policy_of("allow: [fs.read], resources: ['/**']"), CONTEXT)
    assert ruling.effect is Effect.DENY
    assert ruling.verdicts[0].rule_id == "error"
    assert "ValueError" in ruling.verdicts[0].reason


def test_nothing_touched_is_allowed():
    assert decide([], policy_of(default="deny"), CONTEXT).effect is Effect.ALLOW


@pytest.mark.threat("T04")
def test_more_than_can_be_checked_is_allowed_by_nobody_in_bounded_time():
    policy = policy_of(
        "allow: [fs.read], resources: ['/**']", "deny: [fs.read], resources: ['**/a*b', '**/c*d']"
    )
    many = [Access("fs.read", f"/w/{n}") for n in range(MAX_ACCESSES + 5)]
    ruling = decide(many, policy, CONTEXT)
    assert ruling.effect is Effect.DENY
    assert len(ruling.verdicts) == MAX_ACCESSES + 1
    assert "more than 2000 things; split the command" in ruling.verdicts[-1].reason
    started = time.process_time()
    globs = ", ".join(f"'**/x{n}*y/**'" for n in range(500))
    wide = policy_of(
        "allow: [fs.read], resources: ['/**']", f"ask: [fs.read], resources: [{globs}]"
    )
    patterns = [Access("fs.read", f"/w/{n}*", "pattern") for n in range(1000)]
    ruling = decide(patterns, wide, CONTEXT)
    assert {verdict.rule_id for verdict in ruling.verdicts} == {"r0", "limit"}
    last = ruling.verdicts[-1]
    assert (last.rule_id, last.effect, ruling.obligations.level) == ("limit", Effect.ASK, 2)
    assert time.process_time() - started < 3


def test_no_decision_depends_on_an_earlier_one():
    rules = ["allow: [fs.read], resources: ['/w/**']", "deny: [fs.read], resources: ['**/a?b']"]
    patterns = [Access("fs.read", f"/w/{n}/?{n}b", "pattern") for n in range(600)]
    policy = policy_of(*rules)
    first = decide(patterns, policy, CONTEXT)
    assert decide(patterns, policy, CONTEXT) == first
    assert first.verdicts[-1].rule_id == "limit"


def test_what_is_remembered_of_patterns_is_bounded_and_changes_nothing():
    policy = policy_of("allow: [fs.read], resources: ['/w/a/**']")
    for _ in range(2):
        for n in range(300):
            for folder, expected in (("a", Effect.ALLOW), ("b", Effect.ASK)):
                pattern = Access("fs.read", f"/w/{folder}/?{n}", "pattern")
                assert decide([pattern], policy, CONTEXT).effect is expected
    globs = bind(policy, CONTEXT).rules_for("fs.read")[0].resources
    assert globs is not None
    assert 0 < len(globs.answers) <= 256


def test_a_long_pattern_is_decided_like_a_short_one():
    long = Access("fs.read", "/w/" + "a" * 300 + "*", "pattern")
    assert effect([ALLOW_W], long) is Effect.ALLOW
    assert effect([ALLOW_W, "deny: [fs.read], resources: ['/w/a*']"], long) is Effect.DENY


def test_fifty_patterns_are_no_more_than_can_be_checked():
    patterns = [Access("fs.delete", f"/home/dev/work/d{n}/*.o", "pattern") for n in range(50)]
    dev = load([pack("dev-safe")], check_examples=False)
    context = Context("/home/dev/work", "/home/dev", "dev", "box")
    assert decide(patterns, dev, context).effect is Effect.ALLOW


def test_a_path_longer_than_the_kernel_takes_is_denied():
    access = Access("fs.read", "/w/" + "a" * 5000)
    assert effect(["allow: [fs.read], resources: ['/**']"], access) is Effect.DENY


# --- certainty and possibility -------------------------------------------------

ALLOW_W = (
    "allow: [fs.read, fs.list, fs.write, fs.delete, code.exec],"
    " resources: ['/w/**', <unknown path>]"
)


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("operation", "resource", "how", "expected"),
    [
        ("fs.read", "/w/a", "exact", Effect.ALLOW),
        ("fs.read", "/w/*", "pattern", Effect.ALLOW),
        ("fs.read", "/*/a", "pattern", Effect.ASK),
        ("fs.read", f"/w/{HOLE}", "dynamic", Effect.ALLOW),
        ("fs.read", HOLE, "dynamic", Effect.ALLOW),
        ("fs.read", "/w/../x", "dynamic", Effect.ASK),
        ("fs.write", f"/w/{HOLE}", "dynamic", Effect.ASK),
        ("fs.delete", HOLE, "dynamic", Effect.ASK),
        ("fs.read", "/x", "exact", Effect.ASK),
    ],
)
def test_allow_needs_certainty(operation, resource, how, expected):
    assert effect([ALLOW_W], Access(operation, resource, how)) is expected


@pytest.mark.parametrize("path", [f"/w/{HOLE}", HOLE])
def test_an_unknown_path_is_read_only_where_denied_names_can_be_masked(path):
    read, listed = Access("fs.read", path, "dynamic"), Access("fs.list", path, "dynamic")
    assert effect([ALLOW_W], read, context=BLIND) is Effect.ASK
    assert effect([ALLOW_W], listed, context=BLIND) is Effect.ALLOW


DENY = "deny: [fs.read, fs.write, fs.delete, code.exec], resources: ['/w/.env', '/w/secret/**']"


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("operation", "resource", "how", "expected"),
    [
        ("fs.read", "/w/.env", "exact", Effect.DENY),
        ("fs.read", "/w/.en?", "pattern", Effect.DENY),
        ("fs.read", "/w/*", "pattern", Effect.ALLOW),
        ("fs.read", "/w", "exact", Effect.ALLOW),
        ("fs.read", f"{HOLE}/.env", "dynamic", Effect.DENY),
        ("fs.write", "/w/s*/x", "pattern", Effect.DENY),
        ("fs.write", "/w/b*", "pattern", Effect.ALLOW),
        ("fs.write", f"/w/{HOLE}", "dynamic", Effect.ASK),
        ("fs.write", f"/w/secret/{HOLE}", "dynamic", Effect.DENY),
        ("fs.delete", "/w", "exact", Effect.DENY),
        ("fs.delete", "/w/build", "exact", Effect.ALLOW),
        ("fs.delete", "/w/secret/x", "exact", Effect.DENY),
        ("fs.delete", "/", "exact", Effect.DENY),
        ("fs.delete", HOLE, "dynamic", Effect.ASK),
        ("code.exec", "/w/.env", "exact", Effect.DENY),
        ("code.exec", "/w/.en?", "pattern", Effect.DENY),
        ("code.exec", "/w/*", "pattern", Effect.ALLOW),
    ],
)
def test_deny_needs_possibility_and_a_passing_read_is_masked(operation, resource, how, expected):
    assert effect([ALLOW_W, DENY], Access(operation, resource, how)) is expected


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (f"{HOLE}etc{HOLE}shadow", Effect.ASK),
        (f"{HOLE}hadow", Effect.ASK),
        (f"/etc/sha{HOLE}", Effect.ASK),
        (f"/w/{HOLE}_rsa", Effect.ASK),
        (f"/w/{HOLE}.env", Effect.ASK),
        (f"/w/{HOLE}.env.local", Effect.ASK),
        (f"/w/id_{HOLE}", Effect.ASK),
        (f"/w/cred{HOLE}.json", Effect.ASK),
        (f"/w/{HOLE}.json", Effect.ALLOW),
        (f"/w/{HOLE}", Effect.ALLOW),
        (f"/w/{HOLE}.txt", Effect.ALLOW),
        (f"/w/report-{HOLE}.txt", Effect.ALLOW),
        (f"/w/{HOLE}/a", Effect.ALLOW),
    ],
)
def test_a_name_of_which_a_piece_is_known_is_asked_about_when_a_denied_one_has_it(
    resource, expected
):
    allow = "allow: [fs.read], resources: ['/**', <unknown path>]"
    secrets = "'/etc/shadow*', '**/id_rsa', '**/.env', '**/.env.*', '**/credentials.json'"
    rules = [allow, f"deny: [fs.read], resources: [{secrets}]"]
    assert effect(rules, Access("fs.read", resource, "dynamic")) is expected


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("resource", "how", "expected"),
    [
        ("/w/*", "pattern", Effect.ASK),
        ("/w", "exact", Effect.ASK),
        ("/w/b*", "pattern", Effect.ALLOW),
        ("/w/a", "exact", Effect.ALLOW),
        ("/w/secret", "exact", Effect.DENY),
    ],
)
def test_where_nothing_can_be_masked_a_passing_read_asks(resource, how, expected):
    deny = "deny: [fs.read], resources: ['/w/env', '/w/secret/**']"
    assert effect([ALLOW_W, deny], Access("fs.read", resource, how), context=BLIND) is expected


@pytest.mark.threat("T02")
def test_a_deny_with_conditions_is_not_left_to_a_mask():
    deny = "deny: [fs.read], resources: ['/w/env'], with: [net.connect]"
    alone = "deny: [code.exec], resources: ['/w/env']"
    assert effect([ALLOW_W, alone], Access("code.exec", "/w/*", "pattern")) is Effect.DENY
    read, connect = Access("fs.read", "/w/*", "pattern"), Access("net.connect", "a")
    assert effect([ALLOW_W, deny], read) is Effect.ALLOW
    assert effect([ALLOW_W, deny], read, connect) is Effect.DENY


def test_a_possible_deny_is_the_owners_to_answer():
    ruling = decide([Access("fs.write", f"/w/{HOLE}", "dynamic")], policy_of(DENY), CONTEXT)
    assert (ruling.effect, ruling.obligations.level) == (Effect.ASK, 2)


@pytest.mark.threat("T02")
def test_an_exception_to_a_deny_needs_certainty_too():
    rules = [
        "allow: [fs.write, fs.delete], resources: ['/**']",
        "deny: [fs.write, fs.delete], resources: ['/x/**'], except: ['/x/ok/*', '/x/w/**']",
    ]
    assert effect(rules, Access("fs.write", "/x/ok/a")) is Effect.ALLOW
    assert effect(rules, Access("fs.write", "/x/ok/a*", "pattern")) is Effect.ALLOW
    assert effect(rules, Access("fs.write", "/x/*/a", "pattern")) is Effect.DENY
    assert effect(rules, Access("fs.write", f"/x/ok/{HOLE}", "dynamic")) is Effect.DENY
    assert effect(rules, Access("fs.delete", "/x/ok/a")) is Effect.DENY
    assert effect(rules, Access("fs.delete", "/x/w/a")) is Effect.ALLOW


def test_an_exception_to_an_allow_holds_where_it_is_possible():
    rules = ["allow: [fs.read, git.read], resources: ['/w/**'], except: ['/w/x*']"]
    assert effect(rules, Access("fs.read", "/w/a")) is Effect.ALLOW
    assert effect(rules, Access("fs.read", "/w/*", "pattern")) is Effect.ASK
    assert effect(rules, Access("git.read", "/w/x")) is Effect.ASK


@pytest.mark.threat("T02")
def test_a_deny_opens_nothing_that_the_default_denies():
    access = Access("fs.write", f"/w/{HOLE}", "dynamic")
    deny = "deny: [fs.write], resources: ['/w/a']"
    assert decide([access], policy_of(default="deny"), CONTEXT).effect is Effect.DENY
    assert decide([access], policy_of(deny, default="deny"), CONTEXT).effect is Effect.DENY
    ask = "ask: [fs.write], resources: ['/w/**']"
    assert decide([access], policy_of(ask, default="deny"), CONTEXT).effect is Effect.ASK
    assert decide([access], policy_of(deny, ask, default="deny"), CONTEXT).effect is Effect.ASK


@pytest.mark.threat("T02")
def test_where_nobody_is_meant_to_be_asked_doubt_is_a_no():
    access = Access("code.exec", "<x>", "exact", "p")
    allow, ask = "allow: [code.exec], resources: ['<*']", "ask: [code.exec], resources: ['<*']"
    deny = "deny: [code.exec], resources: ['<*'], args: [x]"
    ruling = decide([access], policy_of(allow, deny, default="deny"), CONTEXT)
    (verdict,) = ruling.verdicts
    assert (ruling.effect, verdict.rule_id, verdict.certain) == (Effect.DENY, "r1", False)
    ruling = decide([access], policy_of(allow, deny, ask, default="deny"), CONTEXT)
    (verdict,) = ruling.verdicts
    assert (ruling.effect, verdict.rule_id, verdict.certain) == (Effect.ASK, "r2", True)
    project = Source("q.yaml", f"version: 1\nrules: [{{id: q, {ask}}}]\n", tightens_only=True)
    own = f"version: 1\ndefault: deny\nrules: [{{id: a, {allow}}}, {{id: d, {deny}}}]\n"
    assert decide([access], load([Source("p.yaml", own), project]), CONTEXT).effect is Effect.DENY


def test_what_is_certain_speaks_before_what_only_may_be():
    rules = ["deny: [net.connect], hosts: [a]", "ask: [net.connect], resources: ['*']"]
    (verdict,) = decide(
        [Access("net.connect", "…", "dynamic")], policy_of(*rules), CONTEXT
    ).verdicts
    assert (verdict.rule_id, verdict.certain) == ("r1", True)
    (verdict,) = decide(
        [Access("net.connect", "…", "dynamic")], policy_of(rules[0]), CONTEXT
    ).verdicts
    assert (verdict.rule_id, verdict.certain) == ("r0", False)


def test_an_ask_that_a_pattern_only_sweeps_over_speaks_after_one_that_is_meant():
    rules = ["ask: [fs.delete], resources: ['/w/sub/x']", "ask: [fs.delete], resources: ['/w/**']"]
    swept, meant = Access("fs.delete", "/w/*", "pattern"), Access("fs.delete", "/w/s?b", "pattern")
    for some, access, speaks, certain in (
        (rules, swept, "r1", True),
        (rules[:1], swept, "r0", False),
        (["ask: [fs.delete], resources: ['/w/sub']"], meant, "r0", True),
    ):
        (verdict,) = decide([access], policy_of(*some), CONTEXT).verdicts
        assert (verdict.effect, verdict.rule_id, verdict.certain) == (Effect.ASK, speaks, certain)


@pytest.mark.parametrize(
    ("resource", "how", "speaks"),
    [
        ("/w/*", "pattern", "r1"),  # touched, where r0 names only what lies below
        ("/w/sub/*", "pattern", "r2"),  # holds all of it
        ("/w/sub/a/x", "exact", "r0"),
    ],
)
def test_the_deny_that_is_nearest_to_what_is_named_speaks(resource, how, speaks):
    rules = [
        "deny: [fs.delete], resources: ['/w/sub/a/**']",
        "deny: [fs.delete], resources: ['/w/sub', '/w/sub/b']",
        "deny: [fs.delete], resources: ['/w/sub/*']",
    ]
    (verdict,) = decide([Access("fs.delete", resource, how)], policy_of(*rules), CONTEXT).verdicts
    assert (verdict.effect, verdict.rule_id) == (Effect.DENY, speaks)


# --- lifting -------------------------------------------------------------------

ASKS = "ask: {operations: [code.exec], level: owner}, resources: ['<unknown program *>']"
LIFTING = "allow: [code.exec], resources: ['<unknown program {}>'], lifts: [r0]"


def unknown(name: str) -> Access:
    return Access("code.exec", f"<unknown program {name}>", "dynamic", name)


def test_an_allow_silences_the_asks_it_names_where_it_is_certain():
    policy = policy_of(ASKS, LIFTING.format("tool"))
    ruling = decide([unknown("tool")], policy, CONTEXT)
    assert (ruling.effect, ruling.obligations.level) == (Effect.ALLOW, 1)
    assert ruling.verdicts[0].lifted == ("r0",)
    other = decide([unknown("tool"), unknown("else")], policy, CONTEXT)
    assert [verdict.effect for verdict in other.verdicts] == [Effect.ALLOW, Effect.ASK]
    assert other.obligations.level == 2


@pytest.mark.threat("T02")
def test_an_allow_that_is_not_certain_lifts_nothing_and_no_deny_is_lifted():
    narrowed = LIFTING.format("*") + ", tools: [exec]"
    assert decide([unknown("a")], policy_of(ASKS, narrowed), CONTEXT).effect is Effect.ASK
    deny = "deny: [code.exec], resources: ['<unknown program a>']"
    policy = policy_of(ASKS, LIFTING.format("*"), deny)
    assert decide([unknown("a")], policy, CONTEXT).effect is Effect.DENY
    possible = "deny: [code.exec], resources: ['<*'], args: [x]"
    policy = policy_of(ASKS, LIFTING.format("*"), possible)
    assert decide([unknown("a")], policy, CONTEXT).effect is Effect.ASK
    stricter = "ask: [code.exec], resources: ['<*']"
    policy = policy_of(ASKS, LIFTING.format("*"), stricter)
    assert decide([unknown("a")], policy, CONTEXT).effect is Effect.ASK


@pytest.mark.threat("T02")
@given(some_rules, rules(("allow",)), accesses, contexts, some_asked)
def test_an_allow_that_lifts_changes_only_what_the_asks_it_names_and_allows_covered(
    before, added, touched, context, asked
):
    names = {f"r{n}": rule for n, rule in enumerate(before)}
    lifts = [name for name, rule in names.items() if rule.startswith("ask")][:2]
    if not lifts:
        return
    old = decide(touched, policy_of(*before), context, asked)
    new = decide(
        touched, policy_of(*before, f"{added}, lifts: [{', '.join(lifts)}]"), context, asked
    )
    kept = [rule if name not in lifts else "ask: [audit.tamper]" for name, rule in names.items()]
    without = decide(touched, policy_of(*kept), context, asked)
    for was, now, bare in zip(old.verdicts, new.verdicts, without.verdicts, strict=True):
        if now.effect < was.effect and was.rule_id != "default":
            assert was.rule_id in lifts
            assert now.rule_id == f"r{len(before)}" or now.effect >= bare.effect
        assert now.effect is not Effect.ALLOW or bare.effect is not Effect.DENY


# --- what narrows a rule -------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "expected"),
    [("git", Effect.DENY), ("git push", Effect.DENY), ("gitk", Effect.ASK), ("", Effect.ASK)],
)
def test_a_rule_for_a_program_is_for_its_sub_commands_too(program, expected):
    rules = ["deny: [git.read], programs: [git]"]
    assert effect(rules, Access("git.read", "x", "exact", program)) is expected


def test_a_rule_for_a_tool_is_for_no_other():
    rules = ["allow: [git.read], tools: [exec]"]
    assert effect(rules, Access("git.read", "x"), tool="exec") is Effect.ALLOW
    assert effect(rules, Access("git.read", "x"), tool="other") is Effect.ASK


@pytest.mark.parametrize(
    ("resource", "how", "expected"),
    [
        ("https://packages.example/simple", "exact", Effect.ALLOW),
        ("https://evil.example/packages.example", "exact", Effect.ASK),
        ("https://packages.example@evil.example/", "exact", Effect.ASK),
        ("https://…/", "dynamic", Effect.ASK),
        ("bad host", "exact", Effect.ASK),
        ("http://169.254.169.254/", "exact", Effect.DENY),
        ("http://0xa9fea9fe/", "exact", Effect.DENY),
    ],
)
def test_hosts_are_compared_as_hosts(resource, how, expected):
    rules = ["allow: [net.connect], hosts: [packages.example]",
             "deny: [net.connect], hosts: [169.254.169.254]"]  # fmt: skip
    assert effect(rules, Access("net.connect", resource, how)) is expected


def test_a_host_rule_may_name_resources_too():
    rules = ["allow: [net.connect]", "deny: [net.connect], hosts: [a], resources: ['http*']"]
    assert effect(rules, Access("net.connect", "ftp://a/")) is Effect.ALLOW
    assert effect(rules, Access("net.connect", "ftp://?/", "pattern")) is Effect.ALLOW
    assert effect(rules, Access("net.connect", "http://?/", "pattern")) is Effect.ASK


@pytest.mark.parametrize(
    ("resource", "how", "expected"),
    [
        ("nginx", "exact", Effect.ALLOW),
        ("ngin?", "pattern", Effect.ASK),
        ("…", "dynamic", Effect.ASK),
        ("ssh", "exact", Effect.DENY),
        ("ss*", "pattern", Effect.DENY),
        ("ss…", "dynamic", Effect.ASK),
    ],
)
def test_names_that_are_no_paths_follow_the_same_laws(resource, how, expected):
    rules = ["allow: [service.control], resources: [nginx]",
             "deny: [service.control], resources: [ssh]"]  # fmt: skip
    assert effect(rules, Access("service.control", resource, how)) is expected


def test_a_resource_in_brackets_is_a_name_also_for_path_operations():
    rules = ["deny: [code.exec], resources: [<network>]", "ask: [code.exec], resources: ['<*']"]
    assert effect(rules, Access("code.exec", "<network>", "dynamic")) is Effect.DENY
    assert effect(rules, Access("code.exec", "<inline code>", "dynamic")) is Effect.ASK


def test_a_rule_without_resources_is_for_all():
    assert effect(["deny: [fs.read]"], Access("fs.read", HOLE, "dynamic")) is Effect.DENY


def test_the_rules_that_match_are_known_by_id():
    policy = policy_of(
        "allow: [fs.read], resources: ['/w/**']", "deny: [fs.read]", "deny: [fs.list]"
    )
    assert matching_rules([Access("fs.read", "/w/a")], policy, CONTEXT) == {"r0", "r1"}


@pytest.mark.threat("T02")
@given(some_rules, accesses, contexts, some_asked)
def test_a_rule_matches_beside_others_what_it_matches_alone(texts, touched, context, asked):
    alone = {
        f"r{number}"
        for number, text in enumerate(texts)
        if matching_rules(touched, policy_of(text), context, asked)
    }
    assert matching_rules(touched, policy_of(*texts), context, asked) == alone


# --- what the sandbox takes ----------------------------------------------------


@pytest.mark.threat("T02")
def test_the_masks_are_the_unconditional_denies_of_reading():
    denied = denied_reads(
        policy_of(
            "deny: [fs.read], resources: ['**/.env*', '<x>'], except: ['**/.env.example']",
            "deny: [fs.read], resources: ['/s/**'], programs: [cat]",
            "ask: [fs.read], resources: ['/q/**']",
        ),
        CONTEXT,
    )
    paths = ("/w/.env", "/w/.env.example", "/s/a", "/q/a", "/")
    assert [denied.denies(path) for path in paths] == [True, False, False, False, False]
    assert denied_reads(policy_of("deny: [fs.read]"), CONTEXT).denies("/")
    assert not denied_reads(policy_of(), CONTEXT).denies("/w/a")


def test_the_readable_roots_are_those_that_reading_is_allowed_in():
    policy = policy_of(
        "allow: [fs.read], resources: ['/usr/**', '/usr/lib/**', '**/x', '/etc/hosts']",
        "allow: [fs.list], resources: ['/**']",
        "deny: [fs.read], resources: ['/srv/**']",
    )
    assert readable_roots(policy, CONTEXT) == ("/etc/hosts", "/usr")
    everything = policy_of("allow: [fs.read], resources: ['/**', '/usr/**']")
    assert readable_roots(everything, CONTEXT) == ("/",)
