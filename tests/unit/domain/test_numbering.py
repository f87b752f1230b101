"""No client order id is given out twice, also where books were put back from an older copy."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.domain.executor_desk import ExecutorDesk, K, OrderStatus, buy, leave, placed_in
from tradekeel.domain.book import Book, BookState
from tradekeel.domain.effects import Effects
from tradekeel.domain.messages import VenueTransaction
from tradekeel.domain.rows import Latch


class Restored(ExecutorDesk):
    """A desk whose books can be put back, while the venue keeps its record."""

    def __init__(self) -> None:
        super().__init__()
        self.record: list[VenueTransaction] = []
        self.given: list[str] = []

    def trade_once(self) -> None:
        """A bracket goes in and is filled, and everything is left at the market."""
        [client_id] = placed = placed_in(self.decide(buy(stop_loss="1.09000", take_profit="1.11000")))
        entry = self.order(client_id)
        children = self.children(entry)
        self._tell(self.entry(K.ORDER_ACCEPTED, entry, quantity=entry.quantity))
        self._tell(self.fill_entry(entry))
        for child in children:
            self._tell(self.entry(K.ORDER_ACCEPTED, child, quantity=child.quantity))
        self.given += [*placed, *(child.client_order_id for child in children)]
        trade = self.book.trade(entry.trade_id)
        assert trade is not None
        self.decide(leave(trade))
        for child in children:
            self._tell(self.entry(K.ORDER_CANCELED, child))
        [leaving] = self.exits(trade)
        self._tell(self.entry(K.ORDER_ACCEPTED, leaving, quantity=leaving.quantity))
        self._tell(self.fill_entry(leaving))
        self.given.append(leaving.client_order_id)
        assert not self.book.trades

    def put_back(self, records: int) -> None:
        """The books as they were, and a daemon that begins with them and hears of all that has happened since."""
        del self.journal[records:]
        self.begin_again()
        self.core.ready = True
        self.numbers = {name: line.row.decisions for name, line in self.book.strategies.items()}
        missed = [entry for entry in self.record if entry.sequence > self.book.cursor]
        self.keep(self.core.news(missed, self.now_ns))

    def _tell(self, entry: VenueTransaction) -> Effects:
        self.record.append(entry)
        return self.keep(self.core.news([entry], self.now_ns))


@pytest.fixture
def desk() -> Restored:
    return Restored()


def test_books_put_back_from_an_older_copy_give_out_no_id_a_second_time(desk: Restored) -> None:
    desk.trade_once()
    copy = len(desk.journal)
    for _ in range(3):
        desk.trade_once()
        desk.trade_once()
        desk.put_back(copy)
        assert desk.latch() is Latch.HALTED
        assert not placed_in(desk.decide(buy()))
        desk.keep(desk.core.release("the venue's version is right", "anna", desk.now_ns))
        desk.trade_once()

    assert len(desk.given) == len(set(desk.given))


def test_what_is_denied_while_it_is_halted_has_no_id_that_the_venue_knows(desk: Restored) -> None:
    desk.trade_once()
    copy = len(desk.journal)
    desk.trade_once()

    desk.put_back(copy)
    desk.decide(buy())

    [denied] = [key for key, status in desk.statuses().items() if status is OrderStatus.DENIED]
    assert denied not in desk.given


def test_an_account_that_was_never_halted_counts_on(desk: Restored) -> None:
    """So that a decision that is taken again, because its record was not durable, is the same order."""
    whole, again = Restored(), Restored()
    for each in (whole, again):
        each.trade_once()
    again.begin_again()
    again.core.ready = True
    for each in (whole, again):
        each.keep(each.core.pause(True, "", "anna", each.now_ns))
        each.keep(each.core.pause(False, "", "anna", each.now_ns))
        each.trade_once()

    assert whole.given == again.given


def test_a_release_counts_for_every_start_behind_it(desk: Restored) -> None:
    desk.keep(desk.core.latch(Latch.HALTED, "looked at", "anna", desk.now_ns))
    desk.keep(desk.core.release("in order", "anna", desk.now_ns))
    released = desk.book.numbering

    desk.begin_again()

    assert desk.book.numbering == released == Book.load(desk.book.save()).numbering == desk.book.copy().numbering
    assert released.root != released.execution


def test_a_book_that_was_saved_before_halts_were_counted_is_read(desk: Restored) -> None:
    fields = msgspec.msgpack.decode(desk.book.save())
    assert isinstance(fields, dict)
    del fields["counted_since"]

    assert Book.load(msgspec.msgpack.encode(fields)).numbering.root == desk.book.execution_id
    assert "counted_since" in BookState.__struct_fields__
