"""A file that is named after another instrument than the one it is read as is asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradekeel.bootstrap.misnamed import misnamed
from tradekeel.bootstrap.plan import read_plan

CONFIG = """
[instruments.MY_PAIR]
base = "EUR"
quote = "USD"
tick_size = "0.00001"
pip_size = "0.0001"
lot = 100_000
lot_step = 1
quantity_min = 1
quantity_max = 100_000_000
margin_rate = "0.0333"
[feeds.f]
kind = "file"
path = "{path}"
instrument = "{symbol}"
[accounts.a]
venue = "paper"
feed = "f"
[accounts.a.paper]
conversion_rates = {{ USDT_USD = 1 }}
[strategies.s]
kind = "ema_cross"
account = "a"
instruments = ["{symbol}"]
"""


def asked(folder: Path, path: str, symbol: str) -> list[str]:
    name = path.split('"', maxsplit=1)[0].replace("*", "q")
    there = folder / (name if "." in name else f"{name}/q.csv")
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_text("time,bid,ask\n2024-01-03T10:00,1.1,1.1001\n")
    config = folder / "config.toml"
    config.write_text(CONFIG.format(path=path, symbol=symbol))
    plan = read_plan(config, {})
    return [said for account in plan.accounts for said in misnamed(plan, account)]


@pytest.mark.parametrize("path", ["USDJPY_H1.csv", "ticks/usd_jpy", "ticks/usd-jpy/*.csv"])
def test_another_instruments_name_is_asked_about(tmp_path: Path, path: str) -> None:
    assert asked(tmp_path, path, "EUR_USD") == [
        f"feed f: {path} is named after USD_JPY, and is read as EUR_USD: is it the right file?"
    ]


@pytest.mark.parametrize("path", ["EURUSD_H1.csv", "ticks/*.csv", "usdjpy/eurusd.csv", "of_usd/jpy_and_others.csv"])
def test_ones_own_name_or_none_is_well(tmp_path: Path, path: str) -> None:
    assert asked(tmp_path, path, "EUR_USD") == []


def test_a_name_within_ones_own_is_not_another_ones(tmp_path: Path) -> None:
    assert asked(tmp_path, "btcusdt.csv", "BTC_USDT") == []


def test_a_file_whose_rows_say_what_they_are_of_may_hold_several(tmp_path: Path) -> None:
    assert asked(tmp_path, 'USDJPY.parquet"\nformat = "parquet', "EUR_USD") == []


def test_an_instrument_of_ones_own_is_called_what_one_likes(tmp_path: Path) -> None:
    assert asked(tmp_path, "EURUSD_H1.csv", "MY_PAIR") == []
