"""A verified log as past actions, for whoever wants to decide them again.

May touch: a log directory, for reading. INVARIANT: what is replayed is what was verified: the same
bytes give the same root, and nothing past the signed size is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from audit.canonical import Json, decode_object
from audit.chain import Chain
from audit.directory import LogDirectory
from audit.errors import AuditError
from audit.read import raw_lines
from audit.record import timestamp
from audit.verify import Code, Report, verify
from mcp_server.cli.audit import own_directory, part_of, trusted_key
from mcp_server.cli.policy.recorded import Unreplayable, past_action, sequence
from mcp_server.owner import CallRefusedError
from policy.replay import Past


@dataclass(frozen=True, slots=True)
class Log:
    """Which log to read, by which key, from which date on; None is one's own, and all of it."""

    directory: Path | None
    key: str | None
    since: str | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An action of the log that cannot be decided again, and why."""

    seq: int
    event: str
    effect: str
    why: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Which log was read, and how much of it its key signed."""

    origin: str
    size: int
    root: str  # hex
    key: str
    unsigned: int  # records after it, which were not read


@dataclass(frozen=True, slots=True)
class History:
    """What a log says was asked for, in its order."""

    checkpoint: Checkpoint
    actions: tuple[Past, ...]
    left_out: tuple[LeftOut, ...]

    def unread(self) -> Iterator[str]:
        """Yield what was not decided again, and why."""
        if self.checkpoint.unsigned:
            yield f"{self.checkpoint.unsigned} more are not signed yet and were not read"
        for left in self.left_out:
            yield f"not replayed: record {left.seq} ({left.event}, {left.effect}): {left.why}"


def read_history(asked: Log) -> History:
    """Return the actions of the signed part of a log.

    Raises:
        AuditError: the log does not verify, or changed while it was read.
        CallRefusedError: its key is none, or the date is none.
    """
    key, since = trusted_key(asked.key), _moment(asked.since)
    path = asked.directory or own_directory()
    report = verify(path, [key])
    if report.code not in (Code.VERIFIED, Code.INCOMPLETE):
        found = report.findings[0]
        raise AuditError(f"{path}: {found.place}: {found.message}. Nothing of it was used.")
    actions: list[Past] = []
    left_out: list[LeftOut] = []
    signed = _Signed(path, report)
    for line in signed.lines():
        record = decode_object(line)
        if not _is_asked(record, since):
            continue
        try:
            actions.append(past_action(record))
        except Unreplayable as error:
            left_out.append(_left_out(record, str(error)))
    unsigned = report.records - report.signed
    checkpoint = Checkpoint(report.origin, report.signed, signed.root, key.vkey, unsigned)
    return History(checkpoint, tuple(actions), tuple(left_out))


def _moment(text: str | None) -> datetime | None:
    """Return a date, or a date and time, in UTC unless it says otherwise."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        what = f"--since {text!r} is no date; write 2026-11-21 or 2026-11-21T09:00"
        raise CallRefusedError(what) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class _Signed:
    """The records below the signed size, read once more and held against what was verified."""

    def __init__(self, path: Path, report: Report) -> None:
        self._path, self._report = path, report
        self.root = Chain().frontier.root().hex()  # of the signed part, once all was read

    def lines(self) -> Iterator[bytes]:
        """Yield each signed record, without its newline.

        Raises:
            AuditError: they are not the records that were verified.
        """
        chain = Chain()
        for raw in self._raw():
            if chain.size == self._report.records:
                break  # appended since
            if not chain.follow_block([raw]):
                break
            if chain.size <= self._report.signed:
                self.root = chain.frontier.root().hex()
                yield raw[:-1]
        if chain.frontier.root().hex() != self._report.root:
            raise AuditError(f"{self._path}: the log changed while it was read; run it again.")

    def _raw(self) -> Iterator[bytes]:
        try:
            directory = LogDirectory.open(self._path)
            try:
                for first in directory.segments():
                    yield from raw_lines(directory, first)
            finally:
                directory.close()
        except OSError as error:
            raise AuditError(f"{self._path}: cannot be read: {error.strerror}") from error


def _is_asked(record: Mapping[str, Json], since: datetime | None) -> bool:
    """Return whether the record says what was asked for: one does for each action."""
    outcome = record.get("outcome")
    is_refusal = isinstance(outcome, Mapping) and outcome.get("ran") is False
    is_action = str(record.get("event")).endswith(".intent") or is_refusal
    if not is_action or not isinstance(record.get("request"), Mapping):
        return False
    return since is None or str(record.get("ts")) >= timestamp(since)


def _left_out(record: Mapping[str, Json], why: str) -> LeftOut:
    effect = part_of(record, "policy").get("effect")
    return LeftOut(sequence(record), str(record.get("event")), str(effect), why)
