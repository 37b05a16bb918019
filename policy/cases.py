"""A file of commands and what a policy must say of them, for the people who write policies.

May touch: YAML texts, decisions. May not touch: files; which policy is meant is for the caller.
Strict like a policy file: every mistake is refused with its place and what to do about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from policy.classify import classify
from policy.document import Listing, Node, Text, one_text, read, refuse, text_in, words
from policy.document import Mapping as Entries
from policy.examples import SAMPLE
from policy.model import Context, Decision, Effect, Exec, Request, Subject
from policy.rule_file import EFFECTS, fields_of
from policy.rules import Policy

FILE_KEYS: Final = frozenset({"policy", "workspace", "home", "tests"})
CASE_KEYS: Final = frozenset({"command", "argv", "tool", "cwd", "expect", "rule", "why"})
_TESTER: Final = Subject("agent:test", "test", 0, "cli")


@dataclass(frozen=True, slots=True)
class Case:
    """One command and what must come out; `rule` must be among those that decided."""

    place: str
    command: str | None
    argv: tuple[str, ...] | None
    expect: Effect
    rule: str = ""
    why: str = ""
    tool: str = "exec"
    cwd: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """One file of cases, the policies they are for, and where their commands would start."""

    policies: tuple[str, ...]
    context: Context
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of one case; `wrong` says what should have, or nothing."""

    case: Case
    decision: Decision
    wrong: str = ""


def read_cases(name: str, text: str) -> Suite:
    """Return the cases of one file.

    Raises:
        PolicyError: any mistake, as `file:line:column: what; what to do`.
    """
    top = read(name, text, "a file of tests is a mapping; begin with `policy: [dev-safe]`")
    fields = fields_of(top, FILE_KEYS, "a file of tests")
    for needed in ("policy", "tests"):
        if needed not in fields:
            refuse(top.place, f"the key {needed!r} is missing; add it")
    listing = fields["tests"]
    if not isinstance(listing, Listing) or not listing.items:
        refuse(listing.place, "tests is a list; begin each with `- command: ...`")
    context = Context(
        _absolute(fields, "workspace", SAMPLE.workspace),
        _absolute(fields, "home", SAMPLE.home),
        SAMPLE.user,
        SAMPLE.host,
    )
    policies = tuple(text.value for text in words(fields["policy"], "policy"))
    return Suite(policies, context, tuple(_case(node) for node in listing.items))


def run_case(case: Case, policy: Policy, context: Context) -> Outcome:
    """Return what the policy says of a case, and what is wrong with that."""
    cwd = case.cwd if case.cwd.startswith("/") else f"{context.workspace}/{case.cwd}".rstrip("/")
    action = Exec(case.command, case.argv, cwd)
    decision = classify(Request(_TESTER, action, case.tool), policy, context)
    wrong = []
    if decision.effect is not case.expect:
        wrong.append(f"expected {case.expect.name.lower()}, got {decision.effect.name.lower()}")
    deciding = {one.rule_id for one in decision.verdicts if one.effect is decision.effect}
    if case.rule and case.rule not in deciding:
        found = ", ".join(sorted(deciding)) or "no rule"
        wrong.append(f"expected it of rule {case.rule}, got it of {found}")
    return Outcome(case, decision, "; ".join(wrong))


def _case(node: Node) -> Case:
    if not isinstance(node, Entries):
        refuse(node.place, "a test is a mapping; begin it with `- command: ...`")
    fields = fields_of(node, CASE_KEYS, "a test")
    if ("command" in fields) is ("argv" in fields):
        refuse(node.place, "a test has either command or argv; write one of them")
    if "expect" not in fields:
        refuse(node.place, "the test expects nothing; add `expect: allow`, ask or deny")
    expect = one_text(fields["expect"], "expect")
    if expect.value not in EFFECTS:
        refuse(expect.place, f"expect {expect.value!r} is not one of {', '.join(EFFECTS)}")
    vector = fields.get("argv")
    return Case(
        place=node.place,
        command=text_in(fields, "command") or None,
        argv=None if vector is None else tuple(one.value for one in words(vector, "argv")),
        expect=EFFECTS[expect.value],
        rule=text_in(fields, "rule"),
        why=text_in(fields, "why"),
        tool=text_in(fields, "tool") or "exec",
        cwd=text_in(fields, "cwd"),
    )


def _absolute(fields: Mapping[str, Node], key: str, default: str) -> str:
    if key not in fields:
        return default
    found: Text = one_text(fields[key], key)
    if not found.value.startswith("/") or found.value == "/":
        refuse(found.place, f"{key} {found.value!r} is not the absolute path of a directory")
    return found.value.rstrip("/")
