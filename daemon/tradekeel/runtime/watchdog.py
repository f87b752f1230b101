"""The progress watchdog: it tells a system that works from one that is merely there.

An actor makes progress if it is idle (no mail waits, no handler runs and no work of its own is under way), or has
handled something since the last look, or if it said why not and until when (:meth:`Actor.waiting`). Whoever has made
none for longer than the limit is reported by name, once, and :meth:`Watchdog.healthy` is False for as long as that
lasts: so a service manager's watchdog is not fed, and ends the process. Starting and stopping have their own deadlines
and do not count here.

It sees nothing while the event loop itself is blocked; that is what :class:`tradekeel.runtime.loop.LoopGuard`
is for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tradekeel.runtime.actor import Actor
from tradekeel.runtime.metrics import ActorState
from tradekeel.runtime.system import ActorSystem


@dataclass(frozen=True, slots=True)
class Stuck:
    """An actor without progress."""

    actor: str
    incarnation: int
    for_s: float
    in_handler: bool
    mail_depth: int


@dataclass(slots=True)
class _Seen:
    incarnation: int
    progress: int
    since_s: float
    reported: bool = False


class Watchdog:
    """Looks at every actor of a system. ``look`` decides; ``run`` calls it at an interval."""

    def __init__(self, system: ActorSystem, limit_s: float, on_stuck: Callable[[Stuck], object] | None = None) -> None:
        assert limit_s > 0
        self._system = system
        self._limit_s = limit_s
        self._on_stuck = on_stuck
        self._seen: dict[str, _Seen] = {}
        self._stuck: tuple[Stuck, ...] = ()

    def healthy(self) -> bool:
        """Look, and say whether every actor makes progress."""
        return not self.look()

    @property
    def stuck(self) -> tuple[Stuck, ...]:
        """Who made no progress at the last look."""
        return self._stuck

    def look(self) -> tuple[Stuck, ...]:
        """Who has made no progress for longer than the limit; reports each of them once."""
        now_s = self._system.clock.monotonic()
        self._seen = {name: seen for name, seen in self._seen.items() if name in self._system.actors}
        stuck: list[Stuck] = []
        for name, actor in sorted(self._system.actors.items()):
            seen = self._update(name, actor, now_s)
            for_s = now_s - seen.since_s
            if for_s <= self._limit_s:
                continue
            busy = actor.figures.busy_since_s is not None
            report = Stuck(name, actor.incarnation, for_s, busy, actor.mail_depth)
            stuck.append(report)
            if not seen.reported and self._on_stuck is not None:
                self._on_stuck(report)
            seen.reported = True
        self._stuck = tuple(stuck)
        return self._stuck

    async def run(self, interval_s: float) -> None:
        """Look for ever, once an interval; a stuck actor is noticed within the limit and two intervals."""
        while True:
            self.look()
            await self._system.clock.sleep(interval_s)

    def _update(self, name: str, actor: Actor, now_s: float) -> _Seen:
        """Remember when the actor last made progress, as far as looks can tell."""
        figures = actor.figures
        idle = actor.mail_depth == 0 and figures.busy_since_s is None and not actor.works
        excused = figures.waiting_reason is not None and now_s <= figures.waiting_until_s
        watched = figures.state is ActorState.RUNNING
        seen = self._seen.get(name)
        same = seen is not None and seen.incarnation == actor.incarnation and seen.progress == actor.progress
        if seen is None or not same or idle or excused or not watched:
            seen = self._seen[name] = _Seen(actor.incarnation, actor.progress, now_s)
        return seen
