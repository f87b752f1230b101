"""Ranges and their points: decimals stay exact, whole numbers whole, and equal points have equal marks."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.backtest.optimising.space import Range, Space, key_of


def ranged(low: str, high: str, step: str | None = None, *, whole: bool = False, log: bool = False) -> Range:
    return Range(
        strategy="ema",
        parameter="p",
        low=Decimal(low),
        high=Decimal(high),
        step=None if step is None else Decimal(step),
        whole=whole,
        log=log,
    )


def values(range_: Range) -> list[object]:
    return [range_.value(mark) for mark in range_.marks()]


def test_a_range_of_decimals_has_its_steps_exactly() -> None:
    assert values(ranged("0.1", "0.7", "0.1")) == [Decimal(n) / 10 for n in range(1, 8)]


def test_the_last_step_never_goes_beyond_the_end() -> None:
    assert values(ranged("5", "50", "20", whole=True)) == [5, 25, 45]


def test_whole_numbers_are_ints() -> None:
    found = values(ranged("3", "6", "1", whole=True))
    assert found == [3, 4, 5, 6]
    assert {type(each) for each in found} == {int}


def test_choices_come_as_they_were_written() -> None:
    range_ = Range(strategy="ema", parameter="timeframe", choices=("", "5s", "1m"))
    assert values(range_) == ["", "5s", "1m"]


@given(st.floats(min_value=0.5, max_value=9.75))
def test_a_value_of_a_stretch_has_six_digits_and_stays_inside(drawn: float) -> None:
    range_ = ranged("0.5", "9.75")
    mark = range_.rounded(drawn)
    value = range_.value(mark)
    assert Decimal("0.5") <= value <= Decimal("9.75")
    assert len(value.as_tuple().digits) <= 6 + 1
    assert range_.rounded(mark) == mark


def test_a_space_knows_how_many_points_it_has() -> None:
    first = ranged("1", "3", "1", whole=True)
    assert Space((first,)).count == 3
    assert Space((first, ranged("0", "1"))).count is None


def test_points_and_the_parameters_that_they_mean() -> None:
    space = Space(
        (
            Range(strategy="a", parameter="x", low=Decimal(1), high=Decimal(2), step=Decimal(1), whole=True),
            Range(strategy="b", parameter="y", low=Decimal(0), high=Decimal("0.5"), step=Decimal("0.25")),
        )
    )
    points = list(space.points())
    assert len(points) == space.count == 6
    assert len({key_of(each) for each in points}) == 6
    assert space.values(points[-1]) == {"a": {"x": 2}, "b": {"y": Decimal("0.50")}}
    assert space.shown(points[0]) == {"a.x": 1, "b.y": Decimal(0)}


@pytest.mark.parametrize("marks", [{"a": 1, "b": 2}, {"b": 2, "a": 1}])
def test_a_key_does_not_ask_in_which_order(marks: dict[str, int]) -> None:
    assert key_of(marks) == (("a", 1), ("b", 2))
