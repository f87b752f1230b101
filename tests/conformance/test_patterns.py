"""Patterns mean the same everywhere: what memory finds by a pattern is what a real server finds by it, however odd it is."""

from __future__ import annotations

import random

import pytest

from tests.conformance.backends import MemoryBackend, RedisBackend
from tradekeel.storage.redis.client import RedisSettings

LETTERS = b"ab*?[]^-\\c\x00"
ROUNDS = {"dev": 400, "ci": 1_500, "campaign": 30_000}
ODD = [
    b"[", b"[^", b"[]", b"[^]", b"[a", b"[^a", b"[a-", b"[a-]", b"[a-]b", b"[-a]", b"[a-c-b]", b"[]a]", b"[^]a]", b"\\",
    b"a\\", b"[\\", b"[\\]", b"[\\]]", b"[a\\-c]", b"[\\a-c]", b"[c-a]", b"**", b"*?*", b"***a***b***", b"?" * 5, b"[*]", b"[?]",
    b"]", b"-", b"^a", b"[a^]", b"[\\^a]", b"[[]", b"[[]]", b"a[^\\", b"*\\*", b"\\*\\?", b"[a-\\", b"[a-\\]",
]  # fmt: skip


def some(chance: random.Random, length_max: int) -> bytes:
    return bytes(chance.choice(LETTERS) for _ in range(chance.randint(1, length_max)))


@pytest.mark.redis
async def test_memory_finds_what_a_server_finds(redis_url, seed, profile):
    chance = random.Random(seed)
    keys = {some(chance, 4) for _ in range(800)} | {bytes([byte]) for byte in range(1, 256)}
    async with RedisBackend(RedisSettings(url=redis_url)) as remote:
        here, there = MemoryBackend().cache(), remote.cache()
        for cache in (here, there):
            await cache.set_many(dict.fromkeys(sorted(keys), b""))
        for pattern in [*ODD, *(some(chance, 7) for _ in range(ROUNDS[profile]))]:
            found = {key async for key in here.scan(pattern)}
            assert found == {key async for key in there.scan(pattern)}, pattern
