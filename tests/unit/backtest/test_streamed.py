"""A stream as data: what it forgets while it is read is never left out without a word."""

from __future__ import annotations

from contextlib import closing

import pytest
from msgspec import structs

from tests.unit.feeds.markets import ticks_of
from tradekeel.backtest import RedisTickDataSource
from tradekeel.errors import DataError
from tradekeel.ports.ticks import SharedTick, StreamHead
from tradekeel.runtime.loop import Stepper
from tradekeel.storage.memory.ticks import MemoryStreams, MemoryTicks, Sequenced

TICKS = 500


def stream() -> tuple[MemoryTicks, Sequenced]:
    """One with five hundred ticks."""
    ticks = {tick.position: SharedTick(tick, tick.position, tick.ts_ns) for tick in ticks_of(TICKS)}
    head = StreamHead(run="r", instruments=("EUR_USD",), live=True, last=0)
    sequenced = Sequenced(head, "data", "writer", TICKS, {}, ticks)
    streams = MemoryStreams()
    streams.put("m", sequenced)
    return MemoryTicks(streams, "m"), sequenced


def test_all_that_was_there_at_the_look_is_the_data() -> None:
    shared, _ = stream()
    with closing(RedisTickDataSource(shared, Stepper(), window_ticks=100)) as data:
        assert [tick.position for window in data.windows() for tick in window.ticks] == list(range(1, TICKS + 1))


@pytest.mark.parametrize("newer", [0, 300])
def test_what_was_forgotten_up_to_the_last_tick_is_refused_and_no_early_end(newer: int) -> None:
    shared, sequenced = stream()
    with closing(RedisTickDataSource(shared, Stepper(), window_ticks=100)) as data:
        windows = data.windows()
        next(windows)
        later = [tick for tick in ticks_of(TICKS + newer) if tick.position > TICKS]
        sequenced.ticks = {tick.position: SharedTick(tick, tick.position, tick.ts_ns) for tick in later}
        sequenced.last = TICKS + newer
        with pytest.raises(DataError, match="has forgotten ticks 101 to 500 while they were read"):
            next(windows)


def test_where_the_clock_of_its_writer_was_set_back_time_stands_until_it_is_there_again() -> None:
    shared, sequenced = stream()
    later_ns = sequenced.ticks[401].tick.ts_ns - sequenced.ticks[1].tick.ts_ns
    for position in range(301, TICKS + 1):
        tick = sequenced.ticks[position].tick
        set_back = structs.replace(tick, ts_ns=tick.ts_ns - later_ns // 4)
        sequenced.ticks[position] = SharedTick(set_back, position, set_back.ts_ns)
    before_ns = sequenced.ticks[300].tick.ts_ns
    for window_ticks in (1, 100, 1_000):
        with closing(RedisTickDataSource(shared, Stepper(), window_ticks=window_ticks)) as data:
            ticks = [tick for window in data.windows() for tick in window.ticks]
            late = [tick for tick in ticks if tick.ts_ns != sequenced.ticks[tick.position].tick.ts_ns]
            assert late == ticks[300 : 300 + len(late)]
            assert 50 < len(late) < 150
            assert {tick.ts_ns for tick in late} == {before_ns}
            assert [tick.ts_ns for tick in ticks] == sorted(tick.ts_ns for tick in ticks)
            assert data.quality() == {"rows": TICKS, "ticks": TICKS, "out_of_order_fixed": len(late)}
            behind = [tick for window in data.windows(350) for tick in window.ticks]
            assert behind == ticks[350:], "a run that goes on is given the same"
