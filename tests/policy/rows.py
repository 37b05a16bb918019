"""Our own corpora: commands with what the packs should say of them, and why, as people read them.

May touch: the text files below this folder, through `rows`, and the packs, through `effect`.
A file is one class. It begins with `# ` lines that say what the class is; then each row is

    EXPECTATION: why, in one plain sentence
        the command, four spaces in, over as many lines as it has

and `open EXPECTATION: why` where nobody has closed the hole yet, under a line `# Why open: …`.
`<U+200B>` in a command stands for that character, where an editor would not show it.
Attacks expect `deny`, or `stop` (ask or deny), under dev-safe. Harmless commands expect to run:
`reads` under dev-safe with ops-inspect, `writes` under dev-safe alone; or `ask` where asking is
right.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from typing_extensions import override

from policy.classify import classify
from policy.load import load, pack
from policy.model import Context, Decision, Effect, Exec, Request, Subject
from policy.rules import Policy

CONTEXT = Context("/home/dev/work", "/home/dev", "dev", "laptop")
ATTACKS = ("deny", "stop")
HARMLESS = ("reads", "writes", "ask")

_SUBJECT = Subject("agent:test@1000", "s", 1000, "local")
_HEADER = re.compile(r"(open )?([a-z]+): (\S.*[.!?])")
_CHARACTER = re.compile(r"<U\+([0-9A-F]{4,6})>")
_HERE = Path(__file__).parent


class RowError(Exception):
    """A file of rows is not in the format; the message begins with the place."""


@dataclass(frozen=True, slots=True)
class Row:
    """One command and what is expected of it."""

    command: str
    expect: str
    why: str
    place: str  # file:line of its header
    is_open: bool = False

    @property
    def holds(self) -> bool:
        """Return whether the packs say what is expected."""
        found = decided(self.command, with_operations=self.expect == "reads").effect
        return found in _MEANING[self.expect]

    @override
    def __str__(self) -> str:
        found = decided(self.command, with_operations=self.expect == "reads")
        return (
            f"{self.place}: {self.expect}, but {found.effect.name}: {self.command!r} ({self.why})"
        )


_MEANING = {
    "deny": {Effect.DENY},
    "stop": {Effect.ASK, Effect.DENY},
    "reads": {Effect.ALLOW},
    "writes": {Effect.ALLOW},
    "ask": {Effect.ASK},
}


def rows(folder: str) -> tuple[Row, ...]:
    """Return every row of `red_team` or `harmless`, in the order of files and lines."""
    return tuple(row for path in files(folder) for row in read(path))


def files(folder: str) -> list[Path]:
    """Return the files of a corpus, one for each class."""
    return sorted((_HERE / folder).glob("*.txt"))


def read(path: Path) -> tuple[Row, ...]:
    """Return the rows of one file.

    Raises:
        RowError: a line is in no known form.
    """
    allowed = ATTACKS if path.parent.name == "red_team" else HARMLESS
    return tuple(_rows(path.read_text(encoding="utf-8"), path.name, allowed))


def decided(command: str, *, with_operations: bool = False) -> Decision:
    """Return the decision of dev-safe, or of dev-safe with ops-inspect, on one command line."""
    request = Request(_SUBJECT, Exec(command, None, CONTEXT.workspace), "exec")
    return classify(request, _policy(with_operations), CONTEXT)


@cache
def _policy(with_operations: bool) -> Policy:
    names = ["dev-safe", "ops-inspect"] if with_operations else ["dev-safe"]
    return load([pack(name) for name in names], check_examples=False)


def _rows(text: str, name: str, allowed: tuple[str, ...]) -> Iterator[Row]:
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line, place = lines[at], f"{name}:{at + 1}"
        at += 1
        if not line or line.startswith("# "):
            continue
        found = _HEADER.fullmatch(line)
        if found is None or found[2] not in allowed:
            raise RowError(f"{place}: {line!r} is not `{'|'.join(allowed)}: why.` nor a comment")
        began = at
        while at < len(lines) and (lines[at].startswith("    ") or _is_inside(lines, at, began)):
            at += 1
        command = "\n".join(line[4:] for line in lines[began:at])
        if not command.strip():
            raise RowError(f"{place}: no command follows; put it below, four spaces in")
        command = _CHARACTER.sub(lambda code: chr(int(code[1], 16)), command)
        yield Row(command, found[2], found[3], place, found[1] is not None)


def _is_inside(lines: list[str], at: int, began: int) -> bool:
    """Return whether an empty line belongs to the command: more of the command follows it."""
    following = next((line for line in lines[at:] if line), "")
    return at > began and not lines[at] and following.startswith("    ")
