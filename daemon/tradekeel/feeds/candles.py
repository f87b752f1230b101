"""Bars in the place of quotes: each candle is played back as quotes.

A candle says where the price began, how far it went and where it ended, and nothing of the way. The way that it is given here is
an assumption: the open comes at the candle's start, and once more a second later, so that what is decided on the candle before
it is filled at the open; then the price walks to one extreme, in the first third, to the other, in the second, and to the
close, 1 ms before the end. Where it closes at or above its open the low comes before the high, and else after it, as in minute
files. It walks in small steps, since an order between open and extreme would otherwise be filled at the extreme.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from decimal import ROUND_DOWN, Decimal
from itertools import pairwise
from typing import Literal, NamedTuple

from msgspec import Struct

from tradekeel.domain.bars import parse_timeframe
from tradekeel.domain.instruments import Instrument
from tradekeel.domain.money import WORKING, ZERO, Rounding, on_grid, round_to
from tradekeel.domain.times import NS_PER_MS, NS_PER_S, iso
from tradekeel.errors import InputError
from tradekeel.feeds.layouts import Numbers, places, texts_of, time_of
from tradekeel.feeds.rows import BadRow, Quotes, Row, RowKind, Unfit
from tradekeel.feeds.times import TimeReader
from tradekeel.feeds.zones import WallClock

STEPS_MAX = 50
"""Of a walk from one price to the next: the step is a fiftieth of the way at least, so that a wild candle has some 150 quotes."""

AGAIN_NS = NS_PER_S
"""How long after its start a candle's open is said once more."""

OHLC = ("open", "high", "low", "close")
"""Its prices, by the usual names of their columns."""

SPAN_NS_MIN = 60 * NS_PER_S
HOUR_NS = 3_600 * NS_PER_S
_HALF = Decimal("0.5")


