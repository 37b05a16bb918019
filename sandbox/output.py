"""One output stream, bounded: head and tail are kept, everything is counted and hashed.

May touch: bytes and hashlib.
"""

import hashlib
from collections import deque

from sandbox.outcome import Output


class Collector:
    """Takes a stream chunk by chunk in constant memory: at most `max_bytes` and one chunk."""

    def __init__(self, max_bytes: int) -> None:
        self._head_room = max_bytes // 2
        self._tail_room = max_bytes - self._head_room
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._total = 0
        self._sha256 = hashlib.sha256()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        self._total += len(chunk)
        self._sha256.update(chunk)
        room = self._head_room - len(self._head)
        self._head += chunk[:room]
        rest = chunk[room:]
        if rest:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
        while self._tail and self._tail_bytes - len(self._tail[0]) >= self._tail_room:
            self._tail_bytes -= len(self._tail.popleft())

    def close(self) -> Output:
        """Return the stream; nothing is cut out when all of it fits."""
        tail = b"".join(self._tail)[-self._tail_room :] if self._tail_room else b""
        digest = self._sha256.hexdigest()
        if len(self._head) + len(tail) == self._total:
            return Output(bytes(self._head) + tail, b"", self._total, digest)
        return Output(bytes(self._head), tail, self._total, digest)
