"""A Redis that is slow, paused, killed, or loses what it answers: every call ends in time, and nothing is ever done twice."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from msgspec import structs

from tests.conformance.backends import PATIENCE_S, RedisBackend
from tests.servers.proxy import TcpProxy
from tests.servers.valkey import DURABLE, ValkeyServer
from tradekeel.errors import StoreAway, StoreError, StoreUnanswered, Unfinished
from tradekeel.ports import Cache, Service, ServiceRegistry
from tradekeel.storage.redis.client import RedisSettings

pytestmark = pytest.mark.redis

HASTE_S = 0.25
SLACK_S = 2.0
"""What a busy machine may add to a deadline. Far below the five seconds that a call has unless it is said otherwise."""

ONE = Service(id="one", name="paper")

CACHE_CALLS: dict[str, Callable[[Cache], Awaitable[Any]]] = {
    "get": lambda cache: cache.get("a"),
    "set": lambda cache: cache.set("a", "x"),
    "set with a time": lambda cache: cache.set("a", "x", ttl_s=9),
    "set_if_absent": lambda cache: cache.set_if_absent("a", "x"),
    "delete": lambda cache: cache.delete("a"),
    "exists": lambda cache: cache.exists("a"),
    "expire": lambda cache: cache.expire("a", 9),
    "persist": lambda cache: cache.persist("a"),
    "ttl": lambda cache: cache.ttl("a"),
    "get_many": lambda cache: cache.get_many(["a", "b"]),
    "set_many": lambda cache: cache.set_many({"a": "x", "b": "y"}),
    "set_many with a time": lambda cache: cache.set_many({"a": "x", "b": "y"}, ttl_s=9),
    "delete_many": lambda cache: cache.delete_many(["a", "b"]),
    "keys": lambda cache: cache.keys(),
    "scan": lambda cache: anext(aiter(cache.scan())),
    "delete_matching": lambda cache: cache.delete_matching("*"),
    "clear": lambda cache: cache.clear(),
    "get_json": lambda cache: cache.get_json("a"),
    "set_json": lambda cache: cache.set_json("a", 1),
    "increment": lambda cache: cache.increment("a"),
    "decrement": lambda cache: cache.decrement("a"),
}
REGISTRY_CALLS: dict[str, Callable[[ServiceRegistry], Awaitable[Any]]] = {
    "register": lambda registry: registry.register(ONE),
    "deregister": lambda registry: registry.deregister("one"),
    "heartbeat": lambda registry: registry.heartbeat("one"),
    "discover": lambda registry: registry.discover("paper"),
    "list": lambda registry: registry.list(),
    "get service": lambda registry: registry.get("one"),
    "update_status": lambda registry: registry.update_status("one", "running"),
    "update_metadata": lambda registry: registry.update_metadata("one", {"a": "b"}),
    "prune": lambda registry: registry.prune(),
    "watch": lambda registry: registry.watch().__aenter__(),
}
CALLS = [*CACHE_CALLS, *REGISTRY_CALLS]


async def call(backend: RedisBackend, name: str, deadline_s: float = HASTE_S) -> Any:
    if name in CACHE_CALLS:
        return await CACHE_CALLS[name](backend.cache().within(deadline_s))
    return await REGISTRY_CALLS[name](backend.registry().within(deadline_s))


@pytest.fixture(scope="module")
def server(servers_folder) -> Any:
    """A server to be hurt, of this module's tests."""
    with ValkeyServer(servers_folder, settings=DURABLE) as own:
        yield own


@pytest.fixture
async def backend(server: ValkeyServer) -> AsyncIterator[RedisBackend]:
    """Caches and registries on it, with two connections; it is well and empty again afterwards."""
    server.heal()
    async with RedisBackend(RedisSettings(url=server.url(), connections_max=2)) as made:
        yield made
    server.heal()
    async with RedisBackend(RedisSettings(url=server.url())) as admin:
        await admin.server.ask("emptying it", "FLUSHALL")


@pytest.fixture
def proxy(server: ValkeyServer, proxy_before: Callable[[str], TcpProxy]) -> TcpProxy:
    """A proxy before it."""
    return proxy_before(server.url())


@pytest.fixture
async def through(backend: RedisBackend, server: ValkeyServer, proxy: TcpProxy) -> AsyncIterator[RedisBackend]:
    """The same by way of the proxy."""
    async with RedisBackend(RedisSettings(url=proxy.url(server.url()), connections_max=2)) as made:
        yield made


