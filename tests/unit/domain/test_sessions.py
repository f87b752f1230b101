"""Sessions, weekend, trading day and rollover against the wall clocks of the four cities, hour by hour."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradekeel.domain.sessions import (
    PRIMARY,
    THURSDAY,
    Session,
    closed_ns_between,
    market_open,
    next_change_ns,
    next_rollover,
    rollovers_between,
    session_at,
    sessions_at,
    trading_day,
    trading_day_start_ns,
    weekend_of,
)

HOUR_NS = 3_600 * 1_000_000_000
DAY_NS = 24 * HOUR_NS


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp()) * 1_000_000_000


def wall(ts_ns: int, zone: str) -> datetime:
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).astimezone(ZoneInfo(zone))


def by_hand(ts_ns: int) -> set[Session]:
    """The sessions at one moment, straight from the wall clocks."""
    if not open_by_hand(ts_ns):
        return set()
    found = set()
    for session, zone, opens, closes in (
        (Session.SYDNEY, "Australia/Sydney", 8, 17),
        (Session.TOKYO, "Asia/Tokyo", 9, 18),
        (Session.LONDON, "Europe/London", 8, 17),
        (Session.NY, "America/New_York", 8, 17),
    ):
        if opens <= wall(ts_ns, zone).hour < closes:
            found.add(session)
    return found | ({Session.OVERLAP} if {Session.LONDON, Session.NY} <= found else set())


def open_by_hand(ts_ns: int) -> bool:
    there = wall(ts_ns, "America/New_York")
    weekday, hour = there.weekday(), there.hour
    return not (weekday == 5 or (weekday == 4 and hour >= 17) or (weekday == 6 and hour < 17))


def hours(first: str, last: str) -> Iterator[int]:
    yield from range(ns(first), ns(last), HOUR_NS)


MOMENTS = st.integers(ns("1995-01-01"), ns("2037-01-01"))


class TestSessions:
    @pytest.mark.parametrize(
        ("first", "last"),
        [
            ("2014-03-03", "2014-04-14"),  # America changes on 9 March, Europe on 30 March, Australia on 6 April
            ("2024-09-30", "2024-11-11"),  # Australia on 6 October, Europe on 27 October, America on 3 November
            ("2007-10-20", "2007-11-10"),  # the first autumn of America's present rule
        ],
    )
    def test_every_hour_around_the_changes_of_clocks(self, first, last):
        for ts_ns in hours(first, last):
            expected = by_hand(ts_ns)
            assert sessions_at(ts_ns) == expected, wall(ts_ns, "UTC")
            assert session_at(ts_ns) == next((s for s in PRIMARY if s in expected), None)
            assert market_open(ts_ns) == open_by_hand(ts_ns)

    @given(MOMENTS)
    def test_any_moment(self, ts_ns):
        assert sessions_at(ts_ns) == by_hand(ts_ns)
        assert market_open(ts_ns) == open_by_hand(ts_ns)

    @pytest.mark.parametrize(
        ("at", "session"),
        [
            ("2014-05-08T00:30:00", Session.TOKYO),
            ("2014-05-08T06:59:59", Session.TOKYO),
            ("2014-05-08T07:00:00", Session.LONDON),
            ("2014-05-08T12:00:00", Session.OVERLAP),
            ("2014-05-08T16:00:00", Session.NY),
            ("2014-05-08T21:30:00", None),  # New York has gone home and Sydney has not come yet
            ("2014-05-08T22:00:00", Session.SYDNEY),
            ("2014-05-10T12:00:00", None),  # Saturday
        ],
    )
    def test_a_day_in_may(self, at, session):
        assert session_at(ns(at)) is session

    def test_sessions_are_their_own_names(self):
        assert [str(s) for s in Session] == ["SYDNEY", "TOKYO", "LONDON", "NY", "OVERLAP"]

    @given(MOMENTS)
    def test_nothing_changes_before_the_next_change(self, ts_ns):
        change_ns = next_change_ns(ts_ns)
        assert ts_ns < change_ns <= ts_ns + DAY_NS
        for inside_ns in (ts_ns, (ts_ns + change_ns) // 2, change_ns - 1):
            assert sessions_at(inside_ns) == sessions_at(ts_ns)
            assert market_open(inside_ns) == market_open(ts_ns)


class TestWeekend:
    def test_it_lasts_from_friday_to_sunday_at_17_in_new_york(self):
        assert weekend_of(ns("2014-05-08T12:00:00")) == (ns("2014-05-09T21:00:00"), ns("2014-05-11T21:00:00"))
        assert weekend_of(ns("2014-01-08T12:00:00")) == (ns("2014-01-10T22:00:00"), ns("2014-01-12T22:00:00"))

    def test_it_is_an_hour_shorter_or_longer_when_clocks_change_in_it(self):
        closes, opens = weekend_of(ns("2014-03-07T12:00:00"))
        assert opens - closes == 47 * HOUR_NS
        closes, opens = weekend_of(ns("2014-10-31T12:00:00"))
        assert opens - closes == 49 * HOUR_NS

    def test_the_weekend_that_just_ended_is_not_the_next_one(self):
        assert weekend_of(ns("2014-05-11T21:00:00"))[1] == ns("2014-05-18T21:00:00")

    @given(MOMENTS, st.integers(0, 24 * 30))
    def test_closed_time_is_the_sum_of_closed_hours(self, ts_ns, count):
        start_ns = ts_ns - ts_ns % HOUR_NS
        closed = sum(not open_by_hand(start_ns + hour * HOUR_NS) for hour in range(count))
        assert closed_ns_between(start_ns, start_ns + count * HOUR_NS) == closed * HOUR_NS

    def test_no_time_has_no_closed_time(self):
        assert closed_ns_between(ns("2014-05-10"), ns("2014-05-10")) == 0


class TestTradingDay:
    @pytest.mark.parametrize(
        ("at", "day"),
        [
            ("2014-05-08T20:59:59", date(2014, 5, 8)),
            ("2014-05-08T21:00:00", date(2014, 5, 9)),
            ("2014-01-08T21:59:59", date(2014, 1, 8)),
            ("2014-01-08T22:00:00", date(2014, 1, 9)),
            ("2014-05-11T21:00:00", date(2014, 5, 12)),
            ("2014-05-10T12:00:00", date(2014, 5, 10)),
        ],
    )
    def test_it_rolls_at_17_in_new_york(self, at, day):
        assert trading_day(ns(at)) == day

    @given(MOMENTS)
    def test_it_begins_where_it_says(self, ts_ns):
        day = trading_day(ts_ns)
        assert trading_day_start_ns(day) <= ts_ns < trading_day_start_ns(day + timedelta(days=1))


class TestRollover:
    def test_a_week_has_five_rolls_and_seven_nights(self):
        rolls = rollovers_between(ns("2014-05-04"), ns("2014-05-11"))
        assert [roll.nights() for roll in rolls] == [1, 1, 3, 1, 1]
        assert [wall(roll.ts_ns, "America/New_York").strftime("%a %H:%M") for roll in rolls] == [
            "Mon 17:00",
            "Tue 17:00",
            "Wed 17:00",
            "Thu 17:00",
            "Fri 17:00",
        ]

    def test_pairs_that_settle_in_a_day_have_their_three_nights_on_thursday(self):
        rolls = rollovers_between(ns("2014-05-04"), ns("2014-05-11"))
        assert [roll.nights(THURSDAY) for roll in rolls] == [1, 1, 1, 3, 1]

    def test_a_position_opened_at_the_roll_does_not_pay_for_it_and_one_closed_at_it_does(self):
        roll_ns = ns("2014-05-08T21:00:00")
        assert rollovers_between(roll_ns, roll_ns + HOUR_NS) == ()
        assert [roll.ts_ns for roll in rollovers_between(roll_ns - 1, roll_ns)] == [roll_ns]

    def test_over_the_weekend_there_is_none(self):
        assert rollovers_between(ns("2014-05-09T21:00:00"), ns("2014-05-12T20:59:59")) == ()

    @given(MOMENTS, st.integers(0, 20 * DAY_NS), st.integers(0, 20 * DAY_NS))
    @example(ns("2014-05-09T21:00:00"), DAY_NS, 2 * DAY_NS)
    def test_two_spans_have_the_rolls_of_both(self, start_ns, first_ns, second_ns):
        middle_ns, end_ns = start_ns + first_ns, start_ns + first_ns + second_ns
        both = rollovers_between(start_ns, middle_ns) + rollovers_between(middle_ns, end_ns)
        assert both == rollovers_between(start_ns, end_ns)

    @given(MOMENTS)
    def test_the_next_roll_is_within_three_days_and_at_17_in_new_york(self, ts_ns):
        roll = next_rollover(ts_ns)
        there = wall(roll.ts_ns, "America/New_York")
        assert ts_ns < roll.ts_ns <= ts_ns + 3 * DAY_NS + HOUR_NS
        assert (there.hour, there.minute, there.second) == (17, 0, 0)
        assert there.weekday() < 5
        assert roll.nights() == (3 if there.weekday() == 2 else 1)
