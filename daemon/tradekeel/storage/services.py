"""What every registry of services holds to: what a service may say of itself, and in which order services are told."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Self

from tradekeel.errors import InputError, StoreRefused, Unfinished
from tradekeel.ports.cache import DEADLINE_S
from tradekeel.ports.registry import (
    CHANGES_KEPT,
    ID_BYTES_MAX,
    METADATA_BYTES_MAX,
    METADATA_MAX,
    METADATA_NAME_BYTES_MAX,
    SERVICE_TTL_S_MAX,
    SERVICES_MAX,
    WORD_BYTES_MAX,
    Service,
    ServiceChange,
)
from tradekeel.storage.caching import checked_deadline, checked_name, to_bytes, ttl_to_ms


class CheckedRegistry(ABC):
    """A registry (``ports/registry.py``) around the steps of one backend, which are given nothing that is not in order."""

    def __init__(self, fleet: str, deadline_s: float = DEADLINE_S) -> None:
        """Raises InputError for a name that is none of a fleet: it has 1 to 200 bytes and no colon."""
        self.fleet = checked_name("fleet", fleet)
        self.deadline_s = checked_deadline(deadline_s)

    def within(self, deadline_s: float) -> Self:
        other = copy.copy(self)
        other.deadline_s = checked_deadline(deadline_s)
        return other

    # --- what a backend has to know -----------------------------------------------------------------------------------

    @abstractmethod
    async def _register(self, service: Service) -> Service: ...

    @abstractmethod
    async def _deregister(self, service_id: str) -> bool: ...

    @abstractmethod
    async def _heartbeat(self, service_id: str) -> bool: ...

    @abstractmethod
    async def _update_status(self, service_id: str, status: str) -> bool: ...

    @abstractmethod
    async def _update_metadata(self, service_id: str, changes: Mapping[str, str | None]) -> bool: ...

    @abstractmethod
    async def _get(self, service_id: str) -> Service | None: ...

    @abstractmethod
    async def _list(self, name: str | None, status: str | None) -> Iterable[Service]: ...

    @abstractmethod
    async def _prune(self) -> Iterable[Service]: ...

    @abstractmethod
    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[ServiceChange]]: ...

    # --- what callers use ---------------------------------------------------------------------------------------------

    async def register(self, service: Service) -> Service:
        _check_service(service)
        return await self._register(service)

    async def deregister(self, service_id: str) -> bool:
        return await self._deregister(_checked_id(service_id))

    async def heartbeat(self, service_id: str) -> bool:
        return await self._heartbeat(_checked_id(service_id))

    async def update_status(self, service_id: str, status: str) -> bool:
        _check_word("status", status)
        return await self._update_status(_checked_id(service_id), status)

    async def update_metadata(self, service_id: str, changes: Mapping[str, str | None]) -> bool:
        _check_entries(changes)
        return await self._update_metadata(_checked_id(service_id), changes)

    async def get(self, service_id: str) -> Service | None:
        return await self._get(_checked_id(service_id))

    async def discover(self, name: str) -> tuple[Service, ...]:
        return await self.list(name=name, stale=False)

    async def list(
        self, *, name: str | None = None, status: str | None = None, stale: bool = True
    ) -> tuple[Service, ...]:
        found = await self._list(name, status)
        return oldest_first(service for service in found if stale or service.alive)

    async def prune(self) -> tuple[Service, ...]:
        return oldest_first(await self._prune())


def oldest_first(services: Iterable[Service]) -> tuple[Service, ...]:
    """By when they registered; those of one moment by id."""
    return tuple(sorted(services, key=lambda service: (service.registered_ns, service.id)))


def full(fleet: str) -> StoreRefused:
    """There is no room for another service."""
    return StoreRefused(
        f"fleet {fleet!r} has {SERVICES_MAX} services that are alive, which is as many as there may be. "
        "Deregister some, or use another fleet."
    )


def missed(fleet: str) -> Unfinished:
    """A watcher has not seen everything."""
    return Unfinished(
        f"changes of fleet {fleet!r} were missed: it is more than {CHANGES_KEPT} behind, or the server lost them. "
        "List the services and watch anew."
    )


def check_metadata(service_id: str, metadata: Mapping[str, str]) -> None:
    """Raises StoreRefused where a change would leave more than one service may say of itself."""
    if not fits(metadata):
        raise too_much(service_id)


def too_much(service_id: str) -> StoreRefused:
    """A service would say too much of itself."""
    return StoreRefused(
        f"the metadata of service {service_id!r} would be too large: {METADATA_MAX} entries and {METADATA_BYTES_MAX} bytes "
        "are allowed. Nothing was changed; take some away."
    )


def fits(metadata: Mapping[str, str | None]) -> bool:
    """Whether these are no more entries and bytes than one service may have."""
    size = sum(len(name.encode()) + len((value or "").encode()) for name, value in metadata.items())
    return len(metadata) <= METADATA_MAX and size <= METADATA_BYTES_MAX


def ttl_ms_of(service: Service) -> int:
    """How long it counts as alive after a beat, in milliseconds."""
    return ttl_to_ms(service.ttl_s, SERVICE_TTL_S_MAX)


def _check_service(service: Service) -> None:
    _checked_id(service.id)
    _check_word("name", service.name)
    if not service.name:
        raise InputError(f"service {service.id!r} has no name: it is what others find it by")
    for what in ("host", "version", "status"):
        _check_word(what, getattr(service, what))
    if not 0 <= service.pid < 2**31:
        raise InputError(f"service {service.id!r}: {service.pid} is no process id")
    ttl_ms_of(service)
    _check_entries(service.metadata)
    if None in service.metadata.values():
        raise InputError(f"service {service.id!r}: an entry of its metadata has no value")


def _checked_id(service_id: str) -> str:
    if not to_bytes("service's id", service_id, ID_BYTES_MAX):
        raise InputError(f"{service_id!r} is no id of a service: it is text of 1 to {ID_BYTES_MAX} bytes")
    return service_id


def _check_word(what: str, word: str) -> None:
    to_bytes(f"service's {what}", word, WORD_BYTES_MAX)


def _check_entries(entries: Mapping[str, str | None]) -> None:
    for name, value in entries.items():
        if not to_bytes("name of metadata", name, METADATA_NAME_BYTES_MAX):
            raise InputError(f"{name!r} is no name of metadata: it is text of 1 to {METADATA_NAME_BYTES_MAX} bytes")
        if value is not None:
            to_bytes(f"metadata {name!r}", value, METADATA_BYTES_MAX)
    if not fits(entries):
        raise InputError(f"too much metadata: {METADATA_MAX} entries and {METADATA_BYTES_MAX} bytes are allowed")
