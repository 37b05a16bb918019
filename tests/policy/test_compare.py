"""Two policies compared by rule and over past actions."""

import json

import pytest

from policy.compare import changes, flips, verb
from policy.load import load
from policy.model import (
    AuditRead,
    Commit,
    Context,
    Effect,
    Exec,
    Patch,
    Read,
    Request,
    Ssh,
    Subject,
    Undo,
)
from policy.replay import Past, described
from policy.rules import Source

CONTEXT = Context("/w", "/home/u", "u", "h")
WHO = Subject("agent:x", "s", 1, "cli")


def policy(name: str, *rules: dict[str, object], default: str = "ask"):
    text = json.dumps({"version": "1", "default": default, "rules": rules})
    return load([Source(name, text)], check_examples=False)


def past(seq: int, command: str, context: Context = CONTEXT) -> Past:
    action = Exec(command, None, context.workspace)
    return Past(seq, f"t{seq}", Request(WHO, action, "exec"), context, Effect.ALLOW, ran=True)


READ = {"id": "read", "allow": ["fs.read"], "resources": ["/w/**"]}
DENY = {"id": "no", "deny": ["fs.read"], "resources": ["/w/x"], "reason": "No."}


def test_places_and_examples_make_no_difference_and_variables_do():
    old = policy("a.yaml", {**READ, "match": ["cat /w/a"]})
    assert changes(old, policy("b.yaml", DENY, READ)).changed == ()
    (changed,) = changes(old, policy("b.yaml", {**READ, "reason": "Why."})).changed
    assert changed.fields == ("reason",)
    both = [
        load([Source("v.yaml", json.dumps({
            "version": "1", "variables": {"v": value},
            "rules": [{**READ, "resources": ["${v}/**"]}],
        }))])
        for value in ("/a", "/b")
    ]  # fmt: skip
    (changed,) = changes(*both).changed
    assert changed.fields == ("variables",)
    assert changes(old, policy("b.yaml", READ, default="deny")).default == (Effect.ASK, Effect.DENY)


def test_a_rewrite_is_a_rule_like_others():
    rewrite = {"id": "push", "rewrite": {"programs": ["git push"], "args": ["-f"],
               "argv": ["git", "push"]}}  # fmt: skip
    old, new = policy("a.yaml", READ), policy("b.yaml", READ, rewrite)
    assert [(rule.id, verb(rule)) for rule in changes(old, new).added] == [("push", "rewrite")]
    other = {**rewrite, "rewrite": {**rewrite["rewrite"], "args": ["--force"]}}
    (changed,) = changes(new, policy("c.yaml", READ, other)).changed
    assert changed.fields == ("args",)
    (changed,) = changes(new, policy("c.yaml", {**READ, "id": "push"})).changed
    assert changed.fields == ("allow",)


def test_what_was_asked_alike_is_one_flip_with_its_first_and_last():
    history = [past(1, "cat x"), past(2, "cat y"), past(5, "cat x"), past(9, "cat a")]
    (flip,) = flips(history, policy("a.yaml", READ), policy("b.yaml", READ, DENY))
    assert (flip.text, flip.count, flip.first.seq, flip.last.seq) == ("cat x", 2, 1, 5)
    assert (flip.is_looser, list(flip.new_rules)) == (False, ["no"])
    (back,) = flips(history, policy("b.yaml", READ, DENY), policy("a.yaml", READ))
    assert back.is_looser


def test_the_looser_stand_first_whatever_their_number():
    old = policy("a.yaml", READ, DENY)
    new = policy("b.yaml", {**READ, "resources": ["/w/x"]})
    history = [past(1, "cat a"), past(2, "cat a"), past(3, "cat x")]
    assert [flip.is_looser for flip in flips(history, old, new)] == [True, False]


def test_the_same_command_in_another_workspace_is_decided_for_itself():
    elsewhere = Context("/v", "/home/u", "u", "h")
    history = [past(1, "cat x"), past(2, "cat x", elsewhere)]
    (flip,) = flips(history, policy("a.yaml", READ), policy("b.yaml", READ, DENY))
    assert (flip.count, flip.first.seq) == (1, 1)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (Exec(None, ("cat", "a b"), "/w"), "cat 'a b'"),
        (Ssh(("a", "b"), "uptime", None, sudo=True), "ssh a,b: sudo uptime"),
        (Patch(()), "nothing"),
        (Undo("u1", (("fs.write", "/w/a"), ("fs.delete", "/w/b"))), "fs.write /w/a and 1 more"),
        (Commit("c1", (("fs.write", "/w/a"),)), "fs.write /w/a"),
        (Read("fs.list", "/w"), "fs.list /w"),
        (AuditRead("effect deny"), "audit effect deny"),
    ],
)
def test_every_action_has_a_description_of_one_line(action, text):
    assert described(action) == text
