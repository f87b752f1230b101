"""A registry of services in memory: for the daemons of one process, and for tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec import structs

from tradekeel.domain.times import NS_PER_MS
from tradekeel.ports.cache import DEADLINE_S
from tradekeel.ports.registry import CHANGES_KEPT, SERVICES_MAX, ChangeKind, Service, ServiceChange
from tradekeel.storage.services import CheckedRegistry, check_metadata, full, missed, ttl_ms_of

_Watchers = dict[int, MemoryObjectSendStream[ServiceChange]]


class MemoryServiceRegistry(CheckedRegistry):
    """The services of a fleet. ``now_ns`` is UTC in nanoseconds; its calls never wait, so none is ever late."""

    def __init__(self, now_ns: Callable[[], int], fleet: str = "main", *, deadline_s: float = DEADLINE_S) -> None:
        super().__init__(fleet, deadline_s)
        self._now_ns = now_ns
        self._services: dict[str, Service] = {}
        self._watchers: _Watchers = {}

    async def _register(self, service: Service) -> Service:
        if service.id not in self._services and len(self._services) >= SERVICES_MAX:
            self._take_stale()
            if len(self._services) >= SERVICES_MAX:
                raise full(self.fleet)
        now_ns = self._now_ns()
        # Kept as it was given: what the caller does to its own mapping later is no change that anybody was told of.
        entered = structs.replace(
            service,
            metadata=dict(service.metadata),
            ttl_s=ttl_ms_of(service) / 1_000,
            registered_ns=now_ns,
            heartbeat_ns=now_ns,
        )
        self._services[service.id] = entered
        self._tell(ChangeKind.REGISTERED, entered)
        return self._shown(entered)

    async def _deregister(self, service_id: str) -> bool:
        service = self._services.pop(service_id, None)
        if service is not None:
            self._tell(ChangeKind.DEREGISTERED, service)
        return service is not None

    async def _heartbeat(self, service_id: str) -> bool:
        service = self._services.get(service_id)
        if service is not None:
            self._services[service_id] = structs.replace(service, heartbeat_ns=self._now_ns())
        return service is not None

    async def _update_status(self, service_id: str, status: str) -> bool:
        service = self._services.get(service_id)
        return service is not None and self._update(service, structs.replace(service, status=status))

    async def _update_metadata(self, service_id: str, changes: Mapping[str, str | None]) -> bool:
        service = self._services.get(service_id)
        if service is None:
            return False
        wanted = {**service.metadata, **changes}
        metadata = {name: value for name, value in wanted.items() if value is not None}
        check_metadata(service_id, metadata)
        return self._update(service, structs.replace(service, metadata=metadata))

    async def _get(self, service_id: str) -> Service | None:
        service = self._services.get(service_id)
        return None if service is None else self._shown(service)

    async def _list(self, name: str | None, status: str | None) -> Iterable[Service]:
        return [
            self._shown(service)
            for service in self._services.values()
            if name in (None, service.name) and status in (None, service.status)
        ]

    async def _prune(self) -> Iterable[Service]:
        return self._take_stale()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[ServiceChange]]:
        send, receive = anyio.create_memory_object_stream[ServiceChange](CHANGES_KEPT)
        self._watchers[id(send)] = send
        changes = self._listen(receive)
        try:
            yield changes
        finally:
            self._watchers.pop(id(send), None)
            await changes.aclose()
            send.close()
            receive.close()

    async def _listen(self, receive: MemoryObjectReceiveStream[ServiceChange]) -> AsyncGenerator[ServiceChange, None]:
        async for change in receive:
            yield change
        raise missed(self.fleet)

    def _tell(self, kind: ChangeKind, service: Service) -> None:
        change = ServiceChange(kind, self._shown(service), self._now_ns())
        for key, watcher in list(self._watchers.items()):
            try:
                watcher.send_nowait(change)
            except anyio.WouldBlock:
                # It is told so when it has read what it has: nobody waits for a watcher.
                watcher.close()
                del self._watchers[key]

    def _update(self, before: Service, after: Service) -> bool:
        if after != before:
            self._services[before.id] = after
            self._tell(ChangeKind.UPDATED, after)
        return True

    def _take_stale(self) -> list[Service]:
        gone = [shown for shown in map(self._shown, self._services.values()) if not shown.alive]
        for service in gone:
            del self._services[service.id]
            self._tell(ChangeKind.PRUNED, service)
        return gone

    def _shown(self, service: Service) -> Service:
        alive = service.heartbeat_ns + ttl_ms_of(service) * NS_PER_MS > self._now_ns()
        return structs.replace(service, metadata=dict(service.metadata), alive=alive)
