"""Checkpoints that witnesses were asked about, each with the cosignatures it got.

May touch: `cosignatures/` below the log. One file per size, named by it: the log's own signed note,
then one line per cosignature. Each file is a signed note and a checkpoint that was kept.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

from audit.directory import COSIGNATURES, PUBLIC_FILE, LogDirectory
from audit.heads import Head
from audit.note import Checkpoint


@final
class Cosigned:
    """The cosigned checkpoints of one log."""

    def __init__(self, log: Path) -> None:
        self._path = log / COSIGNATURES

    def choose(self, head: Head, after: int, within_s: float) -> Head:
        """Return the checkpoint to ask about: a recent one that was asked about, else `head`.

        Args:
            head: the log's newest; it is put down when it is chosen.
            after: the size the witness stands at; only larger ones are of use.
            within_s: how old, in seconds, one may be.

        Raises:
            AuditError, OSError: the directory cannot be used.
        """
        with self._locked() as directory:
            newest = max(map(int, filter(str.isdecimal, directory.names())), default=0)
            if after < newest <= head.checkpoint.size:
                made = os.stat(str(newest), dir_fd=directory.descriptor).st_mtime
                if time.time() - made < within_s:
                    note = directory.read(str(newest)) or b""
                    return Head(f"{COSIGNATURES}/{newest}", Checkpoint.of(note), note)
            if directory.size(str(head.checkpoint.size)) is None:
                directory.replace(str(head.checkpoint.size), head.note, PUBLIC_FILE)
            return head

    def add(self, head: Head, lines: Sequence[str]) -> None:
        """Add signature lines, each with its newline, to the file of one checkpoint.

        Raises:
            AuditError, OSError: they are not on disk.
        """
        name = str(head.checkpoint.size)
        with self._locked() as directory:
            note = (directory.read(name) or head.note).decode()
            new = [line for line in lines if line not in note]
            if new:
                directory.replace(name, (note + "".join(new)).encode(), PUBLIC_FILE)

    @contextmanager
    def _locked(self) -> Iterator[LogDirectory]:
        directory = LogDirectory.prepare(self._path)
        try:
            lock = directory.own_file("lock", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield directory
            finally:
                os.close(lock)
        finally:
            directory.close()
