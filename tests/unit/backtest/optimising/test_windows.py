"""Walk-forward windows: what is chosen on comes before what it is tried on, and nothing behind the first part is left out."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.backtest.optimising.windows import Cutting, Part, Window, walk_forward, whole
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import InputError

DAY_NS = 86_400 * NS_PER_S
DATA = Part(10 * DAY_NS, 110 * DAY_NS)


def outside(window: Window) -> Part:
    assert window.outside is not None
    return window.outside


@given(
    st.integers(1, 40),
    st.decimals("0.05", "0.95", places=2),
    st.booleans(),
    st.integers(1_000, 10**18),
)
def test_parts_follow_each_other_and_end_where_the_data_ends(
    count: int, share: Decimal, anchored: bool, span_ns: int
) -> None:
    data = Part(7, 7 + span_ns)
    windows = walk_forward(data, Cutting(windows=count, share=share, anchored=anchored))
    assert len(windows) == count
    assert outside(windows[-1]).end_ns == data.end_ns
    assert windows[0].inside.start_ns == data.start_ns
    for window in windows:
        assert window.inside.end_ns == outside(window).start_ns, "nothing is tried on what it was chosen on"
    for one, other in pairwise(windows):
        assert outside(one).end_ns == outside(other).start_ns, "no tick is out of sample twice, and none is left out"


def test_windows_roll_with_the_same_length() -> None:
    windows = walk_forward(DATA, Cutting(windows=4, share=Decimal("0.2")))
    assert {each.inside.span_ns for each in windows} == {50 * DAY_NS}
    assert {outside(each).span_ns for each in windows} == {12 * DAY_NS + DAY_NS // 2}


def test_anchored_windows_grow() -> None:
    windows = walk_forward(DATA, Cutting(windows=3, anchored=True))
    assert {each.inside.start_ns for each in windows} == {DATA.start_ns}
    spans = [each.inside.span_ns for each in windows]
    assert spans == sorted(set(spans))


def test_spans_give_as_many_windows_as_fit_and_leave_out_the_oldest() -> None:
    windows = walk_forward(DATA, Cutting(inside_ns=30 * DAY_NS, outside_ns=20 * DAY_NS))
    assert len(windows) == 3
    assert windows[0].inside == Part(20 * DAY_NS, 50 * DAY_NS)
    assert outside(windows[-1]).end_ns == DATA.end_ns


def test_data_that_is_too_short_is_refused() -> None:
    with pytest.raises(InputError, match="shorter than one window"):
        walk_forward(DATA, Cutting(inside_ns=90 * DAY_NS, outside_ns=20 * DAY_NS))


def test_parts_that_are_far_too_short_are_refused() -> None:
    with pytest.raises(InputError, match="at most 1,000"):
        walk_forward(DATA, Cutting(inside_ns=DAY_NS, outside_ns=DAY_NS // 1_000))


def test_without_walk_forward_nothing_is_out_of_sample() -> None:
    assert whole(DATA) == (Window(1, DATA, None),)
