"""Ticks in Parquet files: what was written comes back to the digit, other people's files are read or refused with the reason."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.feeds.reading import HEADER, build, csv_feed, quotes, read, ticks_of, write
from tradekeel.domain.ticks import Tick
from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.feeds import writing
from tradekeel.feeds.writing import TickFile
from tradekeel.ports import Feed

S = 1_000_000_000
AT = 1_399_507_200 * S  # Thursday, 2014-05-08T00:00:00Z


def parquet_feed(path: Path, symbol: str = "EUR_USD", **options: Any) -> Feed:
    return build("file", {"path": str(path), "instrument": symbol, "format": "parquet", **options})


def made(path: Path, **columns: Any) -> Path:
    """A file of somebody else's."""
    pq.write_table(pa.table(columns), path)
    return path


def packed(path: Path, ticks: Sequence[Tick]) -> Path:
    with TickFile(path) as file:
        file.write(ticks)
    return path


def written_as(ticks: Sequence[Tick]) -> list[tuple[Any, ...]]:
    """Everything about ticks, amounts by their text: 1.10 is not 1.1 here."""
    return [
        (t.instrument, t.ts_ns, str(t.bid), str(t.ask), t.position, str(t.bid_size), str(t.ask_size)) for t in ticks
    ]


amounts = st.decimals(min_value="0.00001", max_value="99999", places=5) | st.sampled_from(
    [Decimal(text) for text in ("1.10", "1.1", "0.0000001", "150", "12345678901234567890.12345")]
)
rows_of_quotes = st.lists(
    st.tuples(st.integers(0, 10**12), amounts, amounts, st.none() | amounts, st.none() | amounts), max_size=60
)


class TestExact:
    @given(rows=rows_of_quotes)
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_from_csv_through_parquet_ticks_are_the_same_to_the_digit(self, tmp_path, rows):
        lines = [
            f"{AT + at},{bid:f},{ask:f},{'' if b is None else f'{b:f}'},{'' if a is None else f'{a:f}'}\n"
            for at, bid, ask, b, a in sorted(rows, key=lambda row: row[0])
        ]
        source = write(tmp_path / "q.csv", "time,bid,ask,bs,as\n" + "".join(lines))
        accept: dict[str, Any] = {"bad_rows": {"crossed": "accept", "zero_spread": "accept"}}
        sizes: dict[str, Any] = {"columns": {"bid_size": "bs", "ask_size": "as"}}
        ticks = await ticks_of(csv_feed(source, time_format="epoch_ns", **sizes, **accept))
        assert len(ticks) == len(rows)
        target = tmp_path / "q.parquet"
        target.unlink(missing_ok=True)
        assert written_as(await ticks_of(parquet_feed(packed(target, ticks), **accept))) == written_as(ticks)

    async def test_two_real_days(self, data_dir, tmp_path):
        path = data_dir / "oanda/tick/eurusd/2014050[56]*.zip"
        source = build("file", {"path": str(path), "instrument": "EUR_USD", "format": "quote"})
        ticks = await ticks_of(source)
        feed = parquet_feed(packed(tmp_path / "q.parquet", ticks))
        again = await ticks_of(feed)
        assert written_as(again) == written_as(ticks)
        assert feed.quality() == source.quality()
        assert (tmp_path / "q.parquet").stat().st_size < 12 * len(ticks)

    async def test_from_any_position_the_rest_is_the_same(self, tmp_path):
        ticks = [Tick("EUR_USD", AT + n * S, Decimal(n + 1), Decimal(n + 2), n + 1) for n in range(70_000)]
        packed(tmp_path / "1.parquet", ticks[:40_000])
        packed(tmp_path / "2.parquet", ticks[40_000:])
        for after in (1, 16_384, 40_000, 69_999):
            assert (await read(parquet_feed(tmp_path), after, 50_000))[0] == ticks[after:]


class TestSeveralInstruments:
    async def test_each_takes_its_own_and_they_are_one_sequence_again(self, tmp_path):
        ticks = [
            Tick(("EUR_USD", "NZD_USD")[n % 3 == 0], AT + n * S, Decimal(n + 1), Decimal(n + 2), n + 1)
            for n in range(100)
        ]
        path = str(packed(tmp_path / "q.parquet", ticks))
        both = {"instruments": {"EUR_USD": path, "NZD_USD": path}, "format": "parquet"}
        feed = build("file", both)
        assert await ticks_of(feed) == ticks
        assert feed.quality() == {"rows": 100, "ticks": 100}

    @pytest.mark.parametrize("name", ["EUR_USD", "EURUSD", "eur/usd"])
    async def test_however_the_instrument_is_written(self, tmp_path, name):
        path = made(
            tmp_path / "q.parquet", symbol=[name, "GBPUSD", None], ts_ns=[AT, AT, AT], bid=["1"] * 3, ask=["2"] * 3
        )
        assert len(await ticks_of(parquet_feed(path, columns={"instrument": "symbol"}))) == 1


