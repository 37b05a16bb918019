"""What is probably wrong with a policy that loads: rules without use, and rules that allow much.

May touch: rules, and decisions over made-up accesses. May not touch: files.
INVARIANT: a rule called needless can be removed and no decision becomes looser or stricter; where
that cannot be shown (cover.py) nothing is said.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final, Literal

from policy import document
from policy.cover import glob_inside, narrows_no_more, same_words, speaks_of
from policy.decide import decide
from policy.examples import SAMPLE
from policy.model import Access, Effect, Obligations
from policy.obligations import strictest
from policy.places import BUILD_FILES, RUNS_LATER
from policy.rules import Policy, Rewrite, Rule, Source, variables_in

Severity = Literal["warning", "note"]
Tools = Mapping[str, frozenset[str] | None]  # what each tool can do; None is anything

WIDE_TREES: Final = ("/**", "/*/**", "${home}/**", "/home/**", "/root/**")
WRITES: Final = frozenset({"fs.write", "fs.create", "fs.delete", "fs.perm"})
HOST_OPERATIONS: Final = frozenset({"net.connect", "remote.exec"})
BEYOND: Final = frozenset(
    {
        "device.write", "privilege.escalate", "persistence", "audit.tamper", "sys.control",
        "credential.read",
    }
)  # fmt: skip
# Resources without a path that rules are likely to name; program entries have more.
IN_BRACKETS: Final = (
    "<network>", "<standard input>", "<inline code>", "<a terminal>", "<environment>",
    "<set-user-id>", "<world-writable>", "<unknown path>", "<a secret variable>",
)  # fmt: skip
_SHOWN: Final = 4  # places named in a sentence
_HOST = re.compile(r"[a-z0-9_.*?-]+|[0-9a-f:.*?]+")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at: where, in which rule, what it is, and what to do about it."""

    kind: str
    severity: Severity
    place: str
    rule_id: str
    what: str
    fix: str
    also: tuple[str, ...] = ()  # every place it is about, where `what` names the first


def lint(policy: Policy, sources: Sequence[Source], tools: Tools) -> tuple[Finding, ...]:
    """Return every finding, warnings first, then by place.

    Args:
        policy: what `load` made of the sources.
        sources: the same texts, for what a policy no longer holds.
        tools: the names that `tools` of a rule may give, and what each can do.
    """
    checks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: _needless(policy.rules),
        lambda: _unreachable(policy.rules, tools),
        lambda: _broad(policy.rules),
        lambda: _runs_later(policy),
        lambda: _unused_variables(policy.rules, sources),
        lambda: _by_name_only(policy.rules),
        lambda: _silent(policy),
    )
    found = [finding for check in checks for finding in check()]
    return tuple(sorted(found, key=lambda one: (one.severity != "warning", _order(one.place))))


def _order(place: str) -> tuple[str, int, int]:
    name, line, column = place.rsplit(":", 2)
    return name, int(line), int(column)


def _warning(kind: str, rule: Rule, what: str, fix: str) -> Finding:
    return Finding(kind, "warning", rule.place, rule.id, what, fix)


# --- rules that change nothing --------------------------------------------------------------------


def _needless(rules: Sequence[Rule]) -> Iterator[Finding]:
    gone: set[str] = set()  # of two that say the same, one stays
    lifted = frozenset[str]().union(*(rule.lifts for rule in rules))
    for rule in rules:
        if rule.lifts:
            continue  # it silences others, so it says more than its effect
        others = [other for other in rules if other is not rule and other.id not in gone]
        stricter = _covering(rule, [other for other in others if _overrules(other, rule)])
        if rule.effect is Effect.ALLOW and stricter:
            names = _listed(stricter)
            what = f"never allows anything: {names} is stricter wherever it matches"
            fix = "remove it, or narrow the stricter rule with `except`"
            yield _warning("shadowed", rule, what, fix)
            continue
        same = _covering(
            rule, [other for other in others if other.id not in lifted and _repeats(other, rule)]
        )
        if same:
            gone.add(rule.id)
            what = f"says nothing that {_listed(same)} does not say"
            found = _warning("duplicate", rule, what, "remove one of them")
            # Files that are also used alone may well repeat one another.
            is_own = any(_file(one.place) == _file(rule.place) for one in same)
            yield found if is_own else replace(found, severity="note")


def _file(place: str) -> str:
    return place.rsplit(":", 2)[0]


