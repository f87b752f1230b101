"""A stream as data: what it forgets while it is read is never left out without a word."""

from __future__ import annotations

from contextlib import closing

import pytest

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
