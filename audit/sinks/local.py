"""Sinks on this machine: syslog by RFC 5424, and the journal by its native protocol.

May touch: one datagram socket. A daemon that took a datagram says nothing: it has it, and what it
does with it is its own affair. When nobody listens, the kernel says so, and the record waits.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import final

from anyio import to_thread

from audit.sinks import shapes
from audit.sinks.deliver import SinkError
from audit.sinks.follow import Batch

FULL_S = 5.0  # how long a daemon that does not read may keep us
_BUFFER_BYTES = 1 << 18  # at least one whole record and its frame


@final
class Datagrams:
    """Sends each record as one datagram."""

    def __init__(self, path: Path, shape: Callable[[bytes], bytes]) -> None:
        self._path = path
        self._shape = shape

    async def send(self, batch: Batch) -> int:
        """Send every record of a batch, in order."""
        await to_thread.run_sync(self._send, batch, abandon_on_cancel=True)
        return 0

    async def close(self) -> None:
        """Return: there is no connection."""

    def _send(self, batch: Batch) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            out.settimeout(FULL_S)
            try:
                out.connect(str(self._path))
                for line in batch.lines:
                    out.send(self._shape(line))
            except OSError as error:
                raise SinkError(f"{self._path}: {error.strerror or error}.") from None


def syslog(path: Path, facility: int) -> Datagrams:
    """Return a sink that speaks to the local syslog daemon."""
    host, process = socket.gethostname(), os.getpid()
    return Datagrams(
        path, lambda line: shapes.syslog(line, facility=facility, host=host, process=process)
    )


def journald(path: Path) -> Datagrams:
    """Return a sink that speaks to the journal."""
    return Datagrams(path, shapes.journal)
