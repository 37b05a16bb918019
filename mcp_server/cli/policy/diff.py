"""`permitgate policy diff`: what changes between two policies, by rule and by what a log holds.

May touch: policy files and a log, for reading; standard output. What is replayed is the signed part
of a log that verifies; the log's key says so, not the log.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import typer

from mcp_server.cli.exits import Exit
from mcp_server.cli.policy.history import History, Log, read_history
from mcp_server.policies import source
from policy.compare import AnyRule, Changes, Flip, changes, flips, verb
from policy.explain import shortened, visible
from policy.load import load
from policy.model import Effect
from policy.replay import Replay
from policy.rules import Policy, Rule

LONGEST: Final = 90  # of a command on its line
COLOURS: Final = {Effect.ALLOW: "green", Effect.ASK: "yellow", Effect.DENY: "red"}


@dataclass(frozen=True, slots=True)
class Asked:
    """The two policies, what is in force with both, and the log to try them on."""

    old: str
    new: str
    beside: tuple[str, ...] = ()
    log: Log | None = None


@dataclass(frozen=True, slots=True)
class _Tried:
    """A log decided by both policies; `otherwise` counts what OLD says and the record does not."""

    history: History
    flips: tuple[Flip, ...]
    otherwise: int


def diff(asked: Asked, *, as_json: bool) -> int:
    """Print what changes; return 1 if an action of the log would be stopped less, else 0."""
    old, new = _policy(asked.old, asked.beside), _policy(asked.new, asked.beside)
    by_rule, tried = changes(old, new), None
    if asked.log is not None:
        history = read_history(asked.log)
        replay = Replay(old)
        otherwise = sum(replay.decision(one).effect is not one.effect for one in history.actions)
        tried = _Tried(history, flips(history.actions, old, new), otherwise)
    if as_json:
        typer.echo(json.dumps({**_rules_json(by_rule), **(_log_json(tried) if tried else {})}))
    else:
        _print_rules(by_rule)
        if tried is not None:
            _print_log(tried)
    return 1 if tried is not None and any(one.is_looser for one in tried.flips) else Exit.OK


def _policy(name: str, beside: Sequence[str]) -> Policy:
    return load([source(name), *map(source, beside)])


# --- by rule --------------------------------------------------------------------------------------


def _print_rules(found: Changes) -> None:
    if found.default is not None:
        old, new = found.default
        typer.echo(f"default: {old.name.lower()} -> {new.name.lower()}")
    for mark, rules in (("+", found.added), ("-", found.removed)):
        for rule in rules:
            typer.echo(f"{mark} {_rule(rule)}  {rule.place}")
    for one in found.changed:
        typer.echo(f"~ {_rule(one.new)}  {', '.join(one.fields)}  {one.new.place}")
    if not (found.default or found.added or found.removed or found.changed):
        typer.echo("The rules are the same.")


def _rule(rule: AnyRule) -> str:
    if not isinstance(rule, Rule):
        return f"{rule.id}: rewrite {', '.join(' '.join(words) for words in rule.programs)}"
    word = typer.style(verb(rule), fg=COLOURS[rule.effect])
    return f"{rule.id}: {word} {', '.join(sorted(rule.operations))}"


# --- by what happened -----------------------------------------------------------------------------


def _print_log(tried: _Tried) -> None:
    history, flipped = tried.history, tried.flips
    point = history.checkpoint
    typer.echo(f"\nlog {point.origin}: {point.size} records, verified, root {point.root[:16]}")
    for line in (*(line for one in flipped for line in _flip(one)), *history.unread()):
        typer.echo(line)
    if tried.otherwise:
        why = "another policy was in force, or the programs were read otherwise"
        typer.echo(f"{tried.otherwise} were decided otherwise at the time: {why}")
    looser = [one for one in flipped if one.is_looser]
    stricter = [one for one in flipped if not one.is_looser]
    same = len(history.actions) - sum(one.count for one in flipped)
    typer.echo(
        f"{_times(looser)} looser, {_times(stricter)} stricter, {same} as before, "
        f"{len(history.left_out)} not replayed"
    )


def _times(found: Sequence[Flip]) -> str:
    return str(sum(one.count for one in found))


def _flip(one: Flip) -> Iterator[str]:
    word = "LOOSER  " if one.is_looser else "STRICTER"
    mark = typer.style(word, fg="red" if one.is_looser else "cyan", bold=True)
    old, new = (typer.style(each.name.lower(), fg=COLOURS[each]) for each in (one.old, one.new))
    text = shortened(visible(one.text), LONGEST)
    yield f"{mark} {old} -> {new}  {one.count}x  {one.tool}: {text}"
    when = one.first.time if one.count == 1 else f"{one.first.time} to {one.last.time}"
    records = str(one.first.seq) if one.count == 1 else f"{one.first.seq} to {one.last.seq}"
    yield f"         record {records}, {when}"
    yield f"         was {_rules(one.old_rules)}; now {_rules(one.new_rules)}"


def _rules(found: Mapping[str, str]) -> str:
    named = [f"{name} ({place})" if place else name for name, place in found.items()]
    return ", ".join(named) or "nothing touched"


# --- for programs ---------------------------------------------------------------------------------


def _rules_json(by_rule: Changes) -> dict[str, object]:
    return {
        "default": by_rule.default and [one.name.lower() for one in by_rule.default],
        "added": [_rule_json(rule) for rule in by_rule.added],
        "removed": [_rule_json(rule) for rule in by_rule.removed],
        "changed": [{**_rule_json(one.new), "fields": list(one.fields)} for one in by_rule.changed],
    }


def _log_json(tried: _Tried) -> dict[str, object]:
    return {
        "checkpoint": asdict(tried.history.checkpoint),
        "replayed": len(tried.history.actions),
        "decided_otherwise_then": tried.otherwise,
        "flips": [_flip_json(one) for one in tried.flips],
        "not_replayed": [asdict(one) for one in tried.history.left_out],
    }


def _rule_json(rule: AnyRule) -> dict[str, object]:
    return {"id": rule.id, "effect": verb(rule), "place": rule.place}


def _flip_json(one: Flip) -> dict[str, object]:
    return {
        "text": one.text,
        "tool": one.tool,
        "old": one.old.name.lower(),
        "new": one.new.name.lower(),
        "looser": one.is_looser,
        "old_rules": dict(one.old_rules),
        "new_rules": dict(one.new_rules),
        "count": one.count,
        "first": {"seq": one.first.seq, "time": one.first.time},
        "last": {"seq": one.last.seq, "time": one.last.time},
    }
