"""What somebody wants stands until it is answered or taken back: through doubt, a halt, a kill, and news in between."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.unit.domain.executor_desk import (
    ExecutorDesk,
    K,
    amends_in,
    buy,
    cancels_in,
    leave,
    lookups_in,
    placed_in,
)
from tradekeel.domain import records as r
from tradekeel.domain.effects import CancelOrder, Effects, PlaceOrder
from tradekeel.domain.messages import Cancel, Emit, MoveStop
from tradekeel.domain.orders import Order, OrderStatus, OrderType
from tradekeel.domain.rows import Latch
from tradekeel.domain.trades import CloseReason, Trade, TradeStatus

D = Decimal
S = OrderStatus


def limit_entry(desk: ExecutorDesk) -> str:
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09900")))
    return entry_id


def halt(desk: ExecutorDesk) -> Effects:
    return desk.keep(desk.core.latch(Latch.HALTED, "enough", "anna", desk.now_ns))


def release(desk: ExecutorDesk) -> Effects:
    return desk.keep(desk.core.release("looked", "anna", desk.now_ns))


def flatten(desk: ExecutorDesk) -> Effects:
    return desk.keep(desk.core.flatten("anna", desk.now_ns))


def resume(desk: ExecutorDesk) -> Effects:
    return desk.keep(desk.core.pause(False, "go on", "anna", desk.now_ns))


def never_arrived(desk: ExecutorDesk, order_id: str) -> Effects:
    return desk.keep(desk.core.not_sent(order_id, "proved", desk.now_ns, never_arrived=True))


# --- the cancel of an order in doubt ----------------------------------------------------------------------------------


def in_doubt(desk: ExecutorDesk) -> str:
    entry_id = limit_entry(desk)
    desk.keep(desk.core.lost(entry_id, "timeout", desk.now_ns))
    return entry_id


@pytest.mark.parametrize("killed", [False, True])
def test_an_unknown_order_that_was_to_be_canceled_is_canceled_when_it_turns_up(killed: bool) -> None:
    desk = ExecutorDesk()
    entry_id = in_doubt(desk)
    assert cancels_in(desk.decide(Cancel(client_order_id=entry_id))) == [entry_id]
    assert desk.order(entry_id).status is S.UNKNOWN, "that is still what it is"

    if killed:
        again = desk.restart()
        assert (cancels_in(again), lookups_in(again)) == ([entry_id], [entry_id])
    refused = desk.news(K.CANCEL_REFUSED, desk.order(entry_id), reason="not known")  # it has overtaken the order
    assert lookups_in(refused) == [entry_id]

    assert cancels_in(desk.accept(desk.order(entry_id))) == [entry_id]
    assert desk.order(entry_id).status is S.CANCEL_REQUESTED
    desk.news(K.ORDER_CANCELED, desk.order(entry_id))
    assert desk.order(entry_id).status is S.CANCELED
    assert not desk.book.cancels_wanted


def test_the_wish_is_told_once_however_often_it_is_wished() -> None:
    desk = ExecutorDesk()
    entry_id = in_doubt(desk)
    desk.decide(Cancel(client_order_id=entry_id))
    kept = len(desk.journal)

    halt(desk)

    assert [type(r.decode_record(row)) for row in desk.journal[kept:]] == [r.LatchChanged]


def test_an_order_that_the_venue_lost_while_its_cancel_was_under_way_is_canceled_when_it_turns_up() -> None:
    desk = ExecutorDesk()
    entry_id = limit_entry(desk)
    desk.accept(desk.order(entry_id))
    desk.decide(Cancel(client_order_id=entry_id))

    desk.keep(desk.core.missing(entry_id, "not among its orders", desk.now_ns))
    desk.restart()

    assert desk.order(entry_id).status is S.UNKNOWN
    assert cancels_in(desk.fill(desk.order(entry_id), quantity=400)) == [entry_id]
    assert desk.order(entry_id).status is S.CANCEL_REQUESTED


@pytest.mark.parametrize("ended_by", [(halt, release), (flatten, resume)], ids=["a kill", "a flatten"])
def test_an_entry_in_doubt_that_somebody_ended_is_not_decided_anew(ended_by: tuple) -> None:
    desk = ExecutorDesk()
    (entry_id,) = placed_in(desk.decide(buy()))
    desk.restart()  # killed before it was sent
    for act in ended_by:
        act(desk)

    assert not placed_in(never_arrived(desk, entry_id))
    assert desk.order(entry_id).status is S.NOT_SENT


# --- a halt leaves protective orders where they are -------------------------------------------------------------------


def leaving(desk: ExecutorDesk) -> tuple[Trade, Order, Order]:
    """An open trade, its stop, and the exit that waits for that stop's end."""
    trade = desk.open(buy(stop_loss="1.09000"))
    desk.decide(leave(trade))
    (stop,), (exit_,) = desk.exits(trade, attached=True), desk.exits(trade)
    return trade, stop, exit_


