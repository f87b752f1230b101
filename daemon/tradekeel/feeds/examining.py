"""What there is in market data, and what is odd about it: measured while it is read, in little memory.

Prices and spreads are counted by their values, of which there are some thousand, so medians are exact; where there are too many
of them they are counted more coarsely. Moments are counted by the hour.

A **spike** is a step of the mid from one tick to the next that is far from usual. How far usual steps lie apart is told by their
median absolute deviation (MAD), which, unlike a standard deviation, no spike can move: a step is a spike if it is more than
so many MADs from the median step. Counted are steps that are not zero, since most are, and none over a gap; a MAD is at least one
tick size. (Hampel, "The influence curve and its role in robust estimation", 1974.)
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate, compress
from operator import attrgetter, sub

from msgspec import Struct, field

from tradekeel.domain.instruments import Instrument
from tradekeel.domain.money import WORKING, ZERO
from tradekeel.domain.sessions import Session, market_open, next_change_ns, sessions_at
from tradekeel.domain.ticks import TWO, Tick
from tradekeel.domain.times import NS_PER_S
from tradekeel.feeds.rows import Describe, RowKind

SPIKE_MADS = Decimal(50)
"""A step is a spike if it is more than so many MADs from the median step."""

VALUES_MAX = 50_000
EXAMPLES_MAX = 3
MISSED_MAX = 1_000
HOUR_NS, DAY_NS = 3_600 * NS_PER_S, 86_400 * NS_PER_S
OFFICES = (Session.SYDNEY, Session.TOKYO, Session.LONDON, Session.NY)


class Values:
    """Numbers, counted by value."""

    def __init__(self, unit: Decimal) -> None:
        self.counts: Counter[Decimal] = Counter()
        self._unit = unit
        self.exact = True

    def add(self, values: Iterable[Decimal]) -> None:
        """Count some."""
        self.counts.update(values)
        while len(self.counts) > VALUES_MAX:
            self._coarsen()

    def _coarsen(self) -> None:
        """Count in steps ten times as large."""
        self.exact = False
        self._unit *= 10
        rounded: Counter[Decimal] = Counter()
        for value, count in self.counts.items():
            rounded[WORKING.multiply(WORKING.divide(value, self._unit).to_integral_value(), self._unit)] += count
        self.counts = rounded

    def median(self) -> Decimal | None:
        """The middle one, the lower of two; None of nothing."""
        return median_of(self.counts)


def median_of(counts: Mapping[Decimal, int]) -> Decimal | None:
    """The middle value (the lower of two), None of nothing."""
    values = sorted(counts)
    half = (sum(counts.values()) + 1) // 2
    sums = accumulate(counts[value] for value in values)
    return next((value for value, total in zip(values, sums, strict=True) if total >= half), None)


class Step(Struct, frozen=True, order=True):
    """How far the mid went from one tick to the next."""

    size: Decimal  # without its sign
    ts_ns: int
    position: int
    step: Decimal


class Spikes(Struct, frozen=True, kw_only=True):
    """Steps of the mid that are far from usual."""

    count: int
    bound_mads: Decimal
    bound: Decimal | None  # in price; None where there is no step
    largest: list[Step]


class Example(Struct, frozen=True):
    """One bad row."""

    where: str
    found: str


class Oddity(Struct, kw_only=True):
    """Bad rows of one kind."""

    policy: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)


class PartSpan(Struct, kw_only=True):
    """What stands in one file."""

    rows: int = 0
    quotes: int = 0  # that were read from them: a bar is many
    first_ns: int | None = None
    last_ns: int = -1


class Missed(Struct, frozen=True):
    """A session without a tick."""

    session: str
    start_ns: int
    end_ns: int


class Measured:
    """What was seen of one instrument."""

    def __init__(self, instrument: Instrument, gap_ns: int | None) -> None:
        self.instrument = instrument
        self.ticks = 0
        self.first_ns = self.last_ns = 0
        self.low: Decimal | None = None
        self.high: Decimal | None = None
        self.spreads = Values(instrument.tick_size)
        self.hours: Counter[int] = Counter()
        self.at_one_time = 0  # ticks that have the time of the one before them, and other prices
        self.oddities: dict[RowKind, Oddity] = {}
        self.parts: dict[str, PartSpan] = {}
        self._gap_ns = gap_ns
        self._steps = Values(instrument.tick_size)  # of bid + ask, which is twice the mid
        self._largest: list[Step] = []
        self._last: Tick | None = None

    def take(self, ticks: Sequence[Tick]) -> None:
        """Ticks that are used, in order."""
        times, bids, asks = (list(map(attrgetter(name), ticks)) for name in ("ts_ns", "bid", "ask"))
        self.first_ns = min(self.first_ns, times[0]) if self.ticks else times[0]
        self.last_ns = max(self.last_ns, *times)
        self.ticks += len(ticks)
        self.low = min(bids) if self.low is None else min(self.low, *bids)
        self.high = max(asks) if self.high is None else max(self.high, *asks)
        self.spreads.add(map(sub, asks, bids))
        self.hours.update(ts_ns // HOUR_NS for ts_ns in times)
        before = [self._last, *ticks[:-1]] if self._last is not None else ticks[:-1]
        after = ticks if self._last is not None else ticks[1:]
        self._step(before, after)
        self.at_one_time += sum(
            a.ts_ns == b.ts_ns and (a.bid != b.bid or a.ask != b.ask) for a, b in zip(before, after, strict=True)
        )
        self._last = ticks[-1]

    def _step(self, before: Sequence[Tick], after: Sequence[Tick]) -> None:
        steps = list(map(sub, map(_twice_mid, after), map(_twice_mid, before)))
        if self._gap_ns is not None:
            times = attrgetter("ts_ns")
            near = [b - a <= self._gap_ns for a, b in zip(map(times, before), map(times, after), strict=True)]
            if not all(near):
                steps, after = list(compress(steps, near)), list(compress(after, near))
        moved = list(map(bool, steps))
        steps, after = list(compress(steps, moved)), list(compress(after, moved))
        if not steps:
            return
        self._steps.add(steps)
        sizes = list(map(abs, steps))
        least = self._largest[0].size if len(self._largest) == EXAMPLES_MAX else ZERO
        if max(sizes) > least:
            far = [index for index, size in enumerate(sizes) if size > least]
            found = [Step(sizes[i], -after[i].ts_ns, after[i].position, steps[i]) for i in far]
            self._largest = heapq.nlargest(EXAMPLES_MAX, [*self._largest, *found])[::-1]

    def spikes(self, mads: Decimal) -> Spikes:
        """Steps more than so many MADs from the median."""
        steps = self._steps.counts
        median = median_of(steps)
        if median is None:
            return Spikes(count=0, bound_mads=mads, bound=None, largest=[])
        away: Counter[Decimal] = Counter()
        for step, count in steps.items():
            away[abs(step - median)] += count
        mad = max(median_of(away) or ZERO, self.instrument.tick_size * TWO)
        bound = WORKING.multiply(mads, mad)
        largest = [
            Step(step.size / TWO, -step.ts_ns, step.position, step.step / TWO)
            for step in reversed(self._largest)
            if abs(step.step - median) > bound
        ]
        count = sum(count for distance, count in away.items() if distance > bound)
        return Spikes(count=count, bound_mads=mads, bound=bound / TWO, largest=largest)

    def days(self) -> Counter[int]:
        """Ticks of each day, by its number since 1970."""
        days: Counter[int] = Counter()
        for hour, count in self.hours.items():
            days[hour // 24] += count
        return days

    def on_weekends(self) -> int:
        """Ticks in hours in which the market is closed from beginning to end."""
        return sum(
            count
            for hour, count in self.hours.items()
            if not market_open(hour * HOUR_NS) and not market_open((hour + 1) * HOUR_NS - 1)
        )

    def missed(self) -> list[Missed]:
        """Sessions between the first tick and the last in which there is none."""
        found: list[Missed] = []
        began: dict[Session, int | None] = dict.fromkeys(Session)  # None: before we began to look
        at_ns, is_open = self.first_ns, sessions_at(self.first_ns)
        while at_ns < self.last_ns and len(found) < MISSED_MAX:
            at_ns = next_change_ns(at_ns)
            now_open = sessions_at(at_ns)
            for session in now_open - is_open:
                began[session] = at_ns
            for session in OFFICES:
                start_ns = began[session]
                ended = session in is_open - now_open and start_ns is not None and at_ns <= self.last_ns
                if ended and start_ns is not None and not self._any_within(start_ns, at_ns):
                    found.append(Missed(session.value, start_ns, at_ns))
            is_open = now_open
        return found

    def _any_within(self, start_ns: int, end_ns: int) -> bool:
        """Whether there is a tick in hours that begin and end so; sessions do on whole ones."""
        return any(self.hours.get(hour) for hour in range(start_ns // HOUR_NS, -(-end_ns // HOUR_NS)))

    def overlaps(self) -> list[tuple[str, str, int]]:
        """Each file that begins before one before it ends: its name, the other's, and by how many nanoseconds."""
        found: list[tuple[str, str, int]] = []
        latest_ns, latest = -1, ""
        for name, part in self.parts.items():
            if part.first_ns is not None and part.first_ns < latest_ns:
                found.append((name, latest, latest_ns - part.first_ns))
            if part.last_ns > latest_ns:
                latest_ns, latest = part.last_ns, name
        return found


