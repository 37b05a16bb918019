"""From a frozen action to what grants see of it: its keys in each scope, and the scopes it offers.

May touch: values. INVARIANT: a key of `argv-prefix` or `program` is the action digest with other
words in the vector: all else must be the same, from the directory and the profile with its hosts
and writable paths to environment, input, limits, pinned files and policy. Only what is read inside
the workspace may differ.
"""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePath

from approvals.scope import Act, Offer, Reading, Scope
from mcp_server.calls import Frozen
from mcp_server.host_grants import host_keys, is_grantable, shown_hosts
from policy.grantable import asking, is_exact_only, ungrantable
from policy.model import Decision
from sandbox.action import Action, Command, ListDirectory, ReadFile, RemoteCommand, SearchFiles
from sandbox.action import digest as action_digest
from sandbox.profile import is_within

MOST_WORDS = 16  # of a prefix
REPEATABLE = (Command, RemoteCommand, ReadFile, ListDirectory, SearchFiles)


def act_of(decision: Decision, frozen: Frozen) -> Act:
    """Return the action as grants see it; without readings where no grant may stand for a yes."""
    return Act(tuple(_readings(decision, frozen)), asking(decision))


def offers_of(
    decision: Decision, frozen: Frozen, redact: Callable[[str], str]
) -> tuple[Offer, ...]:
    """Return the scopes of which this question's yes can make a grant, narrowest first."""
    if not _may_repeat(decision, frozen):
        return ()
    action, asks = frozen.action, ", ".join(asking(decision))
    found: list[tuple[Scope, tuple[str, ...], tuple[str, ...]]] = [
        (Scope.EXACT, (action_digest(action),), ("exactly this, again",))
    ]
    if isinstance(action, Command) and (words := _words(decision, action)):
        same = (
            f"in {action.cwd}, with the same profile, hosts, environment and input, "
            f"where nothing asks but {asks}"
        )
        prefix = words[:-1]
        if 1 < len(prefix) <= MOST_WORDS:
            text = f"{shlex.join(prefix)} and any further arguments"
            found.append((Scope.ARGV_PREFIX, (_key(action, prefix),), (text, same)))
        if program := _program(decision, words):
            key = _key(action, (words[0], program))
            found.append((Scope.PROGRAM, (key,), (f"{program} with any arguments", same)))
    if is_grantable(decision, frozen):
        text = "any command, for connections to these and nothing else that asks"
        found.append((Scope.HOST, host_keys(decision, frozen), (text, *shown_hosts(frozen))))
    return tuple(Offer(scope, keys, tuple(map(redact, covers))) for scope, keys, covers in found)


def _readings(decision: Decision, frozen: Frozen) -> Iterator[Reading]:
    if not _may_repeat(decision, frozen):
        return
    action = frozen.action
    yield Reading(Scope.EXACT, (action_digest(action),))
    if isinstance(action, Command) and (words := _words(decision, action)):
        for length in range(2, min(len(words), MOST_WORDS) + 1):
            yield Reading(Scope.ARGV_PREFIX, (_key(action, words[:length]),))
        if program := _program(decision, words):
            yield Reading(Scope.PROGRAM, (_key(action, (words[0], program)),))
    if is_grantable(decision, frozen):
        yield Reading(Scope.HOST, host_keys(decision, frozen))


def _words(decision: Decision, command: Command) -> tuple[str, ...]:
    """Return the vector that a wider scope may leave partly open; empty where there is none."""
    return () if command.argv is None or is_exact_only(decision) else command.argv


def _may_repeat(decision: Decision, frozen: Frozen) -> bool:
    return (
        isinstance(frozen.action, REPEATABLE)
        and decision.obligations.quorum == 1
        and not decision.obligations.roles  # a later yes must be by a holder again
        and not ungrantable(decision, needs_more=bool(frozen.needs_yes))
    )


def _key(command: Command, words: tuple[str, ...]) -> str:
    profile = command.profile
    outside = tuple(path for path in profile.reads if not is_within(path, profile.workspace))
    alike: Action = replace(command, argv=words, profile=replace(profile, reads=outside))
    return action_digest(alike)


def _program(decision: Decision, argv: tuple[str, ...]) -> str:
    """Return the one program, with its sub-command, that all of a vector's accesses come from."""
    programs = {one.program for one in decision.accesses}
    program = programs.pop() if len(programs) == 1 else ""
    return program if program.partition(" ")[0] == PurePath(argv[0]).name else ""
