"""`permitgate policy show`: the text of a pack, or the rules in force here, layer by layer.

May touch: configuration and policy files, standard output.
"""

import json
import sys
from collections.abc import Sequence

import typer

from mcp_server.cli.classify import Given, open_desk
from mcp_server.policies import source
from policy.compare import AnyRule, verb
from policy.rules import Policy, Rule


def show(names: Sequence[str], given: Given, *, as_json: bool) -> None:
    """Print the named texts as they are; without names, the rules that are in force."""
    if names:
        texts = {name: source(name).text for name in names}
        sys.stdout.write(json.dumps(texts) + "\n" if as_json else "\n".join(texts.values()))
        return
    policy = open_desk(given).policy
    if as_json:
        typer.echo(json.dumps(_as_json(policy)))
        return
    for file, rules in _by_file(policy).items():
        typer.echo(f"{file}: {len(rules)} rules")
        for rule in rules:
            typer.echo(f"  {_line(rule)}")
    typer.echo(f"default: {policy.default.name.lower()} ({policy.default_place})")


def _by_file(policy: Policy) -> dict[str, list[AnyRule]]:
    """Return the rules of each file, files and rules in the order read."""
    found: dict[str, list[AnyRule]] = {}
    rules: list[AnyRule] = [*policy.rules, *policy.rewrites]
    for rule in rules:
        found.setdefault(rule.place.rsplit(":", 2)[0], []).append(rule)
    return found


def _line(rule: AnyRule) -> str:
    if not isinstance(rule, Rule):
        return f"rewrite  {rule.id}: {', '.join(' '.join(words) for words in rule.programs)}"
    word = typer.style(f"{verb(rule):<7}", fg=("green", "yellow", "red")[rule.effect])
    return f"{word}  {rule.id}: {', '.join(sorted(rule.operations))}"


def _as_json(policy: Policy) -> dict[str, object]:
    return {
        "default": policy.default.name.lower(),
        "digest": policy.digest,
        "rules": [
            {
                "file": file,
                "id": rule.id,
                "effect": verb(rule),
                "operations": sorted(rule.operations) if isinstance(rule, Rule) else [],
                "place": rule.place,
                "reason": rule.reason,
            }
            for file, rules in _by_file(policy).items()
            for rule in rules
        ],
    }
