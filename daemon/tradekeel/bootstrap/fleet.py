"""The fleet: the daemons that have registered on a Redis server, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.publishing import redis_settings
from tradekeel.config import ConfigError, RedisConfig, Vault, decode
from tradekeel.config.words import shown_path
from tradekeel.domain.times import NS_PER_S, iso
from tradekeel.errors import InputError, Unfinished
from tradekeel.ports.registry import Service, ServiceChange
from tradekeel.runtime.loop import run as run_loop
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.registry import RedisServiceRegistry
from tradekeel.storage.redis.server import RedisServer

PASSWORD_VARIABLE = "TRADEKEEL_REDIS_PASSWORD"  # where one is, not what it is
PRUNE_EVERY_S = 5.0
"""Whoever watches takes out what is stale this often: where no other daemon lives, nobody else tells of a death."""

Row = dict[str, Any]


def registry_at(url: str, environ: Mapping[str, str]) -> RedisSettings:
    """The server of an address that was typed. Raises InputError."""
    words = {"url": url}
    if environ.get(PASSWORD_VARIABLE):
        words["password"] = {"env": PASSWORD_VARIABLE}  # type: ignore[assignment]  # a reference, as in a file
    return _settings(words, environ, "--url")


def registry_of(place: Place) -> RedisSettings:
    """The server that a daemon registers on. Raises InputError where it registers nowhere, and ConfigError."""
    where = str(place.config or place.state_dir)
    if not place.redis.get("url"):
        raise InputError(
            f"no registry is configured in {where}: daemons list themselves on a Redis server, which [redis] url names. "
            "Of the daemons of this machine `tradekeel status` tells, one at a time"
        )
    return _settings(place.redis, place.environ, shown_path(place.config or place.state_dir))


def _settings(words: Mapping[str, Any], environ: Mapping[str, str], source: str) -> RedisSettings:
    known = RedisConfig.__struct_fields__
    problems: list[str] = []
    given = {key: value for key, value in words.items() if key in known}
    redis = decode(given, RedisConfig, "redis", problems, vault=Vault(environ))
    if redis is None or problems:
        raise ConfigError(problems, source)
    return redis_settings(redis)


class Listing(Struct, frozen=True):
    """The fleet at one moment."""

    where: str
    rows: list[Row]


def list_services(settings: RedisSettings) -> Listing:
    """Every daemon that is registered, the oldest first, stale ones too. Raises StoreError."""
    return run_loop(_list, settings, use_uvloop=False)


async def _list(settings: RedisSettings) -> Listing:
    async with RedisServer.open(settings) as server:
        return await _listing(server, RedisServiceRegistry(server))


async def _listing(server: RedisServer, registry: RedisServiceRegistry) -> Listing:
    services = await registry.list()
    return Listing(server.where, rows_of(services, await _now_ns(server)))


async def _now_ns(server: RedisServer) -> int:
    """The server's time, by which services beat."""
    seconds, micros = await server.ask("asking for its time", "TIME")
    return int(seconds) * NS_PER_S + int(micros) * 1_000


def rows_of(services: Iterable[Service], now_ns: int) -> list[Row]:
    """Services as JSON values; ``beat_age_s`` is how long ago each has beaten."""
    return [_row(service, now_ns) for service in services]


def _row(service: Service, now_ns: int) -> Row:
    return {
        "id": service.id,
        "name": service.name,
        "host": service.host,
        "pid": service.pid,
        "version": service.version,
        "status": service.status,
        "alive": service.alive,
        "accounts": service.metadata.get("accounts", ""),
        "metadata": dict(service.metadata),
        "ttl_s": service.ttl_s,
        "registered_ns": service.registered_ns,
        "registered": iso(service.registered_ns),
        "heartbeat_ns": service.heartbeat_ns,
        "heartbeat": iso(service.heartbeat_ns),
        "beat_age_s": round(max(0, now_ns - service.heartbeat_ns) / NS_PER_S, 1),
    }


def change_row(change: ServiceChange) -> Row:
    """A change as JSON values: the service as it is after it, or was before it went."""
    service = _row(change.service, change.ts_ns)
    return {"change": change.kind.value, "ts_ns": change.ts_ns, "time": iso(change.ts_ns), "service": service}


def watch_services(
    settings: RedisSettings, tell_all: Callable[[Listing], object], tell: Callable[[Row], object]
) -> None:
    """Tell the whole fleet, then every change, until somebody interrupts. Raises StoreError."""
    run_loop(_watch, settings, tell_all, tell, use_uvloop=False)


async def _watch(settings: RedisSettings, tell_all: Callable[[Listing], object], tell: Callable[[Row], object]) -> None:
    async with RedisServer.open(settings) as server:
        while True:
            try:
                await _follow(server, tell_all, tell)
            except BaseExceptionGroup as group:
                error = group.exceptions[0]
                if not isinstance(error, Unfinished):
                    raise error from group
                # Some changes were missed: all are told anew.


async def _follow(server: RedisServer, tell_all: Callable[[Listing], object], tell: Callable[[Row], object]) -> None:
    """Raises a group with what went wrong first."""
    import anyio

    registry = RedisServiceRegistry(server)

    async def prune() -> None:
        while True:
            await registry.prune()
            await anyio.sleep(PRUNE_EVERY_S)

    async with anyio.create_task_group() as tasks, registry.watch() as changes:
        tell_all(await _listing(server, registry))
        tasks.start_soon(prune)
        async for change in changes:
            tell(change_row(change))