def _twice_mid(tick: Tick) -> Decimal:
    return tick.bid + tick.ask


class Examiner:
    """Looks at all instruments of a feed. A :class:`~tradekeel.feeds.stream.Watch`."""

    def __init__(self, instruments: Mapping[str, Instrument], gap_ns: int | None) -> None:
        self.measured = {symbol: Measured(instrument, gap_ns) for symbol, instrument in instruments.items()}

    def saw(self, instrument: str, part: str, rows: int, times_ns: Sequence[int]) -> None:
        """Rows of a file."""
        span = self.measured[instrument].parts.setdefault(part, PartSpan())
        span.rows += rows
        span.quotes += len(times_ns)
        if not times_ns:
            return
        first_ns = min(times_ns)
        span.first_ns = first_ns if span.first_ns is None else min(span.first_ns, first_ns)
        span.last_ns = max(span.last_ns, *times_ns)

    def complained(self, instrument: str, kind: RowKind, describe: Describe, policy: str) -> None:
        """A bad row."""
        oddity = self.measured[instrument].oddities.setdefault(kind, Oddity(policy=policy))
        oddity.count += 1
        if len(oddity.examples) < EXAMPLES_MAX:
            oddity.examples.append(Example(*describe()))

    def take(self, ticks: Sequence[Tick]) -> None:
        """Ticks that are used, in order."""
        if len(self.measured) == 1:
            next(iter(self.measured.values())).take(ticks)
            return
        apart: dict[str, list[Tick]] = {}
        for tick in ticks:
            apart.setdefault(tick.instrument, []).append(tick)
        for symbol, own in apart.items():
            self.measured[symbol].take(own)
