"""What is particular about stores in memory: they are bounded, and nothing that is over keeps its room."""

from __future__ import annotations

import random

import pytest

from tradekeel.errors import StoreRefused
from tradekeel.ports import Service
from tradekeel.storage.glob import compiled, escaped
from tradekeel.storage.memory.cache import ENTRY_BYTES, MemoryCache, MemorySpace
from tradekeel.storage.memory.registry import MemoryServiceRegistry

S = 10**9


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.ns = 1_700_000_000 * S

    def __call__(self) -> int:
        return self.ns

    def pass_s(self, seconds: float) -> None:
        self.ns += round(seconds * S)


@pytest.fixture
def clock() -> Hand:
    return Hand()


# --- room ------------------------------------------------------------------------------------------------------------------


async def test_no_more_values_than_allowed_are_taken_and_what_is_there_stays(clock):
    cache = MemoryCache(MemorySpace(clock, entries_max=3), "a")
    await cache.set_many({"1": "x", "2": "x", "3": "x"})
    with pytest.raises(StoreRefused, match="full \\(3 values"):
        await cache.set("4", "x")
    with pytest.raises(StoreRefused, match="full"):
        await cache.set_many({"1": "new", "4": "x"})
    with pytest.raises(StoreRefused, match="full"):
        await cache.increment("4")
    assert await cache.get_many(["1", "2", "3", "4"]) == [b"x", b"x", b"x", None]
    await cache.set("1", "replaced")
    assert await cache.delete("2")
    await cache.set("4", "x")


async def test_no_more_bytes_than_allowed_are_taken(clock):
    space = MemorySpace(clock, bytes_max=2 * ENTRY_BYTES + 10)
    one, other = MemoryCache(space, "one"), MemoryCache(space, "other")
    await one.set("a", "12345")
    with pytest.raises(StoreRefused, match="bytes"):
        await other.set("b", "1234")
    await other.set("b", "123")
    await one.set("a", "")
    await other.set("b", "12345678")
    assert space.bytes == 2 * ENTRY_BYTES + 10


async def test_the_room_of_what_is_over_is_there_for_others(clock):
    space = MemorySpace(clock, entries_max=500)
    cache = MemoryCache(space, "a")
    await cache.set_many({f"{number}": "x" for number in range(500)}, ttl_s=1)
    clock.pass_s(1)
    await cache.set_many({f"new {number}": "x" for number in range(500)})
    assert space.entries == 500


async def test_what_is_over_is_taken_away_with_the_writing_of_others(clock):
    space = MemorySpace(clock)
    cache = MemoryCache(space, "a")
    await cache.set_many({f"{number}": "x" for number in range(250)}, ttl_s=1)
    clock.pass_s(1)
    left = []
    for number in range(4):
        await cache.set("one", str(number))
        left.append(space.entries)
    assert left == [151, 51, 1, 1]


async def test_a_sweep_takes_away_all_that_is_over_and_nothing_else(clock):
    space = MemorySpace(clock)
    cache = MemoryCache(space, "a")
    await cache.set("over", "x", ttl_s=1)
    await cache.set("extended", "x", ttl_s=1)
    await cache.set("kept", "x", ttl_s=1)
    await cache.set("later", "x", ttl_s=10)
    await cache.expire("extended", 10)
    await cache.persist("kept")
    clock.pass_s(5)
    space.sweep()
    assert space.entries == 3
    assert {key async for key in cache.scan()} == {b"extended", b"kept", b"later"}


async def test_the_sums_are_those_of_what_is_there_whatever_was_done(clock, seed):
    chance = random.Random(seed)
    space = MemorySpace(clock)
    caches = [MemoryCache(space, name) for name in "ab"]
    for _ in range(3_000):
        cache, key = chance.choice(caches), str(chance.randrange(30))
        match chance.randrange(6):
            case 0 | 1:
                await cache.set(key, "x" * chance.randrange(9), ttl_s=chance.choice([None, 1, 5]))
            case 2:
                await cache.delete(key)
            case 3:
                await cache.expire(key, chance.choice([1, 5]))
            case 4:
                await cache.set_if_absent(key, "y", ttl_s=2)
            case _:
                clock.pass_s(chance.random())
    space.sweep()
    there = [(key, await cache.get(key)) for cache in caches async for key in cache.scan()]
    assert space.entries == len(there)
    assert space.bytes == sum(len(key) + len(value or b"") + ENTRY_BYTES for key, value in there)
    for cache in caches:
        await cache.clear()
    assert (space.entries, space.bytes) == (0, 0)


async def test_refreshing_one_value_for_ever_takes_no_more_room(clock):
    space = MemorySpace(clock)
    cache = MemoryCache(space, "a")
    await cache.set("a", "x")
    for _ in range(10_000):
        assert await cache.expire("a", 60)
    assert len(space._expiring) < 200


async def test_a_registry_does_not_change_when_a_caller_changes_what_it_gave_or_got(clock):
    registry = MemoryServiceRegistry(clock)
    mine = {"a": "1"}
    await registry.register(Service(id="one", name="paper", metadata=mine))
    mine["a"] = "2"
    async with registry.watch() as changes:
        await registry.update_status("one", "running")
        told = (await anext(changes)).service
        assert isinstance(told.metadata, dict)
        told.metadata["a"] = "3"
    (found,) = await registry.list()
    assert found.metadata == {"a": "1"}


# --- patterns (that they are those of Redis is shown beside a server, in tests/conformance) -------------------------------------


@pytest.mark.parametrize("text", [b"*", b"a?", b"[a-z]", b"\\", b"[^x]", b"a*b\\*", bytes(range(256))])
def test_an_escaped_text_matches_itself_and_nothing_else(text):
    pattern = compiled(escaped(text))
    assert pattern.fullmatch(text)
    assert not pattern.fullmatch(text + b"x")
    assert not pattern.fullmatch(b"x" + text[1:])


def test_a_pattern_of_many_stars_ends():
    assert not compiled(b"*a" * 200 + b"*b").fullmatch(b"a" * 1_000)
