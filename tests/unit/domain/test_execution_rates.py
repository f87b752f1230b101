"""What counts in the rates: each order and message once, and after a restart exactly what counted before it."""

from __future__ import annotations

from decimal import Decimal

from tests.unit.domain.executor_desk import ExecutorDesk, K, buy, leave, placed_in
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.messages import Cancel, MoveStop
from tradekeel.domain.orders import OrderType
from tradekeel.domain.recovery import fold
from tradekeel.domain.risk_limits import RiskLimits

D = Decimal
LIMITS = RiskLimits(orders_per_second=100, orders_per_minute=100, messages_per_second=100)


def counted(desk: ExecutorDesk) -> tuple[int, int]:
    """Orders and messages."""
    rates = desk.core.gate.rates
    assert rates.orders_second is not None
    assert rates.messages_second is not None
    return len(rates.orders_second.times), len(rates.messages_second.times)


def resumed(desk: ExecutorDesk) -> None:
    """A new process, without a cut: the whole journal is behind it."""
    recovered = fold(Book(), [(n, r.decode_record(row)) for n, row in enumerate(desk.journal, 1)])
    desk._begin(recovered.book)
    desk.core.resume({}, 0, recovered.entries)
    desk.core.ready = True


def test_an_entry_counts_once_however_many_exits_are_attached_to_it() -> None:
    desk = ExecutorDesk(limits=LIMITS)

    desk.open(buy(stop_loss="1.09000", take_profit="1.12000"))

    assert counted(desk) == (1, 1)


def test_a_cancel_and_each_level_that_is_moved_at_the_venue_are_messages() -> None:
    desk = ExecutorDesk(limits=LIMITS)
    trade = desk.open(buy(stop_loss="1.09000", take_profit="1.12000"))

    desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09500"), take_profit=D("1.11000")))
    assert counted(desk) == (1, 3)

    working = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.05000")))[0]
    desk.decide(Cancel(client_order_id=working))
    assert counted(desk) == (2, 5)


def test_a_level_that_the_monitor_keeps_is_no_message() -> None:
    desk = ExecutorDesk(limits=LIMITS, at_venue=False)
    trade = desk.open(buy(stop_loss="1.09000"))

    desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09500")))

    assert counted(desk) == (1, 1)


def test_an_entry_is_denied_while_cancels_use_up_the_rate() -> None:
    desk = ExecutorDesk(limits=RiskLimits(messages_per_second=2))
    working = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.05000")))[0]
    desk.decide(Cancel(client_order_id=working))

    assert not placed_in(desk.decide(buy()))
    assert desk.book.orders.keys() == {working}, "the cancel itself goes out"


def test_a_restart_counts_what_was_counted_before_it_and_no_more() -> None:
    desk = ExecutorDesk(limits=LIMITS)
    trade = desk.open(buy(stop_loss="1.09000", take_profit="1.12000"))
    desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09500")))
    desk.decide(buy(quantity=10**12))  # more than is traded: denied
    lost = placed_in(desk.decide(buy()))[0]
    desk.keep(desk.core.not_sent(lost, "proved", desk.now_ns, never_arrived=True))  # and taken again
    desk.decide(leave(trade))
    for child in desk.exits(trade, attached=True):
        desk.news(K.ORDER_CANCELED, child)
    before = counted(desk)

    resumed(desk)

    assert before == (3, 6)
    assert counted(desk) == before
