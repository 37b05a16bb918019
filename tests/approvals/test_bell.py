"""A waiting task wakes when any thread moves a request, and a ring is never lost."""

import threading

import anyio

from approvals.bell import Bell


async def test_a_ring_from_another_thread_wakes_every_listener():
    bell, woke = Bell(), []

    async def wait(listener):
        await listener.wait(30)
        woke.append(listener)

    with anyio.fail_after(30), bell.listener() as one, bell.listener() as two:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, one)
            tasks.start_soon(wait, two)
            threading.Thread(target=bell.ring).start()
    assert len(woke) == 2


async def test_a_ring_before_the_wait_is_not_lost():
    bell = Bell()
    with anyio.fail_after(30), bell.listener() as listener:
        bell.ring()
        bell.ring()
        await listener.wait(30)


async def test_silence_ends_at_the_timeout():
    with anyio.fail_after(30), Bell().listener() as listener:
        await listener.wait(0.01)


def test_a_ring_nobody_hears_does_nothing():
    Bell().ring()
