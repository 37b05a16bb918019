"""What is probably wrong with a policy that loads: rules without use, and rules that allow much.

May touch: rules, and decisions over made-up accesses. May not touch: files.
What is said of a rule is so in every context; whether a place may be written is decided as for a
command.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Final

from policy import document
from policy.cover import ANYWHERE, everywhere, glob_inside
from policy.decide import decide
from policy.examples import SAMPLE
from policy.globs import policy_glob
from policy.host_globs import spelled
from policy.model import Access, Effect
from policy.narrowing import Asked
from policy.needless import Finding, Severity, needless, warning
from policy.overlap import inside, overlaps
from policy.places import BUILD_FILES, RUNS_LATER
from policy.rules import Policy, Rewrite, Rule, Source, placed, variables_in

Tools = Mapping[str, frozenset[str] | None]  # what each tool can do; None is anything

WIDE_TREES: Final = ("/**", "/*/**", f"{ANYWHERE[0].home}/**", "/home/**", "/root/**")
CHANGES: Final = frozenset({"fs.write", "fs.create"})
WRITES: Final = CHANGES | {"fs.delete", "fs.perm"}
REPOSITORY: Final = frozenset({"git.write", "git.history"})
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
ANY_HOST: Final = frozenset({"*", "0.0.0.0/0", "::/0"})


def lint(policy: Policy, sources: Sequence[Source], tools: Tools) -> tuple[Finding, ...]:
    """Return every finding, warnings first, then by place.

    Args:
        policy: what `load` made of the sources.
        sources: the same texts, for what a policy no longer holds.
        tools: the names that `tools` of a rule may give, and what each can do.
    """
    checks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: needless(policy.rules),
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


# --- rules that nothing reaches -------------------------------------------------------------------


def _unreachable(rules: Sequence[Rule], tools: Tools) -> Iterator[Finding]:
    for rule in rules:
        found = (*_tools(rule, tools), *_excepted(rule), *_hosts(rule), *_with(rule))
        for what, fix in (*found, *_misspelt(rule)):
            yield warning("unreachable", rule, what, fix)


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
    for at, glob in enumerate(rule.resources or ()):
        if all(
            any(glob_inside((one.resources or ())[at], hole) for hole in one.exceptions)
            for one in everywhere(rule)
        ):
            yield f"{glob!r} is wholly inside `except`", "remove it from one of the two"


def _hosts(rule: Rule) -> Iterator[tuple[str, str]]:
    for glob in rule.hosts:
        if variables_in(glob) or spelled(glob) is not None:
            continue
        yield (
            f"no host is spelled {glob!r}: a name, an address or a network, without scheme, user,"
            " port or path",
            "write the host alone, such as example.com, *.example.com or 10.1.0.0/16",
        )


def _misspelt(rule: Rule) -> Iterator[tuple[str, str]]:
    for glob in (*(rule.resources or ()), *rule.exceptions):
        if glob.startswith("<") and "*" not in glob and glob not in IN_BRACKETS:
            for meant in get_close_matches(glob, IN_BRACKETS, n=1, cutoff=0.85):
                yield f"nothing is called {glob}", f"write {meant}, if that is what you mean"


# --- rules that allow much ------------------------------------------------------------------------


def _broad(rules: Sequence[Rule]) -> Iterator[Finding]:
    for rule in rules:
        if rule.effect is not Effect.ALLOW:
            continue
        for what, fix in (*_wide_paths(rule), *_wide_code(rule), *_wide_reach(rule)):
            finding = warning("over-broad", rule, what, fix)
            # Whoever names a program or an asker has thought about whom it is for.
            yield replace(finding, severity="note") if rule.narrows else finding


def _wide_paths(rule: Rule) -> Iterator[tuple[str, str]]:
    writes = sorted(rule.operations & WRITES)
    globs = placed(rule, ANYWHERE[0]).resources
    for glob, meant in zip(rule.resources or (), globs or (), strict=True) if writes else ():
        if any(glob_inside(wide, meant) for wide in WIDE_TREES):
            what = f"allows {', '.join(writes)} on {glob}, which is not one project"
            yield what, "name the folders that may be changed, such as ${workspace}/**"


def _wide_code(rule: Rule) -> Iterator[tuple[str, str]]:
    for glob in rule.resources or () if "code.exec" in rule.operations else ():
        if glob.startswith("<") and "*" in glob:
            yield f"allows code nobody can read first: {glob}", "name what may run, or ask"


def _wide_reach(rule: Rule) -> Iterator[tuple[str, str]]:
    narrowed = rule.resources is not None and "*" not in rule.resources
    reaches = rule.operations & HOST_OPERATIONS
    if reaches and not (rule.hosts and ANY_HOST.isdisjoint(rule.hosts)) and not narrowed:
        yield f"allows {', '.join(sorted(reaches))} to any host", "name the hosts in `hosts`"
    beyond = rule.operations & BEYOND
    if beyond and not narrowed:
        what = f"allows {', '.join(sorted(beyond))} of any kind"
        yield what, "name the resources, or ask"


# --- places that are written now and run later ----------------------------------------------------


def _runs_later(policy: Policy) -> Iterator[Finding]:
    rules = {rule.id: rule for rule in policy.rules}
    severities: tuple[tuple[Severity, Mapping[str, str]], ...] = (
        ("warning", RUNS_LATER),
        ("note", BUILD_FILES),
    )
    for severity, table in severities:
        for rule_id, places in _written_freely(policy, table).items():
            rest = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
            what = f"allows writing what runs later: {', '.join(places[:_SHOWN])}{rest}"
            fix = "ask for these places, as places-that-run-later of dev-safe does"
            finding = warning("runs-later", rules[rule_id], what, fix)
            yield replace(finding, severity=severity, also=tuple(places))


def _written_freely(policy: Policy, table: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the places that some program or tool may write without a question, by rule."""
    allows = [rule for rule in policy.rules if rule.effect is Effect.ALLOW]
    programs = frozenset({""}).union(*(rule.programs for rule in allows))
    tools = frozenset({""}).union(*(rule.tools for rule in allows))
    found: dict[str, dict[str, None]] = {}
    for place, who in table.items():
        path = place.replace("${workspace}", SAMPLE.workspace).replace("~", SAMPLE.home)
        accesses = [
            Access(operation, path, "exact", program)
            for operation in sorted(CHANGES)
            for program in sorted(programs)
        ]
        for tool in sorted(tools):
            for verdict in decide(accesses, policy, SAMPLE, Asked(tool=tool)).verdicts:
                if verdict.effect is Effect.ALLOW:
                    found.setdefault(verdict.rule_id, {})[f"{place} ({who})"] = None
    return {rule_id: list(places) for rule_id, places in found.items()}


