"""Schedules of the configuration as triggers: seconds, or a cron line of five fields in UTC.

APScheduler knows cron, and its trigger for that is a function of the time that it is given. Its one for intervals is not:
it begins at what ``datetime.now()`` says when it is made, so seconds are counted here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tradekeel.errors import InputError

if TYPE_CHECKING:
    from tradekeel.actors.scheduler import Trigger

SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class Every(Struct, frozen=True):
    """At equal intervals."""

    interval: timedelta

    def after(self, now: datetime, since: datetime) -> datetime:
        """See :class:`~tradekeel.actors.scheduler.Trigger`."""
        return since + ((now - since) // self.interval + 1) * self.interval


class Cron(Struct, frozen=True):
    """When a cron line says."""

    trigger: Any  # apscheduler's, which has no types

    def after(self, now: datetime, since: datetime) -> datetime | None:
        """See :class:`~tradekeel.actors.scheduler.Trigger`."""
        due: datetime | None = self.trigger.get_next_fire_time(None, now + datetime.resolution)
        return due


def trigger_of(schedule: float | str) -> Trigger | None:
    """The trigger of a schedule; None for never. Raises InputError for a cron line that means nothing."""
    if isinstance(schedule, str):
        return _cron(schedule)
    if schedule <= 0:
        return None
    return Every(max(timedelta(seconds=schedule), timedelta.resolution))


def _cron(line: str) -> Trigger:
    from apscheduler.triggers.cron import CronTrigger

    minute, hour, day, month, weekday = line.split()
    try:
        trigger = Cron(
            CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=UTC)
        )
    except ValueError as error:
        raise InputError(f"{line!r} is no schedule: {error}") from None
    if trigger.after(SOME_DAY, SOME_DAY) is None:
        raise InputError(f"{line!r} is no schedule: there is no such day in any year")
    return trigger


def _weekdays(field: str) -> str:
    """The days by name. cron counts Sunday as 0 (and 7), APScheduler Monday: numbers, ranges and steps would mean other days."""
    if field == "*":
        return field
    days: list[int] = []
    for part in field.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = ("0", "-", "6") if span == "*" else span.partition("-")
        low = _day(first)
        high = _day(last) if dash else 6 if slash else low
        if high < low:
            high += len(_DAYS)  # from friday to monday
        days.extend(range(low, high + 1, int(step) if slash else 1))
    return ",".join(dict.fromkeys(_DAYS[day % len(_DAYS)] for day in days))


def _day(word: str) -> int:
    if word.lower() in _DAYS:
        return _DAYS.index(word.lower())
    if word.isdigit() and int(word) <= len(_DAYS):
        return int(word)
    raise ValueError(
        f"{word!r} is no day of the week: they are 0 (or 7) for Sunday to 6, or sun, mon, tue, wed, thu, fri, sat"
    )
