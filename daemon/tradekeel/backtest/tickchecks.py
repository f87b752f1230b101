"""Ticks that a program has made, looked at before anybody trades on them.

Python takes anything for a price. A feed judges each row that it reads; what comes from a program was judged by nobody, and of a
price that is no number a run would tell somewhere in the middle of its matching, or not at all. Columns of many ticks are looked
at in one go, which is cheap; only where one of them is wrong is the first such tick looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any

from tradekeel.domain.money import ZERO
from tradekeel.domain.ticks import Tick
from tradekeel.errors import InputError

HOW_TO_TICK = 'make each with Tick("EUR_USD", 1_700_000_000_000_000_000, Decimal("1.1000"), Decimal("1.1001"), 1)'
"""What to do where something else was given: instrument, nanoseconds UTC, bid, ask, and the position, which counts from 1."""

TIMES_NS = range(7_258_118_400_000_000_000)
"""From 1970 to 2200, as of feeds: what is beyond is in another unit."""

_COLUMNS: tuple[Callable[[Any], Any], ...] = tuple(
    map(attrgetter, ("instrument", "ts_ns", "bid", "ask", "bid_size", "ask_size"))
)
_instrument, _time, _bid, _ask, _bid_size, _ask_size = _COLUMNS
_position = attrgetter("position")


def check_kinds(ticks: Sequence[Any], name: str, behind: int = 0) -> None:
    """Of ticks that follow position ``behind``, and that a program may have made of anything. Raises InputError."""
    if not _are_right(ticks):
        for number, tick in enumerate(ticks, start=behind + 1):
            _refuse_wrong(tick, f"{name}: tick {number}")


def check_instruments(ticks: Sequence[Tick], name: str, said: Collection[str], behind: int = 0) -> None:
    """InputError for a tick of an instrument that its source has not ``said`` to have: nobody would look at it."""
    if not set(map(_instrument, ticks)).issubset(said):
        number, tick = next(
            (number, tick) for number, tick in enumerate(ticks, start=behind + 1) if tick.instrument not in said
        )
        raise InputError(
            f"{name}: tick {number} is of {tick.instrument}, and the source says that it has {', '.join(said)}: "
            "all of its instruments stand in its info"
        )


def check_order(ticks: Sequence[Tick], name: str, behind: int = 0, before: Tick | None = None) -> None:
    """Ticks that follow position ``behind``, and the tick before them where there is one. Raises InputError."""
    before = before or ticks[0]
    times = list(map(_time, ticks))
    in_place = list(map(_position, ticks)) == list(range(behind + 1, behind + 1 + len(ticks)))
    if in_place and times[0] >= before.ts_ns and times == sorted(times):
        return
    for number, tick in enumerate(ticks, start=behind + 1):
        if tick.position != number:
            raise InputError(
                f"{name}: tick {number} has position {tick.position}; positions count from 1 without a gap"
            )
        if tick.ts_ns < before.ts_ns:
            raise InputError(
                f"{name}: tick {number} is earlier than the one before it ({tick.ts_ns} after {before.ts_ns})"
            )
        before = tick


def crossed(ticks: Iterable[Tick]) -> int:
    """How many have a bid above their ask."""
    return sum(tick.bid > tick.ask for tick in ticks)


def _are_right(ticks: Sequence[Any]) -> bool:
    """Whether all of them are, told from whole columns."""
    if {*map(type, ticks)} != {Tick}:
        return False
    times = [tick.ts_ns for tick in ticks]
    prices = [tick.bid for tick in ticks]
    prices += [tick.ask for tick in ticks]
    if {type(tick.instrument) for tick in ticks} != {str} or {*map(type, times)} != {int}:
        return False
    if {*map(type, prices)} != {Decimal} or not all(map(Decimal.is_finite, prices)):
        return False
    sizes = [size for tick in ticks for size in (tick.bid_size, tick.ask_size) if size is not None]
    return min(times) in TIMES_NS and max(times) in TIMES_NS and min(prices) > ZERO and all(map(_is_size, sizes))


def _is_size(size: Any) -> bool:
    return size is None or (isinstance(size, Decimal) and size.is_finite() and size >= ZERO)


def _is_price(price: Decimal) -> bool:
    return price.is_finite() and price > ZERO


def _refuse_wrong(tick: Any, what: str) -> None:
    if not isinstance(tick, Tick):
        raise InputError(f"{what} is a {type(tick).__name__}: {HOW_TO_TICK}")
    symbol, time, bid, ask, *sizes = (column(tick) for column in _COLUMNS)
    if not isinstance(symbol, str):
        raise InputError(f"{what} has the instrument {symbol!r}, which is no text: {HOW_TO_TICK}")
    is_exact = isinstance(bid, Decimal) and isinstance(ask, Decimal)
    if not is_exact or not isinstance(time, int) or isinstance(time, bool):
        raise InputError(
            f"{what} has the bid {bid!r}, the ask {ask!r} and the time {time!r}: prices are Decimal, and the "
            f"time whole nanoseconds UTC. {HOW_TO_TICK}"
        )
    if time not in TIMES_NS:
        raise InputError(f"{what} has the time {time}, which is not between 1970 and 2200: it is nanoseconds UTC")
    if not (_is_price(bid) and _is_price(ask)):
        raise InputError(f"{what} has the bid {bid} and the ask {ask}: prices are above zero")
    if not all(map(_is_size, sizes)):
        raise InputError(
            f"{what} has the sizes {sizes[0]!r} and {sizes[1]!r}: sizes are Decimal, not below zero, or None"
        )
