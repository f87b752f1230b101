"""EmaCross: with fast = 1 and slow = 3 the averages can be followed in the head (shares 1 and 1/2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.strategies.driver import (
    EUR_USD,
    SECOND,
    D,
    Market,
    data_of,
    enters,
    events,
    exits,
)
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.messages import Enter, Exit
from tradekeel.domain.orders import OrderEvent, Side
from tradekeel.domain.ticks import Bar
from tradekeel.domain.trades import CloseReason
from tradekeel.errors import InputError
from tradekeel.strategies.base import Started
from tradekeel.strategies.ema_cross import EmaCross, EmaCrossParameters

HALF_SPREAD = D("0.5")
WIDE = CATALOGUE["USD_JPY"]


def market(*, auto: bool = True, **params: Any) -> Market:
    """USD/JPY, fast 1, slow 3, warm after two prices unless a test says otherwise."""
    values = {"fast": 1, "slow": 3, "warm_up": 2} | params
    return Market(EmaCross(EmaCrossParameters(**values)), (WIDE,), auto=auto)


def mid(m: Market, price: int | str, at_s: int | None = None) -> list[Any]:
    """One tick with this mid and a spread of 1.0."""
    return m.tick(D(price) - HALF_SPREAD, D(price) + HALF_SPREAD, at_s=at_s)


def closes(m: Market, price: int | str, timeframe: str = "1m") -> list[Any]:
    value = D(price)
    return m.bar(Bar(WIDE.symbol, timeframe, 0, 60 * SECOND, value, value, value, value, 1))


def test_the_averages_are_those_of_the_formula():
    m = market(fast=3, slow=7)  # shares 1/2 and 1/4
    for price in (100, 108, 100):
        mid(m, price)
    # fast: 100, 104, 102; slow: 100, 102, 101.5; kept doubled
    assert (m.state.fast, m.state.slow, m.state.count) == (204.0, 203.0, 3)


def test_a_cross_enters_its_way_at_the_quote():
    m = market(stop_loss_pips=D(50), take_profit_pips=D(80), trailing_pips=D(30))
    assert mid(m, 100) == []
    assert mid(m, 98) == []  # fast 98, slow 99: below, and warm
    requests = mid(m, 104)  # fast 104, slow 101.5: crossed
    assert data_of(requests, "ema_cross") == {
        "instrument": "USD_JPY", "direction": "up", "fast": "104.00000", "slow": "101.50000",
    }  # fmt: skip
    (enter,) = enters(requests)
    assert (enter.side, enter.quantity, enter.pattern_type) == (Side.BUY, D(1000), "ema_cross")
    assert (enter.stop_loss, enter.take_profit) == (D("104.000"), D("105.300"))  # of the ask, 104.5
    assert enter.trailing_distance == D("0.300")


def test_the_first_difference_of_the_averages_is_no_cross():
    m = market()
    assert mid(m, 100) + mid(m, 98) + mid(m, 97) + mid(m, 96) == []


def test_a_cross_within_the_warm_up_is_no_signal():
    m = market(warm_up=3)
    assert mid(m, 100) + mid(m, 98) + mid(m, 104) == []  # would cross at the third price
    assert enters(mid(m, 90))  # the fourth counts


def test_without_a_warm_up_of_its_own_it_takes_the_slow_average():
    assert EmaCrossParameters(fast=10, slow=100).prices_needed == 100
    assert EmaCrossParameters(fast=10, slow=100, warm_up=5).prices_needed == 5


def test_an_opposite_cross_leaves_and_enters_in_one_decision():
    m = market()
    for price in (100, 98, 104):
        mid(m, price)
    requests = mid(m, 90)
    assert [type(request) for request in requests[1:]] == [Exit, Enter]
    assert (exits(requests)[0].trade_id, exits(requests)[0].reason) == ("T1", "signal")
    assert enters(requests)[0].side is Side.SELL
    assert m.trades["T1"].exit_reason is CloseReason.SIGNAL


def test_with_one_order_an_opposite_cross_asks_for_an_entry_that_turns_and_for_no_exit():
    m = market(one_order=True)
    (first,) = [enter for price in (100, 98, 104) for enter in enters(mid(m, price))]
    assert not first.reverse, "nothing stands against it"
    requests = mid(m, 90)
    assert (len(exits(requests)), [(e.side, e.quantity, e.reverse) for e in enters(requests)]) == (
        0,
        [(Side.SELL, D(1000), True)],
    )
    assert m.orders["O2"].quantity == D(2000)
    assert m.trades["T1"].exit_reason is CloseReason.SIGNAL
    assert [t.trade_id for t in m.open] == ["T2"]
    assert [h.trade_id for h in m.state.following.desk.held] == ["T2"]


@pytest.mark.parametrize(
    ("event", "word"),
    [(OrderEvent.REJECT, "rejected"), (OrderEvent.CANCEL, "canceled"), (OrderEvent.PROVE_NOT_SENT, "not_sent")],
)
def test_what_such_an_entry_leaves_behind_is_left_by_an_exit(event: OrderEvent, word: str):
    m = market(auto=False, one_order=True)
    for price in (100, 98, 104):
        mid(m, price)
    m.fill("O1", "104.5")
    assert enters(mid(m, 90))[0].reverse
    m.end("O2", event, word)
    again = [out for _ in range(6) for out in exits(mid(m, 90))]
    assert [(out.trade_id, out.reason) for out in again] == [("T1", "signal")]


def test_paused_one_order_becomes_an_exit():
    m = market(one_order=True)
    for price in (100, 98, 104):
        mid(m, price)
    m.paused = True
    requests = mid(m, 90)
    assert (len(exits(requests)), enters(requests)) == (1, [])


def test_without_reverse_an_opposite_cross_only_leaves():
    m = market(reverse=False)
    for price in (100, 98, 104):
        mid(m, price)
    requests = mid(m, 90)
    assert (len(exits(requests)), enters(requests)) == (1, [])
    assert enters(mid(m, 120))[0].side is Side.BUY  # flat: the next cross enters


@pytest.mark.parametrize(("direction", "sides"), [("long", [Side.BUY] * 2), ("short", [Side.SELL])])
def test_only_the_wanted_direction_is_entered(direction: Any, sides: list[Side]):
    m = market(direction=direction)
    found = [enter.side for price in (100, 98, 104, 90, 110) for enter in enters(mid(m, price))]
    assert found == sides


def test_equal_averages_keep_the_side_they_had():
    m = market()
    for price in (100, 98):
        mid(m, price)
    assert mid(m, 99) == []  # fast 99, slow 99
    assert events(mid(m, 100)) == ["ema_cross"]


def test_a_signal_too_soon_after_the_last_waits_for_the_gap():
    m = market(gap_s=60)
    mid(m, 100, at_s=1)
    mid(m, 98, at_s=2)
    assert enters(mid(m, 104, at_s=3))
    assert mid(m, 90, at_s=10) == []
    assert mid(m, 90, at_s=62) == []
    assert enters(mid(m, 90, at_s=63))[0].side is Side.SELL


def test_a_signal_that_was_crossed_back_in_the_gap_changes_nothing():
    m = market(gap_s=60)
    mid(m, 100, at_s=1)
    mid(m, 98, at_s=2)
    mid(m, 104, at_s=3)
    mid(m, 90, at_s=10)
    assert mid(m, 120, at_s=11) == []
    assert mid(m, 120, at_s=63) == []
    assert [trade.side.value for trade in m.open] == ["LONG"]


def test_a_signal_waits_until_the_entry_in_flight_is_settled():
    m = market(auto=False)
    for price in (100, 98, 104):
        mid(m, price)
    assert mid(m, 90) == []
    assert m.end("O1", OrderEvent.LOSE, "unknown") == []
    assert mid(m, 90) == []
    m.fill("O1", "104.5")
    requests = mid(m, 90)
    assert (len(exits(requests)), len(enters(requests))) == (1, 1)


@pytest.mark.parametrize(
    ("event", "word"), [(OrderEvent.DENY, "denied"), (OrderEvent.REJECT, "rejected"), (OrderEvent.PROVE_NOT_SENT, "not_sent")]
)  # fmt: skip
def test_a_refused_entry_is_given_up_and_the_next_cross_decides(event: OrderEvent, word: str):
    m = market(auto=False)
    for price in (100, 98, 104):
        mid(m, price)
    assert m.end("O1", event, word) == []
    assert mid(m, 105) == []
    requests = mid(m, 90)
    assert exits(requests) == []
    assert enters(requests)[0].metadata == {"attempt": 2}


def test_after_a_stop_the_same_direction_needs_a_new_cross():
    m = market()
    for price in (100, 98, 104):
        mid(m, price)
    m.close("T1", "103", CloseReason.STOP_LOSS)
    assert mid(m, 106) == []
    assert exits(mid(m, 90)) == []


def test_a_failed_exit_is_asked_for_again():
    m = market(auto=False, reverse=False)
    for price in (100, 98, 104):
        mid(m, price, at_s=None)
    m.fill("O1", "104.5")
    assert len(exits(mid(m, 90))) == 1
    m.fail_exit("T1")
    again = [out for _ in range(6) for out in exits(mid(m, 90))]
    assert [out.trade_id for out in again] == ["T1"]


def test_paused_it_leaves_and_does_not_enter():
    m = market()
    for price in (100, 98, 104):
        mid(m, price)
    m.paused = True
    requests = mid(m, 90)
    assert (len(exits(requests)), enters(requests)) == (1, [])


def test_on_bars_a_cross_is_followed_at_the_tick_that_completed_the_bar():
    m = market(timeframe="1m")
    assert m.strategy.timeframes() == ("1m",)
    for price in (100, 98):
        closes(m, price)
        assert mid(m, 500) == []  # ticks are not averaged
    assert closes(m, 104) == []
    (enter,) = enters(mid(m, 105))
    assert (enter.timeframe, m.open[0].entry_price) == ("1m", D("105.5"))
    assert closes(m, 90, timeframe="5m") == []
    assert mid(m, 105) == []


def test_after_a_long_gap_the_averages_begin_anew_and_trades_are_kept():
    m = market(reset_gap_s=300)
    for price in (100, 98, 104):
        mid(m, price)
    assert m.strategy.is_warm(m.state)
    m.call(m.strategy.on_start, Started(ts_ns=9, resumed=True, gap_ns=300 * SECOND))
    assert m.state.count == 3
    m.call(m.strategy.on_start, Started(ts_ns=9, resumed=True, gap_ns=301 * SECOND))
    assert (m.state.count, m.state.above, m.strategy.is_warm(m.state)) == (0, 0, False)
    assert mid(m, 100) + mid(m, 102) == []  # no signal in the new warm-up
    requests = mid(m, 90)
    assert [out.trade_id for out in exits(requests)] == ["T1"]


def test_two_instruments_are_averaged_apart():
    m = Market(EmaCross(EmaCrossParameters(fast=1, slow=3, warm_up=2)), (EUR_USD, WIDE))
    for price in ("100", "98"):
        m.tick("1.1000", "1.1001", symbol="EUR_USD")
        m.tick(price, price, symbol="USD_JPY")
    requests = m.tick("104", "104", symbol="USD_JPY")
    assert enters(requests)[0].instrument == "USD_JPY"
    assert m.tick("1.1000", "1.1001", symbol="EUR_USD") == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fast": 10, "slow": 10}, "fast .10. must be below slow .10."),
        ({"timeframe": "1 minute"}, "timeframe .*: allowed are time bars"),
        ({"units": D(-1)}, "units must be above 0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(values: dict[str, Any], words: str):
    with pytest.raises(InputError, match=words):
        EmaCrossParameters(**values)
