"""What people wrote through repositories is in the book as if it had always been so: its indexes are those of a fresh one."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec import structs

from tests.unit.domain.make import order, trade
from tests.unit.domain.world import RUN, START_NS, execution_row, strategy_row
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.messages import Signal
from tradekeel.domain.orders import Order, OrderStatus, Purpose, Side
from tradekeel.domain.records import Administered, Removed, decode_record, encode_record
from tradekeel.domain.rows import StrategyEvent, StrategyStatus, VenueCursor
from tradekeel.domain.trades import Trade, TradeStatus

D = Decimal
HELD = trade(trade_id="t", status=TradeStatus.OPEN, position_ref="p")
ENTRY = order(client_order_id="e", status=OrderStatus.ACCEPTED, trade_id="t", quantity=D(10))
EXIT = order(client_order_id="x", status=OrderStatus.ACCEPTED, purpose=Purpose.EXIT, trade_id="t", side=Side.SELL)
ATTACHED = order(client_order_id="s", status=OrderStatus.ACCEPTED, purpose=Purpose.EXIT, trade_id="t", parent_id="e")
WAITING = order(
    client_order_id="w", status=OrderStatus.INTENDED, purpose=Purpose.EXIT, trade_id="t", after_cancel_of=("s",)
)


def said(**fields: object) -> Administered:
    return Administered(ts_ns=START_NS, action="test", rows=1, by="anna", **fields)  # type: ignore[arg-type]  # by name


def begun() -> Book:
    book = Book()
    book.apply(r.ExecutionStarted(ts_ns=START_NS, row=execution_row()))
    book.apply(r.StrategyRegistered(ts_ns=START_NS, row=strategy_row("a")))
    return book


def written(*changes: Administered) -> Book:
    book = begun()
    for change in changes:
        book.apply(change)
    return book


def indexes(book: Book) -> dict[str, object]:
    """What a book knows beside its rows; what is empty does not count."""
    return {
        "exits": {key: members for key, members in book.exits.items() if members},
        "children": {key: members for key, members in book.children.items() if members},
        "at_position": {key: members for key, members in book.at_position.items() if members},
        "freed_by": {key: dict(members) for key, members in book.freed_by.items() if members},
        "waiting": dict(book.waiting),
        "working": {key: amount for key, amount in book.working.items() if amount},
    }


def test_rows_are_given_back_in_an_order_in_which_none_comes_before_what_it_refers_to() -> None:
    change = said(trades=(HELD,), orders=(ENTRY,), strategies=(strategy_row("b"),))
    assert begun().apply(change) == [strategy_row("b"), HELD, ENTRY]


def test_a_record_of_before_there_were_repositories_changes_nothing() -> None:
    assert begun().apply(said()) == []


def test_a_record_is_read_back_as_it_was_written() -> None:
    change = said(trades=(HELD,), orders=(ENTRY, EXIT), removed=(Removed("fills", {"venue": "é"}), Removed("orders")))
    assert decode_record(encode_record(change)) == change


@pytest.mark.parametrize(
    "change",
    [
        lambda o: structs.replace(o, quantity=D(77)),
        lambda o: structs.replace(o, trade_id=None),
        lambda o: structs.replace(o, trade_id="other"),
        lambda o: structs.replace(o, parent_id="other"),
        lambda o: structs.replace(o, parent_id=None),
        lambda o: structs.replace(o, side=o.side.opposite),
        lambda o: structs.replace(o, after_cancel_of=("e", "x")),
        lambda o: structs.replace(o, status=OrderStatus.CANCELED),
        lambda o: structs.replace(o, status=OrderStatus.ACCEPTED),
    ],
)
@pytest.mark.parametrize("one", [ENTRY, EXIT, ATTACHED, WAITING], ids=lambda o: o.client_order_id)
def test_an_order_that_was_changed_is_known_as_if_it_had_never_been_otherwise(
    one: Order, change: Callable[[Order], Order]
) -> None:
    everything = said(trades=(HELD,), orders=(ENTRY, EXIT, ATTACHED, WAITING))
    after = change(one)
    others = tuple(o for o in everything.orders if o is not one)
    book, fresh = written(everything, said(orders=(after,))), written(said(trades=(HELD,), orders=(*others, after)))
    assert indexes(book) == indexes(fresh)
    assert set(book.orders) == set(fresh.orders)
    assert book.order(one.client_order_id) == after


@pytest.mark.parametrize("one", [ENTRY, EXIT, ATTACHED, WAITING], ids=lambda o: o.client_order_id)
def test_an_order_that_was_removed_never_was(one: Order) -> None:
    everything = said(trades=(HELD,), orders=(ENTRY, EXIT, ATTACHED, WAITING))
    others = tuple(o for o in everything.orders if o is not one)
    book = written(everything, said(removed=(Removed("orders", {"client_order_id": one.client_order_id}),)))
    assert indexes(book) == indexes(written(said(trades=(HELD,), orders=others)))
    assert book.order(one.client_order_id) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"position_ref": "q"},
        {"position_ref": None},
        {"status": TradeStatus.CLOSED},
        {"status": TradeStatus.FAILED},
        {"model": "m"},
    ],
    ids=str,
)
def test_a_trade_that_was_changed_is_where_it_belongs(changes: dict[str, object]) -> None:
    after: Trade = structs.replace(HELD, **changes)
    book = written(said(trades=(HELD,)), said(trades=(after,)))
    assert indexes(book) == indexes(written(said(trades=(after,))))
    assert (book.trades, book.closed) == (({"t": after}, {}) if after.is_open else ({}, {"t": after}))
    back = written(said(trades=(HELD,)), said(trades=(after,)), said(trades=(HELD,)))
    assert (back.trades, back.closed) == ({"t": HELD}, {})


def test_trades_that_were_removed_never_were() -> None:
    closed = trade(trade_id="c", status=TradeStatus.CLOSED, position_ref="p")
    book = written(said(trades=(HELD, closed)), said(removed=(Removed("trades", {"status": "OPEN"}),)))
    assert (book.trades, book.closed, indexes(book)["at_position"]) == ({}, {"c": closed}, {})
    assert written(said(trades=(HELD, closed)), said(removed=(Removed("trades"),))).closed == {}


def test_signals_wait_as_long_as_they_are_not_answered() -> None:
    signal = Signal(
        signal_id="s",
        execution=RUN,
        strategy="a",
        symbol="EUR_USD",
        timeframe=None,
        side=Side.BUY,
        confidence=None,
        entry_price=None,
        stop_loss=None,
        take_profit=None,
        session=None,
        pattern_type=None,
        generated_at_ns=1,
    )
    denied = structs.replace(signal, execution_status="denied")
    assert written(said(signals=(signal,))).signals == {"s": signal}
    assert written(said(signals=(signal,)), said(signals=(denied,))).signals == {}
    assert written(said(signals=(signal,)), said(removed=(Removed("signals", {"generated_at_ns": "1"}),))).signals == {}
    assert written(said(signals=(signal,)), said(removed=(Removed("signals", {"session": "None"}),))).signals != {}


def test_strategies_events_and_cursors_are_as_they_were_written() -> None:
    stopped = structs.replace(strategy_row("a"), status=StrategyStatus.STOPPED)
    event = StrategyEvent(execution=RUN, strategy="a", sequence=7, type="x", ts_ns=1, data={})
    cursor = VenueCursor(execution=RUN, venue=execution_row().venue, sequence=9, updated_ns=1)
    book = written(said(strategies=(stopped, strategy_row("b")), events=(event,), cursors=(cursor,)))
    assert (book.strategies["a"].row, book.strategies["a"].events, book.cursor) == (stopped, 7, 9)
    assert set(book.strategies) == {"a", "b"}
    book.apply(
        said(removed=(Removed("strategies", {"strategy": "b"}), Removed("fills"), Removed("performance_snapshots")))
    )
    assert set(book.strategies) == {"a"}


def test_a_changed_book_can_be_saved_and_taken_up() -> None:
    book = written(
        said(trades=(HELD,), orders=(ENTRY, EXIT, ATTACHED, WAITING)),
        said(orders=(structs.replace(EXIT, trade_id=None),)),
    )
    loaded = Book.load(book.save())
    assert indexes(loaded) == indexes(book)
    assert (loaded.orders, loaded.trades) == (book.orders, book.trades)
