"""Walk-forward windows: parameters are chosen on one part of the data and tried on the part behind it, again and again.

R. Pardo, "The Evaluation and Optimization of Trading Strategies", 2nd edition (2008), chapter 11. All times are UTC nanoseconds,
a part's end excluded. Parts are cut by time, not by ticks: so every machine cuts the same data in the same places.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.times import iso
from tradekeel.errors import InputError

WINDOWS_MAX = 1_000


class Part(Struct, frozen=True):
    """A stretch of time."""

    start_ns: int
    end_ns: int

    @property
    def span_ns(self) -> int:
        """How long it is."""
        return self.end_ns - self.start_ns

    def begun_earlier(self, by_ns: int) -> Part:
        """The same with what lies so long before it."""
        return Part(self.start_ns - by_ns, self.end_ns)

    def __str__(self) -> str:
        return f"{iso(self.start_ns)[:16]} – {iso(self.end_ns)[:16]}"


class Window(Struct, frozen=True):
    """One choice of parameters, and where it is tried. Without walk-forward nothing is out of sample."""

    number: int  # from 1 on
    inside: Part
    outside: Part | None


class Cutting(Struct, frozen=True, kw_only=True):
    """How the data is cut: into ``windows`` of which each has ``share`` of itself out of sample, or by the two spans."""

    windows: int = 4
    share: Decimal = Decimal("0.25")
    anchored: bool = False  # every in-sample part begins where the data begins
    inside_ns: int | None = None
    outside_ns: int | None = None


def whole(data: Part) -> tuple[Window, ...]:
    """No walk-forward: one window over everything."""
    return (Window(1, data, None),)


def walk_forward(data: Part, how: Cutting) -> tuple[Window, ...]:
    """The windows over ``data``, the earliest first; the last one ends where the data ends.

    With ``n`` windows of share ``s`` the out-of-sample parts are ``T / (n + (1 - s) / s)`` long and lie one behind the other,
    each behind an in-sample part of ``(1 - s) / s`` times that. With spans there are as many windows as fit. Raises InputError
    where none does.
    """
    if how.inside_ns is not None and how.outside_ns is not None:
        inside_ns, outside_ns = how.inside_ns, how.outside_ns
        count = (data.span_ns - inside_ns) // outside_ns
    else:
        ratio = (1 - how.share) / how.share
        count = how.windows
        outside_ns = int(Decimal(data.span_ns) / (count + ratio))
        inside_ns = data.span_ns - count * outside_ns
    if count < 1 or inside_ns < 1 or outside_ns < 1:
        raise InputError(
            f"the data ({data}) is shorter than one window: take more data, shorter parts, or walk_forward = false"
        )
    if count > WINDOWS_MAX:
        raise InputError(f"these are {count:,} windows, allowed: at most {WINDOWS_MAX:,}; take longer parts")
    windows = []
    for number in range(1, count + 1):
        behind_ns = data.end_ns - (count - number) * outside_ns
        middle_ns = behind_ns - outside_ns
        start_ns = data.start_ns if how.anchored else middle_ns - inside_ns
        windows.append(Window(number, Part(start_ns, middle_ns), Part(middle_ns, behind_ns)))
    return tuple(windows)
