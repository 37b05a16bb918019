"""The audit log: verifying, appending, proving, starting, asking, and the page of ten thousand.

May touch: logs and files in directories of its own; processes that append to them or verify them.
"""

import hashlib
import importlib
import importlib.util
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import anyio

from audit.canonical import Json, encode
from audit.chain import Chain
from audit.directory import CHECKPOINT, segment_name
from audit.index import INDEX, newest
from audit.keys import FileSigner
from audit.log import AuditLog
from audit.marks import Wanted, tally
from audit.note import Checkpoint, open_checkpoint, pad_note, proof_parts, sign_note
from audit.prove import prove
from audit.query import Query
from audit.reading import read
from audit.record import Record, timestamp
from audit.redact import Redactor
from audit.verify import Code, verify
from benchmarks.measure import Row, Samples, absolute, in_turns, speed
from mcp_server.cli.log.page import page
from mcp_server.cli.processors import spread
from mcp_server.journal import Journal

ORIGIN = "bench/audit"
RECORDS = 1_000_000
SEGMENT_RECORDS = 16_000  # about 16 MiB, as the log cuts them
ON_PAGE = 10_000
OF_PEER = 20_000
VERIFIED = 5  # times
APPENDED = 300
TASKS = 64
EACH = 25
PROVEN = 2_000
STARTED = 7
ASKED = 60
LIMIT = 100  # records of one answer
SUBJECTS = 40
START = datetime(2026, 1, 1, tzinfo=UTC)
SYNCED = "write + fdatasync"
REQUEST = "f" * 16  # the mark of what was asked
BUDGET_S = 9.0  # more than counting takes
CONTROLS = (
    "reads", "writes", "workspace", "metadata", "network", "sockets", "processes", "set-id",
    "kernel", "process count", "memory",
)  # fmt: skip


def rows(base: Path) -> list[Row]:
    """Return what evidence costs."""
    log = base / "long"
    signer = _written(log, RECORDS)
    return [
        *_verifying(log, signer),
        *_of_the_peer(base),
        *_appending(base),
        _proving(log, signer),
        _starting(log, signer),
        *_asking(log),
        _drawing(base),
    ]


# The log that all of it reads: records as the gate writes them, about 1 KB each.


def _record(number: int) -> dict[str, Json]:
    effect = "deny" if number // 2 % 199 == 0 else "ask" if number // 2 % 20 == 0 else "allow"
    common: dict[str, Json] = {
        "action_id": f"{number // 2:016x}",
        "session": f"{number // 400:016x}",
        "actor": {
            "auth": "stdio",
            "id": f"agent:{number // 50 % SUBJECTS}",
            "kind": "agent",
            "uid": 1000,
        },
        "tool": "exec",
        "policy": {
            "effect": effect,
            "risk": number % 100,
            "rules": [{"id": "read-ordinary-places", "place": "dev-safe.yaml:13:5"}],
            "digest": "d" * 64,
        },
        "ts": timestamp(_moment(number)),
        "v": 1,
    }
    if number % 2:
        enforcement: Json = {
            "controls": [{"name": name, "seen": "enforced"} for name in CONTROLS],
            "profile": "read",
            "rung": "namespaces",
        }
        output: Json = {"bytes": number, "sha256": f"{number:064x}"}
        outcome: Json = {
            "dur_us": number,
            "enforcement": enforcement,
            "exit": 0,
            "message": "",
            "signal": None,
            "status": "denied" if effect == "deny" else "ok",
            "stderr": output,
            "stdout": output,
        }
        return {"event": "exec.outcome", **common, "outcome": outcome}
    command = f"git log --oneline -n {number} -- src/module_{number % 97}.py"
    request: Json = {
        "argv": ["/usr/bin/git", *command.split()[1:]],
        "command": command,
        "cwd": "/home/dev/project",
        "digest": f"{number:064x}",
        "env_keys": [],
        "profile": "read",
    }
    context: Json = {
        "can_mask": True,
        "home": "/home/dev",
        "host": "workstation",
        "user": "dev",
        "workspace": "/home/dev/project",
    }
    intent: dict[str, Json] = {**common, "request": request, "context": context}
    if effect == "ask":
        intent["approval"] = {"marks": [REQUEST, _mark(number), _mark(number % 7)]}
    return {"event": "exec.intent", **intent}


def _mark(number: int) -> str:
    return f"{number:016x}"


def _moment(number: int) -> datetime:
    return START + timedelta(seconds=number)