def test_a_halt_takes_back_the_cancel_of_a_stop_whose_exit_it_gives_up() -> None:
    desk = ExecutorDesk()
    _, stop, exit_ = leaving(desk)
    asked = CancelOrder(stop.client_order_id, protective=True)
    assert desk.core.is_wanted(asked)

    halt(desk)

    assert desk.order(exit_.client_order_id).status is S.NOT_SENT
    assert desk.order(stop.client_order_id).status is S.ACCEPTED
    assert not desk.core.is_wanted(asked), "whatever of it has not gone out yet stays here"
    assert not desk.core.cancel_again(stop.client_order_id, desk.now_ns), "nor is it asked for again"


@pytest.mark.parametrize("killed", [False, True])
def test_nothing_of_it_is_left_behind_the_release(killed: bool) -> None:
    desk = ExecutorDesk()
    trade, stop, _ = leaving(desk)
    halt(desk)
    if killed:
        assert not cancels_in(desk.restart())

    assert not release(desk).requests
    assert not cancels_in(desk.restart())
    assert desk.order(stop.client_order_id).status is S.ACCEPTED
    assert desk.trade(trade).exits_at_venue
    assert len(cancels_in(desk.decide(leave(trade)))) == 1, "and a new exit takes its place as any other"


def test_a_stop_whose_cancel_had_left_before_the_halt_ends_and_the_monitor_has_the_trade() -> None:
    desk = ExecutorDesk()
    trade, stop, _ = leaving(desk)
    halt(desk)

    desk.news(K.ORDER_CANCELED, desk.order(stop.client_order_id))

    assert not desk.trade(trade).exits_at_venue
    assert desk.latch() is Latch.HALTED


def test_while_halted_a_strategy_takes_no_stop_away_and_the_end_of_the_run_does() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000"))
    (stop,) = desk.exits(trade, attached=True)
    halt(desk)

    assert not cancels_in(desk.decide(Cancel(client_order_id=stop.client_order_id)))
    ending = desk.keep(desk.core.end("the feed has ended", desk.now_ns))

    assert ending.requests == (CancelOrder(stop.client_order_id, protective=False),)
    assert desk.core.is_wanted(ending.requests[0])


def test_an_order_that_went_into_doubt_before_its_turn_is_asked_about_and_not_sent() -> None:
    desk = ExecutorDesk()
    effects = desk.decide(buy())
    (entry_id,) = placed_in(effects)
    (asked,) = (ask for ask in effects.requests if isinstance(ask, PlaceOrder))
    assert desk.core.is_wanted(asked)

    desk.keep(desk.core.lost(entry_id, "timeout", desk.now_ns))

    assert not desk.core.is_wanted(asked)


# --- flatten stands until somebody resumes ----------------------------------------------------------------------------


def manual_exits(desk: ExecutorDesk, trade: Trade) -> list[Order]:
    return [o for o in desk.exits(trade) if o.close_reason == CloseReason.MANUAL]


def test_an_entry_that_fills_behind_a_flatten_is_closed_and_so_is_each_further_part_of_it() -> None:
    desk = ExecutorDesk()
    entry_id = limit_entry(desk)
    desk.accept(desk.order(entry_id))
    assert cancels_in(flatten(desk)) == [entry_id]

    for part in (400, 600):
        effects = desk.fill(desk.order(entry_id), quantity=part, price="1.09900")
        (exit_id,) = placed_in(effects)
        assert desk.order(exit_id).quantity == part

    (trade,) = desk.book.trades.values()
    assert sum(o.quantity for o in manual_exits(desk, trade)) == trade.open_quantity == 1000


