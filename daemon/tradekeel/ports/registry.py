"""What a registry of services must offer: which daemons there are, and which of them are alive.

Each service registers under an id that is its own for as long as its process lives, and then beats. One that has not beaten for
its ``ttl_s`` is *stale*: it is no longer discovered, and whoever prunes takes it away and tells those who watch. A service whose
beat comes too late, after it was pruned, is told so and registers again: nothing brings half a record back.

All times are those of the registry itself (of the server, where there is one), so machines whose clocks differ agree
about who is alive.

Errors are those of ``ports/cache.py``: InputError, StoreAway, StoreUnanswered, StoreRefused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Final, Protocol, Self, runtime_checkable

from msgspec import Struct, field

SERVICES_MAX: Final = 1_000
"""Services of one fleet, stale ones among them."""

ID_BYTES_MAX: Final = 128
WORD_BYTES_MAX: Final = 200
"""Of a name, host, version or status."""

METADATA_MAX: Final = 64
"""Entries of one service."""

METADATA_NAME_BYTES_MAX: Final = 100
METADATA_BYTES_MAX: Final = 16 * 1024
"""Of all names and values of one service together."""

SERVICE_TTL_S: Final = 30.0
SERVICE_TTL_S_MAX: Final = 86_400.0
CHANGES_KEPT: Final = 1_000
"""How far a watcher may fall behind before it is told that it missed something."""


class Service(Struct, frozen=True, kw_only=True):
    """One daemon, as it was last told.

    The last three fields are the registry's: what a caller puts there is ignored.
    """

    id: str  # no other process that lives has it; who is started again may take the place of the one that died
    name: str  # what it is discovered by; several services may share one
    host: str = ""
    pid: int = 0
    version: str = ""
    status: str = "starting"  # its own word for how it is
    metadata: Mapping[str, str] = field(default_factory=dict)
    ttl_s: float = SERVICE_TTL_S  # how long it counts as alive after a beat
    registered_ns: int = 0
    heartbeat_ns: int = 0
    alive: bool = True  # whether it had beaten in time when this was read


class ChangeKind(StrEnum):
    """What happened to a service. Beats are no changes."""

    REGISTERED = "registered"
    UPDATED = "updated"
    DEREGISTERED = "deregistered"
    PRUNED = "pruned"


class ServiceChange(Struct, frozen=True):
    """One change: the service as it is after it, or as it was before it went."""

    kind: ChangeKind
    service: Service
    ts_ns: int


@runtime_checkable
class ServiceRegistry(Protocol):
    """The services of one fleet; those of another it neither sees nor touches."""

    fleet: str
    deadline_s: float

    def within(self, deadline_s: float) -> Self:
        """The same registry, with another deadline for each call."""

    async def register(self, service: Service) -> Service:
        """Enter a service, alive from now, in place of an older entry of that id; returns it with the registry's times.

        StoreRefused if the fleet is full of services that are alive; stale ones make room.
        """

    async def deregister(self, service_id: str) -> bool:
        """Take a service out; whether it was there."""

    async def heartbeat(self, service_id: str) -> bool:
        """It is alive for another ``ttl_s``. False if it is not (or no longer) registered: it should register again."""

    async def update_status(self, service_id: str, status: str) -> bool:
        """It has another status; whether it is registered. No beat."""

    async def update_metadata(self, service_id: str, changes: Mapping[str, str | None]) -> bool:
        """Put these entries beside the others, and take away those that are None; whether it is registered. No beat."""

    async def get(self, service_id: str) -> Service | None:
        """The service, also a stale one (``alive`` says it), or None."""

    async def discover(self, name: str) -> tuple[Service, ...]:
        """The services of that name that are alive, the oldest first."""

    async def list(
        self, *, name: str | None = None, status: str | None = None, stale: bool = True
    ) -> tuple[Service, ...]:
        """All services, or those of a name or status, the oldest first; without the stale ones if so asked."""

    async def prune(self) -> tuple[Service, ...]:
        """Take out the services that are stale, and return them."""

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[ServiceChange]]:
        """Every change from the moment in which the block is entered, in order, for as long as it is listened to.

        Who enters first and lists then has missed nothing. The iterator raises Unfinished when changes were missed, because
        it came :data:`CHANGES_KEPT` behind or the server lost them: list and watch anew. A service that dies is told when
        somebody prunes it.
        """