def _signer(log: Path) -> FileSigner:
    return FileSigner.open(log.with_suffix(".keys") / "audit.pem", name=ORIGIN)


def _written(log: Path, count: int) -> FileSigner:
    """Return the signer of a new log."""
    signer = _signer(log)
    log.mkdir(mode=0o700)
    chain = Chain()
    for first in range(0, count, SEGMENT_RECORDS):
        place = log / segment_name(first)
        place.touch(mode=0o600)
        with place.open("wb") as file:
            for number in range(first, min(first + SEGMENT_RECORDS, count)):
                file.write(chain.extend(encode(_record(number))) + b"\n")
    head = Checkpoint(ORIGIN, chain.size, chain.frontier.root())
    (log / CHECKPOINT).touch(mode=0o600)
    (log / CHECKPOINT).write_bytes(pad_note(sign_note(head.text(), signer)))
    return signer


# Verifying


def _verifying(log: Path, signer: FileSigner) -> list[Row]:
    segments = sorted(log.glob("seg-*"))
    size = f"{RECORDS} records, {sum(one.stat().st_size for one in segments) >> 20} MiB"

    def ours(processors: bool) -> None:
        report = verify(log, [signer.public_key], spread=spread if processors else None)
        if report.code is not Code.VERIFIED:
            raise RuntimeError(f"the log does not verify: {report.findings}")

    def hashed() -> None:
        for segment in segments:
            _hashed(segment)

    found = [_in_memory(log, signer)]
    for name, processors in (("", True), (", in one process", False)):
        samples = in_turns(lambda: ours(processors), hashed, VERIFIED, warm_up=1)  # noqa: B023
        found.append(speed(f"audit verify{name}: speed, {size}", *samples, "read + SHA-256"))
    return found


