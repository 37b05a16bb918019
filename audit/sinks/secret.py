"""A receiver's credential, read from its file each time it is used, so that it can be exchanged.

May touch: the file it is given: ours alone, never through a link.
"""

import os
import stat
from pathlib import Path

from audit.sinks.deliver import SinkError

MAX_SECRET_BYTES = 1 << 16


def read_secret(path: Path) -> bytes:
    """Return what the file holds, without white space around it.

    Raises:
        SinkError: it is missing, empty, a link, another user's, or open to others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SinkError(f"{path}: cannot be read: {error.strerror}.") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SinkError(f"{path}: is not a regular file.")
        if found.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(found.st_mode) & 0o077:
            raise SinkError(f"{path}: others may read this secret. Run: chmod 600 {path}")
        value = os.read(descriptor, MAX_SECRET_BYTES).strip()
    finally:
        os.close(descriptor)
    if not value:
        raise SinkError(f"{path}: is empty.")
    return value
