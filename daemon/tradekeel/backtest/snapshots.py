"""When the figures of a backtest's account are taken down, by the market's time."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from tradekeel.domain.times import NS_PER_S

STEPS_NS = tuple(seconds * NS_PER_S for seconds in (10, 60, 300, 900))
"""From one snapshot to the next where nobody has said how long."""

LONGEST_STEP_NS = 3_600 * NS_PER_S
OF_A_STEP_MAX = 240
"""How many of a step there may have been since the first tick before a longer one is taken."""


class Snapshots(Struct, frozen=True):
    """When snapshots are taken."""

    after: Callable[[int, int], int]
    """The first time that is later than this one, of a run whose first tick was at the other: all three in nanoseconds; NEVER_NS
    for never again.
    """
    with_metrics: bool = False
    """Whether each saves the state that figures come from, too: half a millisecond, six kilobytes of books."""


def every(interval_ns: int) -> Callable[[int, int], int]:
    """At equal intervals, counted from 1970 on."""
    return lambda now_ns, first_ns: _next(now_ns, interval_ns)


def thinning(now_ns: int, first_ns: int) -> int:
    """Close together at the beginning, and at last each hour: nobody knows beforehand how long the data is, and the curve of a
    morning is to be one, too. Some eight hundred points, and one more for each hour behind two days and a half.
    """
    passed_ns = now_ns - first_ns
    step_ns = next((step for step in STEPS_NS if passed_ns < step * OF_A_STEP_MAX), LONGEST_STEP_NS)
    return _next(now_ns, step_ns)


def _next(now_ns: int, interval_ns: int) -> int:
    return (now_ns // interval_ns + 1) * interval_ns