def _covering(rule: Rule, others: Sequence[Rule]) -> list[Rule]:
    """Return rules that together speak wherever this one does, or none."""
    found: dict[str, Rule] = {}
    for operation in sorted(rule.operations):
        for glob in (None,) if rule.resources is None else rule.resources:
            over = next((one for one in others if speaks_of(one, rule, operation, glob)), None)
            if over is None:
                return []
            found[over.id] = over
    return list(found.values())


def _overrules(other: Rule, rule: Rule) -> bool:
    """Return whether `other` always outweighs an allow: it is stricter, and what it adds stays."""
    return (
        other.effect > rule.effect
        and not other.tightens_only
        and (other.effect is Effect.DENY or rule.obligations == Obligations())
        and narrows_no_more(other, rule)
    )


def _repeats(other: Rule, rule: Rule) -> bool:
    return (
        other.effect is rule.effect
        and (rule.tightens_only or not other.tightens_only)
        and _at_least(other.obligations, rule.obligations)
        and narrows_no_more(other, rule)
        and (
            rule.effect is not Effect.DENY or (same_words(other, rule) and _same_hosts(other, rule))
        )
    )


def _same_hosts(other: Rule, rule: Rule) -> bool:
    # A host that is not known weakens a deny to an ask.
    return bool(other.hosts) <= bool(rule.hosts)


def _at_least(more: Obligations, less: Obligations) -> bool:
    both = strictest([more, less])
    return both == strictest([more])


def _listed(rules: Iterable[Rule]) -> str:
    return ", ".join(f"{rule.id} ({rule.place})" for rule in rules)


# --- rules that nothing reaches -------------------------------------------------------------------


def _unreachable(rules: Sequence[Rule], tools: Tools) -> Iterator[Finding]:
    for rule in rules:
        found = (*_tools(rule, tools), *_excepted(rule), *_hosts(rule), *_with(rule))
        for what, fix in (*found, *_misspelt(rule)):
            yield _warning("unreachable", rule, what, fix)


def _tools(rule: Rule, tools: Tools) -> Iterator[tuple[str, str]]:
    unknown = sorted(rule.tools - tools.keys())
    if unknown:
        yield f"no tool is called {unknown[0]!r}", f"use one of {', '.join(sorted(tools))}"
        return
    done = [tools[name] for name in rule.tools]
    can = frozenset[str]().union(*(one for one in done if one is not None))
    if not done or None in done:
        return
    named = ", ".join(sorted(rule.tools))
    if not rule.operations & can:
        yield f"{named} never does {', '.join(sorted(rule.operations))}", "remove it, or its tools"
    elif rule.together_with and not rule.together_with & can:
        never = ", ".join(sorted(rule.together_with))
        yield f"its `with` can never be: {named} never does {never}", "remove it, or its tools"


def _with(rule: Rule) -> Iterator[tuple[str, str]]:
    if len(rule.operations) == 1 and rule.operations <= rule.together_with:
        yield "its `with` always holds: it names the rule's own operation", "remove the `with`"


def _excepted(rule: Rule) -> Iterator[tuple[str, str]]:
    if rule.effect is not Effect.ALLOW:
        return  # what an unknown path may be is not excepted
    for glob in rule.resources or ():
        if any(glob_inside(glob, rule, hole, rule) for hole in rule.exceptions):
            yield f"{glob!r} is wholly inside `except`", "remove it from one of the two"


def _hosts(rule: Rule) -> Iterator[tuple[str, str]]:
    for glob in rule.hosts:
        if variables_in(glob) or "[" in glob or "\\" in glob or _HOST.fullmatch(glob):
            continue
        yield (
            f"no host is spelled {glob!r}: a name or address without scheme, user, port or path",
            ("write the host alone, such as example.com or *.example.com"),
        )


def _misspelt(rule: Rule) -> Iterator[tuple[str, str]]:
    for glob in (*(rule.resources or ()), *rule.exceptions):
        if glob.startswith("<") and "*" not in glob and glob not in IN_BRACKETS:
            for meant in get_close_matches(glob, IN_BRACKETS, n=1, cutoff=0.85):
                yield f"nothing is called {glob}", f"write {meant}, if that is what you mean"


# --- rules that allow much ------------------------------------------------------------------------


def _broad(rules: Sequence[Rule]) -> Iterator[Finding]:
    for rule in rules:
        if rule.effect is Effect.ALLOW and not (rule.programs and rule.together_with):
            for what, fix in (*_wide_paths(rule), *_wide_code(rule), *_wide_reach(rule)):
                yield _warning("over-broad", rule, what, fix)


