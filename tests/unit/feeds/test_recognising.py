"""Data that nobody has described: what is certain is recognised, what is not is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.feeds.reading import write
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.errors import InputError
from tradekeel.feeds.recognising import recognise, symbol_in

PLAIN = {"time": "time", "bid": "bid", "ask": "ask"}


def seen(path: Path, **given: Any) -> dict[str, Any]:
    return recognise(str(path), Path(), given)


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("20140508.csv", "8715,1.39101,1.39114\r\n15681,1.39102,1.39116", {"format": "quote"}),
        ("20140508.zip", "60000,1,1,1,1,0,2,2,2,2,0\n", {"format": "minute"}),
        ("x.gz", '1723161600001658384 {"stream":"btcusdt@trade"}\n', {"format": "binance", "gap_on_weekends": True}),
        ("x.csv", "", {"format": "csv"}),
        (
            "x.csv",
            "time,bid,ask\n2014-05-08T00:00:00Z,1,2\n",
            {"format": "csv", "delimiter": ",", "header": True, "columns": PLAIN, "time_format": "iso"},
        ),
        (
            "x.csv",
            '"Gmt time";Ask;Bid;AskVolume;BidVolume\n08.05.2014 00:00:00.123;1,2;1,1;0,75;1\n',
            {
                "format": "csv",
                "delimiter": ";",
                "header": True,
                "decimal_mark": ",",
                "time_format": "%d.%m.%Y %H:%M:%S.%f",
                "columns": {
                    "time": "Gmt time",
                    "bid": "Bid",
                    "ask": "Ask",
                    "bid_size": "BidVolume",
                    "ask_size": "AskVolume",
                },
            },
        ),
        (
            "x.csv",
            "20140501 000001787,1.38728,1.38729,0\n",
            {
                "format": "csv",
                "delimiter": ",",
                "header": False,
                "columns": {"time": 1, "bid": 2, "ask": 3},
                "time_format": "%Y%m%d %H%M%S%f",
            },
        ),
    ],
)
def test_what_it_looks_like(tmp_path, name, text, settings):
    assert seen(write(tmp_path / name, text)) == settings


@pytest.mark.parametrize(
    ("stamp", "time_format"),
    [
        ("1399507200", "epoch_s"),
        ("1399507200.5", "epoch_s"),
        ("1399507200123", "epoch_ms"),
        ("1399507200123456789", "epoch_ns"),
    ],
)
def test_numbers_tell_their_unit_by_their_length(tmp_path, stamp, time_format):
    assert seen(write(tmp_path / "x.csv", f"time,bid,ask\n{stamp},1,2\n"))["time_format"] == time_format


def test_what_was_said_is_not_asked_again(tmp_path):
    path = write(tmp_path / "x.csv", "when,b,a\n05/08/2014,1,2\n")
    columns = {"time": "when", "bid": "b", "ask": "a"}
    with pytest.raises(InputError, match=r"which column is the time and the bid and the ask\? It has 'when', 'b', 'a'"):
        seen(path)
    assert seen(path, time_format="%m/%d/%Y", columns=columns | {"bid": "b"}, format="quote") == {}


def test_a_column_that_is_named_is_not_looked_for(tmp_path):
    path = write(tmp_path / "x.csv", "time,b,ask\n2014-05-08,1,2\n")
    assert seen(path, columns={"bid": "b"})["columns"] == PLAIN | {"bid": "b"}


@pytest.mark.parametrize(
    "text",
    [
        "Date,Open,High,Low,Close,Adj Close,Volume\n{}2014-05-08,1,2,1,2,2,7\n2014-05-09,1,2,1,2,2,7\n2014-05-12,1,2,1,2,2,7\n",
        "1399507200,1,2,1,2,7\n1399593600,1,2,1,2,7\n",
    ],
)
def test_bars_say_how_long_they_are_and_not_what_the_spread_was(tmp_path, text):
    path = write(tmp_path / "x.csv", text.replace("{}", ""))
    header = "Date" in text
    if header:
        with pytest.raises(
            InputError, match=r"has bars, which do not say how far bid and ask were apart: --set bars.spread"
        ):
            seen(path)
    found = seen(path, bars={"spread_pips": 1})
    assert found["bars"] == {"span": "1d"}
    prices = ("Date", "Open", "High", "Low", "Close") if header else range(1, 6)
    assert found["columns"] == dict(zip(("time", "open", "high", "low", "close"), prices, strict=True))
    assert "bars" not in seen(path, bars={"spread_pips": 1, "span": "4h"})


MT5_BARS = "<DATE> <TIME> <OPEN> <HIGH> <LOW> <CLOSE> <TICKVOL> <VOL> <SPREAD>"
MT5_NAMES = {part: f"<{part.upper()}>" for part in ("date", "time", "open", "high", "low", "close")}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("header", "days", "times", "time_format", "span"),
    [
        (MT5_BARS, ["2024.01.02"], ["00:00:00", "00:05:00", "00:15:00"], "%Y.%m.%d %H:%M:%S", "5m"),
        (MT5_BARS, ["2024.01.02"], ["00:00", "01:00"], "%Y.%m.%d %H:%M", "1h"),
        ("Date Time Open High Low Close Volume", ["2024-01-02"], ["00:00", "00:01"], "iso", "1m"),
        ("DATE TIME OPEN HIGH LOW CLOSE", ["20240102"], ["000000", "001500"], "%Y%m%d %H%M%S", "15m"),
        (
            "Date Time Open High Low Close",
            ["02.01.2024"],
            ["00:00:00.000", "01:00:00.000"],
            "%d.%m.%Y %H:%M:%S.%f",
            "1h",
        ),
        ("Date Time Open High Low Close", ["20240102"], ["0000", "0130"], "%Y%m%d %H%M", None),
    ],
)
def test_a_date_may_stand_apart_from_the_time_of_its_bars(tmp_path, delimiter, header, days, times, time_format, span):
    lines = [
        header.split(),
        *([day, time, "1.2", "1.3", "1.1", "1.25", "7", "0", "3"] for day in days for time in times),
    ]
    wide = len(lines[0])
    path = write(tmp_path / "x.csv", "".join(delimiter.join(line[:wide]) + "\n" for line in lines))
    if span is None:
        with pytest.raises(InputError, match="how long does one last"):
            seen(path, bars={"spread_pips": 1})
        return
    found = seen(path, bars={"spread_pips": 1})
    assert (found["delimiter"], found["header"], found["time_format"]) == (delimiter, True, time_format)
    assert found["bars"] == {"span": span}
    names = {name.strip("<>").lower(): name for name in lines[0]}
    assert found["columns"] == {part: names[part] for part in MT5_NAMES}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_date_may_stand_apart_from_the_time_of_its_ticks(tmp_path, delimiter):
    lines = ["<DATE> <TIME> <BID> <ASK> <LAST> <VOLUME> <FLAGS>", "2024.01.02 00:05:00.123 1.10427 1.10472 0 0 6"]
    path = write(tmp_path / "x.csv", "".join(delimiter.join(line.split()) + "\n" for line in lines))
    assert seen(path) == {
        "format": "csv",
        "delimiter": delimiter,
        "header": True,
        "columns": {"date": "<DATE>", "time": "<TIME>", "bid": "<BID>", "ask": "<ASK>"},
        "time_format": "%Y.%m.%d %H:%M:%S.%f",
        "empty_prices": "unchanged",  # so MetaTrader writes them
    }


@pytest.mark.parametrize(
    ("stamps", "time_format"),
    [
        (("20240102 000000", "20240102 000100"), "%Y%m%d %H%M%S"),
        (("2024-01-02T00:00:00Z", "2024-01-02T00:01:00Z"), "iso"),
        (("2024-01-02 00:00:00+01:00", "2024-01-02 00:01:00+01:00"), "iso"),
        (("1704153600", "1704153660"), "epoch_s"),
    ],
)
def test_without_a_header_four_prices_of_whole_minutes_are_bars(tmp_path, stamps, time_format):
    rows = "".join(f"{stamp};1.306600;1.306700;1.306560;1.306560;0\n" for stamp in stamps)
    path = write(tmp_path / "x.csv", rows)
    with pytest.raises(InputError, match=r"--set bars\.spread_pips=…"):
        seen(path)
    found = seen(path, bars={"spread_pips": 1})
    assert found["columns"] == {"time": 1, "open": 2, "high": 3, "low": 4, "close": 5}
    assert (found["bars"], found["time_format"]) == ({"span": "1m"}, time_format)
    ticks = write(tmp_path / "y.csv", f"{stamps[0]};1.3066;1.3067;250;750\n")
    assert seen(ticks)["columns"] == {"time": 1, "bid": 2, "ask": 3}


def test_without_a_header_a_date_a_time_and_four_prices_are_bars_and_two_prices_are_ticks(tmp_path):
    bars = write(tmp_path / "x.csv", "2024.01.02,00:00,1.2,1.3,1.1,1.25,7\n2024.01.02,00:30,1.2,1.3,1.1,1.25,7\n")
    with pytest.raises(InputError, match=r"--set bars\.spread_pips=…"):
        seen(bars)
    found = seen(bars, bars={"spread_pips": 1})
    assert found["columns"] == {"date": 1, "time": 2, "open": 3, "high": 4, "low": 5, "close": 6}
    assert (found["bars"], found["time_format"], found["header"]) == ({"span": "30m"}, "%Y.%m.%d %H:%M", False)
    ticks = write(tmp_path / "y.csv", "2024.01.02,00:00:01.5,1.2,1.3,0.75,1\n")
    assert seen(ticks)["columns"] == {"date": 1, "time": 2, "bid": 3, "ask": 4}


def test_a_time_that_is_whole_needs_no_date(tmp_path):
    path = write(tmp_path / "x.csv", "date,time,bid,ask\n2024-01-02,2024-01-02T00:00:01Z,1,2\n")
    assert (seen(path)["columns"], seen(path)["time_format"]) == (PLAIN, "iso")


def test_a_line_that_is_cut_off_says_nothing_of_the_rest(tmp_path):
    path = write(tmp_path / "x.csv", "time,bid,ask\n2024-01-02,1,2\n2024-01-03,1,2\n2024-01\n")
    assert seen(path)["time_format"] == "iso"


@pytest.mark.parametrize(
    ("times", "name", "settings"),
    [
        ([0, 3_600], "ts_ns", {}),
        ([1_704_153_600, 1_704_157_200], "time", {"time_format": "epoch_s"}),
        ([1_704_153_600_000, 1_704_157_200_000], "time", {"time_format": "epoch_ms"}),
        (["2024.01.02 00:00", "2024.01.02 01:00"], "time", {"time_format": "%Y.%m.%d %H:%M"}),
        (["2024-01-02 00:00", "2024-01-02 01:00"], "time", {}),
        ([datetime(2024, 1, 2, 0), datetime(2024, 1, 2, 1)], "time", {}),  # noqa: DTZ001 - as such files have them
        (
            [datetime(2024, 1, 2, 0, tzinfo=UTC), datetime(2024, 1, 2, 1, tzinfo=UTC)],
            "Date",
            {"columns": {"time": "Date"}},
        ),
    ],
)
def test_what_is_in_a_parquet_file(tmp_path, times, name, settings):
    span = "1h"
    if name == "ts_ns":
        times = [time * 10**9 for time in times]
    ticks, bars = tmp_path / "t.parquet", tmp_path / "b.parquet"
    prices = ["1.2", "1.3"]
    pq.write_table(pa.table({name: times, "bid": prices, "ask": prices}), ticks)
    pq.write_table(pa.table({name: times, **dict.fromkeys(("Open", "High", "Low", "Close"), prices)}), bars)
    assert seen(ticks) == {"format": "parquet", **settings}
    with pytest.raises(InputError, match=r"b\.parquet has bars.*--set bars\.spread_pips"):
        seen(bars)
    found = seen(bars, bars={"spread_pips": 1})
    assert found["bars"] == {"span": span}
    assert found["columns"] == settings.get("columns", {}) | {
        part.lower(): part for part in ("Open", "High", "Low", "Close")
    }
    assert found.get("time_format") == settings.get("time_format")


def test_columns_of_a_parquet_file_that_nobody_can_know_are_asked_for(tmp_path):
    pq.write_table(pa.table({"when": [1], "b": ["1"], "a": ["2"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"which column is the time and the bid and the ask\? It has 'when', 'b', 'a'"):
        seen(tmp_path / "x.parquet")
    found = seen(tmp_path / "x.parquet", columns={"time": "when", "bid": "b", "ask": "a"}, time_format="epoch_ns")
    assert found == {"format": "parquet"}


def test_bars_of_which_no_two_are_there_are_asked_for(tmp_path):
    path = write(tmp_path / "x.csv", "time,open,high,low,close\n2014-05-08,1,2,1,2\n")
    with pytest.raises(InputError, match=r"how long does one last\? --set bars.span=1h"):
        seen(path, bars={"spread_pips": 1})


def test_a_time_that_may_mean_two_things_is_asked_for(tmp_path):
    path = write(tmp_path / "x.csv", "time,bid,ask\n03/04/2014 10:00:00,1,2\n")
    with pytest.raises(InputError, match=r"'03/04/2014 10:00:00' is a time of which kind\? say what it is: --format"):
        seen(path)
    assert "time_format" not in seen(path, time_format="%d/%m/%Y %H:%M:%S")


@pytest.mark.parametrize("file", ["eurusd/20140508.zip", "EUR-USD.csv", "data/ticks_EUR_USD_2014.gz"])
def test_the_instrument_is_that_of_the_path(file):
    assert symbol_in("x", [f"/srv/{file}"], CATALOGUE) == "EUR_USD"


@pytest.mark.parametrize(
    ("files", "why"),
    [(["/srv/ticks.csv"], "does not say"), (["/srv/eurusd.csv", "/srv/usdjpy.csv"], "names EUR_USD, USD_JPY")],
)
def test_or_asked_for(files, why):
    with pytest.raises(InputError, match=f"of which instrument is it.*{why}"):
        symbol_in("x", files, CATALOGUE)