@pytest.mark.parametrize("replayable", [False, True])
def test_an_exit_of_a_flatten_that_never_arrived_is_asked_for_anew(replayable: bool) -> None:
    desk = ExecutorDesk(at_venue=False, replayable=replayable)
    trade = desk.open(buy())
    (exit_id,) = placed_in(flatten(desk))
    desk.tick("1.10000")
    desk.decide(Emit(type="note"), strategy="b")  # the market has moved on: the same decision is not taken again
    desk.restart()

    (again,) = placed_in(never_arrived(desk, exit_id))

    assert again != exit_id
    assert desk.trade(trade).status is TradeStatus.CLOSING


def test_what_an_exit_of_a_flatten_has_left_is_asked_for_unless_it_closed_nothing() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open(buy())
    (first,) = placed_in(flatten(desk))
    desk.accept(desk.order(first))
    desk.fill(desk.order(first), quantity=400)

    (second,) = placed_in(desk.news(K.ORDER_CANCELED, desk.order(first)))
    assert desk.order(second).quantity == 600

    assert not placed_in(desk.news(K.ORDER_REJECTED, desk.order(second))), "a venue that says no is not asked for ever"
    assert desk.trade(trade).open_quantity == 600
    assert len(placed_in(desk.restart())) == 1, "but once by each start"


def test_an_account_that_is_halted_is_closed_when_it_is_released() -> None:
    desk = ExecutorDesk(at_venue=False)
    entry_id = limit_entry(desk)
    desk.accept(desk.order(entry_id))
    flatten(desk)
    halt(desk)
    assert not placed_in(desk.fill(desk.order(entry_id), price="1.09900"))

    assert len(placed_in(release(desk))) == 1


@pytest.mark.parametrize("before", ["paused", "reduce-only", "tripped and released since"])
def test_it_stands_whatever_else_holds_the_account_back(before: str) -> None:
    desk = ExecutorDesk()
    entry_id = limit_entry(desk)
    desk.accept(desk.order(entry_id))
    desk.keep(desk.core.missing(entry_id, "not among its orders", desk.now_ns))
    if before == "paused":
        desk.keep(desk.core.pause(True, "lunch", "anna", desk.now_ns))
    elif before == "reduce-only":
        desk.keep(desk.core.latch(Latch.REDUCE_ONLY, "loss", "risk", desk.now_ns))
    flatten(desk)
    if before == "tripped and released since":
        desk.keep(desk.core.latch(Latch.REDUCE_ONLY, "loss", "risk", desk.now_ns))
        release(desk)
    desk.restart()

    assert desk.book.flattened
    assert len(placed_in(desk.fill(desk.order(entry_id), price="1.09900"))) == 1


def test_a_stop_that_flattens_leaves_nothing_behind_on_an_account_that_a_person_had_paused() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open(buy())
    desk.keep(desk.core.pause(True, "lunch", "anna", desk.now_ns))

    (exit_id,) = placed_in(desk.keep(desk.core.flatten("stop", desk.now_ns, for_stop=True)))
    desk.news(K.ORDER_REJECTED, desk.order(exit_id))  # and the stop has no time to ask again

    assert not placed_in(desk.restart()), "the stop is over, and so is its wish"
    assert desk.trade(trade).open_quantity == 1000
    assert desk.book.execution is not None
    assert desk.book.execution.latch_reason == "lunch"


def test_a_resume_ends_it() -> None:
    desk = ExecutorDesk()
    entry_id = limit_entry(desk)
    desk.accept(desk.order(entry_id))
    flatten(desk)
    resume(desk)

    assert not placed_in(desk.fill(desk.order(entry_id), price="1.09900"))
    assert not desk.core.stay_flat(desk.now_ns)


def test_a_second_flatten_says_nothing_new() -> None:
    desk = ExecutorDesk()
    flatten(desk)

    assert not flatten(desk)


# --- a pause ends what was not sent -----------------------------------------------------------------------------------


def test_an_entry_that_waits_behind_an_exit_is_not_sent_after_a_pause_nor_after_the_resume() -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000"))
    (stop,) = desk.exits(trade, attached=True)
    desk.decide(leave(trade), buy())
    (entry,) = (
        o for o in desk.book.orders.values() if o.client_order_id in desk.book.waiting and o.trade_id != trade.trade_id
    )

    desk.keep(desk.core.pause(True, "lunch", "anna", desk.now_ns))
    resume(desk)

    assert desk.order(entry.client_order_id).status is S.NOT_SENT
    freed = placed_in(desk.news(K.ORDER_CANCELED, stop))
    assert [desk.order(i).trade_id for i in freed] == [trade.trade_id], "the exit goes on"


