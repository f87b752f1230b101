"""The file feed: which files, in which order, with which columns, and several instruments as one sequence."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.feeds.reading import HEADER, build, csv_feed, quotes, read, ticks_of, write
from tradekeel.errors import InputError
from tradekeel.feeds import FileFeedSettings, FileHashes
from tradekeel.feeds.zones import parse_instant

DAY = parse_instant("2014-05-08")
MS = 1_000_000
S = 1_000 * MS
QUOTE_ROWS = "8715,1.39101,1.39114\r\n15681,1.39102,1.39116"  # no line end behind the last row
MINUTE_ROW = "60000,1.39099,1.39105,1.39084,1.39088,0,1.39113,1.39119,1.39101,1.39101,250000\r\n"


def lean(folder: Path, name: str = "20140508_quote.zip", text: str = QUOTE_ROWS) -> Path:
    return write(folder / name, text)


def quote_feed(path: Path, **settings: Any) -> Any:
    return build("file", {"path": str(path), "instrument": "EUR_USD", "format": "quote", **settings})


class TestWhere:
    async def test_a_file(self, tmp_path):
        assert quotes(await ticks_of(quote_feed(lean(tmp_path)))) == [
            (DAY + 8_715 * MS, "1.39101", "1.39114"),
            (DAY + 15_681 * MS, "1.39102", "1.39116"),
        ]

    async def test_a_folder_is_read_in_date_order_whatever_the_names(self, tmp_path):
        for name in ("a_2014-05-09.csv", "b_20140508.csv.gz", "c_2014.05.07.zip"):
            write(tmp_path / name, "1000,1.1,1.2\n")
        write(tmp_path / "README.md", "not data")
        write(tmp_path / ".20140501_hidden.csv", "1000,1.1,1.2\n")
        (tmp_path / "20140506.csv").mkdir()
        times = [tick.ts_ns for tick in await ticks_of(quote_feed(tmp_path))]
        assert times == [DAY - 86_400 * S + S, DAY + S, DAY + 86_400 * S + S]

    async def test_without_dates_in_all_names_files_are_read_by_name(self, tmp_path):
        for name, second in (("b.csv", 2), ("a.csv", 1), ("c_20140101.csv", 3)):
            write(tmp_path / name, HEADER + f"2014-05-08T00:00:0{second}Z,1.1,1.2\n")
        feed = csv_feed(tmp_path)
        assert [tick.ts_ns for tick in await ticks_of(feed)] == [DAY + S, DAY + 2 * S, DAY + 3 * S]

    async def test_a_pattern(self, tmp_path):
        for day in (7, 8):
            lean(tmp_path / "eurusd" / str(day), f"2014050{day}_quote.zip", "1000,1.1,1.2")
        lean(tmp_path / "eurusd", "20140508_trade.zip", "1000,9,9")
        assert len(await ticks_of(quote_feed(tmp_path / "**" / "*_quote.zip"))) == 2

    async def test_a_name_with_signs_of_a_pattern_is_still_a_name(self, tmp_path):
        assert len(await ticks_of(quote_feed(lean(tmp_path, "[eur]20140508.zip")))) == 2

    async def test_a_relative_path_is_relative_to_the_config(self, tmp_path):
        lean(tmp_path / "data")
        feed = build("file", {"path": "data", "instrument": "EUR_USD", "format": "quote"}, base=tmp_path)
        assert len(await ticks_of(feed)) == 2

    async def test_every_text_in_a_zip_is_read(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "ticks.zip", "w") as archive:
            archive.writestr("20140508.csv", "1000,1.1,1.2")
            archive.writestr("sub/", "")
            archive.writestr("20140507.csv", "1000,1.0,1.2")
            archive.writestr("__MACOSX/20140507.csv", "junk")
        assert [str(t.bid) for t in await ticks_of(quote_feed(tmp_path / "ticks.zip"))] == ["1.0", "1.1"]

    async def test_files_of_days_outside_are_not_even_opened(self, tmp_path):
        write(tmp_path / "20140507.csv", "junk")
        lean(tmp_path, "20140508.csv")
        write(tmp_path / "20140509.csv", "junk")
        feed = quote_feed(tmp_path, start="2014-05-08", end="2014-05-09")
        assert len(await ticks_of(feed)) == 2
        assert feed.quality() == {"rows": 2, "ticks": 2, "files_outside": 2}

    async def test_the_days_of_files_are_those_of_their_zone(self, tmp_path):
        lean(tmp_path, "20140507.csv", "82800000,1.1,1.2")  # 23:00 in New York is 03:00 UTC
        feed = quote_feed(tmp_path, start="2014-05-08", time_zone="America/New_York")
        assert [t.ts_ns for t in await ticks_of(feed)] == [DAY + 3 * 3_600 * S]

    async def test_a_day_that_begins_behind_its_midnight_is_read(self, tmp_path):
        """Clocks in São Paulo went from midnight to one o'clock: the day is 23 hours long, and the first of them is none."""
        path = lean(tmp_path, "20181104_quote.csv", "1800000,1.1,1.2\n3600000,1.1,1.2\n")
        feed = quote_feed(path, time_zone="America/Sao_Paulo", start="2018-11-01")
        assert quotes(await ticks_of(feed)) == [(parse_instant("2018-11-04T03:00:00"), "1.1", "1.2")]
        assert feed.quality() == {"rows": 2, "ticks": 1, "time_dropped": 1}


