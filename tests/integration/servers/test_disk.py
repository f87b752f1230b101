"""Servers run out of space, really, and get it back; on a disk of their own, or where none can be mounted by a limit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar, get_args

import psycopg
import pytest
import redis

from tests.servers.disk import SmallDisk
from tests.servers.errors import DiskNotPossible
from tests.servers.folders import RunFolder
from tests.servers.postgres import PostgresServer, connected
from tests.servers.process import until
from tests.servers.server import Limited
from tests.servers.valkey import DURABLE, ValkeyServer

OwnPostgres = Callable[..., PostgresServer]
OwnRedis = Callable[..., ValkeyServer]
ONLY_LOG = "SELECT pg_logical_emit_message(true, 'nobody', repeat('x', 100000))"
Failure = TypeVar("Failure", bound=Exception)
ROOM_MB = 80
MEGABYTE = 1_000_000
ROUNDS_MAX = 2_000
SAYS: dict[Limited, str] = {"disk": "No space left on device", "size": "File too large"}
STATE: dict[Limited, str] = {"disk": "53100", "size": "XX000"}
INSERT = "INSERT INTO t SELECT {round}, repeat('x', 1000) FROM generate_series(1, 100)"


@pytest.fixture(params=get_args(Limited))
def limited(request: pytest.FixtureRequest) -> Limited:
    """The way in which space ends."""
    way: Limited = request.param
    return way


def start(own: Callable[..., Any], limited: Limited, **options: object) -> Any:
    """A server whose space ends in this way."""
    try:
        return own(room_mb=ROOM_MB, limited=limited, **options)
    except DiskNotPossible as error:
        pytest.skip(str(error))


def refused(kind: type[Failure], write: Callable[[int], object]) -> tuple[Failure, int]:
    """Write until that is refused: how, and how many writes were not."""
    for number in range(ROUNDS_MAX):
        try:
            write(number)
        except kind as error:
            return error, number
    raise AssertionError("it never was full")


def count(server: PostgresServer) -> int:
    with connected(server.admin_url) as connection:
        row = connection.execute("SELECT count(*) FROM t").fetchone()
    assert row is not None
    return int(row[0])


def table(server: PostgresServer) -> None:
    with connected(server.admin_url) as connection:
        connection.execute("CREATE TABLE t (round int, text text)")


def test_postgres_runs_full_keeps_what_it_had_and_goes_on_with_room(
    own_postgres: OwnPostgres, limited: Limited
) -> None:
    server: PostgresServer = start(own_postgres, limited)
    table(server)
    server.fill_disk(3 * MEGABYTE)
    with connected(server.admin_url) as connection:
        error, inserted = refused(
            psycopg.Error, lambda number: connection.execute(INSERT.format(round=number).encode())
        )
    rows = 100 * inserted
    assert SAYS[limited] in str(error)
    assert error.sqlstate == STATE[limited]
    assert rows > 0
    assert server.running
    assert count(server) == rows
    server.free_disk()
    with connected(server.admin_url) as connection:
        connection.execute(INSERT.format(round=0).encode())
    assert count(server) == rows + 100


def test_a_postgres_without_room_for_its_log_gives_up_and_is_whole_when_it_has_room(own_postgres: OwnPostgres) -> None:
    # What is committed is written there first: without room for that it ends every session, and its next start fails too.
    server: PostgresServer = start(own_postgres, "disk")
    table(server)
    with connected(server.admin_url) as connection:
        connection.execute(INSERT.format(round=0).encode())
        server.fill_disk()
        refused(psycopg.OperationalError, lambda _: connection.execute(ONLY_LOG))
        assert connection.broken
    assert "PANIC" in server.said()
    server.heal()
    assert count(server) == 100


def test_a_redis_that_keeps_everything_ends_without_room_and_comes_back_with_it(
    own_redis: OwnRedis, limited: Limited
) -> None:
    server: ValkeyServer = start(own_redis, limited, settings=DURABLE)
    with redis.Redis.from_url(server.url()) as client:
        server.fill_disk(MEGABYTE // 10)
        _, written = refused(redis.ConnectionError, lambda number: client.set(f"key {number}", "x" * 1_000))
        until(lambda: not server.running, "it goes on without its log")
        assert written > 0
        server.heal()
        assert client.dbsize() == written


def test_a_redis_that_syncs_each_second_refuses_writes_without_room(own_redis: OwnRedis, limited: Limited) -> None:
    server: ValkeyServer = start(own_redis, limited, settings={"appendonly": "yes", "appendfsync": "everysec"})
    with redis.Redis.from_url(server.url()) as client:
        server.fill_disk(MEGABYTE // 10)
        error, _ = refused(redis.ResponseError, lambda number: client.set(f"key {number}", "x" * 1_000))
        assert "MISCONF" in str(error)
        assert client.get("key 0") == b"x" * 1_000, "what is read is not refused"
        server.free_disk()
        until(lambda: writable(client), "it does not write again")


def writable(client: redis.Redis) -> bool:
    try:
        return client.set("key", "value") is True
    except redis.ResponseError:
        return False


def test_a_disk_is_filled_to_the_byte_and_nobody_else_sees_it(servers_folder: RunFolder) -> None:
    try:
        disk = SmallDisk(servers_folder, ROOM_MB)
    except DiskNotPossible as error:
        pytest.skip(str(error))
    with closing(disk):
        assert abs(disk.left_bytes - ROOM_MB * MEGABYTE) < MEGABYTE
        disk.fill(10 * MEGABYTE)
        assert abs(disk.left_bytes - 10 * MEGABYTE) < MEGABYTE
        disk.fill()
        assert disk.left_bytes == 0
        disk.free()
        assert disk.left_bytes > 70 * MEGABYTE
        assert str(disk.path.parent) not in Path("/proc/mounts").read_text()
        outside = disk.outside
    assert not outside.exists()