# --- the rest -------------------------------------------------------------------------------------


def _unused_variables(rules: Sequence[Rule], sources: Sequence[Source]) -> Iterator[Finding]:
    for source in sources:
        top = document.read(source.name, source.text)
        declared = {key.value: value for key, value in top.entries}.get("variables")
        if not isinstance(declared, document.Mapping):
            continue
        own = [rule for rule in rules if rule.place.startswith(f"{source.name}:")]
        texts = [text for rule in own for text in _texts(rule)]
        used = frozenset[str]().union(*map(variables_in, texts))
        for key, _ in declared.entries:
            if key.value not in used:
                what = f"no rule uses the variable {key.value!r}"
                yield Finding("unused-variable", "warning", key.place, "", what, "remove it")


def _texts(rule: Rule) -> Iterator[str]:
    for field in fields(rule):
        value = getattr(rule, field.name)
        if isinstance(value, tuple):
            yield from (one for one in value if isinstance(one, str))


def _by_name_only(rules: Sequence[Rule]) -> Iterator[Finding]:
    for rule in rules:
        if rule.effect is not Effect.DENY:
            continue
        if not rule.is_unconditional:
            what = "holds by name only: it has a condition, so no mask in the sandbox can hold it"
            fix = "deny without conditions what must hold whatever a program does"
        elif _is_about_the_workspace(rule):
            what = "holds by name only: what runs may change the workspace, and no mask hides this"
            fix = "deny fs.read too where the place may be hidden, or ask before code runs"
        else:
            continue
        yield Finding("by-name-only", "note", rule.place, rule.id, what, fix)


def _is_about_the_workspace(rule: Rule) -> bool:
    """Return whether it forbids changes where every program with the write profile can make them.

    What is denied to be read is covered, and a covered file cannot be written either.
    """
    if rule.operations & REPOSITORY:
        return True
    if not rule.operations & WRITES or "fs.read" in rule.operations:
        return False
    inside_it, here = policy_glob(f"{SAMPLE.workspace}/**"), placed(rule, SAMPLE)
    if any(inside(inside_it, policy_glob(glob)) for glob in here.exceptions):
        return False
    return here.resources is None or any(
        overlaps(inside_it, policy_glob(glob)) for glob in here.resources
    )


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
