"""The margin guard is conservative: whatever the quotes do inside it, no margin call can come."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests.unit.domain.matching_desk import D
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.matching.margin import Margin
from tradekeel.domain.matching.rates import Converter
from tradekeel.domain.money import ZERO, ledger
from tradekeel.domain.positions import Position, conversion_rate
from tradekeel.domain.ticks import Tick

SYMBOLS = ("EUR_USD", "USD_JPY", "EUR_GBP", "GBP_JPY")
MIDS = {"EUR_USD": D("1.1"), "USD_JPY": D(100), "EUR_GBP": D("0.8"), "GBP_JPY": D("137.5")}
shares = st.decimals(0, 1, places=3)


@st.composite
def quoted(draw: st.DrawFn, around: dict[str, D] | None = None) -> dict[str, Tick]:
    """A tick of every pair, up to a tenth away from where the pair usually is."""
    marks = {}
    for symbol in SYMBOLS:
        bid = MIDS[symbol] * (D("0.9") + draw(shares) / 5)
        bid = CATALOGUE[symbol].price(bid)
        spread = CATALOGUE[symbol].tick_size * draw(st.integers(0, 50))
        marks[symbol] = Tick(symbol, 1, bid, bid + spread, 1)
    return marks


positions = st.lists(
    st.builds(
        lambda symbol, quantity, at, ref: Position(symbol, D(quantity), D(quantity) * MIDS[symbol] * at, ref),
        st.sampled_from(SYMBOLS),
        st.integers(-5000, 5000).filter(bool),
        st.sampled_from([D("0.1"), D("0.9"), D("0.99"), D(1), D("1.01"), D("1.1"), D(3), D(20)]),
        st.integers(1, 99).map(str),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda position: position.ref,
)


@pytest.mark.untraced
@given(
    positions,
    quoted(),
    st.sampled_from(["USD", "EUR", "JPY", "GBP"]),
    st.sampled_from([D("0.0001"), D("0.5"), D(20), D(300), D(5000)]),
    st.sampled_from([D("0.5"), D("0.9")]),
    st.lists(st.lists(st.booleans() | st.booleans() | shares, min_size=8, max_size=8), min_size=8, max_size=30),
)
def test_inside_the_guard_no_margin_call_comes(
    held: list[Position], marks: dict[str, Tick], currency: str, slack: D, level: D, corners: list[list[D]]
):
    converter = Converter(currency, {})
    for symbol in SYMBOLS:
        converter.learn(symbol)
    margin = Margin(CATALOGUE, converter, D(20), level)
    with ledger():
        for position in held:
            margin.replace(None, position)
        worth, used = margin.figures(marks)
        balance = level * used - worth + slack * (100 if currency == "JPY" else 1)  # so far above the call
        assert not margin.is_called(balance, marks)
        guard = margin.guard(balance, marks)
        for symbol, (bid_low, bid_high, ask_low, ask_high) in guard.items():
            mark = marks[symbol]
            assert bid_low <= mark.bid <= bid_high
            assert ask_low <= mark.ask <= ask_high
        moved = dict(marks)
        for corner in corners:
            for number, (symbol, (bid_low, bid_high, ask_low, ask_high)) in enumerate(guard.items()):
                bid = bid_low + (bid_high - bid_low) * D(corner[2 * number])
                ask = ask_low + (ask_high - ask_low) * D(corner[2 * number + 1])
                moved[symbol] = Tick(symbol, 2, bid, ask, 2)
            assert not margin.is_called(balance, moved)
    event("room" if any(low < high for low, high, *_ in guard.values()) else "no room")


@given(positions, quoted())
def test_the_figures_are_the_sums_of_what_each_position_is_worth(held: list[Position], marks: dict[str, Tick]):
    converter = Converter("EUR", {})
    for symbol in SYMBOLS:
        converter.learn(symbol)
    margin = Margin(CATALOGUE, converter, None, None)
    worth = used = ZERO
    with ledger():
        for position in held:
            margin.replace(None, position)
            instrument, mark = CATALOGUE[position.instrument], marks[position.instrument]
            rate = conversion_rate(instrument.quote, "EUR", marks)  # type: ignore[arg-type]  # a tick has bid and ask, too
            assert rate == margin.rate_of(position.instrument, marks)
            assert rate is not None
            worth += position.unrealised(mark.bid, mark.ask) * rate
            used += abs(position.quantity) * (mark.bid + mark.ask) / 2 * instrument.margin_rate * rate
        found = margin.figures(marks)
        # rounded once an instrument to 0.0001
        assert abs(found[0] - worth) <= D("0.00021")
        assert abs(found[1] - used) <= D("0.00021")
        for position in held:
            margin.replace(position, None)
        assert margin.exposures == {}
        assert margin.figures(marks) == (ZERO, ZERO)
