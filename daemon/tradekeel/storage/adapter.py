"""All stores in one object, see ``ports/adapter.py``. ``tradekeel.scripting`` tells it by settings where they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final, Literal, Self

import anyio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.errors import (
    InputError,
    NotReady,
    StoreAway,
    StoreDenied,
    StoreError,
    StoreRefused,
    StoreTimeout,
    StoreUnanswered,
    StoreUnavailable,
)
from tradekeel.ports.adapter import BackendHealth, BackendState, Health
from tradekeel.ports.cache import Cache
from tradekeel.ports.registry import ServiceRegistry
from tradekeel.ports.repositories import (
    CursorRepository,
    EventRepository,
    ExecutionRepository,
    FillRepository,
    OrderRepository,
    ParameterHistoryRepository,
    PerformanceRepository,
    PositionRepository,
    SignalRepository,
    StrategyRepository,
    TaskRepository,
    TradeRepository,
)
from tradekeel.ports.repositories.paging import TIMEOUT_S
from tradekeel.ports.tradestore import TradeStore
from tradekeel.storage.backend import Backend
from tradekeel.storage.memory.place import MemoryPlace
from tradekeel.storage.redis.cache import RedisCache
from tradekeel.storage.redis.client import RedisSettings, check_settings, where_is
from tradekeel.storage.redis.registry import RedisServiceRegistry
from tradekeel.storage.redis.server import RedisServer
from tradekeel.storage.redis.trades import RedisTradeStore
from tradekeel.storage.repositories import (
    SqlCursorRepository,
    SqlEventRepository,
    SqlExecutionRepository,
    SqlFillRepository,
    SqlOrderRepository,
    SqlParameterHistoryRepository,
    SqlPerformanceRepository,
    SqlPositionRepository,
    SqlSignalRepository,
    SqlStrategyRepository,
    SqlTaskRepository,
    SqlTradeRepository,
)
from tradekeel.storage.repositories.database import sensible
from tradekeel.storage.repositories.late import LateDatabase
from tradekeel.storage.tradestore import SqlTradeStore

Part = Literal["books", "replica", "redis"]
PARTS: Final[tuple[Part, ...]] = ("books", "replica", "redis")

_OFF = BackendHealth(state=BackendState.OFF)
_NO_REDIS = (
    "no Redis is configured: name one with [redis] url in the daemon's file, or TRADEKEEL__REDIS__URL in the environment; "
    "memory:// there is a cache and a registry of this script alone"
)
_IN_MEMORY = "in memory: gone with this adapter, and shared with nobody"


class StoreAdapter:
    """See the module. It belongs to the event loop that it was connected in."""

    def __init__(
        self,
        books: Backend,
        redis: RedisSettings | Literal["memory"] | None = None,
        *,
        now_ns: Callable[[], int],
        monotonic: Callable[[], float],
        by: str = "script",
        timeout_s: float = TIMEOUT_S,
        require: Collection[Part] = (),
        trades_in: Literal["books", "redis"] = "books",
        namespace: str = "scripts",
        fleet: str = "main",
        migrate: bool = True,
    ) -> None:
        """``now_ns`` is UTC, ``monotonic`` gives seconds that only grow; ``by`` stands in the journal beside what is written.

        ``timeout_s`` is the deadline of calls that name none. What is in ``require`` must be there when it is connected. Without
        ``migrate`` no books are made where there are none; with it the first call that writes makes them. With ``redis`` in
        memory the cache and the services are this object's alone, also when it is connected again; trades are not kept there.
        InputError for words that make no sense.
        """
        unknown = sorted(set(require) - set(PARTS))
        if unknown or trades_in not in ("books", "redis"):
            raise InputError(
                f"require is {sorted(require)} and trades_in {trades_in!r}: allowed are {', '.join(PARTS)}, and books or redis"
            )
        self._memory = MemoryPlace(now_ns, monotonic) if redis == "memory" else None
        if self._memory is not None and trades_in == "redis":
            raise InputError(
                "trades_in is 'redis', and redis.url is memory://: trades in memory are for get_trade_store(\"memory://\")"
            )
        self.backend, self.redis = books, None if isinstance(redis, str) else redis
        if self.redis is not None:
            check_settings(self.redis)
        self._monotonic = monotonic
        self._timeout_s = sensible(timeout_s)
        self._require = [part for part in PARTS if part in require]
        self._namespace, self._fleet = namespace, fleet
        self._server: RedisServer | None = None
        self.books = LateDatabase(books, now_ns=now_ns, by=by, timeout_s=timeout_s, migrate=migrate)
        self.strategies: StrategyRepository = SqlStrategyRepository(self.books)
        self.orders: OrderRepository = SqlOrderRepository(self.books)
        self.fills: FillRepository = SqlFillRepository(self.books)
        self.trades: TradeRepository = SqlTradeRepository(self.books)
        self.signals: SignalRepository = SqlSignalRepository(self.books)
        self.positions: PositionRepository = SqlPositionRepository(self.books)
        self.performance: PerformanceRepository = SqlPerformanceRepository(self.books)
        self.parameters: ParameterHistoryRepository = SqlParameterHistoryRepository(self.books)
        self.events: EventRepository = SqlEventRepository(self.books)
        self.executions: ExecutionRepository = SqlExecutionRepository(self.books)
        self.cursors: CursorRepository = SqlCursorRepository(self.books)
        self.tasks: TaskRepository = SqlTaskRepository(self.books)
        self.trade_store: TradeStore = SqlTradeStore(books, now_ns, self.books)
        if trades_in == "redis":
            self.trade_store = RedisTradeStore(self._connected, now_ns, timeout_s=timeout_s, owned=False)

    # --- life --------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    async def connect(self) -> Self:
        """Look at every place. Of what is required its StoreError is raised, InputError where it is not even configured."""
        self.books.may_open = True
        if self.redis is not None and self._server is None:
            self._server = RedisServer.open(self.redis)
        try:
            _, errors = await self._look(self._timeout_s)
            for part in self._require:
                if (error := errors[part]) is not None:
                    raise error
        except BaseException:
            await self.disconnect()
            raise
        return self

    async def disconnect(self) -> None:
        """Let go of all connections; it can be connected again."""
        with anyio.CancelScope(shield=True):
            self.books.may_open = False
            await self.books.close()
            server, self._server = self._server, None
            if server is not None:
                await server.close()

    # --- what is on Redis --------------------------------------------------------------------------------------------

    @property
    def cache(self) -> Cache:
        """A cache in the adapter's own namespace."""
        return self.cache_in(self._namespace)

    @property
    def services(self) -> ServiceRegistry:
        """The services of the fleet."""
        if (memory := self._in_memory()) is not None:
            return memory.services(self._fleet)
        return RedisServiceRegistry(self._connected(), self._fleet)

    def cache_in(self, namespace: str) -> Cache:
        """A cache in another namespace."""
        if (memory := self._in_memory()) is not None:
            return memory.cache(namespace)
        return RedisCache(self._connected(), namespace)

    def _in_memory(self) -> MemoryPlace | None:
        """NotReady before it is connected, as of a server: what works here works there."""
        if self._memory is not None and not self.books.may_open:
            raise NotReady("the cache and the services are not connected: `async with` the adapter, or connect() it")
        return self._memory

    def _connected(self) -> RedisServer:
        if self.redis is None:
            raise InputError(_NO_REDIS)
        if self._server is None:
            raise NotReady(f"{where_is(self.redis)} is not connected: `async with` the adapter, or connect() it")
        return self._server

    # --- health ------------------------------------------------------------------------------------------------------

    async def health_check(self, timeout_s: float = TIMEOUT_S) -> Health:
        """How each place stands, all asked at once, in no more than so many seconds."""
        found, _ = await self._look(sensible(timeout_s))
        return Health(**found)

    async def _look(self, timeout_s: float) -> tuple[dict[Part, BackendHealth], dict[Part, Exception | None]]:
        found: dict[Part, BackendHealth] = {}
        errors: dict[Part, Exception | None] = {}

        async def look(part: Part, asking: Callable[[float], Awaitable[BackendHealth]], where: str) -> None:
            try:
                with anyio.fail_after(timeout_s):
                    found[part], errors[part] = await asking(timeout_s), None
            except TimeoutError:
                errors[part] = StoreTimeout(f"{where}: a health check took longer than {timeout_s:g} s")
                found[part] = BackendHealth(state=BackendState.UNAVAILABLE, where=where, detail=str(errors[part]))
            except (StoreError, NotReady) as error:
                errors[part] = error
                found[part] = BackendHealth(state=state_of(error), where=where, detail=str(error))
            if found[part].state is BackendState.OFF:
                errors[part] = InputError(_NO_REDIS if part == "redis" else f"no {part} is configured")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, "books", self._look_at_books, self.backend.described)
            tasks.start_soon(look, "replica", self._look_at_replica, self.backend.replica or "")
            tasks.start_soon(look, "redis", self._look_at_redis, self._where_redis_is())
        return found, errors

    def _where_redis_is(self) -> str:
        if self._memory is not None:
            return "memory"
        return "" if self.redis is None else where_is(self.redis)

    async def _look_at_books(self, timeout_s: float) -> BackendHealth:
        await self.books.be_open()
        self.books.refuse_if_failed("a health check")
        began_s = self._monotonic()
        version = await self.books.read("a health check", self._version, timeout_s, at_primary=True)
        latency_s = self._monotonic() - began_s
        return BackendHealth(
            state=BackendState.UP,
            where=self.backend.described,
            latency_s=latency_s,
            version=f"{self.backend.name} {version}",
        )

    async def _look_at_replica(self, timeout_s: float) -> BackendHealth:
        if self.backend.replica is None:
            return _OFF
        await self.books.be_open()
        began_s = self._monotonic()
        version = await self.books.ask_replica("a health check", self._version, timeout_s)
        latency_s = self._monotonic() - began_s
        return BackendHealth(
            state=BackendState.UP,
            where=self.backend.replica,
            latency_s=latency_s,
            version=f"{self.backend.name} {version}",
            detail=self.books.replica_said or "",
        )

    async def _look_at_redis(self, timeout_s: float) -> BackendHealth:
        if self._in_memory() is not None:
            return BackendHealth(
                state=BackendState.UP, where="memory", latency_s=0.0, version="memory", detail=_IN_MEMORY
            )
        if self.redis is None:
            return _OFF
        server = self._connected().within(timeout_s).reading()
        began_s = self._monotonic()
        await server.ping()
        latency_s = self._monotonic() - began_s
        version = await server.version()
        return BackendHealth(state=BackendState.UP, where=server.where, latency_s=latency_s, version=version)

    async def _version(self, db: AsyncConnection) -> str:
        # PostgreSQL says behind its number which distribution made it.
        return str((await db.execute(text(self.backend.ask_version))).scalar_one()).partition(" ")[0]


def state_of(error: StoreError | NotReady) -> BackendState:
    """What an error says of the place that it came from."""
    if isinstance(error, StoreDenied | StoreRefused):
        return BackendState.DENIED
    if isinstance(error, StoreUnavailable | StoreAway | StoreUnanswered | NotReady):
        return BackendState.UNAVAILABLE
    return BackendState.UNUSABLE
