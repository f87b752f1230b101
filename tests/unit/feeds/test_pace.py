"""Speed: ticks come when they are due on the clock that was handed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.feeds.reading import HEADER, build, csv_feed, write
from tradekeel.domain.ticks import TickWindow
from tradekeel.errors import InputError
from tradekeel.feeds.pace import parse_speed
from tradekeel.ports import Feed
from tradekeel.runtime.clock import NS_PER_S, ManualClock

SECONDS = (0, 1, 2, 10, 11, 30)


def paced(folder: Path, clock: ManualClock, **settings: Any) -> Feed:
    rows = "".join(f"2014-05-08T00:00:{second:02d}Z,1.1,1.2\n" for second in SECONDS)
    path = write(folder / "q.csv", HEADER + rows)
    return build("file", {"path": str(path), "instrument": "EUR_USD", **settings}, clock=clock)


class Reader:
    """Takes windows as they come, and notes when and what."""

    def __init__(self, feed: Feed, clock: ManualClock) -> None:
        self.feed = feed
        self.clock = clock
        self.seen: list[tuple[float, list[int]]] = []
        self.ended = False

    async def run(self) -> None:
        while (window := await self.feed.next_window(100)) is not None:
            self.seen.append((round(self.clock.monotonic(), 6), positions(window)))
        self.ended = True


def positions(window: TickWindow) -> list[int]:
    return [tick.position for tick in window.ticks]


@pytest.mark.parametrize(("speed", "factor"), [(1, 1.0), (10, 0.1), ("2.5", 0.4), (0.5, 2.0)])
async def test_a_multiple_of_real_time(tmp_path, speed, factor):
    clock = ManualClock()
    feed = paced(tmp_path, clock, speed=speed)
    await feed.open(0)
    reader = Reader(feed, clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.run)
        await clock.advance(60)
    assert reader.seen == [(round(second * factor, 6), [n]) for n, second in enumerate(SECONDS, start=1)]
    assert reader.ended


async def test_at_speed_max_nobody_waits(tmp_path):
    feed = paced(tmp_path, ManualClock(), speed="max")
    await feed.open(0)
    window = await feed.next_window(100)
    assert window is not None
    assert positions(window) == [1, 2, 3, 4, 5, 6]


async def test_a_slow_reader_finds_all_that_is_due_in_one_window(tmp_path):
    clock = ManualClock()
    feed = paced(tmp_path, clock, speed=1)
    await feed.open(0)
    first = await feed.next_window(100)
    await clock.advance(10)
    late = await feed.next_window(100)
    assert first is not None
    assert late is not None
    assert (positions(first), positions(late)) == ([1], [2, 3, 4])


async def test_a_window_is_never_larger_than_was_asked_for(tmp_path):
    clock = ManualClock()
    feed = paced(tmp_path, clock, speed=1)
    await feed.open(0)
    await feed.next_window(1)
    await clock.advance(60)
    window = await feed.next_window(2)
    assert window is not None
    assert positions(window) == [2, 3]


async def test_a_wait_that_is_cancelled_loses_nothing(tmp_path):
    clock = ManualClock()
    feed = paced(tmp_path, clock, speed=1)
    await feed.open(2)
    await feed.next_window(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.next_window, 100)
        await clock.settle()
        tasks.cancel_scope.cancel()
    await clock.advance(8)
    window = await feed.next_window(100)
    assert window is not None
    assert positions(window) == [4]


async def test_after_going_back_the_first_tick_is_due_at_once(tmp_path):
    clock = ManualClock()
    feed = paced(tmp_path, clock, speed=1)
    await feed.open(5)
    assert await feed.next_window(1) is not None
    await feed.open(3)
    window = await feed.next_window(100)
    assert window is not None
    assert (clock.monotonic(), positions(window)) == (0.0, [4])


async def test_long_waits_can_be_cut_short(tmp_path):
    clock = ManualClock()
    feed = paced(tmp_path, clock, speed=1, wait_max_s=3)
    await feed.open(0)
    reader = Reader(feed, clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.run)
        await clock.advance(60)
    assert reader.seen == [(0, [1]), (1, [2]), (2, [3]), (5, [4]), (6, [5]), (9, [6])]


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=20), st.sampled_from([0.3, 0.7, 1, 3, 7, 1e5]))
async def test_no_tick_is_late_lost_or_far_too_early_at_odd_speeds(tmp_path_factory, gaps_ns, speed):
    times_ns = [1_399_507_200_000_000_000 + sum(gaps_ns[: n + 1]) for n in range(len(gaps_ns))]
    rows = "".join(f"{ts_ns},1.1,1.2\n" for ts_ns in times_ns)
    path = write(tmp_path_factory.mktemp("pace") / "q.csv", HEADER + rows)
    clock = ManualClock()
    settings = {"path": str(path), "instrument": "EUR_USD", "time_format": "epoch_ns", "speed": speed}
    feed = build("file", settings, clock=clock)
    await feed.open(0)
    reader = Reader(feed, clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.run)
        while await clock.advance_to_next():
            pass
    assert [n for _, taken in reader.seen for n in taken] == list(range(1, len(times_ns) + 1))
    for at, taken in reader.seen:
        due = [(times_ns[n - 1] - times_ns[0]) / 1e9 / speed for n in taken]
        assert due[-1] == pytest.approx(at, abs=2e-6)


async def test_a_live_market_is_stamped_with_the_clock_and_goes_on_where_it_was(tmp_path):
    clock = ManualClock(start_ns=1_700_000_000_000_000_000)
    feed = build("synthetic", {"instruments": ["EUR_USD"], "live": True, "interval_ms": 1000}, clock=clock)
    assert (feed.info.replayable, feed.info.fingerprint, feed.info.total, feed.progress()) == (False, "", None, None)
    await feed.open(0)
    reader = Reader(feed, clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.run)
        await clock.advance(30)
        tasks.cancel_scope.cancel()
    times = [at for at, _ in reader.seen]
    assert [n for _, taken in reader.seen for n in taken] == list(range(1, len(times) + 1))
    assert 29 <= len(times) <= 31
    await clock.advance(100)
    after = reader.seen[-1][1][-1]
    await feed.open(after)
    window = await feed.next_window(1)
    assert window is not None
    assert window.first_position == after + 1
    assert 0 <= window.ticks[0].ts_ns - clock.now_ns() < 1_000_000_000


@pytest.mark.parametrize("step_s", [120, -120])
async def test_a_live_markets_ticks_are_of_the_clocks_time_also_when_it_is_set_and_never_go_back(step_s: int) -> None:
    clock = ManualClock(start_ns=1_700_000_000_000_000_000)
    feed = build("synthetic", {"instruments": ["EUR_USD", "NZD_USD"], "live": True, "interval_ms": 500}, clock=clock)
    await feed.open(0)
    seen: list[tuple[int, int]] = []  # the clock's time, and the tick's

    async def read() -> None:
        while (window := await feed.next_window(10)) is not None:
            seen.extend((clock.now_ns(), tick.ts_ns) for tick in window.ticks)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await clock.advance(10)
        before = len(seen)
        clock.set_wall(clock.now_ns() + step_s * NS_PER_S)
        await clock.advance(300)
        tasks.cancel_scope.cancel()
    assert before > 30
    assert [told for _, told in seen] == sorted(told for _, told in seen)
    latest = max(now for now, _ in seen[:before])
    in_time = [(now, told) for now, told in seen if now >= latest]
    assert len(in_time) > 300
    assert max(abs(now - told) for now, told in in_time) < 1_000, "each is of the moment in which it is delivered"


@pytest.mark.parametrize("speed", ["", "fast", "MAX", 0, -1, "nan", "inf", 1e9])
def test_a_speed_that_is_none_is_refused_and_says_what_is_allowed(speed):
    with pytest.raises(InputError, match='allowed are "max" and multiples of real time'):
        parse_speed(speed)


async def test_a_feed_must_be_opened_first(tmp_path):
    feed = csv_feed(write(tmp_path / "q.csv", HEADER))
    with pytest.raises(AssertionError):
        await feed.next_window(1)
