"""A witness: it checks that the log only grew, and cosigns; what it signed is kept beside the log.

May touch: the witness's URL, `cosignatures/` below the log. No record goes there: three lines and
some hashes. A witness that has seen more of this log than there is now has found a roll-back.
Source: c2sp.org/tlog-witness (add-checkpoint), c2sp.org/tlog-cosignature.
"""

import base64
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import final

from anyio import to_thread

from audit.consistency import ConsistencyProof
from audit.errors import AuditTampered, NoteError
from audit.heads import Head
from audit.merkle import Frontier
from audit.note import PublicKey, open_note
from audit.sinks.cosigned import Cosigned
from audit.sinks.deliver import SinkError, Step
from audit.sinks.follow import Follower, Position
from audit.sinks.http import Endpoint, Poster

_OK, _CONFLICT = 200, 409
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the witness said: its lines, or the size it stands at."""

    lines: tuple[str, ...] = ()
    stands_at: int | None = None


@final
class Witness:
    """One witness, asked about the newest checkpoint at most every `every_s` seconds."""

    def __init__(self, name: str, endpoint: Endpoint, key: PublicKey, *, every_s: float) -> None:
        self._name = name
        self._url = endpoint.url
        self._poster = Poster(endpoint)
        self._key = key
        self._every_s = every_s
        self._due = float("-inf")

    @property
    def name(self) -> str:
        """Return the sink's name in the configuration."""
        return self._name

    async def advance(self, log: Follower, start: Position) -> Step:
        """Have the newest checkpoint cosigned; `start` is what the witness cosigned last."""
        if time.monotonic() < self._due:
            return Step(start)
        kept = Cosigned(log.path)
        head = await to_thread.run_sync(log.head)
        if head.checkpoint.size == start.size:
            return Step(start)
        # What another witness was asked lately, so that both cosign one checkpoint.
        head = await to_thread.run_sync(kept.choose, head, start.size, self._every_s)
        end, body = await to_thread.run_sync(_request, log, start, head)
        answer = await self._ask(body)
        if answer.stands_at is not None:  # it knows better than we do what it cosigned last
            start = await to_thread.run_sync(self._found, log, head, answer.stands_at)
            end, body = await to_thread.run_sync(_request, log, start, head)
            answer = await self._ask(body)
        await to_thread.run_sync(kept.add, head, self._cosigned(head, answer))
        self._due = time.monotonic() + self._every_s
        return Step(end)

    async def close(self) -> None:
        """Give the connection back."""
        await self._poster.close()

    def _cosigned(self, head: Head, answer: _Answer) -> list[str]:
        """Return the signature lines of this witness in its answer; they verify."""
        announced = base64.b64encode(self._key.key_id[:3]).decode()  # 3 bytes are 4 whole digits
        lines = [
            f"{line}\n"
            for line in answer.lines
            if line.startswith(f"— {self._key.name} {announced}")
        ]
        try:
            open_note(head.checkpoint.text() + b"\n" + "".join(lines).encode(), [self._key])
        except NoteError as error:
            raise SinkError(
                f"{self._url}: answered without a cosignature by {self._key.name}: {error}."
            ) from None
        return lines

    def _found(self, log: Follower, head: Head, size: int) -> Position:
        """Return the position at which the witness stands, by reading the log up to there."""
        if size > head.checkpoint.size:
            raise AuditTampered(
                f"{self._url}: has cosigned {size} records of {head.checkpoint.origin}, and the "
                f"log has {head.checkpoint.size}: it was rolled back, or two logs share this "
                "origin. Run audit verify, and compare with a copy."
            )
        position = Position()
        while position.size < size:
            position = log.read(position, head, size).end
        return position

    async def _ask(self, body: bytes) -> _Answer:
        status, said = await self._poster.post(body, {"Content-Type": "text/plain; charset=utf-8"})
        text = said.decode("utf-8", "replace")
        digits = text.strip()
        if status == _CONFLICT and digits.isdecimal() and len(digits) <= _MAX_DIGITS:
            return _Answer(stands_at=int(digits))
        if status != _OK:
            raise self._poster.refused(status, said)
        return _Answer(tuple(text.splitlines()))


def _request(log: Follower, start: Position, head: Head) -> tuple[Position, bytes]:
    """Return where the log's head stands, and the body that asks for it to be cosigned."""
    size = head.checkpoint.size
    proof = ConsistencyProof(Frontier(start.size, start.peaks), size)
    position = start
    while position.size < size:
        batch = log.read(position, head)
        proof.extend([sha256(b"\x00" + line[:-1]).digest() for line in batch.lines])
        position = batch.end
    hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in proof.hashes())
    return position, f"old {start.size}\n{hashes}\n".encode() + head.note
