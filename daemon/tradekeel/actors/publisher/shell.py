"""The publisher: what outside readers are told, by way of a server that trading can do without.

It is told that journals have grown, never what is in them: it reads that from the books behind its own cursor, in its own
time, and nobody waits for it. One task talks to the server, one question after the other. Where the server is away, slow,
full or refuses us, what is published is late, and is made up for when it is back; control says so once, and trading goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Any, Protocol

from msgspec import Struct, structs

from tradekeel.actors.publisher.boards import Boards
from tradekeel.actors.publisher.membership import Membership
from tradekeel.actors.publisher.patience import BooksFailed, Patience
from tradekeel.actors.publisher.runs import Runs
from tradekeel.actors.publisher.streams import Streams
from tradekeel.domain.protocol import DaemonStands, JournalsGrew, PublisherStands
from tradekeel.errors import StoreAway, StoreRefused, StoreUnanswered
from tradekeel.ports.publication import Author, JournalSource, Publication
from tradekeel.ports.registry import Service, ServiceRegistry
from tradekeel.runtime.actor import Actor, ActorRef, MailboxLimits, Reply
from tradekeel.runtime.cell import Waker

PUBLISH_EVERY_S = 0.05
"""How long what is new is gathered before it is published."""

REST = 1.0
"""For how many times as long as a page took the next one waits: whoever has much to make up for leaves room for trading."""

FINISH_S = 4.0
"""How long an orderly stop waits at most for a server that was there to take what is left. It waits for none that is away."""

TELL_EVERY_S = 0.5

BEATS_MISSED = 3
"""How many beats make a daemon count as dead, and its boards as left."""


class Outlet(Protocol):
    """A server that outside readers look at."""

    where: str

    @property
    def publication(self) -> Publication: ...

    @property
    def registry(self) -> ServiceRegistry: ...

    async def ping(self) -> None:
        """Raises StoreAway, StoreUnanswered or StoreRefused unless the server serves us."""


class PublisherSettings(Struct, frozen=True, kw_only=True):
    """What is published, and how."""

    service: Service  # this daemon; its ttl follows from the beats
    accounts: tuple[str, ...]
    publish_events: bool = True
    events_max: int = 100_000
    hot_trades: bool = True
    register: bool = True
    beat_every_s: float = 5.0


class Publisher(Actor):
    """See the module."""

    mailbox_limits = MailboxLimits(reliable_max=16, latest_keys_max=16)

    def __init__(
        self,
        settings: PublisherSettings,
        outlet: Callable[[], AbstractAsyncContextManager[Outlet]],
        source: Callable[[], AbstractAsyncContextManager[JournalSource]],
        control: ActorRef,
    ) -> None:
        self._settings = settings
        self._open_outlet, self._open_source = outlet, source
        self._control = control
        self._newly: dict[str, int] = {}  # how far journals have grown since the last round
        self._has_news = False
        self._closing = False
        self._finished = False
        self._failed = 0  # questions that failed
        self._told: PublisherStands | None = None
        self._told_s = -inf

    async def on_start(self) -> None:
        settings = self._settings
        self._outlet = await self.resources.enter_async_context(self._open_outlet())
        source = await self.resources.enter_async_context(self._open_source())
        self._waker = Waker(self.clock)
        random = self.system.random
        ttl_s = settings.beat_every_s * BEATS_MISSED
        service = structs.replace(settings.service, ttl_s=ttl_s)
        self._runs = Runs(source, settings.accounts)
        self._link = Patience(random)
        self._is_up = False
        self._membership = Membership(self._outlet.registry, service, beat_every_s=settings.beat_every_s)
        self._streams = Streams(
            source,
            self._outlet.publication,
            self._runs,
            keep=settings.events_max,
            look_every_s=settings.beat_every_s,
            random=random,
        )
        self._boards = Boards(
            source,
            self._outlet.publication,
            self._runs,
            self.clock,
            by=Author(service.id, service.name),
            confirm_every_s=settings.beat_every_s,
            fresh_s=ttl_s,
            random=random,
        )
        wanted = (settings.register, settings.publish_events, settings.hot_trades)
        all_parts: Sequence[Membership | Streams | Boards] = (self._membership, self._streams, self._boards)
        self._parts = [(part, Patience(random)) for part, is_wanted in zip(all_parts, wanted, strict=True) if is_wanted]
        self.spawn(self._work)

    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case JournalsGrew(reached):
                for execution, sequence in reached.items():
                    self._newly[execution] = max(sequence, self._newly.get(execution, 0))
            case DaemonStands():
                self._membership.stands(message)
            case _:
                raise TypeError(f"the publisher does not know {type(message).__name__}")
        self._has_news = True
        self._waker.poke()

    async def on_stop(self) -> None:
        """What is left is published, if the server is there to take it; nobody waits for one that is not."""
        self._closing = True
        self._waker.poke()
        done = Waker(self.clock)
        self._on_finished = done.poke
        await done.until(lambda: self._finished, FINISH_S)

    # --- the work -----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while not self._closing:
            began_s = self.clock.monotonic()
            more = await self._round()
            took_s = self.clock.monotonic() - began_s
            self._tell()
            rest_s = REST * took_s if more else PUBLISH_EVERY_S
            await self._waker.until(lambda: self._closing, rest_s)
            if not more:
                await self._waker.until(lambda: self._closing or self._has_news, self._next_in_s())
        if self._is_up:
            await self._finish()
        self._finished = True
        self._on_finished()

    _on_finished: Callable[[], object] = staticmethod(lambda: None)

    async def _round(self) -> bool:
        """Every part that is due has a turn; whether there is more to do at once."""
        self._take_news()
        now_s = self.clock.monotonic()
        if not self._link.is_over(now_s):
            return False
        more = False
        try:
            if not self._is_up:
                await self._outlet.ping()
            for part, patience in self._parts:
                if patience.is_over(now_s) and part.due_s() <= now_s:
                    more |= await self._step(part, patience, now_s)
        except (StoreAway, StoreUnanswered, StoreRefused) as error:
            self._failed += 1
            self._is_up = False
            self._link.failed(error, self.clock.monotonic())
            return False
        self._is_up = True
        self._link.went_well()
        return more

    async def _step(self, part: Membership | Streams | Boards, patience: Patience, now_s: float) -> bool:
        """What the server refuses one part, or the books do not tell it, keeps no other one from going on."""
        try:
            more = await part.step(now_s)
        except (StoreRefused, BooksFailed) as error:
            self._failed += 1
            patience.failed(error, self.clock.monotonic())
            return False
        patience.went_well()
        return more

    def _take_news(self) -> None:
        self._has_news = False
        newly, self._newly = self._newly, {}
        self._runs.grew(newly)

    def _next_in_s(self) -> float | None:
        now_s = self.clock.monotonic()
        due_s = min((max(part.due_s(), patience.not_before_s) for part, patience in self._parts), default=inf)
        due_s = max(due_s, self._link.not_before_s)
        if self._told != self._stand():
            due_s = min(due_s, self._told_s + TELL_EVERY_S)
        return None if due_s == inf else max(0.0, due_s - now_s)

    async def _finish(self) -> None:
        """The last state of the boards, the last records, and goodbye. What fails now, the next start makes up for."""
        self._take_news()
        self._runs.ask_at_once()
        now_s = self.clock.monotonic()
        for part, _ in reversed(self._parts):
            try:
                await part.finish(now_s)
            except (StoreRefused, BooksFailed):
                self._failed += 1
            except (StoreAway, StoreUnanswered):
                self._failed += 1  # the registry prunes what does not beat
                return

    # --- how it stands ------------------------------------------------------------------------------------------------

    def _stand(self) -> PublisherStands:
        failing = {"the server": self._link} if self._link.reason else {}
        if not failing:
            for part, patience in self._parts:
                trouble = patience if patience.reason else part.trouble
                if trouble is not None:
                    failing[part.name] = trouble
        state = "degraded" if failing else "up" if self._is_up else "connecting"
        lasts = self._told is not None and self._told.state == state
        return PublisherStands(
            where=self._outlet.where,
            state=state,
            failing=tuple(failing),
            at_books=tuple(name for name, trouble in failing.items() if trouble.at_books),
            reason="; ".join(dict.fromkeys(trouble.reason for trouble in failing.values())),
            since_ns=self._told.since_ns if lasts and self._told is not None else self.clock.now_ns(),
            failures=self._failed,
            registered=self._membership.registered,
            events_published=self._streams.published,
            events_waiting=self._streams.behind,
            streams_replaced=self._streams.replaced,
            streams_refilled=self._streams.refilled,
            trades_shown=self._boards.shown,
        )

    def _tell(self) -> None:
        """Control hears of every change, not more often than anybody looks."""
        stands, told, now_s = self._stand(), self._told, self.clock.monotonic()
        is_urgent = told is None or (told.state, told.failing, told.at_books) != (
            stands.state,
            stands.failing,
            stands.at_books,
        )
        if stands != told and (is_urgent or now_s >= self._told_s + TELL_EVERY_S) and self._control.alive:
            self._told, self._told_s = stands, now_s
            self._control.latest("publisher", stands)
