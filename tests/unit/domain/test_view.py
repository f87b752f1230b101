"""A view is the account as it stood at one journal entry: followed entry by entry it is what the book says there."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.days import journal
from tests.unit.domain.executor_desk import ExecutorDesk, Side, buy, placed_in
from tests.unit.domain.make import trade
from tests.unit.domain.world import START_NS, execution_row
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.positions import Position
from tradekeel.domain.recovery import fold, view_at
from tradekeel.domain.rows import Latch, StrategyStatus
from tradekeel.domain.trades import TradeStatus
from tradekeel.domain.view import View

D = Decimal


def without_renewed(view: View) -> View:
    """What was renewed is news for a moment and of no use afterwards: a view of a book does not know it."""
    return structs.replace(view, renewed=set())


@given(st.integers(0, 15), st.sampled_from([None, "a", "b"]))
def test_following_is_the_same_as_looking_at_the_book_at_every_entry(seed: int, strategy: str | None) -> None:
    book, view = Book(), View(strategy=strategy)
    for number, record in journal(seed):
        view.follow(book.entry(record, number))
        seen = View.of(book, strategy)
        assert without_renewed(view) == seen
        assert [*view.trades] == [*seen.trades], "in the same order, too"


@given(st.integers(0, 15), st.floats(0, 1), st.floats(0, 1))
def test_a_view_at_an_inbox_comes_from_any_cut_before_it(seed: int, cut: float, inbox: float) -> None:
    records = journal(seed)
    at = int(inbox * len(records))
    start = int(cut * at)
    saved = fold(Book(), records[:start]).book.save()
    tail = fold(Book.load(saved), records).entries

    view = view_at(saved, tail, "a", at)

    assert view == View.of(fold(Book(), records[:at]).book, "a")


@given(st.integers(0, 15), st.floats(0, 1), st.floats(0, 1))
def test_a_view_leaves_the_book_that_it_comes_from_as_it_is(seed: int, cut: float, inbox: float) -> None:
    records = journal(seed)
    at = int(inbox * len(records))
    saved = fold(Book(), records[: int(cut * at)]).book.save()
    book = Book.load(saved)

    view = view_at(book, fold(Book.load(saved), records).entries, "a", at)

    assert view == View.of(fold(Book(), records[:at]).book, "a")
    assert (book.save(), vars(book)) == (saved, vars(Book.load(saved)))


def test_without_a_cut_a_view_is_folded_from_the_first_entry() -> None:
    records = journal(2)
    entries = fold(Book(), records).entries

    assert view_at(None, entries, None, 10).inbox == 10
    assert view_at(None, entries, None, 10**6).inbox == len(records)


def test_what_an_execution_takes_over_is_in_the_view_from_its_first_entry_on() -> None:
    held = trade(status=TradeStatus.OPEN, entered_quantity=D(5), strategy="a")
    positions = (Position("EUR_USD", D(5), D(6)),)
    opening = r.Opening(cursor=3, balance=D(900), positions=positions, trades=(held,))
    record = r.ExecutionStarted(ts_ns=START_NS, row=execution_row(), opening=opening)
    book, view = Book(), View(strategy="a")

    view.follow(book.entry(record))

    assert view == View.of(book, "a")
    assert (view.balance, view.net_positions()) == (D(900), {"EUR_USD": positions[0]})


def test_a_venue_that_tells_no_balance_is_followed_all_the_same() -> None:
    desk = ExecutorDesk()
    view = View.of(desk.book, None)
    (entry_id,) = placed_in(desk.decide(buy()))
    view.inbox = desk.book.sequence

    (booked,) = desk.fill(desk.order(entry_id), fee=D("0.5"), balance=None).entries
    view.follow(booked)

    assert view.balance == desk.book.money.balance == D("9999.5")


def test_a_strategy_sees_its_own_and_the_monitor_everything() -> None:
    desk = ExecutorDesk()
    mine, theirs = desk.open(), desk.open(strategy="b")

    assert set(View.of(desk.book, "a").trades) == {mine.trade_id}
    assert set(View.of(desk.book, None).trades) == {mine.trade_id, theirs.trade_id}


def test_net_positions_are_summed_over_references() -> None:
    desk = ExecutorDesk(hedging=True, at_venue=False)
    desk.open(ref="p1")
    desk.open(structs.replace(buy(400), side=Side.SELL), ref="p2")

    assert View.of(desk.book, None).net_positions() == {"EUR_USD": Position("EUR_USD", D(600), D("660.10000"))}


@pytest.mark.parametrize("paused", [True, False])
def test_latches_and_status_are_followed(paused: bool) -> None:
    desk = ExecutorDesk()
    view = View.of(desk.book, "a")
    failed = r.StrategyStatusChanged(ts_ns=1, strategy="a", status=StrategyStatus.FAILED, reason="")
    steps = [
        desk.core.pause(True, "", "anna", 1),
        desk.core.latch(Latch.HALTED, "", "anna", 1),
        desk.core.note(failed),
    ]
    if not paused:
        steps.append(desk.core.pause(False, "", "anna", 1))

    for entry in (entry for step in steps for entry in step.entries):
        view.follow(entry)

    assert (view.paused, view.latch, view.status) == (paused, Latch.HALTED, StrategyStatus.FAILED)


def test_orders_that_were_taken_again_are_remembered() -> None:
    desk = ExecutorDesk()
    view = View.of(desk.book, "a")
    (entry_id,) = placed_in(desk.decide(buy(stop_loss="1.09")))
    children = [c.client_order_id for c in desk.children(desk.order(entry_id))]
    desk.core.lost(entry_id, "", desk.now_ns)

    view.inbox = desk.book.sequence
    for entry in desk.core.not_sent(entry_id, "", desk.now_ns, never_arrived=True).entries:
        view.follow(entry)

    assert view.renewed == {entry_id, *children}
