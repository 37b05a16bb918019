"""Text to decision: classify and the reader against bashlex, and hostile text by the clock.

May touch: the processor.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import bashlex  # type: ignore[import-untyped]  # it has no types
import bashlex.errors  # type: ignore[import-untyped]  # it has no types

from benchmarks.commands import COMMANDS, HOSTILE
from benchmarks.measure import Row, Samples, absolute, ratio
from policy.classify import classify
from policy.load import load, pack
from policy.model import Context, Exec, Request, Subject
from policy.shell.reader import read

REPEATS = 9
CONTEXT = Context("/home/dev/project", "/home/dev", "dev", "host")
SUBJECT = Subject("agent:bench", "s", 1000, "stdio")


def rows(_: Path) -> list[Row]:
    """Return classify ÷ bashlex, reader ÷ bashlex, and the worst of the hostile texts."""
    policy = load([pack("dev-safe")], check_examples=False)

    def decide(text: str) -> object:
        action = Exec(text, None, CONTEXT.workspace)
        return classify(Request(SUBJECT, action, "exec"), policy, CONTEXT)

    commands = [command for command in COMMANDS if _bashlex_reads(command)]
    left_out = f"{len(COMMANDS) - len(commands)} that bashlex cannot read are left out"
    whole, baseline = _each(commands, decide, bashlex.parse)
    alone, baseline_2 = _each(commands, read, bashlex.parse)
    worst = [(_cpu_s(decide, text), name) for name, text in HOSTILE.items()]
    return [
        ratio("text to decision, dev-safe, warm", whole, baseline, f"bashlex.parse ({left_out})"),
        ratio("the reader alone", alone, baseline_2, "bashlex.parse"),
        absolute(
            "hostile 16 KiB to a decision, CPU",
            [seconds for seconds, _ in worst],
            note=f"the worst is {max(worst)[1]}",
        ),
    ]


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


def _cpu_s(decide: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    decide(text)
    return time.process_time() - began
