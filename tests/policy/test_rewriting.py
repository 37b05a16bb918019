"""One command in the place of another: only what is wholly known, decided like any other."""

import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.classify import classify
from policy.document import PolicyError
from policy.load import load, pack
from policy.model import Context, Effect, Exec, Read, Request, Ssh, Subject
from policy.rewriting import apply
from policy.rules import Source

CONTEXT = Context("/home/dev/work", "/home/dev", "dev", "box")
SUBJECT = Subject("agent:test", "s", 1000, "local")
ALLOW, ASK, DENY = Effect.ALLOW, Effect.ASK, Effect.DENY

FETCH = """\
version: 1
rules:
  - id: fetch
    rewrite: {programs: [curl, wget], argv: [cached-get, "{url}"]}
    reason: Downloads go through the cache.
    match: ["curl https://a.example/", "cd x && wget b"]
    not_match: ["curl -s https://a.example/", "curl", "cached-get x", "curl $X"]
  - id: fetch-runs
    allow: [code.exec]
    resources: ["<unknown program cached-get>"]
    lifts: [unread-code]
  - id: unread-code
    ask: [code.exec]
    resources: ["<*"]
  - id: gently
    rewrite: {programs: [rm], args: ["{all...}"], argv: [rm, -I, "{all...}"]}
  - id: pushing
    rewrite:
      programs: ["git push"]
      args: [--force, "{to}"]
      argv: [git, push, --force-with-lease, "{to}"]
  - id: read-and-delete
    allow: [fs.read, fs.delete, git.read]
    resources: ["/**"]
  - id: shadow
    deny: [fs.read]
    resources: ["/etc/shadow"]
  - id: evil
    deny: [net.connect]
    resources: ["*evil*"]
"""
POLICY = load([Source("p.yaml", FETCH)])


def decided(command, policy=POLICY, tool: str = "exec"):
    action = command if not isinstance(command, str) else Exec(command, None, CONTEXT.workspace)
    return classify(Request(SUBJECT, action, tool), policy, CONTEXT)


def test_what_runs_is_what_the_rule_says_and_the_decision_names_both():
    decision = decided("curl https://a.example/")
    assert decision.executable.argv == ("cached-get", "https://a.example/")
    (rewritten,) = decision.rewritten
    assert (rewritten.before, rewritten.after) == (
        "curl https://a.example/",
        "cached-get https://a.example/",
    )
    assert (rewritten.rule_id, rewritten.place) == ("fetch", "p.yaml:3:5")
    assert rewritten.reason == "Downloads go through the cache."
    assert decision.effect is ALLOW
    assert decision.programs == ("cached-get",)


def test_an_argument_vector_and_a_remote_command_are_rewritten_too():
    vector = decided(Exec(None, ("/usr/bin/wget", "a b"), CONTEXT.workspace))
    assert vector.executable.argv == ("cached-get", "a b")
    remote = decided(Ssh(("web1",), "curl x", None), tool="ssh")
    assert remote.executable.argv == ("cached-get", "x")
    assert decided(Read("fs.read", "/home/dev/work/curl")).rewritten == ()


def test_every_command_of_a_line_is_looked_at_and_the_rest_stays():
    decision = decided("cat a; A=1 curl 'x y' > out && { wget z; }")
    assert decision.executable.script == (
        "'cat' 'a'; A='1' 'cached-get' 'x y' > 'out' && { 'cached-get' 'z'; }"
    )
    assert [one.before for one in decision.rewritten] == ["curl 'x y'", "wget z"]


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    "command",
    [
        'curl "$URL"',
        "curl [ab]",
        "curl ~/x",
        "env curl x",
        "xargs curl",
        "bash -c 'curl x'",
        "find . -exec curl {} +",
        "$(echo curl) x",
        "c'u'rl x",
        "eval curl x",
        "git push --force $X",
        "rm a $X",
    ],
)
def test_what_cannot_be_rewritten_is_not_passed_over(command):
    everything = FETCH + "  - {id: all, allow: [net.connect, git.history, git.write]}\n"
    everything += "  - {id: delete, allow: [fs.delete], resources: ['/**']}\n"
    policy = load([Source("p.yaml", everything)], check_examples=False)
    decision = decided(command, policy)
    assert (decision.effect, decision.rewritten) == (ASK, ())
    assert "only as a command of its own with known words" in decision.reason


