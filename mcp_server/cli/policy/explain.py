"""`permitgate policy explain`: everything the policy thinks of one command, and what would run.

May touch: configuration and policy files, standard output. Runs nothing, records nothing.
"""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import typer

from mcp_server.cli.classify import Desk, Given, open_desk
from mcp_server.duties import unmet_by_profile
from policy.decide import readable_roots
from policy.explain import LEVELS, as_data
from policy.model import Decision, Effect
from sandbox.profile import NoProfile, Profile, Touch, derive

OWNER = 2  # the level that leaving the sandbox needs


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision with what the hall adds: the command as asked, and how it would be confined."""

    command: str
    cwd: str
    workspace: str
    home: str
    decision: Decision
    profile: Profile | NoProfile

    @property
    def level(self) -> int:
        """Return the least level of a yes, 0 where none is needed."""
        if self.decision.effect is Effect.DENY or isinstance(self.profile, NoProfile):
            return 0
        unconfined = self.profile.name == "unconfined"
        if self.decision.effect is not Effect.ASK and not unconfined:
            return 0
        return max(self.decision.obligations.level, OWNER if unconfined else 0)


def explain_one(given: Given, command: tuple[str, ...], *, as_json: bool) -> None:
    """Print the tree of one command's decision, or all of it as one JSON object."""
    found = explained(open_desk(given), command)
    if as_json:
        typer.echo(json.dumps(as_json_value(found)))
        return
    from mcp_server.cli.policy.picture import show  # noqa: PLC0415  # rich is for people only

    show(found)


def explained(desk: Desk, command: tuple[str, ...]) -> Explained:
    """Return the decision on a command line (one word) or a vector, and its confinement."""
    decision = desk.decide_words(command)
    context = desk.context
    profile = derive(
        [Touch(one.operation, one.resource, one.how) for one in decision.accesses],
        workspace=context.workspace,
        read_roots=readable_roots(desk.policy, context),
    )
    if isinstance(profile, Profile):
        unmet = next(unmet_by_profile(profile.name, decision.obligations), None)
        profile = profile if unmet is None else NoProfile(unmet)
    text = command[0] if len(command) == 1 else shlex.join(command)
    return Explained(text, desk.cwd, context.workspace, context.home, decision, profile)


def as_json_value(found: Explained) -> dict[str, object]:
    """Return all of it as JSON values."""
    return {
        "command": found.command,
        "cwd": found.cwd,
        "workspace": found.workspace,
        **as_data(found.decision),
        "approval_level": LEVELS.get(found.level),
        "profile": dict(_profile(found.profile)),
    }


def _profile(profile: Profile | NoProfile) -> Iterator[tuple[str, object]]:
    if isinstance(profile, NoProfile):
        yield from (("name", None), ("blocked", profile.reason))
        return
    yield "name", profile.name
    for key in ("read_roots", "write_paths", "list_paths", "hidden"):
        yield key, list(getattr(profile, key))
