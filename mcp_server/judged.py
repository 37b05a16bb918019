"""What policy says of what a command did: the rules that deny or ask for a changed path.

May touch: the live policy. The command itself was decided before it ran; this is about names that
its words did not show. An ask that a person already answered, for the whole command, is not asked
again; a deny always stands.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from mcp_server.caller import Caller
from mcp_server.live_policy import LivePolicy
from policy.decide import DEFAULT, decide
from policy.mentioned import mentioned
from policy.model import Access, Effect, Verdict
from sandbox.changes.model import Reason

MOST_NAMED = 1_000  # beyond, a person looks at the whole
PROGRAM = "a program it ran"


class Judged:
    """Holds change sets against the policy in force; the sandbox calls it before a commit."""

    def __init__(self, live: LivePolicy, caller: Caller) -> None:
        self._live, self._caller = live, caller

    def __call__(
        self, workspace: str, changes: Sequence[tuple[str, str]], was_asked: bool
    ) -> list[Reason]:
        """Return a reason for each rule that stands against some of the changes."""
        policy, context = self._live.in_force, self._caller.context(Path(workspace))
        named = list(islice(mentioned(changes, policy, context), MOST_NAMED + 1))
        if len(named) > MOST_NAMED:
            text = f"rules have a word on more than {MOST_NAMED} of the changed names"
            return [Reason("policy", text)]
        accesses = [Access(operation, path, program=PROGRAM) for operation, path in named]
        found: dict[str, list[str]] = {}
        for verdict in decide(accesses, policy, context).verdicts if accesses else ():
            if _stands(verdict, was_asked=was_asked):
                path = verdict.access.resource.removeprefix(f"{workspace}/")
                found.setdefault(_said(verdict), []).append(path)
        return [Reason("policy", text, tuple(paths)) for text, paths in found.items()]


def _stands(verdict: Verdict, *, was_asked: bool) -> bool:
    if verdict.effect is Effect.ASK:
        return not was_asked and verdict.rule_id != DEFAULT
    return verdict.effect is Effect.DENY


def _said(verdict: Verdict) -> str:
    word = "denies" if verdict.effect is Effect.DENY else "asks for"
    why = f": {verdict.reason}" if verdict.reason else ""
    return f"rule {verdict.rule_id} at {verdict.place} {word} {verdict.access.operation}{why}"
