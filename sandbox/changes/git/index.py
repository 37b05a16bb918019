"""What a sparse checkout leaves out of the working tree, by the index.

Pure: bytes in, names out. Source: gitformat-index(5), git-sparse-checkout(1).
"""

import io
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator

MAX_BYTES = 64 * 1024 * 1024  # of the index, and of the names in it: version 4 shortens them


class LeftOut:
    """The names of an index that git was told to leave out.

    Raises:
        ValueError: the index cannot be read.
    """

    def __init__(self, index: bytes) -> None:
        names: tuple[list[bytes], list[bytes]] = ([], [])
        for name, is_left_out in _entries(index):
            names[is_left_out].append(name)
        self._kept, self._left_out = sorted(names[False]), sorted(names[True])

    def has(self, path: str) -> bool:
        """Return whether a file, or everything in a directory, is left out."""
        name = os.fsencode(path)
        # A directory that git keeps as a whole in its index ends with a slash there.
        parts = name.split(b"/")
        above = (b"/".join(parts[:end]) + b"/" for end in range(1, len(parts)))
        if any(_first(self._left_out, known) == known for known in (name, *above)):
            return True
        below = name + b"/"
        return _first(self._left_out, below).startswith(below) and not _first(
            self._kept, below
        ).startswith(below)


def _first(names: list[bytes], start: bytes) -> bytes:
    """Return the first name that is not before `start`; empty when there is none."""
    place = bisect_left(names, start)
    return names[place] if place < len(names) else b""


def _entries(index: bytes) -> Iterator[tuple[bytes, bool]]:
    from dulwich import index as reader  # noqa: PLC0415  # loads in 0.1 s

    total = 0
    try:
        for entry in reader.read_index(io.BytesIO(index)):
            total += len(entry.name)
            if total > MAX_BYTES:
                raise ValueError("the names in the index are too long")
            yield entry.name, bool(entry.extended_flags & reader.EXTENDED_FLAG_SKIP_WORKTREE)
    except (
        AssertionError, LookupError, TypeError, struct.error, reader.UnsupportedIndexFormat,
    ) as error:  # fmt: skip
        raise ValueError(f"the index cannot be read: {error}") from error
