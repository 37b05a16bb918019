"""One argument vector in the place of another, before anything is decided about it.

May touch: actions, trees, rewrite rules. May not touch: other rules (classify.py asks them).
INVARIANTS:
    1  only a simple command whose every word is literal is rewritten, each at most once
    2  what was rewritten is read, decided, shown and run like any other command
    3  a command that a rule might mean but that cannot be rewritten (a word is not known, another
       program starts it, two rules mean it) is not passed over: it asks
    4  what is denied as it was asked stays denied (classify.py)
"""

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import policy.shell.tree as t
from policy.hardening import hardened_argv, unhardened
from policy.model import Access, Action, Effect, Exec, Rewritten, Ssh, Verdict
from policy.programs.words import Argument
from policy.rules import Globs, Rewrite
from policy.shell.reader import read
from policy.shell.render import render
from policy.shell.walk import rebuilt

CAPTURE: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})(\.\.\.)?\}")
_SYSTEM: Final = frozenset({"/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin"})
_Captured = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Applied:
    """An action after the rules had their one look at it; `made` are the vectors they put in."""

    action: Action
    done: tuple[Rewritten, ...] = ()
    made: frozenset[tuple[str, ...]] = frozenset()


def apply(action: Action, rewrites: Sequence[Rewrite]) -> Applied:
    """Return the action with every command rewritten that exactly one rule means."""
    if not isinstance(action, Exec | Ssh):
        return Applied(action)
    work = _Work(rewrites)
    if action.argv is not None:
        changed: Action = replace(action, argv=work.vector(action.argv))
    else:
        text = action.command or ""
        tree = read(text) if any(name in text for name in work.names) else None
        if tree is None or isinstance(tree, t.Opaque):
            return Applied(action)
        tree = work.tree(tree)
        changed = replace(action, command=render(tree)) if work.done else action
    made = {one for argv in work.made for one in (argv, _as_walked(argv))}
    return Applied(changed, tuple(work.done), frozenset(made))


def missed(
    rewrites: Sequence[Rewrite],
    made: frozenset[tuple[str, ...]],
    words: Mapping[str, Sequence[Sequence[Argument]]],
) -> list[Verdict]:
    """Return a question for each rule that may mean a command which it could not rewrite."""
    found = list[Verdict]()
    for rewrite in sorted(rewrites, key=lambda one: one.id):
        for name in dict.fromkeys(program[0] for program in rewrite.programs):
            vectors = words.get(name, ())
            if any(_exact(v) not in made and _may_fit(rewrite, v) for v in vectors):
                found.append(_question(rewrite, name))
    return found


def _question(rewrite: Rewrite, name: str) -> Verdict:
    access = Access("opaque", f"{name}, which cannot be rewritten here", "dynamic", name)
    reason = f"{rewrite.reason} " if rewrite.reason else ""
    reason += f"Rule {rewrite.id} rewrites {name} only as a command of its own with known words."
    return Verdict(access, Effect.ASK, rewrite.id, rewrite.place, reason)


class _Work:
    """One action: what was rewritten in it, in order."""

    def __init__(self, rewrites: Sequence[Rewrite]) -> None:
        self.done: list[Rewritten] = []
        self.made: list[tuple[str, ...]] = []
        self.names = {program[0] for rewrite in rewrites for program in rewrite.programs}
        self._rewrites = rewrites

    def vector(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return what a vector becomes."""
        fitting = [
            (rewrite, captured)
            for rewrite in self._rewrites
            if (captured := _fit(rewrite, argv)) is not None
        ]
        if len(fitting) != 1:
            return argv  # of two rules neither is the right one: `missed` asks
        rewrite, captured = fitting[0]
        after = tuple(word for part in rewrite.argv for word in _filled(part, captured))
        self.made.append(after)
        self.done.append(
            Rewritten(
                shlex.join(argv), shlex.join(after), rewrite.id, rewrite.place, rewrite.reason
            )
        )
        return after

    def tree(self, tree: t.CommandTree) -> t.CommandTree:
        """Return what a tree becomes."""

        def change(node: object) -> object:
            if isinstance(node, t.SimpleCommand):
                node = self._simple(node)
            return rebuilt(node, change)

        return rebuilt(tree, change)

    def _simple(self, command: t.SimpleCommand) -> t.SimpleCommand:
        literals = [word.literal for word in command.words]
        argv = tuple(text for text in literals if text is not None)
        if not argv or len(argv) < len(literals):
            return command
        after = self.vector(argv)
        if after is argv:
            return command
        return replace(command, words=tuple(t.Word((t.Literal(text),)) for text in after))


def _fit(rewrite: Rewrite, argv: Sequence[str]) -> _Captured | None:
    """Return what a rule captures of a vector it means."""
    if not argv:
        return None
    named = (_name(argv[0]), *argv[1:])
    # The longest first, so that `git push` is not `git` with one more word.
    for program in sorted(rewrite.programs, key=len, reverse=True):
        if named[: len(program)] == program:
            return _captured(rewrite.args, named[len(program) :])
    return None


def _captured(patterns: Sequence[str], words: Sequence[str]) -> _Captured | None:
    captured: _Captured = {}
    for at, pattern in enumerate(patterns):
        capture = CAPTURE.fullmatch(pattern)
        if capture is not None and capture[2]:
            return captured | {capture[1]: tuple(words[at:])}
        if at >= len(words) or not _one_fits(pattern, capture, words[at]):
            return None
        if capture is not None:
            captured[capture[1]] = (words[at],)
    return captured if len(words) == len(patterns) else None


def _one_fits(pattern: str, capture: re.Match[str] | None, word: str) -> bool:
    """Return whether one word fits; what is captured alone is an operand, never an option."""
    return not word.startswith("-") if capture is not None else _glob(pattern).has_text(word)


@lru_cache(maxsize=256)
def _glob(pattern: str) -> Globs:
    return Globs((pattern,))


def _filled(part: str, captured: _Captured) -> tuple[str, ...]:
    capture = CAPTURE.fullmatch(part)
    return (part,) if capture is None else captured[capture[1]]


def _name(word: str) -> str:
    """Return the name of a program, without the folder where the system keeps its own."""
    folder, base = posixpath.split(word)
    return base if folder in _SYSTEM else word


def _may_fit(rewrite: Rewrite, vector: Sequence[Argument]) -> bool:
    if all(word.how == "exact" for word in vector):
        return _fit(rewrite, [word.text for word in vector]) is not None
    known = {word.text for word in vector[1:] if word.how == "exact"}
    unsure = {word.text for word in vector[1:] if word.how != "exact"}
    return any(unsure or set(program[1:]) <= known for program in rewrite.programs)


def _exact(vector: Sequence[Argument]) -> tuple[str, ...]:
    return tuple(word.text for word in vector) if all(w.how == "exact" for w in vector) else ()


def _as_walked(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return a vector as the footprint sees it, after what is hardened about it."""
    words = [Argument(word) for word in hardened_argv(argv)]
    return tuple(word.text for word in unhardened(words))


# --- what a rule may say ------------------------------------------------------------------------


def placeholders(parts: Sequence[str]) -> Iterator[str]:
    """Yield the names captured in a list of patterns, in order."""
    return (capture[1] for part in parts if (capture := CAPTURE.fullmatch(part)))
