"""The same data through the daemon on the paper venue and through a backtest: the same orders, fills, trades and P&L."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import structs

from tests.campaigns.kill.books import Ours, read_ours
from tests.campaigns.kill.story import differences, story_of
from tests.campaigns.kill.variants import GAMBLING
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home, fail_at
from tests.unit.backtest import bench, disorder
from tests.unit.backtest.lively import market
from tradekeel.backtest.source import FeedSource
from tradekeel.bootstrap.backtests import execute, prepare
from tradekeel.bootstrap.summary import AccountSummary, read_summaries
from tradekeel.domain.tasks import TaskStatus
from tradekeel.domain.ticks import Tick
from tradekeel.errors import ExitCode
from tradekeel.storage.verify import verify

pytestmark = pytest.mark.untraced

BY_RUN = frozenset(
    (
        "execution",
        "client_order_id",
        "trade_id",
        "parent_id",
        "oco_group",
        "renews",
        "correlation_id",
        "after_cancel_of",
        "closes",
        "signal_id",
    )
)


def backtested(config: Path, account: str, folder: Path) -> tuple[Ours, AccountSummary]:
    """A backtest of one account, in books of its own, and what it came to in figures."""
    (prepared,) = prepare(config, {}, account=account, folder=folder / "backtests")
    executed = execute(prepared)
    assert executed.status is TaskStatus.COMPLETED
    assert verify(executed.folder / "books.db").ok
    assert executed.summary is not None
    return read_ours(executed.folder / "books.db", account), executed.summary


def orders_of(ours: Ours) -> list[list[tuple[str, str]]]:
    """All orders without their ids, in the order in which they were decided; an entry's legs have no order among them."""
    decided = [
        (
            (row["created_ns"], row["strategy"] or "", row["decision"], row["leg"], row["attempt"]),
            sorted((name, str(value)) for name, value in row.items() if name not in BY_RUN),
        )
        for row in ours.orders
    ]
    return [order for _, order in sorted(decided)]


def compare(toml: str, folder: Path, *accounts: str) -> None:
    home = Home(folder / "daemon", toml)
    life = home.live()
    assert life.code in (ExitCode.DONE, ExitCode.HALTED_BY_RISK), life.log
    for account in accounts:
        theirs, (ours, came_to) = home.ours(account), backtested(home.config, account, folder)
        assert theirs.trades, "nothing was traded, so nothing is shown"
        assert list(differences(story_of(theirs), story_of(ours))) == []
        assert orders_of(ours) == orders_of(theirs)
        (there,) = read_summaries(home.books, [account])
        assert structs.replace(there, execution=came_to.execution) == came_to


BAD_LINE = """latency_ms = 120
latency_jitter_ms = 900
reject_rate = "0.1"
drop_rate = "0.1"
timeout_rate = "0.1"
seed = 5"""
COSTS = """slippage = { model = "random", pips = "0.4" }
commission = { model = "per_million", taker = "30", maker = "10", minimum = "0.5" }
financing = { EUR_USD = { long = "-2.1", short = "0.7" } }"""
LIMITS = """[accounts.a.risk]
quantity_max = 20000
position_max = 3000
price_collar_pips = 5
orders_per_minute = 12
daily_loss_max = 4
drawdown_max = 6
"""


TURNS = "fast = 4, slow = 15, one_order = true, stop_loss_pips = 3, take_profit_pips = 5"


def scenario(*parts: str, ticks: int = 900, more: str = "") -> str:
    """A made-up market, and what trades it."""
    return configs.head() + configs.market(ticks, more=more) + "".join(parts)


