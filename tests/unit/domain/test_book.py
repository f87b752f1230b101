"""The book is a fold of the journal: what each record does, and that it can be saved and taken up anywhere."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.days import journal
from tests.unit.domain.executor_desk import ExecutorDesk, K, Side, buy, leave, placed_in
from tests.unit.domain.make import order, trade
from tests.unit.domain.world import RUN, START_NS, execution_row, strategy_row
from tradekeel.domain import records as r
from tradekeel.domain.book import ENDED_KEPT_MAX, Book, BookState
from tradekeel.domain.messages import TransactionKind, VenueTransaction
from tradekeel.domain.orders import Order, OrderStatus, OrderType
from tradekeel.domain.positions import Position
from tradekeel.domain.recovery import fold
from tradekeel.domain.rows import (
    ExecutionRow,
    Latch,
    MetricsCheckpoint,
    ParameterChange,
    PerformanceSnapshot,
    StrategyEvent,
    StrategyStatus,
)
from tradekeel.domain.trades import Allocation, Trade, TradeStatus
from tradekeel.domain.view import View
from tradekeel.errors import Defect

D = Decimal


def begun() -> Book:
    """A book with an execution and strategy "a"."""
    book = Book()
    book.apply(r.ExecutionStarted(ts_ns=START_NS, row=execution_row()))
    book.apply(r.StrategyRegistered(ts_ns=START_NS, row=strategy_row("a")))
    return book


def decision(number: int, **more: object) -> r.DecisionTaken:
    known: dict[str, object] = {
        "ts_ns": 7,
        "strategy": "a",
        "number": number,
        "digest": f"d{number}",
        "position": 1,
        "inbox": 2,
    }
    return r.DecisionTaken(**(known | more))  # type: ignore[arg-type]  # its fields by name


# --- the journal as a whole -------------------------------------------------------------------------------------------


@given(st.integers(0, 15), st.floats(0, 1))
def test_saved_and_loaded_anywhere_it_goes_on_as_if_it_had_not_been(seed: int, where: float) -> None:
    records = journal(seed)
    cut = int(where * len(records))
    whole = fold(Book(), records)

    half = fold(Book(), records[:cut]).book
    loaded = Book.load(half.save())
    rest = fold(loaded, records)

    assert loaded.save() == whole.book.save()
    assert rest.entries == whole.entries[cut:]
    assert loaded.working == {key: left for key, left in whole.book.working.items() if left or key in loaded.working}
    assert loaded.waiting == whole.book.waiting
    assert {k: v for k, v in loaded.exits.items() if v} == {k: v for k, v in whole.book.exits.items() if v}
    assert loaded.children == whole.book.children


@given(st.integers(0, 15))
def test_rows_are_versions_that_add_up_to_the_book(seed: int) -> None:
    """Whoever keeps the latest row of everything has the tables, and they say what the book says."""
    result = fold(Book(), journal(seed))
    orders: dict[str, Order] = {}
    trades: dict[str, Trade] = {}
    for entry in result.entries:
        for row in entry.rows:
            if isinstance(row, Order):
                orders[row.client_order_id] = row
            elif isinstance(row, Trade):
                assert row.version > trades.get(row.trade_id, structs.replace(row, version=-1)).version
                trades[row.trade_id] = row
    book = result.book

    assert orders == book.orders | book.ended
    assert trades == book.trades | book.closed


@given(st.integers(0, 15))
def test_what_may_still_fill_is_counted_along_the_way(seed: int) -> None:
    book = Book()
    for number, record in journal(seed):
        book.apply(record, number)
        open_now: dict[tuple[str, Side], Decimal] = {}
        for live in book.orders.values():
            if live.parent_id is None:
                key = (live.instrument, live.side)
                open_now[key] = open_now.get(key, D(0)) + live.open_quantity
        assert {k: v for k, v in book.working.items() if v} == {k: v for k, v in open_now.items() if v}


def test_a_sequence_is_counted_or_given() -> None:
    book = begun()
    assert book.sequence == 2

    book.apply(r.DaemonStarted(ts_ns=1, stamp=9, version="1", wall_ns=1), 17)

    assert (book.sequence, book.stamp) == (17, 9)
    book.apply(r.Administered(ts_ns=1, stamp=3, action="wipe", rows=0, by="anna"))
    assert (book.sequence, book.stamp) == (18, 9), "stamps never run backwards"


@pytest.mark.parametrize(
    "record",
    [
        r.DaemonStarted(ts_ns=1, version="1", wall_ns=1),
        r.Reconciled(ts_ns=1, balanced=True),
        r.Administered(ts_ns=1, action="wipe", rows=3, by="anna"),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_that_only_tell_change_nothing(record: r.Record) -> None:
    book = begun()
    before = structs.replace(_state(book), sequence=0)

    assert book.apply(record) == []
    assert structs.replace(_state(book), sequence=0) == before


def test_the_last_sampled_tick_is_remembered_and_nothing_else_of_it() -> None:
    book = begun()
    before = structs.replace(_state(book), sequence=0)

    for position in (500, 1_000, 750):
        tick = r.TickSampled(ts_ns=1, instrument="EUR_USD", position=position, bid=D(1), ask=D(1))
        assert book.apply(tick) == []

    assert structs.replace(_state(book), sequence=0) == structs.replace(before, sampled=1_000)
    assert Book.load(book.save()).sampled == 1_000


def _state(book: Book) -> BookState:
    return msgspec.msgpack.decode(book.save(), type=BookState)


def test_a_record_of_no_known_type_is_a_defect() -> None:
    with pytest.raises(Defect, match="no fold for journal record VenueTransaction"):
        Book().apply(VenueTransaction(sequence=1, kind=K.DEPOSITED, ts_ns=1))  # type: ignore[arg-type]  # on purpose


def test_every_record_type_survives_the_journal() -> None:
    change = ParameterChange(execution=RUN, ts_ns=1, strategy=None, name="n", old=None, new="1")
    records: list[r.Record] = [
        r.ParameterChanged(ts_ns=1, change=change),
        r.StopMoved(ts_ns=1, trade_id="t", stop_loss=D("1.10"), take_profit=None, source="manual", best=D("1.2")),
        r.ExcursionSeen(ts_ns=1, trade_id="t", best=None, worst=D("1.0")),
        decision(1, orders=(order(),), trades=(trade(metadata={"n": 1}),)),
        r.ExecutionStarted(
            ts_ns=1, row=execution_row(), opening=r.Opening(cursor=3, balance=D(1), positions=(), trades=())
        ),
    ]
    for record in records:
        assert r.decode_record(r.encode_record(record)) == record
    assert [r.record_type(record) for record in records] == [
        "parameter_changed",
        "stop_moved",
        "excursion_seen",
        "decision_taken",
        "execution_started",
    ]


# --- the execution and its strategies ---------------------------------------------------------------------------------


def test_before_its_first_record_a_book_has_no_execution() -> None:
    book = Book()
    for what in ("execution_id", "currency"):
        with pytest.raises(Defect, match="no execution"):
            getattr(book, what)
    with pytest.raises(Defect, match="before execution_started"):
        book.apply(r.ExecutionClosed(ts_ns=1, reason="end"))


def test_an_execution_begins_and_closes() -> None:
    book = begun()

    (row,) = book.apply(r.ExecutionClosed(ts_ns=9, reason="the feed has ended"))

    assert isinstance(row, ExecutionRow)
    assert (row.status, row.closed_ns, row.close_reason) == ("closed", 9, "the feed has ended")
    assert (book.execution_id, book.currency) == (RUN, "USD")


def test_an_execution_takes_over_balance_positions_trades_and_cursor() -> None:
    carried = trade(status=TradeStatus.OPEN, entered_quantity=D(1000), open_cost=D(1100))
    opening = r.Opening(
        cursor=41, balance=D(9_000), positions=(Position("EUR_USD", D(1000), D(1100)),), trades=(carried,)
    )
    book = Book()

    rows = book.apply(r.ExecutionStarted(ts_ns=1, row=execution_row(), opening=opening))

    assert rows == [execution_row(), carried]
    assert (book.cursor, book.money.balance, book.net("EUR_USD")) == (41, D(9_000), D(1000))
    assert book.trades == {"t1": carried}
    assert book.attribution == 0


def test_latches_are_the_executions() -> None:
    book = begun()

    book.apply(r.LatchChanged(ts_ns=1, paused=True, latch=Latch.HALTED, reason="why", by="anna"))

    assert book.execution is not None
    assert (book.execution.paused, book.execution.latch, book.execution.latch_reason) == (True, Latch.HALTED, "why")


def test_a_strategy_is_registered_again_without_forgetting_its_decisions() -> None:
    book = begun()
    book.apply(decision(1))
    book.apply(r.StrategyStatusChanged(ts_ns=5, strategy="a", status=StrategyStatus.FAILED, reason="threw twice"))
    assert book.strategies["a"].row.status is StrategyStatus.FAILED

    changed = structs.replace(strategy_row("a"), parameters={"n": 2})
    (row,) = book.apply(r.StrategyRegistered(ts_ns=6, row=changed))

    assert row == structs.replace(changed, decisions=1)
    assert book.strategies["a"].digest == "d1"


def test_whoever_was_never_registered_decides_nothing() -> None:
    with pytest.raises(Defect, match="strategy a was never registered"):
        Book().apply(decision(1))


def test_a_decision_registers_signals_orders_trades_and_events_in_this_order() -> None:
    book = begun()
    event = StrategyEvent(execution=RUN, strategy="a", sequence=1, type="t", ts_ns=7, data={})

    rows = book.apply(decision(1, orders=(order(trade_id="t1"),), trades=(trade(),), events=(event,)))

    assert [type(row).__name__ for row in rows] == ["StrategyRow", "Trade", "Order", "StrategyEvent"]
    assert book.strategies["a"].events == 1
    book.apply(decision(2))
    assert book.strategies["a"].events == 1, "a decision without events does not begin to count anew"


def test_the_same_order_twice_is_a_defect() -> None:
    book = begun()
    book.apply(decision(1, orders=(order(),)))

    with pytest.raises(Defect, match="tk1 exists already"):
        book.apply(r.OrdersIntended(ts_ns=1, orders=(order(),)))


def test_an_event_of_an_order_that_is_not_live_is_a_defect() -> None:
    with pytest.raises(Defect, match="lose of order tk1, which is not live"):
        begun().apply(r.OrderChanged(ts_ns=1, client_order_id="tk1", event="lose"))


def test_snapshots_and_parameters_are_rows_and_nothing_else() -> None:
    book = begun()
    snapshot = PerformanceSnapshot(
        execution=RUN,
        ts_ns=1,
        total_trades=0,
        winning_trades=0,
        losing_trades=0,
        win_rate=None,
        pnl=D(0),
        balance=D(0),
        equity=D(0),
        sharpe=None,
        max_drawdown=D(0),
        average_risk_reward=None,
        session=None,
        parameter_mode=None,
    )
    metrics = MetricsCheckpoint(execution=RUN, ts_ns=1, data=b"x")
    change = ParameterChange(execution=RUN, ts_ns=1, strategy="a", name="n", old="1", new="2")

    assert book.apply(r.SnapshotTaken(ts_ns=1, snapshot=snapshot)) == [snapshot]
    assert book.apply(r.SnapshotTaken(ts_ns=1, snapshot=snapshot, metrics=metrics)) == [snapshot, metrics]
    assert book.apply(r.ParameterChanged(ts_ns=1, change=change)) == [change]


# --- what is kept of the past -----------------------------------------------------------------------------------------


def test_of_ended_orders_and_closed_trades_the_last_few_are_kept() -> None:
    desk = ExecutorDesk(at_venue=False)
    desk.core.pause(True, "", "anna", desk.now_ns)
    for _ in range(ENDED_KEPT_MAX // 10 + 3):
        desk.decide(*[buy()] * 10)

    assert len(desk.book.ended) == ENDED_KEPT_MAX
    assert desk.book.order(next(iter(desk.book.ended))) is not None
    assert desk.book.order(None) is None
    assert desk.book.trade(None) is None


def test_attribution_is_what_netting_booked_differently_from_the_trades() -> None:
    """One buys at 1.1, the other sells at 1.2 and buys back at 1.3: the account nets, the trades do not."""
    desk = ExecutorDesk(at_venue=False)
    desk.open(price="1.10000")
    short = placed_in(desk.decide(structs.replace(buy(), side=Side.SELL), strategy="b"))[0]
    desk.fill(desk.order(short), price="1.20000")
    assert (desk.book.money.realised, desk.book.trades_gross, desk.book.attribution) == (D(100), D(0), D(100))

    desk.decide(leave(), strategy="b")
    (exit_,) = [o for o in desk.book.orders.values() if o.purpose == "exit"]
    desk.fill(exit_, price="1.30000")
    assert (desk.book.trades_gross, desk.book.attribution) == (D(-100), D(200))

    (exit_id,) = placed_in(desk.decide(leave()))
    desk.fill(desk.order(exit_id), price="1.30000")
    assert (desk.book.money.realised, desk.book.trades_gross, desk.book.attribution) == (D(100), D(100), D(0))


def test_stops_and_excursions_of_trades_that_are_gone_concern_nobody() -> None:
    book = begun()

    assert book.apply(r.StopMoved(ts_ns=1, trade_id="gone", stop_loss=D(1), take_profit=None, source="manual")) == []
    assert book.apply(r.ExcursionSeen(ts_ns=1, trade_id="gone", best=D(1), worst=None)) == []


def test_a_fill_without_a_fill_is_a_defect_and_so_is_one_for_no_known_trade() -> None:
    desk = ExecutorDesk()
    with pytest.raises(Defect, match="a fill without a fill"):
        desk.news(TransactionKind.ORDER_FILLED)

    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy()))
    entry = desk.fill_entry(desk.order(entry_id))
    part = Allocation(trade_id="gone", quantity=D(1000), opens=True, fee=D(0))
    with pytest.raises(Defect, match="trade gone, which is not known"):
        desk.book.apply(r.VenueReported(ts_ns=1, transaction=entry, allocations=(part,)))


def test_slippage_is_the_adverse_distance_from_the_price_that_was_wanted() -> None:
    desk = ExecutorDesk()
    market = desk.open(price="1.10015")
    limit = desk.open(buy(type=OrderType.LIMIT, price="1.10000"), price="1.09990")
    stopped = desk.open(buy(stop_loss="1.09000"))
    (stop,) = desk.exits(stopped, attached=True)
    desk.fill(stop, price="1.08950")
    above = desk.open(buy(type=OrderType.STOP_LIMIT, stop_price="1.10100", price="1.10200"), price="1.10130")

    assert desk.trade(market).entry_slippage == D("0.05000"), "half a pip on a thousand"
    assert desk.trade(limit).entry_slippage == D("-0.10000"), "an improvement"
    assert desk.trade(stopped).exit_slippage == D("0.50000")
    assert desk.trade(above).entry_slippage == D("0.30000"), "from its stop, and not from the touch far below"
    assert desk.order(stop.client_order_id).status is OrderStatus.FILLED


def test_a_view_of_the_book_is_what_a_follower_has_at_the_same_entry() -> None:
    book = fold(Book(), journal(3)).book

    view = View.of(book, None)

    assert (view.inbox, view.balance, view.trades, view.orders) == (
        book.sequence,
        book.money.balance,
        book.trades,
        book.orders,
    )
