"""What the audit tests share: a log with a clock of its own, and lines to tamper with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from audit.keys import FileSigner
from audit.log import AuditLog

ORIGIN = "host.example/audit"
SEGMENT = "seg-000000000000.jsonl"


@dataclass
class Clock:
    now: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass
class House:
    """One log's directory with its key beside it."""

    root: Path

    @property
    def path(self) -> Path:
        return self.root / "log"

    @property
    def segment(self) -> Path:
        return self.path / SEGMENT

    @property
    def signer(self) -> FileSigner:
        return FileSigner.open(self.root / "keys" / "audit.pem", name=ORIGIN)

    @property
    def keys(self) -> list:
        return [self.signer.public_key]

    @property
    def epochs(self) -> list[Path]:
        return sorted((self.path / "epochs").glob("*.proof"))

    def rotated(self) -> "House":
        """Hand the log over to a new key in the file."""
        log = self.open()
        log.rotate(self.signer.next)
        log.close()
        return self

    def open(self, clock: Callable[[], datetime] | None = None) -> AuditLog:
        return AuditLog.open(self.path, self.signer, origin=ORIGIN, clock=clock or Clock())

    def filled(self, count: int = 20) -> "House":
        log = self.open()
        for number in range(1, count):  # record 0 is log.open
            log.append({"event": "tool.classified", "number": number})
        log.close()
        return self

    def lines(self) -> list[bytes]:
        return self.segment.read_bytes().splitlines(keepends=True)

    def put(self, lines: Iterator[bytes] | list[bytes]) -> None:
        self.segment.write_bytes(b"".join(lines))
