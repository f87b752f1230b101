"""The servers that tests start: what everybody relies on."""

from __future__ import annotations

import pytest

from tests.servers.fixtures import POSTGRES_URL, REDIS_URL
from tests.servers.postgres import connected


def test_each_test_gets_an_empty_database(postgres_url: str) -> None:
    with connected(postgres_url) as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        connection.execute("CREATE TABLE mine (number int)")
    assert found == (0,)


test_each_test_gets_an_empty_database_again = test_each_test_gets_an_empty_database


def test_each_test_gets_an_empty_redis(redis_url: str) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("mine", "1")


test_each_test_gets_an_empty_redis_again = test_each_test_gets_an_empty_redis


def test_the_marker_of_a_server_comes_with_its_fixture(request: pytest.FixtureRequest, postgres_url: str) -> None:
    assert {mark.name for mark in request.node.iter_markers()} >= {"postgres", "integration"}
    assert POSTGRES_URL != REDIS_URL
