"""Recorded markets: every row of them is a tick, or counted with the reason why not."""

from __future__ import annotations

import gzip
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.feeds.reading import build, csv_feed, read, ticks_of
from tradekeel.domain.ticks import TickWindow
from tradekeel.feeds.zones import parse_instant
from tradekeel.ports import Feed

DAY_NS = 86_400 * 1_000_000_000


def feed_of(path: Path, form: str = "quote", **settings: Any) -> Feed:
    return build("file", {"path": str(path), "instrument": "EUR_USD", "format": form, **settings})


async def exhaust(feed: Feed) -> tuple[int, int, int]:
    """How many ticks, and the times of the first and the last."""
    await feed.open(0)
    count, first, last = 0, 0, 0
    window: TickWindow | None
    while (window := await feed.next_window(4_096)) is not None:
        first = first or window.ticks[0].ts_ns
        assert last <= window.ticks[0].ts_ns
        last = window.ticks[-1].ts_ns
        count += len(window.ticks)
    return count, first, last


def rows_in(path: Path) -> list[list[str]]:
    """The rows of one zip, read the plainest way."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    return [line.split(",") for line in text.splitlines()]


async def test_a_day_of_euro_dollar_is_87833_ticks_just_as_they_were_written(data_dir):
    path = data_dir / "oanda/tick/eurusd/20140508_quote.zip"
    feed = feed_of(path)
    ticks = await ticks_of(feed)
    assert len(ticks) == 87_833  # one more than there are line ends: the last row has none
    midnight = parse_instant("2014-05-08")
    written = [(midnight + int(ms) * 1_000_000, Decimal(bid), Decimal(ask)) for ms, bid, ask in rows_in(path)]
    assert [(t.ts_ns, t.bid, t.ask) for t in ticks] == written
    # One row says again, in the same millisecond, what the row before it said.
    assert feed.quality() == {"rows": 87_833, "ticks": 87_833, "duplicate_accepted": 1}


async def test_two_weeks_in_date_order(data_dir):
    feed = feed_of(data_dir / "oanda/tick/eurusd")
    count, first, last = await exhaust(feed)
    assert count == 532_903
    assert (first // DAY_NS, last // DAY_NS) == (
        parse_instant("2014-05-01") // DAY_NS,
        parse_instant("2014-05-15") // DAY_NS,
    )
    assert feed.quality() == {"rows": 532_903, "ticks": 532_903, "duplicate_accepted": 1}


async def test_the_dirty_files_say_how_many_rows_were_bad_and_why(data_dir):
    folder = data_dir / "fxcm/tick/eurusd"
    feed = feed_of(folder, time_zone="UTC-05:00")
    count, first, _ = await exhaust(feed)
    quality = feed.quality()
    rows = [(Decimal(bid), Decimal(ask)) for path in sorted(folder.iterdir()) for _, bid, ask in rows_in(path)]
    assert quality == {
        "rows": len(rows),
        "ticks": count,
        "crossed_dropped": sum(bid > ask for bid, ask in rows),
        "zero_spread_dropped": sum(bid == ask for bid, ask in rows),
    }
    assert count == sum(bid < ask for bid, ask in rows)
    assert 0.09 < quality["crossed_dropped"] / quality["rows"] < 0.11
    assert 0.11 < quality["zero_spread_dropped"] / quality["rows"] < 0.13
    assert first == parse_instant("2014-05-01T05:00:01.787Z")


async def test_the_dirty_files_mended(data_dir):
    path = data_dir / "fxcm/tick/eurusd/20140504_quote.zip"
    feed = feed_of(path, time_zone="UTC-05:00", bad_rows={"crossed": "fix", "zero_spread": "fix"})
    ticks = await ticks_of(feed)
    assert len(ticks) == len(rows_in(path))
    assert all(tick.bid < tick.ask for tick in ticks)


async def test_minutes_of_two_instruments(data_dir):
    paths = {
        symbol: data_dir / "oanda/minute" / folder for symbol, folder in (("EUR_USD", "eurusd"), ("NZD_USD", "nzdusd"))
    }
    rows = {symbol: sum(len(rows_in(path)) for path in sorted(folder.iterdir())) for symbol, folder in paths.items()}
    settings = {"instruments": {symbol: str(path) for symbol, path in paths.items()}, "format": "minute"}
    feed = build("file", settings)
    ticks = await ticks_of(feed)
    assert {symbol: sum(t.instrument == symbol for t in ticks) for symbol in paths} == {
        symbol: 4 * count for symbol, count in rows.items()
    }
    assert feed.quality() == {"rows": sum(rows.values()), "ticks": len(ticks), "gap_accepted": 1}  # 2014 to 2018


async def test_minute_bars_built_from_ticks_are_those_the_broker_published(data_dir):
    """Our bars of the mid lie between the broker's own bars of bid and ask, minute by minute."""
    ticks = build(
        "file",
        {"path": str(data_dir / "oanda/tick/eurusd/20140508_quote.zip"), "instrument": "EUR_USD", "format": "quote"},
        timeframes={"EUR_USD": ("1m",)},
    )
    _, bars = await read(ticks, ticks_max=5_000)
    published = {
        int(row[0]): list(map(Decimal, row[1:])) for row in rows_in(data_dir / "oanda/minute/eurusd/20140508_quote.zip")
    }
    midnight = parse_instant("2014-05-08")
    compared = 0
    for _, bar in bars:
        row = published.get((bar.start_ns - midnight) // 1_000_000)
        if row is None:
            continue
        bid, ask = row[:5], row[5:]
        assert bar.open == (bid[0] + ask[0]) / 2
        assert bar.close == (bid[3] + ask[3]) / 2
        assert bid[2] <= bar.low <= bar.high <= ask[1]
        compared += 1
    assert compared > 1_300


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
async def test_unpacked_or_packed_otherwise_it_is_the_same_market(data_dir, tmp_path, suffix):
    source = data_dir / "oanda/tick/eurusd/20140504_quote.zip"
    with zipfile.ZipFile(source) as archive:
        text = archive.read(archive.namelist()[0])
    path = tmp_path / f"20140504.{suffix}"
    path.write_bytes(gzip.compress(text, mtime=0) if suffix.endswith("gz") else text)
    as_csv = csv_feed(path, header=False, columns={"time": 1, "bid": 2, "ask": 3}, time_format="ms_since_midnight")
    assert await ticks_of(as_csv) == await ticks_of(feed_of(source))


async def test_a_real_day_can_be_gone_back_to(data_dir):
    path = data_dir / "oanda/tick/eurusd"
    settings = {"path": str(path / "2014050[124]_quote.zip"), "instrument": "EUR_USD", "format": "quote"}
    frames = {"EUR_USD": ("5m", "1d", "100t")}
    feed = build("file", settings, timeframes=frames)
    ticks, bars = await read(feed, ticks_max=4_096)
    after = len(ticks) - 3_000
    expected = ticks[after:], [(at, bar) for at, bar in bars if at > after]
    assert await read(feed, after, 777) == expected
    assert await read(build("file", settings, timeframes=frames), after, 1_000) == expected
