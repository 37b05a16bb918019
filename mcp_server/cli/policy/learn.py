"""`permitgate policy learn`: the least policy that lets what a log holds run again, and its proof.

May touch: a log, for reading; standard output carries the policy and nothing else, standard error
the proof. The same log gives the same bytes.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from mcp_server.cli.exits import Exit
from mcp_server.cli.policy.history import History, Log, read_history
from policy.explain import shortened, visible
from policy.learn import learn
from policy.proof import Proof, Wish
from policy.replay import Past

LONGEST = 70  # of a command on its line


@dataclass(frozen=True, slots=True)
class Asked:
    """Which log to learn from, and what to make of it."""

    log: Log
    wish: Wish
    proof: Path | None  # where to write the proof as JSON


def learn_policy(asked: Asked, *, as_json: bool) -> int:
    """Print the policy, and the proof beside it; return 1 and no policy if the proof fails."""
    history = read_history(asked.log)
    text, proof = learn(history.actions, asked.wish, list(_header(history, asked)))
    said = {**_as_json(history, proof), "text_sha256": hashlib.sha256(text.encode()).hexdigest()}
    if asked.proof is not None:
        asked.proof.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({**said, "policy": text if proof.holds else None}))
    else:
        for line in _lines(history, proof):
            typer.echo(line, err=True)
        if proof.holds:
            sys.stdout.write(text)
    return Exit.OK if proof.holds else 1


def _header(history: History, asked: Asked) -> Iterator[str]:
    point = history.checkpoint
    ran = [one for one in history.actions if one.ran]
    since = f" since {asked.log.since}" if asked.log.since else ""
    yield f"Learned by `permitgate policy learn` from {point.origin}{since}."
    yield f"Checkpoint: {point.size} records, root {point.root}."
    yield f"{len(ran)} actions ran, {sum(one.approved for one in ran)} of them after a yes."
    yield "Read it before you use it: it allows what was done, not what should be."


def _as_json(history: History, proof: Proof) -> dict[str, object]:
    return {
        "holds": proof.holds,
        "checkpoint": asdict(history.checkpoint),
        "policy_name": proof.policy.names[0],
        "policy_digest": proof.policy.digest,
        "replayed": {
            "allowed": proof.allowed,
            "asked": proof.asked,
            "still_not_allowed": proof.stay,
        },
        "exceptions": [
            {**_past(one.past), "now": one.effect.name.lower(), "why": one.why}
            for one in proof.exceptions
        ],
        "violations": [_past(one) for one in proof.violations],
        "not_replayed": [asdict(one) for one in history.left_out],
    }


def _past(one: Past) -> dict[str, object]:
    return {"seq": one.seq, "tool": one.request.tool, "text": one.text}


def _lines(history: History, proof: Proof) -> Iterator[str]:
    point = history.checkpoint
    yield f"log {point.origin}: {point.size} records, verified, root {point.root}"
    yield f"policy {proof.policy.names[0]}: digest {proof.policy.digest}"
    yield (
        f"replayed: {proof.allowed} ran and would run, {proof.asked} ran and would be asked about, "
        f"{proof.stay} did not run and would not"
    )
    for one in proof.exceptions:
        yield f"stricter than it was: {_said(one.past)}: now {one.effect.name.lower()}, {one.why}"
    for past in proof.violations:
        yield f"would be allowed though it was not: {_said(past)}"
    yield from history.unread()
    yield "PROVEN" if proof.holds else "NOT PROVEN: no policy was written"


def _said(past: Past) -> str:
    return f"record {past.seq}, {shortened(visible(past.text), LONGEST)}"
