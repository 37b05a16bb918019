"""Reading the log: queries over a million records, and the page of ten thousand.

May touch: a log in a directory of its own.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from audit.canonical import Json, encode
from audit.chain import Chain
from audit.directory import CHECKPOINT, segment_name
from audit.index import INDEX, newest
from audit.keys import FileSigner
from audit.note import Checkpoint, pad_note, sign_note
from audit.query import Query
from audit.reading import read
from audit.record import timestamp
from benchmarks.measure import Row, absolute
from mcp_server.cli.log.page import page

ORIGIN = "bench/audit"
RECORDS = 1_000_000
ON_PAGE = 10_000
ASKED = 60  # times
LIMIT = 100  # records of one answer
SUBJECTS = 40
START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(base: Path) -> list[Row]:
    """Return the times of queries, of making the index, and of making the page."""
    log = base / "long"
    _written(log, RECORDS)
    began = time.perf_counter()
    _ask(log, Query(effect="deny"))
    made = time.perf_counter() - began
    queries: dict[str, Callable[[int], Query]] = {
        "time": lambda n: Query(since=_moment(n), until=_moment(n) + timedelta(hours=2)),
        "subject": lambda n: Query(subject=f"agent:{n % SUBJECTS}"),
        "effect": lambda _: Query(effect="deny"),
        "subject, effect and time": lambda n: Query(
            subject=f"agent:{n % SUBJECTS}", effect="deny", since=_moment(n // 2)
        ),
    }
    found = [
        absolute(f"audit query by {name}, {RECORDS} records", _timed(log, query))
        for name, query in queries.items()
    ]
    short = base / "short"
    key = _written(short, ON_PAGE).public_key
    began = time.perf_counter()
    text = page(read(short, [key], Query(), last=ON_PAGE))
    drawn = time.perf_counter() - began
    size = f"{len(text) / (1 << 20):.1f} MiB; the index of the queries: {_mebibytes(log / INDEX)}"
    return [
        *found,
        absolute(f"audit query, first of {RECORDS} records: makes the index", [made]),
        absolute(f"audit timeline --html, {ON_PAGE} records", [drawn], note=size),
    ]


def _timed(log: Path, query: Callable[[int], Query]) -> list[float]:
    samples = []
    for number in range(ASKED):
        asked = query(number * 7919 * 13 % RECORDS)
        began = time.perf_counter()
        _ask(log, asked)
        samples.append(time.perf_counter() - began)
    return samples


def _ask(log: Path, query: Query) -> None:
    found = newest(log, query, limit=LIMIT, homes=[log / INDEX])
    if found.gone_around or not found.records:
        raise RuntimeError(f"not answered by the index: {found.gone_around}")


def _written(log: Path, count: int) -> FileSigner:
    """Return the signer of a log that was made of records as the gate writes them."""
    signer = FileSigner.open(log.with_suffix(".keys") / "audit.pem", name=ORIGIN)
    log.mkdir(mode=0o700)
    chain = Chain()
    with (log / segment_name(0)).open("wb") as file:
        for number in range(count):
            file.write(chain.extend(encode(_record(number))) + b"\n")
    head = Checkpoint(ORIGIN, chain.size, chain.frontier.root())
    (log / CHECKPOINT).write_bytes(pad_note(sign_note(head.text(), signer)))
    return signer


def _record(number: int) -> dict[str, Json]:
    subject = number // 50 % SUBJECTS
    effect = "deny" if number % 199 == 0 else "ask" if number % 20 == 0 else "allow"
    return {
        "event": "exec.outcome" if number % 2 else "exec.intent",
        "action_id": f"{number // 2:016x}",
        "session": f"{number // 400:016x}",
        "actor": {"kind": "agent", "id": f"agent:{subject}", "auth": "stdio"},
        "tool": "exec",
        "policy": {"effect": effect, "rules": [{"id": "read-workspace"}], "digest": "d" * 64},
        "request": {
            "command": f"git log --oneline -n {number} -- src/module_{number % 97}.py",
            "cwd": "/home/dev/project",
            "digest": f"{number:064x}",
        },
        "outcome": {"status": "denied" if effect == "deny" else "ok", "dur_us": number},
        "ts": timestamp(_moment(number)),
        "v": 1,
    }


def _moment(number: int) -> datetime:
    return START + timedelta(seconds=number)


def _mebibytes(path: Path) -> str:
    return f"{path.stat().st_size >> 20} MiB"
