"""`permitgate classify`: the policy alone, in a fraction of a second; nothing is recorded.

May touch: configuration and policy files, standard input and output. May not touch: typer, rich,
pydantic; without them an answer takes half the time.
"""

import gc
import json
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mcp_server.owner import (
    CallRefusedError,
    Owner,
    checked_roots,
    current_owner,
    standing_in,
)
from mcp_server.places import NOWHERE, find_workspace, is_too_wide, places
from mcp_server.policies import PolicyFiles, quick_load, signers_file
from policy.classify import classify
from policy.explain import LEVELS, visible
from policy.model import Context, Decision, Effect, Exec, Request, Subject
from policy.obligations import described
from policy.rules import Policy

COLOURS = {Effect.ALLOW: 32, Effect.ASK: 33, Effect.DENY: 31}  # of ECMA-48


@dataclass(frozen=True, slots=True)
class Given:
    """The options that choose policy and workspace."""

    policy: tuple[str, ...]
    workspace: Path | None


@dataclass(frozen=True, slots=True)
class Desk:
    """What every classification of one run needs."""

    policy: Policy
    context: Context
    subject: Subject
    cwd: str

    def decide(self, command: str, cwd: str) -> Decision:
        """Return the decision on a command line."""
        return self._decide(Exec(command, None, cwd))

    def decide_words(self, words: tuple[str, ...]) -> Decision:
        """Return the decision on one word, a command line, or on several, an argument vector."""
        if len(words) == 1:
            return self.decide(words[0], self.cwd)
        return self._decide(Exec(None, words, self.cwd))

    def _decide(self, action: Exec) -> Decision:
        return classify(Request(self.subject, action, "exec"), self.policy, self.context)


def classify_one(given: Given, command: tuple[str, ...], *, as_json: bool) -> None:
    """Print the decision on one command."""
    sys.stdout.write(answer_one(given, command, as_json=as_json))


def answer_one(given: Given, command: tuple[str, ...], *, as_json: bool) -> str:
    """Return what is said of one command, for people or as a line of JSON.

    One word after `--` is a command line; several are a program and its arguments.
    """
    gc.disable()  # one answer and out: looking for garbage would be a fifth of the time
    decision = open_desk(given).decide_words(command)
    if as_json:
        return json.dumps(_row(None, decision)) + "\n"
    text = shlex.join(command) if len(command) > 1 else command[0]
    lines = [_headline(decision, visible(text))]
    lines += [f"  {visible(line)}" for line in _said(decision)]
    return "\n".join(lines) + "\n"


def _said(decision: Decision) -> Iterator[str]:
    """Yield why, who must say yes, and what to do instead; `policy explain` shows the rest."""
    stopping = [
        one
        for one in decision.verdicts
        if one.effect is decision.effect and one.effect is not Effect.ALLOW
    ]
    # What is certain says enough; without it, what may be is all there is to say.
    certain = [one for one in stopping if one.certain]
    yield from dict.fromkeys(
        f"{one.rule_id}: {'' if one.certain else 'may be: '}{one.reason or one.access.operation}"
        for one in certain or stopping
    )
    yield from (f"runs instead: {one.after} ({one.rule_id})" for one in decision.rewritten)
    if decision.effect is Effect.ASK:
        obligations = decision.obligations
        level = LEVELS.get(obligations.level, str(obligations.level))
        quorum = f", {obligations.quorum} people" if obligations.quorum > 1 else ""
        within = f", within {obligations.timeout_s} s" if obligations.timeout_s else ""
        yield f"needs a yes of level {level}{quorum}{within}"
    yield from (f"{key}: {text}" for key, text in described(decision.obligations))
    yield from (f"instead: {text}" for text in decision.instead)


def classify_batch(given: Given, batch: Path) -> None:
    """Print one JSON line per input line, in order; a broken line is answered with its error."""
    desk = open_desk(given)
    if str(batch) == "-":
        _answer_all(desk, sys.stdin)
        return
    try:
        with batch.open(encoding="utf-8", errors="surrogateescape") as file:
            _answer_all(desk, file)
    except OSError as error:
        raise CallRefusedError(f"{batch}: cannot be read: {error.strerror}.") from None


def _answer_all(desk: Desk, lines: IO[str]) -> None:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            sys.stdout.write(json.dumps(_answer(desk, number, line)) + "\n")
    sys.stdout.flush()


def _answer(desk: Desk, number: int, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
        identifier, command = row["id"], row["command"]
        cwd = row.get("cwd", desk.cwd)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {"id": None, "error": f"line {number}: needs an object with id and command"}
    if not isinstance(command, str) or not isinstance(cwd, str):
        return {"id": identifier, "error": f"line {number}: command and cwd are strings"}
    return _row(identifier, desk.decide(command, cwd))


def _row(identifier: object, decision: Decision) -> dict[str, object]:
    rules = {
        verdict.rule_id: verdict.place
        for verdict in decision.verdicts
        if verdict.effect is decision.effect
    }
    return {
        "id": identifier,
        "effect": decision.effect.name.lower(),
        "operations": list(decision.operations),
        "rules": [{"id": rule, "place": place} for rule, place in rules.items()],
        "risk": decision.risk,
        "opaque": decision.opaque,
        "reason": decision.reason,
    }


def _headline(decision: Decision, command: str) -> str:
    word = decision.effect.name
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        word = f"\x1b[1;{COLOURS[decision.effect]}m{word}\x1b[0m"
    return f"{word}  risk {decision.risk}  {command}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What classifying needs of the configuration; the defaults are those of config.py."""

    policy: tuple[str, ...] = ("dev-safe",)
    workspace_roots: tuple[Path, ...] = ()
    policy_signers: Path | None = None


def settings(path: Path) -> Settings:
    """Return the settings in a file; where there is none, without what reads one.

    Its models take a fifth of the whole answer to build.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        if not os.environ.get("PERMITGATE_CONFIG"):
            return Settings()
    except OSError:
        pass  # it says what is wrong
    from mcp_server.config import load_config  # noqa: PLC0415

    config = load_config(path)
    return Settings(config.policy, config.workspace_roots, config.policy_signers)


def open_desk(given: Given) -> Desk:
    """Return the policy in force and the place that a command would start from."""
    where, owner = places(), current_owner()
    known = settings(where.config_file)
    workspace, cwd = _workspace(given, known.workspace_roots, owner)
    files = PolicyFiles(
        named=given.policy or known.policy,
        directory=where.policy_directory,
        workspaces=(workspace,),
        signers=signers_file(known.policy_signers),
    )
    context = Context(str(workspace), str(owner.home), owner.user, owner.host)
    subject = Subject("agent:cli", "classify", owner.uid, "cli")
    return Desk(quick_load(files), context, subject, str(cwd))


def _workspace(given: Given, configured: tuple[Path, ...], owner: Owner) -> tuple[Path, Path]:
    """Return the workspace and the directory that relative paths start from.

    Nothing runs here, so a named workspace need not exist, and outside a checkout the current
    directory stands in for one; but never the machine or the whole home.
    """
    if given.workspace is not None and not given.workspace.exists():
        named = Path(os.path.normpath(given.workspace.absolute()))
        return named, named
    chosen = configured if given.workspace is None else (given.workspace,)
    here = Path.cwd()
    found = None if chosen else find_workspace(here, owner.home)
    roots = checked_roots(chosen, owner.home) if found is None else (found,)
    if roots:
        return roots[0], standing_in(roots) or roots[0]
    if is_too_wide(here, owner.home):
        sys.stderr.write(f"permitgate: {here} is no workspace; judged as outside of one\n")
        return NOWHERE, here
    return here, here
