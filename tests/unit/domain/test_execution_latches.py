"""Pause, reduce-only, halt, release, flatten: what goes on under each, and what ends."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.unit.domain.executor_desk import ExecutorDesk, K, Side, buy, cancels_in, leave, placed_in, records_in, sell
from tradekeel.domain import records as r
from tradekeel.domain.effects import Effects
from tradekeel.domain.orders import OrderStatus, OrderType, Purpose
from tradekeel.domain.rows import Latch, StrategyStatus
from tradekeel.domain.trades import CloseReason, TradeStatus

D = Decimal
S = OrderStatus


def latch(desk: ExecutorDesk, to: Latch) -> Effects:
    return desk.keep(desk.core.latch(to, "wished", "operator", desk.now_ns))


def limit_entry(desk: ExecutorDesk, *, accepted: bool = True) -> str:
    (entry_id,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09000", stop_loss="1.08000")))
    if accepted:
        desk.accept(desk.order(entry_id))
    return entry_id


def denials(desk: ExecutorDesk) -> list[str]:
    return [o.status_reason.split(":")[0] for o in desk.book.ended.values() if o.status is S.DENIED]


# --- pause ------------------------------------------------------------------------------------------------------------


def test_while_paused_no_entry_is_taken_and_exits_are() -> None:
    desk = ExecutorDesk()
    trade = desk.open()

    desk.keep(desk.core.pause(True, "lunch", "anna", desk.now_ns))
    effects = desk.decide(buy(), leave(trade))

    assert denials(desk) == ["paused"]
    assert len(placed_in(effects)) == 1
    assert desk.paused()


def test_a_pause_leaves_working_entries_alone() -> None:
    desk = ExecutorDesk()
    limit_entry(desk)

    assert not desk.core.pause(True, "lunch", "anna", desk.now_ns).requests


def test_resuming_takes_entries_again_and_doing_either_twice_is_nothing() -> None:
    desk = ExecutorDesk()
    assert not desk.core.pause(False, "", "anna", desk.now_ns)
    desk.keep(desk.core.pause(True, "", "anna", desk.now_ns))
    assert not desk.core.pause(True, "", "anna", desk.now_ns)

    desk.keep(desk.core.pause(False, "", "anna", desk.now_ns))

    assert placed_in(desk.decide(buy()))


def test_a_pause_survives_a_restart() -> None:
    desk = ExecutorDesk()
    desk.keep(desk.core.pause(True, "", "anna", desk.now_ns))

    desk.restart()
    desk.decide(buy())

    assert denials(desk) == ["paused"]


# --- reduce-only and halt ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [Latch.REDUCE_ONLY, Latch.HALTED])
def test_whatever_would_add_exposure_is_canceled_and_protection_stays(to: Latch) -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000"))
    entry_id = limit_entry(desk)

    effects = latch(desk, to)

    assert cancels_in(effects) == [entry_id]
    assert [o.status for o in desk.exits(trade, attached=True)] == [S.ACCEPTED]


def test_reduce_only_takes_exits_and_denies_entries() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    latch(desk, Latch.REDUCE_ONLY)

    effects = desk.decide(buy(), leave(trade))

    assert denials(desk) == ["reduce_only"]
    assert len(placed_in(effects)) == 1


def test_halted_takes_nothing() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    latch(desk, Latch.HALTED)

    effects = desk.decide(sell(), leave(trade))
    by_monitor = desk.keep(desk.core.exit_trades([(trade.trade_id, "stop_loss")], "monitor", desk.now_ns))

    assert denials(desk) == ["halted"] * 3
    assert not placed_in(effects)
    assert not by_monitor.requests
    assert desk.trade(trade).status is TradeStatus.OPEN


@pytest.mark.parametrize("to", [Latch.REDUCE_ONLY, Latch.HALTED])
def test_an_entry_that_was_on_its_way_is_canceled_when_it_turns_up(to: Latch) -> None:
    desk = ExecutorDesk()
    entry_id = limit_entry(desk, accepted=False)
    desk.keep(desk.core.lost(entry_id, "timeout", desk.now_ns))
    assert cancels_in(latch(desk, to)) == [entry_id], "asked for at once, though the venue may not have it yet"

    effects = desk.accept(desk.order(entry_id))

    assert cancels_in(effects) == [entry_id]
    assert desk.order(entry_id).status is S.CANCEL_REQUESTED
    assert not desk.news(K.CANCEL_REFUSED, desk.order(entry_id)).requests, "a venue that refuses is not asked for ever"


def test_latches_go_up_only_and_a_person_releases() -> None:
    desk = ExecutorDesk()
    assert not desk.core.release("nothing to release", "anna", desk.now_ns)

    latch(desk, Latch.HALTED)
    for to in Latch:
        assert not latch(desk, to)
    assert desk.latch() is Latch.HALTED

    desk.keep(desk.core.release("checked", "anna", desk.now_ns))
    assert desk.latch() is Latch.OPEN
    assert placed_in(desk.decide(buy()))

    latch(desk, Latch.REDUCE_ONLY)
    assert not latch(desk, Latch.OPEN)
    assert latch(desk, Latch.HALTED)


def test_latch_and_pause_are_two_things() -> None:
    desk = ExecutorDesk()
    desk.keep(desk.core.pause(True, "", "anna", desk.now_ns))
    latch(desk, Latch.HALTED)

    desk.keep(desk.core.release("checked", "anna", desk.now_ns))

    assert (desk.latch(), desk.paused()) == (Latch.OPEN, True)


def test_a_book_without_an_execution_latches_nothing() -> None:
    desk = ExecutorDesk()
    desk.book.execution = None

    assert not latch(desk, Latch.HALTED)
    assert not desk.core.pause(True, "", "anna", desk.now_ns)
    assert not desk.core.release("", "anna", desk.now_ns)


# --- flatten ----------------------------------------------------------------------------------------------------------


def test_flatten_cancels_entries_closes_every_trade_and_pauses() -> None:
    desk = ExecutorDesk()
    mine, theirs = desk.open(buy(stop_loss="1.09000")), desk.open(strategy="b")
    entry_id = limit_entry(desk)
    (stop,) = desk.exits(mine, attached=True)

    effects = desk.keep(desk.core.flatten("anna", desk.now_ns))

    assert cancels_in(effects) == [entry_id, stop.client_order_id]
    (waiting,), (sent,) = desk.exits(mine), desk.exits(theirs)
    assert placed_in(effects) == [sent.client_order_id]
    assert placed_in(desk.news(K.ORDER_CANCELED, stop)) == [waiting.client_order_id]
    assert {o.close_reason for o in (waiting, sent)} == {CloseReason.MANUAL}
    assert desk.paused()


def test_flatten_leaves_alone_what_is_being_closed_already() -> None:
    desk = ExecutorDesk()
    trade = desk.open()
    desk.decide(leave(trade))

    effects = desk.keep(desk.core.flatten("anna", desk.now_ns))

    assert records_in(effects) == ["latch_changed"]
    assert len(desk.exits(trade)) == 1


def test_flatten_twice_pauses_once() -> None:
    desk = ExecutorDesk()
    desk.keep(desk.core.flatten("anna", desk.now_ns))

    assert not desk.core.flatten("anna", desk.now_ns)


def test_flatten_closes_what_nobody_decided() -> None:
    desk = ExecutorDesk()
    desk.fill(None, 700, side=Side.SELL)
    (adopted,) = desk.book.trades.values()

    effects = desk.keep(desk.core.flatten("anna", desk.now_ns))

    (exit_id,) = placed_in(effects)
    exit_ = desk.order(exit_id)
    assert (exit_.side, exit_.quantity, exit_.strategy, exit_.purpose) == (Side.BUY, D(700), None, Purpose.EXIT)
    desk.fill(exit_)
    assert desk.trade(adopted).exit_reason is CloseReason.MANUAL


# --- a strategy that decides nothing any more ---------------------------------------------------------------------------


def retire(desk: ExecutorDesk, status: StrategyStatus = StrategyStatus.FAILED) -> Effects:
    return desk.keep(desk.core.retire("a", status, "threw twice", desk.now_ns))


@pytest.mark.parametrize("status", [StrategyStatus.FAILED, StrategyStatus.STOPPED])
def test_a_retired_strategys_entries_are_canceled_and_its_trades_keep_their_exits(status: StrategyStatus) -> None:
    desk = ExecutorDesk()
    trade = desk.open(buy(stop_loss="1.09000"))
    entry_id = limit_entry(desk)
    (theirs,) = placed_in(desk.decide(buy(type=OrderType.LIMIT, price="1.09000"), strategy="b"))
    desk.accept(desk.order(theirs))

    effects = retire(desk, status)

    assert cancels_in(effects) == [entry_id]
    assert desk.order(theirs).status is S.ACCEPTED
    assert [o.status for o in desk.exits(trade, attached=True)] == [S.ACCEPTED]
    assert desk.book.strategies["a"].row.status is status


def test_one_that_is_only_paused_keeps_its_entries() -> None:
    desk = ExecutorDesk()
    limit_entry(desk)

    assert not retire(desk, StrategyStatus.PAUSED).requests


def test_what_a_retired_strategy_had_on_its_way_is_canceled_when_it_turns_up_and_not_taken_again() -> None:
    desk = ExecutorDesk()
    entry_id, lost_id = limit_entry(desk, accepted=False), limit_entry(desk, accepted=False)
    for known in (entry_id, lost_id):
        desk.keep(desk.core.lost(known, "timeout", desk.now_ns))
    retire(desk)

    assert cancels_in(desk.accept(desk.order(entry_id))) == [entry_id]
    effects = desk.keep(desk.core.not_sent(lost_id, "never arrived", desk.now_ns, never_arrived=True))
    assert not placed_in(effects)


def test_a_strategy_that_was_taken_out_of_the_configuration_is_retired_at_the_next_start() -> None:
    desk = ExecutorDesk()
    entry_id = limit_entry(desk)
    status = r.StrategyStatusChanged(ts_ns=1, strategy="a", status=StrategyStatus.STOPPED, reason="not configured")
    desk.keep(desk.core.note(status))

    assert cancels_in(desk.restart()) == [entry_id]


def test_the_exits_of_a_retired_strategys_trades_are_taken_from_whoever_asks() -> None:
    desk = ExecutorDesk(at_venue=False)
    trade = desk.open(buy(stop_loss="1.09000"))
    retire(desk)

    assert placed_in(desk.keep(desk.core.exit_trades([(trade.trade_id, "stop_loss")], "monitor", desk.now_ns)))