def _wide_paths(rule: Rule) -> Iterator[tuple[str, str]]:
    writes = sorted(rule.operations & WRITES)
    for glob in rule.resources or () if writes else ():
        if any(glob_inside(wide, rule, glob, rule) for wide in WIDE_TREES):
            what = f"allows {', '.join(writes)} on {glob}, which is not one project"
            yield what, "name the folders that may be changed, such as ${workspace}/**"


def _wide_code(rule: Rule) -> Iterator[tuple[str, str]]:
    for glob in rule.resources or () if "code.exec" in rule.operations else ():
        if glob.startswith("<") and "*" in glob:
            yield f"allows code nobody can read first: {glob}", "name what may run, or ask"


def _wide_reach(rule: Rule) -> Iterator[tuple[str, str]]:
    narrowed = rule.resources is not None and "*" not in rule.resources
    reaches = rule.operations & HOST_OPERATIONS
    if reaches and not (rule.hosts and "*" not in rule.hosts) and not narrowed:
        yield f"allows {', '.join(sorted(reaches))} to any host", "name the hosts in `hosts`"
    beyond = rule.operations & BEYOND
    if beyond and not narrowed:
        what = f"allows {', '.join(sorted(beyond))} of any kind"
        yield what, "name the resources, or ask"


# --- places that are written now and run later ----------------------------------------------------


def _runs_later(policy: Policy) -> Iterator[Finding]:
    rules = {rule.id: rule for rule in policy.rules}
    found: dict[tuple[str, Severity], list[str]] = {}
    severities: tuple[tuple[Severity, Mapping[str, str]], ...] = (
        ("warning", RUNS_LATER),
        ("note", BUILD_FILES),
    )
    for severity, table in severities:
        for place, who in table.items():
            path = place.replace("${workspace}", SAMPLE.workspace).replace("~", SAMPLE.home)
            for verdict in decide((Access("fs.write", path),), policy, SAMPLE).verdicts:
                if verdict.effect is Effect.ALLOW:
                    found.setdefault((verdict.rule_id, severity), []).append(f"{place} ({who})")
    for (rule_id, severity), places in found.items():
        rest = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
        what = f"allows writing what runs later: {', '.join(places[:_SHOWN])}{rest}"
        fix = "ask for these places, as places-that-run-later of dev-safe does"
        finding = _warning("runs-later", rules[rule_id], what, fix)
        yield replace(finding, severity=severity, also=tuple(places))


# --- the rest -------------------------------------------------------------------------------------


def _unused_variables(rules: Sequence[Rule], sources: Sequence[Source]) -> Iterator[Finding]:
    for source in sources:
        fields = {
            key.value: value for key, value in document.read(source.name, source.text).entries
        }
        declared = fields.get("variables")
        if not isinstance(declared, document.Mapping):
            continue
        own = [rule for rule in rules if rule.place.startswith(f"{source.name}:")]
        texts = [
            text
            for rule in own
            for text in (*(rule.resources or ()), *rule.exceptions, *rule.hosts)
        ]
        used = frozenset[str]().union(*map(variables_in, texts))
        for key, _ in declared.entries:
            if key.value not in used:
                what = f"no rule uses the variable {key.value!r}"
                yield Finding("unused-variable", "warning", key.place, "", what, "remove it")


def _by_name_only(rules: Sequence[Rule]) -> Iterator[Finding]:
    for rule in rules:
        if rule.effect is Effect.DENY and not rule.is_unconditional:
            what = "holds by name only: it has a condition, so no mask in the sandbox can hold it"
            fix = "deny without conditions what must hold whatever a program does"
            yield Finding("by-name-only", "note", rule.place, rule.id, what, fix)


def _silent(policy: Policy) -> Iterator[Finding]:
    rules: list[Rule | Rewrite] = [*policy.rules, *policy.rewrites]
    for rule in rules:
        is_allow = isinstance(rule, Rule) and rule.effect is Effect.ALLOW
        if not is_allow and not rule.reason:
            what, fix = "has no reason, so nobody is told why", "add `reason: ...`"
            yield Finding("no-reason", "note", rule.place, rule.id, what, fix)
        if not rule.examples:
            what, fix = "has no example, so a slip goes unseen", "add `match: [...]`"
            yield Finding("no-example", "note", rule.place, rule.id, what, fix)
