"""A learned policy as a file people read and edit: why each line is there stands beside it.

May touch: values. The same rules give the same bytes: everything is sorted, nothing is dated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from policy.proof import Wish

INCLUDED: Final = "guardrails"  # what no learned rule may open
_ESCAPED: Final = {'"': '\\"', "\\": "\\\\"}


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One glob, for how many places it stands, how often they were touched, in which records."""

    glob: str
    places: int
    times: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class LearnedRule:
    """One rule; with `anything` set, it names no resources, for that reason."""

    id: str
    effect: Literal["allow", "ask"]
    operation: str
    lines: tuple[Line, ...] = ()
    anything: Line | None = None
    exceptions: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    level: str = ""


def as_yaml(wish: Wish, header: Sequence[str], rules: Sequence[LearnedRule]) -> str:
    """Return the text of the policy file; `header` is said in comments above it."""
    lines = [f"# {text}" for text in header]
    lines += ["version: 1", f"name: {wish.name}", f"default: {wish.default}"]
    lines.append(f"include: [{INCLUDED}]")
    lines.append("rules:" if rules else "rules: []")
    for rule in rules:
        lines += _rule(rule)
    return "\n".join(lines) + "\n"


def _rule(rule: LearnedRule) -> list[str]:
    why = f"  # {_why(rule.anything)}" if rule.anything is not None else ""
    lines = [f"  - id: {rule.id}", f"    {_said(rule)}{why}"]
    if rule.programs:
        lines.append(f"    programs: [{', '.join(map(quoted, rule.programs))}]")
    if rule.lines:
        lines.append("    resources:")
        lines += [f"      - {quoted(one.glob)}  # {_why(one)}" for one in rule.lines]
    if rule.exceptions:
        lines.append("    except:")
        lines += [f"      - {quoted(glob)}" for glob in rule.exceptions]
    if rule.effect == "ask":
        lines.append("    reason: A human said yes to it, or it is never allowed unasked.")
    return lines


def _said(rule: LearnedRule) -> str:
    if rule.level:
        return f"{rule.effect}: {{operations: [{rule.operation}], level: {rule.level}}}"
    return f"{rule.effect}: [{rule.operation}]"


def _why(line: Line) -> str:
    places = f"{line.places} files, " if line.places > 1 else ""
    if line.first == line.last:
        return f"{places}record {line.first}"
    return f"{places}{line.times} times, records {line.first} to {line.last}"


def quoted(text: str) -> str:
    """Return text between double quotes as YAML reads it back, on one line and printable."""
    return '"' + "".join(map(_character, text)) + '"'


def _character(char: str) -> str:
    if char in _ESCAPED:
        return _ESCAPED[char]
    return char if char.isprintable() else f"\\U{ord(char):08x}"