@pytest.mark.parametrize(
    "command", ["curl -s x", "curl -O", "curl x y", "curl", "git push", "./curl x"]
)
def test_what_the_pattern_does_not_mean_is_decided_as_it_is(command):
    decision = decided(command)
    assert decision.rewritten == ()
    assert "known words" not in decision.reason


@pytest.mark.threat("T02")
def test_what_is_denied_as_it_was_asked_stays_denied():
    decision = decided("curl https://evil.example/")
    assert (decision.effect, decision.rewritten) == (DENY, ())
    assert decided("cat /etc/shadow; curl x").effect is DENY


@pytest.mark.threat("T02")
def test_the_command_that_runs_is_decided_by_all_rules():
    deny = "deny: [code.exec], resources: ['<unknown program cached-get>']"
    policy = load([Source("p.yaml", f"{FETCH}  - {{id: no, {deny}}}\n")], check_examples=False)
    assert decided("curl x", policy).effect is DENY


def test_what_was_rewritten_is_not_rewritten_again():
    decision = decided("rm a b; sudo true")
    assert decision.rewritten[0].after == "rm -I a b"
    assert len(decision.rewritten) == 1
    assert decided("git push --force origin").executable.argv == (
        "git",
        "push",
        "--force-with-lease",
        "origin",
    )
    chained = (
        "version: 1\nrules:\n"
        "  - {id: a, rewrite: {programs: [one], argv: [two]}}\n"
        "  - {id: b, rewrite: {programs: [two], argv: [three]}}\n"
    )
    assert decided("one", load([Source("p", chained)])).executable.argv == ("two",)


def test_of_two_rules_that_mean_one_command_neither_is_taken_in_any_order():
    one = "  - {id: a, rewrite: {programs: [x], argv: [ls]}}\n"
    two = "  - {id: b, rewrite: {programs: [x], argv: [id]}}\n"
    for order in (one + two, two + one):
        policy = load([Source("p", f"version: 1\nrules:\n{order}")])
        decision = decided("x", policy)
        assert (decision.effect, decision.rewritten) == (ASK, ())


def test_a_rule_for_some_tools_rewrites_for_no_other():
    text = "version: 1\nrules:\n  - {id: a, tools: [ssh], rewrite: {programs: [x], argv: [ls]}}\n"
    policy = load([Source("p", text)])
    assert decided("x", policy).rewritten == ()
    assert decided(Ssh(("h",), "x", None), policy, "ssh").executable.argv == ("ls",)


def test_git_that_is_hardened_after_it_was_rewritten_asks_nothing_more():
    text = (
        "version: 1\nrules:\n"
        "  - {id: a, rewrite: {programs: [git log], args: ['{r...}'],"
        " argv: [git, log, '{r...}']}}\n"
        "  - {id: b, allow: [git.read]}\n"
    )
    decision = decided("git log -p", load([Source("p", text)]))
    assert decision.effect is ALLOW
    assert decision.executable.argv[:2] == ("git", "-c")


@pytest.mark.threat("T01")
def test_a_text_that_grew_too_long_runs_nothing_instead():
    grown = "a" * 400
    text = f"version: 1\nrules:\n  - {{id: a, rewrite: {{programs: [x], argv: [ls, {grown}]}}}}\n"
    policy = load([Source("p", text)])
    few, many = decided("x; x", policy), decided("; ".join(["x"] * 50), policy)
    assert len(few.rewritten) == 2
    assert (many.effect, many.rewritten) == (ASK, ())
    assert "known words" in many.reason


WORDS = st.sampled_from(("curl", "wget", "rm", "git", "push", "--force", "a b", "-x", "'", "~"))


@pytest.mark.threat("T02")
@given(st.lists(WORDS, min_size=1, max_size=5))
def test_a_vector_is_rewritten_to_a_vector_of_the_rule_or_stays(argv):
    applied = apply(Exec(None, tuple(argv), "/w"), POLICY.rewrites)
    if applied.done:
        assert applied.action.argv[0] in {"cached-get", "rm", "git"}
        assert set(argv[1:]) - {"--force"} <= set(applied.action.argv)
    else:
        assert applied.action.argv == tuple(argv)


