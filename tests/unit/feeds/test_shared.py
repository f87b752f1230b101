"""The feed that reads a shared stream: positions that mean the same tick, gaps that are told, bars as they would be."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.unit.feeds.markets import SYMBOLS, Read, read_all, read_on, ticks_of
from tests.unit.feeds.reading import Placed
from tests.unit.feeds.streams import HEAD, STREAM, WRITING, counted, stream_feed, written
from tradekeel.domain.bars import BarSet
from tradekeel.domain.ticks import Tick
from tradekeel.errors import DataError, InputError, StoreAway
from tradekeel.feeds import FEEDS, FeedContext, RedisFeedSettings
from tradekeel.feeds.context import FeedSurroundings
from tradekeel.runtime.clock import SystemClock
from tradekeel.storage.memory.ticks import MemoryStreams, MemoryTicks

FRAMES = {"EUR_USD": ("1s", "7t"), "USD_JPY": ("20s", "3t")}


def bars_of(ticks: list[Tick]) -> list[Placed]:
    built = BarSet(FRAMES)
    placed = [(ticks[0].position + index, bar) for index, bars in sorted(built.fill(ticks).items()) for bar in bars]
    return placed + [(ticks[-1].position + 1, bar) for bar in built.finish()]


# --- the same everywhere ----------------------------------------------------------------------------------------------


async def test_wherever_it_begins_ticks_and_bars_are_those_of_a_reader_that_never_stopped(seed: int) -> None:
    chance = random.Random(seed)
    ticks = ticks_of(1_500)
    streams = await written(ticks)
    whole = await read_all(stream_feed(streams, timeframes=FRAMES))
    assert whole.ticks == ticks
    assert whole.bars == bars_of(ticks)
    for _ in range(40):
        after = chance.randrange(1, 1_499)
        read = await read_all(stream_feed(streams, timeframes=FRAMES), after, chance.choice([1, 7, 400]))
        assert read.ticks == ticks[after:]
        assert read.bars == [placed for placed in whole.bars if placed[0] > after]
        assert read.gaps == []


async def test_it_may_be_opened_again_anywhere(seed: int) -> None:
    chance = random.Random(seed)
    ticks = ticks_of(300)
    feed = stream_feed(await written(ticks))
    for after in (chance.randrange(300) for _ in range(20)):
        read = Read()
        await feed.open(after, after)
        await read_on(feed, read)
        assert read.ticks == ticks[after:]
    await feed.close()


async def test_between_gaps_at_random_nothing_is_passed_over_and_restarts_agree(seed: int) -> None:
    chance = random.Random(seed)
    ticks = ticks_of(1_200)
    edges = sorted(chance.sample(range(100, 1_100), 6))
    kept = [ticks[: edges[0]], ticks[edges[1] : edges[2]], ticks[edges[3] : edges[4]], ticks[edges[5] :]]
    streams = await written(*kept)
    whole = await read_all(stream_feed(streams, timeframes=FRAMES))
    assert whole.ticks == [tick for run in kept for tick in run]
    assert whole.gaps == [edges[1], edges[3], edges[5]]
    for _ in range(25):
        after = chance.choice(whole.ticks).position
        read = await read_all(stream_feed(streams, timeframes=FRAMES), after, 50)
        assert read.ticks == [tick for tick in whole.ticks if tick.position > after]
        assert [gap for gap in whole.gaps if gap > after] == [gap for gap in read.gaps if gap != after]


# --- gaps -------------------------------------------------------------------------------------------------------------


async def test_a_window_ends_where_a_gap_begins(seed: int) -> None:
    ticks = ticks_of(60)
    feed = stream_feed(await written(ticks[:20], ticks[30:31], ticks[40:]))
    await feed.open(0)
    windows = [window for _ in range(3) if (window := await feed.next_window(1_000)) is not None]
    assert [(window.first_position, window.last_position, window.gap) for window in windows] == [
        (1, 20, False),
        (31, 31, True),
        (41, 60, True),
    ]
    assert feed.quality() == {"rows": 43, "ticks": 41, "gaps": 2}, "two were looked at to see where it begins"
    assert await feed.next_window(1) is None
    assert feed.progress() is None


async def test_ticks_that_are_missing_and_that_everybody_has_seen_are_no_loss() -> None:
    ticks = ticks_of(100)
    feed, read = stream_feed(await written(ticks[50:])), Read()
    await feed.open(10, 50)  # the venue is at 10, everybody else at 50
    await read_on(feed, read)
    assert (read.ticks, read.gaps) == (ticks[50:], [])


async def test_bars_that_cannot_be_what_they_were_are_a_gap_to_who_counts_on_them_only() -> None:
    ticks = ticks_of(400)
    streams = await written(counted_part := ticks[200:])
    frames = {"EUR_USD": ("1h",)}
    assert (await read_all(stream_feed(streams, timeframes=frames), 300)).gaps == [], (
        "counted from the first that is there"
    )
    late = MemoryStreams()
    shared = MemoryTicks(late, STREAM)
    await shared.begin(HEAD, "data", "me")
    await shared.append(WRITING, counted(ticks)[200:], {})  # the ticks before it were there once
    assert len(counted_part) == 200
    feed, read = stream_feed(late, timeframes=frames), Read()
    await feed.open(300, 300)
    await read_on(feed, read, 100)
    assert read.gaps == [300]
    new, read = stream_feed(late, timeframes=frames), Read()
    await new.open(0)
    await read_on(new, read, 100)
    assert (read.gaps, read.ticks[0].position) == ([], 201)


async def test_what_everybody_has_seen_and_is_gone_is_not_gone_back_to() -> None:
    ticks = ticks_of(400)
    streams = MemoryStreams()
    shared = MemoryTicks(streams, STREAM)
    await shared.begin(HEAD, "data", "me")
    await shared.append(WRITING, counted(ticks)[200:], {})
    feed, read = stream_feed(streams, timeframes={"EUR_USD": ("5s",)}), Read()
    await feed.open(100, 300)
    await read_on(feed, read, 200)
    assert (read.ticks, read.gaps) == (ticks[200:], [])


async def test_bars_whose_ticks_are_taken_away_while_they_are_built_begin_anew_and_that_is_told() -> None:
    ticks = ticks_of(3_000)
    streams = await written(ticks)
    feed, read = stream_feed(streams, timeframes={"EUR_USD": ("1h",)}), Read()

    def taken_away(doing: str) -> None:
        if doing == "read":
            sequenced = streams.by_name[STREAM]
            sequenced.ticks = {at: tick for at, tick in sequenced.ticks.items() if at > 2_500}

    streams.fault = taken_away
    await feed.open(2_600, 2_600)
    await read_on(feed, read)
    assert (read.ticks, read.gaps) == (ticks[2_600:], [2_600])


# --- where it begins --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "first"), [("oldest", 41), ("new", 101), (70, 70), (1, 41)])
async def test_who_has_seen_nothing_begins_where_the_settings_say(start: str | int, first: int) -> None:
    ticks = ticks_of(150)
    streams = await written(ticks[40:100], ended=False)
    feed, read = stream_feed(streams, start=start), Read()
    await feed.open(0)
    await MemoryTicks(streams, STREAM).append(WRITING, counted(ticks[100:]), {})
    await read_on(feed, read, 151 - first)
    assert read.ticks == ticks[first - 1 :]
    assert read.gaps == ([40] if start == 1 else []), "whoever names a tick is told that it is not there"


async def test_an_empty_stream_that_has_ended_is_empty() -> None:
    assert (await read_all(stream_feed(await written()))).ticks == []


async def test_a_feed_that_is_not_open_delivers_nothing() -> None:
    feed = stream_feed(await written(ticks_of(5)))
    with pytest.raises(AssertionError, match="open the feed first"):
        await feed.next_window(1)


async def test_a_tick_bar_of_a_live_market_is_told_with_the_next_tick_and_nobody_waits_for_that() -> None:
    ticks = ticks_of(14, symbols=["EUR_USD"])
    streams = await written(ticks[:7], ended=False, live=True)
    feed, read = stream_feed(streams, timeframes={"EUR_USD": ("7t",)}), Read()
    await feed.open(0)
    await read_on(feed, read, 7)
    assert (len(read.ticks), read.bars) == (7, [])
    await MemoryTicks(streams, STREAM).append(WRITING, counted(ticks)[7:], {})
    await read_on(feed, read, 7)
    assert [position for position, _ in read.bars] == [8]
    assert feed.info.live


# --- what is refused --------------------------------------------------------------------------------------------------


def built(streams: MemoryStreams | None, **settings: object) -> None:
    table = {"stream": STREAM, "instruments": SYMBOLS} | settings
    make = None if streams is None else (lambda name: MemoryTicks(streams, name))
    FEEDS["redis"].build(RedisFeedSettings(**table), FeedContext("reader", SystemClock(), stream=make))  # type: ignore[arg-type]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("after", [0, 20, 21])
async def test_the_bars_of_the_very_last_tick_are_known_at_the_end_wherever_it_was_begun(
    live: bool, after: int
) -> None:
    frames = {"EUR_USD": ("7t",)}
    ticks = ticks_of(21, symbols=["EUR_USD"])
    feed = stream_feed(await written(ticks, live=live), timeframes=frames, start="oldest")
    await feed.open(after, after)
    while await feed.next_window(8) is not None:
        pass
    built = BarSet(frames)
    built.fill(ticks)
    assert feed.last_bars() == built.finish() != ()
    await feed.close()


async def test_no_server_no_stream_and_other_instruments_are_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"reads from Redis, and no server is named: give redis\.url"):
        built(None)
    with pytest.raises(
        DataError, match="there is not the tick stream 'market' in memory: start the daemon that shares it"
    ):
        built(MemoryStreams())
    streams = await written(ticks_of(5))
    with pytest.raises(DataError, match="has EUR_USD, USD_JPY, and the feed's table says EUR_USD: write what it has"):
        built(streams, instruments=("EUR_USD",))


async def test_ticks_of_an_instrument_that_the_stream_does_not_name_are_refused() -> None:
    streams = await written(ticks_of(10), ticks_of(5, first=11, symbols=["BTC_USDT"]))
    with pytest.raises(
        DataError, match=r"has ticks of BTC_USDT behind 0, and says that it has only EUR_USD, USD_JPY.*Delete"
    ):
        await read_all(stream_feed(streams))


async def test_a_stream_that_comes_later_and_a_server_that_is_away_are_waited_for_by_who_has_patience() -> None:
    streams, asked = MemoryStreams(), []
    ready = await written(ticks_of(5))

    def wait(for_what: str) -> None:
        asked.append(for_what)
        streams.fault = lambda doing: StoreAway("it cannot be reached") if len(asked) == 1 else None
        if len(asked) == 2:
            streams.put(STREAM, ready.by_name[STREAM])

    assert len((await read_all(stream_feed(streams, patience=wait))).ticks) == 5
    assert asked == [
        "feed reader: there is not the tick stream 'market' in memory: start the daemon that shares it",
        "feed reader: it cannot be reached",
    ]
    streams.fault = lambda doing: StoreAway("it cannot be reached")
    with pytest.raises(StoreAway):
        stream_feed(streams)


async def test_another_run_is_another_fingerprint() -> None:
    first = stream_feed(await written(ticks_of(5))).info
    assert first.replayable
    assert stream_feed(await written(ticks_of(9))).info.fingerprint == first.fingerprint
    other = await written(ticks_of(5))
    other.by_name[STREAM].head = replace(HEAD, run="other")
    assert stream_feed(other).info.fingerprint != first.fingerprint


def test_a_table_names_its_instruments_and_nothing_else_is_looked_at() -> None:
    kind = FEEDS["redis"]
    assert kind.symbols({"instruments": ["A", 5]}) == {"A": ("instruments",)}
    assert kind.symbols({"instruments": "A"}) == {}
    assert list(kind.look({}, FeedSurroundings(Path(), (), Path("/"), lambda path: None))) == []