# --- levels -----------------------------------------------------------------------------------------------------------


def test_a_target_that_the_venue_never_had_is_kept_by_the_monitor() -> None:
    desk = ExecutorDesk(replayable=False)
    (entry_id,) = placed_in(desk.decide(buy(stop_loss="1.09000")))
    entry = desk.order(entry_id)
    (stop,) = desk.children(entry)
    desk.decide(MoveStop(trade_id=entry.trade_id or "", take_profit=D("1.12000")))  # the venue has nothing to move yet
    desk.accept(desk.order(entry_id))
    desk.fill(desk.order(entry_id))

    assert cancels_in(desk.accept(stop, price=stop.stop_price)) == [stop.client_order_id]
    desk.news(K.ORDER_CANCELED, stop)

    (trade,) = desk.book.trades.values()
    assert (trade.exits_at_venue, trade.stop_loss, trade.take_profit) == (False, D("1.09000"), D("1.12000"))


def test_the_refusal_of_an_older_level_leaves_the_newer_wish_alone() -> None:
    desk = ExecutorDesk(replayable=False)
    trade = desk.open(buy(stop_loss="1.09000"))
    (stop,) = desk.exits(trade, attached=True)
    for level in ("1.09990", "1.09995"):
        desk.decide(MoveStop(trade_id=trade.trade_id, stop_loss=D(level)))

    desk.news(K.CANCEL_REFUSED, stop, price=D("1.09990"))

    assert desk.trade(trade).stop_loss == D("1.09995")
    assert amends_in(desk.restart()) == [(stop.client_order_id, "1.09995")]


def test_the_refusal_of_a_level_says_nothing_of_a_cancel_that_is_under_way() -> None:
    desk = ExecutorDesk(replayable=False)
    _, stop, _ = leaving(desk)

    desk.news(K.CANCEL_REFUSED, stop, price=D("1.09990"))

    assert desk.order(stop.client_order_id).status is S.CANCEL_REQUESTED


# --- refused cancels --------------------------------------------------------------------------------------------------


def test_a_refused_cancel_that_an_exit_waits_for_can_be_asked_for_again() -> None:
    desk = ExecutorDesk()
    _, stop, exit_ = leaving(desk)
    desk.news(K.CANCEL_REFUSED, stop, reason="busy")
    assert desk.order(stop.client_order_id).status is S.ACCEPTED

    again = desk.keep(desk.core.cancel_again(stop.client_order_id, desk.now_ns))

    assert cancels_in(again) == [stop.client_order_id]
    assert placed_in(desk.news(K.ORDER_CANCELED, stop)) == [exit_.client_order_id]


# --- what a person has said, and the venue says otherwise -------------------------------------------------------------


@pytest.mark.parametrize("said", [S.CANCELED, S.EXPIRED])
def test_an_order_that_a_person_took_for_ended_and_that_turns_up_halts(said: OrderStatus) -> None:
    desk = ExecutorDesk(replayable=False)
    (entry_id,) = placed_in(desk.decide(buy(stop_loss="1.09000")))
    desk.keep(desk.core.lost(entry_id, "timeout", desk.now_ns))
    desk.keep(desk.core.resolve(entry_id, said, "anna", desk.now_ns))

    desk.accept(desk.order(entry_id))

    assert desk.latch() is Latch.HALTED
    assert desk.book.execution is not None
    assert f"was {said}" in desk.book.execution.latch_reason


@pytest.mark.parametrize(("said", "is_"), [(S.CANCELED, K.ORDER_EXPIRED), (S.EXPIRED, K.ORDER_CANCELED)])
def test_which_end_it_was_is_no_contradiction(said: OrderStatus, is_: K) -> None:
    desk = ExecutorDesk()
    entry_id = limit_entry(desk)
    desk.accept(desk.order(entry_id))
    desk.keep(desk.core.missing(entry_id, "not among its orders", desk.now_ns))
    desk.keep(desk.core.resolve(entry_id, said, "anna", desk.now_ns))

    desk.news(is_, desk.order(entry_id))

    assert desk.latch() is Latch.OPEN
    assert desk.order(entry_id).status is said
