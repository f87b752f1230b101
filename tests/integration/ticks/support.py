"""What the tests of shared ticks have in common: a market, its writer, its readers, and a stream between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import redis

from tests.unit.feeds.markets import SYMBOLS
from tradekeel.actors.sharer import Sharer, SharerSettings, TicksWait
from tradekeel.domain.protocol import Alert
from tradekeel.feeds import FEEDS, FeedContext, Outbox, TappedFeed
from tradekeel.ports import Feed
from tradekeel.ports.ticks import SharedTicks
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.clock import SystemClock
from tradekeel.runtime.supervisor import Supervisor
from tradekeel.runtime.system import ActorSystem
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.ticks import RedisTicks

STREAM = "market"
KEY, ABOUT = "trading:ticks:market", "trading:ticks:market:about"
DEADLINE_S = 2.0


def settings_of(url: str, deadline_s: float = DEADLINE_S) -> RedisSettings:
    """How the server of a test is asked."""
    return RedisSettings(url=url, deadline_s=deadline_s)


class Ear(Actor):
    """In control's place: hears what people are told."""

    def __init__(self) -> None:
        self.alerts: list[str] = []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if isinstance(message, Alert):
            self.alerts.append(message.text)


class Share:
    """A writer: a tapped market and the sharer beside it, as one daemon has them."""

    def __init__(self, market: Feed, stream: SharedTicks, *, run: str, ticks_max: int, waiting_max: int) -> None:
        self.ear = Ear()
        self.clock = SystemClock()
        self.system = ActorSystem(self.clock)
        sharer = self.system.ref("sharer")
        self.outbox = Outbox(market.info, lambda: sharer.latest("ticks", TicksWait()), ticks_max=waiting_max)
        self.feed = TappedFeed(market, self.outbox, self.clock)
        data = market.info.fingerprint or "a live market"
        self._settings = SharerSettings(account="main", run=run, data=data, ticks_max=ticks_max)
        self._stream = stream

    def root(self) -> Supervisor:
        def sharer() -> Sharer:
            return Sharer(self._settings, self.outbox, lambda: self._stream, self.system.ref("control"))

        return Supervisor(
            "root", children=[ChildSpec("control", lambda: self.ear), ChildSpec("sharer", sharer, shutdown_s=8)]
        )

    async def conduct(self, after: int = 0, count: int | None = None) -> int:
        """Take the market's ticks as a conductor does, at most so many; the last position."""
        await self.feed.open(after, after)
        return await self.conduct_on(count, after)

    async def conduct_on(self, count: int | None = None, at: int = 0) -> int:
        """Take more of them."""
        left = count if count is not None else 10**9
        while left and (window := await self.feed.next_window(min(left, 512))) is not None:
            left -= len(window.ticks)
            at = window.last_position
        return at

    async def until_brought(self) -> None:
        """Wait until nothing waits any more."""
        while len(self.outbox):
            await self.clock.sleep(0.005)


@asynccontextmanager
async def sharing(
    market: Feed,
    url: str,
    *,
    run: str = "run",
    ticks_max: int = 1_000_000,
    waiting_max: int = 50_000,
    deadline_s: float = DEADLINE_S,
    name: str = STREAM,
) -> AsyncIterator[Share]:
    """A writer at work; leaving it is its stop."""
    share = Share(
        market, RedisTicks(settings_of(url, deadline_s), name), run=run, ticks_max=ticks_max, waiting_max=waiting_max
    )
    async with anyio.create_task_group() as tasks:
        started = anyio.Event()
        tasks.start_soon(share.system.run, share.root(), started.set)
        await started.wait()
        try:
            yield share
        finally:
            await share.system.stop()


async def write(market: Feed, url: str, **options: Any) -> None:
    """Share a whole market, to its end."""
    async with sharing(market, url, **options) as share:
        await share.conduct()


def feed_of(
    url: str,
    *,
    timeframes: Mapping[str, Sequence[str]] | None = None,
    said: list[str] | None = None,
    deadline_s: float = DEADLINE_S,
    patience: Callable[[str], object] | None = None,
    **settings: Any,
) -> Feed:
    """A feed that reads the stream, as the config would make it from a table."""
    kind = FEEDS["redis"]
    table = {"stream": STREAM, "instruments": list(SYMBOLS), "start": "oldest", "block_s": 0.2} | settings
    heard = said if said is not None else []
    context = FeedContext(
        "reader",
        SystemClock(),
        timeframes=timeframes or {},
        stream=lambda name: RedisTicks(settings_of(url, deadline_s), name),
        say=lambda level, text, **fields: heard.append(text),
        patience=patience,
    )
    return kind.build(msgspec.convert(table, kind.settings), context)


def client(url: str) -> redis.Redis:
    """A plain client, to look at the server with."""
    return redis.Redis.from_url(url, decode_responses=True)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    with anyio.fail_after(30):
        while not holds():
            await SystemClock().sleep(0.005)
