"""What `policy check` finds, and that it claims nothing that is not so."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import policy.programs
from policy.decide import decide
from policy.lint import lint
from policy.load import load, pack
from policy.model import Access, Context, Effect
from policy.narrowing import Asked
from policy.needless import Finding
from policy.places import BUILD_FILES, RUNS_LATER
from policy.programs.words import HOLE
from policy.rules import Policy, Source, placed

TOOLS = {
    "exec": None,
    "patch": frozenset({"fs.write", "fs.create", "fs.delete"}),
    "read_file": frozenset({"fs.read", "fs.list"}),
}


def policy_text(*rules: dict[str, object], **header: object) -> str:
    return json.dumps({"version": "1", **header, "rules": rules}).replace('"1"', "1")


def findings(*rules: dict[str, object], **header: object) -> list[Finding]:
    source = Source("p.yaml", policy_text(*rules, **header))
    return list(lint(load([source]), [source], TOOLS))


def found(kind: str, *rules: dict[str, object], **header: object) -> list[str]:
    return [one.rule_id for one in findings(*rules, **header) if one.kind == kind]


def allow(name: str, operation: str, *globs: str, **more: object) -> dict[str, object]:
    return {"id": name, "allow": [operation], "resources": list(globs), **more}


def deny(name: str, operation: str, *globs: str, **more: object) -> dict[str, object]:
    return {"id": name, "deny": [operation], "resources": list(globs), **more}


# --- needless rules -------------------------------------------------------------------------------

SHADOWED = [
    ((allow("a", "fs.read", "/w/x"), deny("d", "fs.read", "/w/**")), ["a"]),
    ((allow("a", "fs.read", "/w/x", "/w/y"), deny("d", "fs.read", "/w/x")), []),
    ((allow("a", "fs.read", "~/x"), deny("d", "fs.read", "${home}/**")), ["a"]),
    ((allow("a", "fs.read", "${workspace}/x"), deny("d", "fs.read", "/**")), ["a"]),
    # A workspace may be several names deep.
    ((allow("a", "fs.read", "${workspace}/x"), deny("d", "fs.read", "/*/x")), []),
    ((allow("a", "fs.read", "${workspace}/x"), deny("d", "fs.read", "~/**")), []),
    ((allow("a", "fs.read", "/w/x"), deny("d", "fs.read", "/w/**", programs=["cat"])), []),
    ((allow("a", "fs.read", "/w/x", programs=["git push"]),
      deny("d", "fs.read", "/w/**", programs=["git"])), ["a"]),
    ((allow("a", "fs.read", "/w/x"), deny("d", "fs.read", "/w/**", **{"with": ["git.read"]})), []),
    ((allow("a", "fs.read", "/w/x"), deny("d", "fs.read", "/w/**", **{"except": ["/w/x"]})), []),
    ((allow("a", "fs.read", "/w/x"), deny("d", "fs.read", "/w/**", **{"except": ["/w/y"]})), ["a"]),
    ((allow("a", "fs.read", "/w/x"), deny("d", "fs.read", "/w/**", **{"except": ["/w/*"]})), []),
    ((allow("a", "fs.read", "<unknown path>"), deny("d", "fs.read", "/**")), []),
    ((allow("a", "code.exec", "**/*"), deny("d", "code.exec", "/**")), []),
    ((allow("a", "code.exec", "<inline code>"), deny("d", "code.exec", "<*")), ["a"]),
    ((allow("a", "code.exec", "<inline code>"),
      deny("d", "code.exec", "<*", **{"except": ["/w/x"]})), ["a"]),
    (({"id": "a", "allow": ["git.write"]}, {"id": "d", "deny": ["git.write"]}), ["a"]),
    (({"id": "a", "allow": ["git.write"]}, deny("d", "git.write", "x")), []),
    (({"id": "a", "allow": ["net.connect"], "hosts": ["a.b"]},
      {"id": "d", "deny": ["net.connect"], "hosts": ["*.b"]}), ["a"]),
    (({"id": "a", "allow": ["net.connect"]}, {"id": "d", "deny": ["net.connect"],
      "hosts": ["*"]}), []),
    (({"id": "a", "allow": ["net.connect"], "hosts": ["x.${user}"]},
      {"id": "d", "deny": ["net.connect"], "hosts": ["x.${user}", "y"]}), ["a"]),
    (({"id": "a", "allow": ["net.connect"], "hosts": ["x.${user}"]},
      {"id": "d", "deny": ["net.connect"], "hosts": ["*.${user}"]}), ["a"]),
    ((allow("a", "fs.read", "/w/x"), deny("d", "fs.read", "/w/x", subjects=["agent:x*"])), []),
    ((allow("a", "fs.read", "/w/x", subjects=["agent:x*"]), deny("d", "fs.read", "/w/x")), ["a"]),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "expected"), SHADOWED)
def test_an_allow_is_shadowed_only_when_stricter_rules_cover_all_of_it(rules, expected):
    assert found("shadowed", *rules) == expected


def test_rules_that_say_the_same_are_duplicates_once():
    one, two = allow("a", "fs.read", "/w/x"), allow("b", "fs.read", "/w/**")
    assert found("duplicate", one, two) == ["a"]
    assert found("duplicate", two, {**two, "id": "c"}) == ["b"]
    # A deny weakens to an ask where it is not known: only the same words say the same.
    assert found("duplicate", deny("a", "fs.read", "/w/x"), deny("b", "fs.read", "/w/**")) == []
    assert found("duplicate", deny("a", "fs.read", "/w/x"), deny("b", "fs.read", "/w/x")) == ["a"]
    # One that a mask can hold lets a sweep pass by; one with conditions stops it.
    narrow = deny("a", "fs.read", "/w/x", tools=["exec"])
    assert found("duplicate", narrow, deny("b", "fs.read", "/w/x")) == []
    more = {"id": "b", "ask": {"operations": ["git.write"], "level": "owner"}}
    assert found("duplicate", {"id": "a", "ask": ["git.write"]}, more) == ["a"]
    assert found("duplicate", {**more, "id": "a"}, {"id": "b", "ask": ["git.write"]}) == ["b"]
    # What keeps grants away says something that its open twin does not.
    opens = {"id": "a", "ask": {"operations": ["git.write"], "grantable": "true"}}
    assert found("duplicate", opens, {"id": "b", "ask": ["git.write"]}) == ["a"]


def test_a_rule_that_lifts_asks_or_is_lifted_is_never_needless():
    ask = {"id": "q", "ask": ["fs.read"], "resources": ["/w/**"]}
    lifting = allow("a", "fs.read", "/w/x", lifts=["q"])
    assert found("shadowed", lifting, ask) == []
    narrow = {**ask, "id": "n", "resources": ["/w/x"]}
    assert found("duplicate", narrow, ask) == ["n"]
    assert found("duplicate", narrow, ask, lifting) == []


def test_a_variable_means_what_its_own_file_says():
    files = []
    for name, value in (("p.yaml", "a*"), ("q.yaml", "b*")):
        one = deny(name[0], "fs.read", "/w/x", subjects=["agent:${who}"], reason="No.")
        two = {"id": f"{name[0]}2", "deny": ["net.connect"], "hosts": ["${who}.org"]}
        files.append(Source(name, policy_text(one, two, variables={"who": value})))
    kinds = {one.kind for one in lint(load(files), files, TOOLS)}
    assert kinds == {"by-name-only", "no-example", "no-reason"}


def test_the_globs_of_a_field_are_those_it_means():
    (rule,) = load([Source("p.yaml", policy_text(
        allow("a", "fs.read", "~/x", "${v}/y", programs=["cat"]), variables={"v": "/srv"}
    ))]).rules  # fmt: skip
    here = placed(rule, CONTEXTS[0])
    assert (here.resources, here.programs) == (("/home/u/x", "/srv/y"), {"cat"})


def test_a_rule_for_one_program_is_looked_at_through_that_program():
    hooks = allow("h", "fs.create", "${workspace}/.git/hooks/**", programs=["tee"])
    (warning,) = [one for one in findings(hooks) if one.kind == "runs-later"]
    assert warning.also == ("${workspace}/.git/hooks/pre-commit (git)",)
    reach = {"id": "r", "allow": ["net.connect"], "programs": ["git fetch"]}
    (note,) = [one for one in findings(reach) if one.kind == "over-broad"]
    assert note.severity == "note"


def test_a_repetition_between_files_is_only_a_note():
    sources = [pack("dev-safe"), pack("ops-inspect")]
    repeated = [one for one in lint(load(sources), sources, TOOLS) if one.kind == "duplicate"]
    assert {one.severity for one in repeated} <= {"note"}


GLOBS = st.lists(
    st.sampled_from(
        ["/w/**", "/w/*", "/w/a", "/w/.env", "/**", "**/.env", "**/*.pem", "/w/a*", "/w/*/a",
         "${workspace}/**", "${workspace}/a", "~/a", "<unknown path>", "<*", "<inline code>",
         "**/*", "/w/[ab]", "/w/a/**"]
    ),
    min_size=1, max_size=3, unique=True,
)  # fmt: skip
OPERATIONS = ["fs.read", "fs.write", "fs.delete", "code.exec"]
OPERATION = st.sampled_from(OPERATIONS)


@st.composite
def rule(draw: st.DrawFn, index: int) -> dict[str, object]:
    verb = draw(st.sampled_from(["allow", "ask", "deny"]))
    made: dict[str, object] = {
        "id": f"r{index}",
        verb: draw(st.lists(OPERATION, min_size=1, max_size=2, unique=True)),
        "resources": draw(GLOBS),
    }
    if draw(st.integers(0, 3)) == 0:
        made["except"] = draw(GLOBS)
    if draw(st.integers(0, 4)) == 0:
        made["programs"] = draw(st.sampled_from([["git"], ["git push"], ["git push", "cat"]]))
    if draw(st.integers(0, 4)) == 0:
        made["with"] = draw(st.lists(OPERATION, min_size=1, max_size=2, unique=True))
    if draw(st.integers(0, 4)) == 0:
        made["tools"] = draw(st.sampled_from([["exec"], ["patch"], ["exec", "patch"]]))
    if verb == "ask" and draw(st.booleans()):
        made["ask"] = {"operations": made["ask"], "level": draw(st.sampled_from(["owner"]))}
    return made


RESOURCES = [
    ("/w/a", "exact"), ("/w/.env", "exact"), ("/w/a/b", "exact"), ("/w", "exact"),
    ("/", "exact"), ("/w/x.pem", "exact"), ("/home/u/a", "exact"), ("/srv/p/q/a", "exact"),
    ("/w/*", "pattern"), ("/w/a*", "pattern"), ("/w/.en?", "pattern"), ("/w/[ab]", "pattern"),
    (f"/w/{HOLE}", "dynamic"), (HOLE, "dynamic"), (f"/w/a{HOLE}", "dynamic"),
    ("<inline code>", "dynamic"), ("<unknown program a/b>", "dynamic"), ("/w/**", "pattern"),
]  # fmt: skip
PROGRAMS = ["", "git push", "git log"]
# One operation, and two of them: `with` looks at what is there besides.
FOOTPRINTS = [
    [Access(operation, *resource, program), *also]
    for operation in OPERATIONS
    for resource in RESOURCES
    for program in PROGRAMS
    for also in ([], [Access("fs.write", "/w/b")], [Access("code.exec", "/w/b")])
]
CONTEXTS = [
    Context("/w", "/home/u", "u", "h"),
    Context("/srv/p/q", "/root", "u", "h", can_mask=False),
    Context("/w/a", "/w", "u", "h"),
]


@pytest.mark.untraced
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_rule_called_needless_can_be_removed_and_nothing_changes(data):
    first = data.draw(rule(0))
    rules = [first, data.draw(twin(first, 1)), data.draw(twin(first, 2)), data.draw(rule(3))]
    default = data.draw(st.sampled_from(["ask", "deny"]))
    halves = [
        Source("p.yaml", policy_text(*rules[:2], default=default)),
        Source("q.yaml", policy_text(*rules[2:], default="ask"),
               tightens_only=all("allow" not in one for one in rules[2:])),
    ]  # fmt: skip
    policy = load(halves)
    for finding in lint(policy, halves, TOOLS):
        if finding.kind in ("shadowed", "duplicate"):
            footprints = data.draw(st.lists(st.sampled_from(FOOTPRINTS), min_size=40, max_size=60))
            assert_the_same(policy, without_rule(policy, finding.rule_id), footprints)


@st.composite
def twin(draw: st.DrawFn, other: dict[str, object], index: int) -> dict[str, object]:
    """Return a rule that is close to another: so close that one may be needless."""
    verb = next(key for key in ("allow", "ask", "deny") if key in other)
    made = {key: value for key, value in other.items() if key != verb} | {"id": f"r{index}"}
    said = other[verb]["operations"] if isinstance(other[verb], dict) else other[verb]
    made[draw(st.sampled_from(["allow", "ask", "deny", verb]))] = said
    changed = draw(st.sampled_from(["nothing", "resources", "except", "programs", "with", "tools"]))
    fresh = draw(rule(index))
    if changed in fresh:
        made[changed] = fresh[changed]
    elif changed not in ("nothing", "resources"):
        made.pop(changed, None)
    return made


def assert_the_same(policy: Policy, without: Policy, footprints: list[list[Access]]) -> None:
    for accesses in footprints:
        for context in CONTEXTS:
            for tool in ("exec", "patch"):
                one, other = (
                    decide(accesses, each, context, Asked(tool=tool)) for each in (policy, without)
                )
                assert [verdict.effect for verdict in one.verdicts] == [
                    verdict.effect for verdict in other.verdicts
                ]
                assert one.obligations == other.obligations or one.effect is Effect.DENY


def without_rule(policy: Policy, rule_id: str) -> Policy:
    kept = tuple(rule for rule in policy.rules if rule.id != rule_id)
    return Policy(kept, policy.default, policy.default_place, "x" + policy.digest, policy.names)


# --- unreachable, broad, later --------------------------------------------------------------------

UNREACHABLE = [
    ({"id": "r", "ask": ["fs.write"], "tools": ["excec"]}, "no tool is called 'excec'"),
    ({"id": "r", "deny": ["net.connect"], "tools": ["patch"]}, "patch never does net.connect"),
    ({"id": "r", "deny": ["fs.write"], "with": ["net.connect"], "tools": ["patch"]},
     "its `with` can never be"),
    ({"id": "r", "ask": ["fs.write"], "with": ["fs.write"]}, "its `with` always holds"),
    (allow("r", "fs.read", "/w/a", **{"except": ["/w/*"]}), "'/w/a' is wholly inside `except`"),
    ({"id": "r", "deny": ["net.connect"], "hosts": ["https://x.org"]}, "no host is spelled"),
    ({"id": "r", "deny": ["net.connect"], "hosts": ["x.org:443"]}, "no host is spelled"),
    (deny("r", "code.exec", "<netwrok>"), "nothing is called <netwrok>"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "what"), UNREACHABLE)
def test_a_rule_that_nothing_reaches_is_named(rule, what):
    (finding,) = [one for one in findings(rule) if one.kind == "unreachable"]
    assert finding.what.startswith(what)
    assert finding.severity == "warning"


def test_a_rule_of_what_its_tools_can_do_together_is_reached():
    assert found("unreachable", {"id": "r", "deny": ["fs.write"], "with": ["fs.delete"],
                                 "tools": ["patch"]}) == []  # fmt: skip


@pytest.mark.parametrize(
    "host", ["x.org", "*.x.org", "10.0.0.1", "fe80::1", "${host}", "[ab].org", "10.*"]
)
def test_a_host_that_can_be_is_not_complained_about(host):
    assert found("unreachable", {"id": "r", "deny": ["net.connect"], "hosts": [host]}) == []


@pytest.mark.untraced
def test_what_program_entries_call_their_resources_is_no_misspelling():
    folder = Path(policy.programs.__file__).parent
    named = {
        name
        for path in folder.rglob("*.yaml")
        for name in re.findall(r"<[a-z][^<>\n]*>", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    for name in sorted(named):
        assert found("unreachable", {"id": "r", "ask": ["code.exec"], "resources": [name]}) == []


BROAD = [
    (allow("r", "fs.write", "/**"), 1),
    (allow("r", "fs.delete", "~/**"), 1),
    (allow("r", "fs.write", "${workspace}/**"), 0),
    (allow("r", "fs.read", "/**"), 0),
    (allow("r", "code.exec", "<*"), 1),
    (allow("r", "code.exec", "<inline code>"), 0),
    ({"id": "r", "allow": ["net.connect"]}, 1),
    ({"id": "r", "allow": ["net.connect"], "hosts": ["*"]}, 1),
    ({"id": "r", "allow": ["net.connect"], "hosts": ["x.org"]}, 0),
    ({"id": "r", "allow": ["privilege.escalate"]}, 1),
    (allow("r", "credential.read", "<environment>"), 0),
]


@pytest.mark.parametrize(("rule", "count"), BROAD)
def test_an_allow_of_everything_is_over_broad(rule, count):
    assert len(found("over-broad", rule)) == count


def test_an_allow_over_places_that_run_later_names_them_unless_something_asks():
    everything = allow("w", "fs.write", "/**")
    (warning,) = [
        one for one in findings(everything) if (one.kind, one.severity) == ("runs-later", "warning")
    ]
    assert [place for place in RUNS_LATER if not in_one(place, warning.also)] == []
    asks = {"id": "a", "ask": ["fs.write"], "resources": ["**/.git/**"]}
    assert not in_one(
        ".git/", next(one.also for one in findings(everything, asks) if one.kind == "runs-later")
    )
    assert warning.what.endswith(f" and {len(warning.also) - 4} more")
    (note,) = [one for one in findings(allow("w", "fs.write", "${workspace}/*"))
               if (one.kind, one.severity) == ("runs-later", "note")]  # fmt: skip
    assert [place for place in BUILD_FILES if not in_one(place, note.also)] == []


BY_NAME = [
    (deny("d", "fs.write", "${workspace}/migrations/**"), 1),
    ({"id": "d", "deny": ["fs.write", "fs.read"], "resources": ["${workspace}/x"]}, 0),
    (deny("d", "fs.write", "/etc/**"), 0),
    (deny("d", "fs.delete", "**/keep"), 1),
    (deny("d", "fs.delete", "**/keep", **{"except": ["${workspace}/**"]}), 0),
    ({"id": "d", "deny": ["fs.write"]}, 1),
    ({"id": "d", "deny": ["git.history"]}, 1),
    ({"id": "d", "deny": ["net.connect"]}, 0),
    ({"id": "d", "deny": ["net.connect"], "programs": ["curl"]}, 1),
    ({"id": "d", "ask": ["git.history"]}, 0),
]


@pytest.mark.parametrize(("rule", "count"), BY_NAME)
def test_a_deny_that_the_sandbox_does_not_hold_is_named(rule, count):
    assert len(found("by-name-only", rule)) == count


def test_the_starter_packs_have_no_warning():
    for name in ("dev-safe", "ops-inspect"):
        source = pack(name)
        warnings = [one for one in lint(load([source]), [source], TOOLS) if one.severity != "note"]
        assert warnings == []


def test_unused_variables_conditional_denies_and_silent_rules_are_named_with_their_place():
    rules = (
        allow("a", "fs.read", "${used}/**", match=["cat /u/x"]),
        {"id": "d", "deny": ["net.connect"], "with": ["fs.read"], "reason": "No.", "match": []},
    )
    del rules[1]["match"]
    text = policy_text(*rules, variables={"used": "/u", "spare": "/s"})
    source = Source("p.yaml", text)
    found = lint(load([source]), [source], TOOLS)
    assert [(one.kind, one.severity, one.rule_id) for one in found] == [
        ("unused-variable", "warning", ""), ("by-name-only", "note", "d"),
        ("no-example", "note", "d"),
    ]  # fmt: skip
    assert found[0].place == f"p.yaml:1:{text.index('spare')}"
    silent = {"id": "q", "deny": ["git.write"]}
    assert found_kinds(silent) == ["by-name-only", "no-reason", "no-example"]


def found_kinds(*rules: dict[str, object]) -> list[str]:
    return [one.kind for one in findings(*rules)]


def in_one(place: str, texts: tuple[str, ...]) -> bool:
    return any(place in text for text in texts)
