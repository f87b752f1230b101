"""Reports and comparisons where the daemon's books are on a server, and the backtests and archives beside it in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.campaigns.kill.stores import Databases
from tests.integration.cli_daemon import call
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home
from tradekeel.bootstrap.backtests import execute, prepare

TOML = configs.head() + configs.market(1_000) + configs.account("a") + configs.strategy("ema", "a")


def test_a_report_of_books_on_a_server_and_their_comparison_with_a_backtest(
    tmp_path: Path, postgres_admin: Callable[[], str]
) -> None:
    home = Home(tmp_path, TOML, Databases(postgres_admin()))
    life = home.live()
    assert life.code == 0, life.log
    paper = json.loads(call("report", home.config, "--json").stdout)
    assert paper["run"]["mode"] == "paper"
    assert paper["figures"]["trades"]["count"] > 5
    assert paper["trades"]
    assert paper["prices"]["EUR_USD"]

    (prepared,) = prepare(home.config, {})
    execute(prepared)

    done = call("compare", home.config, home.state / "backtests")
    assert done.returncode == 0, done.stdout + done.stderr

    assert call("db", "archive", home.config, "--before", "9999-12-31").returncode == 0
    after = json.loads(call("report", paper["run"]["execution"], home.config, "--json").stdout)
    assert (after["trades"], after["archived_trades"]) == (paper["trades"], 0)
    done = call("compare", home.config, home.state / "backtests")
    assert done.returncode == 0, done.stdout + done.stderr
