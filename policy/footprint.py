"""An action's footprint: every operation on every resource it may touch, and what would run.

May touch: actions, trees, program specs. May not touch: rules. Total: every action has a
footprint; what is not understood is in it as `opaque`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import policy.shell.tree as t
from policy.aftermath import (
    commands_in,
    followed,
    fresh_code,
    has_unread_code,
    is_doubtful,
    meant,
    named_options,
)
from policy.hardening import hardened, hardened_argv
from policy.model import (
    Access,
    Action,
    AuditRead,
    Commit,
    Context,
    Exec,
    Executable,
    Patch,
    Read,
    Ssh,
    Undo,
)
from policy.programs.environment import command_in, leads_outside, poison
from policy.programs.index import packaged
from policy.programs.words import Argument, Place, Stdin
from policy.shell.builtins import BUILTINS
from policy.shell.reader import read
from policy.shell.render import render
from policy.supposing import supposed
from policy.surroundings import Setting, SpentError
from policy.traversal import Traversal

_MOST_UNREAD = 4096  # characters without a tree that are searched for paths
_NOTHING_RUNS = Executable()
Words = Mapping[str, Sequence[Sequence[Argument]]]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What an action may touch, and what would run if that is allowed."""

    accesses: tuple[Access, ...]
    executable: Executable = field(default_factory=Executable)
    opaque: str | None = None  # why the text was not understood, with the byte
    programs: tuple[str, ...] = ()  # every program that may start, as named
    words: Words = field(default_factory=dict)  # the argument vectors of each, by its last name


def footprint(action: Action, context: Context) -> Footprint:
    """Return what the action may touch and what would run. Never raises."""
    match action:
        case Exec(cwd=cwd):
            extra = [one for pair in action.env for one in _given(*pair, Place(cwd, context))]
            if action.wants_write:
                extra.append(Access("fs.write", context.workspace))
            extra += [Access("net.connect", resource) for resource in action.network]
            return _commanded(action, extra, context)
        case Ssh(command=command, argv=argv):
            extra = [Access("remote.exec", host) for host in action.hosts]
            if action.sudo:
                extra.append(Access("privilege.escalate", "sudo"))
            return _commanded(Exec(command, argv, context.home), extra, context)
        case Patch(changes=changes) | Undo(changes=changes) | Commit(changes=changes):
            return Footprint(tuple(Access(operation, path) for operation, path in changes))
        case Read(operation=operation, path=path):
            return Footprint((Access(operation, path),))
        case AuditRead():
            return Footprint((Access("sys.inspect", "<own audit records>"),))
        case _:
            assert_never(action)


def _given(name: str, value: str, place: Place) -> Sequence[Access]:
    """Return what a variable means that the caller asks for."""
    found = [*poison(name, value)]
    if leads_outside(name, value, place.context.workspace):
        found.append(Access("env.poison", name))
    walk = Traversal(packaged(), place.context)
    command = command_in(value, walk.knows) if found else ""
    try:
        return [*found, *walk.text(Argument.of(command), place, Stdin())] if command else found
    except SpentError:
        return [*found, Access("opaque", f"{name} holds more than can be followed", "dynamic")]


def _commanded(line: Exec, extra: Sequence[Access], context: Context) -> Footprint:
    if line.argv is not None:
        return _vector(line.argv, line.cwd, extra, context)
    text = line.command or ""
    tree = read(text)
    walk = Traversal(packaged(), context)
    setting = Setting((Place(line.cwd, context),))
    executable, reason = _NOTHING_RUNS, None
    try:
        if isinstance(tree, t.Opaque):
            reason = f"{tree.reason} at byte {tree.byte}"
            walk.opaque(text, tree, setting)
        else:
            tree = hardened(tree, text, walk.programs)
            executable = _executable(tree)
            walk.tree(tree, text, setting)
            if walk.missed:
                walk.found += supposed(walk, tree, text, setting)
    except SpentError:
        return _spent(walk, extra)
    return _footprint(walk, extra, executable, reason)


def _vector(
    argv: tuple[str, ...], cwd: str, extra: Sequence[Access], context: Context
) -> Footprint:
    if not argv or any("\0" in word for word in argv):
        reason = "an argument vector that no program can be started with"
        return Footprint((Access("opaque", reason), *extra), opaque=reason)
    walk, argv = Traversal(packaged(), context), hardened_argv(argv)
    words = [Argument(word) for word in argv]
    walk.trees.append(t.Sequence((_command(argv),)))
    try:
        walk.found += walk.argv(words, Place(cwd, context), Setting(()).stdin)
    except SpentError:
        return _spent(walk, extra)
    return _footprint(walk, extra, Executable(argv=argv), None)


def _command(argv: tuple[str, ...]) -> t.SimpleCommand:
    return t.SimpleCommand(words=tuple(t.Word((t.Literal(word),)) for word in argv))


def _spent(walk: Traversal, extra: Sequence[Access]) -> Footprint:
    reason = "the work budget is spent: the command is too long to follow; split it"
    walk.found.append(Access("opaque", reason, "dynamic"))
    return _footprint(walk, extra, Executable(), reason)


def _footprint(
    walk: Traversal, extra: Sequence[Access], executable: Executable, reason: str | None
) -> Footprint:
    found = [*extra, *walk.found] if extra else walk.found
    if len(walk.steps) > 1:
        found = found + fresh_code(walk.steps, walk.context.workspace)
    if walk.links:
        found = found + followed(walk.found, walk.links)
    if named := named_options(found):
        found = found + named
    if is_doubtful(walk.found):
        place = Place(walk.context.workspace, walk.context)
        text = walk.unread[:_MOST_UNREAD]
        found = found + meant(walk.found, walk.trees, place, text) + _suspected(walk, place)
    accesses = tuple(dict.fromkeys(found)) if len(found) > 1 else tuple(found)
    return Footprint(accesses, executable, reason, tuple(walk.names), walk.words)


def _suspected(walk: Traversal, place: Place) -> list[Access]:
    """Return what commands in unread text would touch: a possibility, where a human is asked."""
    if not has_unread_code(walk.found):
        return []
    names, words = dict(walk.names), dict(walk.words)
    found = [one for argv in commands_in(walk.trees) for one in walk.guess(argv, place)]
    walk.names, walk.words = names, words
    return found


def _executable(tree: t.CommandTree) -> Executable:
    statement = tree.statements[0] if len(tree.statements) == 1 else None
    if isinstance(statement, t.SimpleCommand) and not (
        statement.assignments or statement.redirects
    ):
        literals = [word.literal for word in statement.words]
        argv = tuple(literal for literal in literals if literal is not None)
        if len(argv) == len(literals) and argv[0] not in BUILTINS:
            return Executable(argv=argv)
    return Executable(script=render(tree))
