"""Read a log's lines in order and lazily.

May touch: the log's segments, for reading. Line N of a segment is record `first + N - 1`, so a
record's place needs no counting.
"""

import os
from collections.abc import Iterator
from io import BytesIO

from audit.chain import MAX_LINE_BYTES
from audit.directory import LogDirectory, segment_name

_BUFFER_BYTES = 1 << 20
BLOCK_BYTES = 1 << 16  # fits the processor's cache, and the allocator's free lists


def raw_lines(directory: LogDirectory, first: int) -> Iterator[bytes]:
    """Yield the lines of the segment that starts with record `first`, newlines included.

    A line without its newline is the last one: the file ends in it, or no record is that long.

    Raises:
        OSError: the segment is missing, a symlink, or cannot be read.
    """
    descriptor = directory.file(segment_name(first), os.O_RDONLY)
    with os.fdopen(descriptor, "rb", buffering=_BUFFER_BYTES) as stream:
        while line := stream.readline(MAX_LINE_BYTES + 1):
            yield line
            if not line.endswith(b"\n"):
                return


def raw_blocks(
    directory: LogDirectory, first: int, start: int = 0, end: int | None = None
) -> Iterator[list[bytes]]:
    """Yield the same lines in lists, which is faster; a line that is too long may be whole here.

    Args:
        directory: the log.
        first: the record that its segment starts with.
        start: the byte where a line starts, to begin there.
        end: another, to end there; None: where the file does.

    Raises:
        OSError: as `raw_lines`.
    """
    descriptor = directory.file(segment_name(first), os.O_RDONLY)
    with os.fdopen(descriptor, "rb", buffering=_BUFFER_BYTES) as stream:
        stream.seek(start)
        while data := stream.read(_left(stream.tell(), end)):
            more = b"" if stream.tell() == end else stream.readline(MAX_LINE_BYTES + 1)
            lines = BytesIO(data + more).readlines()
            yield lines
            if not lines[-1].endswith(b"\n"):
                return


def line_starts(directory: LogDirectory, first: int, stride: int) -> list[int]:
    """Return bytes of a segment where lines start, one in each stride, from 0 on; its size last.

    Raises:
        OSError: as `raw_lines`.
    """
    descriptor = directory.file(segment_name(first), os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as stream:
        found, size = [0], os.fstat(descriptor).st_size
        for place in range(stride, size, stride):
            stream.seek(place)
            if not stream.readline(MAX_LINE_BYTES + 1).endswith(b"\n"):
                break
            found.append(stream.tell())
    return found if found[-1] == size else [*found, size]


def _left(place: int, end: int | None) -> int:
    return BLOCK_BYTES if end is None else min(BLOCK_BYTES, end - place)


def place(first: int, seq: int) -> str:
    """Return where a record stands: file and line."""
    return f"{segment_name(first)}:{seq - first + 1}"
