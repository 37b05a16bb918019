"""Waiting for an answer: woken at once, bounded, and aware of other servers."""

import anyio
import pytest
from anyio import to_thread

from approvals import desk as desk_module
from approvals.desk import Desk, wait_resolved
from approvals.request import Answer, Need, NotPending, State
from approvals.store import Store
from tests.approvals.conftest import OWNER, Log, question


async def test_a_waiter_wakes_when_the_answer_comes(desk, monkeypatch):
    monkeypatch.setattr(desk_module, "STORE_POLL_S", 60)
    pending = desk.open(question())
    states = []

    async def wait():
        states.append(await wait_resolved(desk, pending.id, deadline_s=60))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            vote = (pending.id, Answer.DENY, OWNER, pending.request_digest)
            await to_thread.run_sync(desk.vote, *vote)
    assert states == [State.DENIED]


async def test_an_answer_given_before_the_wait_returns_at_once(desk):
    pending = desk.open(question())
    desk.cancel(pending.id)
    assert await wait_resolved(desk, pending.id, deadline_s=60) is State.CANCELLED


@pytest.mark.threat("T08")
async def test_at_the_deadline_the_request_is_still_pending(desk):
    pending = desk.open(question())
    assert await wait_resolved(desk, pending.id, deadline_s=0.05) is State.PENDING


async def test_an_answer_of_another_server_is_seen_at_the_next_poll(desk, path, clock, monkeypatch):
    monkeypatch.setattr(desk_module, "STORE_POLL_S", 0.01)
    pending, states = desk.open(question()), []
    other = Desk(Store(path), Log(), clock=clock)

    async def wait():
        states.append(await wait_resolved(desk, pending.id, deadline_s=60))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await to_thread.run_sync(
                other.vote, pending.id, Answer.APPROVE, OWNER, pending.request_digest
            )
    assert states == [State.APPROVED]


@pytest.mark.threat("T08")
async def test_a_waiter_sees_the_request_expire(desk, clock, monkeypatch):
    monkeypatch.setattr(desk_module, "STORE_POLL_S", 0.01)
    pending = desk.open(question(Need(ttl_s=5)))
    clock.now_s += 5
    assert await wait_resolved(desk, pending.id, deadline_s=60) is State.EXPIRED


async def test_waiting_for_an_unknown_request_says_so(desk):
    with pytest.raises(NotPending):
        await wait_resolved(desk, "ap_0", deadline_s=1)