class TestOthersFiles:
    @pytest.mark.parametrize(
        "times",
        [
            pa.array([AT], pa.int64()),
            pa.array([AT // 1_000_000], pa.timestamp("ms", tz="Europe/Berlin")),
            pa.array([AT // 1_000], pa.timestamp("us")),
        ],
    )
    async def test_times_of_every_kind(self, tmp_path, times):
        path = made(tmp_path / "q.parquet", ts_ns=times, bid=["1.1"], ask=["1.2"])
        assert quotes(await ticks_of(parquet_feed(path))) == [(AT, "1.1", "1.2")]

    @pytest.mark.parametrize(
        ("times", "time_format"),
        [
            (["2014-05-08T00:00:00Z"], "iso"),
            (["08.05.2014 00:00"], "%d.%m.%Y %H:%M"),
            ([AT // S], "epoch_s"),
            ([AT / S], "epoch_s"),
            ([datetime(2014, 5, 8, tzinfo=UTC)], "iso"),
        ],
    )
    async def test_times_that_take_a_format(self, tmp_path, times, time_format):
        path = made(tmp_path / "q.parquet", time=times, bid=["1.1"], ask=["1.2"])
        assert quotes(await ticks_of(parquet_feed(path, time_format=time_format))) == [(AT, "1.1", "1.2")]

    async def test_a_timestamp_without_a_zone_is_of_the_feeds(self, tmp_path):
        path = made(tmp_path / "q.parquet", time=pa.array([AT // 1_000], pa.timestamp("us")), bid=["1.1"], ask=["1.2"])
        feed = parquet_feed(path, time_zone="Europe/Berlin")
        assert (await ticks_of(feed))[0].ts_ns == AT - 7_200 * S

    @pytest.mark.parametrize("zone", [None, "UTC"])
    @pytest.mark.parametrize("time_zone", ["UTC", "Europe/Berlin"])
    async def test_a_timestamp_beyond_what_nanoseconds_hold_is_a_bad_time(self, tmp_path, zone, time_zone):
        far = [datetime(9999, 12, 31, 23, 59, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)]
        micros = [
            AT // 1_000,
            *((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for at in far),
            2**63 - 1,
        ]
        times = pa.array(micros, pa.timestamp("us", tz=zone))
        feed = parquet_feed(
            made(tmp_path / "q.parquet", ts_ns=times, bid=["1"] * 4, ask=["2"] * 4), time_zone=time_zone
        )
        assert len(await ticks_of(feed)) == 1
        assert feed.quality() == {"rows": 4, "ticks": 1, "time_dropped": 3}

    async def test_decimals_keep_their_digits(self, tmp_path):
        bids = pa.array([Decimal("1.39100")], pa.decimal128(10, 5))
        path = made(tmp_path / "q.parquet", ts_ns=[AT], bid=bids, ask=pa.array([2], pa.int32()))
        assert quotes(await ticks_of(parquet_feed(path))) == [(AT, "1.39100", "2")]

    async def test_floats_are_refused_unless_they_are_asked_for(self, tmp_path):
        path = made(tmp_path / "q.parquet", ts_ns=[AT], bid=[1.39101], ask=[1.39114])
        with pytest.raises(
            InputError, match=r"q\.parquet: the column 'bid' is of the type double, which holds no price.*floats = true"
        ):
            await ticks_of(parquet_feed(path))
        assert quotes(await ticks_of(parquet_feed(path, floats=True))) == [(AT, "1.39101", "1.39114")]

    async def test_a_row_that_is_bad_is_counted_and_named_by_its_number(self, tmp_path):
        path = made(
            tmp_path / "q.parquet",
            ts_ns=[AT, None, AT + 2, AT + 3, AT + 4],
            bid=["1", "1", None, "much", "1"],
            ask=["2"] * 5,
            bid_size=[None, "1", "1", "1", "7"],
        )
        feed = parquet_feed(path)
        assert [(t.ts_ns, t.bid_size) for t in await ticks_of(feed)] == [(AT, None), (AT + 4, Decimal(7))]
        assert feed.quality() == {"rows": 5, "ticks": 2, "time_dropped": 1, "non_numeric_dropped": 2}
        with pytest.raises(InputError, match=r"q\.parquet, row 3: non numeric: there is no price"):
            await ticks_of(parquet_feed(path, bad_rows={"non_numeric": "fail"}))

    async def test_numbers_of_rows_are_those_of_the_file_whatever_is_of_others(self, tmp_path):
        names = ["EUR_USD", "NZD_USD", "NZD_USD", "EUR_USD"]
        path = made(tmp_path / "q.parquet", instrument=names, ts_ns=[AT] * 4, bid=["1", "1", "1", "3"], ask=["2"] * 4)
        with pytest.raises(InputError, match=r"row 4: crossed: bid 3, ask 2"):
            await ticks_of(parquet_feed(path, bad_rows={"crossed": "fail"}))


class TestRefused:
    @pytest.mark.parametrize(
        ("columns", "options", "problem"),
        [
            ({"time": [1], "ask": ["2"]}, {}, "no column 'bid': it has 'time', 'ask'; say which under columns"),
            ({"bid": ["1"], "ask": ["2"]}, {}, "no column 'ts_ns' or 'time'"),
            ({"time": [1], "bid": ["1"], "ask": ["2"]}, {}, "'time' holds whole numbers: say in time_format"),
            ({"time": [True], "bid": ["1"], "ask": ["2"]}, {}, "of the type bool, which is no time"),
            ({"ts_ns": [1], "bid": [b"1"], "ask": ["2"]}, {}, "of the type binary: write text or decimals"),
            ({"ts_ns": [1], "bid": pa.array([1.5], pa.float32()), "ask": ["2"]}, {"floats": True}, "of the type float"),
        ],
    )
    async def test_columns_that_cannot_be_meant(self, tmp_path, columns, options, problem):
        with pytest.raises(InputError, match=problem):
            await ticks_of(parquet_feed(made(tmp_path / "q.parquet", **columns), **options))

    async def test_what_is_no_parquet_and_what_is_no_text(self, tmp_path):
        text = write(tmp_path / "q.parquet", HEADER)
        with pytest.raises(InputError, match=r"q\.parquet cannot be read as Parquet"):
            await ticks_of(parquet_feed(text))
        real = packed(tmp_path / "real.parquet", [])
        with pytest.raises(InputError, match=r'real\.parquet is a Parquet file: set format = "parquet"'):
            await ticks_of(csv_feed(real))

    async def test_a_file_that_is_cut_short(self, tmp_path):
        path = packed(tmp_path / "q.parquet", [Tick("EUR_USD", AT + n, Decimal(1), Decimal(2)) for n in range(9_000)])
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InputError, match=r"q\.parquet cannot be read as Parquet.*cut short"):
            await ticks_of(parquet_feed(path))

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"columns": {"bid": 2}}, "have names"),
            ({"columns": {"date": "day"}}, "no columns.date"),
            ({"time_format": "ms_since_midnight"}, "the whole time"),
        ],
    )
    def test_settings_that_are_of_text(self, tmp_path, options, problem):
        with pytest.raises(msgspec.ValidationError, match=problem):
            parquet_feed(tmp_path, **options)

    def test_a_folder_without_such_files(self, tmp_path):
        write(tmp_path / "q.csv", HEADER)
        with pytest.raises(InputError, match=r"looked for names ending in \.parquet, \.pq"):
            parquet_feed(tmp_path)


class TestWriting:
    def test_nothing_is_ever_replaced(self, tmp_path):
        path = packed(tmp_path / "q.parquet", [])
        with pytest.raises(InputError, match="exists already, and nothing is ever replaced"):
            TickFile(path)

    def test_a_file_that_is_not_finished_has_not_the_name(self, tmp_path):
        def interrupted() -> None:
            with TickFile(tmp_path / "q.parquet") as file:
                file.write([Tick("EUR_USD", AT, Decimal(1), Decimal(2))])
                raise KeyError

        with pytest.raises(KeyError):
            interrupted()
        assert list(tmp_path.iterdir()) == []

    async def test_what_a_kill_has_left_is_in_nobodys_way(self, tmp_path):
        (tmp_path / "q.parquet.partial").write_bytes(b"half of something" * 1_000)
        path = packed(tmp_path / "q.parquet", [Tick("EUR_USD", AT, Decimal(1), Decimal(2), 1)])
        assert len(await ticks_of(parquet_feed(path))) == 1
        assert list(tmp_path.iterdir()) == [path]

    def test_one_that_came_there_meanwhile_stays(self, tmp_path):
        path = tmp_path / "q.parquet"
        with pytest.raises(InputError, match="exists by now"), TickFile(path):
            path.write_text("somebody else's")
        assert path.read_text() == "somebody else's"
        assert list(tmp_path.iterdir()) == [path]

    def test_two_do_not_write_one_file(self, tmp_path):
        path = tmp_path / "q.parquet"
        with TickFile(path), pytest.raises(InputError, match="written by somebody else"), TickFile(path):
            pass

    @pytest.mark.parametrize(
        ("name", "problem"), [("q.csv", "ends in .parquet"), ("no/q.parquet", "there is no folder")]
    )
    def test_where_it_cannot_be(self, tmp_path, name, problem):
        with pytest.raises(InputError, match=problem):
            TickFile(tmp_path / name)

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
    def test_a_disk_that_takes_no_more_is_said(self, tmp_path):
        (tmp_path / "q.parquet.partial").symlink_to("/dev/full")
        with pytest.raises((StoreUnavailable, InputError)), TickFile(tmp_path / "q.parquet") as file:
            file.write([Tick("EUR_USD", AT + n, Decimal(1), Decimal(2)) for n in range(writing.GROUP_ROWS * 2)])
        assert not (tmp_path / "q.parquet").exists()
