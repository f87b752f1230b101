"""The scheduler: sends messages on a schedule. APScheduler supplies the triggers; the time is our clock's.

A trigger says when to fire next, given the last time and now; nothing of APScheduler that reads a clock is used. A
job that was missed while the daemon was down is not made up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import Struct

from tradekeel.runtime import faults
from tradekeel.runtime.actor import Actor, ActorRef, Reply

NS_PER_S = 1_000_000_000
SLEEP_MAX_S = 60.0
"""A wall clock may be set; looking at it again every minute keeps a job at most that far off."""


class Trigger(Protocol):
    """As APScheduler's triggers are."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """When to fire next; None: never again."""


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
        previous: datetime | None = None
        while True:
            due = job.trigger.get_next_fire_time(previous, self._now())
            if due is None:
                return
            while (wait_s := (due - self._now()).total_seconds()) > 0:
                await self.clock.sleep(min(wait_s, SLEEP_MAX_S))
            previous = due
            if faults.is_armed():  # it gets no messages: its jobs are where it can be made to fail
                faults.point(f"{self.name}:{type(job.message).__name__}")
            if job.to.alive:
                job.to.latest(("job", job.name), job.message)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now_ns() / NS_PER_S, tz=UTC)
