"""Recorded frames of Binance: quotes are ticks, everything else is counted, and the option says whose clock tells the time."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.feeds.reading import build, quotes, read, ticks_of, write
from tradekeel.errors import InputError
from tradekeel.ports import Feed

LOCAL = 1_723_161_600_000_000_000
MS = 1_000_000

SPOT = '{{"stream":"btcusdt@bookTicker","data":{{"u":1,"s":"BTCUSDT","b":"{bid}","B":"1.25","a":"{ask}","A":"2.44800000"}}}}'
USDM = (
    '{{"stream":"btcusdt@bookTicker","data":{{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"{bid}","B":"1.250","a":"{ask}","A":"2.4",'
    '"T":{at},"E":{at}}}}}'
)
TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161601438,"s":"BTCUSDT","t":37,"p":"61685.99","q":"0.1",'
    '"T":1723161601437,"m":true,"M":true}}'
)
DEPTH = (
    '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1","2"]],"a":[]}}'
)
SNAPSHOT = '{"lastUpdateId":5,"bids":[["61837.63","3.7"]],"asks":[]}'
BARE = '{"u":400900217,"s":"BTCUSDT","b":"61685.98","B":"31.21","a":"61686.00","A":"40.66"}'


def spot(bid: str = "61685.99", ask: str = "61686.00") -> str:
    return SPOT.format(bid=bid, ask=ask)


def recorded(folder: Path, *frames: str, name: str = "btcusdt_20240809.gz") -> Path:
    return write(folder / name, "".join(f"{LOCAL + n * MS} {frame}\n" for n, frame in enumerate(frames)))


def feed_of(path: Path, **settings: Any) -> Feed:
    table = {"path": str(path), "instrument": "BTC_USDT", "format": "binance", "gap_on_weekends": True, **settings}
    return build("file", table)


class TestFrames:
    async def test_a_book_ticker_is_a_tick_with_its_sizes(self, tmp_path):
        (tick,) = await ticks_of(feed_of(recorded(tmp_path, spot())))
        assert (tick.instrument, tick.ts_ns) == ("BTC_USDT", LOCAL)
        assert (tick.bid, tick.ask) == (Decimal("61685.99"), Decimal("61686.00"))
        assert (str(tick.bid_size), str(tick.ask_size)) == ("1.25", "2.44800000")

    async def test_everything_else_is_counted_and_changes_no_quote(self, tmp_path):
        feed = feed_of(
            recorded(tmp_path, DEPTH, spot(), TRADE, SNAPSHOT, TRADE, '{"result":null,"id":1}', spot("1", "2"))
        )
        assert quotes(await ticks_of(feed)) == [(LOCAL + MS, "61685.99", "61686.00"), (LOCAL + 6 * MS, "1", "2")]
        assert feed.quality() == {
            "rows": 7,
            "ticks": 2,
            "depth": 1,
            "trades": 2,
            "snapshots": 1,
            "other_frames": 1,
        }

    async def test_frames_of_a_single_stream_have_no_wrapper(self, tmp_path):
        assert quotes(await ticks_of(feed_of(recorded(tmp_path, BARE)))) == [(LOCAL, "61685.98", "61686.00")]

    async def test_other_symbols_are_passed_over(self, tmp_path):
        feed = feed_of(recorded(tmp_path, spot(), spot().replace("BTCUSDT", "ETHUSDT")))
        assert len(await ticks_of(feed)) == 1
        assert feed.quality()["other_symbols"] == 1

    async def test_the_exchange_may_call_the_instrument_otherwise(self, tmp_path):
        path = recorded(tmp_path, spot().replace("BTCUSDT", "XBTUSDT"))
        assert len(await ticks_of(feed_of(path, frames={"symbols": {"BTC_USDT": "XBTUSDT"}}))) == 1

    async def test_lines_may_be_blank_and_end_either_way(self, tmp_path):
        path = write(tmp_path / "x.txt", f"{LOCAL} {spot()}\r\n\r\n{LOCAL + MS} {spot()}")
        feed = feed_of(path)
        assert len(await ticks_of(feed)) == 2
        assert feed.quality() == {"rows": 2, "ticks": 2, "blank": 1}


class TestWhoseClock:
    async def test_the_exchange_says_when_where_the_frame_does(self, tmp_path):
        path = recorded(tmp_path, USDM.format(bid=1, ask=2, at=1_723_161_256_313))
        assert quotes(await ticks_of(feed_of(path))) == [(1_723_161_256_313 * MS, "1", "2")]

    async def test_or_the_recorder(self, tmp_path):
        path = recorded(tmp_path, USDM.format(bid=1, ask=2, at=1_723_161_256_313))
        assert quotes(await ticks_of(feed_of(path, frames={"clock": "recorder"}))) == [(LOCAL, "1", "2")]

    async def test_a_recorder_that_is_behind_can_be_put_right(self, tmp_path):
        feed = feed_of(recorded(tmp_path, spot()), frames={"recorder_behind_ms": 1_270})
        assert [tick.ts_ns for tick in await ticks_of(feed)] == [LOCAL + 1_270 * MS]


class TestTrades:
    async def test_a_trade_may_be_a_quote_without_a_spread(self, tmp_path):
        path = recorded(tmp_path, spot(), TRADE)
        settings = {"frames": {"ticks": "trades"}, "bad_rows": {"zero_spread": "accept"}}
        feed = feed_of(path, **settings)
        (tick,) = await ticks_of(feed)
        assert (tick.bid, tick.ask, tick.bid_size) == (Decimal("61685.99"), Decimal("61685.99"), None)
        assert tick.ts_ns == 1_723_161_601_438 * MS
        assert feed.quality() == {"rows": 2, "ticks": 1, "quotes": 1, "zero_spread_accepted": 1}

    async def test_or_with_one(self, tmp_path):
        settings = {"frames": {"ticks": "trades"}, "bad_rows": {"zero_spread": "fix"}}
        (tick,) = await ticks_of(feed_of(recorded(tmp_path, TRADE), **settings))
        assert (str(tick.bid), str(tick.ask)) == ("61685.98", "61686.00")

    def test_that_they_have_none_must_be_said(self, tmp_path):
        with pytest.raises(msgspec.ValidationError, match=r"without a spread: set bad_rows\.zero_spread to"):
            feed_of(recorded(tmp_path, TRADE), frames={"ticks": "trades"})


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("line", "kind"),
        [
            (f"{LOCAL} {{nonsense", "columns"),
            (f"{LOCAL}", "columns"),
            ("yesterday " + spot(), "time"),
            ("99999999999999999999 " + spot(), "time"),
            (f"{LOCAL} " + spot(bid="much"), "non_numeric"),
            (f"{LOCAL} " + spot().replace('"61685.99"', "61685.99"), "non_numeric"),
            (f"{LOCAL} " + spot(bid="0.00000000"), "negative"),
            (f"{LOCAL} " + spot(bid="70000"), "crossed"),
            (f"{LOCAL - MS} " + spot(), "out_of_order"),
        ],
    )
    async def test_a_bad_frame_is_dropped_and_counted_by_kind_or_named(self, tmp_path, line, kind):
        path = write(tmp_path / "x.txt", f"{LOCAL} {spot('1')}\n{line}\n{LOCAL + MS} {spot('2')}\n")
        feed = feed_of(path)
        assert [str(tick.bid) for tick in await ticks_of(feed)] == ["1", "2"]
        assert feed.quality() == {"rows": 3, "ticks": 2, f"{kind}_dropped": 1}
        strict = feed_of(path, bad_rows={kind: "fail"})
        with pytest.raises(InputError, match=rf"x\.txt, line 2: {kind.replace('_', ' ')}: "):
            await ticks_of(strict)

    async def test_a_file_that_is_no_recording(self, tmp_path):
        path = write(tmp_path / "x.csv", "time,bid,ask\n2024-08-08T00:00:00Z,1,2\n")
        with pytest.raises(
            InputError, match=r"not one of 2 rows could be read.*A line of a recording is LOCAL_NANOSECONDS"
        ):
            await ticks_of(feed_of(path))

    async def test_a_recording_of_something_else_says_what_is_there(self, tmp_path):
        path = recorded(tmp_path, TRADE, DEPTH, spot().replace("BTCUSDT", "ETHUSDT"))
        found = (
            r"not one of 3 frames is a bookTicker of BTCUSDT: found trades 1, depth 1, other_symbols 1 \(of ETHUSDT\)"
        )
        with pytest.raises(InputError, match=found):
            await ticks_of(feed_of(path))


class TestRecorded:
    async def test_two_spot_files_are_one_stream_over_midnight(self, data_dir):
        feed = feed_of(data_dir / "binance/spot")
        times = [tick.ts_ns for tick in await ticks_of(feed)]
        assert feed.quality() == {
            "rows": 99_574,
            "ticks": 73_174,
            "trades": 19_904,
            "depth": 6_495,
            "snapshots": 1,
        }
        midnight = LOCAL
        last, first = max(ns for ns in times if ns < midnight), min(ns for ns in times if ns >= midnight)
        assert first - last < 10 * MS

    async def test_each_quote_is_just_as_it_was_sent(self, data_dir):
        path = data_dir / "binance/spot/btcusdt_20240808.gz"
        written = []
        with gzip.open(path, "rt") as lines:
            for line in lines:
                local, _, text = line.partition(" ")
                frame = json.loads(text)
                if frame.get("stream") == "btcusdt@bookTicker":
                    data = frame["data"]
                    written.append((int(local), data["b"], data["a"], data["B"], data["A"]))
        ticks = await ticks_of(feed_of(path))
        assert [(t.ts_ns, str(t.bid), str(t.ask), str(t.bid_size), str(t.ask_size)) for t in ticks] == written

    async def test_futures_have_the_exchanges_own_time_1_27_s_ahead_of_the_recorder(self, data_dir):
        path = data_dir / "binance/usdm"
        ours, theirs = feed_of(path, frames={"clock": "recorder"}), feed_of(path)
        ahead = [b.ts_ns - a.ts_ns for a, b in zip(await ticks_of(ours), await ticks_of(theirs), strict=True)]
        assert len(ahead) == 66_089
        assert 1_200 * MS < sorted(ahead)[len(ahead) // 2] < 1_280 * MS

    async def test_it_can_be_gone_back_to(self, data_dir):
        feed = feed_of(data_dir / "binance/spot")
        ticks, _ = await read(feed)
        quality = feed.quality()
        for after in (70_000, 28_040):
            assert (await read(feed, after))[0] == ticks[after:]
            assert feed.quality() == quality
