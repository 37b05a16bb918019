"""Of many changed paths, exactly those that an ask or a deny may concern are decided one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.decide import decide
from policy.load import load, pack
from policy.mentioned import mentioned
from policy.model import Access, Context, Effect
from policy.rules import Source

W = "/home/dev/work"
CONTEXT = Context(workspace=W, home="/home/dev", user="dev", host="h")
POLICY = """
version: 1
rules:
  - id: work
    allow: [fs.write, fs.create, fs.delete, fs.perm]
    resources: ["${workspace}/**"]
  - id: migrations
    ask: [fs.write, fs.create]
    resources: ["${workspace}/migrations/**"]
  - id: production
    deny: [fs.write, fs.delete]
    resources: ["${workspace}/prod/*.yaml"]
  - id: modes
    ask: [fs.perm]
"""
parts = st.sampled_from(("migrations", "prod", "a.yaml", "src", "b"))
# Files: of a directory that is deleted, each file is a change of its own.
paths = st.lists(parts, max_size=2).map(lambda names: "/".join((W, *names, "a.yaml")))
changes = st.tuples(st.sampled_from(("fs.write", "fs.create", "fs.delete", "fs.perm")), paths)


def policy(text: str = POLICY):
    return load([Source("p.yaml", text)])


@pytest.mark.threat("T02")
@given(st.lists(changes, max_size=6))
def test_what_is_passed_over_is_stopped_by_no_rule(found):
    named = set(mentioned(found, policy(), CONTEXT))
    for pair in set(found) - named:
        assert decide([Access(*pair)], policy(), CONTEXT).effect is Effect.ALLOW


def test_what_a_rule_names_is_decided_one_by_one():
    found = [
        ("fs.write", f"{W}/src/a.py"),
        ("fs.write", f"{W}/migrations/1.sql"),
        ("fs.delete", f"{W}/prod/a.yaml"),
        ("fs.create", f"{W}/prod/a.yaml"),
        ("fs.perm", f"{W}/src/a.py"),
    ]
    assert list(mentioned(found, policy(), CONTEXT)) == [found[1], found[2], found[4]]


def test_a_whole_tree_of_packages_is_mentioned_by_none_of_the_rules_we_ship():
    tree = [("fs.create", f"{W}/node_modules/p{n}/index.js") for n in range(30_000)]
    assert list(mentioned(tree, load([pack("dev-safe")]), CONTEXT)) == []


def test_without_a_rule_on_an_operation_none_of_its_changes_is_mentioned():
    only = policy("version: 1\nrules:\n  - {id: none, deny: [net.connect]}\n")
    assert list(mentioned([("fs.write", f"{W}/a.py")], only, CONTEXT)) == []
