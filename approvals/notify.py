"""People are told that a request waits: beside the calls, never by them.

May touch: the desk, for reading; the targets; what is remembered of them. The store is the queue:
nothing is kept in memory, one server of this user tells for all, and what an earlier one did not
get to is told by the next. INVARIANT: no call waits for any of this, and no failure here ends
anything: it is remembered, said once in the server's log, and tried again while the request waits.
"""

import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Protocol, final

import anyio
from anyio import to_thread

from approvals.desk import STORE_POLL_S, Desk
from approvals.notice import Notice, answered, opened
from approvals.private import locked
from approvals.request import ApprovalError, NotPending, State
from approvals.statement import visible
from approvals.told import Told, keep, load

MINUTE_S = 60.0
MAX_REASON = 300
LATE_MS = 600_000  # after its time was up, nobody needs to hear of a request's end
logger = logging.getLogger(__name__)


class Teller(Protocol):
    """Whatever takes a notice."""

    @property
    def place(self) -> str:
        """Return where notices go, without secrets."""
        ...

    def check(self) -> None:
        """Return if a notice could be sent.

        Raises:
            ApprovalError: it could not.
        """
        ...

    async def tell(self, notice: Notice) -> str:
        """Send one notice and return what was answered.

        Raises:
            ApprovalError: it was not taken, or nobody knows.
        """
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """One receiver by its name; `hears_answers` if it is told too that a request is over."""

    name: str
    teller: Teller
    hears_answers: bool


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long, in seconds, and how much at most."""

    retry_s: float = 1.0  # after the first failure; doubled after each more
    longest_s: float = 60.0
    deadline_s: float = 20.0  # of one notice
    claim_s: float = 2.0  # between two tries to become the one that tells
    last_s: float = 0.3  # of a process that ends; the next tells what is left
    most_a_minute: int = 20  # notices for one target: a flood makes people say yes


async def told(target: Target, notice: Notice, deadline_s: float) -> str:
    """Return what a target answered to a notice.

    Raises:
        ApprovalError: it was not taken, or nobody knows; whatever the reason is.
    """
    try:
        with anyio.fail_after(deadline_s):
            return await target.teller.tell(notice)
    except TimeoutError:
        raise ApprovalError(f"{target.teller.place}: no answer in {deadline_s:g} s") from None
    except ApprovalError:
        raise
    except Exception as error:  # a target of any kind must never end the server
        why = str(error) or type(error).__name__
        raise ApprovalError(f"{target.teller.place}: {why}") from error


@final
class Notifier:
    """Tells every target what waits, for as long as the process runs."""

    def __init__(
        self,
        desk: Desk,
        directory: Path,
        targets: Sequence[Target],
        page: str = "",
        pace: Pace = Pace(),
    ) -> None:
        """Build a notifier; `directory` is the store's, `page` where people see the page."""
        self._desk = desk
        self._directory = directory
        self._targets = targets
        self._page = page
        self._pace = pace

    async def run(self) -> None:
        """Tell until cancelled, as soon as no other server of this user does."""
        while self._targets:
            try:
                with locked(self._directory / "notify.lock") as lock:
                    if lock is not None:
                        await self._tell_until_cancelled()
            except ApprovalError as error:
                logger.warning("nobody is notified: %s", error)
                return
            await anyio.sleep(self._pace.claim_s)

    async def _tell_until_cancelled(self) -> None:
        """Tell; what is on its way at the end gets a moment, or it would be told twice."""
        posts = [
            _Post(self._desk, self._directory, target, self._page, self._pace)
            for target in self._targets
        ]
        ended, last = anyio.Event(), anyio.CancelScope(shield=True)

        async def tell_all() -> None:
            with last:
                async with anyio.create_task_group() as following:
                    for post in posts:
                        following.start_soon(post.follow)
            ended.set()

        async with anyio.create_task_group() as group:
            group.start_soon(tell_all)
            try:
                await anyio.sleep_forever()
            finally:
                for post in posts:
                    post.end()
                with anyio.move_on_after(self._pace.last_s, shield=True):
                    await ended.wait()
                last.cancel()


