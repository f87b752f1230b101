"""Going back: a feed that is opened at any position delivers the very ticks and bars of an uninterrupted reading.

This holds for every kind of feed, in the same object (where the feed may remember what it has read) and in a new one (where
it knows nothing), and however the ticks are cut into windows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.feeds.reading import HEADER, build, read, write
from tradekeel.errors import InputError
from tradekeel.ports import Feed, last_bars_of

FRAMES = {"EUR_USD": ("5s", "1m", "7t", "1d"), "NZD_USD": ("3t", "1h")}


def _second(number: int) -> str:
    return f"2014-05-{5 + number // 86_400:02d}T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"


def _rows(first: int, count: int, step: int, price: int) -> str:
    """Rows with a fault every now and then: crossed, without spread, out of order, twice, unreadable."""
    rows = []
    for n in range(count):
        bid = price + (n * 7) % 13
        spread = {3: -1, 7: 0}.get(n % 23, 2)
        second = first + n * step - (5 * step if n % 31 == 30 else 0)
        rows.append(f"{_second(second)},{bid / 1e5:.5f},{(bid + spread) / 1e5:.5f}\n")
        if n % 17 == 16:
            rows.append(rows[-1])
        if n % 29 == 28:
            rows.append("nonsense\n")
    return HEADER + "".join(rows)


def one_file(folder: Path) -> Feed:
    path = write(folder / "one" / "eurusd.csv", _rows(0, 400, 3, 110_000))
    return build("file", {"path": str(path), "instrument": "EUR_USD"}, timeframes=FRAMES)


def several_files(folder: Path) -> Feed:
    for day in range(4):
        suffix = ("csv", "csv.gz", "zip", "csv")[day]
        write(folder / "days" / f"2014050{5 + day}.{suffix}", _rows(day * 86_400 + 79_000, 90, 60, 110_000))
    settings = {"path": str(folder / "days"), "instrument": "EUR_USD", "bad_rows": {"crossed": "fix"}}
    return build("file", settings, timeframes=FRAMES)


def two_instruments(folder: Path) -> Feed:
    for day in range(3):
        write(folder / "e" / f"{day}.csv", _rows(day * 86_400 + 3_000, 90, 11, 110_000))
        write(folder / "n" / f"{day}.csv", _rows(day * 86_400 + 2_900 * day, 60, 17, 80_000))
    settings = {"instruments": {"NZD_USD": str(folder / "n"), "EUR_USD": str(folder / "e")}}
    return build("file", settings, timeframes=FRAMES)


def rows_out_of_order(folder: Path) -> Feed:
    for day in range(2):
        write(folder / "o" / f"{day}.csv", _rows(day * 86_400, 120, 5, 110_000))
        write(folder / "p" / f"{day}.csv", _rows(day * 86_400, 100, 7, 80_000))
    settings = {
        "instruments": {"EUR_USD": str(folder / "o"), "NZD_USD": str(folder / "p")},
        "bad_rows": {"out_of_order": "fix", "zero_spread": "fix", "duplicate": "drop"},
    }
    return build("file", settings, timeframes=FRAMES)


def minutes(folder: Path) -> Feed:
    row = "{},1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0\n"
    for day in (5, 6, 7):
        rows = "".join(row.format(60_000 * n) for n in range(60))
        write(folder / "m" / f"2014050{day}.zip", rows)
    settings = {"path": str(folder / "m"), "instrument": "EUR_USD", "format": "minute"}
    return build("file", settings, timeframes=FRAMES)


def synthetic(folder: Path) -> Feed:
    settings = {"instruments": ["EUR_USD"], "ticks": 1_500, "seed": 7, "interval_ms": 30_000, "jumps_per_day": 50}
    return build("synthetic", settings, timeframes=FRAMES)


def synthetic_pair(folder: Path) -> Feed:
    settings = {
        "instruments": ["NZD_USD", "EUR_USD"],
        "ticks": 1_701,
        "start": "2024-01-05T20:00:00Z",
        "interval_ms": 9_000,
    }
    return build("synthetic", settings, timeframes=FRAMES)


def in_parquet(folder: Path) -> Feed:
    """Two instruments in one file, with faults, in pieces that begin anywhere."""
    path = folder / "q.parquet"
    if not path.exists():
        rows = [
            ("NZD_USD" if n % 3 else "EUR_USD", f"2014-05-05T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z", n)
            for n in range(0, 36_000, 30)
        ]
        names, times, numbers = zip(*rows, strict=True)
        bids = [None if n % 29 == 28 else f"{1 + n % 7 / 1_000:.3f}" for n in numbers]
        asks = [f"{1.0001 + n % 7 / 1_000 - (n % 23 == 3):.4f}" for n in numbers]
        table = pa.table({"instrument": names, "time": times, "bid": bids, "ask": asks})
        pq.write_table(table, path, row_group_size=170)
    settings = {"instruments": {"NZD_USD": str(path), "EUR_USD": str(path)}, "format": "parquet"}
    return build("file", settings, timeframes=FRAMES)


def recorded_frames(folder: Path) -> Feed:
    frame = '{{"stream":"x@bookTicker","data":{{"s":"EURUSD","b":"1.{:03d}","B":"1","a":"1.{:03d}","A":"2"}}}}'
    trade = '{"stream":"x@trade","data":{"s":"EURUSD"}}'
    for day in range(3):
        lines = [
            f"{1_399_248_000_000_000_000 + (day * 86_400 + n * 20) * 1_000_000_000} "
            + (trade if n % 5 == 4 else frame.format(n % 50, n % 50 + (n % 23 != 3)))
            for n in range(150)
        ]
        write(folder / "b" / f"2014050{5 + day}.gz", "\n".join(lines) + "\n")
    settings = {"path": str(folder / "b"), "instrument": "EUR_USD", "format": "binance"}
    return build("file", settings, timeframes=FRAMES)


def database(folder: Path) -> Feed:
    path = folder / "t.db"
    if not path.exists():
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE t (at, bid, ask, symbol)")
            for n in range(900):
                symbol, bid = ("EUR_USD", "NZD_USD")[n % 2], None if n % 31 == 30 else f"1.{n % 40:03d}"
                db.execute("INSERT INTO t VALUES (?, ?, '1.050', ?)", (_second(n // 4 * 60), bid, symbol))
    settings = {"url": f"sqlite:///{path}", "table": "t", "instruments": ["EUR_USD", "NZD_USD"]}
    return build("sql", {**settings, "columns": {"time": "at", "instrument": "symbol"}}, timeframes=FRAMES)


FEEDS = [
    one_file,
    several_files,
    two_instruments,
    rows_out_of_order,
    minutes,
    in_parquet,
    recorded_frames,
    database,
    synthetic,
    synthetic_pair,
]
Make = Callable[[Path], Feed]


@pytest.mark.untraced
@pytest.mark.parametrize("make", FEEDS)
@given(share=st.floats(0, 1) | st.just(1.0), ticks_max=st.integers(1, 300), first_max=st.integers(1, 300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
async def test_from_any_position_the_rest_is_the_same(tmp_path, make: Make, share, ticks_max, first_max):
    feed = make(tmp_path)
    ticks, bars = await read(feed, ticks_max=first_max)
    quality, last = feed.quality(), tuple(bar for at, bar in bars if at > len(ticks))
    after = round(share * len(ticks))
    expected = ticks[after:], [(at, bar) for at, bar in bars if at > after] if after < len(ticks) else []
    assert await read(feed, after, ticks_max) == expected  # the same object, gone back
    assert (feed.quality(), last_bars_of(feed)) == (quality, last)
    fresh = make(tmp_path)
    assert await read(fresh, after, ticks_max) == expected  # a new process
    assert (fresh.quality(), last_bars_of(fresh)) == (quality, last)


@pytest.mark.parametrize("make", FEEDS)
async def test_the_data_has_what_the_test_is_about(tmp_path, make: Make):
    ticks, bars = await read(make(tmp_path))
    assert len(ticks) > 200
    assert {bar.timeframe for _, bar in bars if bar.instrument == "EUR_USD"} >= {"1m", "7t"}


@pytest.mark.parametrize("make", FEEDS)
async def test_it_can_be_left_in_the_middle_and_gone_back_to(tmp_path, make: Make):
    feed = make(tmp_path)
    ticks, bars = await read(feed)
    for after in (len(ticks) // 2, len(ticks) // 4, 3 * len(ticks) // 4, 0):
        await feed.open(after)
        window = await feed.next_window(10)
        assert window is not None
        assert list(window.ticks) == ticks[after : after + 10]
    assert await read(feed) == (ticks, bars)


@pytest.mark.parametrize("make", FEEDS)
async def test_a_position_beyond_the_end_is_refused(tmp_path, make: Make):
    feed = make(tmp_path)
    total = len((await read(feed))[0])
    with pytest.raises(InputError, match=rf"has only {total:,} ticks, but {total + 1:,} were taken from it before"):
        await feed.open(total + 1)
    assert await read(feed, total) == ([], [])


async def test_the_day_bar_that_a_weekend_left_open_is_whole_when_the_market_opens_again(tmp_path):
    before_close = 2 * 64 * 256  # seconds, and ticks: the market closes where a block ends
    settings = {"instruments": ["EUR_USD"], "ticks": before_close + 300, "interval_ms": 1_000}
    settings["start"] = "2024-01-05T12:53:52Z"
    frames = {"EUR_USD": ("1d",)}
    ticks, bars = await read(build("synthetic", settings, timeframes=frames))
    assert ticks[before_close].ts_ns - ticks[before_close - 1].ts_ns > 47 * 3_600 * 10**9
    assert [(at, bar.ticks) for at, bar in bars] == [(before_close + 1, before_close)]
    assert (await read(build("synthetic", settings, timeframes=frames), before_close))[1] == bars


async def test_what_was_good_before_a_row_that_stops_the_feed_is_delivered_every_time(tmp_path):
    write(tmp_path / "1.csv", _rows(0, 20, 1, 110_000).replace("nonsense\n", ""))
    write(tmp_path / "2.csv", HEADER + "2014-05-06T00:00:00Z,1.3,1.2\n")
    feed = build("file", {"path": str(tmp_path), "instrument": "EUR_USD", "bad_rows": {"crossed": "fail"}})
    with pytest.raises(InputError, match=r"1\.csv, line 5"):
        await read(feed)
    feed = build(
        "file", {"path": str(tmp_path), "instrument": "EUR_USD", "bad_rows": {"crossed": "fail", "zero_spread": "fail"}}
    )
    write(tmp_path / "1.csv", HEADER + "2014-05-05T00:00:00Z,1.1,1.2\n2014-05-05T00:00:01Z,1.1,1.2\n")
    for after in (0, 1):
        await feed.open(after)
        window = await feed.next_window(10)
        assert window is not None
        assert window.last_position == 2
        with pytest.raises(InputError, match=r"2\.csv, line 2: crossed"):
            await feed.next_window(10)
    await feed.close()


async def test_a_tick_bar_that_the_last_tick_completes_is_told_in_the_last_window(tmp_path):
    path = write(tmp_path / "q.csv", HEADER + "2014-05-05T00:00:00Z,1.1,1.2\n2014-05-05T00:00:01Z,1.1,1.2\n")
    feed = build("file", {"path": str(path), "instrument": "EUR_USD"}, timeframes={"EUR_USD": ("2t",)})
    await feed.open(0)
    first, last = await feed.next_window(1), await feed.next_window(1)
    assert first is not None
    assert last is not None
    assert (first.bars, list(last.bars), len(last.ticks)) == ({}, [1], 1)
