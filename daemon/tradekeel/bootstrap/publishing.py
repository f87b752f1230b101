"""What the publisher works with: the Redis of the configuration, and a look at the books in a thread of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from tradekeel import __version__
from tradekeel.actors.publisher import Publisher, PublisherSettings
from tradekeel.config import Config, RedisConfig
from tradekeel.ports.publication import Event, JournalSource, OpenTrades, Publication, Run
from tradekeel.ports.registry import Service, ServiceRegistry
from tradekeel.runtime.actor import ActorRef
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.loop import Worker
from tradekeel.runtime.restart import Backoff, Intensity, RestartType, Strategy
from tradekeel.runtime.supervisor import Supervisor
from tradekeel.storage.backend import Backend
from tradekeel.storage.redis.client import RedisSettings, make_client
from tradekeel.storage.redis.publication import RedisPublication
from tradekeel.storage.redis.registry import RedisServiceRegistry
from tradekeel.storage.redis.server import RedisServer
from tradekeel.storage.watching import Watch

RESTARTS = Intensity(10, 600.0)
BACKOFF = Backoff(initial_s=1.0, max_s=60.0)


def redis_settings(redis: RedisConfig) -> RedisSettings:
    """How the server of a configuration is talked to."""
    return RedisSettings(
        url=redis.url,
        username=redis.username,
        password=None if redis.password is None else redis.password.reveal(),
        deadline_s=redis.deadline_s,
    )


def prepare_publishing(redis: RedisConfig) -> None:
    """What takes its time the first time, and whatever can refuse the start. Raises InputError. It blocks."""
    make_client(redis_settings(redis))  # not connected: that is the publisher's


class RedisOutlet:
    """One server for everything that is published."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.where = server.where
        self.publication: Publication = RedisPublication(server)
        self.registry: ServiceRegistry = RedisServiceRegistry(server)

    async def ping(self) -> None:
        await self._server.ping()


class WatchedBooks:
    """The books, asked in a thread: none of it is done on the event loop, where trading is."""

    def __init__(self, watch: Watch, worker: Worker) -> None:
        self._watch, self._worker = watch, worker

    async def runs(self, accounts: Sequence[str], each_max: int) -> list[Run]:
        return await self._worker.call(self._watch.runs, accounts, each_max)

    async def run(self, execution: str) -> Run | None:
        return await self._worker.call(self._watch.run, execution)

    async def events(self, execution: str, after: int, events_max: int) -> list[Event]:
        return await self._worker.call(self._watch.events, execution, after, events_max)

    async def open_trades(self, execution: str, known: Mapping[str, int]) -> OpenTrades:
        return await self._worker.call(self._watch.open_trades, execution, known)


def supervised(make: Callable[[], Publisher]) -> ChildSpec:
    """The publisher under the root. It may fail as often as it likes: when its supervisor has had enough, it stays down, and
    nobody else does.
    """
    child = ChildSpec("publisher", make, restart=RestartType.PERMANENT, backoff=BACKOFF)
    name = "publisher/supervisor"
    return ChildSpec(
        name, lambda: Supervisor(name, Strategy.ONE_FOR_ONE, [child], RESTARTS), restart=RestartType.TEMPORARY
    )


def make_publisher(
    config: Config, accounts: tuple[str, ...], books: Backend, worker: Worker, installation: str, control: ActorRef
) -> Publisher:
    """The publisher of a daemon. ``installation`` tells its state directory from any other."""
    redis = config.redis
    service = Service(
        id=installation, name=config.daemon.name, host=socket.gethostname(), pid=os.getpid(), version=__version__
    )

    @asynccontextmanager
    async def outlet() -> AsyncIterator[RedisOutlet]:
        async with RedisServer.open(redis_settings(redis)) as server:
            yield RedisOutlet(server)

    @asynccontextmanager
    async def source() -> AsyncIterator[JournalSource]:
        watch = Watch(books)
        try:
            yield WatchedBooks(watch, worker)
        finally:
            await worker.call(watch.close)

    settings = PublisherSettings(
        service=service,
        accounts=accounts,
        publish_events=redis.publish_events,
        events_max=redis.events_max,
        hot_trades=redis.hot_trades,
        register=redis.register,
        beat_every_s=redis.beat_every_s,
    )
    return Publisher(settings, outlet, source, control)
