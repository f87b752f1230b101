"""Whole runs of pytest with servers: as another user, beside each other, in poor places, and with servers that were there."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis

from tests.integration.servers.support import HERE, Child, Who, folders_left
from tests.servers.fixtures import POSTGRES_URL, REDIS_URL, drop_roles, reset_redis, roles_of
from tests.servers.postgres import PostgresServer, connected
from tests.servers.valkey import ValkeyServer

FIXTURES = HERE / "test_fixtures.py"
DATABASES = "SELECT datname FROM pg_database"


def databases(url: str) -> set[str]:
    with connected(url) as connection:
        return {str(name) for (name,) in connection.execute(DATABASES)}


def test_an_ordinary_user_has_servers_and_disks_too(who: Who) -> None:
    if who.user is None:
        pytest.skip("that is this run itself")
    Child(who, *(HERE / f"test_{name}.py" for name in ("fixtures", "disk"))).succeed()
    assert folders_left(who) == []


def test_a_home_that_cannot_be_written_is_none_of_our_business(who: Who) -> None:
    Child(who, FIXTURES, HOME="/proc").succeed()  # not by root either


def test_a_place_for_temporary_files_that_is_roots_own_is_left_for_another(tmp_path: Path, who: Who) -> None:
    if who.user is not None or os.geteuid() != 0:
        pytest.skip("only root has servers of another user")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    Child(who, FIXTURES, TMPDIR=str(closed)).succeed()
    assert [path.name for path in closed.iterdir() if not path.name.startswith("pytest-of-")] == []


def test_runs_beside_each_other_do_not_meet(who: Who) -> None:
    children = [Child(who, FIXTURES) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0], children[0].said()
    assert folders_left(who) == []


def test_servers_that_are_there_are_used_and_left_as_they_were(
    who: Who, own_postgres: Callable[..., PostgresServer], own_redis: Callable[..., ValkeyServer]
) -> None:
    postgres, valkey = own_postgres(), own_redis()
    kept = postgres.new_database()
    with connected(kept) as connection:
        connection.execute("CREATE TABLE theirs (number int)")
    with redis.Redis.from_url(valkey.url(1)) as client:
        client.set("theirs", "1")
        before = databases(postgres.admin_url)
        Child(who, FIXTURES, **{POSTGRES_URL: postgres.admin_url, REDIS_URL: valkey.url(2)}).succeed()
        assert databases(postgres.admin_url) == before
        assert client.get("theirs") == b"1"
        assert client.info("keyspace").keys() == {"db1"}
    with connected(kept) as connection:
        assert connection.execute("SELECT count(*) FROM theirs").fetchone() == (0,)


def test_an_existing_redis_that_is_not_empty_is_refused_and_left_alone(
    who: Who, own_redis: Callable[..., ValkeyServer]
) -> None:
    server = own_redis()
    with redis.Redis.from_url(server.url()) as client:
        client.set("theirs", "1")
        child = Child(who, FIXTURES, "-k", "redis", **{REDIS_URL: server.url()})
        assert child.wait() == 1
        assert "name an empty one" in child.said()
        assert client.keys() == [b"theirs"]


def test_roles_and_users_that_a_test_made_are_gone_for_the_next(
    own_postgres: Callable[..., PostgresServer], own_redis: Callable[..., ValkeyServer]
) -> None:
    postgres = own_postgres()
    before = roles_of(postgres.admin_url)
    with connected(postgres.admin_url) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'x'")
        connection.execute("GRANT CONNECT ON DATABASE postgres TO reader")
        connection.execute("CREATE ROLE writer IN ROLE reader")
    drop_roles(postgres.admin_url, roles_of(postgres.admin_url) - before)
    assert roles_of(postgres.admin_url) == before
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.url("postgres", user="reader", password="x"))
    valkey = own_redis()
    with closing(redis.Redis.from_url(valkey.url(), decode_responses=True)) as client:
        client.set("key", "1")
        client.acl_setuser("clerk", enabled=True, nopass=True)
        reset_redis(valkey.url())
        assert client.acl_users() == ["default"]
        assert client.dbsize() == 0
