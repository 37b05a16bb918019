"""A write that only sweeps over names the sandbox holds passes by them; one that aims does not."""

import pytest

from policy.decide import decide
from policy.held import HELD_IN_GIT, HELD_NAMES, HELD_PREFIX, is_held
from policy.load import load
from policy.model import Access, Context, Effect
from policy.programs.words import HOLE
from policy.rules import Source
from sandbox.names import GIT_INTERNALS, PROTECTED_NAMES, PROTECTED_PREFIX

CONTEXT = Context("/w", "/home/dev", "dev", "box")
FAR = Context("/w", "/home/dev", "dev", "box", can_mask=False)
RULES = """\
version: 1
rules:
  - {id: work, allow: [fs.write, fs.create, fs.delete], resources: ["${workspace}/**"]}
  - id: later
    ask: [fs.write, fs.create, fs.delete]
    resources: ["${workspace}/**/{.github,.husky}/**", "**/.git/hooks/**", "**/AGENTS.md"]
"""
POLICY = load([Source("p.yaml", RULES)])


@pytest.mark.threat("T09")
def test_the_list_is_one_that_the_sandbox_holds():
    assert HELD_NAMES <= PROTECTED_NAMES
    assert (HELD_PREFIX, HELD_IN_GIT) == (PROTECTED_PREFIX, GIT_INTERNALS)


@pytest.mark.threat("T09")
@pytest.mark.parametrize(
    ("operation", "resource", "how", "effect"),
    [
        ("fs.write", "/w/.github/ci.yml", "exact", Effect.ASK),
        ("fs.write", "/w/.gith*/ci.yml", "pattern", Effect.ASK),
        ("fs.write", "/w/.git/hooks/*", "pattern", Effect.ASK),
        ("fs.write", f"/w/{HOLE}/x.py", "pattern", Effect.ALLOW),
        ("fs.write", "/w/src/*/x", "pattern", Effect.ALLOW),
        ("fs.write", f"/w/src/{HOLE}", "pattern", Effect.ASK),  # AGENTS.md is not held
        ("fs.write", "/w/docs/*.md", "pattern", Effect.ASK),
        ("fs.write", "/w/docs/*.py", "pattern", Effect.ALLOW),
        ("fs.delete", f"/w/{HOLE}/x.py", "pattern", Effect.ASK),
    ],
)
def test_only_what_the_sandbox_holds_is_passed_by(operation, resource, how, effect):
    access = Access(operation, resource, how)
    assert decide([access], POLICY, CONTEXT).effect is effect
    assert decide([access], POLICY, FAR).effect >= effect


@pytest.mark.threat("T09")
def test_where_nothing_is_held_a_sweep_asks():
    access = Access("fs.write", f"/w/{HOLE}/x.py", "pattern")
    assert decide([access], POLICY, FAR).effect is Effect.ASK


@pytest.mark.parametrize(
    ("glob", "held"),
    [
        ("/w/**/.github/**", True),
        ("/w/.permitgate*", True),
        ("**/.git/config", True),
        ("**/.git/**", False),
        ("/w/.git*", False),
        ("/w/**/*.pth", False),
        ("/w/x.github", False),
    ],
)
def test_a_glob_is_held_when_all_it_matches_is(glob, held):
    assert is_held(glob) is held
