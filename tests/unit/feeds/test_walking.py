"""How far back is read so that bars are right: as far as they need, no further than a gap, and never past what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.unit.feeds.markets import ticks_of
from tests.unit.feeds.streams import STREAM, counted, written
from tradekeel.domain.bars import Origin
from tradekeel.feeds.walking import walk_back
from tradekeel.ports.ticks import Piece
from tradekeel.storage.memory.ticks import MemoryStreams, MemoryTicks

ONE = ["EUR_USD"]


class Reader:
    """Reads back, and counts how often it was asked."""

    def __init__(self, streams: MemoryStreams) -> None:
        self._ticks = MemoryTicks(streams, STREAM)
        self.asked = 0

    async def read_back(self, before: int, count: int) -> Piece:
        self.asked += 1
        return await self._ticks.read_back("run", before, count)


async def test_only_as_far_as_the_open_bars_go() -> None:
    reader = Reader(await written(ticks_of(1_000, symbols=ONE)))  # four a second
    way = await walk_back(reader, {"EUR_USD": ("5s",)}, 900, 900, 10)
    assert way.whole
    assert 850 <= way.first <= 900, "a bar is twenty ticks"
    assert way.origins["EUR_USD"].ticks == way.first - 1
    assert reader.asked <= 5


@pytest.mark.parametrize("timeframes", [{"EUR_USD": ("5s",)}, {"EUR_USD": ("100t",)}, {"EUR_USD": ("5s", "30t")}])
async def test_further_where_somebody_is_further_back(timeframes: Mapping[str, Sequence[str]]) -> None:
    reader = Reader(await written(ticks_of(1_000, symbols=ONE)))
    way = await walk_back(reader, timeframes, 300, 900, 64)
    assert way.whole
    assert way.first <= 301


async def test_to_the_very_first_tick_for_bars_that_are_longer_than_the_stream() -> None:
    reader = Reader(await written(ticks_of(200)))
    way = await walk_back(reader, {"EUR_USD": ("1d",)}, 100, 100, 64)
    assert (way.first, way.whole) == (1, True)


async def test_to_the_oldest_where_the_first_is_gone_and_bars_are_not_whole() -> None:
    streams = await written(ticks_of(200))
    streams.by_name[STREAM].ticks = {one.tick.position: one for one in counted(ticks_of(200))[150:]}
    way = await walk_back(Reader(streams), {"EUR_USD": ("1d",)}, 180, 180, 64)
    assert (way.first, way.whole, way.is_oldest) == (151, False, True)


async def test_not_past_a_gap_behind_which_bars_began_anew() -> None:
    ticks = ticks_of(300)
    reader = Reader(await written(ticks[:100], ticks[150:]))
    way = await walk_back(reader, {"EUR_USD": ("1d",), "USD_JPY": ("1d",)}, 250, 250, 64)
    assert (way.first, way.whole, way.is_oldest) == (151, True, False)
    assert set(way.origins.values()) == {Origin()}


async def test_an_instrument_that_has_not_come_yet_is_looked_for_to_the_end() -> None:
    reader = Reader(await written(ticks_of(200, symbols=ONE)))
    way = await walk_back(reader, {"USD_JPY": ("5s",)}, 150, 150, 64)
    assert (way.first, way.whole) == (1, True)


async def test_where_nothing_is_there_bars_begin_with_the_next_tick() -> None:
    way = await walk_back(Reader(await written()), {"EUR_USD": ("5s",)}, 70, 70, 64)
    assert (way.first, way.whole, way.is_oldest) == (71, False, True)
