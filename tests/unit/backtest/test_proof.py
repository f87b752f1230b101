"""A run whose books are not its venue's is not believed: it ends with what differs, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest
from msgspec import msgpack, structs

from tests.unit.backtest.scene import EUR, LIMIT, Played, Script, account, alone, buy, play, sell, tape
from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.kernel import Kernel
from tradekeel.backtest.proof import DIFFERENCES_TOLD_MAX, prove
from tradekeel.backtest.run import run
from tradekeel.backtest.saving import decode_state
from tradekeel.backtest.source import TicksSource
from tradekeel.domain.book import Book
from tradekeel.domain.orders import OrderStatus
from tradekeel.domain.rows import Checkpoint
from tradekeel.errors import Defect

CENT = Decimal("0.0001")
QUOTES = ("1.10000 1.10010", "1.10010 1.10020", "1.10020 1.10030", "1.10030 1.10040")
SCRIPT = {1: [buy("1000", stop_loss="1.09000"), sell("500", type=LIMIT, price="1.11000")]}


def halfway() -> Kernel:
    """A position with a stop at the venue, and an entry that works."""
    journal = MemoryJournal()
    source = TicksSource(tape(*QUOTES), window_ticks=2)
    return run(account({"s": Script(SCRIPT)}), source, journal, goes_on=lambda position: False).kernel


def more_fees(book: Book) -> None:
    book.money = structs.replace(book.money, fees=book.money.fees + CENT)


def realised_as_financing(book: Book) -> None:
    book.money = structs.replace(book.money, realised=-CENT, financing=CENT)


def another_cost(book: Book) -> None:
    held = book.positions[EUR, None]
    book.positions[EUR, None] = structs.replace(held, cost=held.cost + CENT)


def one_unit_more(book: Book) -> None:
    held = book.positions[EUR, None]
    book.positions[EUR, None] = structs.replace(held, quantity=held.quantity + 1)


def a_trade_less(book: Book) -> None:
    book.trades.clear()


def an_order_that_is_over(book: Book) -> None:
    entry = next(key for key, order in book.orders.items() if order.price == Decimal("1.11000"))
    book.ended[entry] = structs.replace(book.orders.pop(entry), status=OrderStatus.CANCELED)


def an_entry_not_booked(book: Book) -> None:
    book.cursor -= 1


FAULTS: dict[str, tuple[Callable[[Book], None], str]] = {
    "money": (more_fees, r"balance: ours 9999\.9999, theirs 10000.*fees: ours 0\.0001, theirs 0"),
    "money of another kind": (realised_as_financing, r"tick 2: realised: ours -0\.0001, theirs 0.*; financing: ours"),
    "cost": (another_cost, r"tick 2: the cost of EUR_USD: ours 1100\.2001\d*, theirs 1100\.20"),
    "quantity": (one_unit_more, r"position in EUR_USD: ours 1001, theirs 1000.*EUR_USD is 1001 units.*hold 1000"),
    "trades": (a_trade_less, r"tick 2: EUR_USD is 1000 units, and its trades hold 0"),
    "orders": (an_order_that_is_over, r"order \w+ in EUR_USD: ours canceled, theirs working"),
    "news": (an_entry_not_booked, r"the venue has news that is not booked"),
}


def test_books_that_agree_are_let_pass() -> None:
    prove(halfway())


@pytest.mark.parametrize("name", FAULTS)
def test_every_difference_is_a_defect_that_says_what_differs(name: str) -> None:
    fault, told = FAULTS[name]
    kernel = halfway()
    fault(kernel.account.book)
    with pytest.raises(Defect, match=told):
        prove(kernel)


def test_of_many_differences_the_first_are_told() -> None:
    quotes = tape(*QUOTES)
    layers = [buy("1000") for _ in range(DIFFERENCES_TOLD_MAX + 4)]
    done: Played = alone({1: layers}, quotes, hedging=True)
    prove(done.kernel)
    done.kernel.account.book.trades.clear()
    with pytest.raises(Defect, match=r"trades hold 0; and 4 more$"):
        prove(done.kernel)


class Tampered(MemoryJournal):
    """Gives back a state in which the venue has been paid something that we know nothing of."""

    def last_cut(self) -> Sequence[Checkpoint]:
        saved = super().last_cut()
        if not saved:
            return saved
        state = decode_state(saved[0].state)
        sums = state.venue.standing.sums
        standing = structs.replace(state.venue.standing, sums=structs.replace(sums, financing=CENT))
        state.venue = structs.replace(state.venue, standing=standing)
        encoded = msgpack.Encoder(decimal_format="string").encode(state)
        return structs.replace(saved[0], state=encoded), *saved[1:]


def test_each_run_is_proved_before_its_state_is_kept() -> None:
    setup, journal = account({"s": Script(SCRIPT)}), Tampered()
    source = TicksSource(tape(*QUOTES), window_ticks=2)
    assert not run(setup, source, journal, goes_on=lambda position: False).completed
    kept = MemoryJournal.last_cut(journal)
    with pytest.raises(
        Defect, match=r"the books are not the venue's at tick 4: balance: ours 10000, theirs 10000\.0001"
    ):
        run(setup, source, journal)
    assert MemoryJournal.last_cut(journal) == kept, "the next attempt begins where this one did"
    assert play(setup, tape(*QUOTES)).kernel.position == 4, "the same without it is fine"
