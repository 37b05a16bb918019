"""Who is writing: each process holds a shared lock on its own file while its log is open.

May touch: `writers/` below the log and /proc of this process. A free lock, and nothing else, means
that the writer is gone: the kernel drops it however the process ends. Source: flock(2).
"""

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from audit.canonical import Json
from audit.directory import LogDirectory

_START_TICKS_FIELD = 19  # field 22 of proc_pid_stat(5), counted after the command's last ')'


@dataclass(frozen=True, slots=True)
class Writer:
    """One process in the lifetime of one boot."""

    boot_id: str
    pid: int
    start_ticks: int

    @classmethod
    def current(cls) -> "Writer":
        """Return this process."""
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return cls(boot_id, os.getpid(), int(stat[_START_TICKS_FIELD]))

    @classmethod
    def parse(cls, value: Json) -> "Writer | None":
        """Return the writer that an intent names, or None if it names none."""
        match value:
            case {"boot_id": str(boot_id), "pid": int(pid), "start_ticks": int(ticks)}:
                return cls(boot_id, pid, ticks) if "/" not in boot_id else None
            case _:
                return None

    @property
    def lock_name(self) -> str:
        """Return the name of its lock file."""
        return f"{self.boot_id}-{self.pid}-{self.start_ticks}"

    def to_json(self) -> Mapping[str, Json]:
        """Return the words an intent carries."""
        return {"boot_id": self.boot_id, "pid": self.pid, "start_ticks": self.start_ticks}


@final
class Writers:
    """The locks of all writers of one log. Call every method with the log's lock held."""

    def __init__(self, log: Path) -> None:
        self._directory = LogDirectory.prepare(log / "writers")
        self._own: int | None = None
        self.current = Writer.current()

    def enter(self) -> None:
        """Hold this process's lock until `leave` or the end of the process.

        Raises:
            AuditTampered, AuditUnavailable: the lock file is not ours or cannot be made.
        """
        self._own = self._directory.own_file(self.current.lock_name, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._own, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: a process may open twice

    def is_gone(self, writer: Writer) -> bool:
        """Return whether no process holds the writer's lock; a file left behind is removed."""
        try:
            descriptor = self._directory.file(writer.lock_name, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        self._directory.remove(writer.lock_name)
        return True

    def leave(self) -> None:
        """Let go of this process's lock."""
        if self._own is not None:
            os.close(self._own)
            self._own = None
            self.is_gone(self.current)
        self._directory.close()
