"""Rows and groups as the executor makes them, small enough to read in a test."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import structs

from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.messages import Fill, Liquidity, Signal, TransactionKind, VenueTransaction
from tradekeel.domain.orders import Order, OrderType, Purpose, Side
from tradekeel.domain.rows import (
    Checkpoint,
    ExecutionRow,
    Mode,
    ParameterChange,
    PerformanceSnapshot,
    Row,
    StrategyEvent,
    StrategyRow,
    StrategyStatus,
)
from tradekeel.domain.trades import Allocation, Trade, TradeSide

RUN = "exec-1"
STRATEGY = "floor"
SECOND = 1_000_000_000
START_NS = 1_400_000_000 * SECOND


def execution(name: str = RUN, number: int = 1, account: str = "paper-1", **changes: Any) -> ExecutionRow:
    row = ExecutionRow(
        execution=name,
        account=account,
        number=number,
        mode=Mode.PAPER,
        venue="paper",
        currency="USD",
        status="running",
        config_fingerprint="c0ffee",
        data_fingerprint="da7a",
        opening_balance=Decimal(10000),
        started_ns=START_NS,
    )
    return structs.replace(row, **changes)


def strategy(run: str = RUN, name: str = STRATEGY, **changes: Any) -> StrategyRow:
    row = StrategyRow(
        execution=run,
        strategy=name,
        kind="FloorStrategy",
        status=StrategyStatus.ACTIVE,
        instruments=("EUR_USD",),
        parameters={"initial_units": 1000, "take_profit_pips": "20"},
        updated_ns=START_NS,
    )
    return structs.replace(row, **changes)


def signal(number: int = 1, run: str = RUN, **changes: Any) -> Signal:
    row = Signal(
        signal_id=f"sg{run}-{number}",
        execution=run,
        strategy=STRATEGY,
        symbol="EUR_USD",
        timeframe="M5",
        side=Side.BUY,
        confidence=Decimal("0.75"),
        entry_price=Decimal("1.39210"),
        stop_loss=Decimal("1.39000"),
        take_profit=None,
        session="LONDON",
        pattern_type="retracement",
        generated_at_ns=START_NS + number * SECOND,
        trade_id=f"tr{run}-{number}",
    )
    return structs.replace(row, **changes)


def trade(number: int = 1, run: str = RUN, **changes: Any) -> Trade:
    row = Trade(
        trade_id=f"tr{run}-{number}",
        signal_id=f"sg{run}-{number}",
        execution=run,
        account="paper-1",
        strategy=STRATEGY,
        venue="paper",
        symbol="EUR_USD",
        side=TradeSide.LONG,
        quantity=Decimal(1000),
        stop_loss=Decimal("1.39000"),
        initial_stop_loss=Decimal("1.39000"),
        session="LONDON",
        pattern_type="retracement",
        entry_order_id=f"tk{run}-{number}",
        tags=("first", "zweite Ebene €"),
        metadata={"layer": 1, "why": {"rsi": 28.5}},
        created_ns=START_NS + number * SECOND,
        updated_ns=START_NS + number * SECOND,
    )
    return structs.replace(row, **changes)


def order(number: int = 1, run: str = RUN, **changes: Any) -> Order:
    row = Order(
        client_order_id=f"tk{run}-{number}",
        execution=run,
        account="paper-1",
        strategy=STRATEGY,
        instrument="EUR_USD",
        side=Side.BUY,
        type=OrderType.MARKET,
        purpose=Purpose.ENTRY,
        quantity=Decimal(1000),
        trade_id=f"tr{run}-{number}",
        signal_id=f"sg{run}-{number}",
        decision=number,
        reference_price=Decimal("1.39210"),
        created_ns=START_NS + number * SECOND,
        updated_ns=START_NS + number * SECOND,
    )
    return structs.replace(row, **changes)


def fill(number: int = 1, run: str = RUN, **changes: Any) -> Fill:
    row = Fill(
        fill_id=f"f{number}",
        account="paper-1",
        venue="paper",
        instrument="EUR_USD",
        side=Side.BUY,
        quantity=Decimal(1000),
        price=Decimal("1.39215"),
        fee=Decimal("0.0500"),
        realised=Decimal(0),
        rate=Decimal(1),
        liquidity=Liquidity.TAKER,
        ts_ns=START_NS + number * SECOND + 5,
        venue_order_id=f"v{number}",
        client_order_id=f"tk{run}-{number}",
        venue_sequence=number,
    )
    return structs.replace(row, **changes)


def checkpoint(number: int = 1, owner: str = STRATEGY, run: str = RUN, state: bytes = b"state") -> Checkpoint:
    return Checkpoint(
        execution=run,
        owner=owner,
        position=number * 10,
        inbox=number,
        ts_ns=START_NS + number,
        version=1,
        state=state,
    )


def noted(number: int = 1) -> r.TickSampled:
    return r.TickSampled(
        ts_ns=START_NS + number,
        correlation_id="née-€",
        instrument="EUR_USD",
        position=number,
        bid=Decimal("1.39200"),
        ask=Decimal("1.39210"),
    )


SNAPSHOT = PerformanceSnapshot(
    execution=RUN,
    ts_ns=START_NS,
    total_trades=1,
    winning_trades=1,
    losing_trades=0,
    win_rate=Decimal(1),
    pnl=Decimal("1.25"),
    balance=Decimal("10001.25"),
    equity=Decimal("10001.25"),
    sharpe=None,
    max_drawdown=Decimal(0),
    average_risk_reward=None,
    session="LONDON",
    parameter_mode=None,
)
CHANGE = ParameterChange(execution=RUN, ts_ns=START_NS, strategy=STRATEGY, name="max_layers", old="5", new="3")


def group(*records: r.Record, rows: tuple[Row, ...] = (), run: str = RUN, **more: Any) -> r.Group:
    return r.Group(execution=run, records=records, rows=rows, **more)


class Desk:
    """Makes groups the way the daemon does: each record is folded by the book, and the rows come from there."""

    def __init__(self, run: str = RUN, account: str = "paper-1", number: int = 1) -> None:
        self.run = run
        self.book = Book()
        self.account = account
        self.number = number
        self.orders = 0

    def group(self, *records: r.Record, checkpoints: tuple[Checkpoint, ...] = ()) -> r.Group:
        rows = tuple(row for record in records for row in self.book.apply(record))
        return r.Group(execution=self.run, records=records, rows=rows, checkpoints=checkpoints)

    def opening(self) -> r.Group:
        deposit = VenueTransaction(sequence=1, kind=TransactionKind.DEPOSITED, ts_ns=START_NS, amount=Decimal(10000))
        return self.group(
            r.ExecutionStarted(ts_ns=START_NS, row=execution(self.run, self.number, self.account)),
            r.StrategyRegistered(ts_ns=START_NS, row=strategy(self.run)),
            r.VenueReported(ts_ns=START_NS, transaction=deposit),
        )

    def decision(self) -> r.Group:
        """One entry: a signal, a trade, an order, an event, and the strategy's state."""
        self.orders += 1
        number = self.orders
        event = StrategyEvent(
            execution=self.run,
            strategy=STRATEGY,
            sequence=number,
            type="layer_opened",
            ts_ns=START_NS + number * SECOND,
            data={"layer": number, "price": "1.39210"},
        )
        taken = r.DecisionTaken(
            ts_ns=START_NS + number * SECOND,
            correlation_id=f"sg{self.run}-{number}",
            strategy=STRATEGY,
            number=number,
            digest=f"{number:032x}",
            position=number * 10,
            inbox=self.book.sequence,
            signals=(signal(number, self.run),),
            orders=(order(number, self.run, account=self.account),),
            trades=(trade(number, self.run, account=self.account),),
            events=(event,),
        )
        return self.group(taken, checkpoints=(checkpoint(number, run=self.run),))

    def filled(self, number: int) -> r.Group:
        """The entry of a decision is filled whole."""
        news = VenueTransaction(
            sequence=self.book.cursor + 1,
            kind=TransactionKind.ORDER_FILLED,
            ts_ns=START_NS + number * SECOND + 5,
            fill=fill(number, self.run, account=self.account),
        )
        part = Allocation(trade_id=f"tr{self.run}-{number}", quantity=Decimal(1000), opens=True, fee=Decimal("0.0500"))
        return self.group(r.VenueReported(ts_ns=news.ts_ns, transaction=news, allocations=(part,)))
