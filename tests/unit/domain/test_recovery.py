"""Going on: the journal's tail over a cut, and what a new execution takes over from the last one."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.days import journal
from tests.unit.domain.executor_desk import ExecutorDesk, K, Side, buy, leave, placed_in
from tests.unit.domain.world import START_NS, execution_row
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.memory import PriceMemory
from tradekeel.domain.orders import OrderType
from tradekeel.domain.recovery import (
    AccountState,
    Folding,
    decode_account_state,
    encode_account_state,
    fold,
    nearest,
    opening_of,
)
from tradekeel.domain.rows import Latch
from tradekeel.domain.trades import TradeStatus

D = Decimal


def test_a_cut_survives_being_written_down() -> None:
    state = AccountState(
        book=b"book", monitor=b"monitor", memories={"EUR_USD": PriceMemory.empty()}, rates=None, position=7, ts_ns=9
    )

    assert decode_account_state(encode_account_state(state)) == state
    with pytest.raises(msgspec.DecodeError):
        decode_account_state(b"something else")


def test_what_a_cut_includes_is_skipped() -> None:
    records = journal(4)
    book = fold(Book(), records[:20]).book

    recovered = fold(book, records)

    assert [entry.sequence for entry in recovered.entries] == list(range(21, len(records) + 1))
    assert recovered.book.save() == fold(Book(), records).book.save()


@given(st.integers(0, 15), st.integers(1, 40), st.lists(st.floats(0, 1), max_size=3))
def test_folded_page_by_page_it_leaves_the_books_that_others_go_on_from_on_its_way(
    seed: int, page_max: int, parts: list[float]
) -> None:
    records = journal(seed)
    inboxes = sorted({int(part * len(records)) for part in parts} - {0})
    folding = Folding(Book(), inboxes)

    entries = [
        entry for start in range(0, len(records), page_max) for entry in folding.take(records[start : start + page_max])
    ]

    assert entries == fold(Book(), records).entries
    assert folding.book.save() == fold(Book(), records).book.save()
    assert [book.sequence for book in folding.on_the_way] == [0, *inboxes]
    for book in folding.on_the_way:
        assert book.save() == fold(Book(), records[: book.sequence]).book.save()
        assert nearest(folding.on_the_way, book.sequence) is book


def test_nobody_goes_on_from_a_book_that_is_further_than_he_is() -> None:
    books = [fold(Book(), journal(4)[:at]).book for at in (10, 20)]

    assert [nearest(books, inbox) for inbox in (9, 10, 19, 25)] == [None, books[0], books[0], books[1]]


def carried_over(desk: ExecutorDesk) -> Book:
    """A new execution that takes over what is left of the last one."""
    opening = opening_of(desk.book, "run-2")
    book = Book()
    book.apply(r.ExecutionStarted(ts_ns=START_NS, row=execution_row(execution="run-2", number=2), opening=opening))
    return book


def test_a_new_execution_goes_on_with_the_open_trades_under_ids_of_its_own() -> None:
    desk = ExecutorDesk()
    first = desk.open(buy(stop_loss="1.09000"))
    desk.decide(leave(first, 300))
    for order in desk.exits(first, attached=True):
        desk.news(K.ORDER_CANCELED, order)
    desk.fill(desk.exits(first)[0], price="1.11010")
    desk.decide(buy(type=OrderType.LIMIT, price="1.05000"))

    book = carried_over(desk)

    (trade,) = book.trades.values()
    assert trade.trade_id != first.trade_id
    assert (trade.execution, trade.strategy, trade.status) == ("run-2", "a", TradeStatus.OPEN)
    assert (trade.quantity, trade.open_quantity, trade.open_cost) == (D(700), D(700), D("770.07000"))
    assert (trade.gross_pnl, trade.pnl, trade.exited_quantity) == (D(0), D(0), D(0)), (
        "what it has realised stays with the old one"
    )
    assert (trade.stop_loss, trade.exits_at_venue, trade.entry_position) == (D("1.09000"), False, 0)
    assert trade.tags == ("carried",)


def test_money_and_positions_go_on_where_they_were() -> None:
    desk = ExecutorDesk(at_venue=False)
    desk.open()
    desk.fill(None, 400, "1.10510", side=Side.SELL)

    book = carried_over(desk)

    assert book.money.balance == desk.book.money.balance == D("10002")
    assert book.positions == desk.book.positions
    assert book.cursor == desk.book.cursor


def test_closing_a_carried_trade_balances_to_the_last_digit() -> None:
    desk = ExecutorDesk(at_venue=False)
    desk.open(price="1.10007")
    desk.book = carried_over(desk)
    desk.core = type(desk.core)(desk.book, desk.terms, desk.core.gate)

    desk.fill(None, 1000, "1.10519", side=Side.SELL)

    (trade,) = desk.book.closed.values()
    assert trade.pnl == D("5.12")
    assert desk.book.attribution == 0
    assert desk.latch() is Latch.OPEN


def test_the_same_trade_gets_the_same_new_id_in_every_process() -> None:
    desk = ExecutorDesk()
    desk.open()

    one, same, other = (opening_of(desk.book, run).trades[0].trade_id for run in ("run-2", "run-2", "run-3"))

    assert one == same != other


def test_trades_that_hold_nothing_are_not_taken_over() -> None:
    desk = ExecutorDesk()
    placed_in(desk.decide(buy()))

    assert opening_of(desk.book, "run-2").trades == ()
