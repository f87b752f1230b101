"""The scheduler: sends messages on a schedule. The time is our clock's.

A trigger is a pure function: it says which of its times comes next after now. So whatever the wall clock does, a job has
one next time. Times that were passed over while the clock was set forward are made up for once, together; when it was set
back, the next time is computed anew from there. A job that was missed while the daemon was down is not made up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from msgspec import Struct

from tradekeel.runtime import faults
from tradekeel.runtime.actor import Actor, ActorRef, Reply

NS_PER_US = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SLEEP_MAX = timedelta(minutes=1)
"""A wall clock may be set; looking at it again every minute keeps a job at most that far off."""


class Trigger(Protocol):
    """The times of a job."""

    def after(self, now: datetime, since: datetime) -> datetime | None:
        """The first time that is later than ``now``, None for never again. ``since`` is where an interval counts from."""


class Job(Struct, frozen=True):
    """Send ``message`` to ``to`` whenever ``trigger`` says so."""

    name: str
    trigger: Trigger
    to: ActorRef
    message: Any


class Scheduler(Actor):
    """See the module."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = tuple(jobs)

    async def on_start(self) -> None:
        for job in self._jobs:
            self.spawn(self._keep, job, name=job.name)

    async def handle(self, message: Any, reply: Reply | None) -> None:
        raise TypeError(f"the scheduler does not know {type(message).__name__}")

    async def _keep(self, job: Job) -> None:
        since = now = self._now()
        while (due := job.trigger.after(now, since)) is not None:
            wait = min(due - now, SLEEP_MAX)
            await self.clock.sleep(wait.total_seconds())
            before, now = now, self._now()
            if now < before:  # the clock was set back, and the beginning goes with it: an interval is as long as ever
                since += now - (before + wait)
            elif now >= due:
                self._fire(job)

    def _fire(self, job: Job) -> None:
        if faults.is_armed():  # it gets no messages: its jobs are where it can be made to fail
            faults.point(f"{self.name}:{type(job.message).__name__}")
        if job.to.alive:
            job.to.latest(("job", job.name), job.message)

    def _now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.clock.now_ns() // NS_PER_US)
