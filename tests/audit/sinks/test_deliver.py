"""Delivery runs beside everything else: it waits longer each time and ends nothing."""

import logging
import tracemalloc
from dataclasses import dataclass, field

import anyio
import pytest

from audit.sinks import deliver
from audit.sinks.deliver import Delivery, Pace, RecordSink, SinkError
from audit.sinks.follow import Batch
from audit.sinks.state import Book
from tests.audit.house import Clock
from tests.audit.sinks.receivers import FAST, delivering, following

pytestmark = pytest.mark.threat("T15")


@dataclass
class Memory:
    """Takes records, or fails as it is told."""

    failures: list[Exception] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    closed: int = 0

    async def send(self, batch: Batch) -> int:
        if self.failures:
            raise self.failures.pop(0)
        self.taken += batch.lines
        return 0

    async def close(self) -> None:
        self.closed += 1


async def until(true) -> None:
    with anyio.fail_after(30):
        while not true():  # noqa: ASYNC110 — what it waits for happens in threads and files
            await anyio.sleep(0.005)


async def test_a_running_delivery_sees_what_every_writer_adds(house):
    house.filled(3)
    memory = Memory()
    delivery = delivering(house, RecordSink("m", memory))
    async with anyio.create_task_group() as group:
        group.start_soon(delivery.run)
        await until(lambda: delivery.state.position.size == 3)
        house.filled(4)
        await until(lambda: delivery.state.position.size == 7)
        group.cancel_scope.cancel()
    assert memory.taken == house.lines()
    assert memory.closed


async def test_what_a_session_recorded_last_is_delivered_when_the_server_ends(house, monkeypatch):
    monkeypatch.setattr(deliver, "LAST_S", 5)
    house.filled(3)
    memory = Memory()
    slow = Pace(idle_s=60, claim_s=60)
    delivery = Delivery(
        RecordSink("m", memory), following(house), Book(house.path, "m", Clock()), slow
    )
    async with anyio.create_task_group() as group:
        group.start_soon(delivery.run)
        await until(lambda: delivery.state.position.size == 3)
        house.filled(2)
        group.cancel_scope.cancel()
    assert memory.taken == house.lines()


async def test_failures_of_any_kind_are_said_once_and_lose_nothing(house, caplog):
    house.filled(3)
    kinds = [SinkError("down."), RuntimeError(), OSError("broken"), TimeoutError(), SinkError("x")]
    memory = Memory(kinds)
    delivery = delivering(house, RecordSink("m", memory))
    with caplog.at_level(logging.WARNING):
        async with anyio.create_task_group() as group:
            group.start_soon(delivery.run)
            await until(lambda: memory.taken)
            await until(lambda: not delivery.state.failing_since)
            group.cancel_scope.cancel()
    assert memory.taken == house.lines()
    assert [record.getMessage() for record in caplog.records] == [
        "audit sink m: down. What is not delivered waits in the log; it is tried again.",
        "audit sink m: works again",
    ]


async def test_a_receiver_that_never_answers_is_given_up_after_a_while(house, monkeypatch):
    house.filled(2)

    class Silent(Memory):
        async def send(self, batch: Batch) -> int:
            await anyio.sleep_forever()

    monkeypatch.setattr("tests.audit.sinks.receivers.FAST", Pace(deadline_s=0.05))
    delivery = delivering(house, RecordSink("m", Silent()))
    assert not await delivery.once()
    assert delivery.state.failure == "no answer within 0.05 s"


async def test_each_failure_is_waited_for_twice_as_long_up_to_a_bound(house):
    house.filled(2)
    memory = Memory([SinkError("x")] * 9)
    delivery = delivering(house, RecordSink("m", memory))
    waits = []
    for _ in range(9):
        assert not await delivery.once()
        waits.append(delivery._wait_s())
    assert waits[:3] == [0.01, 0.02, 0.04]
    assert set(waits[3:]) == {FAST.longest_s}
    assert await delivery.once()
    assert delivery._wait_s() == FAST.idle_s


async def test_another_process_takes_over_when_the_first_ends(house):
    house.filled(3)
    first, second, claims = Memory(), Memory(), []
    next_in_line = delivering(house, RecordSink("m", second))
    claim = next_in_line._book.claim
    next_in_line._book.claim = lambda: claims.append(claim()) or claims[-1]
    async with anyio.create_task_group() as group:
        async with anyio.create_task_group() as inner:
            inner.start_soon(delivering(house, RecordSink("m", first)).run)
            await until(lambda: first.taken)
            group.start_soon(next_in_line.run)
            await until(lambda: len(claims) > 2)
            assert not await delivering(house, RecordSink("m", second)).once()
            inner.cancel_scope.cancel()
        house.filled(2)
        await until(lambda: next_in_line.state.position.size == len(house.lines()))
        group.cancel_scope.cancel()
    assert first.taken + second.taken == house.lines()


async def test_a_state_directory_that_cannot_be_used_is_said_and_ends_nothing(house, caplog):
    house.filled(2)
    (house.path / "sinks").write_text("")
    delivery = delivering(house, RecordSink("m", Memory()))
    assert not await delivery.once()
    assert not await delivery.once()
    assert caplog.text.count("audit sink m: ") == 1


async def test_a_failure_that_cannot_be_remembered_is_still_waited_for(house):
    house.filled(2)
    delivery = delivering(house, RecordSink("m", Memory([SinkError("x")])))
    assert await delivery._claimed()
    (house.path / "sinks").rename(house.path / "gone")
    (house.path / "sinks").write_text("")
    assert not await delivery._step()
    assert delivery.state.tries == 1
    await delivery._end()


async def test_a_position_that_cannot_be_kept_repeats_and_loses_nothing(house):
    house.filled(2)
    memory = Memory()
    delivery = delivering(house, RecordSink("m", memory))
    assert await delivery._claimed()
    (house.path / "sinks").rename(house.path / "gone")
    (house.path / "sinks").write_text("")
    assert not await delivery._step()
    (house.path / "sinks").unlink()
    (house.path / "gone").rename(house.path / "sinks")
    assert await delivery._step()
    await delivery._end()
    assert memory.taken == house.lines() * 2


@pytest.mark.untraced
async def test_a_dead_receiver_costs_no_memory_however_much_waits(house):
    log = house.open()
    for _ in range(400):
        log.append({"event": "exec.outcome", "note": "x" * 30_000})
    log.close()
    delivery = delivering(house, RecordSink("m", Memory([SinkError("x")] * 5)))
    tracemalloc.start()
    for _ in range(5):
        assert not await delivery.once()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 20  # of 12 MB that wait


async def test_who_never_delivered_delivers_nothing_at_its_end(house):
    house.filled(3)
    memory, first = Memory(), Book(house.path, "m", Clock())
    assert first.claim()
    async with anyio.create_task_group() as group:
        waiting = delivering(house, RecordSink("m", memory))
        group.start_soon(waiting.run)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    first.release()
    assert memory.taken == []
