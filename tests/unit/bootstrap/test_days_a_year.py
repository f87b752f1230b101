"""What an account's figures are annualised with: the days of its instruments' markets, or what the file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradekeel.bootstrap.plan import read_plan

CONFIG = """
[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD", "BTC_USDT"]
ticks = 10
[accounts.a]
venue = "paper"
feed = "market"
{account}
[accounts.a.paper]
conversion_rates = {{ USDT_USD = "1" }}
[strategies.s]
kind = "ema_cross"
account = "a"
instruments = [{traded}]
{more}
"""


@pytest.mark.parametrize(
    ("traded", "account", "more", "days"),
    [
        pytest.param('"EUR_USD"', "", "", 252, id="its market rests at the weekend"),
        pytest.param('"BTC_USDT"', "", "", 365, id="its market never closes"),
        pytest.param('"EUR_USD", "BTC_USDT"', "", "", 365, id="one of its markets never closes"),
        pytest.param('"BTC_USDT"', "days_a_year = 360", "", 360, id="the account says"),
        pytest.param('"EUR_USD"', "", "[instruments.EUR_USD]\ndays_a_year = 260", 260, id="the instrument says"),
        pytest.param('"EUR_USD"', "", "enabled = false", 252, id="nothing is traded"),
    ],
)
def test_days_of_a_year(tmp_path: Path, traded: str, account: str, more: str, days: int) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(traded=traded, account=account, more=more))
    assert read_plan(path, {}).accounts[0].days_a_year == days
