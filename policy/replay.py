"""Past actions decided again: what a policy says today of what was asked for then.

May touch: requests, contexts, policies. May not touch: logs (the hall reads them), files, clocks.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from policy.classify import classify
from policy.model import (
    Action,
    AuditRead,
    Commit,
    Context,
    Decision,
    Effect,
    Exec,
    Patch,
    Read,
    Request,
    Ssh,
    Undo,
)
from policy.rules import Policy


@dataclass(frozen=True, slots=True)
class Past:
    """One action of a log: who asked for what and where, what was decided, and whether it ran."""

    seq: int
    time: str
    request: Request
    context: Context
    effect: Effect
    ran: bool
    approved: bool = False  # a human said yes to it
    status: str = ""  # of one that did not run: denied, declined, pending, blocked, error

    @property
    def was_refused(self) -> bool:
        """Return whether policy or a human said no, rather than nobody yes."""
        return not self.ran and (self.effect is Effect.DENY or self.status == "declined")

    @property
    def what(self) -> tuple[Action, str, Context]:
        """Return what two askings for the same thing have in common."""
        return self.request.action, self.request.tool, self.context

    @property
    def text(self) -> str:
        """Return what was asked for, as a person would write it."""
        return described(self.request.action)


def described(action: Action) -> str:
    """Return an action on one line."""
    match action:
        case Exec(command=command, argv=argv):
            return _line(command, argv)
        case Ssh(hosts=hosts, command=command, argv=argv, sudo=sudo):
            return f"ssh {','.join(hosts)}: {'sudo ' if sudo else ''}{_line(command, argv)}"
        case Patch(changes=changes) | Undo(changes=changes) | Commit(changes=changes):
            more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
            return f"{' '.join(changes[0])}{more}" if changes else "nothing"
        case Read(operation=operation, path=path):
            return f"{operation} {path}"
        case AuditRead(query=query):
            return f"audit {query}"
        case other:
            assert_never(other)


def _line(command: str | None, argv: tuple[str, ...] | None) -> str:
    return command if command is not None else shlex.join(argv or ())


class Replay:
    """One policy asked about many past actions; what was asked alike is decided once."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._known: dict[tuple[Action, str, str, Context], Decision] = {}

    def decision(self, past: Past) -> Decision:
        """Return what the policy says of a past action; never raises."""
        request = past.request
        who = f"{request.subject.name}@{request.subject.uid}"
        key = (request.action, request.tool, who, past.context)
        if key not in self._known:
            self._known[key] = classify(request, self.policy, past.context)
        return self._known[key]


def deciding(decision: Decision) -> Mapping[str, str]:
    """Return the place of every rule that decided, by its id."""
    return {
        verdict.rule_id: verdict.place
        for verdict in decision.verdicts
        if verdict.effect is decision.effect
    }
