"""Cron lines mean what cron means by them: five fields, UTC, Sunday is 0 and 7."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tradekeel.bootstrap.schedule import trigger_of
from tradekeel.errors import InputError

SUNDAY = datetime(2024, 1, 7, tzinfo=UTC)


def weekdays(field: str) -> list[int]:
    """The days of a week, from Sunday (0), on which a line with this last field fires."""
    trigger = trigger_of(f"0 12 * * {field}")
    assert trigger is not None
    days: list[int] = []
    fires = trigger.get_next_fire_time(None, SUNDAY)
    while fires is not None and (fires - SUNDAY).days < 7:
        days.append((fires - SUNDAY).days)
        fires = trigger.get_next_fire_time(None, fires.replace(hour=13))
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
    assert trigger_of(2.5) is not None
