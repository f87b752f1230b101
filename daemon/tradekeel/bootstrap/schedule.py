"""Schedules of the configuration as triggers: seconds, or a cron line of five fields in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tradekeel.errors import InputError

if TYPE_CHECKING:
    from tradekeel.actors.scheduler import Trigger

SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_WEEKDAYS = {"0": "sun", "1": "mon", "2": "tue", "3": "wed", "4": "thu", "5": "fri", "6": "sat", "7": "sun"}


def trigger_of(schedule: float | str) -> Trigger | None:
    """The trigger of a schedule; None for never. Raises InputError for a cron line that means nothing."""
    if isinstance(schedule, str):
        return _cron(schedule)
    if schedule <= 0:
        return None
    from apscheduler.triggers.interval import IntervalTrigger

    trigger: Any = IntervalTrigger(seconds=schedule, timezone=UTC)
    return trigger  # type: ignore[no-any-return]  # apscheduler has no types


def _cron(line: str) -> Trigger:
    from apscheduler.triggers.cron import CronTrigger

    minute, hour, day, month, weekday = line.split()
    try:
        trigger: Any = CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=UTC
        )
    except ValueError as error:
        raise InputError(f"{line!r} is no schedule: {error}") from None
    if trigger.get_next_fire_time(None, SOME_DAY) is None:
        raise InputError(f"{line!r} is no schedule: there is no such day in any year")
    return trigger  # type: ignore[no-any-return]  # apscheduler has no types


def _weekdays(field: str) -> str:
    """cron counts Sunday as 0, APScheduler Monday: numbers become names, which mean the same in both."""
    return "".join(_WEEKDAYS.get(char, char) if not _is_step(field, i) else char for i, char in enumerate(field))


def _is_step(field: str, index: int) -> bool:
    """Whether the digit stands behind a slash: a step, not a day."""
    return "/" in field[:index] and "," not in field[field.rfind("/", 0, index) : index]
