"""Deliver to one sink: follow, hand over, remember, and when it fails wait longer each time.

May touch: what the sink and its book touch. No call waits for any of this, and no failure here
ends anything: it is remembered, said once in the server's log, and tried again.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, final

import anyio
from anyio import to_thread

from audit.errors import AuditError
from audit.sinks.follow import Batch, Follower, Position
from audit.sinks.state import Book, State

LAST_S = 0.3  # of a server that ends; what is not delivered by then waits for the next
logger = logging.getLogger(__name__)


class SinkError(AuditError):
    """The receiver did not take the records; they will be tried again."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far one delivery came; `rejected` counts what the receiver said it dropped."""

    position: Position
    rejected: int = 0


class Sink(Protocol):
    """A receiver of the log."""

    @property
    def name(self) -> str:
        """Return the sink's name in the configuration."""

    async def advance(self, log: Follower, start: Position) -> Step:
        """Deliver what comes next and return how far it came: `start` if nothing is new.

        Raises:
            AuditError, OSError: nothing was delivered for sure.
        """

    async def close(self) -> None:
        """Give connections back."""


class Sender(Protocol):
    """Whatever takes records batch by batch."""

    async def send(self, batch: Batch) -> int:
        """Hand over records and return how many of them were rejected for good.

        Raises:
            AuditError, OSError: they were not taken, or nobody knows.
        """

    async def close(self) -> None:
        """Give connections back."""


@final
class RecordSink:
    """A sink that takes the records themselves, in order."""

    def __init__(self, name: str, sender: Sender) -> None:
        self._name = name
        self._sender = sender

    @property
    def name(self) -> str:
        """Return the sink's name in the configuration."""
        return self._name

    async def advance(self, log: Follower, start: Position) -> Step:
        """Deliver one batch."""
        head = await to_thread.run_sync(log.head)
        batch = await to_thread.run_sync(log.read, start, head)
        if not batch.lines:
            return Step(start)
        return Step(batch.end, await self._sender.send(batch))

    async def close(self) -> None:
        """Give connections back."""
        await self._sender.close()


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long, in seconds."""

    idle_s: float = 0.5  # between two looks at a log that has nothing new
    retry_s: float = 1.0  # after the first failure; doubled after each more
    longest_s: float = 300.0
    deadline_s: float = 60.0  # of one delivery
    claim_s: float = 5.0  # between two tries to become the one that delivers


PACE = Pace()


@final
class Delivery:
    """One sink, followed for as long as the server runs."""

    def __init__(self, sink: Sink, log: Follower, book: Book, pace: Pace = PACE) -> None:
        self._sink = sink
        self._log = log
        self._book = book
        self._pace = pace
        self._unclaimed = ""  # why it could not be claimed, which is said once

    @property
    def state(self) -> State:
        """Return where the sink is."""
        return self._book.state

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while not await self._claimed():  # noqa: ASYNC110 — another process holds the lock
                await anyio.sleep(self._pace.claim_s)
            while True:
                moved = await self._step()
                if not moved:
                    await anyio.sleep(self._wait_s())
        finally:
            await self._last_words()
            await self._end()

    async def once(self) -> bool:
        """Deliver all there is now; False when it failed or another process delivers."""
        try:
            if not await self._claimed():
                return False
            while await self._step():
                pass
            return not self._book.state.failing_since
        finally:
            await self._end()

    async def _claimed(self) -> bool:
        try:
            return await to_thread.run_sync(self._book.claim)
        except (AuditError, OSError) as error:
            if str(error) != self._unclaimed:
                self._unclaimed = str(error)
                logger.warning("audit sink %s: %s", self._sink.name, error)
            return False

    async def _step(self) -> bool:
        """Return whether records were delivered, so that more may be waiting."""
        before = self._book.state
        try:
            with anyio.fail_after(self._pace.deadline_s):
                step = await self._sink.advance(self._log, before.position)
            if step.position != before.position or before.failing_since:
                await to_thread.run_sync(self._book.delivered, step.position, step.rejected)
        except TimeoutError:
            return await self._failed(f"no answer within {self._pace.deadline_s:g} s")
        except Exception as error:  # noqa: BLE001 — a sink of any kind must never end the server
            return await self._failed(str(error) or type(error).__name__)
        if before.failing_since:
            logger.warning("audit sink %s: works again", self._sink.name)
        return step.position != before.position

    async def _failed(self, reason: str) -> bool:
        if not self._book.state.failing_since:
            logger.warning(
                "audit sink %s: %s. What is not delivered waits in the log; it is tried again.",
                self._sink.name,
                reason.rstrip("."),
            )
        with suppress(AuditError, OSError):  # then only this process knows, until there is room
            await to_thread.run_sync(self._book.failed, reason)
        return False

    def _wait_s(self) -> float:
        tries = self._book.state.tries
        if not self._book.state.failing_since:
            return self._pace.idle_s
        return min(self._pace.retry_s * 2.0 ** min(tries - 1, 30), self._pace.longest_s)

    async def _last_words(self) -> None:
        """Deliver what the session's end has just recorded, if that goes at once."""
        if self._book.is_claimed and not self._book.state.failing_since:
            with anyio.move_on_after(LAST_S, shield=True):
                while await self._step():
                    pass

    async def _end(self) -> None:
        with anyio.move_on_after(LAST_S, shield=True):
            await self._sink.close()
        self._book.release()
