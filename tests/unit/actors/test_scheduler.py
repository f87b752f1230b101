"""The scheduler goes by our clock, wherever that stands and whichever way it is set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.runtime.support import World, world
from tradekeel.actors.scheduler import SLEEP_MAX, Job, Scheduler
from tradekeel.bootstrap.schedule import trigger_of
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.clock import NS_PER_S
from tradekeel.runtime.supervisor import Supervisor

HOUR_S = 3_600
SLEEP_MAX_S = SLEEP_MAX.total_seconds()
NOON_NS = 1_704_628_800 * NS_PER_S  # 2024-01-07T12:00:00Z
FIVE_MINUTES = (300.0, "*/5 * * * *")


class Listener:
    """Stands where a reference stands; writes down by the wall clock each message, of which a mailbox keeps the newest."""

    alive = True

    def __init__(self, this: World, told: list[float]) -> None:
        self._this, self._told = this, told

    def latest(self, key: Any, message: str) -> None:
        self._told.append(self._this.clock.now_ns() / NS_PER_S)


def on_schedule(schedule: float | str, told: list[float], this: World, start_ns: int) -> Supervisor:
    this.clock.set_wall(start_ns)
    trigger = trigger_of(schedule)
    assert trigger is not None
    to: Any = Listener(this, told)
    return Supervisor("root", children=[ChildSpec("scheduler", lambda: Scheduler([Job("x", trigger, to, "now")]))])


@pytest.mark.parametrize("start_ns", [0, NOON_NS])
@pytest.mark.parametrize("schedule", FIVE_MINUTES)
async def test_jobs_fire_on_time_whenever_our_clock_says_it_is(schedule: float | str, start_ns: int) -> None:
    told: list[float] = []
    async with world(lambda this: on_schedule(schedule, told, this, start_ns)) as this:
        await this.clock.advance(HOUR_S)
    start_s = start_ns / NS_PER_S
    assert told == [start_s + 300 * n for n in range(1, 13)]


@pytest.mark.parametrize("schedule", FIVE_MINUTES)
async def test_a_clock_set_back_makes_no_job_wait_until_it_is_there_again(schedule: float | str) -> None:
    told: list[float] = []
    async with world(lambda this: on_schedule(schedule, told, this, NOON_NS)) as this:
        await this.clock.advance(310)
        assert len(told) == 1
        this.clock.set_wall(NOON_NS + 310 * NS_PER_S - HOUR_S * NS_PER_S)
        await this.clock.advance(300 + SLEEP_MAX_S)
        assert len(told) == 2
        await this.clock.advance(600)
        assert len(told) == 4


async def test_an_interval_is_as_long_as_ever_when_the_clock_is_set_back_on_the_way() -> None:
    told: list[float] = []
    async with world(lambda this: on_schedule(24.0 * HOUR_S, told, this, NOON_NS)) as this:
        await this.clock.advance(23 * HOUR_S)
        this.clock.set_wall(NOON_NS)
        await this.clock.advance(HOUR_S - 1)
        assert told == []
        await this.clock.advance(1)
        assert len(told) == 1


@pytest.mark.parametrize("schedule", FIVE_MINUTES)
async def test_times_that_a_clock_set_forward_has_passed_fire_once(schedule: float | str) -> None:
    told: list[float] = []
    year_s = 365 * 24 * HOUR_S
    async with world(lambda this: on_schedule(schedule, told, this, NOON_NS)) as this:
        await this.clock.advance(10)
        this.clock.set_wall(NOON_NS + (10 + year_s) * NS_PER_S)
        await this.clock.advance(SLEEP_MAX_S)
        assert len(told) == 1
        await this.clock.advance(600)
        assert len(told) == 3, "and then as ever"