# --- away ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_to_a_paused_server_ends_within_its_deadline(
    backend: RedisBackend, server: ValkeyServer, name
):
    await backend.cache().set("a", "0")
    server.pause()
    began = time.monotonic()
    with pytest.raises(StoreUnanswered, match=r"no answer within 0\.25 s.*may have been done"):
        await call(backend, name)
    assert HASTE_S * 0.9 < time.monotonic() - began < HASTE_S + SLACK_S
    server.resume()
    assert await backend.cache().exists("a") in (True, False), "and it goes on by itself"


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_to_a_server_that_is_not_there_says_so_at_once(
    backend: RedisBackend, server: ValkeyServer, name
):
    server.kill()
    with pytest.raises(
        StoreAway, match=rf"127\.0\.0\.1:{server.port.number}, database 0 cannot be reached.*Nothing was changed"
    ):
        await call(backend, name, 5)
    server.restart()
    await call(backend, "increment", 5)


async def test_a_server_that_takes_connections_and_says_nothing_was_not_asked(through: RedisBackend, proxy: TcpProxy):
    proxy.stall()
    with pytest.raises(StoreAway, match="Nothing was changed"):
        await through.cache().within(HASTE_S).increment("n")
    proxy.normal()
    assert await through.cache().increment("n") == 1


async def test_the_deadline_counts_for_waiting_for_a_connection_too(backend: RedisBackend, server: ValkeyServer):
    ended: list[tuple[type[BaseException], float]] = []
    await call(backend, "set")
    server.pause()

    async def count() -> None:
        began = time.monotonic()
        try:
            await backend.cache().within(HASTE_S).increment("n")
        except StoreError as error:
            ended.append((type(error), time.monotonic() - began))

    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(count)
    assert {kind for kind, _ in ended} == {StoreUnanswered, StoreAway}, (
        "few were asked, the others waited for a connection"
    )
    assert max(took_s for _, took_s in ended) < HASTE_S + SLACK_S
    server.resume()
    counted = int(await backend.cache().get("n") or 0)
    assert counted <= sum(kind is StoreUnanswered for kind, _ in ended)


async def test_a_server_that_is_back_is_found_by_the_next_question(backend: RedisBackend, server: ValkeyServer):
    await backend.cache().set("a", "1")
    for _ in range(3):
        server.kill()
        await anyio.to_thread.run_sync(server.restart)
        assert await backend.cache().get("a") == b"1"
        assert await backend.registry().list() == ()


async def test_connections_that_died_unseen_while_they_were_idle_are_not_trusted(
    backend: RedisBackend, server: ValkeyServer, proxy: TcpProxy
):
    settings = RedisSettings(url=proxy.url(server.url()), idle_check_s=0.05, connections_max=2)
    async with RedisBackend(settings) as through:
        for number in range(1, 6):
            assert await through.cache().increment("n") == number
            proxy.cut()
            await anyio.sleep(0.06)


# --- answers that are lost ----------------------------------------------------------------------------------------------------


async def test_a_count_whose_answer_is_lost_is_not_counted_twice(through: RedisBackend, proxy: TcpProxy):
    cache = through.cache()
    for number in range(1, 6):
        loss = proxy.lose_answer(b"INCRBY")
        with pytest.raises(StoreUnanswered, match="is not asked again"):
            await cache.increment("n")
        assert loss.happened
        assert await cache.get("n") == str(number).encode(), "it was done, and once"


async def test_a_count_that_never_arrived_is_not_tried_again(through: RedisBackend, proxy: TcpProxy):
    cache = through.cache()
    await cache.set("n", "5")
    loss = proxy.lose_request(b"INCRBY")
    with pytest.raises(StoreUnanswered):
        await cache.increment("n")
    assert loss.happened
    assert await cache.get("n") == b"5"


async def test_half_an_answer_is_none(through: RedisBackend, proxy: TcpProxy):
    cache = through.cache()
    await cache.set("a", b"x" * 10_000)
    proxy.lose_answer(b"GET", delivered_bytes=500)
    with pytest.raises(StoreUnanswered):
        await cache.get("a")
    assert await cache.get("a") == b"x" * 10_000


async def test_what_was_registered_without_an_answer_is_there_whole(through: RedisBackend, proxy: TcpProxy):
    registry = through.registry()
    proxy.lose_answer(b"EVAL")
    with pytest.raises(StoreUnanswered):
        await registry.register(structs.replace(ONE, metadata={"a": "b"}))
    found = await registry.get("one")
    assert found is not None
    assert found.metadata == {"a": "b"}