class _Post:
    """One target, and what it was told."""

    def __init__(self, desk: Desk, directory: Path, target: Target, page: str, pace: Pace) -> None:
        self._desk = desk
        self._directory = directory
        self._target = target
        self._page = page
        self._pace = pace
        self._told = load(directory, target.name)
        self._sent: deque[float] = deque(maxlen=pace.most_a_minute)
        self._ending = anyio.Event()
        self._trying = anyio.CancelScope()

    async def follow(self) -> None:
        """Tell what is new, as it comes; at the end also what came last."""
        with self._trying, self._desk.bell.listener() as listener:
            while True:
                is_last = self._ending.is_set()
                is_done = await self._all_told()
                if is_last or (self._ending.is_set() and not is_done):
                    return
                if is_done:
                    await listener.wait(STORE_POLL_S)
                else:
                    with anyio.move_on_after(self._pause_s()):
                        await self._ending.wait()

    def end(self) -> None:
        """Come to an end, at once where the target has been failing."""
        self._ending.set()
        self._desk.bell.ring()
        if self._told.tries:
            self._trying.cancel()

    async def _all_told(self) -> bool:
        """Tell what there is; return whether nothing is left."""
        try:
            for request_id in await to_thread.run_sync(self._due):
                notice = await to_thread.run_sync(self._news, request_id)
                if notice is not None and not await self._is_told(notice):
                    return False
                await to_thread.run_sync(self._remember, request_id, notice)
        except ApprovalError as error:
            return await self._failed(str(error))
        return True

    def _due(self) -> list[str]:
        """Return the requests of which something could be told: what is over, then what waits."""
        waiting, known = self._desk.waiting(), self._told.waiting
        return [*sorted(known.difference(waiting)), *(one for one in waiting if one not in known)]

    def _news(self, request_id: str) -> Notice | None:
        """Return what to tell of a request as it stands now; nothing once that is too late."""
        try:
            pending = self._desk.get(request_id)
        except NotPending:
            return None
        if pending.state is State.PENDING:
            return opened(pending, self._page)
        now_ms = int(time.time() * 1000)
        wants = self._target.hears_answers and request_id in self._told.waiting
        if not wants or now_ms > pending.expires_ms + LATE_MS:
            return None
        return answered(pending, self._page, now_ms)

    async def _is_told(self, notice: Notice) -> bool:
        now_s = anyio.current_time()
        if len(self._sent) == self._sent.maxlen and now_s < self._sent[0] + MINUTE_S:
            return False
        self._sent.append(now_s)
        try:
            await told(self._target, notice, self._pace.deadline_s)
        except ApprovalError as error:
            return await self._failed(str(error))
        if self._told.tries:
            logger.warning("notify target %s: works again", self._target.name)
        self._told = Told(waiting=self._told.waiting)
        return True

    def _remember(self, request_id: str, notice: Notice | None) -> None:
        waiting = self._told.waiting - {request_id}
        if notice is not None and notice.kind == "opened":
            waiting |= {request_id}
        self._told = self._told.model_copy(update={"waiting": waiting})
        keep(self._directory, self._target.name, self._told)

    async def _failed(self, reason: str) -> bool:
        before, text = self._told, visible(reason.rstrip("."), MAX_REASON)
        if not before.tries:
            logger.warning(
                "notify target %s: %s. It is tried again while a request waits.",
                *(self._target.name, text),
            )
        since_ms = before.failing_since_ms or int(time.time() * 1000)
        failing = {"failing_since_ms": since_ms, "failure": text, "tries": before.tries + 1}
        self._told = before.model_copy(update=failing)
        with suppress(ApprovalError):  # then only this process knows, until there is room
            await to_thread.run_sync(keep, self._directory, self._target.name, self._told)
        return False

    def _pause_s(self) -> float:
        if not self._told.tries:
            return self._sent[0] + MINUTE_S - anyio.current_time()
        longest_s = min(
            self._pace.retry_s * 2.0 ** min(self._told.tries - 1, 30), self._pace.longest_s
        )
        return longest_s * SystemRandom().uniform(0.5, 1.0)
