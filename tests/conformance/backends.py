"""What the conformance suite runs over: each backend of a port, real, with what a test needs to know to treat all alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import anyio

from tests.conformance.documented import ADAPTER, acl_line
from tradekeel.ports import Cache, Event, Publication, ServiceRegistry
from tradekeel.ports.ticks import SharedTicks
from tradekeel.storage.memory.cache import MemoryCache, MemorySpace
from tradekeel.storage.memory.publication import MemoryPublication
from tradekeel.storage.memory.registry import MemoryServiceRegistry
from tradekeel.storage.memory.ticks import MemoryStreams, MemoryTicks
from tradekeel.storage.redis.cache import RedisCache
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.publication import EVENTS, OPEN_TRADES, RedisPublication
from tradekeel.storage.redis.registry import RedisServiceRegistry
from tradekeel.storage.redis.server import RedisServer
from tradekeel.storage.redis.ticks import RedisTicks

PATIENCE_S = 20.0
"""How long a condition is waited for before it is taken for one that never comes."""

START_NS = 1_700_000_000 * 10**9
"""Where a manual clock begins."""


class Backend:
    """Caches and registries of one backend, and its time."""

    clock_is_manual = False

    def cache(self, namespace: str = "tests") -> Cache:
        """A cache; two of one namespace see the same."""
        raise NotImplementedError

    def registry(self, fleet: str = "tests") -> ServiceRegistry:
        """A registry; two of one fleet see the same."""
        raise NotImplementedError

    def publication(self) -> Publication:
        """Where outside readers look."""
        raise NotImplementedError

    async def events(self, execution: str) -> list[Event]:
        """What a reader finds in an execution's stream."""
        raise NotImplementedError

    async def take_events(self, execution: str, count: int) -> None:
        """A reader deletes the newest events of a stream."""
        raise NotImplementedError

    async def board(self, account: str) -> dict[str, str]:
        """What a reader finds on an account's board: the trades, and as of what, by which daemon."""
        raise NotImplementedError

    def ticks(self, name: str = "market") -> SharedTicks:
        """A shared sequence of ticks; two of one name see the same."""
        raise NotImplementedError

    async def lose_ticks(self, name: str = "market") -> None:
        """The server loses a sequence."""
        raise NotImplementedError

    async def pass_s(self, seconds: float) -> None:
        """Let time go by: on a manual clock at once, else by waiting so long."""
        await anyio.sleep(seconds)

    async def until(self, holds: Callable[[], Awaitable[bool]], step_s: float = 0.005) -> float:
        """Let time go by until it holds; how long that took, in the backend's time."""
        passed_s = 0.0
        while not await holds():
            assert passed_s < PATIENCE_S, "what was waited for never came"
            await self.pass_s(step_s)
            passed_s += step_s
        return passed_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of everything."""


class MemoryBackend(Backend):
    """Everything in this process, by a clock that stands still until it is told to move."""

    clock_is_manual = True

    def __init__(self) -> None:
        self.now_ns = START_NS
        self.space = MemorySpace(lambda: self.now_ns)
        self._registries: dict[str, MemoryServiceRegistry] = {}
        self._publication = MemoryPublication(lambda: self.now_ns)
        self._streams = MemoryStreams()

    def cache(self, namespace: str = "tests") -> Cache:
        return MemoryCache(self.space, namespace)

    def registry(self, fleet: str = "tests") -> ServiceRegistry:
        return self._registries.setdefault(fleet, MemoryServiceRegistry(lambda: self.now_ns, fleet))

    def publication(self) -> Publication:
        return self._publication

    async def events(self, execution: str) -> list[Event]:
        return self._publication.streams.get(execution, [])

    async def take_events(self, execution: str, count: int) -> None:
        self._publication.take_away(execution, count)

    async def board(self, account: str) -> dict[str, str]:
        shown = self._publication.boards.get(account)
        if shown is None:
            return {}
        said = {"#execution": shown.execution, "#sequence": str(shown.sequence), "#ts_ns": str(shown.ts_ns)}
        said |= {"#publisher": shown.by.id, "#daemon": shown.by.name, "#trades": str(len(shown.trades))}
        return said | {trade_id: trade.decode() for trade_id, trade in shown.trades.items()}

    def ticks(self, name: str = "market") -> SharedTicks:
        return MemoryTicks(self._streams, name)

    async def lose_ticks(self, name: str = "market") -> None:
        self._streams.lose(name)

    async def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * 10**9)
        await anyio.lowlevel.checkpoint()


class RedisBackend(Backend):
    """A real server, by its own clock."""

    def __init__(self, settings: RedisSettings) -> None:
        self.server = RedisServer.open(settings)
        self._settings = settings
        self._ticks: list[RedisTicks] = []

    def cache(self, namespace: str = "tests") -> Cache:
        return RedisCache(self.server, namespace)

    def registry(self, fleet: str = "tests") -> ServiceRegistry:
        return RedisServiceRegistry(self.server, fleet)

    def publication(self) -> Publication:
        return RedisPublication(self.server)

    async def events(self, execution: str) -> list[Event]:
        found = await self.server.ask("reading a stream", "XRANGE", f"{EVENTS}{execution}", "-", "+")
        return [_event(entry, dict(zip(parts[::2], parts[1::2], strict=True))) for entry, parts in found]

    async def take_events(self, execution: str, count: int) -> None:
        stream = f"{EVENTS}{execution}"
        found = await self.server.ask("reading a stream", "XREVRANGE", stream, "+", "-", "COUNT", count)
        assert await self.server.ask("deleting events", "XDEL", stream, *(entry for entry, _ in found)) == count

    async def board(self, account: str) -> dict[str, str]:
        parts = await self.server.ask("reading a board", "HGETALL", f"{OPEN_TRADES}{account}")
        return {name.decode(): value.decode() for name, value in zip(parts[::2], parts[1::2], strict=True)}

    def ticks(self, name: str = "market") -> SharedTicks:
        self._ticks.append(RedisTicks(self._settings, name))
        return self._ticks[-1]

    async def lose_ticks(self, name: str = "market") -> None:
        await self.server.ask("losing ticks", "DEL", f"trading:ticks:{name}", f"trading:ticks:{name}:about")

    async def __aexit__(self, *_: object) -> None:
        for ticks in self._ticks:
            await ticks.close()
        await self.server.close()


def _event(entry: bytes, said: dict[bytes, bytes]) -> Event:
    sequence, _, rest = entry.decode().partition("-")
    assert rest == "0"
    assert set(said) == {b"type", b"ts_ns", b"correlation_id", b"record"}
    return Event(
        int(sequence), said[b"type"].decode(), int(said[b"ts_ns"]), said[b"correlation_id"].decode(), said[b"record"]
    )


class Adapter:
    """The user that the documentation tells people to make, made on a server with exactly its line."""

    def __init__(self, admin_url: str, password: str) -> None:
        self._admin = RedisServer.open(RedisSettings(url=admin_url))
        self.settings = RedisSettings(url=admin_url, username=ADAPTER, password=password)
        self._password = password

    async def __aenter__(self) -> Self:
        words = acl_line(Path(__file__).parents[2] / "docs" / "redis.md", self._password).split()
        assert await self._admin.ask("making the user", *words) == b"OK"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert await self._admin.ask("taking the user away", "ACL", "DELUSER", ADAPTER) == 1
        await self._admin.close()
