"""What every registry of services does, on every backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from msgspec import structs

from tests.conformance.backends import PATIENCE_S, Backend
from tradekeel.errors import InputError, StoreRefused, Unfinished
from tradekeel.ports import ChangeKind, Service, ServiceChange, ServiceRegistry
from tradekeel.ports import registry as limits

LATER_S = 300.0
SOON_S = 0.05


AT_ONCE = 50
"""A thousand questions at once are no part of what is asked here, and the last of them waits as long as a busy machine takes."""


def service(service_id: str = "one", **fields: Any) -> Service:
    return structs.replace(Service(id=service_id, name="paper", ttl_s=LATER_S), **fields)


def said(one: Service) -> Service:
    """A service without what the registry says of it."""
    return structs.replace(one, registered_ns=0, heartbeat_ns=0, alive=True)


def ids(services: tuple[Service, ...]) -> list[str]:
    return [one.id for one in services]


async def stale(registry: ServiceRegistry, backend: Backend, service_id: str) -> None:
    """Wait until a service counts as dead."""

    async def is_stale() -> bool:
        found = await registry.get(service_id)
        return found is not None and not found.alive

    await backend.until(is_stale)


async def next_of(changes: AsyncIterator[ServiceChange], number: int) -> list[ServiceChange]:
    with anyio.fail_after(PATIENCE_S):
        return [await anext(changes) for _ in range(number)]


FULL = Service(
    id="a:*?[é]\\ 💰",
    name="fx live/ü",
    host="trader-1.example",
    pid=2**31 - 1,
    version="0.1.0+dev",
    status="reduce_only",
    metadata={"accounts": "2", "m:odd": "", "ü 💰": "line\nbreak\x00", "": "x"}
    | {f"k{number}": "v" for number in range(limits.METADATA_MAX - 4)},
    ttl_s=12.5,
)


# --- one service ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [Service(id="x", name="y"), structs.replace(FULL, metadata={"ü": "💰"})], ids=["least", "odd"]
)
async def test_a_service_is_told_as_it_was_registered(registry: ServiceRegistry, given):
    entered = await registry.register(given)
    assert said(entered) == given
    assert entered.registered_ns == entered.heartbeat_ns > 0
    assert await registry.get(given.id) == entered
    assert await registry.list() == (entered,)
    assert await registry.discover(given.name) == (entered,)


async def test_as_much_as_one_service_may_say_is_kept(registry: ServiceRegistry):
    metadata = dict(FULL.metadata)
    del metadata[""]
    assert said(await registry.register(structs.replace(FULL, metadata=metadata))).metadata == metadata


async def test_what_the_caller_says_of_times_is_not_believed(registry: ServiceRegistry):
    entered = await registry.register(service(registered_ns=1, heartbeat_ns=2, alive=False))
    assert entered.registered_ns > 2
    assert entered.alive


async def test_who_is_not_there_is_none_and_no_error(registry: ServiceRegistry):
    assert await registry.get("nobody") is None
    assert not await registry.deregister("nobody")
    assert not await registry.heartbeat("nobody")
    assert not await registry.update_status("nobody", "running")
    assert not await registry.update_metadata("nobody", {"a": "b"})
    assert await registry.list() == await registry.discover("nobody") == await registry.prune() == ()


async def test_who_registers_again_is_entered_anew_as_a_whole(registry: ServiceRegistry, backend: Backend):
    first = await registry.register(service(host="a", metadata={"old": "1"}))
    await backend.pass_s(0.005)
    second = await registry.register(service(name="live", pid=7, metadata={"new": "2"}))
    assert said(second) == service(name="live", pid=7, metadata={"new": "2"})
    assert second.registered_ns > first.registered_ns
    assert await registry.list() == (second,)
    assert await registry.discover("paper") == ()


async def test_who_deregisters_is_gone(registry: ServiceRegistry):
    await registry.register(service())
    assert await registry.deregister("one")
    assert not await registry.deregister("one")
    assert await registry.get("one") is None
    assert await registry.list() == ()


async def test_status_and_metadata_change_alone(registry: ServiceRegistry):
    entered = await registry.register(service(metadata={"a": "1", "b": "2"}))
    assert await registry.update_status("one", "running")
    assert await registry.update_metadata("one", {"a": None, "b": "3", "c": "", "gone": None})
    assert await registry.update_metadata("one", {})
    assert await registry.get("one") == structs.replace(entered, status="running", metadata={"b": "3", "c": ""})


async def test_metadata_has_room_again_when_some_is_taken_away(registry: ServiceRegistry):
    metadata = {f"k{number}": "v" for number in range(limits.METADATA_MAX)}
    await registry.register(service(metadata=metadata))
    with pytest.raises(StoreRefused, match="service 'one' would be too large"):
        await registry.update_metadata("one", {"another": "v"})
    with pytest.raises(StoreRefused, match="too large"):
        await registry.update_metadata("one", {"k1": "v" * (limits.METADATA_BYTES_MAX - 10)})
    found = await registry.get("one")
    assert found is not None
    assert found.metadata == metadata
    assert await registry.update_metadata("one", {"another": "v", "k0": None})


async def test_a_service_found_is_a_copy_of_what_is_there(registry: ServiceRegistry):
    mine = {"a": "1"}
    entered = await registry.register(service(metadata=mine))
    mine["a"] = "2"
    assert isinstance(entered.metadata, dict)
    entered.metadata["a"] = "3"
    found = await registry.get("one")
    assert found is not None
    assert found.metadata == {"a": "1"}


# --- many -------------------------------------------------------------------------------------------------------------


async def test_services_are_found_by_name_and_status_the_oldest_first(registry: ServiceRegistry, backend: Backend):
    for service_id, name, status in (("z", "paper", "running"), ("b", "live", "running"), ("a", "paper", "halted")):
        await registry.register(service(service_id, name=name, status=status))
        await backend.pass_s(0.005)
    assert ids(await registry.list()) == ["z", "b", "a"]
    assert ids(await registry.list(name="paper")) == ids(await registry.discover("paper")) == ["z", "a"]
    assert ids(await registry.list(status="running")) == ["z", "b"]
    assert ids(await registry.list(name="paper", status="running", stale=False)) == ["z"]
    assert ids(await registry.list(name="", status="")) == []
    assert ids(await registry.discover("pap*")) == []


async def test_fleets_do_not_see_each_other(backend: Backend):
    fleets = {name: backend.registry(name) for name in ("a", "a*", "*", "b")}
    for name, fleet in fleets.items():
        await fleet.register(service("one", host=name))
        await fleet.register(service(f"of {name}"))
    await fleets["*"].deregister("one")
    for name, fleet in fleets.items():
        assert set(ids(await fleet.list())) == {f"of {name}"} | ({"one"} if name != "*" else set())


async def test_a_fleet_has_a_limit_and_stale_services_make_room(registry: ServiceRegistry, backend: Backend):
    for first in range(0, limits.SERVICES_MAX - 1, AT_ONCE):
        async with anyio.create_task_group() as tasks:
            for number in range(first, min(first + AT_ONCE, limits.SERVICES_MAX - 1)):
                tasks.start_soon(registry.register, service(f"s{number}", pid=number))
    await registry.register(service("short", ttl_s=2.0))
    assert len(await registry.list(stale=False)) == limits.SERVICES_MAX
    with pytest.raises(StoreRefused, match=f"{limits.SERVICES_MAX} services that are alive"):
        await registry.register(service("too many"))
    assert await registry.get("too many") is None
    await registry.register(service("s0", pid=99))  # who is there already needs no room
    await stale(registry, backend, "short")
    await registry.register(service("now there is room"))
    assert await registry.get("short") is None


async def test_many_may_register_and_beat_at_once(registry: ServiceRegistry):
    beats: list[bool] = []

    async def live(service_id: str) -> None:
        await registry.register(service(service_id))
        for number in range(5):
            beats.append(await registry.heartbeat(service_id))
            await registry.update_metadata(service_id, {f"k{number}": "v"})

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(live, f"s{number}")
    assert beats == [True] * 200
    assert all(len(one.metadata) == 5 for one in await registry.list())


# --- beats ------------------------------------------------------------------------------------------------------------


async def test_a_beat_is_noted_and_changes_nothing_else(registry: ServiceRegistry, backend: Backend):
    entered = await registry.register(service())
    await backend.pass_s(0.01)
    assert await registry.heartbeat("one")
    found = await registry.get("one")
    assert found is not None
    assert found.heartbeat_ns > entered.heartbeat_ns
    assert structs.replace(found, heartbeat_ns=entered.heartbeat_ns) == entered


async def test_who_does_not_beat_in_time_is_stale_and_no_longer_discovered(registry: ServiceRegistry, backend: Backend):
    await registry.register(service("short", ttl_s=SOON_S))
    await registry.register(service("long"))
    await stale(registry, backend, "short")
    assert ids(await registry.discover("paper")) == ids(await registry.list(stale=False)) == ["long"]
    assert {one.id: one.alive for one in await registry.list()} == {"short": False, "long": True}


async def test_who_beats_stays_alive(registry: ServiceRegistry, backend: Backend):
    await registry.register(service(ttl_s=0.5))
    for _ in range(6):
        await backend.pass_s(0.1)
        assert await registry.heartbeat("one")
    found = await registry.get("one")
    assert found is not None
    assert found.alive


async def test_a_late_beat_before_anybody_pruned_is_in_time(registry: ServiceRegistry, backend: Backend):
    await registry.register(service(ttl_s=SOON_S))
    await stale(registry, backend, "one")
    assert await registry.heartbeat("one")
    assert ids(await registry.discover("paper")) in (["one"], [])  # alive for another ttl_s, which is short
    found = await registry.get("one")
    assert found is not None
    assert said(found).metadata == {}


async def test_stale_services_are_pruned_and_told(registry: ServiceRegistry, backend: Backend):
    await registry.register(service("short", ttl_s=SOON_S, metadata={"a": "b"}))
    await registry.register(service("long"))
    await stale(registry, backend, "short")
    pruned = await registry.prune()
    assert [(one.id, one.alive, one.metadata) for one in pruned] == [("short", False, {"a": "b"})]
    assert await registry.prune() == ()
    assert ids(await registry.list()) == ["long"]


@pytest.mark.parametrize("went", ["pruned", "deregistered"])
async def test_nothing_brings_back_half_of_a_service_that_went(registry: ServiceRegistry, backend: Backend, went):
    await registry.register(service(ttl_s=SOON_S, status="running", metadata={"a": "b"}))
    if went == "pruned":
        await stale(registry, backend, "one")
        await registry.prune()
    else:
        await registry.deregister("one")
    assert not await registry.heartbeat("one")
    assert not await registry.update_status("one", "running")
    assert not await registry.update_metadata("one", {"a": "c"})
    assert await registry.get("one") is None
    assert await registry.list() == ()
    assert said(await registry.register(service())) == service(), "and it comes back whole, with nothing of what it was"


# --- watching ---------------------------------------------------------------------------------------------------------


async def test_a_watcher_is_told_every_change_in_order_and_no_beat(registry: ServiceRegistry, backend: Backend):
    await registry.register(service("before"))
    async with registry.watch() as changes:
        one = await registry.register(service(ttl_s=SOON_S))
        await registry.heartbeat("one")
        await registry.update_status("one", "running")
        await registry.update_status("one", "running")  # it was already
        await registry.update_metadata("one", {"a": "1"})
        await registry.update_metadata("one", {"a": "1", "gone": None})  # nor does this change anything
        await registry.deregister("before")
        await stale(registry, backend, "one")
        await registry.prune()
        told = await next_of(changes, 5)
    kinds = [(change.kind, change.service.id) for change in told]
    assert kinds == [
        (ChangeKind.REGISTERED, "one"),
        (ChangeKind.UPDATED, "one"),
        (ChangeKind.UPDATED, "one"),
        (ChangeKind.DEREGISTERED, "before"),
        (ChangeKind.PRUNED, "one"),
    ]
    assert told[0].service == one
    assert (told[1].service.status, told[2].service.metadata) == ("running", {"a": "1"})
    assert told[0].ts_ns == one.registered_ns
    assert [change.ts_ns for change in told] == sorted(change.ts_ns for change in told)
    assert not told[4].service.alive


async def test_who_watches_first_and_lists_then_misses_nothing(backend: Backend):
    registry = backend.registry()
    known: set[str] = set()

    async def register() -> None:
        for number in range(100):
            await backend.registry().register(service(f"s{number}"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(register)
        await anyio.lowlevel.checkpoint()
        async with registry.watch() as changes:
            known.update(ids(await registry.list()))
            while len(known) < 100:
                known.update(change.service.id for change in await next_of(changes, 1))
    assert known == {f"s{number}" for number in range(100)}


async def test_a_watcher_waits_and_is_woken(registry: ServiceRegistry):
    told: list[ServiceChange] = []
    listening = anyio.Event()

    async def listen() -> None:
        async with registry.watch() as changes:
            listening.set()
            told.extend(await next_of(changes, 1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await listening.wait()
        assert told == []
        await registry.register(service())
    assert [change.service.id for change in told] == ["one"]


async def test_each_watcher_is_told_everything(registry: ServiceRegistry):
    async with registry.watch() as one, registry.watch() as two:
        await registry.register(service())
        assert await next_of(one, 1) == await next_of(two, 1)


async def test_watching_can_be_given_up_at_any_time(registry: ServiceRegistry):
    with anyio.move_on_after(0.05) as scope:
        async with registry.watch() as changes:
            await anext(changes)
    assert scope.cancelled_caught
    await registry.register(service())
    assert ids(await registry.list()) == ["one"]


async def test_a_watcher_that_falls_behind_is_told_so_and_can_begin_anew(registry: ServiceRegistry):
    async with registry.watch() as changes:
        await registry.register(service())
        for number in range(limits.CHANGES_KEPT + 1):
            await registry.update_status("one", str(number))
        with pytest.raises(Unfinished, match="watch anew"):
            await next_of(changes, limits.CHANGES_KEPT + 1)
    async with registry.watch() as changes:
        await registry.update_status("one", "again")
        assert (await next_of(changes, 1))[0].service.status == "again"


async def test_a_watcher_of_one_fleet_hears_nothing_of_another(backend: Backend):
    async with backend.registry("a").watch() as changes:
        await backend.registry("b").register(service("theirs"))
        await backend.registry("a").register(service("ours"))
        assert (await next_of(changes, 1))[0].service.id == "ours"


# --- what no registry takes -------------------------------------------------------------------------------------------

TOO_LARGE = {"a": "x" * limits.METADATA_BYTES_MAX}
TOO_MANY = {f"k{number}": "" for number in range(limits.METADATA_MAX + 1)}


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda registry: registry.register(service("")), "no id"),
        (lambda registry: registry.register(service("x" * 129)), "129 bytes"),
        (lambda registry: registry.register(service(name="")), "no name"),
        (lambda registry: registry.register(service(name="x" * 201)), "201 bytes"),
        (lambda registry: registry.register(service(host="\ud800")), "half a character"),
        (lambda registry: registry.register(service(status="x" * 201)), "201 bytes"),
        (lambda registry: registry.register(service(pid=-1)), "process id"),
        (lambda registry: registry.register(service(ttl_s=0)), "time to live"),
        (lambda registry: registry.register(service(ttl_s=float("nan"))), "time to live"),
        (lambda registry: registry.register(service(ttl_s=limits.SERVICE_TTL_S_MAX + 1)), "time to live"),
        (lambda registry: registry.register(service(metadata=TOO_LARGE)), "too much metadata"),
        (lambda registry: registry.register(service(metadata=TOO_MANY)), "too much metadata"),
        (lambda registry: registry.register(service(metadata={"": "x"})), "name of metadata"),
        (lambda registry: registry.register(service(metadata={"a": None})), "no value"),
        (lambda registry: registry.update_metadata("one", TOO_MANY), "too much metadata"),
        (lambda registry: registry.update_metadata("one", {"x" * 101: "y"}), "101 bytes"),
        (lambda registry: registry.update_status("one", "x" * 201), "201 bytes"),
        (lambda registry: registry.heartbeat(""), "no id"),
        (lambda registry: registry.get("\ud800"), "half a character"),
        (lambda registry: registry.deregister(""), "no id"),
    ],
)
async def test_what_no_registry_takes_is_refused_before_anything_is_done(
    registry: ServiceRegistry, call: Callable[[ServiceRegistry], Any], match
):
    entered = await registry.register(service())
    with pytest.raises(InputError, match=match):
        await call(registry)
    assert await registry.list() == (entered,)


@pytest.mark.parametrize("name", ["", "a:b", "n" * 201])
async def test_a_name_that_is_none_of_a_fleet_is_refused(backend: Backend, name):
    with pytest.raises(InputError, match="fleet"):
        backend.registry(name)


async def test_it_is_what_the_port_asks_for(registry: ServiceRegistry):
    assert isinstance(registry, ServiceRegistry)
    assert registry.within(0.5).deadline_s == 0.5
    await registry.within(0.5).register(service())
    assert ids(await registry.list()) == ["one"]
