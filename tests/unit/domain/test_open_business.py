"""A step's work follows what it is about, not how much business is open: counted in trades, positions and orders looked at."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.days import journal
from tests.unit.domain.executor_desk import EUR, ExecutorDesk, K, buy, placed_in
from tests.unit.domain.make import order
from tradekeel.domain.book import Book
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import Order, OrderStatus, Side
from tradekeel.domain.recovery import fold
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.sending import Drafted
from tradekeel.domain.trades import Trade

D = Decimal
_V = TypeVar("_V")


class Counted(dict[Any, _V]):
    """A mapping that counts what somebody who goes through it gets to see."""

    seen = 0

    def __iter__(self) -> Iterator[Any]:
        return self._count(super().__iter__())

    def values(self) -> Any:
        return self._count(super().values())

    def items(self) -> Any:
        return self._count(super().items())

    def _count(self, found: Any) -> Iterator[Any]:
        for one in found:
            self.seen += 1
            yield one


def holding(count: int, **more: Any) -> tuple[ExecutorDesk, list[Trade], Counted[Trade]]:
    """A desk with so many open trades, and how many of them are looked at from here on."""
    desk = ExecutorDesk(at_venue=False, **more)
    hedging = desk.terms.hedging
    trades = [desk.open(buy(1 + n), ref=f"p{n}" if hedging else None) for n in range(count)]
    desk.book.trades = counted = Counted(desk.book.trades)
    return desk, trades, counted


def exits_filled(desk: ExecutorDesk, orders: list[Order]) -> None:
    entries = [desk.fill_entry(exit_, ref=_ref(desk, exit_)) for exit_ in orders]
    desk.keep(desk.core.news(entries, desk.now_ns))


def _ref(desk: ExecutorDesk, exit_: Order) -> str | None:
    trade = desk.book.trade(exit_.trade_id)
    return None if trade is None else trade.position_ref


# --- fills ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hedging", [False, True])
def test_a_fill_of_an_exit_looks_at_no_trade_but_the_one_that_it_is_for(hedging: bool) -> None:
    desk, _, counted = holding(12, hedging=hedging)
    asked = placed_in(desk.keep(desk.core.flatten("me", desk.now_ns)))
    counted.seen = 0

    exits_filled(desk, [desk.order(client_id) for client_id in asked])

    assert not desk.book.trades
    assert not desk.book.at_position
    assert counted.seen == 0


def test_what_is_left_of_a_fill_goes_no_further_than_it_reaches() -> None:
    desk, trades, counted = holding(12)
    (asked,) = placed_in(desk.keep(desk.core.exit_trades([(trades[5].trade_id, "manual")], "operator", desk.now_ns)))
    counted.seen = 0

    desk.fill(desk.order(asked), 6 + 1 + 2)  # six of its own, and the two oldest trades

    assert [t.trade_id for t in desk.book.closed.values()] == [trades[n].trade_id for n in (5, 0, 1)]
    assert counted.seen == 2


def test_a_fill_that_the_venue_caused_looks_at_the_trades_of_its_position() -> None:
    desk, trades, counted = holding(12, hedging=True)

    desk.fill(None, 4, side=Side.SELL, ref="p3", reason="margin_call")

    assert [t.trade_id for t in desk.book.closed.values()] == [trades[3].trade_id]
    assert counted.seen == 0


def test_a_rollover_looks_at_the_trades_of_each_position() -> None:
    desk, trades, counted = holding(12, hedging=True)
    news = [desk.entry(K.FINANCED, instrument=EUR, venue_order_id=t.position_ref, amount=D("-0.0100")) for t in trades]

    desk.keep(desk.core.news(news, desk.now_ns))

    assert [desk.trade(trade).financing for trade in trades] == [D("-0.0100")] * 12
    assert counted.seen == 0


def test_a_rollover_of_a_netted_position_is_shared_by_all_of_its_trades() -> None:
    desk, trades, counted = holding(3)

    desk.news(K.FINANCED, instrument=EUR, amount=D("-0.06"))

    assert [desk.trade(trade).financing for trade in trades] == [D("-0.01"), D("-0.02"), D("-0.03")]
    assert counted.seen == 3


# --- nets -------------------------------------------------------------------------------------------------------------


def test_entries_go_through_the_positions_once_until_one_of_them_changes() -> None:
    desk, _, _ = holding(12, hedging=True, limits=RiskLimits(position_max=D(1_000_000)))
    desk.book.positions = counted = Counted(desk.book.positions)
    desk.fill(desk.order(placed_in(desk.decide(buy(1)))[0]), ref="new")
    counted.seen = 0

    for _ in range(5):
        desk.decide(buy(1))

    assert counted.seen == 13
    assert desk.book.net(EUR) == sum(range(1, 13)) + 1


def test_a_net_has_the_digits_of_the_positions_that_there_are() -> None:
    desk = ExecutorDesk(at_venue=False, hedging=True)
    whole, part = desk.open(buy(5), ref="p1"), desk.open(buy(2), ref="p2")
    (asked,) = placed_in(desk.keep(desk.core.exit_trades([(part.trade_id, "manual")], "operator", desk.now_ns)))
    exit_ = desk.order(asked)
    for quantity in ("0.500", "1.5"):
        desk.keep(desk.core.news([_with_quantity(desk, exit_, D(quantity))], desk.now_ns))

    assert desk.trade(whole).open_quantity == 5
    assert str(desk.book.net(EUR)) == "5" == str(Book.load(desk.book.save()).net(EUR))


def _with_quantity(desk: ExecutorDesk, exit_: Order, quantity: Decimal) -> Any:
    desk_entry = desk.fill_entry(exit_, ref=_ref(desk, exit_))
    assert desk_entry.fill is not None
    fill = structs.replace(desk_entry.fill, quantity=quantity)
    return structs.replace(desk_entry, quantity=quantity, fill=fill, balance=None)


@given(st.integers(0, 15), st.floats(0, 1))
def test_indexes_say_what_going_through_everything_would(seed: int, part: float) -> None:
    records = journal(seed)
    book = fold(Book(), records[: int(part * len(records))]).book

    for ref in {None, *(trade.position_ref for trade in book.trades.values())}:
        assert list(book.trades_at(ref)) == [t for t in book.trades.values() if ref in (None, t.position_ref)]
    assert book.nets() == {
        symbol: sum((p.quantity for (s, _), p in book.positions.items() if s == symbol), ZERO)
        for symbol, _ in book.positions
    }
    assert Book.load(book.save()).at_position == book.at_position


# --- what a step has drafted so far -----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 9), st.booleans(), st.booleans())))
def test_what_drafted_orders_may_fill_is_summed_as_they_come(drawn: list[tuple[Side, int, bool, bool]]) -> None:
    drafted = Drafted()
    for side, quantity, attached, denied in drawn:
        status = OrderStatus.DENIED if denied else OrderStatus.INTENDED
        parent = "entry" if attached else None
        drafted.add(order(side=side, quantity=D(quantity), status=status, parent_id=parent))

    for side in Side:
        may_fill = sum(q for s, q, attached, denied in drawn if s is side and not attached and not denied)
        assert drafted.working.get(("EUR_USD", side), ZERO) == may_fill
    assert len(drafted.orders) == len(drawn)
