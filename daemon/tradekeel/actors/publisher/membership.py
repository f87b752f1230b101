"""This daemon among the services of the fleet: registered, beating, and telling how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from msgspec import structs

from tradekeel.domain.protocol import DaemonStands
from tradekeel.ports.registry import Service, ServiceRegistry

PRUNE_EVERY_BEATS = 3


class Membership:
    """See the module."""

    name = "the list of daemons"
    trouble = None

    def __init__(self, registry: ServiceRegistry, service: Service, *, beat_every_s: float) -> None:
        self._registry, self._service, self._beat_every_s = registry, service, beat_every_s
        self._stands = DaemonStands(service.status, service.metadata)
        self._said: DaemonStands | None = None  # None: the registry is to be told everything
        self._beat_s = -inf
        self._beats = 0

    @property
    def registered(self) -> bool:
        """Whether it was, when the registry last said so."""
        return self._said is not None

    def stands(self, stands: DaemonStands) -> None:
        """It stands so from now on."""
        self._stands = stands

    def due_s(self) -> float:
        """When there is something to do: -inf for at once."""
        return -inf if self._said != self._stands else self._beat_s + self._beat_every_s

    async def step(self, now_s: float) -> bool:
        """Tell what has changed, and beat when it is time."""
        if self._said is None or not await self._tell(self._said, self._stands):
            await self._register(now_s)
        if now_s >= self._beat_s + self._beat_every_s:
            self._beat_s = now_s
            if not await self._registry.heartbeat(self._service.id):
                await self._register(now_s)
            self._beats += 1
            if self._beats % PRUNE_EVERY_BEATS == 0:
                await self._registry.prune()
        return False

    async def finish(self, now_s: float) -> None:
        """It ends in order, and is a member no more."""
        if self._said is not None:
            await self._registry.deregister(self._service.id)
            self._said = None

    async def _register(self, now_s: float) -> None:
        stands, self._said = self._stands, None
        await self._registry.register(
            structs.replace(self._service, status=stands.status, metadata=dict(stands.metadata))
        )
        self._said, self._beat_s = stands, now_s

    async def _tell(self, said: DaemonStands, now: DaemonStands) -> bool:
        """False where it is not registered any more."""
        if said == now:
            return True
        self._said = None
        changes = _changes(said.metadata, now.metadata)
        is_there = await self._registry.update_status(self._service.id, now.status)
        if changes and is_there:
            is_there = await self._registry.update_metadata(self._service.id, changes)
        if is_there:
            self._said = now
        return is_there


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    changes: dict[str, str | None] = {name: value for name, value in after.items() if before.get(name) != value}
    return changes | {name: None for name in before if name not in after}
