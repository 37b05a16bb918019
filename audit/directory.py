"""The log's directory: names, modes, and the refusal of anything that is not plainly ours.

May touch: one directory, through its descriptor, never following a symlink. Readers open it with
`open`, which checks kinds only and opens nothing for writing; writers with `prepare`, which also
insists on owner and mode.
"""

import errno
import os
import stat
from itertools import islice
from pathlib import Path
from typing import final

from audit.errors import AuditTampered, AuditUnavailable

CHECKPOINT = "checkpoint"
DURABLE_CHECKPOINT = "checkpoint.durable"
COSIGNATURES = "cosignatures"  # checkpoints with the signatures of witnesses, named by size
PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
PUBLIC_FILE = 0o644
_SEGMENT_DIGITS = 12
_BLOCK_BYTES = 1 << 16
_BLOCKS = 16  # of a small file


def segment_name(first_seq: int) -> str:
    """Return the name of the file whose first record has this `@seq`."""
    return f"seg-{first_seq:0{_SEGMENT_DIGITS}d}.jsonl"


def segment_first(name: str) -> int | None:
    """Return the first `@seq` that a segment's name claims; None for other names."""
    digits = name.removeprefix("seg-").removesuffix(".jsonl")
    if not digits.isdigit() or name != segment_name(int(digits)):
        return None
    return int(digits)


@final
class LogDirectory:
    """An open directory; every name is resolved below its descriptor."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> "LogDirectory":
        """Return the directory for reading.

        Raises:
            OSError: it is missing, a symlink, or not readable.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return cls(path, os.open(path, flags))

    @classmethod
    def prepare(cls, path: Path) -> "LogDirectory":
        """Return the directory for writing, made with mode 0700 if it is missing.

        Raises:
            AuditUnavailable: it cannot be made or opened.
            AuditTampered: it is a symlink, another user's, or open to others.
        """
        try:
            path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            directory = cls.open(path)
        except OSError as error:
            raise _refusal(path, error) from error
        try:
            check_owner(path, os.fstat(directory.descriptor), PRIVATE_DIRECTORY)
        except AuditTampered:
            directory.close()
            raise
        return directory

    def below(self, name: str) -> "LogDirectory":
        """Return a directory in this one, for reading.

        Raises:
            OSError: it is missing, a symlink, or not readable.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=self.descriptor)
        return LogDirectory(self.path / name, descriptor)

    def names(self) -> list[str]:
        """Return the names in this directory, in no order."""
        return os.listdir(self.descriptor)  # noqa: PTH208 — by descriptor, not by a path that may move

    def file(self, name: str, flags: int, mode: int = PRIVATE_FILE) -> int:
        """Return a descriptor of a regular file below the directory.

        Raises:
            OSError: missing, a symlink, not a regular file, or not permitted.
        """
        safe = flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hang us
        descriptor = os.open(name, safe, mode, dir_fd=self.descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file", str(self.path / name))
        return descriptor

    def own_file(self, name: str, flags: int, mode: int = PRIVATE_FILE) -> int:
        """Return a descriptor of a file that must be ours, with no more than `mode`.

        Raises:
            AuditUnavailable: it cannot be opened.
            AuditTampered: it is a symlink, another user's, or open to others.
        """
        try:
            descriptor = self.file(name, flags, mode)
        except OSError as error:
            raise _refusal(self.path / name, error) from error
        try:
            check_owner(self.path / name, os.fstat(descriptor), mode)
        except AuditTampered:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name: str) -> bytes | None:
        """Return a small file's bytes, or None if there is none.

        Raises:
            OSError: as `file`.
        """
        try:
            descriptor = self.file(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return b"".join(islice(iter(lambda: os.read(descriptor, _BLOCK_BYTES), b""), _BLOCKS))
        finally:
            os.close(descriptor)

    def replace(self, name: str, data: bytes, mode: int) -> None:
        """Make a file hold `data`, whole or not at all even if the power fails.

        Raises:
            OSError: it could not; the file is as it was.
        """
        temporary = f"{name}.tmp"  # one name: writers hold the log's lock here
        descriptor = self.file(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        self.sync()

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        try:
            os.unlink(name, dir_fd=self.descriptor)
        except FileNotFoundError:
            return

    def size(self, name: str) -> int | None:
        """Return the length in bytes of what has this name, whatever it is; None if nothing has."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None

    def segments(self) -> list[int]:
        """Return the first `@seq` of every segment, ascending."""
        firsts = map(segment_first, self.names())
        return sorted(first for first in firsts if first is not None)

    def sync(self) -> None:
        """Make names durable: without it a new file can vanish in a power cut."""
        os.fsync(self.descriptor)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.descriptor)


def check_owner(path: Path, found: os.stat_result, mode: int) -> None:
    """Return if a file is the user's own and no more open than `mode`.

    Raises:
        AuditTampered: it is not; the message says how to put it right.
    """
    if found.st_uid != os.geteuid():
        raise AuditTampered(
            f"{path}: belongs to uid {found.st_uid}, not to uid {os.geteuid()} who writes the log. "
            "Find out who made it; nothing runs until it is the writer's own."
        )
    if stat.S_IMODE(found.st_mode) & ~mode:
        raise AuditTampered(
            f"{path}: mode {stat.S_IMODE(found.st_mode):04o} lets others in. "
            f"Check what they did, then: chmod {mode:04o} {path}"
        )


def _refusal(path: Path, error: OSError) -> AuditTampered | AuditUnavailable:
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EINVAL, errno.EEXIST):
        return AuditTampered(
            f"{path}: a symlink or something else stands where the log's own file should be. "
            "Find out who put it there and remove it; nothing runs until then."
        )
    return AuditUnavailable(
        f"{path}: {error.strerror}. The audit log cannot be used; nothing runs."
    )
