"""The progress watchdog: it tells a system that works from one that is merely there.

An actor makes progress if it is idle (no mail waits, no handler runs and no work of its own is under way), or has
handled something since the last look, or if it said why not and until when (:meth:`Actor.waiting`). Whoever has made
none for longer than the limit is reported by name, once, and :meth:`Watchdog.healthy` is False for as long as that
lasts: so a service manager's watchdog is not fed, and ends the process. Stopping has its own deadlines and does not
count here. Nor does starting, which may wait for others as long as they take, but for work of its own that an actor has
under way meanwhile.

Time counts only as far as somebody looks, at least twice within the limit: while the whole process stands still (stopped,
swapped out, a sleeping machine) nobody makes progress, and nobody hangs.

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


GAP_SHARE_MAX = 0.6
"""How much of the limit may count from one look to the next: a little more than lies between looks twice within it."""


@dataclass(slots=True)
class _Seen:
    incarnation: int
    progress: int
    for_s: float = 0.0
    reported: bool = False


class Watchdog:
    """Looks at every actor of a system. ``look`` decides; ``run`` calls it at an interval."""

    def __init__(self, system: ActorSystem, limit_s: float, on_stuck: Callable[[Stuck], object] | None = None) -> None:
        assert limit_s > 0
        self._system = system
        self._limit_s = limit_s
        self._on_stuck = on_stuck
        self._looked_s: float | None = None
        self._seen: dict[str, _Seen] = {}

    def healthy(self) -> bool:
        """Look, and say whether every actor makes progress."""
        return not self.look()

    def look(self) -> tuple[Stuck, ...]:
        """Who has made no progress for longer than the limit; reports each of them once."""
        now_s = self._system.clock.monotonic()
        passed_s = 0.0 if self._looked_s is None else min(now_s - self._looked_s, GAP_SHARE_MAX * self._limit_s)
        self._looked_s = now_s
        self._seen = {name: seen for name, seen in self._seen.items() if name in self._system.actors}
        stuck: list[Stuck] = []
        for name, actor in sorted(self._system.actors.items()):
            seen = self._update(name, actor, now_s, passed_s)
            if seen.for_s <= self._limit_s:
                continue
            busy = actor.figures.busy_since_s is not None
            report = Stuck(name, actor.incarnation, seen.for_s, busy, actor.mail_depth)
            stuck.append(report)
            if not seen.reported and self._on_stuck is not None:
                self._on_stuck(report)
            seen.reported = True
        return tuple(stuck)

    async def run(self, interval_s: float) -> None:
        """Look for ever, once an interval; a stuck actor is noticed within the limit and two intervals."""
        while True:
            self.look()
            await self._system.clock.sleep(interval_s)

    def _update(self, name: str, actor: Actor, now_s: float, passed_s: float) -> _Seen:
        """Remember for how long the actor has made no progress, as far as looks can tell."""
        figures = actor.figures
        idle = actor.mail_depth == 0 and figures.busy_since_s is None and not actor.works
        excused = figures.waiting_reason is not None and now_s <= figures.waiting_until_s
        watched = figures.state is ActorState.RUNNING or (figures.state is ActorState.STARTING and actor.works)
        seen = self._seen.get(name)
        same = seen is not None and seen.incarnation == actor.incarnation and seen.progress == actor.progress
        if seen is None or not same or idle or excused or not watched:
            seen = self._seen[name] = _Seen(actor.incarnation, actor.progress)
        else:
            seen.for_s += passed_s
        return seen
