"""The audit log: verifying against reading and hashing, appending against writing and syncing.

May touch: logs and files in a directory of its own.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from audit.canonical import Json, encode
from audit.chain import Chain
from audit.directory import CHECKPOINT, segment_name
from audit.keys import FileSigner
from audit.log import AuditLog
from audit.note import Checkpoint, pad_note, sign_note
from audit.verify import Code, verify
from benchmarks.measure import Row, in_turns, ratio

ORIGIN = "bench/audit"
RECORDS = 40_000
VERIFIED = 7  # times
APPENDED = 300
THREADS = 64
EACH = 25


def rows(base: Path) -> list[Row]:
    """Return the cost of verifying and of appending."""
    return [_verifying(base / "long"), *_appending(base)]


def _record(number: int) -> dict[str, Json]:
    """Return a record as the gate writes them, about 700 bytes."""
    return {
        "event": "exec.outcome" if number % 2 else "exec.intent",
        "action_id": f"{number // 2:016x}",
        "session": "0123456789abcdef",
        "actor": {"kind": "agent", "id": "agent:claude-code", "auth": "stdio"},
        "tool": "exec",
        "policy": {"effect": "allow", "rules": ["dev-safe:read-workspace"], "digest": "d" * 64},
        "request": {
            "command": f"git log --oneline -n {number} -- src/module_{number % 97}.py",
            "cwd": "/home/dev/project",
            "digest": f"{number:064x}",
            "profile": "read",
        },
        "ts": "2026-01-02T03:04:05.678901Z",
        "v": 1,
    }


def _signer(base: Path) -> FileSigner:
    return FileSigner.open(base.with_suffix(".keys") / "audit.pem", name=ORIGIN)


def _verifying(directory: Path) -> Row:
    signer = _signer(directory)
    directory.mkdir(mode=0o700)
    chain, segment = Chain(), directory / segment_name(0)
    with segment.open("wb") as file:
        for number in range(RECORDS):
            file.write(chain.extend(encode(_record(number))) + b"\n")
    head = Checkpoint(ORIGIN, chain.size, chain.frontier.root())
    (directory / CHECKPOINT).write_bytes(pad_note(sign_note(head.text(), signer)))

    def ours() -> None:
        report = verify(directory, [signer.public_key])
        if report.code is not Code.VERIFIED:
            raise RuntimeError(f"the log does not verify: {report.findings}")

    samples = in_turns(ours, lambda: _hashed(segment), VERIFIED, warm_up=1)
    size = segment.stat().st_size >> 20
    return ratio(
        f"audit verify, {RECORDS} records, {size} MiB", *samples, "read + SHA-256", tail=False
    )


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _appending(base: Path) -> list[Row]:
    signer = _signer(base / "log")
    log = AuditLog.open(base / "log", signer, origin=ORIGIN, clock=lambda: datetime.now(UTC))
    with (base / "raw").open("wb", buffering=0) as raw:
        line = encode(_record(0)) + b"\n"

        def write() -> None:
            raw.write(line)
            os.fdatasync(raw.fileno())

        alone = in_turns(lambda: log.append(_record(1)), write, APPENDED)

        def all_write() -> None:
            for _ in range(THREADS * EACH // 8):
                write()

        with ThreadPoolExecutor(THREADS) as pool:

            def all_append() -> None:
                list(pool.map(log.append, map(_record, range(THREADS * EACH))))

            together = in_turns(all_append, all_write, 5, warm_up=1)
    log.close()
    per_append = [seconds / (THREADS * EACH) for seconds in together[0]]
    per_write = [seconds / (THREADS * EACH // 8) for seconds in together[1]]
    return [
        ratio("audit append, 1 thread", *alone, "write + fdatasync"),
        ratio(
            f"audit append, {THREADS} threads, each", per_append, per_write, "write + fdatasync",
            tail=False,
        ),
    ]  # fmt: skip
