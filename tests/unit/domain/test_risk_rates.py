"""Rates: no stretch of a window ever holds more events than its limit, whatever the clock does."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.domain.risk_rates import MINUTE_NS, RateState, SlidingWindow
from tradekeel.domain.times import NS_PER_S

WINDOW_NS = 100
limits = st.integers(1, 6)
gaps = st.lists(st.integers(0, 60), max_size=60)


class TestASlidingWindow:
    @given(limits, gaps)
    def test_never_holds_more_than_its_limit_and_never_refuses_without_need(self, limit, gaps):
        window, now = SlidingWindow(limit, WINDOW_NS), 0
        passed: list[int] = []
        for gap in gaps:
            now += gap
            recent = [at for at in passed if at > now - WINDOW_NS]
            assert window.has_room(now) == (len(recent) < limit)
            assert window.count(now) == len(recent)
            if window.has_room(now):
                window.add(now)
                passed.append(now)

    @given(limits, st.lists(st.integers(-500, 200), max_size=40))
    def test_is_blocked_for_one_window_at_most_by_a_clock_that_steps_back(self, limit, gaps):
        window, now = SlidingWindow(limit, WINDOW_NS), 10_000
        for gap in gaps:
            now += gap
            if window.has_room(now):
                window.add(now)
            assert window.count(now) <= limit
            assert all(at <= now for at in window.times)
        assert window.has_room(now + WINDOW_NS)

    def test_counts_what_happened_before_the_clock_stepped_back(self):
        window = SlidingWindow(2, WINDOW_NS)
        window.add(1_000)
        window.add(1_000)
        assert not window.has_room(0)
        window.add(0)
        assert window.times == [0, 0]
        window.add(-1)  # the clock steps back again, and nobody asked for room
        assert window.times == [-1, -1]
        assert window.has_room(WINDOW_NS)

    @given(limits, gaps, limits)
    def test_keeps_the_newest_events_under_another_limit(self, limit, gaps, other):
        window, now = SlidingWindow(limit, WINDOW_NS), 0
        for gap in gaps:
            now += gap
            window.add(now)
        again = window.resized(other)
        ordered = window.times[window.head :] + window.times[: window.head]
        assert again.times == ordered[-other:]
        assert (again.limit, again.head) == (other, 0)
        assert again.has_room(now) == (sum(at > now - WINDOW_NS for at in again.times) < other)
        assert again.pruned().times == [at for at in ordered if at > window.newest - WINDOW_NS][-other:]

    @given(limits, gaps)
    def test_behaves_the_same_after_it_was_saved(self, limit, gaps):
        window, now = SlidingWindow(limit, WINDOW_NS), 0
        for gap in gaps:
            now += gap
            again = msgspec.msgpack.decode(msgspec.msgpack.encode(window.pruned()), type=SlidingWindow)
            for later in range(now, now + 2 * WINDOW_NS, 7):
                assert again.has_room(later) == window.has_room(later)
            if window.has_room(now):
                window.add(now)

    @given(limits, st.lists(st.tuples(st.integers(-500, 200), st.booleans()), max_size=40))
    def test_is_the_same_wherever_it_was_saved_also_when_time_steps_back_behind_that(self, limit, steps):
        window, saved, now = SlidingWindow(limit, WINDOW_NS), SlidingWindow(limit, WINDOW_NS), 10_000
        for gap, is_saved in steps:
            now += gap
            if is_saved:
                saved = msgspec.msgpack.decode(msgspec.msgpack.encode(saved.pruned()), type=SlidingWindow)
            assert saved.has_room(now) == window.has_room(now)
            if window.has_room(now):
                window.add(now)
                saved.add(now)


class TestTheState:
    def test_has_a_window_for_each_limit_that_is_set(self):
        state = RateState.of(3, None, 5)
        assert state == RateState(SlidingWindow(3, NS_PER_S), None, SlidingWindow(5, NS_PER_S))
        assert RateState.of(None, 7, None) == RateState(None, SlidingWindow(7, MINUTE_NS), None)

    def test_an_order_is_a_message_too_and_a_message_is_no_order(self):
        state = RateState.of(9, 9, 9)
        state.note_order(1)
        state.note_message(2)
        assert state.orders_second is not None
        assert state.orders_minute is not None
        assert state.messages_second is not None
        assert (state.orders_second.times, state.orders_minute.times) == ([1], [1])
        assert state.messages_second.times == [1, 2]

    def test_without_limits_remembers_nothing(self):
        state = RateState.of(None, None, None)
        state.note_order(1)
        assert state == RateState()

    def test_is_carried_to_windows_that_exist_on_both_sides(self):
        old = RateState.of(2, None, 2)
        old.note_order(5)
        fresh = RateState.of(4, 9, None)
        carried = old.carried_to(fresh)
        assert carried.orders_second == SlidingWindow(4, NS_PER_S, [5], 0, 5)
        assert carried.orders_minute is fresh.orders_minute
        assert carried.messages_second is None