async def test_a_slow_server_is_waited_for_as_long_as_was_said(through: RedisBackend, proxy: TcpProxy):
    cache = through.cache()
    await cache.set("a", "1")
    proxy.delay(0.2)
    assert await cache.within(3).get("a") == b"1"
    with pytest.raises(StoreUnanswered):
        await cache.within(0.1).get("a")


async def test_whoever_gives_up_gets_nobody_elses_answer(backend: RedisBackend, seed):
    """A call that is cancelled at any moment must not leave its answer behind for the next one on that connection."""
    chance = random.Random(seed)
    cache = backend.cache()
    await cache.set_many({f"k{number}": f"v{number}" for number in range(50)})
    wrong: list[tuple[int, bytes | None]] = []
    answered = 0

    async def ask() -> None:
        nonlocal answered
        for _ in range(60):
            number = chance.randrange(50)
            with anyio.move_on_after(chance.choice([0, 0.0002, 0.0005, 0.001, 0.005, 5])):
                value = await cache.get(f"k{number}")
                answered += 1
                if value != f"v{number}".encode():
                    wrong.append((number, value))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert wrong == []
    assert answered > 100
    # Nor does it keep a connection: both are there.
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(cache.within(PATIENCE_S).get, "k1")


ROUNDS = {"dev": 3, "ci": 6, "campaign": 100}


async def test_killed_and_cut_at_any_moment_no_count_is_lost_or_doubled(
    through: RedisBackend, proxy: TcpProxy, server: ValkeyServer, seed, profile
):
    """What was acknowledged is there, and what is there was asked for: each answer is lost, late, or right."""
    chance = random.Random(seed)
    cache = through.cache().within(1.0)
    acknowledged = unanswered = 0
    told: list[int] = []
    over = False

    async def count() -> None:
        nonlocal acknowledged, unanswered
        while not over:
            try:
                told.append(await cache.increment("n"))
                acknowledged += 1
            except StoreUnanswered:
                unanswered += 1
            except StoreAway:
                await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(count)
        for _ in range(ROUNDS[profile]):
            await anyio.sleep(chance.uniform(0.02, 0.1))
            match chance.randrange(4):
                case 0:
                    server.kill()
                    await anyio.sleep(chance.uniform(0, 0.1))
                    await anyio.to_thread.run_sync(server.restart)
                case 1:
                    proxy.cut(reset=chance.random() < 0.5)
                case 2:
                    proxy.lose_answer(b"INCRBY")
                case _:
                    proxy.lose_request(b"INCRBY")
        over = True
    proxy.normal()
    counted = int(await through.cache().get("n") or 0)
    assert acknowledged <= counted <= acknowledged + unanswered, (acknowledged, unanswered)
    assert len(set(told)) == len(told), "no number was given out twice"
    assert acknowledged > 0


# --- watching ------------------------------------------------------------------------------------------------------------------


async def test_a_watcher_is_told_when_the_server_goes_and_can_watch_anew(backend: RedisBackend, server: ValkeyServer):
    registry = backend.registry()
    async with registry.watch() as changes:
        await registry.register(ONE)
        await anext(changes)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, server.kill)
            with pytest.raises(StoreError) as caught, anyio.fail_after(PATIENCE_S):
                await anext(changes)
        assert isinstance(caught.value, StoreAway | StoreUnanswered)
    server.restart()
    async with registry.watch() as changes:
        await registry.deregister("one")
        assert (await anext(changes)).service.id == "one"


async def test_a_watcher_of_a_paused_server_is_told_after_the_deadline(backend: RedisBackend, server: ValkeyServer):
    async with backend.registry().within(HASTE_S).watch() as changes:
        server.pause()
        with pytest.raises(StoreAway), anyio.fail_after(HASTE_S + SLACK_S):
            await anext(changes)  # there was no connection yet, and none is to be had


async def test_a_watcher_sees_that_the_server_lost_what_it_had(backend: RedisBackend):
    registry = backend.registry()
    await registry.register(ONE)
    await registry.update_status("one", "running")
    async with registry.watch() as changes:
        await backend.server.ask("emptying it", "FLUSHALL")
        await registry.register(ONE)
        with pytest.raises(Unfinished, match="the server lost them"):
            await anext(changes)


async def test_a_fleet_is_whole_again_when_each_has_beaten_after_a_server_lost_it(backend: RedisBackend):
    registry = backend.registry()
    await registry.register(structs.replace(ONE, metadata={"a": "b"}))
    await backend.server.ask("emptying it", "FLUSHALL")
    if not await registry.heartbeat("one"):
        await registry.register(structs.replace(ONE, metadata={"a": "b"}))
    (found,) = await registry.discover("paper")
    assert found.metadata == {"a": "b"}
