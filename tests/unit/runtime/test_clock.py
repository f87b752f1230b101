"""Time is injected: on a manual clock nothing happens until it is told to move, and then always in the same order."""

from __future__ import annotations

import asyncio
import string

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.runtime.clock import (
    ManualClock,
    SystemClock,
    fail_after,
    make_random,
    move_on_after,
    new_id,
)


async def test_nobody_wakes_before_its_time():
    clock, woken = ManualClock(), []

    async def sleeper() -> None:
        await clock.sleep(10)
        woken.append(clock.monotonic())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper)
        await clock.advance(9.999)
        assert woken == []
        await clock.advance(0.001)
        assert woken == [10.0]


@given(delays=st.lists(st.floats(0, 100), min_size=1, max_size=20))
async def test_sleepers_wake_in_the_order_of_their_deadlines(delays):
    clock, woken = ManualClock(), []

    async def sleeper(number: int, delay: float) -> None:
        await clock.sleep(delay)
        woken.append((round(delay * 1e9), number))
        assert clock.monotonic() >= delay, "a deadline has passed for everybody who looks"

    async with anyio.create_task_group() as tasks:
        for number, delay in enumerate(delays):
            tasks.start_soon(sleeper, number, delay)
        await clock.advance(101)
    assert woken == sorted(woken)
    assert len(woken) == len(delays)


async def test_what_a_sleeper_starts_on_the_way_also_gets_its_time():
    clock, seen = ManualClock(), []

    async def chain() -> None:
        for _ in range(5):
            await clock.sleep(1)
            seen.append(clock.monotonic())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(chain)
        await clock.advance(5)
    assert seen == [1, 2, 3, 4, 5]


async def test_virtual_time_jumps_from_timer_to_timer():
    clock = ManualClock()
    fired: list[float] = []
    clock.call_at(3600.0, lambda: fired.append(clock.monotonic()))
    clock.call_at(86_400.0, lambda: fired.append(clock.monotonic()))
    off = clock.call_at(10.0, lambda: fired.append(-1))
    off.cancel()
    assert clock.next_deadline_s == 3600.0
    while await clock.advance_to_next():
        pass
    assert fired == [3600.0, 86_400.0]
    assert clock.next_deadline_s is None


async def test_the_wall_clock_steps_and_monotonic_time_does_not_notice():
    clock = ManualClock(start_ns=1_000)
    await clock.advance(1)
    assert clock.now_ns() == 1_000_001_000
    clock.set_wall(5)
    assert (clock.now_ns(), clock.monotonic()) == (5, 1.0)


async def test_a_deadline_in_the_past_is_met_at_once():
    clock, fired = ManualClock(), []
    await clock.advance(5)
    clock.call_at(3, lambda: fired.append("call"))
    await clock.sleep_until(2)
    await clock.sleep(-1)
    assert fired == ["call"]


async def test_move_on_after_leaves_the_block_at_its_deadline():
    clock = ManualClock()

    async def work() -> str:
        with move_on_after(clock, 2) as scope:
            await anyio.sleep_forever()
        return "moved on" if scope.cancelled_caught else "finished"

    async with anyio.create_task_group() as tasks:
        results: list[str] = []

        async def run() -> None:
            results.append(await work())

        tasks.start_soon(run)
        await clock.advance(1.9)
        assert results == []
        await clock.advance(0.1)
        assert results == ["moved on"]


async def test_fail_after_raises_at_its_deadline_and_only_then():
    clock = ManualClock()
    with fail_after(clock, 2):
        pass
    with fail_after(clock, None):
        pass

    async def late() -> None:
        with pytest.raises(TimeoutError), fail_after(clock, 2):
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(late)
        await clock.advance(2)


async def test_a_cancelled_sleeper_leaves_no_timer():
    clock = ManualClock()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await clock.sleep(1)
    assert clock.next_deadline_s is None


async def test_settling_ends_although_somebody_never_comes_to_rest():
    clock = ManualClock()

    async def restless() -> None:
        while True:
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(restless)
        await clock.settle()
        tasks.cancel_scope.cancel()


async def test_the_system_clock_keeps_its_promises():
    clock = SystemClock()
    before_s, before_ns = clock.monotonic(), clock.now_ns()
    await clock.sleep(0.001)
    await clock.sleep_until(clock.monotonic() - 1)
    called = asyncio.Event()
    clock.call_at(clock.monotonic() + 0.001, called.set)
    await called.wait()
    assert clock.monotonic() > before_s
    assert clock.now_ns() > before_ns


def test_ids_are_128_random_bits_in_lower_case_base32():
    ids = {new_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(len(i) == 26 and set(i) <= set(string.ascii_lowercase + "234567") for i in ids)


def test_ids_and_chances_repeat_from_a_seed():
    assert new_id(make_random(1)) == new_id(make_random(1))
    assert new_id(make_random(1)) != new_id(make_random(2))
    assert make_random().random() != make_random().random()
