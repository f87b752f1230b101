"""What is summed up of a window is what its ticks say, whoever asks where."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.matching_desk import D, Desk
from tradekeel.domain.matching.windows import BLOCK_TICKS, Span, WindowSums
from tradekeel.domain.ticks import Tick, TickWindow

SYMBOLS = ("EUR_USD", "USD_JPY", "EUR_GBP")
quotes = st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 40), st.integers(0, 9), st.integers(-3, 9))


@st.composite
def windows(draw: st.DrawFn) -> TickWindow:
    """A window of up to several blocks, of one instrument or more, in which a clock may run backwards."""
    pattern = draw(st.lists(quotes, min_size=1, max_size=30))
    several = draw(st.booleans())
    ticks, ts_ns = [], 100
    for number in range(draw(st.integers(1, 7 * BLOCK_TICKS))):
        symbol, bid, spread, gap = pattern[number * 7 % len(pattern)]
        ts_ns += gap
        ticks.append(Tick(symbol if several else SYMBOLS[0], ts_ns, D(bid + number // 50), D(bid + spread), 1 + number))
    return TickWindow(tuple(ticks))


@given(windows(), st.integers(0, 60), st.integers(0, 7))
def test_the_first_block_that_does_not_pass_is_found_from_anywhere(window: TickWindow, bound: int, number: int):
    def passes(span: Span) -> bool:
        return all(bid_high < bound and ask_high < bound for _, bid_high, _, ask_high in span.values())

    def reaches(tick: Tick) -> bool:
        return max(tick.bid, tick.ask) >= bound

    hits = {at // BLOCK_TICKS for at, tick in enumerate(window.ticks) if reaches(tick)}
    expected = min((block for block in hits if block >= number), default=None)
    sums = WindowSums(window)
    assert sums.first_block(number, passes) == expected
    assert sums.first_block(number, passes) == expected  # of what was summed up before


@given(windows(), st.data())
def test_the_latest_ticks_are_the_last_of_each_instrument_in_order(window: TickWindow, data: st.DataObject):
    stop = data.draw(st.integers(1, len(window.ticks)))
    start = data.draw(st.integers(0, stop - 1))
    last = {tick.instrument: tick for tick in window.ticks[start:stop]}
    assert WindowSums(window).latest(start, stop) == sorted(last.values(), key=lambda tick: tick.position)


@given(windows(), st.integers(90, 400), st.integers(0, 500), st.data())
def test_the_event_time_never_runs_backwards(window: TickWindow, ts_ns: int, before_ns: int, data: st.DataObject):
    start = data.draw(st.integers(0, len(window.ticks) - 1))
    sums = WindowSums(window)
    times = [max([before_ns, *(tick.ts_ns for tick in window.ticks[: at + 1])]) for at in range(len(window.ticks))]
    assert [sums.time(at, before_ns) for at in range(len(times))] == times
    expected = next((at for at in range(start, len(times)) if times[at] >= ts_ns), len(times))
    assert sums.first_at(ts_ns, start, before_ns) == expected


def test_a_guard_that_is_left_at_the_last_tick_of_a_window_ends_the_scan():
    desk = Desk(deposit="111", leverage="10", quote="1.10000/1.10000")
    desk.place("in", "buy", 1000)
    desk.tick("1.10000/1.10000")
    later = desk.now_s + 1_000_000
    desk.place("a", "buy", 1000, "limit", price="0.50000", tif="gtd", expire_at_ns=round(later * 1e9))
    ticks = (desk.next_tick("1.10000/1.10000"), desk.next_tick("2.10000/2.10000"))
    ahead = TickWindow((ticks[0], Tick("EUR_USD", ticks[1].ts_ns, ticks[1].bid, ticks[1].ask, ticks[0].position + 1)))
    assert desk.matcher.quiet_until(ahead, 0) == 2
