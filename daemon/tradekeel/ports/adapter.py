"""All that a script may want of what Tradekeel stores, held by one object: books, cache, services, and how each of them stands.

**Half of it may be missing.** Where the database is there and Redis is not, or the other way round, whoever connected goes on
with what there is: :meth:`DataAdapter.health_check` says what is missing, and a call of a missing part raises a StoreError that
says what, where and what to do. What comes back is used again by the next call; nothing has to be connected anew.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, Self, runtime_checkable

from msgspec import Struct

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
from tradekeel.ports.tradestore import TradeStore


class BackendState(StrEnum):
    """How a place stands."""

    UP = "up"  # it answers, and what is there can be used
    UNAVAILABLE = "unavailable"  # it cannot be reached or opened for now
    DENIED = "denied"  # it is there and does not let us in: a password, a database, a right
    UNUSABLE = "unusable"  # what is there cannot be used as it is: damaged, or of another version
    OFF = "off"  # none is configured


class BackendHealth(Struct, frozen=True, kw_only=True):
    """How one place stands."""

    state: BackendState
    where: str = ""  # for people, without a password
    latency_s: float | None = None  # of one small question; None where it was not answered
    version: str = ""  # of the program there
    detail: str = ""  # what is wrong, and what to do; or what to know of a place that is up

    @property
    def is_up(self) -> bool:
        """Whether it can be used."""
        return self.state is BackendState.UP


class Health(Struct, frozen=True, kw_only=True):
    """How everything stands."""

    books: BackendHealth
    replica: BackendHealth
    redis: BackendHealth

    @property
    def ok(self) -> bool:
        """Whether all that is configured can be used."""
        return all(part.is_up or part.state is BackendState.OFF for part in (self.books, self.replica, self.redis))


@runtime_checkable
class DataAdapter(Protocol):
    """See the module. ``async with`` connects and disconnects."""

    strategies: StrategyRepository
    orders: OrderRepository
    fills: FillRepository
    trades: TradeRepository
    signals: SignalRepository
    positions: PositionRepository
    performance: PerformanceRepository
    parameters: ParameterHistoryRepository
    events: EventRepository
    executions: ExecutionRepository
    cursors: CursorRepository
    tasks: TaskRepository
    trade_store: TradeStore

    @property
    def cache(self) -> Cache:
        """A cache in the adapter's own namespace. InputError where no Redis is configured."""

    @property
    def services(self) -> ServiceRegistry:
        """The services of the fleet. InputError where no Redis is configured."""

    def cache_in(self, namespace: str) -> Cache:
        """A cache in another namespace. InputError where no Redis is configured, and for a name that is none."""

    async def connect(self) -> Self:
        """Look at every place. Only what is said to be required must be there: its StoreError is raised, else nothing is."""

    async def disconnect(self) -> None:
        """Let go of all connections; it can be connected again."""

    async def health_check(self, timeout_s: float = ...) -> Health:
        """How each place stands, all asked at once, in no more than so many seconds."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...
