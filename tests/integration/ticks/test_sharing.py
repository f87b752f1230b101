"""Ticks that one daemon shares and another reads, on a real Redis: the same sequence, whatever was killed in between."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import anyio
import pytest

from tests.integration.ticks.support import ABOUT, KEY, client, feed_of, sharing, until, write
from tests.unit.feeds.markets import START_NS, SYMBOLS, Market, Read, read_all, read_on, ticks_of
from tradekeel.domain.ticks import Tick
from tradekeel.errors import DataError
from tradekeel.feeds.sharing import LEAP_TICKS

FRAMES = {"EUR_USD": ("5s", "1m", "7t"), "USD_JPY": ("100t", "15m")}


async def test_what_is_shared_is_read_tick_for_tick_and_ends_with_the_feed(redis_url: str) -> None:
    ticks = ticks_of(2_500)
    await write(Market(ticks), redis_url)
    read = await read_all(feed_of(redis_url))
    assert read.ticks == ticks
    assert read.gaps == []


async def test_every_digit_comes_through(redis_url: str) -> None:
    odd = [
        Tick("EUR_USD", START_NS, Decimal("1.10000"), Decimal("1.1000100000000000000000000001"), 1, Decimal("1E+3")),
        Tick("EUR_USD", START_NS + 1, Decimal("0.00001"), Decimal("99999999999999999999.99"), 2, None, Decimal("0.0")),
    ]
    await write(Market(odd), redis_url)
    read = await read_all(feed_of(redis_url, instruments=["EUR_USD"]))
    assert [str(tick) for tick in read.ticks] == [str(tick) for tick in odd]


async def test_an_entry_is_a_tick_whose_id_is_its_position(redis_url: str) -> None:
    await write(Market(ticks_of(3)), redis_url)
    with client(redis_url) as look:
        entries = [
            (entry, " ".join(f"{name}={value}" for name, value in said.items())) for entry, said in look.xrange(KEY)
        ]
        about = look.hgetall(ABOUT)
    assert entries == [
        ("1-0", f"i=USD_JPY t={START_NS + 250_000_000} b=1.10007 a=1.10009 n=1 B=1 A=0.10"),
        ("2-0", f"i=EUR_USD t={START_NS + 500_000_000} b=1.10014 a=1.10016 n=1 B=2 A=0.10"),
        ("3-0", f"i=USD_JPY t={START_NS + 750_000_000} b=1.10021 a=1.10023 n=2 A=0.10"),
        ("3-1", "end=1"),
    ]
    said = {name: about[name] for name in ("format", "run", "live", "instruments", "last")}
    assert said == {"format": "1", "run": "run", "live": "0", "instruments": "USD_JPY EUR_USD", "last": "3"}


async def test_bars_are_those_of_whoever_reads_the_feed_itself(redis_url: str) -> None:
    ticks = ticks_of(3_000)
    await write(Market(ticks), redis_url)
    read = await read_all(feed_of(redis_url, timeframes=FRAMES))
    assert read.bars == bars_of(ticks)


def bars_of(ticks: list[Tick]) -> list[Any]:
    """Placed bars, as the domain builds them of all ticks at once."""
    from tradekeel.domain.bars import BarSet

    built = BarSet(FRAMES)
    placed = [(ticks[0].position + index, bar) for index, bars in sorted(built.fill(ticks).items()) for bar in bars]
    return placed + [(ticks[-1].position + 1, bar) for bar in built.finish()]


async def test_a_reader_that_begins_again_anywhere_reads_the_same_ticks_and_the_same_bars(
    redis_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    ticks = ticks_of(2_000)
    await write(Market(ticks), redis_url)
    whole = await read_all(feed_of(redis_url, timeframes=FRAMES))
    for _ in range(25):
        after, count = chance.randrange(1, 1_999), chance.choice([1, 3, 64, 1_000])
        read = await read_all(feed_of(redis_url, timeframes=FRAMES), after, count)
        assert read.ticks == ticks[after:]
        assert read.bars == [placed for placed in whole.bars if placed[0] > after]
        assert read.gaps == []


async def test_a_writer_that_begins_again_lower_writes_nothing_twice(redis_url: str, seed: int) -> None:
    chance = random.Random(seed)
    ticks = ticks_of(3_000)
    at = 0
    while at < 3_000:
        async with sharing(Market(ticks), redis_url) as share:
            at = await share.conduct(max(0, at - chance.randrange(0, 200)), chance.randrange(1, 700))
    await write(Market(ticks), redis_url)
    read = await read_all(feed_of(redis_url, timeframes=FRAMES))
    assert read.ticks == ticks
    assert read.bars == bars_of(ticks)
    assert read.gaps == []


async def test_a_conductor_that_goes_back_shares_nothing_twice(redis_url: str) -> None:
    ticks = ticks_of(1_000)
    async with sharing(Market(ticks), redis_url) as share:
        await share.conduct(0, 600)
        await share.conduct(100, 700)
        await share.conduct(50)
        await share.until_brought()
        assert share.feed.quality()["shared"] == 1_000
    assert (await read_all(feed_of(redis_url))).ticks == ticks


async def test_ticks_that_arrive_are_read_as_they_arrive_by_each_reader(redis_url: str) -> None:
    ticks = ticks_of(400)
    await write(Market([]), redis_url, name="unused")
    async with sharing(Market(ticks), redis_url) as share:
        await share.conduct(0, 10)
        await share.until_brought()
        slow, quick = Read(), Read()
        first, second = feed_of(redis_url), feed_of(redis_url)
        await first.open(0)
        await second.open(0)

        async def read_slowly() -> None:
            while await read_on(second, slow, 7, 7):
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_on, first, quick)
            tasks.start_soon(read_slowly)
            await share.conduct_on()
        await first.close()
        await second.close()
    assert quick.ticks == slow.ticks == ticks


@pytest.mark.parametrize(("start", "first"), [("oldest", 1), ("new", 301), (42, 42)])
async def test_somebody_who_has_seen_nothing_begins_where_the_settings_say(
    redis_url: str, start: str | int, first: int
) -> None:
    ticks = ticks_of(500)
    async with sharing(Market(ticks), redis_url) as share:
        await share.conduct(0, 300)
        await share.until_brought()
        feed = feed_of(redis_url, start=start)
        await feed.open(0)
        await share.conduct_on()
    read = Read()
    await read_on(feed, read)
    await feed.close()
    assert read.ticks == ticks[first - 1 :]
    assert read.gaps == []


# --- gaps ----------------------------------------------------------------------------------------------------------------


async def test_what_was_not_shared_is_a_gap_that_every_reader_is_told_of(redis_url: str) -> None:
    ticks = ticks_of(1_000)
    async with sharing(Market(ticks), redis_url) as share:
        await share.conduct(0, 300)
    async with sharing(Market(ticks), redis_url) as share:
        await share.conduct(450)
    for after in (0, 100, 299, 300):
        read = await read_all(feed_of(redis_url), after)
        assert read.ticks == ticks[after:300] + ticks[450:]
        assert read.gaps == [450]
    assert (await read_all(feed_of(redis_url), 450)).gaps == []  # everybody was told, and skipped it
    feed = feed_of(redis_url)
    await feed.open(100, 600)  # the venue is at 100, and everybody else has seen it all
    read = Read()
    await read_on(feed, read)
    await feed.close()
    assert (read.at, read.gaps) == (1_000, [])
    assert feed.quality()["ticks"] == 750
    assert "gaps" not in feed.quality()


async def test_behind_a_gap_bars_begin_anew_and_a_restart_finds_the_same(redis_url: str) -> None:
    ticks = ticks_of(3_000)
    async with sharing(Market(ticks), redis_url) as share:
        await share.conduct(0, 1_000)
    async with sharing(Market(ticks), redis_url) as share:
        await share.conduct(1_234)
    whole = await read_all(feed_of(redis_url, timeframes=FRAMES))
    assert whole.gaps == [1_234]
    assert whole.bars[:5] == bars_of(ticks[:1_000])[:5]
    behind = [placed for placed in whole.bars if placed[0] > 1_234]
    assert behind == bars_of(ticks[1_234:])
    for after in (1_234, 1_235, 1_300, 2_500):
        read = await read_all(feed_of(redis_url, timeframes=FRAMES), after)
        assert read.bars == [placed for placed in behind if placed[0] > after]
        assert read.gaps == []


async def test_what_was_trimmed_behind_a_reader_is_a_gap(redis_url: str) -> None:
    ticks = ticks_of(5_000)
    await write(Market(ticks), redis_url, ticks_max=1_000)
    with client(redis_url) as look:
        kept = look.xlen(KEY)
    assert 1_000 <= kept <= 1_200
    read = await read_all(feed_of(redis_url), 200)
    oldest = read.ticks[0].position
    assert read.ticks == ticks[oldest - 1 :]
    assert read.gaps == [oldest - 1]
    assert (await read_all(feed_of(redis_url))).gaps == []  # who has seen nothing misses nothing
    assert (await read_all(feed_of(redis_url), oldest - 1)).gaps == []


async def test_bars_whose_beginning_was_trimmed_begin_anew_and_that_is_told(redis_url: str) -> None:
    ticks = ticks_of(5_000)
    await write(Market(ticks), redis_url, ticks_max=1_000)
    frames = {"EUR_USD": ("1h",)}  # of which the stream keeps some minutes
    read = await read_all(feed_of(redis_url, timeframes=frames), 4_500)
    assert read.ticks == ticks[4_500:]
    assert read.gaps == [4_500]
    short = await read_all(feed_of(redis_url, timeframes={"EUR_USD": ("5s",), "USD_JPY": ("5s",)}), 4_500)
    assert short.gaps == []


async def test_a_reader_that_is_overtaken_by_the_trimming_is_told(redis_url: str) -> None:
    ticks = ticks_of(20_000)
    async with sharing(Market(ticks), redis_url, ticks_max=1_000) as share:
        await share.conduct(0, 500)
        await share.until_brought()
        feed, read = feed_of(redis_url), Read()
        await feed.open(0)
        await read_on(feed, read, 100)
        await share.conduct_on()
        await share.until_brought()
    await read_on(feed, read)
    await feed.close()
    assert len(read.gaps) == 1
    assert read.at == 20_000
    assert feed.quality()["gaps"] == 1


async def test_of_a_live_market_what_finds_no_room_is_left_out_counted_and_a_gap(redis_url: str) -> None:
    async with sharing(Market(ticks_of(2_000), live=True), redis_url, waiting_max=500) as share:
        await share.conduct()  # at once: nobody could have taken anything meanwhile
        assert share.feed.quality() == {"ticks": 2_000, "shared": 0, "share_waiting": 500, "share_missed": 1_500}
    read = await read_all(feed_of(redis_url), 1)
    assert read.ticks == ticks_of(500, first=1_501)
    assert read.gaps == [1_500]


async def test_a_recording_waits_for_room_and_leaves_nothing_out(redis_url: str) -> None:
    async with sharing(Market(ticks_of(2_000)), redis_url, waiting_max=100) as share:
        await share.conduct()
        assert share.outbox.left_out == 0
    assert (await read_all(feed_of(redis_url))).ticks == ticks_of(2_000)


# --- other sequences -----------------------------------------------------------------------------------------------------


async def test_a_stream_that_has_become_another_one_is_refused(redis_url: str) -> None:
    await write(Market(ticks_of(100)), redis_url, run="first")
    feed, read = feed_of(redis_url), Read()
    await feed.open(0)
    await read_on(feed, read, 50, 50)
    await feed.open(50, 50)
    await write(Market(ticks_of(300, every_ms=100), data="other"), redis_url, run="second")
    with pytest.raises(DataError, match="was replaced by run second, and what was read is run first"):
        await read_on(feed, read)
    await feed.close()
    assert (await read_all(feed_of(redis_url))).ticks == ticks_of(300, every_ms=100)


async def test_another_run_has_another_fingerprint_and_the_same_has_the_same(redis_url: str) -> None:
    await write(Market(ticks_of(100)), redis_url, run="first")
    first = feed_of(redis_url).info.fingerprint
    await write(Market(ticks_of(100)), redis_url, run="first")
    assert feed_of(redis_url).info.fingerprint == first
    await write(Market(ticks_of(100), data="other"), redis_url, run="second")
    assert feed_of(redis_url).info.fingerprint != first


async def test_a_stream_that_is_not_there_and_one_with_other_instruments_are_refused(redis_url: str) -> None:
    with pytest.raises(DataError, match=r"there is not the tick stream 'market' on Redis at .*: start the daemon"):
        feed_of(redis_url)
    await write(Market(ticks_of(10, symbols=["EUR_USD"])), redis_url)
    with pytest.raises(DataError, match="has EUR_USD, and the feed's table says EUR_USD, USD_JPY"):
        feed_of(redis_url)


async def test_what_no_tradekeel_has_written_is_neither_read_nor_written_over(redis_url: str) -> None:
    with client(redis_url) as other:
        other.xadd(KEY, {"price": "1.1"}, id="5-0")
        async with sharing(Market(ticks_of(10)), redis_url) as share:
            await share.conduct()
            await until(lambda: bool(share.ear.alerts))
        assert "is none of this Tradekeel's" in share.ear.alerts[0]
        assert other.xrange(KEY) == [("5-0", {"price": "1.1"})]
        other.delete(KEY)
        await write(Market(ticks_of(10)), redis_url)
        other.xadd(KEY, {"price": "1.1"}, id="11-0")
        with pytest.raises(DataError, match="has an entry that no Tradekeel has written"):
            await read_all(feed_of(redis_url))


# --- live markets --------------------------------------------------------------------------------------------------------


async def test_a_live_market_that_begins_again_goes_on_behind_all_that_was_shared_with_a_gap(redis_url: str) -> None:
    async with sharing(Market(ticks_of(100), live=True), redis_url, run="a") as share:
        await share.conduct()
    assert feed_of(redis_url).info.live
    # The next life was saved at tick 60: its market has other ticks from there on.
    others = ticks_of(50, first=61, every_ms=999)
    async with sharing(Market(others, live=True), redis_url, run="b") as share:
        await share.conduct(60)
    read = await read_all(feed_of(redis_url))
    assert [tick.position for tick in read.ticks[:100]] == list(range(1, 101))
    assert [tick.position for tick in read.ticks[100:]] == [100 + LEAP_TICKS + n for n in range(1, 51)]
    assert [tick.ts_ns for tick in read.ticks[100:]] == [tick.ts_ns for tick in others]
    assert (read.gaps, read.lost) == ([100 + LEAP_TICKS], [0])
    client(redis_url).xtrim(KEY, maxlen=51, approximate=False)  # the second life, and its end
    behind = await read_all(feed_of(redis_url), after=40)
    assert (behind.gaps, behind.lost) == ([100 + LEAP_TICKS], [60])


async def test_of_two_writers_of_a_live_market_the_first_gives_up_and_says_so(redis_url: str) -> None:
    async with sharing(Market(ticks_of(1_000), live=True), redis_url, run="a") as first:
        await first.conduct(0, 100)
        await first.until_brought()
        async with sharing(Market(ticks_of(100), live=True), redis_url, run="b") as second:
            await second.conduct()
            await second.until_brought()
            await first.conduct_on(100)
            await until(lambda: bool(first.ear.alerts))
    assert "ticks are not shared any more, and trading goes on: somebody else writes" in first.ear.alerts[0]
    assert second.ear.alerts == []
    read = await read_all(feed_of(redis_url))
    assert len(read.ticks) == 200


async def test_a_market_that_ends_before_its_first_tick_is_empty(redis_url: str) -> None:
    await write(Market([]), redis_url)
    assert (await read_all(feed_of(redis_url, instruments=list(SYMBOLS)))).ticks == []
