"""Ticks and windows."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.domain.ticks import Extremes, Tick, TickWindow

PRICES = st.integers(100_000, 100_100).map(lambda n: Decimal(n).scaleb(-5))
TICKS = st.builds(
    Tick, st.sampled_from(["EUR_USD", "NZD_USD"]), st.integers(0, 10**15), PRICES, PRICES, st.integers(1, 10**6)
)


def test_mid_and_spread_are_exact():
    tick = Tick("EUR_USD", 0, Decimal("1.39101"), Decimal("1.39114"))
    assert (tick.mid, tick.spread) == (Decimal("1.391075"), Decimal("0.00013"))


def test_ticks_cannot_be_changed():
    tick = Tick("EUR_USD", 0, Decimal(1), Decimal(2))
    with pytest.raises(AttributeError):
        tick.bid = Decimal(3)  # type: ignore[misc]


def test_a_window_knows_its_positions():
    ticks = [Tick("EUR_USD", n, Decimal(1), Decimal(2), position=n) for n in (7, 8, 9)]
    window = TickWindow(ticks)
    assert (window.first_position, window.last_position, window.bars) == (7, 9, {})


@given(st.lists(TICKS, min_size=1), st.integers(0, 10), st.integers(0, 30))
def test_extremes_are_the_highest_and_lowest_of_each_side(ticks, start, stop):
    part = ticks[start:stop]
    found = TickWindow(ticks).extremes(start, stop)
    assert found == {
        symbol: Extremes(
            bid_low=min(t.bid for t in part if t.instrument == symbol),
            bid_high=max(t.bid for t in part if t.instrument == symbol),
            ask_low=min(t.ask for t in part if t.instrument == symbol),
            ask_high=max(t.ask for t in part if t.instrument == symbol),
            count=sum(t.instrument == symbol for t in part),
        )
        for symbol in {t.instrument for t in part}
    }
