"""Data that nobody has described: what is certain is recognised, what is not is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
