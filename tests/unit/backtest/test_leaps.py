"""Prices that leap from one tick to the next are counted, wherever windows end and whatever tick a run goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from tradekeel.backtest.leaps import LEAPS, LeapsSource
from tradekeel.backtest.source import TicksSource
from tradekeel.domain.ticks import Tick

Quote = tuple[str, str]  # instrument, bid


def source(quotes: Sequence[Quote], window_ticks: int) -> LeapsSource:
    ticks = [
        Tick(symbol, number * 10**9, Decimal(bid), Decimal(bid) + Decimal("0.0001"), number)
        for number, (symbol, bid) in enumerate(quotes, start=1)
    ]
    return LeapsSource(TicksSource(ticks, window_ticks=window_ticks))


def leaps(quotes: Sequence[Quote], window_ticks: int, after: int = 0) -> int:
    one = source(quotes, window_ticks)
    assert [tick.position for window in one.windows(after) for tick in window.ticks] == list(
        range(after + 1, len(quotes) + 1)
    )
    return one.quality().get(LEAPS, 0)


def euro(*bids: str) -> list[Quote]:
    return [("EUR_USD", bid) for bid in bids]


@pytest.mark.parametrize("window_ticks", [1, 2, 3, 100])
@pytest.mark.parametrize("after", [0, 3, 5])
class TestLeaps:
    def test_a_point_in_the_wrong_place_leaps_there_and_back(self, window_ticks: int, after: int) -> None:
        assert leaps(euro("1.0900", "1.0901", "109.01", "1.0901", "1.0902"), window_ticks, after) == 2

    def test_a_split_leaps_once(self, window_ticks: int, after: int) -> None:
        assert leaps(euro("100", "101", "50.4", "50.5", "50"), window_ticks, after) == 1

    def test_a_fifth_is_no_leap_and_more_is_one(self, window_ticks: int, after: int) -> None:
        assert leaps(euro("1.0", "1.2", "1.0", "1.2", "1.2"), window_ticks, after) == 0
        assert leaps(euro("1.0", "1.2001", "1.1", "1.1", "1.1"), window_ticks, after) == 1

    def test_a_market_that_goes_far_by_small_steps_does_not_leap(self, window_ticks: int, after: int) -> None:
        assert leaps(euro("1.0", "1.15", "1.3", "1.5", "1.7", "2.0"), window_ticks, after) == 0

    def test_each_instrument_is_held_against_itself(self, window_ticks: int, after: int) -> None:
        both = [("EUR_USD", "1.09"), ("USD_JPY", "145"), ("EUR_USD", "1.10"), ("USD_JPY", "14.5"), ("EUR_USD", "1.09")]
        assert leaps(both, window_ticks, after) == 1


def test_each_reading_counts_anew() -> None:
    one = source(euro("1.09", "109", "1.09"), 2)
    for _ in range(2):
        list(one.windows())
        assert one.quality() == {"ticks": 3, LEAPS: 2}