def _in_memory(log: Path, signer: FileSigner) -> Row:
    """Return the time of the command itself, and the most memory that one of its processes took."""
    command = [sys.executable, "-m", "mcp_server", "audit", "verify", str(log)]
    began = time.perf_counter()
    subprocess.run([*command, "--key", signer.public_key.vkey], check=True, stdout=subprocess.PIPE)
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    return absolute(f"permitgate audit verify, {RECORDS} records", [took], note=f"{peak} MiB")


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_the_peer(base: Path) -> list[Row]:
    """Return how fast we verify against LinuxAgent, where its package is installed."""
    if importlib.util.find_spec("linuxagent") is None:
        return []
    peer = importlib.import_module("linuxagent.audit")
    file, previous = base / "linuxagent.jsonl", peer.GENESIS_HASH
    with file.open("w", encoding="utf-8") as stream:
        # Its own records and hashes; its own append would read the whole file for each.
        for number in range(OF_PEER):
            record = {**_record(number), "prev_hash": previous}
            previous = record["hash"] = peer._record_hash(record)  # noqa: SLF001
            stream.write(json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n")
    log = base / "as-long"
    key = _written(log, OF_PEER).public_key

    def theirs() -> None:
        if not peer.verify_audit_log(file).valid:
            raise RuntimeError("LinuxAgent's log does not verify")

    samples = in_turns(lambda: verify(log, [key]), theirs, VERIFIED, warm_up=1)
    name = f"audit verify: speed, {OF_PEER} records, one process"
    return [speed(name, *samples, "LinuxAgent's verifier")]


# Appending


def _appending(base: Path) -> list[Row]:
    log = AuditLog.open(base / "log", _signer(base / "log"), origin=ORIGIN, clock=_now)
    with (base / "raw").open("wb", buffering=0) as raw:
        line = encode(_record(0)) + b"\n"

        def write() -> None:
            raw.write(line)
            os.fdatasync(raw.fileno())

        def all_write() -> None:
            for _ in range(TASKS * EACH // 8):
                write()

        alone = in_turns(write, lambda: log.append(_record(1)), APPENDED)
        journal = Journal(log, base / "log", Redactor())
        all_append = partial(
            anyio.run, _all_append, journal, list(map(_record, range(TASKS * EACH)))
        )
        together = in_turns(all_write, all_append, VERIFIED, warm_up=1)
        journal.close()
        writers = _Writers(base / "log")
        two = in_turns(all_write, writers.append, VERIFIED, warm_up=1)
        writers.close()
    writes = TASKS * EACH // 8
    return [
        _per_record("audit append: speed, 1 thread", alone, 1, 1),
        _per_record(f"audit append: speed, {TASKS} tasks", together, writes, TASKS * EACH),
        _per_record("audit append: speed, 2 processes", two, writes, 2 * APPENDED),
    ]


async def _all_append(journal: Journal, records: Sequence[Record]) -> None:
    """Append from many tasks at a time, as the calls of a server do: redacted, then durable."""

    async def append(some: Sequence[Record]) -> None:
        for record in some:
            await journal.append(record)

    async with anyio.create_task_group() as tasks:
        for first in range(0, TASKS * EACH, EACH):
            tasks.start_soon(append, records[first : first + EACH])


def _per_record(name: str, samples: tuple[Samples, Samples], written: int, appended: int) -> Row:
    """Return how many records are appended in the time of one raw write."""
    raw, ours = samples
    each = [one / appended for one in ours]
    return speed(name, each, [one / written for one in raw], SYNCED)


class _Writers:
    """Two processes with the log open, which append at a time when told."""

    def __init__(self, log: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._lines = []
        self._all = []
        for _ in range(2):
            ours, theirs = context.Pipe()
            writer = context.Process(target=_write, args=(log, theirs))
            writer.start()
            self._all.append(writer)
            self._lines.append(ours)
        self._await()

    def append(self) -> None:
        """Append from both, and return when both are done."""
        for line in self._lines:
            line.send(APPENDED)
        self._await()

    def close(self) -> None:
        for line in self._lines:
            line.send(0)
        for writer in self._all:
            writer.join()

    def _await(self) -> None:
        for line in self._lines:
            line.recv()


def _write(path: Path, line: Connection) -> None:
    log = AuditLog.open(path, _signer(path), origin=ORIGIN, clock=_now)
    line.send("open")
    while count := line.recv():
        for _ in range(count):
            log.append(_record(1))
        line.send("done")
    log.close()


def _now() -> datetime:
    return datetime.now(UTC)


# Proving, starting


def _proving(log: Path, signer: FileSigner) -> Row:
    parts = proof_parts(prove(log, RECORDS // 3))
    head = open_checkpoint(parts.note, [signer.public_key])
    samples = []
    for _ in range(PROVEN):
        began = time.perf_counter()
        parts.under(head)
        samples.append(time.perf_counter() - began)
    return absolute(f"inclusion proof of {RECORDS} records, verified", samples)


def _starting(log: Path, signer: FileSigner) -> Row:
    """Return how long a server takes to open a long log that one has opened and closed before."""
    samples = []
    for number in range(-1, STARTED):
        began = time.perf_counter()
        opened = AuditLog.open(log, signer, origin=ORIGIN, clock=_now)
        took = time.perf_counter() - began
        opened.close()
        if number >= 0:
            samples.append(took)
    return absolute(f"audit start, {RECORDS} records", samples)


# Asking, drawing


def _asking(log: Path) -> list[Row]:
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
    found.append(_counting(log))
    size = f"the index: {(log / INDEX).stat().st_size >> 20} MiB"
    name = f"audit query, first of {RECORDS} records: makes the index"
    return [*found, absolute(name, [made], note=size)]


def _timed(log: Path, query: Callable[[int], Query]) -> list[float]:
    samples = []
    for number in range(ASKED):
        asked = query(number * 7919 * 13 % RECORDS)
        began = time.perf_counter()
        _ask(log, asked)
        samples.append(time.perf_counter() - began)
    return samples


def _counting(log: Path) -> Row:
    """Return what it takes to count the requests that three grants would have covered."""
    groups = tuple(frozenset([_mark(number)]) for number in (0, 2, 9))
    wanted, samples, counted = Wanted(_mark(RECORDS), REQUEST, groups), list[float](), None
    for _ in range(ASKED):
        began = time.perf_counter()
        counted = tally(log, log / INDEX, wanted, budget_s=BUDGET_S).requests
        samples.append(time.perf_counter() - began)
    return absolute(f"what grants would cover of {counted} requests, {RECORDS} records", samples)


def _ask(log: Path, query: Query) -> None:
    found = newest(log, query, limit=LIMIT, homes=[log / INDEX])
    if found.gone_around or not found.records:
        raise RuntimeError(f"not answered by the index: {found.gone_around}")


def _drawing(base: Path) -> Row:
    key = _written(base / "short", ON_PAGE).public_key
    began = time.perf_counter()
    text = page(read(base / "short", [key], Query(), last=ON_PAGE))
    drawn = time.perf_counter() - began
    name = f"audit timeline --html, {ON_PAGE} records"
    return absolute(name, [drawn], note=f"{len(text) / (1 << 20):.1f} MiB")