class TestFormats:
    @pytest.mark.parametrize("name", ["q.csv", "q.csv.gz", "q.zip", "q.txt"])
    async def test_plain_gzip_and_zip_are_the_same(self, tmp_path, name):
        path = write(tmp_path / name, HEADER + "2014-05-08T00:00:01Z,1.1,1.2\n")
        assert quotes(await ticks_of(csv_feed(path))) == [(DAY + S, "1.1", "1.2")]

    @pytest.mark.parametrize(
        ("text", "settings"),
        [
            ("time,bid,ask\n2014-05-08T00:00:01Z,1.1,1.2\n", {}),
            ("\ufefftime,bid,ask\r\n2014-05-08T00:00:01Z,1.1,1.2\r\n", {}),
            ('"Time","BID"," Ask "\n"2014-05-08T00:00:01Z","1.1","1.2"\n', {}),
            ("2014-05-08T00:00:01Z,1.1,1.2", {"header": False, "columns": {"time": 1, "bid": 2, "ask": 3}}),
            (
                "Gmt time;Ask;Bid;Volume\n08.05.2014 00:00:01.000;1,2;1,1;7\n",
                {
                    "columns": {"time": "Gmt time"},
                    "delimiter": ";",
                    "decimal_mark": ",",
                    "time_format": "%d.%m.%Y %H:%M:%S.%f",
                },
            ),
            (
                "<DATE>\t<TIME>\t<BID>\t<ASK>\n2014.05.08\t00:00:01\t1.1\t1.2\n",
                {
                    "columns": {"date": "<date>", "time": "<TIME>", "bid": "<BID>", "ask": "<ASK>"},
                    "delimiter": "\t",
                    "time_format": "%Y.%m.%d %H:%M:%S",
                },
            ),
            (
                "x,1399507201000,1.2,1.1\n",
                {"header": False, "columns": {"time": 2, "bid": 4, "ask": 3}, "time_format": "epoch_ms"},
            ),
        ],
    )
    async def test_columns_can_be_anywhere(self, tmp_path, text, settings):
        feed = csv_feed(write(tmp_path / "q.csv", text), **settings)
        assert quotes(await ticks_of(feed)) == [(DAY + S, "1.1", "1.2")]

    async def test_sizes_are_read_where_there_are_any(self, tmp_path):
        text = "time,bid,ask,bs,as\n2014-05-08T00:00:01Z,1.1,1.2,1000000,\n2014-05-08T00:00:02Z,1.1,1.3,5,2.5\n"
        feed = csv_feed(write(tmp_path / "q.csv", text), columns={"bid_size": "bs", "ask_size": "as"})
        sizes = [(tick.bid_size, tick.ask_size) for tick in await ticks_of(feed)]
        assert sizes == [(Decimal(1_000_000), None), (Decimal(5), Decimal("2.5"))]

    async def test_one_size_alone(self, tmp_path):
        text = "time,bid,ask,as\n2014-05-08T00:00:01Z,1.1,1.2,7\nbad,1.1,1.2,8\n"
        feed = csv_feed(write(tmp_path / "q.csv", text), columns={"ask_size": "as"})
        assert [(tick.bid_size, tick.ask_size) for tick in await ticks_of(feed)] == [(None, Decimal(7))]

    async def test_each_file_has_its_own_header(self, tmp_path):
        write(tmp_path / "1.csv", "time,bid,ask\n2014-05-08T00:00:01Z,1.1,1.2\n")
        write(tmp_path / "2.csv", "ask,x,time,bid\n1.2,,2014-05-08T00:00:02Z,1.1\n")
        assert quotes(await ticks_of(csv_feed(tmp_path))) == [(DAY + S, "1.1", "1.2"), (DAY + 2 * S, "1.1", "1.2")]

    async def test_a_minute_is_played_as_open_extremes_and_close(self, tmp_path):
        path = write(tmp_path / "20140508_quote.zip", MINUTE_ROW)
        feed = build("file", {"path": str(path), "instrument": "EUR_USD", "format": "minute"})
        ticks = await ticks_of(feed)
        start = DAY + 60 * S
        assert quotes(ticks) == [  # it closes below its open, so the high comes first
            (start, "1.39099", "1.39113"),
            (start + 20 * S, "1.39105", "1.39119"),
            (start + 40 * S, "1.39084", "1.39101"),
            (start + 59_999 * MS, "1.39088", "1.39101"),
        ]
        assert {(t.bid_size, t.ask_size) for t in ticks} == {(None, Decimal(250_000))}
        assert feed.quality() == {"rows": 1, "ticks": 4}

    async def test_a_minute_that_rises_has_its_low_first(self, tmp_path):
        row = "0,1.1,1.5,1.0,1.4,0,1.2,1.6,1.1,1.5,0\n"
        bad = "60000,1.1,oops,1.0,1.4,0,1.2,1.6,1.1,1.5,0\n"
        for text in (row, row + bad):  # by column, and row by row
            path = write(tmp_path / "20140508.csv", text)
            feed = build("file", {"path": str(path), "instrument": "EUR_USD", "format": "minute"})
            assert [str(t.bid) for t in await ticks_of(feed)] == ["1.1", "1.0", "1.5", "1.4"]

    async def test_a_bar_whose_close_is_outside_its_range_is_a_bad_row(self, tmp_path):
        path = write(tmp_path / "20140508.csv", "0,1.1,1.3,1.0,1.4,0,1.2,1.6,1.1,1.5,0\n" + MINUTE_ROW)
        settings = {"path": str(path), "instrument": "EUR_USD", "format": "minute"}
        feed = build("file", settings)
        assert len(await ticks_of(feed)) == 4
        assert feed.quality()["bar_range_dropped"] == 1
        feed = build("file", {**settings, "bad_rows": {"bar_range": "accept"}})
        assert len(await ticks_of(feed)) == 8
        feed = build("file", {**settings, "bad_rows": {"bar_range": "fail"}})
        with pytest.raises(InputError, match=r"line 1: bar range: bid open 1\.1 or close 1\.4 lies outside low 1\.0"):
            await ticks_of(feed)


