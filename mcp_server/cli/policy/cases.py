"""`permitgate policy test`: try files of commands against the policies they name.

May touch: the files, the policies beside them, standard output. Only the named policies count, so
a file says the same on every machine.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import typer

from mcp_server.cli.exits import Exit
from mcp_server.policies import is_pack, source
from policy.cases import Outcome, Suite, read_cases, run_case
from policy.document import PolicyError
from policy.explain import as_data, as_text, explain, visible
from policy.load import load
from policy.model import Effect
from policy.rules import Policy

COLOURS = {Effect.ALLOW: "green", Effect.ASK: "yellow", Effect.DENY: "red"}


def run_files(files: Sequence[Path], *, as_json: bool) -> int:
    """Print what came out of every case of every file; return 1 if one is not as expected."""
    results = [(file, *_run(file)) for file in files]
    if as_json:
        typer.echo(json.dumps([_as_json(file, outcomes) for file, _, outcomes in results]))
    else:
        for file, policy, outcomes in results:
            _print(file, policy, outcomes)
    return 1 if any(one.wrong for _, _, outcomes in results for one in outcomes) else Exit.OK


def _run(file: Path) -> tuple[Policy, list[Outcome]]:
    try:
        suite = read_cases(str(file), file.read_text(encoding="utf-8"))
    except OSError as error:
        what = f"{file}:1:1: cannot be read: {error.strerror}; check the path"
        raise PolicyError(what) from None
    except UnicodeDecodeError:
        raise PolicyError(f"{file}:1:1: is not UTF-8 text; save it as UTF-8") from None
    policy = _policy(suite, file.parent)
    return policy, [run_case(case, policy, suite.context) for case in suite.cases]


def _policy(suite: Suite, beside: Path) -> Policy:
    names = (
        name if is_pack(name) else os.path.normpath(beside / Path(name).expanduser())
        for name in suite.policies
    )
    return load([source(name) for name in names])


def _as_json(file: Path, outcomes: Sequence[Outcome]) -> dict[str, object]:
    return {
        "file": str(file),
        "tests": [
            {
                "place": one.case.place,
                "command": one.case.command,
                "argv": None if one.case.argv is None else list(one.case.argv),
                "why": one.case.why,
                "expect": one.case.expect.name.lower(),
                "ok": not one.wrong,
                "wrong": one.wrong,
                "decision": as_data(one.decision),
            }
            for one in outcomes
        ],
    }


def _print(file: Path, policy: Policy, outcomes: Sequence[Outcome]) -> None:
    typer.echo(f"{file}: {len(outcomes)} tests of {', '.join(policy.names)}")
    for one in outcomes:
        effect = one.decision.effect
        word = typer.style(f"{effect.name.lower():<5}", fg=COLOURS[effect])
        verdict = typer.style("FAIL", fg="red", bold=True) if one.wrong else "ok  "
        text = one.case.command or " ".join(one.case.argv or ())
        why = f"  # {one.case.why}" if one.case.why else ""
        typer.echo(f"  {verdict} {word} {visible(text + why)}")
        if one.wrong:
            typer.echo(f"       {one.case.place}: {one.wrong}")
            typer.echo(as_text(explain(one.decision), "       "))
    failed = sum(bool(one.wrong) for one in outcomes)
    typer.echo(f"{len(outcomes) - failed} as expected, {failed} not")
