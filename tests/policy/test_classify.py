"""The public door: every request gets a decision, whatever happens inside."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.classify import _complete, classify
from policy.footprint import Footprint
from policy.load import load, pack
from policy.model import AuditRead, Context, Effect, Exec, Patch, Read, Request, Subject
from policy.rules import Source

CONTEXT = Context("/home/dev/work", "/home/dev", "dev", "box")
SUBJECT = Subject("agent:test@1000", "s", 1000, "local")
DEV = load([pack("dev-safe")], check_examples=False)


def ask_for(action, policy=DEV, context=CONTEXT):
    return classify(Request(SUBJECT, action, "exec"), policy, context)


def run(command: str, policy=DEV, context=CONTEXT):
    return ask_for(Exec(command, None, context.workspace), policy, context)


def policy_of(rule: str):
    return load([Source("p.yaml", f"version: 1\nrules:\n  - {{id: r, {rule}}}\n")])


def test_an_allowed_command_carries_what_runs_and_which_policy_said_so():
    decision = run("cat README.md")
    assert decision.effect is Effect.ALLOW
    assert decision.executable.argv == ("cat", "README.md")
    assert decision.policy_digest == DEV.digest
    assert decision.programs == ("cat",)
    assert (decision.reason, decision.instead, decision.opaque) == ("", (), None)
    assert decision.risk == 5
    assert decision.operations == ("fs.read",)


def test_a_stopped_command_says_why_and_what_else_to_do():
    decision = run("cat .env README.md")
    assert decision.effect is Effect.DENY
    assert decision.reason == "The name says that it holds a secret."
    instead = "Ask the owner to run this part, or to give you what you need of it."
    assert decision.instead == (instead,)


def test_a_rule_without_a_reason_is_named():
    assert run("cat a", policy_of("deny: [fs.read]")).reason == "fs.read: rule r."


def test_what_only_may_be_meant_is_no_reason_beside_what_is():
    assert "metadata" not in run("gh pr list").reason
    maybe = policy_of("deny: [fs.write, fs.create], resources: ['**/a'], reason: No")
    assert run('touch "$NAME"', maybe).reason == "It cannot be ruled out: No."


def test_what_no_rule_mentions_is_one_sentence_for_each_operation():
    decision = run("touch a b c d e; kill 1", policy_of("deny: [fs.read]"))
    assert decision.reason == (
        "It writes a, b, c and 2 more, and no rule allows that."
        " It signals 1, and no rule allows that."
    )


@pytest.mark.parametrize(
    ("instead", "shown"),
    [
        ("ls", True),
        ("cat b", False),
        ("Look with `ls`, then ask.", True),
        ("Look with `ls` or `cat b`.", False),
        ("Ask the owner.", True),
    ],
)
def test_an_alternative_that_would_be_denied_is_not_offered(instead, shown):
    decision = run("cat a", policy_of(f"deny: [fs.read], instead: '{instead}'"))
    assert bool(decision.instead) is shown


def test_alternatives_are_offered_for_other_actions_too():
    policy = policy_of("deny: [fs.write], instead: 'ls'")
    decision = ask_for(Patch((("fs.write", "/home/dev/work/a"),)), policy)
    assert (decision.effect, decision.instead) == (Effect.DENY, ("ls",))


def test_reading_with_our_own_tools_follows_the_same_rules():
    assert ask_for(Read("fs.read", "/home/dev/.ssh/id_rsa")).effect is Effect.DENY
    assert ask_for(Read("fs.read", "/home/dev/work/a")).effect is Effect.ALLOW
    assert ask_for(AuditRead("mine")).effect is not Effect.DENY


@pytest.mark.threat("T04")
@pytest.mark.parametrize("text", ["echo 'open", "a() { eval $x; }; a", "$(", "cat a;;b"])
def test_text_that_is_not_understood_is_never_allowed(text):
    everything = load(
        [
            Source(
                "p.yaml",
                "version: 1\nrules:\n  - {id: r, allow: [fs.read, fs.list, code.exec, git.read],"
                " resources: ['/**', '<*']}\n",
            )
        ]
    )
    decision = run(text, everything)
    assert decision.effect is Effect.ASK
    assert decision.opaque
    assert decision.executable.argv is None
    assert decision.executable.script is None


@pytest.mark.threat("T04")
def test_an_error_inside_is_a_denial_that_says_so():
    decision = ask_for(Exec("cat a", None, "/"), context=None)
    assert decision.effect is Effect.DENY
    assert decision.risk == 100
    assert "so it is denied" in decision.reason
    assert decision.verdicts[0].rule_id == "error"


@pytest.mark.threat("T04")
@settings(deadline=None, max_examples=150)
@given(st.text(max_size=60) | st.text(alphabet="abc $(){};|&<>'\"`\\*~/.-=\n", max_size=60))
def test_any_text_gets_a_decision(text):
    assert run(text).effect in Effect


def test_the_same_request_always_gets_the_same_decision():
    assert run("rm -rf build && curl https://example.com/") == run(
        "rm -rf build && curl https://example.com/"
    )


@pytest.mark.threat("T04")
def test_text_that_was_not_understood_is_an_access_of_its_own():
    silent = Footprint((), opaque="nobody can read this")
    assert [access.operation for access in _complete(silent)] == ["opaque"]
