"""Exits that the venue keeps: they end before another exit takes their place, they move with the strategy's wish, and where the
venue keeps none any more the monitor does."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.domain.executor_desk import (
    ExecutorDesk,
    K,
    amends_in,
    buy,
    cancels_in,
    leave,
    placed_in,
    records_in,
    sell,
)
from tradekeel.domain import records as r
from tradekeel.domain.effects import PlaceOrder
from tradekeel.domain.messages import Cancel, MoveStop
from tradekeel.domain.orders import Order, OrderStatus, OrderType
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import Latch
from tradekeel.domain.trades import CloseReason, Trade, TradeStatus

D = Decimal
S = OrderStatus
BRACKET: dict[str, Any] = {"stop_loss": "1.09000", "take_profit": "1.12000"}


def protected(desk: ExecutorDesk) -> tuple[Trade, Order, Order]:
    """An open long trade of 1000 with a stop and a target at the venue."""
    trade = desk.open(buy(**BRACKET))
    stop, target = desk.exits(trade, attached=True)
    return trade, stop, target


# --- an exit takes the place of attached ones -------------------------------------------------------------------------


def test_an_exit_is_sent_when_the_end_of_the_attached_exits_is_confirmed_and_not_before() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)

    effects = desk.decide(leave(trade))

    (exit_,) = desk.exits(trade)
    assert not placed_in(effects)
    assert set(cancels_in(effects)) == {stop.client_order_id, target.client_order_id}
    assert not placed_in(desk.news(K.ORDER_CANCELED, stop))
    assert placed_in(desk.news(K.ORDER_CANCELED, target)) == [exit_.client_order_id]
    assert desk.order(exit_.client_order_id).status is S.SUBMITTED


def test_a_stop_that_closes_the_trade_meanwhile_makes_the_exit_needless() -> None:
    """Sent all the same it would open a position the other way."""
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    other = desk.open(buy())
    desk.decide(leave(trade))
    (exit_,) = desk.exits(trade)

    first = desk.fill(stop, price="1.08990")
    last = desk.news(K.ORDER_CANCELED, target, reason="oco")

    assert not placed_in(first)
    assert not placed_in(last)
    assert desk.order(exit_.client_order_id).status is S.NOT_SENT
    closed = desk.trade(trade)
    assert (closed.status, closed.exit_reason) == (TradeStatus.CLOSED, CloseReason.STOP_LOSS)
    assert desk.trade(other).open_quantity == 1000


def test_a_stop_that_closes_a_part_meanwhile_leaves_a_smaller_exit() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    desk.decide(leave(trade))
    (exit_,) = desk.exits(trade)

    desk.fill(stop, 600, "1.08990")
    desk.news(K.ORDER_CANCELED, target)
    effects = desk.news(K.ORDER_CANCELED, stop)

    (ask,) = effects.requests
    assert isinstance(ask, PlaceOrder)
    smaller = desk.order(ask.request.client_order_id)
    assert (smaller.quantity, smaller.renews) == (D(400), exit_.client_order_id)
    assert desk.order(exit_.client_order_id).status is S.NOT_SENT
    assert records_in(effects) == ["venue_reported", "orders_intended", "prove_not_sent"]
    desk.fill(smaller, price="1.08980")
    assert desk.trade(trade).status is TradeStatus.CLOSED


def test_two_exits_of_one_trade_wait_and_share_what_a_stop_leaves() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    desk.decide(leave(trade, 700), leave(trade, 300))

    desk.fill(stop, 500, "1.08990")
    desk.news(K.ORDER_CANCELED, target)
    effects = desk.news(K.ORDER_CANCELED, stop)

    quantities = [ask.request.quantity for ask in effects.requests if isinstance(ask, PlaceOrder)]
    assert sum(quantities) == 500
    assert desk.book.closable(desk.trade(trade)) == 0


def test_a_waiting_exit_that_is_canceled_was_never_sent() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    desk.decide(leave(trade))
    (exit_,) = desk.exits(trade)

    effects = desk.decide(Cancel(client_order_id=exit_.client_order_id))

    assert desk.order(exit_.client_order_id).status is S.NOT_SENT
    assert not effects.requests
    desk.news(K.ORDER_CANCELED, stop)
    assert not desk.news(K.ORDER_CANCELED, target).requests
    left = desk.trade(trade)
    assert (left.status, left.exits_at_venue) == (TradeStatus.OPEN, False)


def test_a_refused_cancel_keeps_the_exit_waiting_and_the_protection_in_place() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    desk.decide(leave(trade))
    (exit_,) = desk.exits(trade)

    desk.news(K.ORDER_CANCELED, target)
    effects = desk.news(K.CANCEL_REFUSED, stop, reason="already triggered")

    assert not effects.requests
    assert desk.order(exit_.client_order_id).status is S.INTENDED
    desk.fill(stop, price="1.08990")
    assert desk.order(exit_.client_order_id).status is S.NOT_SENT


def test_an_entry_behind_a_waiting_exit_waits_for_the_same_ends() -> None:
    """It would flatten the position before the exit came, and the venue would drop what has nothing left to reduce."""
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)

    effects = desk.decide(leave(trade), sell(500))

    assert not placed_in(effects)
    desk.news(K.ORDER_CANCELED, stop)
    placed = placed_in(desk.news(K.ORDER_CANCELED, target))
    assert [desk.order(i).purpose for i in placed] == ["exit", "entry"]


def test_a_waiting_entry_that_is_canceled_goes_with_its_exits() -> None:
    desk = ExecutorDesk()
    trade, *_ = protected(desk)
    desk.decide(leave(trade), sell(500, stop_loss="1.12000"))
    entry = next(o for o in desk.book.orders.values() if o.purpose == "entry")
    (child,) = desk.children(entry)

    desk.decide(Cancel(client_order_id=entry.client_order_id))

    assert desk.order(entry.client_order_id).status is S.NOT_SENT
    assert desk.order(child.client_order_id).status is S.NOT_SENT


# --- protection never ends unseen -------------------------------------------------------------------------------------


def test_after_an_exit_of_a_part_the_monitor_keeps_the_rest() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    desk.decide(leave(trade, 400))
    (exit_,) = desk.exits(trade)
    desk.news(K.ORDER_CANCELED, stop)
    desk.news(K.ORDER_CANCELED, target)

    desk.fill(exit_, 400)

    left = desk.trade(trade)
    assert (left.status, left.open_quantity, left.exits_at_venue) == (TradeStatus.OPEN, D(600), False)
    assert (left.stop_loss, left.take_profit) == (D("1.09000"), D("1.12000"))


def test_while_one_attached_exit_works_the_venue_keeps_the_trade() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)

    desk.news(K.ORDER_CANCELED, target)
    assert desk.trade(trade).exits_at_venue

    desk.news(K.ORDER_CANCELED, stop)
    assert not desk.trade(trade).exits_at_venue


@pytest.mark.parametrize("whose", ["the strategy's", "somebody else's"])
def test_where_the_stop_is_gone_the_target_ends_too_and_the_monitor_keeps_both(whose: str) -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    if whose == "the strategy's":
        desk.decide(Cancel(client_order_id=stop.client_order_id))

    assert cancels_in(desk.news(K.ORDER_CANCELED, stop)) == [target.client_order_id]
    desk.news(K.ORDER_CANCELED, target)

    left = desk.trade(trade)
    assert (left.exits_at_venue, left.stop_loss, left.take_profit) == (False, D("1.09000"), D("1.12000"))


def test_where_the_target_is_gone_the_stop_stays_where_it_outlives_us() -> None:
    desk = ExecutorDesk()
    trade, _, target = protected(desk)

    assert not desk.news(K.ORDER_CANCELED, target).requests
    assert desk.trade(trade).exits_at_venue


def test_levels_moved_before_the_entry_has_filled_are_asked_for_again_after_a_kill() -> None:
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09900", **BRACKET)))
    entry = desk.order(entry_id)
    desk.accept(entry)
    stop, target = desk.children(entry)
    move = MoveStop(trade_id=entry.trade_id or "", stop_loss=D("1.09300"), take_profit=D("1.11500"))
    asked = amends_in(desk.decide(move))

    assert asked == [(stop.client_order_id, "1.09300"), (target.client_order_id, "1.11500")]
    assert amends_in(desk.restart()) == asked


def test_levels_moved_before_an_entry_that_never_arrived_go_with_its_renewal() -> None:
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09900", **BRACKET)))
    entry = desk.order(entry_id)
    desk.decide(MoveStop(trade_id=entry.trade_id or "", stop_loss=D("1.09300")))
    assert not amends_in(desk.restart()), "nobody knows yet whether there is anything to move"

    renewal = desk.keep(desk.core.not_sent(entry_id, "it never arrived", desk.now_ns, never_arrived=True))

    (again_id,) = placed_in(renewal)
    stop = next(child for child in desk.children(desk.order(again_id)) if child.type is OrderType.STOP)
    assert amends_in(renewal) == [(stop.client_order_id, "1.09300")]


def test_a_stop_that_ended_before_the_entry_filled_leaves_its_level_to_the_trail_that_begins() -> None:
    desk = ExecutorDesk()
    wished = buy(type=OrderType.LIMIT, price="1.09900", stop_loss="1.09800", trailing_distance="0.00200")
    (entry_id,) = placed_in(desk.decide(wished))
    entry = desk.order(entry_id)
    desk.accept(entry)
    stop, trail = desk.children(entry)
    desk.news(K.ORDER_CANCELED, stop)
    desk.fill(entry)

    assert amends_in(desk.news(K.ORDER_ACCEPTED, trail, price=D("1.09700"))) == [(trail.client_order_id, "1.09800")]


def test_and_where_no_stop_is_left_to_begin_the_monitor_keeps_both() -> None:
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09900", **BRACKET)))
    entry = desk.order(entry_id)
    desk.accept(entry)
    stop, target = desk.children(entry)
    desk.news(K.ORDER_CANCELED, stop)
    desk.fill(entry)

    assert cancels_in(desk.news(K.ORDER_ACCEPTED, target)) == [target.client_order_id]
    desk.news(K.ORDER_CANCELED, target)
    assert not desk.book.trades[entry.trade_id or ""].exits_at_venue


def test_an_older_wish_that_is_confirmed_now_is_not_what_was_wished_last() -> None:
    desk = ExecutorDesk()
    trade, _, target = protected(desk)
    for level in ("1.11500", "1.11800"):
        desk.decide(MoveStop(trade_id=trade.trade_id, take_profit=D(level)))

    desk.news(K.ORDER_AMENDED, target, price=D("1.11500"))

    assert desk.trade(trade).take_profit == D("1.11800")
    assert amends_in(desk.restart()) == [(target.client_order_id, "1.11800")]


def test_a_level_that_is_refused_says_nothing_of_the_other() -> None:
    desk = ExecutorDesk()
    trade, stop, _ = protected(desk)
    desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09300"), take_profit=D("1.11500")))

    desk.news(K.CANCEL_REFUSED, stop, price=D("1.09300"))

    assert (desk.trade(trade).stop_loss, desk.trade(trade).take_profit) == (D("1.09000"), D("1.11500"))


@pytest.mark.parametrize("when", ["halted before the kill", "halted by a latch file that the start finds"])
def test_a_halt_leaves_protective_orders_whose_place_an_exit_was_to_take(when: str) -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    desk.decide(leave(trade))
    (exit_,) = desk.exits(trade)
    if when == "halted before the kill":
        desk.keep(desk.core.latch(Latch.HALTED, "enough", "anna", desk.now_ns))
        effects = desk.restart()
    else:
        desk.begin_again()
        desk.keep(desk.core.latch(Latch.HALTED, "enough", "latch file", desk.now_ns))
        effects = desk.keep(desk.core.recover(desk.now_ns))

    assert not cancels_in(effects)
    assert desk.order(exit_.client_order_id).status is S.NOT_SENT
    assert {stop.client_order_id, target.client_order_id} <= set(desk.book.orders)
    assert desk.trade(trade).exits_at_venue


def test_a_stop_that_a_person_says_has_ended_is_replaced_by_the_monitors() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    desk.keep(desk.core.missing(stop.client_order_id, "the venue does not have it", desk.now_ns))

    effects = desk.keep(desk.core.resolve(stop.client_order_id, S.CANCELED, "anna", desk.now_ns))

    assert cancels_in(effects) == [target.client_order_id]
    desk.news(K.ORDER_CANCELED, target)
    assert not desk.trade(trade).exits_at_venue


def test_an_entry_in_doubt_that_turns_up_after_a_flatten_is_canceled() -> None:
    """Its cancel went out and was recorded nowhere: a kill may have come before it."""
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09900")))
    entry = desk.order(entry_id)
    desk.accept(entry)
    desk.keep(desk.core.missing(entry_id, "the venue does not have it", desk.now_ns))
    desk.keep(desk.core.flatten("anna", desk.now_ns))
    desk.restart()

    assert cancels_in(desk.news(K.ORDER_ACCEPTED, desk.order(entry_id))) == [entry_id]


def test_an_exit_of_a_part_asks_for_the_end_of_each_attached_exit_once() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    asked = cancels_in(desk.decide(leave(trade, 400)))
    assert sorted(asked) == sorted([stop.client_order_id, target.client_order_id])
    assert not desk.news(K.ORDER_CANCELED, stop).requests


def test_two_exits_that_take_all_of_a_trade_end_its_entry() -> None:
    desk = ExecutorDesk(at_venue=False)
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09900")))
    entry = desk.order(entry_id)
    desk.accept(entry)
    desk.fill(entry, 600)
    trade = desk.book.trades[entry.trade_id or ""]
    assert not cancels_in(desk.decide(leave(trade, 400)))
    assert cancels_in(desk.decide(leave(trade, 200))) == [entry_id]


def test_an_entry_that_fills_after_its_end_goes_to_the_monitor() -> None:
    """Venues report a cancel before the fill that preceded it; its exits have ended with it."""
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09900", **BRACKET)))
    entry = desk.order(entry_id)
    children = desk.children(entry)
    desk.accept(entry)
    desk.news(K.ORDER_CANCELED, entry)
    for child in children:
        desk.news(K.ORDER_CANCELED, child)
    assert desk.book.closed[entry.trade_id or ""].status is TradeStatus.FAILED

    desk.fill(entry, 300)

    late = desk.book.trades[entry.trade_id or ""]
    assert (late.status, late.open_quantity, late.exits_at_venue) == (TradeStatus.OPEN, D(300), False)


def test_attached_exits_whose_entry_has_not_filled_protect_nothing_and_end_quietly() -> None:
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09900", **BRACKET)))
    entry = desk.order(entry_id)
    desk.accept(entry)
    for child in desk.children(entry):
        desk.news(K.ORDER_CANCELED, child)

    assert desk.book.trades[entry.trade_id or ""].exits_at_venue

    desk.fill(entry)
    assert not desk.book.trades[entry.trade_id or ""].exits_at_venue


# --- stops and targets move -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enter", "tighter", "looser"),
    [(buy(stop_loss="1.09000"), "1.09500", "1.08500"), (sell(stop_loss="1.11000"), "1.10500", "1.11500")],
    ids=["long", "short"],
)
@pytest.mark.parametrize("at_venue", [True, False])
def test_a_stop_tightens_and_never_loosens(enter: object, tighter: str, looser: str, at_venue: bool) -> None:
    desk = ExecutorDesk(at_venue=at_venue)
    trade = desk.open(enter)  # type: ignore[arg-type]  # an Enter

    assert records_in(desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D(looser)))) == ["decision_taken"]
    assert desk.trade(trade).stop_loss == trade.stop_loss

    effects = desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D(tighter)))
    assert records_in(effects) == ["decision_taken", "stop_moved"]
    assert desk.trade(trade).stop_loss == D(tighter)
    assert [price for _, price in amends_in(effects)] == ([tighter] if at_venue else [])


def test_a_target_moves_either_way() -> None:
    desk = ExecutorDesk()
    trade, _, target = protected(desk)

    for price in ("1.11000", "1.13000"):
        effects = desk.decide(MoveStop(trade_id=trade.trade_id, take_profit=D(price)))
        assert amends_in(effects) == [(target.client_order_id, price)]
        desk.news(K.ORDER_AMENDED, target, price=D(price))
        assert desk.trade(trade).take_profit == D(price)
        assert desk.order(target.client_order_id).price == D(price)


def test_a_strategy_moves_the_stops_of_its_own_trades_only() -> None:
    desk = ExecutorDesk(at_venue=False)
    theirs = desk.open(buy(stop_loss="1.09000"), strategy="b")

    effects = desk.decide(
        MoveStop(trade_id=theirs.trade_id, stop_loss=D("1.09500")), MoveStop(trade_id="gone", stop_loss=D("1.09500"))
    )

    assert records_in(effects) == ["decision_taken"]
    assert desk.trade(theirs).stop_loss == D("1.09000")


def test_a_move_that_a_kill_kept_from_the_venue_is_asked_for_again() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09500"), take_profit=D("1.11500")))

    assert amends_in(desk.restart()) == [(stop.client_order_id, "1.09500"), (target.client_order_id, "1.11500")]

    desk.news(K.ORDER_AMENDED, stop, price=D("1.09500"))
    desk.news(K.ORDER_AMENDED, target, price=D("1.11500"))
    assert not desk.restart().requests


def test_a_level_is_put_on_the_instruments_grid_before_it_is_written_down() -> None:
    desk = ExecutorDesk()
    trade, stop, _ = protected(desk)

    effects = desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.0950333333333333333333333333333333")))

    assert amends_in(effects) == [(stop.client_order_id, "1.09503")]
    assert desk.trade(trade).stop_loss == D("1.09503")
    assert not amends_in(desk.decide(MoveStop(trade_id=trade.trade_id, take_profit=D("1e-40")))), (
        "there is no such price"
    )


def test_a_level_that_the_venue_refuses_is_not_in_the_books_and_does_not_stand_in_the_way_of_a_better_one() -> None:
    desk = ExecutorDesk()
    trade, stop, target = protected(desk)
    desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09500"), take_profit=D("1.11000")))

    desk.news(K.CANCEL_REFUSED, stop, price=D("1.09500"), reason="too near the market")
    desk.news(K.CANCEL_REFUSED, target, price=D("1.11000"), reason="too near the market")

    kept = desk.trade(trade)
    assert (kept.stop_loss, kept.take_profit, kept.exits_at_venue) == (D("1.09000"), D("1.12000"), True)
    assert not desk.restart().requests, "it is not wanted any more"
    again = desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09400")))
    assert amends_in(again) == [(stop.client_order_id, "1.09400")]


def test_an_amendment_that_nobody_answered_is_asked_for_again_as_it_is_wanted_by_then() -> None:
    desk = ExecutorDesk()
    trade, stop, _ = protected(desk)
    desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09500")))
    desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09700")))

    assert amends_in(desk.core.hold_levels(stop.client_order_id)) == [(stop.client_order_id, "1.09700")]

    desk.news(K.ORDER_AMENDED, stop, price=D("1.09700"))
    assert not desk.core.hold_levels(stop.client_order_id)
    assert not desk.core.hold_levels("tk-that-has-ended")


def test_where_the_venue_holds_no_such_exit_the_monitor_takes_over_all_of_them() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(take_profit="1.12000"))
    (target,) = desk.exits(trade, attached=True)

    effects = desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09500")))

    assert cancels_in(effects) == [target.client_order_id]
    desk.news(K.ORDER_CANCELED, target)
    kept = desk.trade(trade)
    assert (kept.exits_at_venue, kept.stop_loss, kept.take_profit) == (False, D("1.09500"), D("1.12000"))


@pytest.mark.parametrize("trail", [{}, {"trailing_distance": "0.00500"}], ids=["one stop", "and a trail"])
def test_what_the_monitor_takes_over_is_not_moved_at_the_venue_after_a_kill_whoever_wanted_it_gone(
    trail: dict[str, Any],
) -> None:
    """Its refusal would take back the level that is wanted, and the stop would loosen."""
    desk = ExecutorDesk()
    trade = desk.open(buy(**trail, **BRACKET))
    kinds = {child.type: child for child in desk.exits(trade, attached=True)}
    target, stops = kinds.pop(OrderType.LIMIT), {child.client_order_id for child in kinds.values()}
    desk.news(K.ORDER_CANCELED, target)
    move = MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09600"), take_profit=D("1.11500"))

    effects = desk.decide(Cancel(client_order_id=kinds[OrderType.STOP].client_order_id), move)

    assert set(cancels_in(effects)) == stops
    assert not amends_in(effects)
    assert desk.trade(trade).stop_loss == D("1.09600")
    again = desk.restart()
    assert set(cancels_in(again)) == stops
    assert not amends_in(again)


def test_a_trailing_stop_at_the_venue_is_told_to_the_trade_where_it_is_tighter() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000", trailing_distance="0.00500"))
    _, trail = desk.exits(trade, attached=True)

    desk.news(K.ORDER_AMENDED, trail, price=D("1.08800"))
    assert desk.trade(trade).stop_loss == D("1.09000"), "the fixed stop is nearer"

    desk.news(K.ORDER_AMENDED, trail, price=D("1.09600"))
    assert desk.trade(trade).stop_loss == D("1.09600")
    assert not desk.restart().requests, "it was the trail that moved it: nothing is asked for"


def test_the_level_of_a_trail_that_ends_is_kept_by_the_stop_that_stays() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000", trailing_distance="0.00500"))
    stop, trail = desk.exits(trade, attached=True)
    desk.news(K.ORDER_AMENDED, trail, price=D("1.09600"))
    desk.decide(Cancel(client_order_id=trail.client_order_id))

    effects = desk.news(K.ORDER_CANCELED, trail)

    assert amends_in(effects) == [(stop.client_order_id, "1.09600")]
    assert amends_in(desk.restart()) == [(stop.client_order_id, "1.09600")], "until the venue has confirmed it"
    desk.news(K.ORDER_AMENDED, stop, price=D("1.09600"))
    assert not desk.restart().requests


def test_exits_that_are_to_end_are_not_moved() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000", trailing_distance="0.00500"))
    _, trail = desk.exits(trade, attached=True)
    desk.news(K.ORDER_AMENDED, trail, price=D("1.09600"))
    desk.decide(leave(trade))

    assert not amends_in(desk.news(K.ORDER_CANCELED, trail))


def test_a_trailing_stop_begins_where_the_venue_says() -> None:
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(trailing_distance="0.00500")))
    entry = desk.order(entry_id)
    (trail,) = desk.children(entry)
    desk.accept(entry)
    desk.fill(entry)

    desk.accept(trail, price=D("1.09500"))

    assert desk.order(trail.client_order_id).stop_price == D("1.09500")
    assert desk.book.trades[entry.trade_id or ""].stop_loss == D("1.09500")
    effects = desk.decide(MoveStop(trade_id=entry.trade_id or "", stop_loss=D("1.09700")))
    assert amends_in(effects) == [(trail.client_order_id, "1.09700")]


def test_the_monitor_moves_a_stop_that_it_trails_and_says_what_it_follows() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open(buy(trailing_distance="0.00500"))

    def trail(stop: str, best: str) -> bool:
        return bool(desk.keep(desk.core.move_stop(trade.trade_id, D(stop), D(best), None, desk.now_ns)))

    assert trail("1.09600", "1.10100")
    assert not trail("1.09600", "1.10100")
    assert not trail("1.09500", "1.10000")
    moved = desk.trade(trade)
    assert (moved.stop_loss, moved.best_price, moved.initial_stop_loss) == (D("1.09600"), D("1.10100"), None)
    (record,) = [rec for row in desk.journal if isinstance(rec := r.decode_record(row), r.StopMoved)]
    assert record.source == "trailing"


def test_a_move_for_a_trade_that_has_closed_is_nothing() -> None:
    desk = ExecutorDesk(at_venue=False)

    assert not desk.core.move_stop("gone", D("1.1"), None, None, desk.now_ns)


def test_each_level_that_moves_at_the_venue_is_a_message() -> None:
    desk = ExecutorDesk(limits=RiskLimits(messages_per_second=100))
    trade, *_ = protected(desk)
    desk.tick("1.10000")
    desk.tick("1.10000")
    rates = desk.core.gate.rates.messages_second
    assert rates is not None
    before = rates.count(desk.now_ns)

    desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09500"), take_profit=D("1.11500")))

    assert rates.count(desk.now_ns) == before + 2
