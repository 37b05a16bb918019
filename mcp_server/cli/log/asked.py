"""Which log, which records: the options that the reading commands share, made into a query.

May touch: the clock (for `2h`), a log directory for reading, the file a result is written to.
"""

import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from audit.index import INDEX
from audit.query import Query
from audit.reading import Reading, read
from mcp_server.cli.audit import own_directory, trusted_key
from mcp_server.cli.exits import Exit, stop
from mcp_server.places import places

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line."""

    directory: Path | None = None
    since: str | None = None
    until: str | None = None
    subject: str | None = None
    session: str | None = None
    effect: str | None = None
    host: str | None = None
    event: str | None = None
    text: str | None = None
    key: str | None = None

    @property
    def log(self) -> Path:
        """Return the log's directory; by default this user's own."""
        return self.directory or own_directory()

    def query(self) -> Query:
        """Return the query, or end the command where a value is none."""
        if self.effect not in (None, "allow", "ask", "deny"):
            raise stop(Exit.USAGE, f"--effect {self.effect!r} is not one of allow, ask, deny")
        return Query(
            since=moment("--since", self.since),
            until=moment("--until", self.until),
            subject=self.subject,
            session=self.session,
            effect=self.effect,
            host=self.host,
            event=self.event,
            text=self.text,
        )

    def homes(self) -> list[Path]:
        """Return where the index may lie: beside the log, or, if it is read-only, in our state."""
        name = sha256(os.fsencode(self.log.resolve())).hexdigest()[:16]
        return [self.log / INDEX, places().state / "index" / f"{name}.sqlite"]

    def reading(self, last: int) -> Reading:
        """Return the newest records asked for, and the verdict on the whole log."""
        return read(self.log, [trusted_key(self.key)], self.query(), last=last)


def moment(option: str, text: str | None) -> datetime | None:
    """Return a time: a date, a date and time (UTC unless it says otherwise), or `2h` ago."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        message = f"{option} {text!r} is no time; write 2026-11-21, 2026-11-21T09:00 or 2h (ago)"
        raise stop(Exit.USAGE, message) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def write(path: Path, text: str) -> None:
    """Make a file hold a result, whole or not at all; it may hold what the log holds, so 0600."""
    write_lines(path, [text])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Make a file hold lines as they come, whole or not at all, 0600."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
                stream.writelines(lines)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise stop(Exit.USAGE, f"{path}: cannot be written: {error.strerror}") from None
