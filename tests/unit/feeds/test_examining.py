"""What is measured of market data: exactly, whatever the pieces are that it comes in."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.ticks import Tick
from tradekeel.feeds import examining
from tradekeel.feeds.examining import Measured, Values, median_of
from tradekeel.feeds.zones import parse_instant

S = 1_000_000_000
GAP_NS = 600 * S
THURSDAY = parse_instant("2014-05-08")
EURUSD = CATALOGUE["EUR_USD"]


def tick(second: float, bid: str, ask: str | None = None, since: int = THURSDAY) -> Tick:
    return Tick(
        "EUR_USD", since + int(second * S), Decimal(bid), Decimal(ask or bid) + (ask is None) * Decimal("0.0001")
    )


def measured(ticks: Sequence[Tick], gap_ns: int | None = GAP_NS, piece: int = 1_000) -> Measured:
    found = Measured(EURUSD, gap_ns)
    for start in range(0, len(ticks), piece):
        found.take(ticks[start : start + piece])
    return found


def in_hours(*moments: str) -> list[Tick]:
    return [tick(0, "1.1", since=parse_instant(moment)) for moment in moments]


prices = st.integers(100_000, 100_040).map(lambda price: str(Decimal(price) / 100_000))


class TestMeasures:
    @given(found=st.lists(prices, min_size=1, max_size=60), piece=st.integers(1, 60))
    def test_pieces_do_not_matter(self, found, piece):
        ticks = [tick(n, price) for n, price in enumerate(found)]
        one, other = measured(ticks), measured(ticks, piece=piece)
        assert one.spikes(Decimal(3)) == other.spikes(Decimal(3))
        assert (one.ticks, one.low, one.high, one.hours) == (other.ticks, other.low, other.high, other.hours)
        assert one.spreads.counts == other.spreads.counts

    @given(values=st.lists(st.integers(-50, 50), min_size=1, max_size=80))
    def test_the_median_is_the_lower_of_the_two_in_the_middle(self, values):
        counted = Values(Decimal(1))
        counted.add(map(Decimal, values))
        assert counted.median() == statistics.median_low(values)

    def test_too_many_values_are_counted_more_coarsely(self):
        counted = Values(Decimal("0.01"))
        counted.add(Decimal(n) / 100 for n in range(examining.VALUES_MAX + 10))
        assert not counted.exact
        assert len(counted.counts) <= examining.VALUES_MAX
        assert sum(counted.counts.values()) == examining.VALUES_MAX + 10
        assert abs((counted.median() or Decimal(0)) - 250) < Decimal("0.2")

    def test_nothing_has_no_median(self):
        assert median_of({}) is None
        assert measured([]).spikes(Decimal(5)).bound is None


class TestSpikes:
    @given(found=st.lists(prices, min_size=2, max_size=80), mads=st.integers(1, 6))
    def test_they_are_those_that_a_plain_computation_finds(self, found, mads):
        mids = [Decimal(price) + Decimal("0.00005") for price in found]
        steps = [b - a for a, b in pairwise(mids) if b != a]
        spikes = measured([tick(n, price) for n, price in enumerate(found)]).spikes(Decimal(mads))
        if not steps:
            assert spikes.count == 0
            return
        median = statistics.median_low(steps)
        mad = max(statistics.median_low([abs(step - median) for step in steps]), EURUSD.tick_size)
        far = [step for step in steps if abs(step - median) > mads * mad]
        assert (spikes.count, spikes.bound) == (len(far), mads * mad)
        assert {abs(step.step) for step in spikes.largest} <= {abs(step) for step in far}

    def test_a_spike_is_named_with_its_moment(self):
        ticks = [tick(n, ("1.10000", "1.10002")[n % 2]) for n in range(60)]
        ticks[30] = Tick("EUR_USD", THURSDAY + 30 * S, Decimal("1.2"), Decimal("1.2001"), 31)
        spikes = measured(ticks).spikes(Decimal(50))
        assert spikes.count == 2  # up, and down again
        assert {step.ts_ns - THURSDAY for step in spikes.largest} == {30 * S, 31 * S}
        assert {step.step for step in spikes.largest} == {Decimal("0.09998"), Decimal("-0.09998")}

    def test_a_step_over_a_gap_is_none(self):
        ticks = [tick(n, "1.1") for n in range(9)] + [tick(9_000, "1.2")]
        assert measured(ticks).spikes(Decimal(5)).count == 0
        assert measured(ticks, gap_ns=None).spikes(Decimal(5)).bound is not None


class TestSessions:
    def test_an_empty_session_between_two_ticks_is_missed(self):
        found = measured(in_hours("2014-05-07T10:00", "2014-05-07T15:00", "2014-05-09T10:00")).missed()
        assert {(gap.session, gap.start_ns) for gap in found} >= {
            ("LONDON", parse_instant("2014-05-08T07:00")),
            ("NY", parse_instant("2014-05-08T12:00")),
            ("TOKYO", parse_instant("2014-05-08T00:00")),
        }
        assert ("NY", parse_instant("2014-05-07T12:00")) not in {(gap.session, gap.start_ns) for gap in found}

    def test_what_lies_before_the_first_tick_or_behind_the_last_is_not(self):
        assert measured(in_hours("2014-05-08T10:00", "2014-05-08T11:00")).missed() == []

    def test_weekends_have_none(self):
        friday = [f"2014-05-09T{hour:02d}:30" for hour in range(21)]
        sunday = [f"2014-05-11T{hour:02d}:30" for hour in (21, 22, 23)]
        assert measured(in_hours(*friday, *sunday)).missed() == []

    def test_ticks_while_the_market_is_closed_are_counted(self):
        ticks = in_hours("2014-05-09T20:59", "2014-05-10T12:00", "2014-05-11T20:30", "2014-05-11T21:00")
        assert measured(ticks).on_weekends() == 2


class TestFiles:
    def test_one_that_begins_before_another_has_ended_overlaps(self):
        examiner = examining.Examiner({"EUR_USD": EURUSD}, GAP_NS)
        for name, times in (("a", (0, 9)), ("b", (10, 12)), ("c", (7, 20)), ("d", (20, 21))):
            examiner.saw("EUR_USD", name, len(times), [second * S for second in times])
        assert examiner.measured["EUR_USD"].overlaps() == [("c", "b", 5 * S)]
