"""Market data for a backtest from Python: files are recognised, a configuration's feed is read as fast as it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tradekeel.backtest import BacktestExecutor
from tradekeel.domain.times import iso
from tradekeel.errors import DataError, InputError
from tradekeel.scripting import tick_data
from tradekeel.strategies.ema_cross import EmaCross, EmaCrossParameters

SAMPLE = ROOT / "config" / "ticks" / "eur_usd_sample.csv"
TIMES = ("2024-01-03T13:30:00Z", "2024-01-03T13:30:01Z", "2024-01-03T13:30:02Z")


def test_a_file_and_the_feed_of_a_configuration_are_the_same_ticks() -> None:
    of_file = tick_data(SAMPLE, instrument="EUR_USD")
    of_feed = tick_data(str(ROOT / "config" / "replay.toml"))
    assert [window.ticks for window in of_file.windows()] == [window.ticks for window in of_feed.windows()]


def test_it_is_told_what_cannot_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("when;sold at;bought at\n" + "".join(f"{time};1.1;1.2\n" for time in TIMES))
    names = {"columns.time": "when", "columns.bid": "sold at", "columns.ask": "bought at", "start": TIMES[1]}
    source = tick_data(path, instrument="EUR_USD", settings=names)
    assert [iso(tick.ts_ns)[:19] for window in source.windows() for tick in window.ticks] == [t[:19] for t in TIMES[1:]]


def test_a_backtest_reads_it_with_the_bars_that_its_strategies_want() -> None:
    strategy = EmaCross(EmaCrossParameters(fast=5, slow=20, timeframe="1m"))
    result = BacktestExecutor(tick_data(SAMPLE, instrument="EUR_USD"), strategy, "10000").execute()
    assert result.trades


def test_what_is_not_there_or_not_to_be_told_is_refused(tmp_path: Path) -> None:
    with pytest.raises((InputError, DataError), match=r"nothing\.csv"):
        tick_data(tmp_path / "nothing.csv", instrument="EUR_USD")
    with pytest.raises(InputError, match="--tick-size"):
        tick_data(SAMPLE, instrument="XAU_USD")
