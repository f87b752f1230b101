"""The same ticks in other ways: what is the same about them, and what is not."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest

from tests.unit.backtest import bench
from tests.unit.backtest.scene import EUR, tape
from tradekeel.backtest.analysing.portions import later, mirrored, portioned, until
from tradekeel.backtest.source import TicksSource
from tradekeel.domain.ticks import Bar, Tick, TickWindow

FRAMES = {EUR: ("5s", "7t")}


def market() -> list[Tick]:
    return [tick for window in bench.market(300).windows() for tick in window.ticks]


def windows(ticks: list[Tick], size: int = 64) -> Iterable[TickWindow]:
    return TicksSource(ticks, window_ticks=size, timeframes=FRAMES).windows()


def ticks_of(found: Iterable[TickWindow]) -> list[Tick]:
    return [tick for window in found for tick in window.ticks]


def bars_of(found: Iterable[TickWindow]) -> list[tuple[int, Bar]]:
    """Each bar with the tick that it comes before."""
    return [(w.ticks[i].position, bar) for w in found for i, bars in sorted(w.bars.items()) for bar in bars]


@pytest.mark.parametrize("size", [1, 5, 63, 1_000])
def test_portions_hold_the_same_ticks_and_bars(size: int) -> None:
    ticks = market()
    found = list(portioned(windows(ticks), lambda: size))
    assert max(len(window.ticks) for window in found) <= size
    assert ticks_of(found) == ticks
    assert bars_of(found) == bars_of(windows(ticks))


def test_a_gap_belongs_to_the_first_portion_alone() -> None:
    window = TickWindow(market()[:10], gap=True, lost=3)
    assert [(w.gap, w.lost) for w in portioned([window], lambda: 4)] == [(True, 3), (False, None), (False, None)]


@pytest.mark.parametrize("position", [1, 64, 65, 130])
def test_data_is_cut_off_behind_a_tick(position: int) -> None:
    ticks = market()
    assert ticks_of(until(windows(ticks), position)) == ticks[:position]
    assert bars_of(until(windows(ticks), position)) == [bar for bar in bars_of(windows(ticks)) if bar[0] <= position]


@pytest.mark.parametrize("position", [1, 64, 130])
def test_the_opposite_market_begins_behind_a_tick(position: int) -> None:
    ticks = market()
    found = list(mirrored(windows(ticks), position, FRAMES))
    turned = ticks_of(found)
    assert turned[:position] == ticks[:position]
    middle = ticks[position - 1].mid
    for before, after in zip(ticks[position:], turned[position:], strict=True):
        assert after.mid - middle == middle - before.mid
        assert (after.spread, after.ts_ns, after.position) == (before.spread, before.ts_ns, before.position)
    assert bars_of(found) == bars_of(windows(turned))


def test_an_instrument_that_comes_later_is_turned_about_its_first_price() -> None:
    ticks = tape("1.1 1.2", "USD_JPY 150 151", "USD_JPY 152 153")
    turned = ticks_of(mirrored([TickWindow(ticks)], 1, {}))
    assert [str(tick.bid) for tick in turned[1:]] == ["150", "148"]


def test_no_price_comes_to_nothing() -> None:
    ticks = tape("1 2", "5 6")
    assert ticks_of(mirrored([TickWindow(ticks)], 1, {}))[1].bid == Decimal("1.5")


def test_later_data_counts_anew() -> None:
    ticks = market()
    found = ticks_of(later(windows(ticks), 100, {}))
    assert [tick.position for tick in found] == list(range(1, 201))
    assert [(tick.ts_ns, tick.bid) for tick in found] == [(tick.ts_ns, tick.bid) for tick in ticks[100:]]


def test_bars_of_later_data_are_those_of_the_whole_but_for_the_one_under_way() -> None:
    whole = [(position - 100, bar) for position, bar in bars_of(windows(market())) if position > 100]
    found = bars_of(later(windows(market()), 100, FRAMES))
    for frame in FRAMES[EUR]:
        own = [(bar.start_ns, bar.open, bar.close) for _, bar in found if bar.timeframe == frame][1:]
        assert own
        assert own == [(bar.start_ns, bar.open, bar.close) for _, bar in whole if bar.timeframe == frame][-len(own) :]