@pytest.mark.threat("T02")
@given(st.lists(WORDS, min_size=1, max_size=5))
def test_what_runs_instead_is_decided_as_if_it_had_been_asked_for(argv):
    plain = replace(POLICY, rewrites=())
    asked = Exec(None, tuple(argv), CONTEXT.workspace)
    decision, bare = decided(asked), decided(asked, plain)
    if decision.rewritten:
        instead = Exec(None, tuple(shlex.split(decision.rewritten[0].after)), CONTEXT.workspace)
        assert bare.effect is not DENY
        assert decision.effect is decided(instead, plain).effect
        assert decision.executable == decided(instead, plain).executable
    else:
        assert decision.effect >= bare.effect
        assert decision.executable == bare.executable


def mistaken(rewrite: str, more: str = "") -> str:
    return f"version: 1\nrules:\n  - id: r\n    rewrite: {rewrite}\n{more}"


MISTAKES = [
    (mistaken("[a]"), "p.yaml:4:14: rewrite is a mapping"),
    (mistaken("{argv: [a]}"), "rewrite has no programs; add it"),
    (mistaken("{programs: [a]}"), "rewrite has no argv; add it"),
    (mistaken("{programs: [a], argv: []}"), "argv is a list with at least one entry"),
    (mistaken("{programs: [a], argv: ['{p}']}"), "is written out, not captured"),
    (mistaken("{programs: [a], argv: [b, 'x={p}']}"), "'x={p}' is no word by itself"),
    (mistaken("{programs: [a], args: ['{P}'], argv: [b]}"), "'{P}' is no word by itself"),
    (mistaken("{programs: [a], args: [x], argv: [b, '{p}']}"), "captures nothing"),
    (mistaken("{programs: [a], args: ['{p}'], argv: [b, '{p...}']}"), "{p...} is captured nowhere"),
    (mistaken("{programs: [a], args: ['{p...}', x], argv: [b]}"), "put it last"),
    (mistaken("{programs: [a], args: ['{p}', '{p}'], argv: [b]}"), "captures one name twice"),
    (mistaken("{programs: [a], args: ['[x'], argv: [b]}"), "has a [ without its ]"),
    (mistaken("{programs: [a], argv: [b], x: y}"), "rewrite has no key 'x'"),
    (mistaken("{programs: [a], argv: [b]}", "    allow: [git.read]\n"), "has no key 'allow'"),
    (
        mistaken("{programs: [a], argv: [b]}", "    match: [c]\n"),
        "does not rewrite its example 'c'",
    ),
    (mistaken("{programs: [a], argv: [b]}", "    not_match: [a]\n"), "rewrites its example 'a'"),
]


@pytest.mark.threat("T04")
@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_is_refused_with_its_place(text, message):
    with pytest.raises(PolicyError) as caught:
        load([Source("p.yaml", text)])
    assert message in str(caught.value)
    assert str(caught.value).startswith("p.yaml:")


@pytest.mark.threat("T04")
def test_a_projects_file_rewrites_nothing():
    text = mistaken("{programs: [a], argv: [b]}")
    with pytest.raises(PolicyError, match="may only tighten: it rewrites nothing"):
        load([Source("p.yaml", text, tightens_only=True)])


def test_a_program_alone_may_be_meant():
    text = mistaken("{programs: [a], args: [], argv: [ls]}")
    policy = load([Source("p.yaml", text)])
    assert decided("a", policy).rewritten
    assert not decided("a b", policy).rewritten


def test_a_vector_without_words_is_nobodys():
    assert apply(Exec(None, (), "/w"), POLICY.rewrites).done == ()


def test_ids_are_unique_over_rules_of_both_kinds():
    text = mistaken("{programs: [a], argv: [b]}") + "  - {id: r, ask: [git.read]}\n"
    with pytest.raises(PolicyError, match="rule id 'r' is already at"):
        load([Source("p.yaml", text)])


def test_without_rewrites_nothing_is_looked_at_twice():
    assert load([pack("dev-safe")], check_examples=False).rewrites == ()
