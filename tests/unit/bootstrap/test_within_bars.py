"""A strategy that decides on less than the bars that its data consists of is told of, before and behind a backtest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradekeel.bootstrap.checking import check
from tradekeel.bootstrap.plan import read_plan
from tradekeel.bootstrap.withinbars import within_bars
from tradekeel.errors import ExitCode

CONFIG = """
[daemon]
name = "hourly"
state_dir = "state"
[feeds.f]
kind = "file"
path = "bars.csv"
instrument = "EUR_USD"
{bars}
[accounts.a]
venue = "paper"
feed = "f"
[strategies.s]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
params = {{ fast = 3, slow = 6, timeframe = "{timeframe}" }}
"""
BARS = 'bars = { span = "1h", spread_pips = 1 }'


def config(folder: Path, timeframe: str, bars: str = BARS) -> Path:
    (folder / "bars.csv").write_text(
        "time,bid,ask,open,high,low,close\n2024-01-03T10:00,1.1,1.1001,1.1000,1.1010,1.0990,1.1005\n"
    )
    path = folder / "hourly.toml"
    path.write_text(CONFIG.format(timeframe=timeframe, bars=bars))
    return path


def found(path: Path) -> list[str]:
    plan = read_plan(path, {})
    return [str(each) for account in plan.accounts for each in within_bars(plan, account)]


@pytest.mark.parametrize("timeframe", ["1h", "4h", "1d"])
def test_bars_as_long_as_those_of_the_data_or_longer_are_well(tmp_path: Path, timeframe: str) -> None:
    assert found(config(tmp_path, timeframe)) == []


@pytest.mark.parametrize(("timeframe", "words"), [("", "every tick"), ("5m", "bars of 5m"), ("100t", "bars of 100t")])
def test_whoever_looks_within_them_is_named(tmp_path: Path, timeframe: str, words: str) -> None:
    [told] = found(config(tmp_path, timeframe))
    assert told.startswith(f"strategy s decides on {words}, and feed f makes its ticks up from bars of 1h")


def test_quotes_are_what_they_are(tmp_path: Path) -> None:
    assert found(config(tmp_path, "", bars="")) == []


def test_check_warns_and_refuses_nothing(tmp_path: Path) -> None:
    findings = check(config(tmp_path, ""), {})
    [warned] = [finding for finding in findings if finding.warning]
    assert (warned.subject, warned.ok, warned.code) == ("account a", True, ExitCode.DONE)
    assert "before it does" in warned.text
