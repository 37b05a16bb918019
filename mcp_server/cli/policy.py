"""`permitgate policy check`: load one file as the server would, and run its examples.

May touch: the file and standard output.
"""

import json

import typer

from mcp_server.policies import source
from policy.load import load


def check(file: str, *, as_json: bool) -> None:
    """Print what a policy file holds, or raise its first error with its place."""
    policy = load([source(file)])
    examples = sum(len(rule.examples) for rule in policy.rules)
    if as_json:
        found = {
            "name": policy.names[0],
            "digest": policy.digest,
            "rules": len(policy.rules),
            "examples": examples,
        }
        typer.echo(json.dumps(found))
        return
    typer.echo(f"{policy.names[0]}: {len(policy.rules)} rules, {examples} examples hold.")
    typer.echo(f"default: {policy.default.name.lower()}")
    typer.echo(f"digest: {policy.digest}")
    for rule in policy.rules:
        if rule.effect.name == "DENY" and not rule.is_unconditional:
            typer.echo(f"{rule.place}: {rule.id}: holds by name only; no mask can enforce it")
