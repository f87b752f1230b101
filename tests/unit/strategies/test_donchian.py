"""DonchianBreakout on hand-made bars: channels of three and two, ranges of two."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.strategies.driver import SECOND, D, Market, data_of, enters, events, exits
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.orders import OrderEvent, Side
from tradekeel.domain.ticks import Bar
from tradekeel.errors import InputError
from tradekeel.strategies.base import Started
from tradekeel.strategies.donchian import DonchianBreakout, DonchianParameters

YEN = CATALOGUE["USD_JPY"]


def market(*, auto: bool = True, **params: Any) -> Market:
    values = {"entry_bars": 3, "exit_bars": 2, "atr_bars": 2} | params
    return Market(DonchianBreakout(DonchianParameters(**values)), (YEN,), auto=auto)


def bar(m: Market, high: int | str, low: int | str, close: int | str) -> None:
    assert m.bar(Bar(YEN.symbol, "1m", 0, 1, D(close), D(high), D(low), D(close), 1)) == []


def filled_channel(m: Market) -> None:
    """Three bars: highest 103, lowest 99; the last two: highest 103, lowest 100."""
    bar(m, 102, 99, 101)
    bar(m, 103, 100, 102)
    bar(m, 102, 100, 101)


def test_a_close_above_the_highest_high_before_it_enters_at_the_next_tick():
    m = market()
    filled_channel(m)
    assert m.tick("101.0", "101.1") == []
    bar(m, 104, 102, "103.5")
    requests = m.tick("103.4", "103.6")
    assert data_of(requests, "breakout") == {
        "instrument": "USD_JPY", "direction": "up", "line": "103", "close": "103.5",
    }  # fmt: skip
    (enter,) = enters(requests)
    assert (enter.side, enter.timeframe, enter.pattern_type) == (Side.BUY, "1m", "donchian_breakout")
    # True ranges of the last two bars: max(102, 102) - min(100, 102) = 2; max(104, 101) - min(102, 101) = 3.
    # Twice their mean of 2.5 is 5, from the ask.
    assert enter.stop_loss == D("98.600")
    assert enter.trailing_distance is None


def test_a_touch_of_the_line_is_no_breakout():
    m = market()
    filled_channel(m)
    bar(m, 105, 101, 103)
    assert m.tick("103.0", "103.1") == []


def test_a_close_below_the_lowest_low_sells():
    m = market(stop_atr=D(1), trailing_atr=D("0.5"))
    filled_channel(m)
    bar(m, 101, 98, "98.9")
    (enter,) = enters(m.tick("98.8", "98.9"))
    # True ranges 2 and max(101, 101) - min(98, 101) = 3: mean 2.5.
    assert (enter.side, enter.stop_loss, enter.trailing_distance) == (Side.SELL, D("101.300"), D("1.250"))


def test_without_multiples_there_is_no_stop():
    m = market(stop_atr=D(0))
    filled_channel(m)
    bar(m, 104, 102, "103.5")
    assert enters(m.tick("103.4", "103.6"))[0].stop_loss is None


def test_nothing_is_entered_before_all_bars_are_there():
    m = market(atr_bars=3)  # needs a fourth bar, for the close before the first range
    filled_channel(m)
    assert not m.strategy.is_warm(m.state)
    bar(m, 104, 102, "103.5")
    assert m.tick("103.4", "103.6") == []
    assert m.strategy.is_warm(m.state)


def test_a_close_beyond_the_exit_channel_leaves_without_entering():
    m = market()
    filled_channel(m)
    bar(m, 104, 102, "103.5")
    m.tick("103.4", "103.6")
    bar(m, 104, 101, 102)  # lowest of the two before it: 100
    assert m.tick("102.0", "102.1") == []
    bar(m, 102, "100.5", "100.9")  # lowest of the two before it: 101
    requests = m.tick("100.8", "100.9")
    assert events(requests) == ["channel_exit"]
    assert [(out.trade_id, out.reason) for out in exits(requests)] == [("T1", "signal")]
    assert enters(requests) == []


def test_an_opposite_breakout_turns_in_one_decision():
    m = market(stop_atr=D(0))
    filled_channel(m)
    bar(m, 104, 102, "103.5")
    m.tick("103.4", "103.6")
    bar(m, 104, 98, "98.5")
    requests = m.tick("98.4", "98.6")
    assert (len(exits(requests)), enters(requests)[0].side) == (1, Side.SELL)
    assert [trade.side.value for trade in m.open] == ["SHORT"]


def test_a_breakout_the_way_of_an_open_trade_adds_nothing():
    m = market()
    filled_channel(m)
    bar(m, 104, 102, "103.5")
    m.tick("103.4", "103.6")
    bar(m, 106, 104, 105)
    assert m.tick("105.0", "105.1") == []


def test_a_signal_waits_for_an_entry_in_flight_but_not_beyond_the_next_bar():
    m = market(auto=False)
    filled_channel(m)
    bar(m, 104, 102, "103.5")
    m.tick("103.4", "103.6")  # in flight
    bar(m, 104, 98, "98.5")
    assert m.tick("98.4", "98.6") == []
    bar(m, 100, 99, "99.5")  # no breakout: the signal is over
    m.end("O1", OrderEvent.DENY, "denied")
    assert m.tick("99.4", "99.6") == []


def test_an_entry_that_fills_after_its_exit_signal_is_left():
    m = market(auto=False, entry_bars=4)
    bar(m, 102, 99, 101)
    filled_channel(m)
    bar(m, 104, 102, "103.5")
    m.tick("103.4", "103.6")
    bar(m, 104, "99.5", "99.8")  # below the exit line 100, above the entry line 99
    assert m.tick("99.8", "99.9") == []  # nothing held yet; it is to be left when it fills
    assert not m.state.signal
    m.fill("O1", "103.6")
    assert [out.trade_id for out in exits(m.tick("99.8", "99.9"))] == ["T1"]


def test_other_bars_and_instruments_change_nothing():
    m = market()
    filled_channel(m)
    before = m.state
    m.bar(Bar(YEN.symbol, "5m", 0, 1, D(1), D(1), D(1), D(1), 1))
    m.bar(Bar("EUR_USD", "1m", 0, 1, D(1), D(1), D(1), D(1), 1))
    m.tick("1.1", "1.2", symbol="EUR_USD")
    assert m.state is before


def test_after_a_long_gap_the_channel_begins_anew():
    m = market(reset_gap_s=60)
    filled_channel(m)
    m.call(m.strategy.on_start, Started(ts_ns=1, resumed=True, gap_ns=61 * SECOND))
    assert m.state.candles == ()


def test_it_keeps_no_more_bars_than_it_needs():
    m = market()
    for step in range(10):
        bar(m, 102 + step % 2, 99, 101)
    assert len(m.state.candles) == 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"entry_bars": 5, "exit_bars": 6}, "exit_bars .6. must not be above entry_bars .5."),
        ({"timeframe": ""}, "timeframe .*: allowed are time bars"),
        ({"entry_bars": 501}, "entry_bars must be at least 1, at most 500"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(values: dict[str, Any], words: str):
    with pytest.raises(InputError, match=words):
        DonchianParameters(**values)
