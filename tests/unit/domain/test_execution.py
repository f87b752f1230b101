"""Decisions become intents: what is taken, what is denied, and who may close what."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.unit.domain.executor_desk import EUR, ExecutorDesk, K, buy, cancels_in, leave, placed_in, records_in, sell
from tradekeel.domain import records as r
from tradekeel.domain.account import SAMPLES_WAITING_MAX
from tradekeel.domain.effects import PlaceOrder
from tradekeel.domain.messages import Cancel, Emit, SetTimer, SignalStatus, Stamp
from tradekeel.domain.orders import OrderStatus, OrderType, Purpose, Side
from tradekeel.domain.positions import Quote
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.trades import CloseReason, TradeStatus
from tradekeel.errors import Defect

D = Decimal
S = OrderStatus


# --- entries ----------------------------------------------------------------------------------------------------------


def test_an_entry_that_passes_is_a_signal_an_intent_a_trade_and_a_request() -> None:
    desk = ExecutorDesk()

    effects = desk.decide(buy(1000, stop_loss="1.09000", take_profit="1.12000"))

    (entry,) = effects.entries
    taken = entry.record
    assert isinstance(taken, r.DecisionTaken)
    assert [o.status for o in taken.orders] == [S.INTENDED] * 3
    assert [o.purpose for o in taken.orders] == [Purpose.ENTRY, Purpose.EXIT, Purpose.EXIT]
    assert [s.execution_status for s in taken.signals] == [SignalStatus.ORDERED]
    assert [t.status for t in taken.trades] == [TradeStatus.PENDING]
    (ask,) = effects.requests
    assert isinstance(ask, PlaceOrder)
    assert ask.adds_exposure
    assert [(a.type, a.stop_price or a.price) for a in ask.request.attached] == [
        (OrderType.STOP, D("1.09000")),
        (OrderType.LIMIT, D("1.12000")),
    ]
    assert [(c.owner, c.position, c.state) for c in effects.checkpoints] == [("a", 1, b"state")]


def test_an_entry_that_is_denied_is_recorded_with_the_reason_and_nothing_is_sent() -> None:
    desk = ExecutorDesk(limits=RiskLimits(quantity_max=D(500)))

    effects = desk.decide(buy(1000))

    (entry,) = effects.entries
    taken = entry.record
    assert isinstance(taken, r.DecisionTaken)
    (order,), (signal,) = taken.orders, taken.signals
    assert order.status is S.DENIED
    assert "quantity_max" in order.status_reason
    assert order.trade_id is None
    assert signal.execution_status is SignalStatus.DENIED
    assert not taken.trades
    assert not effects.requests
    assert effects.checkpoints, "the strategy's state is saved all the same"


def test_a_price_beyond_the_collar_that_is_no_whole_tenth_of_a_pip_is_denied() -> None:
    desk = ExecutorDesk(limits=RiskLimits(price_collar_pips=D(5)))

    desk.decide(buy(type=OrderType.LIMIT, price="1.098765"))

    (denied,) = desk.book.ended.values()
    assert denied.status_reason == "price_collar: 1.098765 is away from the quote by 12.4 pips, allowed are 5"


def test_entries_of_one_decision_count_for_each_other() -> None:
    desk = ExecutorDesk(limits=RiskLimits(position_max=D(1500)))

    effects = desk.decide(buy(1000), buy(1000), buy(500))

    statuses = [o.status for o in desk.book.ended.values()] + [o.status for o in desk.book.orders.values()]
    assert statuses == [S.DENIED, S.INTENDED, S.INTENDED]
    assert [a.request.quantity for a in effects.requests if isinstance(a, PlaceOrder)] == [1000, 500]


@pytest.mark.parametrize(("most", "open_"), [(2, 0), (3, 3), (5, 3), (6, 6)])
def test_an_entry_counts_as_an_open_order_with_its_exits_and_those_of_entries_before_it(most: int, open_: int) -> None:
    desk = ExecutorDesk(limits=RiskLimits(open_orders_max=most))

    desk.decide(buy(stop_loss="1.09", take_profit="1.12"), buy(stop_loss="1.09", take_profit="1.12"))

    assert len(desk.book.orders) == open_


def test_exits_of_the_same_decision_are_open_orders_too() -> None:
    desk = ExecutorDesk(limits=RiskLimits(open_orders_max=2))
    trade = desk.open()

    desk.decide(leave(trade, 400), leave(trade, 600), buy())

    (denied,) = (o for o in desk.book.ended.values() if o.status is S.DENIED)
    assert denied.status_reason == "open_orders_max: 3 orders would be open, allowed are 2"


@given(
    st.lists(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=5), min_size=1, max_size=4),
    st.integers(1, 12),
    st.booleans(),
)
def test_entries_never_leave_more_orders_open_than_allowed(
    decisions: list[list[tuple[bool, bool, bool]]], most: int, at_venue: bool
) -> None:
    desk = ExecutorDesk(limits=RiskLimits(open_orders_max=most), at_venue=at_venue)
    levels: dict[str, Any] = {"stop_loss": "1.09", "take_profit": "1.12", "trailing_distance": "0.01"}
    for number, wishes in enumerate(decisions, start=1):
        entries = [buy(**{k: v for (k, v), on in zip(levels.items(), wish, strict=True) if on}) for wish in wishes]
        room = most - len(desk.book.orders)

        desk.decide(*entries)

        assert len(desk.book.orders) <= most
        if at_venue and sum(1 + sum(wish) for wish in wishes) <= room:
            denied = [o for o in desk.book.ended.values() if o.decision == number]
            assert not denied, "where there is room for all, all are taken"


@pytest.mark.parametrize("at_venue", [True, False], ids=["exits at the venue", "exits at the monitor"])
@pytest.mark.parametrize(("units", "status"), [(1500, S.INTENDED), (1501, S.DENIED)])
def test_an_exit_of_the_same_decision_counts_once_for_what_a_flip_comes_to(
    at_venue: bool, units: int, status: OrderStatus
) -> None:
    desk = ExecutorDesk(limits=RiskLimits(position_max=D(1500)), at_venue=at_venue)
    trade = desk.open(buy(1000, stop_loss="1.09", take_profit="1.12"))

    desk.decide(leave(trade), sell(units))

    (flip,) = (
        o for o in (desk.book.orders | desk.book.ended).values() if o.decision == 2 and o.purpose is Purpose.ENTRY
    )
    assert flip.status is status


def test_an_entry_counts_against_every_limit_that_looks_at_value() -> None:
    desk = ExecutorDesk(limits=RiskLimits(notional_max=D(1000), exposure_max=D(5000), open_orders_max=1))

    desk.decide(buy(1000))

    (denied,) = desk.book.ended.values()
    assert denied.status_reason.startswith("notional_max")


def test_an_instrument_without_a_way_to_the_accounts_currency_has_no_rate() -> None:
    desk = ExecutorDesk(limits=RiskLimits(notional_max=D(1000)), symbols=("EUR_GBP",))
    desk.core.quotes["EUR_GBP"] = desk.core.quotes[EUR]

    desk.decide(buy(500, instrument="EUR_GBP"))

    (denied,) = desk.book.ended.values()
    assert denied.status_reason.startswith("rate_missing")


def test_a_value_in_another_currency_is_converted_at_the_last_quotes() -> None:
    desk = ExecutorDesk(limits=RiskLimits(notional_max=D(1000)), symbols=("EUR_GBP", "GBP_USD"))
    desk.core.quotes["EUR_GBP"] = Quote(D("0.80000"), D("0.80010"), desk.now_ns)
    desk.core.quotes["GBP_USD"] = Quote(D("1.60000"), D("1.60010"), desk.now_ns)

    desk.decide(buy(500, instrument="EUR_GBP"), buy(800, instrument="EUR_GBP"))

    (denied,) = desk.book.ended.values()
    assert denied.quantity == 800
    assert denied.status_reason.startswith("notional_max: the order is worth 1024.")


def test_what_is_held_counts_for_what_all_positions_may_come_to() -> None:
    desk = ExecutorDesk(limits=RiskLimits(exposure_max=D(2000)))
    desk.open()

    desk.decide(buy(1000))

    (denied,) = [o for o in desk.book.ended.values() if o.status is S.DENIED]
    assert denied.status_reason.startswith("exposure_max")


def test_what_is_held_counts_for_what_one_position_may_come_to() -> None:
    desk = ExecutorDesk(limits=RiskLimits(position_notional_max=D(2000)))
    desk.open()

    desk.decide(buy(1000))

    (denied,) = [o for o in desk.book.ended.values() if o.status is S.DENIED]
    assert denied.status_reason.startswith("position_notional_max")


def test_all_legs_have_ids_of_their_own() -> None:
    desk = ExecutorDesk()
    trade = desk.open()

    desk.decide(buy(stop_loss="1.09000"), buy(take_profit="1.11000"), leave(trade))
    desk.decide(buy(), strategy="b")

    known = [*desk.book.orders, *desk.book.ended]
    assert len(known) == len(set(known)) == 7
    assert all(len(i) <= 32 and i.startswith("tk") for i in known)


def test_a_live_entry_carries_the_moment_after_which_it_is_not_sent() -> None:
    desk = ExecutorDesk(send_within_ns=5)

    (ask,) = desk.decide(buy()).requests

    assert isinstance(ask, PlaceOrder)
    assert ask.deadline_ns == desk.now_ns + 5


def test_entries_wait_for_a_strategy_to_be_warm_and_exits_do_not() -> None:
    desk = ExecutorDesk()
    trade = desk.open()

    effects = desk.decide(buy(), leave(trade), warm=False)

    (denied,) = [o for o in desk.book.ended.values() if o.status is S.DENIED]
    assert denied.status_reason.startswith("not_ready")
    assert placed_in(effects) == [o.client_order_id for o in desk.exits(trade)]


def test_an_unknown_instrument_is_a_defect_of_whoever_let_it_through() -> None:
    with pytest.raises(Defect, match="XAU_USD"):
        ExecutorDesk().decide(buy(instrument="XAU_USD"))


def test_events_are_numbered_across_decisions_and_timers_are_the_strategists_business() -> None:
    desk = ExecutorDesk()

    desk.decide(Emit(type="one"), Emit(type="two", data={"n": 2}))
    desk.decide(SetTimer(name="t", at_ns=1), Emit(type="three"))

    events = [e for row in desk.journal for e in getattr(r.decode_record(row), "events", ())]
    assert [(e.sequence, e.type) for e in events] == [(1, "one"), (2, "two"), (3, "three")]


# --- the same decision twice ------------------------------------------------------------------------------------------


def test_a_decision_that_is_known_changes_nothing() -> None:
    desk = ExecutorDesk()
    desk.decide(buy(), number=1)
    before = desk.book.save()

    assert not desk.decide(buy(), number=1)
    assert desk.book.save() == before


def test_a_known_number_with_other_content_is_a_defect() -> None:
    desk = ExecutorDesk()
    desk.decide(buy(1000), number=1)

    with pytest.raises(Defect, match="twice with different content"):
        desk.decide(buy(1001), number=1)


def test_the_same_requests_at_another_tick_are_other_content() -> None:
    desk = ExecutorDesk()
    desk.decide(buy(), number=1)
    desk.tick("1.10000")

    with pytest.raises(Defect, match="twice with different content"):
        desk.decide(buy(), number=1)


def test_numbers_go_on_without_a_gap() -> None:
    desk = ExecutorDesk()
    desk.decide(buy(), number=1)

    with pytest.raises(Defect, match="decision 3 of a follows decision 1"):
        desk.decide(buy(), number=3)


def test_nothing_is_decided_before_reconciliation_or_for_a_stranger() -> None:
    desk = ExecutorDesk()
    with pytest.raises(Defect, match="never registered"):
        desk.decide(buy(), strategy="c")
    desk.core.ready = False
    with pytest.raises(Defect, match="before reconciliation"):
        desk.decide(buy())


# --- exits ------------------------------------------------------------------------------------------------------------


def asked(desk: ExecutorDesk) -> list[tuple[str, int]]:
    """The live exits that are not attached: trade and quantity, in the order in which they were made."""
    return [(o.trade_id or "", int(o.quantity)) for o in desk.book.orders.values() if o.purpose is Purpose.EXIT]


def test_an_exit_without_a_trade_closes_the_strategys_trades_first_in_first_out() -> None:
    desk = ExecutorDesk()
    first, _, second = desk.open(), desk.open(strategy="b"), desk.open()

    desk.decide(leave(quantity=1400))

    assert asked(desk) == [(first.trade_id, 1000), (second.trade_id, 400)]


def test_an_exit_by_trade_closes_that_trade_and_only_if_it_is_the_strategys_own() -> None:
    desk = ExecutorDesk()
    desk.open()
    mine, theirs = desk.open(), desk.open(strategy="b")

    desk.decide(leave(mine), leave(theirs))

    assert asked(desk) == [(mine.trade_id, 1000)]


def test_an_exit_takes_no_more_than_is_held_and_two_in_one_decision_share_it() -> None:
    desk = ExecutorDesk()
    trade = desk.open()

    desk.decide(leave(trade, 600), leave(trade, 600), leave(trade, 600))

    assert asked(desk) == [(trade.trade_id, 600), (trade.trade_id, 400)]


def test_an_exit_of_what_is_not_held_any_more_or_not_yet_is_nothing() -> None:
    desk = ExecutorDesk()
    pending = desk.order(placed_in(desk.decide(buy()))[0])
    trade = desk.book.trades[pending.trade_id or ""]

    effects = desk.decide(leave(trade), leave(structs.replace(trade, trade_id="gone")), leave())

    assert not effects.requests


def test_the_trade_is_closing_while_an_exit_holds_the_claim_and_free_when_it_ends() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    desk.decide(leave(trade, 600))
    (exit_,) = desk.exits(trade)
    assert desk.trade(trade).status is TradeStatus.CLOSING

    desk.accept(exit_)
    desk.news(K.ORDER_REJECTED, exit_, reason="no")

    assert desk.trade(trade).status is TradeStatus.OPEN
    assert desk.book.closable(desk.trade(trade)) == 1000


def test_of_three_parties_that_want_out_one_gets_the_claim() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open(buy(stop_loss="1.09000"))

    by_strategy = desk.decide(leave(trade))
    by_monitor = desk.keep(desk.core.exit_trades([(trade.trade_id, "stop_loss")], "monitor", desk.now_ns))
    by_person = desk.keep(desk.core.exit_trades([(trade.trade_id, "manual")], "operator", desk.now_ns))

    assert [len(placed_in(e)) for e in (by_strategy, by_monitor, by_person)] == [1, 0, 0]
    assert not by_monitor
    assert not by_person


def test_the_rest_of_a_trade_can_be_claimed_by_the_next_party() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    desk.decide(leave(trade, 300))

    desk.keep(desk.core.exit_trades([(trade.trade_id, "manual")], "operator", desk.now_ns))

    assert {(o.source, o.quantity, o.close_reason) for o in desk.exits(trade)} == {
        ("strategy", D(300), "signal"),
        ("operator", D(700), "manual"),
    }


def test_an_exit_in_doubt_keeps_the_claim_until_somebody_knows() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    desk.decide(leave(trade))
    (exit_,) = desk.exits(trade)
    desk.keep(desk.core.lost(exit_.client_order_id, "timeout", desk.now_ns))

    assert not placed_in(desk.decide(leave(trade)))

    desk.tick("1.09990")  # too late to take the same decision again
    desk.keep(desk.core.not_sent(exit_.client_order_id, "proved", desk.now_ns, never_arrived=True))
    assert len(placed_in(desk.decide(leave(trade)))) == 1


def test_an_exit_that_the_monitor_or_a_person_asks_for_of_an_unknown_trade_is_nothing() -> None:
    desk = ExecutorDesk()

    assert not desk.core.exit_trades([("nobody", "manual")], "operator", desk.now_ns)


def test_a_message_rate_denies_exits_too_and_the_denial_names_the_trade() -> None:
    desk = ExecutorDesk(limits=RiskLimits(messages_per_second=1))
    trade = desk.open()

    desk.decide(leave(trade))
    effects = desk.keep(desk.core.exit_trades([(trade.trade_id, "manual")], "operator", desk.now_ns))

    denied = [o for o in desk.book.ended.values() if o.status is S.DENIED]
    assert [(o.trade_id, o.source) for o in denied] == [(trade.trade_id, "strategy"), (trade.trade_id, "operator")]
    assert not effects.requests
    assert desk.trade(trade).status is TradeStatus.OPEN


def test_why_a_trade_was_closed_is_what_asked_for_the_exit() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open()
    desk.keep(desk.core.exit_trades([(trade.trade_id, "time")], "monitor", desk.now_ns))

    desk.fill(desk.exits(trade)[0], price="1.20000")

    closed = desk.trade(trade)
    assert (closed.status, closed.exit_reason) == (TradeStatus.CLOSED, CloseReason.TIME)
    assert closed.pnl > 0


# --- reduce-only ------------------------------------------------------------------------------------------------------


def reduce_only(desk: ExecutorDesk) -> list[bool]:
    return [o.reduce_only for o in desk.book.orders.values() if o.purpose is Purpose.EXIT and o.parent_id is None]


def test_an_exit_that_reduces_the_net_says_so() -> None:
    desk = ExecutorDesk()
    desk.decide(leave(desk.open()))

    assert reduce_only(desk) == [True]


def test_an_exit_that_would_add_to_the_net_does_not() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open()
    desk.open(sell(1500), strategy="b")

    desk.decide(leave(trade))

    assert reduce_only(desk) == [False]


def test_nor_does_one_for_which_the_exits_before_it_leave_no_room() -> None:
    """500 net: the venue would drop the second of two reduce-only exits of 500."""
    desk = ExecutorDesk(at_venue=False)
    first, second = desk.open(buy(500)), desk.open(buy(500))
    desk.open(sell(500), strategy="b")

    desk.decide(leave(first), leave(second))

    assert reduce_only(desk) == [True, False]


def test_nor_does_one_that_a_working_order_of_another_strategy_may_overtake() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open(buy(1000))
    desk.decide(sell(400, type=OrderType.LIMIT, price="1.10100"), strategy="b")

    desk.decide(leave(trade))

    assert reduce_only(desk) == [False]


def test_on_a_hedging_account_an_exit_always_reduces_its_own_position() -> None:
    desk = ExecutorDesk(hedging=True, at_venue=False)
    trade = desk.open(ref="p1")
    desk.open(sell(5000), strategy="b", ref="p2")

    (ask,) = desk.decide(leave(trade)).requests

    assert isinstance(ask, PlaceOrder)
    assert (ask.request.reduce_only, ask.request.position_ref) == (True, "p1")


# --- an entry that still works ----------------------------------------------------------------------------------------


def half_filled(desk: ExecutorDesk) -> tuple[str, str]:
    """A limit entry for 1000 of which 400 are filled: its order and its trade."""
    (entry_id,) = placed_in(desk.decide(buy(1000, type=OrderType.LIMIT, price="1.09990")))
    entry = desk.order(entry_id)
    desk.accept(entry)
    desk.fill(entry, 400)
    return entry_id, entry.trade_id or ""


def test_an_exit_of_all_that_is_held_ends_the_entry_first() -> None:
    desk = ExecutorDesk(at_venue=False)
    entry_id, trade_id = half_filled(desk)

    effects = desk.decide(leave(desk.book.trades[trade_id]))

    assert cancels_in(effects) == [entry_id]
    assert records_in(effects) == ["decision_taken", "request_cancel"]
    (exit_,) = desk.exits(desk.book.trades[trade_id])
    desk.news(K.ORDER_CANCELED, desk.order(entry_id))
    desk.fill(exit_, 400)
    assert desk.book.closed[trade_id].status is TradeStatus.CLOSED


def test_an_exit_of_a_part_leaves_the_entry_working() -> None:
    desk = ExecutorDesk(at_venue=False)
    _, trade_id = half_filled(desk)

    assert not cancels_in(desk.decide(leave(desk.book.trades[trade_id], 100)))


def test_a_fill_that_overtakes_the_cancel_stays_a_trade_that_is_watched() -> None:
    desk = ExecutorDesk(at_venue=False)
    entry_id, trade_id = half_filled(desk)
    desk.decide(leave(desk.book.trades[trade_id]))
    (exit_,) = desk.exits(desk.book.trades[trade_id])

    desk.fill(desk.order(entry_id), 600)
    desk.fill(exit_, 400)

    left = desk.book.trades[trade_id]
    assert (left.status, left.open_quantity) == (TradeStatus.OPEN, D(600))


# --- cancels ----------------------------------------------------------------------------------------------------------


def working(desk: ExecutorDesk, strategy: str = "a") -> str:
    """A limit entry that works at the venue."""
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09000"), strategy=strategy))
    desk.accept(desk.order(entry_id))
    return entry_id


def test_a_cancel_is_recorded_before_it_is_asked_for() -> None:
    desk = ExecutorDesk()
    entry_id = working(desk)

    effects = desk.decide(Cancel(client_order_id=entry_id))

    assert desk.order(entry_id).status is S.CANCEL_REQUESTED
    assert cancels_in(effects) == [entry_id]
    assert cancels_in(desk.restart()) == [entry_id], "a kill in between does not forget it"


def test_a_cancel_of_an_order_that_nobody_has_answered_is_not_forgotten_either() -> None:
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09000")))

    effects = desk.decide(Cancel(client_order_id=entry_id))

    assert records_in(effects) == ["decision_taken", "submit", "request_cancel"]
    assert cancels_in(effects) == [entry_id]
    desk.accept(desk.order(entry_id))
    assert desk.order(entry_id).status is S.CANCEL_REQUESTED


def test_a_strategy_cancels_its_own_orders_only() -> None:
    desk = ExecutorDesk(at_venue=False)
    theirs = working(desk, "b")
    trade = desk.open(buy(500))
    desk.keep(desk.core.exit_trades([(trade.trade_id, "stop_loss")], "monitor", desk.now_ns))
    (exit_,) = desk.exits(trade)

    effects = desk.decide(*(Cancel(client_order_id=i) for i in (theirs, exit_.client_order_id, "unknown")))

    assert not effects.requests, "neither another strategy's order nor the monitor's exit of its own trade"


def test_an_attached_exit_goes_with_an_entry_that_is_not_sent_yet_and_can_be_canceled_afterwards() -> None:
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(stop_loss="1.09000")))
    entry = desk.order(entry_id)
    (child,) = desk.children(entry)
    assert not desk.decide(Cancel(client_order_id=child.client_order_id)).requests

    desk.accept(entry)
    effects = desk.decide(Cancel(client_order_id=child.client_order_id))

    assert cancels_in(effects) == [child.client_order_id]


def test_a_refused_cancel_of_an_order_that_nobody_has_seen_makes_it_unknown_and_it_is_looked_up() -> None:
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09000")))
    desk.decide(Cancel(client_order_id=entry_id))

    effects = desk.news(K.CANCEL_REFUSED, desk.order(entry_id), reason="ORDER_NOT_FOUND")

    assert desk.order(entry_id).status is S.UNKNOWN
    assert [type(ask).__name__ for ask in effects.requests] == ["LookUpOrder"]


def test_a_refused_cancel_of_a_working_order_leaves_it_working() -> None:
    desk = ExecutorDesk()
    entry_id = working(desk)
    desk.decide(Cancel(client_order_id=entry_id))

    effects = desk.news(K.CANCEL_REFUSED, desk.order(entry_id), reason="too late")

    assert desk.order(entry_id).status is S.ACCEPTED
    assert not effects.requests


def test_a_person_cancels_what_adds_exposure_or_everything() -> None:
    desk = ExecutorDesk()
    entry_id = working(desk)
    trade = desk.open(buy(stop_loss="1.09000"))
    (stop,) = desk.exits(trade, attached=True)

    assert cancels_in(desk.core.cancel_entries("wished", desk.now_ns)) == [entry_id]
    assert cancels_in(desk.core.end("wished", desk.now_ns)) == [
        entry_id,
        stop.client_order_id,
    ]


def test_a_short_trade_is_closed_by_a_buy_at_the_ask() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open(sell())

    desk.decide(leave(trade))

    (exit_,) = desk.exits(trade)
    assert exit_.side is Side.BUY
    assert exit_.reference_price == D("1.10010")


def test_a_part_of_a_trade_is_closed_in_whole_steps_never_more_than_was_asked_for() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(1000))

    desk.decide(structs.replace(leave(trade), quantity=D(1000) / D(3)))

    (exit_,) = desk.exits(trade)
    assert exit_.quantity == D(333)


def test_an_exit_of_less_than_a_step_is_denied_with_the_reason() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(1000))

    effects = desk.decide(structs.replace(leave(trade), quantity=D("0.3")))

    assert not placed_in(effects)
    (taken,) = effects.entries
    assert isinstance(taken.record, r.DecisionTaken)
    (denied,) = taken.record.orders
    assert (denied.status, denied.quantity) == (S.DENIED, D("0.3"))
    assert denied.status_reason == "quantity_invalid: EUR_USD is traded in steps of 1 units, found 0.3"


# --- sampled ticks ----------------------------------------------------------------------------------------------------


def ticks_at(*positions: int) -> list[r.TickSampled]:
    return [r.TickSampled(ts_ns=n, instrument="EUR_USD", position=n, bid=D("1.1"), ask=D("1.2")) for n in positions]


def journaled(desk: ExecutorDesk) -> list[tuple[int, int]]:
    effects = desk.keep(desk.core.journal_samples())
    assert not effects.requests
    return [(e.record.position, e.record.stamp) for e in effects.entries if isinstance(e.record, r.TickSampled)]


def test_sampled_ticks_wait_and_are_journaled_together_where_the_account_stands_then() -> None:
    desk = ExecutorDesk()
    assert not desk.core.sample(ticks_at(4))
    assert not desk.core.sample(ticks_at(8))
    desk.core.at(Stamp.after(9))
    assert journaled(desk) == [(4, Stamp.after(9)), (8, Stamp.after(9))]
    assert journaled(desk) == []


def test_a_sampled_tick_is_journaled_once_however_often_the_feed_comes_to_it() -> None:
    desk = ExecutorDesk()
    desk.core.sample(ticks_at(4, 8))
    desk.core.sample(ticks_at(4, 8, 12))
    assert [position for position, _ in journaled(desk)] == [4, 8, 12]
    desk.core.sample(ticks_at(8, 12, 16))
    assert [position for position, _ in journaled(desk)] == [16]
    desk.core.sample(ticks_at(20))  # not durable when the process ends, and then not gone: the feed comes to it again
    desk.restart()
    desk.core.sample(ticks_at(12, 16, 20))
    assert [position for position, _ in journaled(desk)] == [20]


def test_so_many_wait_and_no_more() -> None:
    desk = ExecutorDesk()
    assert not desk.core.sample(ticks_at(*range(1, SAMPLES_WAITING_MAX)))
    effects = desk.keep(desk.core.sample(ticks_at(SAMPLES_WAITING_MAX)))
    assert len(effects.entries) == SAMPLES_WAITING_MAX
    assert journaled(desk) == []
