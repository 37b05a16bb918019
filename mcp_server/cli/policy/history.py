"""A verified log as past actions, for whoever wants to decide them again.

May touch: a log directory, for reading. INVARIANT: what is replayed is what was verified: the same
bytes give the same root, and nothing past the signed size is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from audit.canonical import Json, decode_object
from audit.chain import Chain
from audit.directory import LogDirectory
from audit.errors import AuditError, NoteError
from audit.note import PublicKey
from audit.read import raw_lines
from audit.record import timestamp
from audit.verify import Code, Report, verify
from mcp_server.cli.policy.recorded import Unreplayable, part_of, past_action, sequence
from mcp_server.config import load_config
from mcp_server.log_place import log_directory, public_key
from mcp_server.owner import CallRefusedError
from mcp_server.places import places
from policy.replay import Past


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


def trusted_key(given: str | None) -> PublicKey:
    """Return the key named on the command line (text or file), else this user's own.

    Raises:
        CallRefusedError: it is no key.
    """
    if given is None:
        return public_key(places())
    try:
        text = given if "+" in given else Path(given).read_text(encoding="ascii")
        return PublicKey.parse(text)
    except (OSError, NoteError, UnicodeDecodeError) as error:
        raise CallRefusedError(f"--key: {error}") from None


def read_history(directory: Path | None, key: PublicKey, since: datetime | None = None) -> History:
    """Return the actions of the signed part of a log.

    Raises:
        AuditError: the log does not verify, or changed while it was read.
    """
    path = directory or log_directory(load_config(places().config_file), places())
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
