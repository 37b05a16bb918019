"""One output stream, bounded: head and tail are kept, everything is counted and hashed.

May touch: bytes and hashlib. What lies between head and tail is not written anywhere: nobody may
read it yet, and it may hold secrets that only the answer is cleared of.
"""

import hashlib

from sandbox.outcome import Output


class Collector:
    """Takes a stream chunk by chunk in constant memory: `max_bytes` and a half, and one chunk."""

    def __init__(self, max_bytes: int) -> None:
        self._head_room = max_bytes // 2
        self._tail_room = max_bytes - self._head_room
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0
        self._sha256 = hashlib.sha256()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        self._total += len(chunk)
        self._sha256.update(chunk)
        room = self._head_room - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:][-self._tail_room :] if self._tail_room else b""
        # Only now and then, or many small chunks would be moved for each of them.
        if len(self._tail) > 2 * self._tail_room:
            del self._tail[: -self._tail_room]

    def close(self) -> Output:
        """Return the stream; nothing is cut out when all of it fits."""
        tail = bytes(self._tail[-self._tail_room :]) if self._tail_room else b""
        digest = self._sha256.hexdigest()
        if len(self._head) + len(tail) == self._total:
            return Output(bytes(self._head) + tail, b"", self._total, digest)
        return Output(bytes(self._head), tail, self._total, digest)
