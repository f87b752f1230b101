"""Three equity curves of runs of ours, written as numbers for a program that knows nothing of this package.

    python -m tests.comparisons.curves FOLDER    writes FOLDER/NAME.json, a file a curve

Two are of recorded EUR/USD quotes of May 2014, and left out where these are not there (TRADEKEEL_DATA says where). The third is
of a made-up market: three years, with months that lose, days on which nothing is held, and a deposit in the middle.
Each has what happened (daily returns, every equity that was looked at, when anything was held, what each trade brought) and
the figures that we make of it, so that every difference can be led back to what happened.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.comparisons.curve import Curve
from tradekeel.backtest import BacktestExecutor
from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.kernel import Kernel
from tradekeel.backtest.setup import begin
from tradekeel.backtest.source import FeedSource
from tradekeel.bootstrap.backtesting import NO_CLOCK
from tradekeel.domain.money import Rounding, divide, ledger
from tradekeel.domain.performance import PerformanceTracker
from tradekeel.domain.performance_days import RETURN_STEP
from tradekeel.domain.performance_state import PerformanceState
from tradekeel.domain.trades import Trade, TradeStatus
from tradekeel.feeds import FEEDS, FeedContext
from tradekeel.feeds.file import FileFeedSettings
from tradekeel.feeds.synthetic import SyntheticFeedSettings
from tradekeel.ports import Feed
from tradekeel.strategies.base import AnyStrategy
from tradekeel.strategies.donchian import DonchianBreakout, DonchianParameters
from tradekeel.strategies.ema_cross import EmaCross, EmaCrossParameters

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("TRADEKEEL_DATA", ROOT.parent / "shared" / "data"))
QUOTES = "oanda/tick/eurusd/*_quote.zip"


class Witness(PerformanceTracker):
    """A tracker that also writes down what it is told."""

    def __init__(self, first: PerformanceTracker) -> None:
        super().__init__(first.state)
        self.equities: list[tuple[int, str]] = []
        self.funds: list[tuple[int, str]] = []  # before how many of the equities so much was moved
        self.held: list[tuple[int, bool]] = []

    def equity_observed(self, equity: Decimal, ts_ns: int) -> None:
        """An equity at its time."""
        super().equity_observed(equity, ts_ns)
        self.equities.append((ts_ns, str(equity)))

    def funds_moved(self, amount: Decimal) -> None:
        """A deposit. The one that an account begins with comes before any equity."""
        super().funds_moved(amount)
        if self.equities:
            self.funds.append((len(self.equities), str(amount)))

    def positions_held(self, held: bool, ts_ns: int) -> None:
        """Whether anything is held from this time on."""
        super().positions_held(held, ts_ns)
        self.held.append((ts_ns, held))


class Deposit(NamedTuple):
    """Money that comes in behind a tick."""

    position: int
    amount: Decimal


def around(name: str, timeframe: str) -> FeedContext:
    """What a feed is given."""
    return FeedContext(name=name, sleeper=NO_CLOCK, timeframes={"EUR_USD": (timeframe,)})


def recorded(data: Path, timeframe: str) -> Feed:
    """Eleven trading days of EUR/USD."""
    settings = FileFeedSettings(path=str(data / QUOTES), instrument="EUR_USD", format="quote")
    return FEEDS["file"].build(settings, around("recorded", timeframe))


def made_up(timeframe: str) -> Feed:
    """Three years of an hourly EUR/USD that there never was."""
    settings = SyntheticFeedSettings(
        instruments=("EUR_USD",), seed=11, duration="112w", interval_ms=3_600_000, jumps_per_day=Decimal("0.2")
    )
    return FEEDS["synthetic"].build(settings, around("made-up", timeframe))


def made_up_curve() -> Curve:
    """Breakouts of four-hour bars on the made-up market, with a deposit in the middle of it."""
    strategy = DonchianBreakout(DonchianParameters(timeframe="4h", entry_bars=30, exit_bars=10, units=Decimal(20_000)))
    return curve("made-up", made_up("4h"), strategy, Deposit(7_000, Decimal(5_000)))


def recorded_curves(data: Path) -> list[Curve]:
    """Crossing averages, and breakouts, on what was recorded."""
    ema = EmaCross(
        EmaCrossParameters(timeframe="5m", fast=10, slow=40, units=Decimal(50_000), stop_loss_pips=Decimal(20))
    )
    breakout = DonchianBreakout(DonchianParameters(timeframe="15m", units=Decimal(50_000)))
    return [curve("ema-cross", recorded(data, "5m"), ema), curve("donchian", recorded(data, "15m"), breakout)]


def curve(name: str, feed: Feed, strategy: AnyStrategy, deposit: Deposit | None = None) -> Curve:
    """Run it, and write down all of it."""
    source = FeedSource(feed, window_ticks=1_000)
    journal = MemoryJournal()
    setup = BacktestExecutor(source, strategy, Decimal(10_000), journal=journal).setup
    kernel: Kernel | None = None
    witness: Witness | None = None
    for window in source.windows():
        if kernel is None:
            kernel = begin(setup, journal, window.ticks[0].ts_ns)
            kernel.monitor.tracker = witness = Witness(kernel.monitor.tracker)
        kernel.conduct(window)
        if deposit is not None and window.first_position <= deposit.position <= window.last_position:
            with ledger():
                kernel.account.exchange.matcher._account.deposit(deposit.amount)  # there is no order for that
    assert kernel is not None
    assert witness is not None
    kernel.end()
    kernel.rest()
    equity, last_ns = kernel.monitor.equity(), max(quote.ts_ns for quote in kernel.monitor.quotes.values())
    assert equity is not None
    witness.equity_observed(equity, last_ns)  # as a report does: what is held at the end counts as it stands there
    return written(name, kernel, witness, closed_trades(journal))


def closed_trades(journal: MemoryJournal) -> list[Trade]:
    """In the order in which they closed."""
    closed: dict[str, Trade] = {}
    for entry in journal.entries:
        for row in entry.rows:
            if isinstance(row, Trade) and row.status is TradeStatus.CLOSED:
                closed[row.trade_id] = row
    return list(closed.values())


def written(name: str, kernel: Kernel, witness: Witness, trades: Sequence[Trade]) -> Curve:
    """What happened, and what we say of it."""
    report = kernel.monitor.report()
    with ledger():
        results = [str(trade.pnl) for trade in trades]
    return Curve(
        name=name,
        days=[(date.fromordinal(day).isoformat(), str(row.gain)) for day, row in sorted(witness.state.days.items())],
        present_day=str(witness.state.returns.day),
        today=_today(witness.state),
        equities=witness.equities,
        funds=witness.funds,
        held=witness.held,
        trades=results,
        figures=msgspec.to_builtins(report, str_keys=True),
    )


def _today(state: PerformanceState) -> str:
    """What the day that was not over came to, with the digits that a return has."""
    returns, equity = state.returns, state.equity
    assert equity is not None
    with ledger():
        earned = equity - returns.day_deposits - returns.day_start_equity
    return str(divide(earned, returns.day_start_equity, RETURN_STEP, Rounding.DISPLAY))


def main(folder: Path) -> int:
    """Write what there is data for."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    curves = [made_up_curve()]
    if any(DATA.glob(QUOTES)):
        curves += recorded_curves(DATA)
    else:
        print(f"No recorded quotes at {DATA}: set TRADEKEEL_DATA. Only the made-up market is compared.")
    for each in curves:
        (folder / f"{each.name}.json").write_bytes(msgspec.json.encode(each))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
