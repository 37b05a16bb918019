"""Where a start may begin to read: the state of the log at the beginning of its last segment.

May touch: the file `frontier` of the log, the metadata of its segments. INVARIANT: the file is not
trusted: what follows it must lead to the signed root, and it counts only while no earlier segment
was touched (inode, length, time of change). Otherwise everything is read, which also names the
record. A reader who verifies a log never looks at it.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from audit.directory import PRIVATE_FILE, LogDirectory, segment_name
from audit.errors import AuditError

FRONTIER = "frontier"


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The state after `first` records."""

    first: int
    tip: str
    peaks: tuple[str, ...]  # hex
    open_intents: tuple[str, ...]  # their lines

    def save(self, directory: LogDirectory, firsts: Sequence[int]) -> None:
        """Keep it; a power cut may take it, so it costs no sync.

        Raises:
            OSError: it could not be written.
        """
        before = _marks(directory, [first for first in firsts if first < self.first])
        data = json.dumps({**asdict(self), "before": before}).encode()
        descriptor = directory.file(
            f"{FRONTIER}.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE
        )
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        place = directory.descriptor
        os.rename(f"{FRONTIER}.tmp", FRONTIER, src_dir_fd=place, dst_dir_fd=place)


def load_shortcut(directory: LogDirectory, firsts: Sequence[int]) -> Shortcut | None:
    """Return the shortcut to the last of these segments, if nothing before it was touched."""
    try:
        descriptor = directory.own_file(FRONTIER, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as stream:
            kept = json.loads(stream.read())
        before = kept.pop("before")
        found = Shortcut(
            kept["first"], kept["tip"], tuple(kept["peaks"]), tuple(kept["open_intents"])
        )
        bytes.fromhex("".join((found.tip, *found.peaks)))
        is_fresh = [found.first] == [*firsts[-1:]] and before == _marks(directory, firsts[:-1])
    except (AuditError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if is_fresh else None


def _marks(directory: LogDirectory, firsts: Sequence[int]) -> list[list[int]]:
    found = (
        os.stat(segment_name(first), dir_fd=directory.descriptor, follow_symlinks=False)
        for first in firsts
    )
    return [
        [first, status.st_ino, status.st_size, status.st_ctime_ns]
        for first, status in zip(firsts, found, strict=True)
    ]
