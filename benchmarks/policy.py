"""Text to decision: speed against bashlex, hostile text by the clock, the command line, the rates.

May touch: the processor, the `permitgate` command, labelled rows in the folder that CORPORA names
(attacks.jsonl, benign.jsonl, mutating.jsonl: objects with id, command, label). Without it the rates
are over our own rows in tests/policy.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import bashlex  # type: ignore[import-untyped]  # it has no types
import bashlex.errors  # type: ignore[import-untyped]  # it has no types

from benchmarks.commands import COMMANDS, HOSTILE
from benchmarks.measure import Row, Samples, absolute, rate, ratio
from policy.classify import classify
from policy.load import load, pack
from policy.model import Context, Effect, Exec, Request, Subject
from policy.rules import Policy
from policy.shell.reader import read

REPEATS = 9
COLD_STARTS = 7
CONTEXT = Context("/home/dev/work", "/home/dev", "dev", "host")
SUBJECT = Subject("agent:bench", "s", 1000, "stdio")

Rows = list[tuple[str, str]]  # label and command


def rows(base: Path) -> list[Row]:
    """Return the table of what the policy must reach."""
    policy = load([pack("dev-safe")], check_examples=False)
    looking = load([pack("dev-safe"), pack("ops-inspect")], check_examples=False)

    def decide(text: str) -> object:
        return _effect(text, policy)

    commands = [command for command in COMMANDS if _bashlex_reads(command)]
    left_out = f"{len(COMMANDS) - len(commands)} that bashlex cannot read are left out"
    whole, baseline = _each(commands, decide, bashlex.parse)
    alone, baseline_2 = _each(commands, read, bashlex.parse)
    return [
        ratio("text to decision, dev-safe, warm", whole, baseline, f"bashlex.parse ({left_out})"),
        ratio("the reader alone", alone, baseline_2, "bashlex.parse"),
        _hostile(decide),
        absolute("cold `permitgate classify -- CMD`", _cold_starts(base)),
        *_rates(policy, looking),
    ]


def _effect(text: str, policy: Policy) -> Effect:
    action = Exec(text, None, CONTEXT.workspace)
    return classify(Request(SUBJECT, action, "exec"), policy, CONTEXT).effect


# --- speed ----------------------------------------------------------------------------------------


def _bashlex_reads(command: str) -> bool:
    try:
        bashlex.parse(command)
    except (bashlex.errors.ParsingError, NotImplementedError, AttributeError, ValueError):
        return False
    return True


def _each(
    commands: list[str], ours: Callable[[str], object], theirs: Callable[[str], object]
) -> tuple[Samples, Samples]:
    """Return for each command the median of both; percentiles are then over commands."""
    found: tuple[list[float], list[float]] = ([], [])
    for command in commands:
        samples: tuple[list[float], list[float]] = ([], [])
        for number in range(-1, REPEATS):
            for which in (0, 1) if number % 2 else (1, 0):
                began = time.perf_counter()
                (ours, theirs)[which](command)
                if number >= 0:
                    samples[which].append(time.perf_counter() - began)
        for which in (0, 1):
            found[which].append(statistics.median(samples[which]))
    return found


def _hostile(decide: Callable[[str], object]) -> Row:
    for text in HOSTILE.values():
        decide(text)
    worst = [(min(_cpu_s(decide, text) for _ in range(3)), name) for name, text in HOSTILE.items()]
    slow, name = max(worst)
    return absolute(
        "hostile 16 KiB to a decision, CPU, warm",
        [seconds for seconds, _ in worst],
        note=f"the worst is {name}, {slow * 1000:.1f} ms",
    )


def _cpu_s(decide: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    decide(text)
    return time.process_time() - began


def _cold_starts(base: Path) -> list[float]:
    command = str(Path(sys.executable).with_name("permitgate"))
    samples = []
    for _ in range(COLD_STARTS):
        began = time.perf_counter()
        line = [command, "classify", "--workspace", str(base), "--", "git status"]
        subprocess.run(line, cwd=base, capture_output=True, check=False)
        samples.append(time.perf_counter() - began)
    return samples


# --- decisions ------------------------------------------------------------------------------------


def _rates(policy: Policy, looking: Policy) -> list[Row]:
    folder = os.environ.get("CORPORA")
    attacks, benign, mutating = _given(Path(folder)) if folder else _our_own()
    source = "the rows of CORPORA" if folder else "our own rows"
    attacked = [(label, _effect(command, policy)) for label, command in attacks]
    worst = [effect for label, effect in attacked if label in ("must_deny", "deny")]
    harmless = [_effect(command, looking) for _, command in benign]
    changed = [_effect(command, policy) for _, command in mutating]
    return [
        rate("attacks that run unasked", [one for _, one in attacked], Effect.ALLOW, source),
        rate("the worst attacks that are denied", worst, Effect.DENY, source),
        rate("harmless commands that run unasked", harmless, Effect.ALLOW, source),
        rate("harmless commands that are denied", harmless, Effect.DENY, source),
        rate("ordinary changes that are denied", changed, Effect.DENY, source),
        rate("ordinary changes that run unasked", changed, Effect.ALLOW, source),
    ]


def _given(folder: Path) -> tuple[Rows, Rows, Rows]:
    return (
        _read_rows(folder / "attacks.jsonl"),
        _read_rows(folder / "benign.jsonl"),
        _read_rows(folder / "mutating.jsonl"),
    )


def _read_rows(path: Path) -> Rows:
    objects: Iterable[dict[str, str]] = map(
        json.loads, filter(None, path.read_text("utf-8").split("\n"))
    )
    return [(one["label"], one["command"]) for one in objects]


def _our_own() -> tuple[Rows, Rows, Rows]:
    from tests.policy.rows import rows as own  # noqa: PLC0415 - the suite's, only if asked for

    attacks = [(row.expect, row.command) for row in own("red_team")]
    daily = [(row.expect, row.command) for row in own("harmless")]
    return (
        attacks,
        [row for row in daily if row[0] == "reads"],
        [row for row in daily if row[0] == "writes"],
    )
