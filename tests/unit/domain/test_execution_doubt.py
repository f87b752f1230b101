"""What nobody has answered: lost, found, proved never sent, taken again, or resolved by a person; and every stage at
which a restart may find an order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.domain.executor_desk import (
    ExecutorDesk,
    K,
    buy,
    cancels_in,
    leave,
    lookups_in,
    placed_in,
    records_in,
)
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.effects import CancelOrder, Effects, LookUpOrder, PlaceOrder
from tradekeel.domain.intents import ATTEMPTS_MAX
from tradekeel.domain.messages import Cancel, MoveStop, SignalStatus
from tradekeel.domain.orders import OrderStatus, OrderType
from tradekeel.domain.recovery import fold
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import Latch
from tradekeel.domain.trades import TradeStatus

D = Decimal
S = OrderStatus


def lost(desk: ExecutorDesk, client_order_id: str) -> Effects:
    return desk.keep(desk.core.lost(client_order_id, "timeout", desk.now_ns))


def never_arrived(desk: ExecutorDesk, client_order_id: str) -> Effects:
    return desk.keep(
        desk.core.not_sent(client_order_id, "the record does not have it", desk.now_ns, never_arrived=True)
    )


def entered(desk: ExecutorDesk, **more: Any) -> str:
    """An entry that was handed over to be sent."""
    return placed_in(desk.decide(buy(**more)))[0]


# --- lost and found ---------------------------------------------------------------------------------------------------


def test_a_request_without_an_answer_is_unknown_and_looked_up_and_never_sent_again() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk)

    effects = lost(desk, entry_id)

    assert desk.order(entry_id).status is S.UNKNOWN
    assert lookups_in(effects) == [entry_id]
    assert not placed_in(effects)
    assert not lost(desk, entry_id), "it is unknown already, and being looked for"


def test_what_the_venue_says_settles_it() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk)
    lost(desk, entry_id)

    desk.accept(desk.order(entry_id))
    assert desk.order(entry_id).status is S.ACCEPTED
    assert not lost(desk, entry_id), "an answer that is late is an answer"

    desk.fill(desk.order(entry_id))
    assert desk.order(entry_id).status is S.FILLED


def test_a_lost_order_that_was_to_be_canceled_is_still_to_be_canceled() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, type=OrderType.LIMIT, price="1.09000")
    desk.decide(Cancel(client_order_id=entry_id))

    assert lookups_in(lost(desk, entry_id)) == [entry_id]
    assert desk.order(entry_id).status is S.UNKNOWN
    assert desk.book.is_to_be_canceled(entry_id)


def test_an_order_that_the_venue_has_lost_is_frozen_and_looked_up() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, type=OrderType.LIMIT, price="1.09000")
    desk.accept(desk.order(entry_id))

    effects = desk.keep(desk.core.missing(entry_id, "not among its orders", desk.now_ns))

    assert desk.order(entry_id).status is S.UNKNOWN
    assert lookups_in(effects) == [entry_id]
    assert not desk.core.missing(entry_id, "again", desk.now_ns)
    assert not never_arrived(desk, entry_id), "it was there once: nothing proves that it never was"


# --- proved never to have arrived -------------------------------------------------------------------------------------


def test_on_a_replayable_feed_the_same_decision_is_taken_again_under_a_new_id() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, stop_loss="1.09000", take_profit="1.12000")
    trade_id = desk.order(entry_id).trade_id
    lost(desk, entry_id)

    effects = never_arrived(desk, entry_id)

    (ask,) = effects.requests
    assert isinstance(ask, PlaceOrder)
    again = desk.order(ask.request.client_order_id)
    assert again.client_order_id != entry_id
    assert (again.renews, again.trade_id, again.attempt, again.status) == (entry_id, trade_id, 1, S.INTENDED)
    assert len(ask.request.attached) == 2
    assert {c.parent_id for c in desk.children(again)} == {again.client_order_id}
    assert desk.book.trades[trade_id or ""].entry_order_id == again.client_order_id
    assert desk.order(entry_id).status is S.NOT_SENT
    assert records_in(effects)[0] == "orders_intended", "the trade has an entry at every moment"
    desk.fill(again)
    assert desk.book.trades[trade_id or ""].status is TradeStatus.OPEN


def test_an_exit_is_taken_again_for_the_same_claim() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    (exit_id,) = placed_in(desk.decide(leave(trade)))
    lost(desk, exit_id)

    (again_id,) = placed_in(never_arrived(desk, exit_id))

    assert desk.trade(trade).status is TradeStatus.CLOSING
    assert [o.client_order_id for o in desk.exits(trade)] == [again_id]


def test_what_is_taken_again_keeps_its_place_so_after_another_restart_it_still_goes_out_first() -> None:
    desk = ExecutorDesk()
    first_id, second_id = placed_in(desk.decide(buy(), buy()))
    desk.restart()

    (again_id,) = placed_in(never_arrived(desk, first_id))

    assert lookups_in(desk.restart()) == [again_id, second_id]


def test_what_was_set_free_by_the_news_goes_out_behind_what_is_taken_again() -> None:
    """It waited while the other went out: only the restart knows of its freedom before it knows that the other never arrived."""
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000"))
    (stop,) = desk.exits(trade, attached=True)
    desk.decide(leave(trade))
    (entry_id,) = placed_in(desk.decide(buy(), strategy="b"))
    (exit_,) = desk.exits(trade)
    canceled = desk.entry(K.ORDER_CANCELED, stop)

    freed = [*desk.restart().requests, *desk.keep(desk.core.news([canceled], desk.now_ns)).requests]
    asks = [*freed, *never_arrived(desk, entry_id).requests]

    (again_id,) = [key for key, order in desk.book.orders.items() if order.renews == entry_id]
    assert placed_in(Effects(requests=tuple(asks))) == [exit_.client_order_id, again_id]
    assert placed_in(Effects(requests=tuple(desk.core.in_order(asks)))) == [again_id, exit_.client_order_id]


def test_cancels_and_orders_of_one_decision_go_out_again_as_they_did_the_first_time() -> None:
    desk = ExecutorDesk()
    first, second = (entered(desk, type=OrderType.LIMIT, price="1.09000") for _ in range(2))
    for order_id in (first, second):
        desk.accept(desk.order(order_id))
    asked = desk.decide(Cancel(client_order_id=second), buy(), Cancel(client_order_id=first)).requests

    (lookup,) = lookups_in(restarted := desk.restart())
    freed = [ask for ask in restarted.requests if not isinstance(ask, LookUpOrder)]
    again = desk.core.in_order([*freed, *never_arrived(desk, lookup).requests])

    assert [type(ask) for ask in again] == [type(ask) for ask in asked] == [PlaceOrder, CancelOrder, CancelOrder]
    assert cancels_in(Effects(requests=tuple(again))) == [second, first]


def test_attempts_have_an_end() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk)

    for attempt in range(ATTEMPTS_MAX):
        lost(desk, entry_id)
        (entry_id,) = placed_in(never_arrived(desk, entry_id))
        assert desk.order(entry_id).attempt == attempt + 1
    lost(desk, entry_id)

    assert not placed_in(never_arrived(desk, entry_id))
    assert desk.order(entry_id).status is S.NOT_SENT


def fails(desk: ExecutorDesk, entry_id: str) -> None:
    """The entry ends as never sent, and its trade and signal with it."""
    trade_id = desk.order(entry_id).trade_id or ""
    effects = never_arrived(desk, entry_id)
    assert not placed_in(effects)
    assert desk.order(entry_id).status is S.NOT_SENT
    assert desk.book.closed[trade_id].status is TradeStatus.FAILED
    (signal,) = [row for e in effects.entries for row in e.rows if type(row).__name__ == "Signal"]
    assert signal.execution_status is SignalStatus.FAILED  # type: ignore[union-attr]  # a Signal by its name


def test_once_the_market_has_moved_it_is_not_taken_again() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk)
    lost(desk, entry_id)
    desk.tick("1.10001")

    fails(desk, entry_id)


def test_on_a_live_feed_time_has_passed_and_it_is_not_taken_again() -> None:
    desk = ExecutorDesk(replayable=False)
    entry_id = entered(desk)
    lost(desk, entry_id)

    fails(desk, entry_id)


def test_what_our_own_last_check_held_back_is_not_taken_again() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk)

    effects = desk.keep(desk.core.not_sent(entry_id, "held back: paused", desk.now_ns))

    assert not placed_in(effects)
    assert desk.order(entry_id).status is S.NOT_SENT


@pytest.mark.parametrize("what", ["paused", "reduce_only", "halted"])
def test_entries_are_not_taken_again_while_none_would_be_taken(what: str) -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk)
    lost(desk, entry_id)
    if what == "paused":
        desk.keep(desk.core.pause(True, "wished", "operator", desk.now_ns))
    else:
        desk.keep(desk.core.latch(Latch(what), "wished", "operator", desk.now_ns))

    fails(desk, entry_id)


@pytest.mark.parametrize(("what", "taken"), [("paused", True), ("reduce_only", True), ("halted", False)])
def test_exits_are_taken_again_unless_nothing_may_go_out(what: str, taken: bool) -> None:
    desk = ExecutorDesk()
    (exit_id,) = placed_in(desk.decide(leave(desk.open())))
    lost(desk, exit_id)
    if what == "paused":
        desk.keep(desk.core.pause(True, "wished", "operator", desk.now_ns))
    else:
        desk.keep(desk.core.latch(Latch(what), "wished", "operator", desk.now_ns))

    assert bool(placed_in(never_arrived(desk, exit_id))) is taken


def test_an_exit_is_not_taken_again_for_a_trade_that_somebody_else_closed() -> None:
    """It would claim a closed trade, or open a position the other way."""
    desk = ExecutorDesk()
    trade = desk.open()
    (exit_id,) = placed_in(desk.decide(leave(trade)))
    lost(desk, exit_id)
    desk.fill(None, 1000, side=desk.order(exit_id).side, reason="margin_call")
    assert desk.trade(trade).status is TradeStatus.CLOSED

    assert not placed_in(never_arrived(desk, exit_id))
    assert desk.order(exit_id).status is S.NOT_SENT


def test_nor_while_another_exit_may_take_a_part_of_it() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    first_id, _ = placed_in(desk.decide(leave(trade, 600), leave(trade)))
    desk.fill(None, 300, side=desk.order(first_id).side)
    lost(desk, first_id)

    assert not placed_in(never_arrived(desk, first_id)), "300 are gone, and 400 the other exit's"


def test_an_order_that_was_to_be_canceled_is_not_taken_again() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, type=OrderType.LIMIT, price="1.09000")
    desk.decide(Cancel(client_order_id=entry_id))

    fails(desk, entry_id)


def test_proofs_about_orders_that_are_known_or_over_change_nothing() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, type=OrderType.LIMIT, price="1.09000")
    desk.accept(desk.order(entry_id))

    assert not never_arrived(desk, entry_id)
    assert not never_arrived(desk, "nobody's")
    assert not lost(desk, "nobody's")
    assert not desk.core.missing("nobody's", "", desk.now_ns)


def test_news_of_an_order_that_was_proved_unsent_halts_the_account() -> None:
    desk = ExecutorDesk(replayable=False)
    entry_id = entered(desk)
    lost(desk, entry_id)
    never_arrived(desk, entry_id)

    desk.accept(desk.order(entry_id))

    assert desk.latch() is Latch.HALTED
    assert desk.order(entry_id).status is S.NOT_SENT


def test_a_fill_of_an_order_that_was_proved_unsent_is_booked_and_halts_the_account() -> None:
    desk = ExecutorDesk(replayable=False)
    entry_id = entered(desk)
    trade_id = desk.order(entry_id).trade_id or ""
    lost(desk, entry_id)
    never_arrived(desk, entry_id)

    desk.fill(desk.order(entry_id))

    assert desk.latch() is Latch.HALTED
    assert desk.book.trades[trade_id].open_quantity == 1000
    assert desk.book.net("EUR_USD") == 1000


# --- refused and resolved ---------------------------------------------------------------------------------------------


def test_an_order_that_the_venue_refuses_without_a_record_is_rejected_and_its_exits_were_never_sent() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, stop_loss="1.09000")
    (child,) = desk.children(desk.order(entry_id))

    desk.keep(desk.core.refused(entry_id, "INSUFFICIENT_MARGIN", desk.now_ns))

    assert desk.order(entry_id).status is S.REJECTED
    assert desk.order(child.client_order_id).status is S.NOT_SENT
    assert not desk.book.trades
    assert not desk.core.refused(entry_id, "again", desk.now_ns)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (S.NOT_SENT, S.NOT_SENT),
        (S.REJECTED, S.REJECTED),
        (S.CANCELED, S.CANCELED),
        (S.EXPIRED, S.EXPIRED),
    ],
)
def test_a_person_says_what_became_of_an_unknown_order(outcome: OrderStatus, status: OrderStatus) -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, stop_loss="1.09000")
    lost(desk, entry_id)

    effects = desk.keep(desk.core.resolve(entry_id, outcome, "anna", desk.now_ns))

    assert desk.order(entry_id).status is status
    assert desk.order(entry_id).status_reason == "resolved by anna"
    assert not effects.requests
    assert not desk.book.orders, "its attached exits are over with it"


def test_what_a_person_says_of_an_entry_is_nothing_about_exits_that_the_venue_has_shown() -> None:
    """They protect what had filled; that they had ended was never said."""
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09900", stop_loss="1.09000")))
    entry = desk.order(entry_id)
    (stop,) = desk.children(entry)
    desk.accept(entry)
    desk.fill(entry, 300)
    desk.accept(stop)
    desk.keep(desk.core.missing(entry_id, "the venue does not have it", desk.now_ns))

    desk.keep(desk.core.resolve(entry_id, S.CANCELED, "anna", desk.now_ns))

    assert desk.order(entry_id).status is S.CANCELED
    assert desk.order(stop.client_order_id).status is S.ACCEPTED
    assert desk.book.trades[entry.trade_id or ""].exits_at_venue


def test_only_unknown_orders_are_resolved_and_only_as_something_that_ended() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk)

    assert not desk.core.resolve(entry_id, S.CANCELED, "anna", desk.now_ns)
    lost(desk, entry_id)
    assert not desk.core.resolve(entry_id, S.FILLED, "anna", desk.now_ns)
    assert not desk.core.resolve("nobody's", S.CANCELED, "anna", desk.now_ns)


def test_nobody_resolves_an_order_as_never_sent_that_the_venue_has_shown() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, type=OrderType.LIMIT, price="1.09000")
    desk.accept(desk.order(entry_id))
    desk.core.missing(entry_id, "gone", desk.now_ns)

    assert not desk.core.resolve(entry_id, S.NOT_SENT, "anna", desk.now_ns)
    assert desk.core.resolve(entry_id, S.CANCELED, "anna", desk.now_ns)


def test_an_exit_that_waited_for_an_order_in_doubt_goes_when_a_person_resolves_it() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000"))
    (stop,) = desk.exits(trade, attached=True)
    desk.core.missing(stop.client_order_id, "not there", desk.now_ns)
    desk.decide(leave(trade))
    (exit_,) = desk.exits(trade)

    effects = desk.core.resolve(stop.client_order_id, S.CANCELED, "anna", desk.now_ns)

    assert placed_in(effects) == [exit_.client_order_id]


# --- a restart finds an order at any stage ----------------------------------------------------------------------------


def test_an_intent_may_have_been_sent() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, stop_loss="1.09000")
    (child,) = desk.children(desk.order(entry_id))

    effects = desk.restart()

    assert desk.order(entry_id).status is S.UNKNOWN
    assert desk.order(child.client_order_id).status is S.INTENDED, "it travels with its entry"
    assert lookups_in(effects) == [entry_id]
    assert not placed_in(effects)


def test_what_is_unknown_already_is_asked_about_again() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk)
    lost(desk, entry_id)

    effects = desk.restart()

    assert lookups_in(effects) == [entry_id]
    assert not effects.entries


def test_what_works_at_the_venue_needs_no_question() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, type=OrderType.LIMIT, price="1.09000", stop_loss="1.08000")
    desk.accept(desk.order(entry_id))
    assert not desk.restart()

    desk.fill(desk.order(entry_id), 400)
    (child,) = desk.children(desk.order(entry_id))
    desk.accept(child, quantity=D(400))
    assert not desk.restart()


def test_a_cancel_that_was_asked_for_is_asked_for_again_and_an_order_nobody_has_seen_is_looked_up_too() -> None:
    desk = ExecutorDesk()
    seen = entered(desk, type=OrderType.LIMIT, price="1.09000")
    desk.accept(desk.order(seen))
    unseen = entered(desk, type=OrderType.LIMIT, price="1.08000")
    desk.decide(Cancel(client_order_id=seen), Cancel(client_order_id=unseen))

    effects = desk.restart()

    assert cancels_in(effects) == [seen, unseen]
    assert lookups_in(effects) == [unseen]
    assert desk.order(unseen).status is S.CANCEL_REQUESTED


def test_an_exit_that_waits_goes_on_waiting_and_the_cancels_are_asked_for_once() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000", take_profit="1.12000"))
    children = [o.client_order_id for o in desk.exits(trade, attached=True)]
    desk.decide(leave(trade))
    (exit_,) = desk.exits(trade)

    effects = desk.restart()

    assert sorted(cancels_in(effects)) == sorted(children)
    assert not lookups_in(effects)
    for child in children:
        effects = desk.news(K.ORDER_CANCELED, desk.order(child))
    assert placed_in(effects) == [exit_.client_order_id]


def test_an_exit_that_was_set_free_may_have_been_sent() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000"))
    (stop,) = desk.exits(trade, attached=True)
    desk.decide(leave(trade))
    (exit_,) = desk.exits(trade)
    desk.news(K.ORDER_CANCELED, stop)

    effects = desk.restart()

    assert lookups_in(effects) == [exit_.client_order_id]
    (again,) = placed_in(never_arrived(desk, exit_.client_order_id))
    assert desk.order(again).after_cancel_of == ()
    assert not placed_in(desk.news(K.DEPOSITED, amount=D(1))), "it is sent once"


def test_an_attached_exit_whose_entry_has_ended_is_asked_about_by_itself() -> None:
    desk = ExecutorDesk()
    entry_id = entered(desk, stop_loss="1.09000")
    (child,) = desk.children(desk.order(entry_id))
    desk.accept(desk.order(entry_id))
    desk.fill(desk.order(entry_id))

    effects = desk.restart()
    assert lookups_in(effects) == [child.client_order_id]

    never_arrived(desk, child.client_order_id)
    trade = desk.book.trades[child.trade_id or ""]
    assert (trade.status, trade.exits_at_venue) == (TradeStatus.OPEN, False), "the monitor keeps it, nothing is sent"


def test_after_a_restart_the_account_is_not_ready_until_somebody_says_so() -> None:
    desk = ExecutorDesk()

    desk._begin(desk.book)

    assert not desk.core.ready


def test_recovering_is_done_once() -> None:
    desk = ExecutorDesk()
    entered(desk)
    desk.restart()

    assert not desk.core.recover(desk.now_ns)


# --- rates after a restart ----------------------------------------------------------------------------------------------


def busy(desk: ExecutorDesk) -> None:
    """Orders of every origin, cancels, amendments, a denial, and a renewal."""
    trade = desk.open(buy(stop_loss="1.09000"))
    working = entered(desk, type=OrderType.LIMIT, price="1.09000")
    desk.accept(desk.order(working))
    desk.decide(Cancel(client_order_id=working), MoveStop(trade_id=trade.trade_id, stop_loss=D("1.09500")))
    lost_id = entered(desk)
    lost(desk, lost_id)
    never_arrived(desk, lost_id)
    desk.core.pause(True, "", "anna", desk.now_ns)
    desk.decide(buy(), leave(trade))


def test_what_went_out_since_the_cut_counts_as_it_did_the_first_time() -> None:
    limits = RiskLimits(orders_per_minute=100, messages_per_second=100, orders_per_second=100)
    desk = ExecutorDesk(limits=limits)
    busy(desk)
    counted = desk.core.gate.rates

    desk._begin(Book())
    entries = fold(desk.book, [(n, r.decode_record(row)) for n, row in enumerate(desk.journal, 1)]).entries
    desk.core.resume({}, 0, entries)

    again = desk.core.gate.rates
    for name in ("orders_second", "orders_minute", "messages_second"):
        one, other = getattr(counted, name), getattr(again, name)
        assert sorted(one.times) == sorted(other.times), name
    assert again.messages_second is not None
    assert len(again.messages_second.times) == 7, "4 orders, 2 cancels and a moved stop"
