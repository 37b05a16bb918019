"""Which asks a grant may stand for: what is closed opens where every rule that asks says so."""

from dataclasses import replace

import pytest

from policy.classify import classify
from policy.decide import LIMIT
from policy.document import PolicyError
from policy.grantable import NEVER, asking, is_exact_only, ungrantable
from policy.load import load
from policy.model import OPERATIONS, Context, Decision, Effect, Exec, Request, Subject
from policy.rules import Source

CONTEXT = Context("/w", "/home/dev", "dev", "box")
HEAD = (
    "version: 1\ndefault: ask\nrules:\n"
    "  - {id: look, allow: [fs.read, fs.list], resources: ['/**']}\n"
)
OPEN = "  - {id: open, ask: {operations: [fs.delete], grantable: true}, resources: ['/w/old/**']}\n"
ALSO = "  - {id: also, ask: [fs.delete], resources: ['/w/old/*.txt']}\n"


def decided(command: str, *rules: str) -> Decision:
    policy = load([Source("p.yaml", HEAD + "".join(rules))])
    subject = Subject("agent:x", "s", 1000, "stdio")
    return classify(Request(subject, Exec(command, None, "/w"), "exec"), policy, CONTEXT)


def test_the_closed_operations_are_operations():
    assert NEVER < OPERATIONS


@pytest.mark.threat("T29")
@pytest.mark.parametrize(
    ("command", "rules", "closed"),
    [
        ("touch a", (), ""),
        ("rm a", (), "fs.delete is asked each time"),
        ("rm a", (OPEN,), "fs.delete is asked each time"),
        ("rm old/a", (OPEN,), ""),
        ("rm old/a.txt", (OPEN, ALSO), "fs.delete is asked each time"),
        ("rm old/a.txt", (ALSO, OPEN), "fs.delete is asked each time"),
        ("rm old/a a", (OPEN,), "fs.delete is asked each time"),
        ("sudo touch a", (), "privilege.escalate is asked each time"),
        ("eval $x", (), "opaque is asked each time"),
        ("kubectl delete pod x", (), "cloud.mutate is asked each time"),
    ],
)
def test_what_deletes_takes_rights_or_is_remote_is_asked_each_time(command, rules, closed):
    assert ungrantable(decided(command, *rules), needs_more=False).startswith(closed)
    assert bool(ungrantable(decided(command, *rules), needs_more=False)) is bool(closed)


@pytest.mark.threat("T29")
@pytest.mark.parametrize(
    ("command", "rules", "may"),
    [("touch a", (), False), ("rm old/a", (OPEN,), True), ("cat a", (), False)],
)
def test_what_leaves_the_sandbox_needs_a_rule_that_says_so(command, rules, may):
    assert bool(ungrantable(decided(command, *rules), needs_more=True)) is not may


def test_what_asks_is_each_rule_with_its_operation():
    assert asking(decided("rm old/a; touch b", OPEN)) == ("default fs.write", "open fs.delete")
    assert asking(decided("rm old/a.txt", OPEN, ALSO)) == ("also fs.delete", "open fs.delete")


def test_where_code_or_doubt_is_asked_about_a_grant_is_exact():
    assert is_exact_only(decided("bash run.sh"))
    assert not is_exact_only(decided("touch a"))
    doubt = "  - {id: never, deny: [fs.write], resources: ['/w/never/**']}\n"
    assert is_exact_only(decided("touch $(cat name)", doubt))


@pytest.mark.threat("T29")
def test_what_nobody_looked_at_to_the_end_is_asked_each_time():
    decision = decided("touch a")
    (verdict, *_) = (one for one in decision.verdicts if one.effect is Effect.ASK)
    unseen = replace(decision, verdicts=(verdict._replace(rule_id=LIMIT),))
    assert ungrantable(unseen, needs_more=False) == "it takes too long to check"


def test_a_project_cannot_make_anything_grantable():
    source = Source("p.yaml", HEAD.replace("allow", "ask") + OPEN, tightens_only=True)
    with pytest.raises(PolicyError, match=r"p.yaml:5:58: a project's policy may only tighten"):
        load([source])
