"""A thinned curve has its first and its last point, as many as were asked for, and no point of its own."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.backtest.lttb import COUNT_MIN, kept

VALUES = st.lists(st.decimals(-10_000, 10_000, places=4), min_size=1, max_size=400)
COUNTS = st.integers(COUNT_MIN, 60)
START_NS = 1_700_000_000_000_000_000


@given(VALUES, COUNTS)
def test_as_many_points_as_asked_for_with_the_first_and_the_last(ys: list[Decimal], count: int) -> None:
    chosen = kept(range(START_NS, START_NS + len(ys)), ys, count)
    assert len(chosen) == min(count, len(ys))
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (0, len(ys) - 1)


@given(VALUES, COUNTS)
def test_the_same_curve_is_thinned_the_same_way(ys: list[Decimal], count: int) -> None:
    assert kept(range(len(ys)), ys, count) == kept(range(len(ys)), ys, count)


@given(VALUES, COUNTS, st.integers(0, 10**18))
def test_when_a_curve_was_does_not_matter(ys: list[Decimal], count: int, later: int) -> None:
    """Nanoseconds since 1970 have more digits than a float: two times must not become one."""
    assert kept(range(later, later + len(ys)), ys, count) == kept(range(len(ys)), ys, count)


@given(st.integers(10, 300), st.integers(1, 8), st.data())
def test_a_lone_peak_on_flat_land_is_kept(length: int, height: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, length - 2))
    ys = [Decimal(height * 1_000) if index == at else Decimal(0) for index in range(length)]
    assert at in kept(range(length), ys, 8)


def dumb(xs: list[float], ys: list[float], count: int) -> list[int]:
    """The thesis, word by word: slow, with lists."""
    inner = list(range(1, len(xs) - 1))
    buckets = [inner[n * len(inner) // (count - 2) : (n + 1) * len(inner) // (count - 2)] for n in range(count - 2)]
    buckets.append([len(xs) - 1])
    chosen = [0]
    for bucket, behind in pairwise(buckets):
        cx, cy = sum(xs[i] for i in behind) / len(behind), sum(ys[i] for i in behind) / len(behind)
        ax, ay = xs[chosen[-1]], ys[chosen[-1]]
        areas = [abs((ax - cx) * (ys[i] - ay) - (ax - xs[i]) * (cy - ay)) for i in bucket]
        chosen.append(bucket[areas.index(max(areas))])
    return [*chosen, len(xs) - 1]


@given(st.lists(st.integers(-1_000, 1_000), min_size=61, max_size=300), COUNTS)
def test_it_is_what_the_thesis_says(ys: list[int], count: int) -> None:
    xs = [float(index) for index in range(len(ys))]
    assert kept(range(len(ys)), [Decimal(y) for y in ys], count) == dumb(xs, [float(y) for y in ys], count)


def test_no_curve_is_thinned_to_two_points() -> None:
    with pytest.raises(ValueError, match="3 points or more"):
        kept([1, 2, 3], [1.0, 2.0, 3.0], 2)
    with pytest.raises(ValueError, match="no curve"):
        kept([1], [1.0, 2.0], 3)