async def delivered(feed: Any) -> tuple[list[int], str]:
    """The times of all ticks that come before a failure, in milliseconds of the day, and what it says."""
    await feed.open(0)
    times: list[int] = []
    while True:
        try:
            window = await feed.next_window(7)
        except InputError as failure:
            return times, str(failure)
        assert window is not None, "it ended as if nothing were wrong"
        times += [(tick.ts_ns - DAY) // MS for tick in window.ticks]


class TestARowThatEndsItAll:
    """However much is read at a time: what stands before it is traded on."""

    @pytest.mark.parametrize("bad", [0, 1, 2, 61, 5_000, 9_999])
    @pytest.mark.parametrize("spoilt", ["crossed", "non_numeric"])
    async def test_comes_behind_all_the_rows_before_it(self, tmp_path, bad, spoilt):
        rows = [f"{n * 1_000},1.1,1.2" for n in range(10_000)]
        rows[bad] = f"{bad * 1_000},1.3,1.2" if spoilt == "crossed" else f"{bad * 1_000},one,1.2"
        feed = quote_feed(lean(tmp_path, text="\n".join(rows)), bad_rows={spoilt: "fail"})
        times, said = await delivered(feed)
        assert times == [n * 1_000 for n in range(bad)]
        assert f"line {bad + 1}: {spoilt.replace('_', ' ')}" in said
        assert feed.quality()[f"{spoilt}_fail"] == 1
        assert feed.quality()["rows"] == bad + 1

    async def test_ends_the_other_instruments_where_it_stands(self, tmp_path):
        write(tmp_path / "e" / "20140508.csv", "1000,1.1,1.2\n4000,1.1,1.2\n5000,1.3,1.2\n9000,1.1,1.2\n")
        write(tmp_path / "n" / "20140508.csv", "500,0.8,0.9\n3000,0.8,0.9\n4000,0.8,0.9\n8000,0.8,0.9\n")
        settings = {"instruments": {"NZD_USD": "n", "EUR_USD": "e"}, "format": "quote", "bad_rows": {"crossed": "fail"}}
        times, said = await delivered(build("file", settings, base=tmp_path))
        assert times == [500, 1_000, 3_000, 4_000, 4_000]
        assert "line 3: crossed" in said


class TestSeveralInstruments:
    async def test_ticks_are_merged_by_time_and_ties_go_by_the_order_of_the_config(self, tmp_path):
        write(tmp_path / "e" / "20140508.csv", "1000,1.1,1.2\n2000,1.1,1.2\n2000,1.1,1.3\n")
        write(tmp_path / "n" / "20140508.csv", "500,0.8,0.9\n2000,0.8,0.9\n3000,0.8,0.9\n")
        settings = {"instruments": {"NZD_USD": "n", "EUR_USD": "e"}, "format": "quote"}
        feed = build("file", settings, base=tmp_path)
        found = [(t.ts_ns - DAY, t.instrument, str(t.ask)) for t in await ticks_of(feed)]
        assert found == [
            (500 * MS, "NZD_USD", "0.9"),
            (1000 * MS, "EUR_USD", "1.2"),
            (2000 * MS, "NZD_USD", "0.9"),
            (2000 * MS, "EUR_USD", "1.2"),
            (2000 * MS, "EUR_USD", "1.3"),
            (3000 * MS, "NZD_USD", "0.9"),
        ]
        assert feed.info.instruments == ("NZD_USD", "EUR_USD")
        assert feed.quality() == {"rows": 6, "ticks": 6}

    async def test_ties_are_settled_across_files_too(self, tmp_path):
        for folder, name, bid in (("e", "1", 1), ("e", "2", 2), ("n", "1", 3)):
            write(tmp_path / folder / f"{name}.csv", HEADER + f"2014-05-08T00:00:01Z,{bid},9\n")
        feed = build("file", {"instruments": {"EUR_USD": "e", "NZD_USD": "n"}}, base=tmp_path)
        assert [str(t.bid) for t in await ticks_of(feed)] == ["1", "2", "3"]

    @given(st.lists(st.lists(st.lists(st.integers(0, 60), max_size=6), max_size=4), min_size=1, max_size=3), st.data())
    async def test_merging_is_a_stable_sort(self, tmp_path_factory, streams, data):
        folder = tmp_path_factory.mktemp("merge")
        symbols = ["EUR_USD", "NZD_USD", "USD_JPY"][: len(streams)]
        expected = []
        for symbol, days in zip(symbols, streams, strict=True):
            write(folder / symbol / "20140401.csv", "")  # an instrument may have nothing at all
            for day, seconds in enumerate(days, start=1):
                rows = [(second * 1_000, n) for n, second in enumerate(sorted(seconds), start=1)]
                write(folder / symbol / f"2014050{day}.csv", "".join(f"{ms},{n},{n + 1}\n" for ms, n in rows))
                midnight = parse_instant(f"2014-05-0{day}")
                expected += [(midnight + ms * MS, symbol, n) for ms, n in rows]
        expected.sort(key=lambda entry: entry[0])
        settings = {"instruments": {symbol: str(folder / symbol) for symbol in symbols}, "format": "quote"}
        ticks, _ = await read(build("file", settings), ticks_max=data.draw(st.integers(1, 20)))
        assert [(t.ts_ns, t.instrument, int(t.bid)) for t in ticks] == expected


class TestPricesThatHaveNotChanged:
    """MetaTrader 5 leaves a price empty that is that of the row before."""

    ROWS = (("1.10000", "1.10010"), ("1.10001", ""), ("", "1.10012"), ("", ""), ("1.10005", "1.10015"))
    WHOLE = (("1.10000", "1.10010"), ("1.10001", "1.10010"), ("1.10001", "1.10012"), ("1.10001", "1.10012"), ROWS[-1])

    def text(self, rows: Sequence[tuple[str, str]], first: int = 0) -> str:
        return HEADER + "".join(
            f"2014-05-08T00:00:{second:02d}Z,{bid},{ask}\n" for second, (bid, ask) in enumerate(rows, start=first)
        )

    async def test_they_are_those_of_the_row_before_where_the_settings_say_so(self, tmp_path):
        path = write(tmp_path / "q.csv", self.text(self.ROWS))
        feed = csv_feed(path, empty_prices="unchanged")
        assert [(bid, ask) for _, bid, ask in quotes(await ticks_of(feed))] == list(self.WHOLE)
        assert feed.quality() == {"rows": 5, "ticks": 5}
        plain = csv_feed(path)
        assert len(await ticks_of(plain)) == 2
        assert plain.quality()["non_numeric_dropped"] == 3

    async def test_before_the_first_of_a_file_there_is_none(self, tmp_path):
        for name in ("1", "2"):
            write(tmp_path / "q" / f"{name}.csv", self.text([("", "1.10010"), *self.ROWS], first=10 * int(name)))
        feed = csv_feed(tmp_path / "q", empty_prices="unchanged")
        assert [(bid, ask) for _, bid, ask in quotes(await ticks_of(feed))] == [*self.WHOLE, *self.WHOLE]
        assert feed.quality() == {"rows": 12, "ticks": 10, "non_numeric_dropped": 2}

    @pytest.mark.parametrize("bad", ["2014-05-08T00:00:09Z,1.1\n", "yesterday,1.1,1.2\n", '"unfinished\n', "\n"])
    async def test_rows_that_cannot_be_read_take_no_other_along(self, tmp_path, bad):
        head, first, *rest = self.text(self.ROWS).splitlines(keepends=True)
        feed = csv_feed(write(tmp_path / "q.csv", "".join([head, first, bad, *rest])), empty_prices="unchanged")
        kept = [(bid, ask) for _, bid, ask in quotes(await ticks_of(feed))]
        assert kept[-1] == self.WHOLE[-1]
        assert len(kept) == 5

    async def test_cells_in_quotation_marks_stay_whole(self, tmp_path):
        text = 'time,note,bid,ask\n2014-05-08T00:00:01Z,"a, b",1.1,1.2\n2014-05-08T00:00:02Z,"a ""c"", d",,1.3\n'
        feed = csv_feed(write(tmp_path / "q.csv", text), empty_prices="unchanged")
        assert [(str(bid), str(ask)) for _, bid, ask in quotes(await ticks_of(feed))] == [
            ("1.1", "1.2"),
            ("1.1", "1.3"),
        ]

    async def test_it_does_not_matter_where_a_feed_goes_back_to(self, tmp_path):
        many = [
            ("1.10000", "1.10010"),
            *[(f"1.1{n % 997:04d}", "") if n % 3 else ("", f"1.2{n % 991:04d}") for n in range(9_000)],
        ]
        rows = "".join(
            f"2014-05-08T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z,{b},{a}\n" for n, (b, a) in enumerate(many)
        )
        feed = csv_feed(write(tmp_path / "q.csv", HEADER + rows), empty_prices="unchanged")
        ticks = await ticks_of(feed)
        assert len(ticks) == len(many)
        assert (await read(feed, after=7_777))[0] == ticks[7_777:]

    @pytest.mark.parametrize("other", [{"format": "quote"}, {"bars": {"span": "1h", "spread_pips": 1}}])
    def test_it_is_of_quotes_in_csv_files(self, tmp_path, other):
        with pytest.raises(msgspec.ValidationError, match=r"empty_prices = .unchanged. is of bid and ask"):
            csv_feed(tmp_path, empty_prices="unchanged", **other)


class TestWhatItSaysAboutItself:
    def test_bytes_and_instruments(self, tmp_path):
        path = lean(tmp_path, "20140508.csv")
        info = quote_feed(path).info
        assert (info.name, info.instruments, info.replayable) == ("test", ("EUR_USD",), True)
        assert (info.total, info.total_bytes) == (None, len(QUOTE_ROWS))

    async def test_progress_runs_from_nothing_to_one(self, tmp_path):
        write(tmp_path / "20140507.csv", "1000,1.1,1.2\n" * 10)
        write(tmp_path / "20140508.csv", "1000,1.1,1.2\n" * 30)
        feed = quote_feed(tmp_path)
        assert feed.progress() == 0.0
        await feed.open(0)
        seen = [0.0]
        while await feed.next_window(10) is not None:
            seen.append(feed.progress() or 0.0)
        assert seen == sorted(seen)
        assert seen[-1] == 1.0

    def test_options_that_came_later_leave_the_fingerprints_of_before(self, tmp_path):
        """An unfinished execution goes on behind an upgrade: its data is not another because there is more to choose from."""
        text = write(tmp_path / "a.csv", HEADER + "2014-05-08T00:00:00Z,1,2\n")
        changed: dict[str, Any] = {
            "columns": {"bid_size": "ask"},
            "time_zone": "UTC-05:00",
            "bad_rows": {"crossed": "fix"},
        }
        row = write(tmp_path / "20140508_quote.csv", QUOTE_ROWS)
        assert [feed.info.fingerprint for feed in (quote_feed(row), csv_feed(text), csv_feed(text, **changed))] == [
            "9bc4ad42f79e78ec9b79d9ce76e9741c",
            "0b831d830f7fd0d37e5d314ab97b0055",
            "80d0410c130f2487e5d94279063645d5",
        ]

    def test_the_fingerprint_is_that_of_the_data_and_of_what_changes_the_ticks(self, tmp_path):
        one, two = lean(tmp_path / "one"), lean(tmp_path / "two")
        base = quote_feed(one).info.fingerprint
        assert base
        assert quote_feed(two).info.fingerprint == base  # a copy elsewhere
        assert quote_feed(one, speed=60).info.fingerprint == base
        changed = {
            quote_feed(one, time_zone="UTC-05:00").info.fingerprint,
            quote_feed(one, start="2014-05-08").info.fingerprint,
            quote_feed(one, bad_rows={"crossed": "accept"}).info.fingerprint,
            quote_feed(one, instrument="NZD_USD").info.fingerprint,
            quote_feed(lean(tmp_path / "three", "20140509_quote.zip")).info.fingerprint,
            quote_feed(lean(tmp_path / "four", text=QUOTE_ROWS + "1")).info.fingerprint,
        }
        lean(tmp_path / "two", "20140509_quote.zip")
        assert quote_feed(tmp_path / "two").info.fingerprint not in changed | {base}
        assert len(changed) == 6
        assert base not in changed


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({}, "give path and instrument"),
            ({"path": "x"}, "both needed"),
            ({"instrument": "EUR_USD"}, "both needed"),
            ({"path": "x", "instrument": "EUR_USD", "instruments": {"EUR_USD": "x"}}, "give path and instrument, or"),
            ({"path": "x", "instrument": "EUR_USD", "format": "feather"}, "Invalid enum value 'feather'"),
            ({"path": "x", "instrument": "EUR_USD", "fromat": "csv"}, "unknown field `fromat`"),
            ({"path": "x", "instrument": "EUR_USD", "delimiter": ",,"}, "length <= 1"),
            ({"path": "x", "instrument": "EUR_USD", "delimiter": "_"}, "delimiter cannot be"),
            ({"path": "x", "instrument": "EUR_USD", "decimal_mark": ","}, "cannot be the same"),
            ({"path": "x", "instrument": "EUR_USD", "gap_s": 0}, "gap_s must be above zero"),
            ({"path": "x", "instrument": "EUR_USD", "wait_max_s": 0}, "wait_max_s must be above zero"),
            ({"path": "x", "instrument": "EUR_USD", "columns": {"bid": 0}}, ">= 1"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, settings, problem):
        with pytest.raises(msgspec.ValidationError, match=problem):
            msgspec.convert(settings, FileFeedSettings)

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"instrument": "EUR_XXX"}, "instrument 'EUR_XXX' is not known"),
            ({"speed": "fast"}, 'allowed are "max" and multiples'),
            ({"speed": 0}, 'allowed are "max" and multiples'),
            ({"time_zone": "Mars"}, "time zone 'Mars' is not known"),
            ({"time_format": "unix"}, "time_format 'unix'"),
            ({"start": "soon"}, "'soon' is not a time"),
        ],
    )
    def test_what_does_not_exist_is_refused_with_what_does(self, tmp_path, settings, problem):
        path = write(tmp_path / "q.csv", HEADER)
        with pytest.raises(InputError, match=problem):
            csv_feed(path, **settings)


def test_a_file_is_hashed_once_until_it_is_another(tmp_path: Path) -> None:
    file = tmp_path / "ticks.csv"
    file.write_bytes(b"time,bid,ask\n" * 200_000)
    read: list[tuple[int, int]] = []
    hashes = FileHashes(lambda path, done, size: read.append((done, size)))
    first = hashes.of(str(file))
    assert first == hashlib.blake2b(file.read_bytes()).digest()
    assert read == [(1_048_576, 2_600_000), (2_097_152, 2_600_000), (2_600_000, 2_600_000)]
    assert hashes.of(str(file)) == first
    assert len(read) == 3
    os.utime(file, ns=(0, 0))
    assert (hashes.of(str(file)), len(read)) == (first, 6)
    file.write_bytes(b"time,bid,ask\n" * 100_000)
    assert hashes.of(str(file)) != first
