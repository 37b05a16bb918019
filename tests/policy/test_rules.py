"""Rules in one context."""

from hypothesis import given
from hypothesis import strategies as st

from policy.globs import literal_path, shell_pattern
from policy.load import load
from policy.model import Context, Effect
from policy.overlap import overlaps
from policy.rules import Globs, Source, bind, variables_in

TEXT = """
version: 1
variables: {cache: "~/.cache", odd: "/data/[x]", bare: "~"}
rules:
  - {id: own, allow: [fs.read], resources: ["${workspace}/**", "${cache}/**", "${bare}/a", "~"]}
  - {id: odd, ask: [fs.read, fs.write], resources: ["${odd}/*"]}
  - {id: who, ask: [git.read], resources: ["${user}@${host}"]}
"""


def context(workspace: str = "/home/dev/work", home: str = "/home/dev") -> Context:
    return Context(workspace, home, "dev", "box")


def test_variables_become_this_contexts_paths():
    policy = load([Source("p.yaml", TEXT)])
    odd, own = bind(policy, context()).rules_for("fs.read")  # the stricter one first
    assert own.resources is not None
    assert own.resources.texts == (
        "/home/dev/work/**",
        "/home/dev/.cache/**",
        "/home/dev/a",
        "/home/dev",
    )
    assert odd.resources is not None
    assert odd.resources.has_path("/data/[x]/y")
    assert not odd.resources.has_path("/data/x/y")
    (who,) = bind(policy, context()).rules_for("git.read")
    assert who.resources is not None
    assert who.resources.has_text("dev@box")


def test_a_workspace_that_looks_like_a_glob_is_only_itself():
    policy = load([Source("p.yaml", TEXT)])
    _, own = bind(policy, context(workspace="/w/{a,b}*[c]")).rules_for("fs.read")
    assert own.resources is not None
    assert own.resources.has_path("/w/{a,b}*[c]/x")
    assert not own.resources.has_path("/w/axc/x")


def test_rules_are_found_by_operation():
    policy = load([Source("p.yaml", TEXT)])
    found = bind(policy, context()).rules_for("fs.read")
    assert sorted(bound.rule.id for bound in found) == ["odd", "own"]
    assert bind(policy, context()).rules_for("net.connect") == ()
    assert policy.rules[0].effect is Effect.ALLOW
    assert policy.rules[0].is_unconditional


def test_a_root_is_reported_only_where_there_is_one():
    globs = Globs(("/usr/**", "/**", "**/x", "/*/x", "/", "<unknown path>"))
    assert globs.roots() == ("/usr", "/", "/")


def test_the_variables_of_a_glob_are_found():
    assert variables_in("${home}/${x}/*") == {"home", "x"}


def test_globs_near_a_path_leave_out_only_those_that_begin_otherwise():
    globs = Globs(("/usr/**", "/u*/lib", "**/x", "/etc/x", "/u*/x", "/"))
    near = globs.paths_near(literal_path("/usr/lib"))
    assert near == globs.paths()[:3]
    assert globs.paths_near(literal_path("/")) == globs.paths()
    for number in range(1000):
        assert len(globs.paths_near(literal_path(f"/{number}/x"))) == 2
    assert globs.paths_near(literal_path("/usr/lib")) == near


PARTS = st.lists(st.sampled_from(("a", "b", "*", "a*", "**")), max_size=5).map("/".join)


@given(PARTS, st.lists(PARTS, min_size=1, max_size=3))
def test_a_glob_that_overlaps_a_path_is_near_it(shape, texts):
    globs = Globs(tuple(f"/{text}" for text in texts))
    path = shell_pattern(f"/{shape}")
    near = globs.paths_near(path)
    assert all(glob in near for glob in globs.paths() if overlaps(path, glob))
