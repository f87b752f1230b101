"""FloorStrategy, layer by layer: every price here was computed by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.strategies.driver import (
    EUR_USD,
    SECOND,
    D,
    Market,
    cancels,
    data_of,
    enters,
    events,
    exits,
)
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.messages import Emit
from tradekeel.domain.orders import OrderEvent, Side
from tradekeel.domain.trades import CloseReason
from tradekeel.errors import InputError
from tradekeel.strategies.base import Stopped
from tradekeel.strategies.floor import FloorParameters, FloorStrategy


def market(*, auto: bool = True, instruments: Any = (EUR_USD,), **params: Any) -> Market:
    """A market with one FloorStrategy: the defaults, but without a lock unless a test asks for one."""
    params = {"volatility_threshold": D(0)} | params
    return Market(FloorStrategy(FloorParameters(**params)), instruments, auto=auto)


# --- cycles and layers -----------------------------------------------------------------------------------------------


def test_a_cycle_begins_at_the_market_with_a_target_from_the_quote_that_was_seen():
    requests = market().tick("1.10000", "1.10010")
    assert events(requests) == ["cycle_started", "layer_opened"]
    (enter,) = enters(requests)
    assert (enter.instrument, enter.side, enter.quantity) == ("EUR_USD", Side.BUY, D(1000))
    assert enter.take_profit == D("1.10210")  # ask 1.10010 + 20 pips
    assert enter.stop_loss is None
    assert enter.tags == ("floor", "layer-0")
    assert enter.metadata == {"attempt": 1, "layer": 0, "cycle": 1}
    assert data_of(requests, "layer_opened") == {
        "instrument": "EUR_USD", "cycle": 1, "layer": 0, "units": "1000", "price": "1.10010", "take_profit": "1.10210",
    }  # fmt: skip


def test_the_next_layer_opens_exactly_a_retracement_below_the_last():
    m = market()
    m.tick("1.10000", "1.10010")
    assert m.tick("1.09901", "1.09911") == []  # 9.9 pips
    (enter,) = enters(m.tick("1.09900", "1.09910"))  # 10 pips
    assert enter.metadata["layer"] == 1
    assert enter.take_profit == D("1.10110")
    assert m.tick("1.09900", "1.09910") == []


def test_a_gap_through_several_levels_opens_one_layer_a_tick_from_the_price_it_got():
    m = market()
    m.tick("1.10000", "1.10010")
    (second,) = enters(m.tick("1.09500", "1.09510"))
    assert (second.metadata["layer"], second.take_profit) == (1, D("1.09710"))
    assert m.tick("1.09500", "1.09510") == []  # measured from 1.09510, not from the level that was jumped
    assert enters(m.tick("1.09400", "1.09410"))[0].metadata["layer"] == 2


def test_the_retracement_counts_from_the_fill_the_target_from_the_decision():
    m = market(auto=False)
    (enter,) = enters(m.tick("1.10000", "1.10010"))
    m.fill("O1", "1.10030")
    assert enter.take_profit == D("1.10210")
    assert m.tick("1.09921", "1.09931") == []
    assert enters(m.tick("1.09920", "1.09930"))


def test_layers_stop_at_their_number():
    m = market(max_layers=3)
    for step in range(8):
        price = D("1.10000") - D("0.0010") * step
        m.tick(price, price + D("0.0001"))
    assert [trade.metadata["layer"] for trade in m.open] == [0, 1, 2]


def test_a_deep_layer_takes_its_profit_alone_and_opens_again():
    m = market()
    m.tick("1.10000", "1.10010")
    m.tick("1.09900", "1.09910")
    m.tick("1.09800", "1.09810")  # layers at 1.10010, 1.09910, 1.09810
    m.forget()
    assert m.tick("1.10009", "1.10019") == []
    m.tick("1.10010", "1.10020")  # the target of layer 2: 1.09810 + 20 pips
    assert data_of(m.log, "layer_closed") == {
        "instrument": "EUR_USD", "cycle": 1, "layer": 2, "trade": "T3", "reason": "take_profit", "pnl": "2.0000",
    }  # fmt: skip
    assert [trade.metadata["layer"] for trade in m.open] == [0, 1]
    assert enters(m.tick("1.09801", "1.09811")) == []
    (again,) = enters(m.tick("1.09800", "1.09810"))  # 10 pips below layer 1
    assert again.metadata == {"attempt": 4, "layer": 2, "cycle": 1}


def test_when_all_layers_are_closed_the_next_cycle_begins():
    m = market()
    m.tick("1.10000", "1.10010")
    m.forget()
    requests = m.tick("1.10210", "1.10220")
    assert events(m.log) == ["layer_closed", "cycle_closed", "cycle_started", "layer_opened"]
    assert enters(requests)[0].metadata == {"attempt": 2, "layer": 0, "cycle": 2}
    assert enters(requests)[0].take_profit == D("1.10420")


def test_a_short_cycle_is_the_mirror_image():
    m = market(direction="short", floor_stop_pips=D(15), max_layers=2)
    (first,) = enters(m.tick("1.10000", "1.10010"))
    assert (first.side, first.take_profit) == (Side.SELL, D("1.09800"))  # bid - 20 pips
    assert m.tick("1.10099", "1.10109") == []
    (second,) = enters(m.tick("1.10100", "1.10110"))  # bid + 10 pips
    assert second.take_profit == D("1.09900")
    assert m.tick("1.10230", "1.10249") == []
    requests = m.tick("1.10230", "1.10250")  # ask 15 pips above the upper layer's 1.10100
    assert events(requests) == ["floor_stop"]
    assert [out.reason for out in exits(requests)] == ["stop_loss", "stop_loss"]


def test_a_yen_pair_counts_its_own_pips():
    m = market(instruments=(CATALOGUE["USD_JPY"],))
    (enter,) = enters(m.tick("150.000", "150.010"))
    assert enter.take_profit == D("150.210")


def test_each_layer_may_have_a_stop():
    (enter,) = enters(market(stop_loss_pips=D("35.5")).tick("1.10000", "1.10010"))
    assert enter.stop_loss == D("1.09655")


@pytest.mark.parametrize(
    ("progression", "factor", "sizes"),
    [
        ("constant", "1", ["1000", "1000", "1000", "1000"]),
        ("additive", "0.5", ["1000", "1500", "2000", "2500"]),
        ("multiplicative", "2", ["1000", "2000", "4000", "8000"]),
        ("multiplicative", "1.5", ["1000", "1500", "2250", "3375"]),
        ("inverse", "1", ["1000", "500", "333", "250"]),  # 333.33 rounded down to the lot
    ],
)
def test_the_size_of_each_layer_follows_the_progression(progression: Any, factor: str, sizes: list[str]):
    m = market(progression=progression, progression_factor=D(factor))
    found = []
    for step in range(4):
        price = D("1.10000") - D("0.0010") * step
        found += [str(enter.quantity) for enter in enters(m.tick(price, price + D("0.0001")))]
    assert found == sizes


def test_the_limit_of_units_is_told_once_and_kept():
    m = market(units_max=D(2500))
    m.tick("1.10000", "1.10010")
    m.tick("1.09900", "1.09910")
    requests = m.tick("1.09800", "1.09810")
    assert data_of(requests, "layer_capped") == {
        "instrument": "EUR_USD", "cycle": 1, "layer": 2, "units": "1000", "held": "2000", "units_max": "2500",
    }  # fmt: skip
    assert enters(requests) == []
    assert m.tick("1.09700", "1.09710") == []


def test_a_size_below_the_least_of_the_instrument_opens_nothing():
    m = market(initial_units=D("0.5"))
    assert events(m.tick("1.10000", "1.10010")) == ["layer_capped"]
    assert m.tick("1.10000", "1.10010") == []


# --- the lock --------------------------------------------------------------------------------------------------------


def test_the_range_of_the_mid_locks_at_the_threshold_and_not_before():
    m = market(volatility_threshold=D("0.5"), volatility_window_s=100, take_profit_pips=D(500))
    m.tick("1.09995", "1.10005", at_s=1000)  # mid 1.10000
    assert m.tick("1.105445", "1.105545", at_s=1001) == []  # mid 1.105495: 0.4995 %
    assert m.tick("1.10545", "1.10555", at_s=1002) == [  # mid 1.10550: 0.5 %
        Emit(
            type="layer_locked",
            data={"instrument": "EUR_USD", "cycle": 1, "volatility": "0.5000", "threshold": "0.5"},
        )
    ]


def test_while_locked_no_layer_opens_and_open_layers_keep_their_exits():
    m = market(volatility_threshold=D("0.5"), volatility_window_s=100)
    m.tick("1.09995", "1.10005", at_s=1000)
    m.forget()
    assert events(m.tick("1.09445", "1.09455", at_s=1001)) == ["layer_locked"]  # 55 pips down: no layer 1
    assert len(m.open) == 1
    assert m.tick("1.10205", "1.10215", at_s=1002) == []  # layer 0 takes its profit; no new cycle
    assert m.open == []
    assert events(m.log) == ["layer_locked", "layer_closed", "cycle_closed"]


def test_it_unlocks_below_the_threshold_only_and_a_new_cycle_begins_at_once():
    m = market(volatility_threshold=D("0.5"), volatility_unlock_ratio=D("0.8"), volatility_window_s=100)
    m.tick("1.09995", "1.10005", at_s=1000)
    m.tick("1.10545", "1.10555", at_s=1011)  # 0.5 %: locked, and layer 0 has taken its profit
    m.forget()
    # The window is the slice of now and the nine before: the first slice (1000..1009) is in it until 1099.
    m.tick("1.10985", "1.10995", at_s=1099)
    assert m.log == []
    # Now from mid 1.1055 to 1.1099: 0.398 % <= 0.4 %.
    requests = m.tick("1.10985", "1.10995", at_s=1100)
    assert events(requests) == ["layer_unlocked", "cycle_started", "layer_opened"]
    assert data_of(requests, "layer_unlocked")["volatility"] == "0.3980"


def test_between_unlock_and_lock_level_nothing_changes():
    m = market(volatility_threshold=D("0.5"), volatility_unlock_ratio=D("0.8"), volatility_window_s=100)
    m.tick("1.09995", "1.10005", at_s=1000)
    m.tick("1.10545", "1.10555", at_s=1011)
    m.forget()
    m.tick("1.10995", "1.11005", at_s=1100)  # 1.1055 to 1.1100: 0.407 %, above 0.4 %
    assert m.log == []
    assert m.state.locked


def test_a_threshold_of_zero_never_locks():
    m = market(volatility_threshold=D(0))
    m.tick("1.10000", "1.10010")
    assert events(m.tick("1.00000", "1.00010")) == ["layer_opened"]


# --- the direction ---------------------------------------------------------------------------------------------------


def test_auto_waits_for_a_full_window_and_follows_its_move():
    m = market(direction="auto", volatility_window_s=100, momentum_pips=D(5))
    m.tick("1.10000", "1.10010", at_s=1000)
    for second in range(1010, 1090, 10):
        assert m.tick("1.09990", "1.10000", at_s=second) == []
    assert m.tick("1.09950", "1.09961", at_s=1089) == []  # the window is not full
    assert m.tick("1.09950", "1.09961", at_s=1090) == []  # 4.95 pips down
    assert enters(m.tick("1.09950", "1.09960", at_s=1091))[0].side is Side.SELL  # 5 pips


def test_auto_buys_what_rises():
    m = market(direction="auto", volatility_window_s=100, momentum_pips=D(5))
    for second in range(1000, 1090, 10):
        m.tick("1.10000", "1.10010", at_s=second)
    assert enters(m.tick("1.10050", "1.10060", at_s=1095))[0].side is Side.BUY


def test_it_says_that_it_is_warm_when_a_direction_can_be_read():
    auto = FloorStrategy(FloorParameters(direction="auto", volatility_window_s=100))
    m = Market(auto)
    assert not auto.is_warm(m.state)
    for second in range(1000, 1100, 10):
        m.tick("1.10000", "1.10010", at_s=second)
    assert auto.is_warm(m.state)
    plain = FloorStrategy(FloorParameters())
    assert plain.is_warm(plain.initial_state())


# --- the floor -------------------------------------------------------------------------------------------------------


def test_the_floor_closes_every_layer_and_the_next_cycle_waits():
    m = market(floor_stop_pips=D(15), max_layers=2, retry_delay_s=60)
    m.tick("1.10000", "1.10010", at_s=100)
    m.tick("1.09900", "1.09910", at_s=101)
    m.forget()
    assert m.tick("1.09761", "1.09771", at_s=102) == []
    requests = m.tick("1.09760", "1.09770", at_s=103)  # bid 15 pips below the lower layer's 1.09910
    assert data_of(requests, "floor_stop") == {
        "instrument": "EUR_USD", "cycle": 1, "bid": "1.09760", "ask": "1.09770", "floor": "1.09760", "layers": 2,
    }  # fmt: skip
    assert [(out.trade_id, out.reason) for out in exits(requests)] == [("T1", "stop_loss"), ("T2", "stop_loss")]
    assert data_of(m.log, "cycle_closed")["stopped"] is True
    assert [trade.exit_reason for trade in m.trades.values()] == [CloseReason.STOP_LOSS] * 2
    assert m.tick("1.09760", "1.09770", at_s=162) == []
    assert events(m.tick("1.09760", "1.09770", at_s=163)) == ["cycle_started", "layer_opened"]


def test_the_floor_catches_an_entry_in_flight_as_soon_as_it_fills():
    m = market(auto=False, floor_stop_pips=D(15))
    m.tick("1.10000", "1.10010")
    m.fill("O1", "1.10010")
    m.tick("1.09900", "1.09910")  # layer 1 is in flight
    requests = m.tick("1.09700", "1.09710")
    assert events(requests) == ["floor_stop"]
    assert [out.trade_id for out in exits(requests)] == ["T1"]
    assert [cancel.client_order_id for cancel in cancels(requests)] == ["O2"]
    late = m.fill("O2", "1.09910")  # the cancel came too late
    assert [(out.trade_id, out.reason) for out in exits(late)] == [("T2", "stop_loss")]
    m.close("T1", "1.09700", CloseReason.STOP_LOSS)
    assert "cycle_closed" in events(m.close("T2", "1.09700", CloseReason.STOP_LOSS))


def test_what_fills_after_the_exit_was_asked_for_gets_an_exit_of_its_own():
    m = market(auto=False, floor_stop_pips=D(15))
    m.tick("1.10000", "1.10010")
    m.fill("O1", "1.10010", D(400))
    assert [out.trade_id for out in exits(m.tick("1.09860", "1.09870"))] == ["T1"]
    m.exits_wanted.clear()
    assert [out.trade_id for out in exits(m.fill("O1", "1.10010", D(600)))] == ["T1"]
    assert m.tick("1.09860", "1.09870") == []


def test_a_failed_exit_is_asked_for_again_after_a_while():
    m = market(auto=False, floor_stop_pips=D(15), retry_delay_s=30)
    m.tick("1.10000", "1.10010", at_s=1)
    m.fill("O1", "1.10010")
    assert len(exits(m.tick("1.09860", "1.09870", at_s=2))) == 1
    assert m.tick("1.09860", "1.09870", at_s=3) == []  # one claim, one exit
    m.fail_exit("T1")
    assert m.tick("1.10500", "1.10510", at_s=32 - 1) == []
    (again,) = exits(m.tick("1.10500", "1.10510", at_s=33))  # the decision to leave stands, wherever the price is
    assert (again.trade_id, again.reason) == ("T1", "stop_loss")
    assert m.tick("1.10500", "1.10510", at_s=99) == []


# --- what happens to orders ------------------------------------------------------------------------------------------


def test_nothing_is_entered_while_an_entry_is_in_flight():
    m = market(auto=False)
    m.tick("1.10000", "1.10010")
    for step in range(1, 6):
        price = D("1.10000") - D("0.0010") * step
        assert m.tick(price, price + D("0.0001")) == []
    m.end("O1", OrderEvent.LOSE, "unknown")  # nobody knows: it may have been executed
    assert m.tick("1.09000", "1.09010") == []
    m.fill("O1", "1.10010")
    assert enters(m.tick("1.09000", "1.09010"))[0].metadata["layer"] == 1


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (OrderEvent.DENY, "denied"),
        (OrderEvent.REJECT, "rejected"),
        (OrderEvent.CANCEL, "canceled"),
        (OrderEvent.EXPIRE, "expired"),
        (OrderEvent.PROVE_NOT_SENT, "not_sent"),
    ],
)
def test_a_layer_that_came_to_nothing_is_tried_again_later(event: OrderEvent, word: str):
    m = market(auto=False, retry_delay_s=60)
    m.tick("1.10000", "1.10010", at_s=1)
    m.fill("O1", "1.10010")
    m.tick("1.09900", "1.09910", at_s=2)
    requests = m.end("O2", event, word, "because")
    assert data_of(requests, "layer_refused") == {
        "instrument": "EUR_USD", "cycle": 1, "layer": 1, "outcome": word, "reason": "because",
    }  # fmt: skip
    assert m.tick("1.09900", "1.09910", at_s=61) == []
    (again,) = enters(m.tick("1.09900", "1.09910", at_s=62))
    assert again.metadata == {"attempt": 3, "layer": 1, "cycle": 1}


def test_a_refused_first_layer_ends_its_cycle():
    m = market(auto=False)
    m.tick("1.10000", "1.10010", at_s=1)
    assert events(m.end("O1", OrderEvent.DENY, "denied")) == ["layer_refused", "cycle_closed"]
    assert enters(m.tick("1.10000", "1.10010", at_s=61))[0].metadata == {"attempt": 2, "layer": 0, "cycle": 2}


def test_a_partial_fill_keeps_the_entry_in_flight_until_it_is_over():
    m = market(auto=False)
    m.tick("1.10000", "1.10010")
    m.fill("O1", "1.10010", D(400))
    assert m.tick("1.09900", "1.09910") == []
    m.fill("O1", "1.10020", D(600))
    assert enters(m.tick("1.09920", "1.09930")) == []
    assert enters(m.tick("1.09910", "1.09920"))[0].metadata["layer"] == 1  # 10 pips from the latest fill


def test_a_partly_filled_entry_that_is_canceled_keeps_what_it_got():
    m = market(auto=False)
    m.tick("1.10000", "1.10010")
    m.fill("O1", "1.10010", D(400))
    assert m.end("O1", OrderEvent.CANCEL, "canceled") == []
    assert m.state.desk.held[0].quantity == D(400)
    assert enters(m.tick("1.09900", "1.09910"))[0].metadata["layer"] == 1
    m.close("T1", "1.10210", CloseReason.TAKE_PROFIT)
    assert [held.slot for held in m.state.desk.held] == [1]


def test_a_target_reached_before_the_entry_is_over_leaves_the_layer_alive():
    m = market(auto=False)
    m.tick("1.10000", "1.10010")
    m.fill("O1", "1.10010", D(400))
    assert m.close("T1", "1.10210", CloseReason.TAKE_PROFIT) == []  # 600 may still come
    assert events(m.end("O1", OrderEvent.CANCEL, "canceled")) == ["layer_closed", "cycle_closed"]


def test_a_fill_after_the_end_joins_the_cycle():
    m = market(auto=False, retry_delay_s=0)
    m.tick("1.10000", "1.10010")
    m.end("O1", OrderEvent.CANCEL, "canceled")
    assert m.state.sign == 0
    requests = m.fill("O1", "1.10010")
    assert data_of(requests, "layer_opened")["late"] is True
    assert exits(requests) == []
    assert (m.state.sign, [held.slot for held in m.state.desk.held]) == (1, [0])
    assert enters(m.tick("1.09900", "1.09910"))[0].metadata["layer"] == 1


def test_a_fill_after_the_end_that_does_not_fit_is_left_at_once():
    m = market(auto=False, max_layers=1, retry_delay_s=0)
    m.tick("1.10000", "1.10010")
    m.end("O1", OrderEvent.CANCEL, "canceled")
    m.tick("1.10000", "1.10010")
    m.fill("O2", "1.10010")  # the cycle has its one layer
    requests = m.fill("O1", "1.10010")
    assert [out.trade_id for out in exits(requests)] == ["T1"]
    assert events(m.close("T1", "1.10000", CloseReason.SIGNAL)) == ["layer_closed"]
    assert [held.trade_id for held in m.state.desk.held] == ["T2"]


def test_a_trade_that_a_person_closed_is_closed_for_the_strategy_too():
    m = market()
    m.tick("1.10000", "1.10010")
    m.auto = False
    requests = m.close("T1", "1.10000", CloseReason.MANUAL)
    assert data_of(requests, "layer_closed")["reason"] == "manual"
    assert events(requests) == ["layer_closed", "cycle_closed"]


# --- pause, restart, several instruments -----------------------------------------------------------------------------


def test_paused_it_opens_nothing_and_still_stops_at_the_floor():
    m = market(floor_stop_pips=D(30))
    m.paused = True
    assert m.tick("1.10000", "1.10010") == []
    m.paused = False
    m.tick("1.10000", "1.10010")
    m.paused = True
    assert m.tick("1.09900", "1.09910") == []
    assert events(m.tick("1.09710", "1.09720")) == ["floor_stop"]
    assert m.open == []
    m.paused = False
    assert m.tick("1.09710", "1.09720") == []  # the delay after a floor stop


def test_a_restart_goes_on_from_the_state_alone():
    straight = market()
    killed = market()
    ticks = [D("1.10000") - D("0.0003") * step for step in range(20)]
    for number, bid in enumerate(ticks):
        straight.tick(bid, bid + D("0.0001"))
        if number == 11:
            after = Market(killed.strategy, auto=True, resumed_state=killed.state)
            for name in ("trades", "orders", "last", "now_ns", "log"):
                setattr(after, name, getattr(killed, name))
            killed = after
        killed.tick(bid, bid + D("0.0001"))
    assert killed.state == straight.state
    assert killed.log == straight.log


def test_two_instruments_have_cycles_of_their_own():
    m = market(instruments=(EUR_USD, CATALOGUE["USD_JPY"]))
    m.tick("1.10000", "1.10010", symbol="EUR_USD")
    (yen,) = enters(m.tick("150.000", "150.010", symbol="USD_JPY"))
    assert yen.take_profit == D("150.210")
    assert m.tick("1.09901", "1.09911", symbol="EUR_USD") == []
    (euro,) = enters(m.tick("1.09900", "1.09910", symbol="EUR_USD"))
    assert (euro.instrument, euro.metadata["layer"]) == ("EUR_USD", 1)
    (yen,) = enters(m.tick("149.900", "149.910", symbol="USD_JPY"))
    assert (yen.instrument, yen.metadata["layer"]) == ("USD_JPY", 1)


def test_what_is_left_of_an_instrument_that_was_taken_from_it_comes_to_its_end():
    """Its trades keep their exits, and it is told of them, though its context knows the instrument no more."""
    m = market(instruments=(EUR_USD, CATALOGUE["USD_JPY"]))
    m.tick("1.10000", "1.10010")
    m.tick("150.000", "150.010", symbol="USD_JPY")
    (trade,) = (trade for trade in m.open if trade.symbol == "USD_JPY")
    del m.instruments["USD_JPY"]
    assert events(m.close(trade.trade_id, "150.210", CloseReason.TAKE_PROFIT)) == ["layer_closed", "cycle_closed"]
    assert enters(m.tick("1.09900", "1.09910")), "the other one goes on"


def test_stopping_keeps_everything_as_it_is():
    m = market()
    m.tick("1.10000", "1.10010")
    before = m.state
    assert m.call(m.strategy.on_stop, Stopped(ts_ns=5 * SECOND)) == []
    assert m.state is before


# --- parameters ------------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_documented_ones():
    params = FloorParameters()
    assert (params.initial_units, params.max_layers, params.retracement_pips) == (D(1000), 5, D(10))
    assert (params.take_profit_pips, params.volatility_threshold) == (D(20), D("0.5"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"initial_units": Decimal(0)}, "initial_units must be above 0, found 0"),
        ({"max_layers": 101}, "max_layers must be at least 1, at most 100, found 101"),
        ({"stop_loss_pips": Decimal(10)}, "stop_loss_pips .10. must be above retracement_pips .10."),
        ({"units_max": Decimal(999)}, "units_max .999. is below initial_units"),
        ({"progression": "multiplicative"}, "progression_factor 1 is constant"),
        ({"volatility_window_s": 9}, "volatility_window_s must be at least 10"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(values: dict[str, Any], words: str):
    with pytest.raises(InputError, match=words):
        FloorParameters(**values)
