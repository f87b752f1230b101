"""One suite over every backend: the same tests, told apart by the backend they run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.backends import Adapter, Backend, MemoryBackend, RedisBackend
from tradekeel.ports import Cache, Publication, ServiceRegistry
from tradekeel.storage.redis.client import RedisSettings

BACKENDS = [
    "memory",
    pytest.param("redis", marks=pytest.mark.redis),
    pytest.param("redis-limited-user", marks=pytest.mark.redis),
]


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Each backend in turn, empty."""
    if request.param == "memory":
        yield MemoryBackend()
        return
    url: str = request.getfixturevalue("redis_url")
    if request.param == "redis":
        async with RedisBackend(RedisSettings(url=url)) as made:
            yield made
        return
    async with Adapter(url, "a-secret-of-the-tests") as adapter, RedisBackend(adapter.settings) as made:
        yield made


@pytest.fixture
def cache(backend: Backend) -> Cache:
    """A cache of the backend."""
    return backend.cache()


@pytest.fixture
def registry(backend: Backend) -> ServiceRegistry:
    """A registry of the backend."""
    return backend.registry()


@pytest.fixture
def publication(backend: Backend) -> Publication:
    """What outside readers look at, of the backend."""
    return backend.publication()
