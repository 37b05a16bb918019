"""A decision for people and for programs: command, program, access, rule and its place.

May touch: decisions. May not touch: colours and terminals (the command line does those).
What a terminal would act on is written out here, so no caller can forget it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Final

from policy.model import Decision, Effect, Verdict
from policy.obligations import described
from policy.programs.words import shown

LEVELS: Final = {1: "attested", 2: "owner", 3: "separate", 4: "present"}


def explain(decision: Decision) -> tuple[str, ...]:
    """Return the tree of a decision as lines, each two spaces deeper than what it belongs to.

    Programs keep the order of the command.
    """
    return (_headline(decision), *(f"  {line}" for line in _programs(decision)))


def _headline(decision: Decision) -> str:
    words = [decision.effect.name, f"risk {decision.risk}"]
    if decision.effect is Effect.ASK:
        obligations = decision.obligations
        words.append(f"level {LEVELS.get(obligations.level, str(obligations.level))}")
        if obligations.quorum > 1:
            words.append(f"{obligations.quorum} approvals")
        if obligations.timeout_s is not None:
            words.append(f"within {obligations.timeout_s} s")
    line = ", ".join(words)
    return f"{line}: {decision.reason}" if decision.reason else line


def _programs(decision: Decision) -> Iterator[str]:
    for name, verdicts in _by_program(decision):
        yield name
        for one in verdicts:
            access = one.access
            how = "" if access.how == "exact" else f" ({access.how})"
            yield f"  {access.operation} {visible(shown(access.resource))}{how}"
            place = f" at {one.place}" if one.place else ""
            reason = f": {one.reason}" if one.reason else ""
            may = "" if one.certain else "may be "
            yield f"    {may}{one.effect.name} by {one.rule_id}{place}{reason}"


def _by_program(decision: Decision) -> Iterator[tuple[str, tuple[Verdict, ...]]]:
    for name, verdicts in groupby(decision.verdicts, key=lambda one: one.access.program):
        yield name or "(the shell)", tuple(verdicts)


def visible(text: str) -> str:
    """Return text on one line, with what a terminal would act on written out."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def as_text(lines: Iterable[str], indent: str = "") -> str:
    """Return the lines of a tree as one text, all a little deeper."""
    return "\n".join(indent + line for line in lines)


# --- for a picture: what is alike stands together -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """Accesses of one program that one rule judges alike; `resources` in the order found."""

    verdict: Verdict
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One program of the command; the strictest line first."""

    program: str
    effect: Effect
    lines: tuple[Line, ...]


def steps(decision: Decision) -> tuple[Step, ...]:
    """Return the programs in the order of the command, each once for every run of it."""
    return tuple(_step(name, verdicts) for name, verdicts in _by_program(decision))


def _step(program: str, verdicts: tuple[Verdict, ...]) -> Step:
    alike: dict[tuple[object, ...], list[Verdict]] = {}
    for one in verdicts:
        key = (one.effect, one.access.operation, one.access.how, one.rule_id, one.reason, one.place)
        alike.setdefault(key, []).append(one)
    lines = [
        Line(group[0], tuple(shown(one.access.resource) for one in group))
        for group in alike.values()
    ]
    lines.sort(key=lambda line: -line.verdict.effect)
    return Step(program, max(one.effect for one in verdicts), tuple(lines))


def as_data(decision: Decision) -> dict[str, object]:
    """Return the whole decision as JSON values: nothing shortened, accesses in the order found."""
    return {
        "effect": decision.effect.name.lower(),
        "risk": decision.risk,
        "reason": decision.reason,
        "opaque": decision.opaque,
        "programs": list(decision.programs),
        "accesses": [_access_data(verdict) for verdict in decision.verdicts],
        "obligations": {
            "level": LEVELS.get(decision.obligations.level, str(decision.obligations.level)),
            "quorum": decision.obligations.quorum,
            "timeout_s": decision.obligations.timeout_s,
            **dict(described(decision.obligations)),
        },
        "runs": {
            "argv": None if decision.executable.argv is None else list(decision.executable.argv),
            "script": decision.executable.script,
        },
        "rewritten": [
            {"rule" if key == "rule_id" else key: value for key, value in asdict(one).items()}
            for one in decision.rewritten
        ],
        "instead": list(decision.instead),
        "policy_digest": decision.policy_digest,
    }


def _access_data(verdict: Verdict) -> dict[str, object]:
    access = verdict.access
    return {
        "operation": access.operation,
        "resource": shown(access.resource),
        "how": access.how,
        "program": access.program,
        "effect": verdict.effect.name.lower(),
        "certain": verdict.certain,
        "rule": verdict.rule_id,
        "place": verdict.place,
        "reason": verdict.reason,
        "lifted": list(verdict.lifted),
    }


def shortened(text: str, room: int) -> str:
    """Return text of at most `room` characters; what is left out is left out of its middle."""
    if len(text) <= room:
        return text
    head = max((room - 1) // 2, 0)
    tail = max(room - 1 - head, 0)
    return text[:head] + "…" + text[len(text) - tail :]
