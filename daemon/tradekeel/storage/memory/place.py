"""What stands in the place of a Redis server where a script says so: the same rules, and shared with nobody."""

from __future__ import annotations

from collections.abc import Callable

from tradekeel.domain.times import NS_PER_S
from tradekeel.ports.cache import Cache
from tradekeel.ports.registry import ServiceRegistry
from tradekeel.storage.memory.cache import MemoryCache, MemorySpace
from tradekeel.storage.memory.registry import MemoryServiceRegistry


class MemoryPlace:
    """Caches and registries that are there as long as this object. The clocks are those of an adapter."""

    def __init__(self, now_ns: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._now_ns = now_ns
        self._space = MemorySpace(lambda: int(monotonic() * NS_PER_S))
        self._registries: dict[str, ServiceRegistry] = {}

    def cache(self, namespace: str) -> Cache:
        """A cache in a namespace. InputError for a name that is none."""
        return MemoryCache(self._space, namespace)

    def services(self, fleet: str) -> ServiceRegistry:
        """The services of a fleet. InputError for a name that is none."""
        if fleet not in self._registries:
            self._registries[fleet] = MemoryServiceRegistry(self._now_ns, fleet)
        return self._registries[fleet]
