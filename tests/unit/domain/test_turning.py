"""An entry that turns: one order closes what the strategy holds the other way and opens the new trade with the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.domain.executor_desk import (
    EUR,
    ExecutorDesk,
    K,
    amends_in,
    buy,
    cancels_in,
    leave,
    lookups_in,
    placed_in,
    records_in,
    sell,
)
from tradekeel.domain.effects import Effects, PlaceOrder
from tradekeel.domain.messages import Cancel, MoveStop, OrderRequest, SignalStatus
from tradekeel.domain.orders import Order, OrderStatus, OrderType, Purpose
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import Latch, StrategyStatus
from tradekeel.domain.trades import CloseReason, Trade, TradeStatus
from tradekeel.strategies.news import happenings

D = Decimal
S = OrderStatus
T = TradeStatus
BRACKET: dict[str, Any] = {"stop_loss": "1.09000", "take_profit": "1.12000"}


def turn(quantity: int = 1000, **more: Any) -> Any:
    """Go short with what it takes, whatever is held long."""
    return sell(quantity, reverse=True, **more)


def requests_in(effects: Effects) -> list[OrderRequest]:
    return [ask.request for ask in effects.requests if isinstance(ask, PlaceOrder)]


def turned(desk: ExecutorDesk, **more: Any) -> Order:
    """The order of a decision that turns, which went out."""
    (placed,) = placed_in(desk.decide(turn(**more)))
    return desk.order(placed)


def own(desk: ExecutorDesk, order: Order) -> Trade:
    """The trade that an entry opens."""
    found = desk.book.trade(order.trade_id)
    assert found is not None
    return found


# --- one order --------------------------------------------------------------------------------------------------------


def test_one_order_closes_what_is_held_and_opens_the_rest() -> None:
    desk = ExecutorDesk()
    long = desk.open(buy(700))

    order = turned(desk)

    assert (order.purpose, order.quantity, order.closes) == (Purpose.ENTRY, D(1700), (long.trade_id,))
    assert own(desk, order).quantity == D(1000), "what the new trade is to hold"
    assert desk.trade(long).status is T.CLOSING
    desk.accept(order)
    desk.fill(order, price="1.10500")

    closed, short = desk.trade(long), own(desk, order)
    assert (closed.status, closed.exit_reason, closed.exited_quantity) == (T.CLOSED, CloseReason.SIGNAL, D(700))
    assert closed.exit_order_ids == (order.client_order_id,)
    assert (short.status, short.open_quantity, short.entry_price) == (T.OPEN, D(1000), D("1.10500"))
    assert desk.order(order.client_order_id).status is S.FILLED
    assert desk.book.net(EUR) == D(-1000)
    assert desk.book.attribution == 0
    assert desk.book.closable(short) == D(1000)


def test_where_nothing_is_held_the_other_way_it_is_a_plain_entry() -> None:
    desk = ExecutorDesk()
    desk.open(sell(300))
    desk.open(buy(400), strategy="b")

    order = turned(desk)

    assert (order.quantity, order.closes) == (D(1000), ()), "what others hold is theirs"


def test_several_trades_are_closed_in_the_order_in_which_they_were_opened() -> None:
    desk = ExecutorDesk()
    first, second = desk.open(buy(300)), desk.open(buy(500))

    order = turned(desk)
    assert (order.quantity, order.closes) == (D(1800), (first.trade_id, second.trade_id))
    shares = []
    for part in (200, 400, 300, 900):
        effects = desk.fill(order, part)
        shares.append([(p.trade_id, p.quantity) for p in effects.entries[0].record.allocations])  # type: ignore[union-attr]

    assert shares == [
        [(first.trade_id, D(200))],
        [(first.trade_id, D(100)), (second.trade_id, D(300))],
        [(second.trade_id, D(200)), (order.trade_id, D(100))],
        [(order.trade_id, D(900))],
    ]
    assert [desk.trade(t).status for t in (first, second)] == [T.CLOSED, T.CLOSED]
    assert own(desk, order).open_quantity == D(1000)


def test_the_fee_of_a_fill_is_shared_and_the_last_part_takes_the_remainder() -> None:
    desk = ExecutorDesk()
    long = desk.open(buy(1000))
    order = turned(desk, quantity=2000)

    desk.fill(order, fee=D("0.10"))

    assert (desk.trade(long).exit_fee, own(desk, order).entry_fee) == (D("0.0333"), D("0.0667"))


def test_the_strategy_is_told_of_a_fill_once_for_each_trade_that_it_belongs_to() -> None:
    desk = ExecutorDesk()
    long = desk.open(buy(700))
    order = turned(desk)

    (entry,) = desk.fill(order).entries

    told = [event for _, event in happenings(entry, "a", set(), paused_before=False)]
    assert [(e.trade.trade_id, e.opens, e.quantity) for e in told] == [
        (long.trade_id, False, D(700)),
        (order.trade_id, True, D(1000)),
    ]
    assert [(e.order.client_order_id, e.order.status) for e in told] == [(order.client_order_id, S.FILLED)] * 2
    assert [e.trade.status for e in told] == [T.CLOSED, T.OPEN]


def test_it_takes_the_one_claim_on_what_it_closes() -> None:
    desk = ExecutorDesk()
    long = desk.open()
    order = turned(desk)

    assert desk.book.closable(desk.trade(long)) == 0
    assert not placed_in(desk.decide(leave(long)))
    assert not desk.keep(desk.core.exit_trades([(long.trade_id, "stop_loss")], "monitor", desk.now_ns)).requests
    assert desk.exits(long) == [order]


@pytest.mark.parametrize("ending", [K.ORDER_REJECTED, K.ORDER_CANCELED, K.ORDER_EXPIRED])
def test_an_order_that_ends_without_filling_lets_go_of_the_claims(ending: K) -> None:
    desk = ExecutorDesk()
    long = desk.open()
    order = turned(desk)

    desk.news(ending, order)

    assert (desk.trade(long).status, own(desk, order).status) == (T.OPEN, T.FAILED)
    assert desk.book.closable(desk.trade(long)) == D(1000)
    assert placed_in(desk.decide(leave(long)))


def test_one_that_ends_within_what_it_closes_leaves_the_rest_of_that() -> None:
    desk = ExecutorDesk()
    long = desk.open()
    order = turned(desk)

    desk.fill(order, 400)
    assert desk.book.closable(desk.trade(long)) == 0
    desk.news(K.ORDER_CANCELED, order)

    left = desk.trade(long)
    assert (left.status, left.open_quantity, own(desk, order).status) == (T.OPEN, D(600), T.FAILED)


def test_a_late_fill_of_what_was_given_up_closes_first_all_the_same() -> None:
    desk = ExecutorDesk()
    long = desk.open()
    order = turned(desk)
    desk.news(K.ORDER_CANCELED, order)

    desk.fill(order, 1300)

    assert desk.trade(long).status is T.CLOSED
    assert (own(desk, order).status, own(desk, order).open_quantity) == (T.OPEN, D(300))


def test_an_entry_that_still_works_for_a_trade_that_is_turned_is_ended() -> None:
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09900")))
    entry = desk.order(entry_id)
    desk.accept(entry)
    desk.fill(entry, 400)

    effects = desk.decide(turn())

    (request,) = requests_in(effects)
    assert request.quantity == D(1400)
    assert cancels_in(effects) == [entry_id]
    desk.fill(entry, 100)  # on its way: it is closed, too, and the new trade is so much smaller
    order = desk.order(request.client_order_id)
    desk.fill(order)
    assert own(desk, order).open_quantity == D(900)
    assert desk.book.net(EUR) == D(-900)


def test_units_that_somebody_else_closed_meanwhile_do_not_make_the_new_trade_larger() -> None:
    desk = ExecutorDesk()
    long = desk.open()
    order = turned(desk)

    desk.fill(None, 400, side=order.side.SELL)  # a person, at the venue
    desk.fill(order)

    assert (desk.trade(long).status, own(desk, order).open_quantity) == (T.CLOSED, D(1000))
    (adopted,) = [t for t in desk.book.trades.values() if "adopted" in t.tags]
    assert adopted.open_quantity == D(400)
    assert desk.book.net(EUR) == D(-1400)


# --- protective orders at the venue -----------------------------------------------------------------------------------


def protected(desk: ExecutorDesk, quantity: int = 1000) -> tuple[Trade, Order, Order]:
    trade = desk.open(buy(quantity, **BRACKET))
    stop, target = desk.exits(trade, attached=True)
    return trade, stop, target


def test_it_goes_out_when_what_protects_the_trade_has_ended_and_not_before() -> None:
    desk = ExecutorDesk()
    _, stop, target = protected(desk)

    effects = desk.decide(turn(stop_loss="1.11000"))

    (order,) = [o for o in desk.book.orders.values() if o.closes]
    assert not placed_in(effects)
    assert set(cancels_in(effects)) == {stop.client_order_id, target.client_order_id}
    assert not placed_in(desk.news(K.ORDER_CANCELED, stop))
    (request,) = requests_in(desk.news(K.ORDER_CANCELED, target))
    assert (request.client_order_id, request.quantity, request.closes) == (order.client_order_id, D(2000), D(1000))
    assert [exit_.stop_price for exit_ in request.attached] == [D("1.11000")]
    assert desk.order(order.client_order_id).status is S.SUBMITTED
    assert [child.quantity for child in desk.children(order)] == [D(1000)], "it protects the new trade alone"


def test_a_stop_that_closes_a_part_meanwhile_makes_it_smaller() -> None:
    desk = ExecutorDesk()
    long, stop, target = protected(desk)
    desk.decide(turn(stop_loss="1.11000"))
    (order,) = [o for o in desk.book.orders.values() if o.closes]

    desk.fill(stop, 600, "1.08990")
    desk.news(K.ORDER_CANCELED, target)
    effects = desk.news(K.ORDER_CANCELED, stop)

    (request,) = requests_in(effects)
    smaller = desk.order(request.client_order_id)
    assert (smaller.quantity, smaller.renews, smaller.closes) == (D(1400), order.client_order_id, (long.trade_id,))
    assert (request.closes, len(request.attached)) == (D(400), 1)
    assert desk.order(order.client_order_id).status is S.NOT_SENT
    assert records_in(effects) == ["venue_reported", "orders_intended", "prove_not_sent", "prove_not_sent"]
    assert desk.trade(long).status is T.CLOSING
    assert own(desk, smaller).entry_order_id == smaller.client_order_id
    desk.fill(smaller)
    assert (desk.trade(long).status, own(desk, smaller).open_quantity) == (T.CLOSED, D(1000))


def test_one_that_closes_all_of_it_leaves_a_plain_entry() -> None:
    desk = ExecutorDesk()
    long, stop, target = protected(desk)
    desk.decide(turn())

    desk.fill(stop, price="1.08990")
    (request,) = requests_in(desk.news(K.ORDER_CANCELED, target, reason="oco"))

    plain = desk.order(request.client_order_id)
    assert (plain.quantity, plain.closes, request.closes) == (D(1000), (), D(0))
    closed = desk.trade(long)
    assert (closed.status, closed.exit_reason) == (T.CLOSED, CloseReason.STOP_LOSS)


def test_levels_that_moved_while_it_waited_are_asked_for_at_the_smaller_one() -> None:
    desk = ExecutorDesk()
    _, stop, target = protected(desk)
    desk.decide(turn(stop_loss="1.11000"))
    (order,) = [o for o in desk.book.orders.values() if o.closes]
    assert order.trade_id is not None
    desk.decide(MoveStop(trade_id=order.trade_id, stop_loss=D("1.10500")))

    desk.fill(stop, 600, "1.08990")
    desk.news(K.ORDER_CANCELED, target)
    effects = desk.news(K.ORDER_CANCELED, stop)

    (request,) = requests_in(effects)
    desk.accept(desk.order(request.client_order_id))
    assert [price for _, price in amends_in(desk.restart())] == ["1.10500"]


def test_a_waiting_one_that_is_canceled_was_never_sent_and_the_monitor_keeps_the_trade() -> None:
    desk = ExecutorDesk()
    long, stop, target = protected(desk)
    desk.decide(turn())
    (order,) = [o for o in desk.book.orders.values() if o.closes]

    effects = desk.decide(Cancel(client_order_id=order.client_order_id))

    assert desk.order(order.client_order_id).status is S.NOT_SENT
    assert not effects.requests
    desk.news(K.ORDER_CANCELED, stop)
    assert not desk.news(K.ORDER_CANCELED, target).requests
    assert (desk.trade(long).status, desk.trade(long).exits_at_venue) == (T.OPEN, False)


def test_an_entry_decided_behind_it_does_not_overtake_it() -> None:
    desk = ExecutorDesk()
    _, stop, target = protected(desk)

    effects = desk.decide(turn(), sell(200))

    assert not placed_in(effects)
    desk.news(K.ORDER_CANCELED, stop)
    assert [r.quantity for r in requests_in(desk.news(K.ORDER_CANCELED, target))] == [D(2000), D(200)]


# --- as two orders ----------------------------------------------------------------------------------------------------


def test_on_a_hedging_account_exits_and_an_entry_do_it() -> None:
    desk = ExecutorDesk(hedging=True)
    first, second = desk.open(buy(300), ref="p1"), desk.open(buy(500), ref="p2")

    requests = requests_in(desk.decide(turn()))

    assert [(r.quantity, r.position_ref, r.reduce_only) for r in requests] == [
        (D(300), "p1", True),
        (D(500), "p2", True),
        (D(1000), None, False),
    ]
    assert not any(o.closes for o in desk.book.orders.values())
    assert [desk.trade(t).status for t in (first, second)] == [T.CLOSING, T.CLOSING]


def test_where_another_exit_has_a_part_of_the_trade_the_rest_is_left_by_an_exit() -> None:
    desk = ExecutorDesk()
    long = desk.open()
    desk.decide(leave(long, 400))

    assert [r.quantity for r in requests_in(desk.decide(turn()))] == [D(600), D(1000)]


def test_an_exit_of_the_same_decision_counts_as_well() -> None:
    desk = ExecutorDesk()
    long = desk.open()

    assert [r.quantity for r in requests_in(desk.decide(leave(long), turn()))] == [D(1000), D(1000)]
    other = ExecutorDesk()
    long = other.open()
    assert [r.quantity for r in requests_in(other.decide(turn(), leave(long)))] == [D(2000)]
    assert [o.quantity for o in other.exits(long)] == [D(2000)], "nothing is left for an exit behind it"


def test_an_order_beyond_the_venues_largest_is_made_in_two() -> None:
    desk = ExecutorDesk()
    largest = int(desk.terms.instruments[EUR].quantity_max)
    desk.open(buy(1000))

    assert [r.quantity for r in requests_in(desk.decide(turn(largest)))] == [D(1000), D(largest)]


# --- the gate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["paused", "reduce_only", "quantity_max", "not_ready"])
def test_where_the_entry_is_denied_what_is_held_is_left_all_the_same(why: str) -> None:
    desk = ExecutorDesk(limits=RiskLimits(quantity_max=D(900)) if why == "quantity_max" else None)
    long = desk.open(buy(800))
    if why == "paused":
        desk.keep(desk.core.pause(True, "wished", "anna", desk.now_ns))
    if why == "reduce_only":
        desk.keep(desk.core.latch(Latch.REDUCE_ONLY, "enough", "risk", desk.now_ns))

    effects = desk.decide(turn(), warm=why != "not_ready")

    (request,) = requests_in(effects)
    exit_ = desk.order(request.client_order_id)
    assert (exit_.purpose, exit_.quantity, exit_.trade_id) == (Purpose.EXIT, D(800), long.trade_id)
    (denied,) = [o for o in desk.book.ended.values() if o.status is S.DENIED]
    assert denied.status_reason.startswith(why)
    assert (denied.quantity, denied.closes, denied.purpose) == (D(1000), (), Purpose.ENTRY)
    signal = next(row for e in effects.entries for row in e.rows if hasattr(row, "execution_status"))
    assert signal.execution_status is SignalStatus.DENIED


def test_limits_of_one_order_measure_what_is_new() -> None:
    desk = ExecutorDesk(limits=RiskLimits(quantity_max=D(1000), notional_max=D(1101)))
    desk.open()

    assert turned(desk).quantity == D(2000)


def test_limits_of_the_position_measure_where_it_ends() -> None:
    desk = ExecutorDesk(limits=RiskLimits(position_max=D(1000), exposure_max=D(1101), position_notional_max=D(1101)))
    protected(desk)

    desk.decide(turn())
    (order,) = [o for o in desk.book.orders.values() if o.closes]
    assert (order.quantity, order.status) == (D(2000), S.INTENDED)

    desk.decide(sell(1))
    (denied,) = [o for o in desk.book.ended.values() if o.status is S.DENIED]
    assert "EUR_USD would come to 1001 units" in denied.status_reason


def test_a_position_beyond_the_limit_is_denied_and_what_is_held_is_left() -> None:
    desk = ExecutorDesk(limits=RiskLimits(position_max=D(1000)))
    desk.open()

    (request,) = requests_in(desk.decide(turn(1001)))

    assert (request.quantity, request.reduce_only) == (D(1000), True)


def test_halted_nothing_goes_out() -> None:
    desk = ExecutorDesk()
    long = desk.open()
    desk.keep(desk.core.latch(Latch.HALTED, "enough", "anna", desk.now_ns))

    assert not desk.decide(turn()).requests
    assert [o.purpose for o in desk.book.ended.values() if o.status is S.DENIED] == [Purpose.ENTRY, Purpose.EXIT]
    assert desk.trade(long).status is T.OPEN


# --- taken back -------------------------------------------------------------------------------------------------------


def hold_back(desk: ExecutorDesk, how: str) -> Effects:
    core, now_ns = desk.core, desk.now_ns
    match how:
        case "pause":
            return desk.keep(core.pause(True, "wished", "anna", now_ns))
        case "reduce_only":
            return desk.keep(core.latch(Latch.REDUCE_ONLY, "enough", "risk", now_ns))
        case "halt":
            return desk.keep(core.latch(Latch.HALTED, "enough", "anna", now_ns))
        case "retire":
            return desk.keep(core.retire("a", StrategyStatus.FAILED, "it threw", now_ns))
        case "end":
            return desk.keep(core.end("the feed has ended", now_ns))
    return desk.keep(core.cancel_entries("wished", now_ns))


WAYS = ["pause", "reduce_only", "halt", "retire", "end", "cancel_entries"]


@pytest.mark.parametrize("how", WAYS)
def test_one_that_waits_is_not_sent_and_its_trades_are_free(how: str) -> None:
    desk = ExecutorDesk()
    long, stop, _ = protected(desk)
    desk.decide(turn(stop_loss="1.11000"))
    (order,) = [o for o in desk.book.orders.values() if o.closes]

    hold_back(desk, how)

    assert desk.order(order.client_order_id).status is S.NOT_SENT
    assert (desk.trade(long).status, own(desk, order).status) == (T.OPEN, T.FAILED)
    assert desk.book.closable(desk.trade(long)) == D(1000)
    assert desk.book.is_to_be_canceled(stop.client_order_id) is (how != "halt"), "while halted nothing took its place"


@pytest.mark.parametrize("how", [way for way in WAYS if way != "pause"])
def test_one_that_works_is_canceled_as_an_entry_is(how: str) -> None:
    desk = ExecutorDesk()
    desk.open()
    order = turned(desk)
    desk.accept(order)
    desk.fill(order, 300)

    assert order.client_order_id in cancels_in(hold_back(desk, how))


def test_a_flatten_closes_what_it_leaves_behind() -> None:
    desk = ExecutorDesk()
    long = desk.open()
    order = turned(desk)
    desk.accept(order)

    assert cancels_in(desk.keep(desk.core.flatten("anna", desk.now_ns))) == [order.client_order_id]
    (exit_id,) = placed_in(desk.news(K.ORDER_CANCELED, order))

    assert (desk.order(exit_id).trade_id, desk.order(exit_id).quantity) == (long.trade_id, D(1000))


@pytest.mark.parametrize("how", ["held back", "refused", "resolved", "rejected"])
def test_also_where_it_never_got_there(how: str) -> None:
    desk = ExecutorDesk()
    long = desk.open()
    order = turned(desk)
    desk.keep(desk.core.flatten("anna", desk.now_ns))
    key, now_ns = order.client_order_id, desk.now_ns

    if how == "held back":
        effects = desk.keep(desk.core.not_sent(key, "paused", now_ns))
    elif how == "refused":
        effects = desk.keep(desk.core.refused(key, "no", now_ns))
    elif how == "resolved":
        desk.keep(desk.core.lost(key, "timeout", now_ns))
        effects = desk.keep(desk.core.resolve(key, S.NOT_SENT, "anna", now_ns))
    else:
        effects = desk.news(K.ORDER_REJECTED, order)

    (exit_id,) = placed_in(effects)
    assert desk.order(exit_id).trade_id == long.trade_id


# --- in doubt, and behind a restart -----------------------------------------------------------------------------------


def test_one_that_never_arrived_is_decided_again_with_its_claims() -> None:
    desk = ExecutorDesk()
    long = desk.open()
    order = turned(desk, stop_loss="1.11000")
    assert order.client_order_id in lookups_in(desk.restart())
    assert desk.book.closable(desk.trade(long)) == 0

    effects = desk.keep(desk.core.not_sent(order.client_order_id, "proved", desk.now_ns, never_arrived=True))

    (request,) = requests_in(effects)
    again = desk.order(request.client_order_id)
    assert (again.renews, again.quantity, again.closes) == (order.client_order_id, D(2000), (long.trade_id,))
    assert (request.closes, len(request.attached)) == (D(1000), 1)
    assert desk.trade(long).status is T.CLOSING
    assert desk.exits(long) == [again]


def test_where_time_has_passed_it_is_not_and_the_trades_are_free() -> None:
    desk = ExecutorDesk(replayable=False)
    long = desk.open()
    order = turned(desk)
    desk.restart()

    effects = desk.keep(desk.core.not_sent(order.client_order_id, "proved", desk.now_ns, never_arrived=True))

    assert not effects.requests
    assert desk.trade(long).status is T.OPEN
    assert placed_in(desk.decide(leave(long)))


def test_nor_where_a_part_of_what_it_was_to_close_is_gone() -> None:
    desk = ExecutorDesk()
    long = desk.open()
    order = turned(desk)
    desk.fill(None, 400, side=order.side.SELL)
    desk.restart()

    effects = desk.keep(desk.core.not_sent(order.client_order_id, "proved", desk.now_ns, never_arrived=True))

    assert not effects.requests
    assert (desk.trade(long).status, desk.trade(long).open_quantity) == (T.OPEN, D(600))


def test_one_that_waits_goes_on_waiting_behind_a_restart() -> None:
    desk = ExecutorDesk()
    long, stop, target = protected(desk)
    desk.decide(turn())
    (order,) = [o for o in desk.book.orders.values() if o.closes]

    effects = desk.restart()

    assert set(cancels_in(effects)) == {stop.client_order_id, target.client_order_id}
    assert not lookups_in(effects)
    desk.news(K.ORDER_CANCELED, stop)
    assert placed_in(desk.news(K.ORDER_CANCELED, target)) == [order.client_order_id]
    assert desk.book.closable(desk.trade(long)) == 0


def test_the_book_comes_back_from_a_cut_as_it_was() -> None:
    desk = ExecutorDesk()
    first, second = desk.open(buy(300)), desk.open(buy(500))
    order = turned(desk)
    desk.fill(order, 400)

    again = type(desk.book).load(desk.book.save())

    assert again.closable(desk.trade(second)) == 0
    assert again.live_exits(second.trade_id) == [desk.order(order.client_order_id)]
    assert again.save() == desk.book.save()
    assert again.working[EUR, order.side] == D(1400)
    assert desk.trade(first).status is T.CLOSED
