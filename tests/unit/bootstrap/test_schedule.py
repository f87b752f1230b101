"""Cron lines mean what cron means by them: five fields, UTC, Sunday is 0 and 7."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.bootstrap.schedule import Every, trigger_of
from tradekeel.errors import InputError

SUNDAY = datetime(2024, 1, 7, tzinfo=UTC)


def weekdays(field: str) -> list[int]:
    """The days of a week, from Sunday (0), on which a line with this last field fires."""
    trigger = trigger_of(f"0 12 * * {field}")
    assert trigger is not None
    days: list[int] = []
    fires = trigger.after(SUNDAY, SUNDAY)
    while fires is not None and (fires - SUNDAY).days < 7:
        days.append((fires - SUNDAY).days)
        fires = trigger.after(fires, SUNDAY)
    return days


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("*", [0, 1, 2, 3, 4, 5, 6]),
        ("0-6", [0, 1, 2, 3, 4, 5, 6]),
        ("0", [0]),
        ("7", [0]),
        ("5-7", [0, 5, 6]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("mon-fri", [1, 2, 3, 4, 5]),
        ("fri-mon", [0, 1, 5, 6]),
        ("SUN", [0]),
        ("*/2", [0, 2, 4, 6]),
        ("1-5/2", [1, 3, 5]),
        ("2/2", [2, 4, 6]),
        ("0,3", [0, 3]),
    ],
)
def test_days_of_the_week(field: str, days: list[int]) -> None:
    assert weekdays(field) == days


@pytest.mark.parametrize("field", ["8", "someday", "1-", "-", "*/0", "1/x", "", "mon-"])
def test_what_is_no_day_is_refused_and_the_message_says_so(field: str) -> None:
    with pytest.raises(InputError, match="is no schedule"):
        trigger_of(f"0 12 * * {field or ','}")


def test_seconds_and_never() -> None:
    assert trigger_of(0) is None
    trigger = trigger_of(2.5)
    assert trigger is not None
    first = trigger.after(SUNDAY, SUNDAY)
    assert first == SUNDAY + timedelta(seconds=2.5)
    assert trigger.after(first, SUNDAY) == SUNDAY + timedelta(seconds=5), "later than now, not the same again"


@given(st.floats(min_value=0, max_value=86_400, exclude_min=True), st.integers(0, 10**17))
def test_an_interval_keeps_its_pace_and_its_next_time_is_ahead(seconds: float, passed_us: int) -> None:
    trigger = trigger_of(seconds)
    assert isinstance(trigger, Every)
    now = SUNDAY + timedelta(microseconds=passed_us)
    due = trigger.after(now, SUNDAY)
    assert now < due <= now + trigger.interval
    assert (due - SUNDAY) % trigger.interval == timedelta(0)
