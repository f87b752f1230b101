"""Bars are exactly what a reader with all ticks on paper would draw."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.domain.bars import BarBuilder, BarSet, Origin, enough_history, parse_timeframe
from tradekeel.domain.ticks import Bar, Tick
from tradekeel.errors import InputError

S = 1_000_000_000
MINUTE = 60 * S


def tick(second: float, mid: str, position: int = 0, symbol: str = "EUR_USD", spread: str = "0.0002") -> Tick:
    half = Decimal(spread) / 2
    return Tick(symbol, int(second * S), Decimal(mid) - half, Decimal(mid) + half, position)


def numbered(ticks: Sequence[Tick]) -> list[Tick]:
    return [Tick(t.instrument, t.ts_ns, t.bid, t.ask, i) for i, t in enumerate(ticks, start=1)]


class TestTimeframes:
    @pytest.mark.parametrize(
        ("text", "seconds"), [("1s", 1), ("5s", 5), ("1m", 60), ("5m", 300), ("1h", 3600), ("4h", 14400), ("1d", 86400)]
    )
    def test_a_span_of_time(self, text, seconds):
        assert parse_timeframe(text).span_ns == seconds * S

    def test_a_number_of_ticks(self):
        assert parse_timeframe("100t").ticks == 100

    @pytest.mark.parametrize(
        "text", ["", "m", "0m", "-1m", "1", "1.5m", "1M", "7m", "2d", "25h", "1000001t", " 1m", "١m", "99999999s"]
    )
    def test_anything_else_is_refused_and_says_what_is_allowed(self, text):
        with pytest.raises(InputError, match=r"(?s)timeframe.*allowed are time bars.*1m.*100t"):
            parse_timeframe(text)


class TestTimeBars:
    def test_a_bar_is_complete_when_the_first_tick_at_or_after_its_end_arrives(self):
        builder = BarBuilder("EUR_USD", "1m")
        assert builder.add(tick(1, "1.3000", 1)) == ()
        assert builder.add(tick(20, "1.3010", 2)) == ()
        assert builder.add(tick(40, "1.2990", 3)) == ()
        assert builder.add(tick(59.9, "1.3005", 4, spread="0.0004")) == ()
        assert builder.add(tick(60, "1.4000", 5)) == (
            Bar(
                instrument="EUR_USD",
                timeframe="1m",
                start_ns=0,
                end_ns=MINUTE,
                open=Decimal("1.3000"),
                high=Decimal("1.3010"),
                low=Decimal("1.2990"),
                close=Decimal("1.3005"),
                ticks=4,
                position=5,
                spread=Decimal("0.0004"),
            ),
        )

    def test_minutes_without_a_tick_have_no_bar(self):
        builder = BarBuilder("EUR_USD", "1m")
        builder.add(tick(0, "1.3"))
        (first,) = builder.add(tick(600, "1.4"))
        (second,) = builder.add(tick(660, "1.5"))
        assert (first.start_ns, second.start_ns) == (0, 10 * MINUTE)

    def test_bars_begin_on_the_clock_not_at_the_first_tick(self):
        builder = BarBuilder("EUR_USD", "4h")
        builder.add(tick(5 * 3600 + 17, "1.3"))
        (bar,) = builder.add(tick(9 * 3600, "1.3"))
        assert (bar.start_ns, bar.end_ns) == (4 * 3600 * S, 8 * 3600 * S)

    def test_a_tick_from_the_past_counts_in_the_open_bar(self):
        builder = BarBuilder("EUR_USD", "1m")
        builder.add(tick(10, "1.3"))
        assert len(builder.add(tick(70, "1.4"))) == 1
        assert builder.add(tick(30, "1.2")) == ()
        (bar,) = builder.add(tick(120, "1.4"))
        assert (bar.start_ns, bar.low, bar.ticks) == (MINUTE, Decimal("1.2"), 2)


class TestTickBars:
    def test_a_bar_is_complete_with_its_last_tick(self):
        builder = BarBuilder("EUR_USD", "3t")
        assert builder.add(tick(1, "1.3", 1)) == ()
        assert builder.add(tick(2, "1.5", 2)) == ()
        (bar,) = builder.add(tick(3, "1.4", 3))
        assert (bar.open, bar.high, bar.low, bar.close) == tuple(map(Decimal, ("1.3", "1.5", "1.3", "1.4")))
        assert (bar.start_ns, bar.end_ns, bar.ticks, bar.position) == (S, 3 * S + 1, 3, 3)


class TestBarSet:
    def test_a_time_bar_comes_before_the_tick_that_completed_it(self):
        bars = BarSet({"EUR_USD": ("1m",)}).fill(numbered([tick(1, "1.3"), tick(61, "1.4")]))
        assert {index: [bar.timeframe for bar in found] for index, found in bars.items()} == {1: ["1m"]}

    def test_a_tick_bar_comes_before_the_next_tick_of_any_instrument(self):
        ticks = numbered([tick(1, "1.3"), tick(2, "1.3"), tick(3, "0.9", symbol="NZD_USD"), tick(4, "1.3")])
        assert list(BarSet({"EUR_USD": ("2t",)}).fill(ticks)) == [2]

    def test_a_tick_bar_that_ends_a_window_comes_first_in_the_next(self):
        bars = BarSet({"EUR_USD": ("2t",)})
        assert bars.fill(numbered([tick(1, "1.3"), tick(2, "1.3")])) == {}
        assert list(bars.fill([tick(3, "1.3", 3)])) == [0]

    def test_at_the_end_of_the_feed_the_last_tick_bar_is_told(self):
        bars = BarSet({"EUR_USD": ("2t", "1m")})
        bars.fill(numbered([tick(1, "1.3"), tick(2, "1.3")]))
        assert [bar.timeframe for bar in bars.finish()] == ["2t"]
        assert bars.finish() == ()

    def test_in_one_place_earlier_news_come_first_and_then_the_order_of_the_config(self):
        bars = BarSet({"EUR_USD": ("1h", "2t", "1m")})
        filled = bars.fill(numbered([tick(1, "1.3"), tick(2, "1.3"), tick(3600, "1.3")]))
        assert [bar.timeframe for bar in filled[2]] == ["2t", "1h", "1m"]

    def test_it_is_true_only_if_it_builds_anything(self):
        assert BarSet({"EUR_USD": ("1m",)})
        assert not BarSet({"EUR_USD": ()})
        assert BarSet({}).fill(numbered([tick(1, "1.3")])) == {}


MARKET = st.lists(
    st.tuples(
        st.sampled_from(["EUR_USD", "NZD_USD"]),
        st.integers(-30, 200),  # seconds since the tick before: also backwards
        st.integers(100_000, 100_050),
        st.integers(0, 9),
    ),
    max_size=120,
)
FRAMES = {"EUR_USD": ("1m", "3t", "1h"), "NZD_USD": ("5t", "5m")}


def market(steps: Sequence[tuple[str, int, int, int]]) -> list[Tick]:
    ticks, now_s = [], 100_000
    for position, (symbol, seconds, price, spread) in enumerate(steps, start=1):
        now_s += seconds
        bid = Decimal(price).scaleb(-5)
        ticks.append(Tick(symbol, now_s * S, bid, bid + Decimal(spread).scaleb(-5), position))
    return ticks


def by_hand(ticks: Sequence[Tick], symbol: str, frame: str) -> list[tuple[int, Bar]]:
    """The bars of one instrument, drawn the slow way: each with the position of the tick it comes before."""
    span_ns, count = parse_timeframe(frame).span_ns, parse_timeframe(frame).ticks
    members: list[list[Tick]] = []
    latest_ns, bucket = 0, None
    places: list[tuple[int, int]] = []  # where the bar is told, and the tick that completed it
    starts: list[int] = []
    for t in (t for t in ticks if t.instrument == symbol):
        latest_ns = max(latest_ns, t.ts_ns)
        if span_ns and bucket != latest_ns // span_ns:
            if bucket is not None:
                places.append((t.position, t.position))
            bucket = latest_ns // span_ns
            members.append([])
            starts.append(bucket * span_ns)
        elif count and (not members or len(members[-1]) == count):
            members.append([])
            starts.append(latest_ns)
        members[-1].append(t)
        if count and len(members[-1]) == count:
            places.append((t.position + 1, t.position))
    found = []
    for (place, position), start_ns, group in zip(places, starts, members, strict=False):
        mids = [t.mid for t in group]
        reached_ns = max(t.ts_ns for t in ticks[: group[-1].position] if t.instrument == symbol)
        end_ns = start_ns + span_ns if span_ns else reached_ns + 1
        high, low = max(mids), min(mids)
        bar = Bar(symbol, frame, start_ns, end_ns, mids[0], high, low, mids[-1], len(group), position, group[-1].spread)
        found.append((place, bar))
    return found


def placed(ticks: Sequence[Tick], bars: BarSet, cuts: Sequence[int]) -> list[tuple[int, Bar]]:
    """The bars of windows that end at ``cuts``, each with the position of the tick it comes before."""
    found = []
    edges = sorted({0, len(ticks), *(cut for cut in cuts if cut < len(ticks))})
    for start, stop in pairwise(edges):
        filled = bars.fill(ticks[start:stop])
        found += [(ticks[start].position + i, bar) for i, group in filled.items() for bar in group]
    if ticks:
        found += [(ticks[-1].position + 1, bar) for bar in bars.finish()]
    return found


@given(MARKET, st.lists(st.integers(0, 120), max_size=6))
def test_bars_equal_those_drawn_by_hand_however_ticks_are_cut_into_windows(steps, cuts):
    ticks = market(steps)
    found = placed(ticks, BarSet(FRAMES), cuts)
    for symbol, frames in FRAMES.items():
        for frame in frames:
            mine = [(at, bar) for at, bar in found if (bar.instrument, bar.timeframe) == (symbol, frame)]
            assert mine == by_hand(ticks, symbol, frame)


@given(MARKET)
def test_one_tick_at_a_time_gives_the_same_bars(steps):
    ticks = market(steps)
    bars = BarSet(FRAMES)
    one_by_one = [(t.position, bar) for t in ticks for bar in bars.add(t)]
    assert one_by_one + [(len(ticks) + 1, bar) for bar in bars.finish()] == placed(ticks, BarSet(FRAMES), [])


@given(MARKET, st.integers(0, 120))
def test_bars_begun_at_the_last_origin_that_is_early_enough_are_the_same_from_there_on(steps, later):
    ticks = market(steps)
    later = min(later, len(ticks))

    def origins(count: int) -> dict[str, Origin]:
        return {symbol: _origin(ticks[:count], symbol) for symbol in FRAMES}

    def enough(count: int) -> bool:
        return all(enough_history(FRAMES[s], origins(count)[s], origins(later)[s]) for s in FRAMES)

    first = max(count for count in range(later + 1) if enough(count))
    whole = placed(ticks, BarSet(FRAMES), [later])
    resumed = placed(ticks[first:], BarSet(FRAMES, origins(first)), [later - first])
    assert [(at, bar) for at, bar in resumed if at > later] == [(at, bar) for at, bar in whole if at > later]


def _origin(ticks: Sequence[Tick], symbol: str) -> Origin:
    mine = [t.ts_ns for t in ticks if t.instrument == symbol]
    return Origin(len(mine), max(mine, default=0))


def test_the_beginning_is_always_early_enough_and_the_middle_of_a_bar_never_is():
    assert enough_history(("1d", "1000t"), Origin(), Origin(5, 10 * S))
    assert not enough_history(("1m",), Origin(3, 30 * S), Origin(5, 50 * S))
    assert enough_history(("1m",), Origin(3, 30 * S), Origin(9, 70 * S))
    assert not enough_history(("10t",), Origin(3, 30 * S), Origin(12, 70 * S))
    assert enough_history(("10t",), Origin(3, 30 * S), Origin(13, 70 * S))
    assert enough_history(("10t",), Origin(20, 30 * S), Origin(20, 30 * S))
