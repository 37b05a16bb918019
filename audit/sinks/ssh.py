"""A copy of the log in a directory of another machine, over SFTP: itself a log that verifies.

May touch: that directory, with the key and the host keys of two files and nothing else of SSH's
usual surroundings. The copy is one segment, byte for byte; what a broken connection left half
written is completed, what is missing or different there is an alarm and is not written over.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast, final

import asyncssh  # noqa: TID251 — appends to a copy; it runs nothing there

from audit.directory import CHECKPOINT, LogDirectory, segment_name
from audit.epochs import EPOCHS, proof_files
from audit.note import pad_note
from audit.sinks.deliver import SinkError
from audit.sinks.follow import MAX_BYTES, Batch

CONNECT_S = 20
_READ_BYTES = 2 * MAX_BYTES
_WRITE_BYTES = 1 << 14


@dataclass(frozen=True, slots=True)
class Place:
    """Which directory on which machine, and how one gets there."""

    address: str
    port: int
    user: str
    directory: str
    identity_file: Path
    known_hosts: Path


@final
class RemoteCopy:
    """Appends to the copy; the connection stays open while it works."""

    def __init__(self, place: Place, log: Path) -> None:
        self._place = place
        self._log = log
        self._closed_epochs: set[str] = set()  # those that are there
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None

    async def send(self, batch: Batch) -> int:
        """Append one batch; at the signed end, also put the checkpoint beside it."""
        try:
            sftp = await self._connected()
            await self._append(sftp, batch)
            if batch.end.size == batch.head.checkpoint.size:
                await self._put_epochs(sftp)
                await self._put(sftp, CHECKPOINT, pad_note(batch.head.note))
        except (asyncssh.Error, OSError, ValueError) as error:
            await self.close()
            raise SinkError(f"{self._name}: {str(error) or type(error).__name__}") from None
        except BaseException:
            await self.close()
            raise
        return 0

    async def close(self) -> None:
        """Give the connection back."""
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.abort()

    @property
    def _name(self) -> str:
        return f"{self._place.user}@{self._place.address}:{self._place.directory}"

    async def _append(self, sftp: asyncssh.SFTPClient, batch: Batch) -> None:
        path, due, data = (
            f"{self._place.directory}/{segment_name(0)}",
            batch.start.bytes,
            batch.data,
        )
        async with sftp.open(path, "ab+") as file:
            size = (await file.stat()).size or 0
            if size < due:
                raise SinkError(
                    f"{self._name}: the copy has {size} bytes, and {due} were delivered: it was "
                    "cut. Find out who did it; remove this sink's state to copy everything again."
                )
            there = cast("bytes", await file.read(_READ_BYTES, due)) if size > due else b""
            if size - due > len(data) or not data.startswith(there):
                raise SinkError(
                    f"{self._name}: after {due} bytes the copy holds something else than the "
                    "log: somebody wrote there, or another log. Give this log its own directory."
                )
            for start in range(len(there), len(data), _WRITE_BYTES):
                # One after the other: appended pieces stand in the order in which they arrive.
                await file.write(data[start : start + _WRITE_BYTES])

    async def _put_epochs(self, sftp: asyncssh.SFTPClient) -> None:
        """Put the proofs of rotated keys there; with them the first key verifies the copy."""
        directory = LogDirectory.open(self._log)
        try:
            files = proof_files(directory)
        finally:
            directory.close()
        for name, data in files:
            if name not in self._closed_epochs:
                await sftp.makedirs(f"{self._place.directory}/{EPOCHS}", exist_ok=True)
                await self._put(sftp, f"{EPOCHS}/{name}", data)
                self._closed_epochs.add(name)

    async def _put(self, sftp: asyncssh.SFTPClient, name: str, data: bytes) -> None:
        path = f"{self._place.directory}/{name}"
        async with sftp.open(f"{path}.new", "wb") as file:
            await file.write(data)
        await sftp.posix_rename(f"{path}.new", path)

    async def _connected(self) -> asyncssh.SFTPClient:
        if self._sftp is None:
            place = self._place
            self._connection = await asyncssh.connect(
                place.address,
                place.port,
                username=place.user,
                config=None,
                known_hosts=str(place.known_hosts),
                client_keys=[str(place.identity_file)],
                agent_path=None,
                agent_forwarding=False,
                x11_forwarding=False,
                password_auth=False,
                kbdint_auth=False,
                host_based_auth=False,
                gss_auth=False,
                gss_kex=False,
                connect_timeout=CONNECT_S,
                keepalive_interval=15,
            )
            self._sftp = await self._connection.start_sftp_client()
            await self._sftp.makedirs(place.directory, exist_ok=True)
        return self._sftp