SCENARIOS = {
    "exits at the venue": scenario(configs.account("a"), configs.strategy("ema", "a")),
    "two strategies share an instrument": scenario(
        configs.account("a", exits="monitor"),
        configs.strategy("floor", "a", "floor", configs.FLOOR),
        configs.strategy("ema", "a"),
    ),
    "a bad line": scenario(
        configs.account("a", exits="monitor", paper=BAD_LINE),
        configs.strategy("ema", "a"),
        configs.strategy("floor", "a", "floor", configs.FLOOR),
    ),
    "costs": scenario(configs.account("a", paper=COSTS), configs.strategy("ema", "a"), ticks=1_500),
    "a bad line to exits at the venue": scenario(configs.account("a", paper=BAD_LINE), configs.strategy("ema", "a")),
    "one order that turns": scenario(
        configs.account("a", paper=BAD_LINE), configs.strategy("ema", "a", params=TURNS), more="size = 700"
    ),
    "one order that turns, beside another strategy": scenario(
        configs.account("a", exits="monitor", paper=COSTS),
        LIMITS,
        configs.strategy("ema", "a", params=TURNS),
        configs.strategy("floor", "a", "floor", configs.FLOOR),
    ),
    "hedging": scenario(
        configs.account("a", more="hedging = true"),
        configs.strategy("floor", "a", "floor", configs.FLOOR),
        configs.strategy("ema", "a"),
        more="size = 700",
    ),
    "limits that trip": scenario(
        configs.account("a", exits="monitor"),
        LIMITS,
        configs.strategy("ema", "a"),
        configs.strategy("floor", "a", "floor", configs.FLOOR),
    ),
    "a limit that holds to the end": scenario(
        configs.account("a"), '[accounts.a.risk]\ndrawdown_max = "0.5"\n', configs.strategy("ema", "a")
    ),
    "bars": scenario(
        configs.account("a", exits="monitor"),
        configs.strategy("ema", "a", params='timeframe = "5s", fast = 3, slow = 9'),
        configs.strategy("donchian", "a", "donchian", 'timeframe = "30t"'),
        ticks=2_000,
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_on_a_made_up_market(name: str, tmp_path: Path) -> None:
    compare(SCENARIOS[name], tmp_path, "a")


RECORDED = """
[feeds.m]
kind = "file"
path = "{path}"
instrument = "EUR_USD"
format = "quote"
start = "2014-05-08T12:30:00Z"
end = "2014-05-08T12:32:00Z"
"""


def test_on_recorded_quotes(data_dir: Path, tmp_path: Path) -> None:
    """Two minutes of the busiest quarter of an hour of a day, of two strategies that pay for what they do."""
    path = data_dir / "oanda" / "tick" / "eurusd" / "20140508_quote.zip"
    feed = RECORDED.replace("{path}", str(path))
    shared = configs.account("a", exits="monitor", paper=f"{BAD_LINE}\n{COSTS}")
    strategies = configs.strategy("ema", "a") + configs.strategy("floor", "a", "floor", configs.FLOOR)
    compare(configs.head() + feed + shared + strategies, tmp_path, "a")


LATE_ROWS = """
[feeds.m]
kind = "file"
{files}
bad_rows = { out_of_order = "fix" }
"""
RATES = """[accounts.a.risk]
orders_per_second = 2
orders_per_minute = 20
messages_per_second = 4
daily_loss_max = 60
"""


def late_rows(folder: Path, seed: int, ticks: Sequence[Tick]) -> str:
    """A feed of these ticks, of which rows stand too late in their files."""
    late = disorder.with_late_rows(random.Random(f"late {seed}"), ticks, share=0.3)
    files = disorder.in_files(folder / "files", late)
    paths = "\n".join(f'instruments.{symbol} = "{path}"' for symbol, path in files.items())
    return LATE_ROWS.replace("{files}", paths)


def gambled(folder: Path, seed: int) -> str:
    """Gamblers, who set timers and times to end, on four instruments."""
    feed = late_rows(folder, seed, market(seed, 400, sizes=False))
    gamblers = "".join(
        f"""
[strategies.gambler-{number}]
kind = "{GAMBLING}:Gambling"
account = "a"
instruments = ["EUR_USD", "GBP_USD", "USD_CAD"]
params = {{ seed = {seed + number}, one_in = 4, answers = true, bars = true }}
"""
        for number in (1, 2)
    )
    return configs.head() + feed + configs.account("a", more="hedging = true") + RATES + gamblers


def test_where_rows_come_too_late(tmp_path: Path, seed: int) -> None:
    compare(gambled(tmp_path, seed), tmp_path, "a")


def test_where_rows_come_too_late_and_little_happens(tmp_path: Path) -> None:
    """Many ticks are conducted at a time then, in the daemon others than in a backtest; on this market it would show."""
    feed = late_rows(tmp_path, 11, ticks_of(bench.market(1_500, seed=11)))
    strategies = configs.strategy("ema", "a") + configs.strategy("floor", "a", "floor", configs.FLOOR)
    compare(configs.head() + feed + configs.account("a", exits="monitor") + LIMITS + strategies, tmp_path, "a")


def ticks_of(source: FeedSource) -> list[Tick]:
    return [tick for window in source.windows() for tick in window.ticks]


def test_where_rows_come_too_late_and_the_daemon_dies_on_the_way(tmp_path: Path, seed: int) -> None:
    """What counts in the limits on orders is counted again from the journal, denied entries among it."""
    home = Home(tmp_path / "daemon", gambled(tmp_path, seed))
    points = {"executor.after_commit": 40, "executor.decide.before": 120, "executor.before_commit": 200}
    home.live_to_the_end({point: fail_at(passes) for point, passes in points.items()})
    assert len(home.records("a", "daemon_started")) == 1 + len(points), "it died at each of them"
    ours, _ = backtested(home.config, "a", tmp_path)
    assert any(order["status"] == "denied" for order in ours.orders), "a limit was met"
    assert list(differences(home.story("a"), story_of(ours))) == []