class CandleRows(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bars of a file are. Its presence says that rows are bars."""

    span: str  # from a minute to a day, which must be full of them
    spread_pips: Decimal
    step_pips: Decimal = Decimal(1)  # at most this from one quote to the next, or a fiftieth of the way
    prices: Literal["mid", "bid", "ask"] = "mid"
    stamped: Literal["start", "end"] = "start"  # which moment of a bar its time is

    def __post_init__(self) -> None:
        try:
            span_ns = self.span_ns
        except InputError:
            span_ns = 0
        if span_ns < SPAN_NS_MIN:
            raise ValueError(
                f'span {self.span!r}: allowed are spans from a minute to a day that divide it evenly, such as "1m", "1h", "1d"'
            )
        for name in ("spread_pips", "step_pips"):
            value = getattr(self, name)
            if not ZERO < value <= 1_000_000:
                raise ValueError(f"{name} must be above 0 and at most a million, found {value}")

    @property
    def span_ns(self) -> int:
        """How long a bar lasts."""
        return parse_timeframe(self.span).span_ns

    @property
    def silent_ns(self) -> int:
        """The longest time between two quotes of bars that follow each other."""
        return self.span_ns // 3

    @property
    def hides_hours(self) -> bool:
        """Whether the hour of a quote says nothing of when it was traded at."""
        return self.span_ns > HOUR_NS


def _corners_ns(span_ns: int) -> tuple[int, ...]:
    """When the open is said again, when each extreme is reached, and when the close."""
    return AGAIN_NS, span_ns // 3, 2 * span_ns // 3, span_ns - NS_PER_MS


class CandlePath:
    """The quotes of candles, and a look at whether they last as long as the settings say."""

    def __init__(self, rows: CandleRows, instrument: Instrument, zone: tzinfo = UTC) -> None:
        """``zone`` is that of the clock on which bars begin: where it is put forward, a bar is an hour short."""
        span_ns = rows.span_ns
        self._span, self._span_ns = rows.span, span_ns
        self._last_ns: int | None = None
        self._was_short = False
        self._by_end = rows.stamped == "end"
        self._clock = WallClock(zone)
        self._corners_ns = _corners_ns(span_ns)
        self._step = max(WORKING.multiply(rows.step_pips, instrument.pip_size), instrument.tick_size)
        self._tick_size = instrument.tick_size
        spread = WORKING.multiply(rows.spread_pips, instrument.pip_size)
        if not on_grid(spread, instrument.tick_size):
            raise InputError(
                f"bars.spread_pips {rows.spread_pips}: that is {spread:f}, and prices of {instrument.symbol} go in steps of "
                f"{instrument.tick_size}: take a whole number of them"
            )
        half = round_to(WORKING.multiply(spread, _HALF), instrument.tick_size, Rounding.PRICE_UP)
        self._below = {"mid": half, "bid": ZERO, "ask": spread}[rows.prices]
        self._above = spread - self._below

    def row(
        self, time_ns: int, opens: Decimal, high: Decimal, low: Decimal, close: Decimal
    ) -> tuple[list[Row], BadRow | None]:
        """Those of one, and a complaint that a policy may overrule. Raises Unfit where bars do not last so long."""
        self._demand_span(time_ns)
        lasts_ns = self._lasts_ns(time_ns)
        start_ns = time_ns - lasts_ns if self._by_end else time_ns
        corners_ns = self._corners_ns if lasts_ns == self._span_ns else _corners_ns(lasts_ns)
        way = (low, high) if close >= opens else (high, low)
        rows = [self._quote(start_ns, opens), self._quote(start_ns + corners_ns[0], opens)]
        corners = list(zip(corners_ns, (opens, *way, close), strict=True))
        for (from_ns, start), (to_ns, end) in pairwise(corners):
            rows += self._walk(start_ns + from_ns, start, start_ns + to_ns, end)
        if low <= opens <= high and low <= close <= high:
            return rows, None
        found = f"open {opens} or close {close} lies outside low {low} and high {high}"
        return rows, BadRow(RowKind.BAR_RANGE, found)

    def _lasts_ns(self, time_ns: int) -> int:
        """How long a bar lasts: an hour less than the others where clocks are put forward in it.

        Where they are put back it lasts as long as the others, and nothing is told of the hour behind it.
        """
        if self._span_ns <= HOUR_NS:
            return self._span_ns
        away_ns = self._clock.behind_ns(time_ns, -self._span_ns if self._by_end else self._span_ns)
        return min(self._span_ns, abs(away_ns - time_ns))

    def _demand_span(self, time_ns: int) -> None:
        """Bars that follow each other more closely than they last would be played into each other.

        Only in the night when clocks are put forward a bar of local time is an hour short, and the next one is not. What goes
        back in time, or stays, is a bad row and says nothing of the span.
        """
        last_ns, self._last_ns = self._last_ns, time_ns
        if last_ns is None or time_ns <= last_ns:
            return
        apart_ns, was_short = time_ns - last_ns, self._was_short
        self._was_short = apart_ns < self._span_ns
        if self._was_short and (was_short or apart_ns != self._span_ns - HOUR_NS):
            raise Unfit(
                f"the bar of {iso(time_ns)} follows the one of {iso(last_ns)}, {apart_ns / NS_PER_S:g} s later, and bars last "
                f'{self._span_ns // NS_PER_S} s by bars.span = "{self._span}"'
            )

    def _walk(self, from_ns: int, start: Decimal, to_ns: int, end: Decimal) -> Iterator[Row]:
        """From one price, which was said, to another; what lies between is a whole number of tick sizes from the first."""
        way = end - start
        steps = STEPS_MAX
        if abs(way) < self._step * STEPS_MAX:
            whole, rest = divmod(abs(way), self._step)
            steps = max(1, int(whole) + bool(rest))
        for step in range(1, steps):
            passed = WORKING.divide(way * step, self._tick_size * steps).to_integral_value(ROUND_DOWN) * self._tick_size
            yield self._quote(from_ns + (to_ns - from_ns) * step // steps, start + passed)
        yield self._quote(to_ns, end)

    def _quote(self, ts_ns: int, price: Decimal) -> Row:
        return ts_ns, price - self._below, price + self._above, None, None


class CandleColumns(NamedTuple):
    """Where things are: a column's number from 0, or its name in the header."""

    time: int | str
    open: int | str
    high: int | str
    low: int | str
    close: int | str
    date: int | str | None = None  # joined with the time by a space


class CandleLayout:
    """One candle a row of text. A :class:`~tradekeel.feeds.layouts.Layout`."""

    quotes_per_row = 0
    width: int | None = None

    def __init__(self, times: TimeReader, columns: CandleColumns, path: CandlePath, decimal_mark: str = ".") -> None:
        self.times = times
        self._wanted = columns
        self._path = path
        self._prices = Numbers(decimal_mark)
        self._at: Sequence[int] = ()
        self._date: int | None = None

    def bind(self, header: Sequence[str] | None, file: str) -> int:
        """Find the columns."""
        *found, self._date = places(self._wanted, header, file)
        self._at = [place for place in found if place is not None]
        return max(*self._at, self._date or 0) + 1

    def quotes(self, cells: Sequence[str], stride: int) -> Quotes:
        """Rows of which nobody knows how many quotes they have are read one by one."""
        raise BadRow(RowKind.COLUMNS, "a candle is read by itself")

    def row(self, cells: Sequence[str], last_ns: int) -> tuple[list[Row], BadRow | None]:
        """The quotes of one row."""
        time, *prices = self._at
        time_ns = time_of(self.times, texts_of(cells, time, self._date, len(cells))[0], last_ns)
        opens, high, low, close = (self._prices[cells[place]] for place in prices)
        return self._path.row(time_ns, opens, high, low, close)
