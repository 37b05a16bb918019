"""A decision as a tree for people: command, program, access, rule and its place.

May touch: decisions. May not touch: colours and terminals (the command line does those).
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Final

from policy.model import Decision, Effect, Verdict
from policy.programs.words import shown

LEVELS: Final = {1: "attested", 2: "owner", 3: "separate", 4: "present"}


@dataclass(frozen=True, slots=True)
class Node:
    """One line and what stands below it; `effect` lets the caller colour it."""

    text: str
    effect: Effect
    children: tuple["Node", ...] = ()


def explain(decision: Decision) -> Node:
    """Return the tree of a decision; programs keep the order of the command."""
    by_program = groupby(decision.verdicts, key=lambda verdict: verdict.access.program)
    children = tuple(_program(name, tuple(verdicts)) for name, verdicts in by_program)
    return Node(_headline(decision), decision.effect, children)


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


def _program(name: str, verdicts: tuple[Verdict, ...]) -> Node:
    effect = max(verdict.effect for verdict in verdicts)
    return Node(name or "(the shell)", effect, tuple(_access(verdict) for verdict in verdicts))


def _access(verdict: Verdict) -> Node:
    access = verdict.access
    how = "" if access.how == "exact" else f" ({access.how})"
    text = f"{access.operation} {_visible(shown(access.resource))}{how}"
    return Node(text, verdict.effect, (_rule(verdict),))


def _rule(verdict: Verdict) -> Node:
    place = f" at {verdict.place}" if verdict.place else ""
    reason = f": {verdict.reason}" if verdict.reason else ""
    return Node(f"{verdict.effect.name} by {verdict.rule_id}{place}{reason}", verdict.effect)


def _visible(text: str) -> str:
    """Return text on one line, with what a terminal would act on written out."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def as_text(node: Node, indent: str = "") -> str:
    """Return the tree as plain lines, two spaces deeper for each level."""
    below = [as_text(child, indent + "  ") for child in node.children]
    return "\n".join([indent + node.text, *below])
