"""Measuring: two things in turns, medians and tails, and the table they end in.

May touch: clocks. INVARIANT: what is compared was measured in the same run, turn by turn, with the
order of the two changing places.
"""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import anyio

P99 = 0.99
MILLI = 1000.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a ratio to a baseline, or a time where there is none."""

    name: str
    p50: float
    p99: float | None
    unit: str  # "x" for a ratio
    against: str
    n: int
    note: str = ""


Samples = Sequence[float]
Work = Callable[[], object]
AsyncWork = Callable[[], Awaitable[object]]


def ratio(name: str, ours: Samples, theirs: Samples, against: str, *, tail: bool = True) -> Row:
    """Return the ratio of the medians, and of the 99th percentiles where a tail makes sense."""
    p50 = statistics.median(ours) / statistics.median(theirs)
    p99 = percentile(ours, P99) / percentile(theirs, P99) if tail else None
    note = f"{_shown(statistics.median(ours))} against {_shown(statistics.median(theirs))}"
    return Row(name, p50, p99, "x", against, len(ours), note)


def speed(name: str, ours: Samples, theirs: Samples, against: str) -> Row:
    """Return the ratio of the medians the other way round: above 1, ours is faster."""
    found = ratio(name, ours, theirs, against, tail=False)
    return replace(found, p50=1 / found.p50)


def absolute(name: str, samples: Samples, *, note: str = "") -> Row:
    """Return a time in milliseconds, where there is nothing to compare it with."""
    p50, p99 = statistics.median(samples), percentile(samples, P99)
    return Row(name, p50 * MILLI, p99 * MILLI, "ms", "nothing: absolute", len(samples), note)


def rate(name: str, answers: Sequence[object], wanted: object, source: str) -> Row:
    """Return how many answers of all are the wanted one, in per cent."""
    count = sum(answer is wanted for answer in answers)
    share = 100 * count / max(len(answers), 1)
    return Row(name, share, None, "%", source, len(answers), f"{count} of {len(answers)}")


def percentile(samples: Samples, part: float) -> float:
    """Return the sample below which this part of all lies."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def in_turns(ours: Work, theirs: Work, rounds: int, warm_up: int = 2) -> tuple[Samples, Samples]:
    """Return the seconds of both, measured in turns."""
    samples: tuple[list[float], list[float]] = ([], [])
    for number in range(-warm_up, rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            began = time.perf_counter()
            (ours, theirs)[which]()
            if number >= 0:
                samples[which].append(time.perf_counter() - began)
    return samples


async def in_turns_async(
    works: Sequence[AsyncWork], rounds: int, warm_up: int = 2, pause_s: float = 0.0
) -> tuple[Samples, ...]:
    """Return the seconds of each, measured in turns, `pause_s` after the one before."""
    samples: tuple[list[float], ...] = tuple([] for _ in works)
    for number in range(-warm_up, rounds):
        order = range(len(works)) if number % 2 else reversed(range(len(works)))
        for which in order:
            if pause_s:
                await anyio.sleep(pause_s)
            began = time.perf_counter()
            await works[which]()
            if number >= 0:
                samples[which].append(time.perf_counter() - began)
    return samples


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text."""
    head = ("subject", "p50", "p99", "against", "n", "medians")
    cells = [
        (
            row.name,
            f"{row.p50:.3g} {row.unit}",
            "" if row.p99 is None else f"{row.p99:.3g} {row.unit}",
            row.against,
            str(row.n),
            row.note,
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *cells)
    ]
    return "\n".join(lines)


def _shown(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
