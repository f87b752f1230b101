"""Reports for tests, without books: a tracker that was told of a few days and trades."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import structs

from tests.unit.storage import samples
from tradekeel.backtest.reporting import curves
from tradekeel.backtest.reporting.held import OpenTrades
from tradekeel.backtest.reporting.model import (
    AsOf,
    Configuration,
    Curve,
    CurvePoint,
    PricePoint,
    RunReport,
    SourceFile,
    StopLevel,
)
from tradekeel.domain.performance import PerformanceTracker
from tradekeel.domain.performance_report import PerformanceReport
from tradekeel.domain.positions import Quote
from tradekeel.domain.sessions import DAY_NS
from tradekeel.domain.trades import CloseReason, Trade, TradeStatus

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&amp;<a href='javascript:x'>]]>\x00"
START_NS = samples.START_NS


def closed(number: int, pnl: str = "5", **changes: Any) -> Trade:
    """A trade of a thousand units that is over, an hour after it began."""
    entered = START_NS + number * 3_600 * samples.SECOND
    trade = samples.trade(
        number,
        status=TradeStatus.CLOSED,
        entered_quantity=Decimal(1000),
        exited_quantity=Decimal(1000),
        entry_value=Decimal("1392.10"),
        exit_value=Decimal("1392.10") + Decimal(pnl),
        gross_pnl=Decimal(pnl),
        entry_time_ns=entered,
        exit_time_ns=entered + 1_800 * samples.SECOND,
        exit_reason=CloseReason.TAKE_PROFIT if Decimal(pnl) > 0 else CloseReason.STOP_LOSS,
        metadata={"layer": number % 3, "cycle": number // 3 + 1},
    )
    return structs.replace(trade, **changes)


def held(number: int, **changes: Any) -> Trade:
    """A trade of a thousand units that is open."""
    open_ = {
        "status": TradeStatus.OPEN,
        "exited_quantity": Decimal(0),
        "exit_value": Decimal(0),
        "gross_pnl": Decimal(0),
    }
    cost = {"open_cost": Decimal("1392.10"), "exit_time_ns": None, "exit_reason": None}
    return structs.replace(closed(number), **(open_ | cost | changes))


def figures_of(trades: list[Trade], equities: list[str] | None = None) -> PerformanceReport:
    """The figures of these trades, and of one equity a day."""
    tracker = PerformanceTracker()
    tracker.quote_seen("EUR_USD", Decimal("1.3920"), Decimal("1.3922"))
    for number, equity in enumerate(equities or []):
        tracker.equity_observed(Decimal(equity), START_NS + number * DAY_NS)
    for trade in trades:
        tracker.trade_closed(trade)
    return tracker.report({"EUR_USD": Quote(bid=Decimal("1.4000"), ask=Decimal("1.4002"), ts_ns=START_NS)})


def report(trades: list[Trade] | None = None, equities: list[str] | None = None, **changes: Any) -> RunReport:
    """A whole report."""
    some = [closed(number, pnl) for number, pnl in enumerate(("5", "-3", "2", "0"))] if trades is None else trades
    marks = equities if equities is not None else ["10000", "10005", "10002", "10004"]
    figures = figures_of([trade for trade in some if trade.status is TradeStatus.CLOSED], marks)
    equity = tuple(CurvePoint(START_NS + n * DAY_NS, Decimal(value)) for n, value in enumerate(marks))
    prices = {
        "EUR_USD": tuple(
            PricePoint(START_NS + n * DAY_NS, Decimal("1.39") + n / Decimal(100), Decimal("1.3902") + n / Decimal(100))
            for n in range(4)
        )
    }
    made = RunReport(
        version="1.2.3",
        ran_by=("1.2.2",),
        where="/books",
        run=samples.execution(),
        task=None,
        task_execution=None,
        as_of=AsOf(ts_ns=START_NS, position=10, sequence=20, records_behind=0, finished=True),
        figures=figures,
        held=OpenTrades(trades=0, unrealised=Decimal(0), booked=Decimal(0), by_trade={}),
        curve=Curve(
            source="snapshots",
            equity=equity,
            under_water=curves.under_water(equity),
            benchmark=curves.buy_and_hold(Decimal(10_000), prices),
            rolling_sharpe=curves.rolling_sharpe(figures),
        ),
        prices=prices,
        trades=tuple(some),
        stops={some[0].trade_id: (StopLevel(START_NS + 10, Decimal("1.391")),)} if some else {},
        strategies=(samples.strategy(),),
        denied={"quantity_max": 2},
        rejected=1,
        rejections={"INSUFFICIENT_MARGIN": 1},
        archived_trades=0,
    )
    return structs.replace(made, **changes)


def evil() -> RunReport:
    """A report in which every text is an attempt to be more than text."""
    trades = [
        closed(n, pnl, strategy=EVIL, symbol=EVIL, tags=(EVIL,), metadata={"layer": n, "cycle": 1, "x": EVIL})
        for n, pnl in enumerate(("5", "-3"))
    ]
    return report(
        trades,
        run=samples.execution(account=EVIL, close_reason=EVIL, latch_reason=EVIL),
        strategies=(samples.strategy(name=EVIL, kind=EVIL, parameters={EVIL: EVIL}),),
        configuration=Configuration(source=EVIL, values={EVIL: EVIL}, note=EVIL),
        sources=(SourceFile(kind=EVIL, strategies=(EVIL,), path=EVIL, sha256="00", text=EVIL + "\ud800", note=EVIL),),
        notes=(EVIL,),
        denied={EVIL: 1},
        rejections={EVIL: 1},
        ran_by=(EVIL,),
        where=EVIL,
    )
