"""The window of the range, against a dumb twin that keeps every tick."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tradekeel.domain.times import NS_PER_S
from tradekeel.strategies.volatility import SLICES, Window, advance

WINDOW_S = 100
SLICE_NS = WINDOW_S * NS_PER_S // SLICES

# Prices in a small range, gaps from none to longer than the window.
TICKS = st.lists(st.tuples(st.integers(0, 150), st.integers(20_000, 20_400)), min_size=1, max_size=60)


def dumb(seen: list[tuple[int, Decimal]]) -> tuple[Decimal, Decimal, Decimal]:
    """Highest, lowest and first price of the slice of the last tick and the nine before it."""
    now_slice = seen[-1][0] // SLICE_NS
    inside = [(ts, price) for ts, price in seen if ts // SLICE_NS > now_slice - SLICES]
    return max(price for _, price in inside), min(price for _, price in inside), inside[0][1]


@given(TICKS)
def test_it_equals_a_window_that_keeps_every_tick(ticks: list[tuple[int, int]]):
    window, now_ns = Window(), 1_700_000_000 * NS_PER_S
    seen: list[tuple[int, Decimal]] = []
    for step_s, units in ticks:
        now_ns += step_s * NS_PER_S
        price = Decimal(units).scaleb(-4)
        seen.append((now_ns, price))
        if price > window.high or price < window.low or now_ns >= window.slice_end_ns:
            window = advance(window, now_ns, price, WINDOW_S)
        assert (window.highest, window.lowest, window.oldest()) == dumb(seen)
        assert len(window.past) < SLICES


def test_it_is_full_once_the_whole_window_was_seen_without_a_gap_as_long_as_it():
    price = Decimal(2)
    window = advance(Window(), 0, price, WINDOW_S)
    for second in range(10, 90, 10):
        window = advance(window, second * NS_PER_S, price, WINDOW_S)
    assert not window.is_full(WINDOW_S)
    window = advance(window, 90 * NS_PER_S, price, WINDOW_S)
    assert window.is_full(WINDOW_S)
    window = advance(window, 500 * NS_PER_S, price, WINDOW_S)
    assert not window.is_full(WINDOW_S)


def test_the_comparisons_are_exact():
    window = advance(Window(), 0, Decimal("2.2"), WINDOW_S)
    window = advance(window, 1, Decimal("2.211"), WINDOW_S)
    assert window.reaches(Decimal("0.5"))
    assert not window.exceeds(Decimal("0.5"))
    assert window.exceeds(Decimal("0.4999999999"))
    assert str(window.percent()) == "0.5000"


def test_an_empty_window_is_not_full():
    assert not Window().is_full(WINDOW_S)
