"""The journal: calls that wait together share a commit, and none answers for another."""

import asyncio
import os
import threading

import anyio
import pytest

from audit.errors import AuditUnavailable, RecordRefused
from audit.query import records
from audit.redact import Redactor
from audit.verify import Code, verify
from mcp_server.journal import Journal
from tests.audit.house import House

TASKS = 64


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path)


@pytest.fixture
def log(house):
    log = house.open()
    yield log
    log.close()


@pytest.fixture
def journal(house, log) -> Journal:
    return Journal(log, house.path, Redactor())


class Disk:
    """Counts syncs, says that one `began`, and lets it go on while it is `free`."""

    def __init__(self, monkeypatch) -> None:
        self.syncs = 0
        self.free = threading.Event()
        self.free.set()
        self.began = threading.Event()
        self.real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, descriptor: int) -> None:
        self.syncs += 1
        self.began.set()
        self.free.wait()
        self.real(descriptor)


async def test_calls_that_wait_together_share_a_commit(house, journal, monkeypatch):
    disk, receipts = Disk(monkeypatch), []

    async def call(name: int) -> None:
        for turn in range(3):
            record = {"event": "tool.classified", "name": name, "turn": turn}
            receipts.append((name, turn, await journal.append(record)))

    async with anyio.create_task_group() as calls:
        for name in range(TASKS):
            calls.start_soon(call, name)
    assert disk.syncs <= 2 * 3
    found = list(records(house.path))
    for name, turn, receipt in receipts:
        assert (found[receipt.seq]["name"], found[receipt.seq]["turn"]) == (name, turn)
    assert len({receipt.seq for *_, receipt in receipts}) == 3 * TASKS
    assert verify(house.path, house.keys, deep=True).code is Code.VERIFIED


async def test_a_refused_record_is_its_own_caller_s_alone(house, journal):
    answers = {}

    async def call(name: str, record: dict) -> None:
        try:
            answers[name] = (await journal.append(record)).seq
        except RecordRefused as refused:
            answers[name] = str(refused)

    async with anyio.create_task_group() as calls:
        calls.start_soon(call, "one", {"event": "x"})
        calls.start_soon(call, "wrong", {"event": "x", "share": 0.5})
        calls.start_soon(call, "other", {"event": "x"})
    assert answers.pop("wrong").startswith("record.share: float")
    assert answers == {"one": 1, "other": 2}


@pytest.mark.threat("T16")
async def test_a_cancelled_caller_s_record_is_written_before_it_learns_of_it(
    house, journal, monkeypatch
):
    disk, ended = Disk(monkeypatch), []
    disk.free.clear()

    async def call(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            ended.append((name, (await journal.append({"event": name})).seq))
            await anyio.lowlevel.checkpoint()
            ended.append(name)

    async with anyio.create_task_group() as calls:
        scopes = [anyio.CancelScope() for _ in range(3)]
        calls.start_soon(call, "first", scopes[0])
        await anyio.to_thread.run_sync(disk.began.wait)
        calls.start_soon(call, "second", scopes[1])
        calls.start_soon(call, "third", scopes[2])
        await anyio.wait_all_tasks_blocked()
        for scope in scopes:
            scope.cancel()
        await anyio.lowlevel.checkpoint()
        disk.free.set()
    assert ended == [("first", 1), ("second", 2), ("third", 3)]
    assert [one["event"] for one in records(house.path)][1:] == ["first", "second", "third"]


@pytest.mark.threat("T16")
async def test_a_cancellation_that_no_scope_repeats_is_passed_on_once_the_record_is_written(
    house, journal, monkeypatch
):
    disk = Disk(monkeypatch)
    disk.free.clear()
    first, second = (asyncio.create_task(journal.append({"event": name})) for name in "ab")
    await anyio.to_thread.run_sync(disk.began.wait)
    second.cancel()
    await anyio.wait_all_tasks_blocked()
    assert not second.done()
    disk.free.set()
    assert (await first).seq == 1
    with pytest.raises(asyncio.CancelledError):
        await second
    assert [one["event"] for one in records(house.path)][1:] == ["a", "b"]


@pytest.mark.threat("T16")
@pytest.mark.parametrize(
    ("place", "neighbour"),
    [
        ("audit.log.AuditLog.append_all", AuditUnavailable),
        ("mcp_server.journal.checkpoint", RuntimeError),  # before anyone could join
    ],
)
async def test_a_write_that_fails_whole_is_no_receipt_and_the_next_one_goes_on(
    journal, monkeypatch, place, neighbour
):
    answers = []

    def broken(*_):
        raise RuntimeError

    async def call() -> None:
        try:
            await journal.append({"event": "x"})
        except (AuditUnavailable, RuntimeError) as error:
            answers.append(type(error))

    with monkeypatch.context() as patch:
        patch.setattr(place, broken)
        async with anyio.create_task_group() as calls:
            calls.start_soon(call)
            calls.start_soon(call)
    assert answers == [RuntimeError, neighbour]
    assert (await journal.append({"event": "x"})).seq == 1


async def test_more_calls_than_one_commit_takes_are_all_written(journal, monkeypatch):
    monkeypatch.setattr("mcp_server.journal.MAX_BATCH", 2)
    async with anyio.create_task_group() as calls:
        for _ in range(7):
            calls.start_soon(journal.append, {"event": "x"})
    assert (await journal.append({"event": "x"})).seq == 8
