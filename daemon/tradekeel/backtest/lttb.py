"""Thinning of a curve for the eye: as many points as there is room for, chosen so that it looks the same.

"Largest triangle three buckets", from Sveinn Steinarsson, "Downsampling Time Series for Visual Representation", master's thesis,
University of Iceland (2013), section 4.2: the points between the first and the last are put into buckets of equal count, and of
each bucket that one is kept which spans the largest triangle with the point kept before it and the mean of the next bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

COUNT_MIN = 3
"""Fewer points than a first, a last and one between them cannot be asked for."""


def kept(xs: Sequence[int | float], ys: Sequence[Decimal | float], count: int) -> list[int]:
    """The indexes of ``count`` points, ascending, first and last among them; all of them where there are no more.

    Areas are compared as floats, since they only choose: the points themselves are not touched. Of triangles that are alike the
    earlier point is kept. Raises ValueError for a count below :data:`COUNT_MIN`, or for sequences that are not of one length.
    """
    if count < COUNT_MIN:
        raise ValueError(f"a curve is thinned to {COUNT_MIN} points or more, found {count}")
    if len(xs) != len(ys):
        raise ValueError(f"{len(xs)} times and {len(ys)} values are no curve")
    length = len(xs)
    if length <= count:
        return list(range(length))
    across = [float(x - xs[0]) for x in xs]  # nanoseconds since 1970 have more digits than a float
    up = [float(y) for y in ys]
    chosen = [0]
    for bucket in range(count - 2):
        start, stop = _bounds(bucket, length, count)
        chosen.append(_farthest(across, up, chosen[-1], range(start, stop), _next_mean(across, up, bucket, count)))
    chosen.append(length - 1)
    return chosen


def _bounds(bucket: int, length: int, count: int) -> tuple[int, int]:
    """Where a bucket begins and ends; the first point and the last are in none. In whole numbers, so that none is empty."""
    inner, buckets = length - 2, count - 2
    return bucket * inner // buckets + 1, (bucket + 1) * inner // buckets + 1


def _next_mean(across: Sequence[float], up: Sequence[float], bucket: int, count: int) -> tuple[float, float]:
    """The mean of the bucket behind this one; behind the last one there is the last point."""
    if bucket == count - 3:
        return across[-1], up[-1]
    start, stop = _bounds(bucket + 1, len(across), count)
    size = stop - start
    return sum(across[start:stop]) / size, sum(up[start:stop]) / size


def _farthest(
    across: Sequence[float], up: Sequence[float], before: int, bucket: range, behind: tuple[float, float]
) -> int:
    from_x, from_y = across[before], up[before]
    to_x, to_y = behind
    best, largest = bucket.start, -1.0
    for index in bucket:
        area = abs((from_x - to_x) * (up[index] - from_y) - (from_x - across[index]) * (to_y - from_y))
        if area > largest:
            best, largest = index, area
    return best
