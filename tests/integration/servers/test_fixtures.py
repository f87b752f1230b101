"""What a test gets that asks for a server. (Other runs of pytest run this file too: see test_runs.py.)"""

from __future__ import annotations

import pytest
import redis

from tests.servers.postgres import connected

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_an_empty_database(postgres_url: str, turn: str) -> None:
    with connected(postgres_url) as connection:
        found = connection.execute(TABLES).fetchone()
        connection.execute("CREATE TABLE mine (number int)")
    assert found == (0,), turn


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_an_empty_redis(redis_url: str, turn: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0, turn
        client.set("mine", "1")


def test_the_marker_of_a_server_comes_with_its_fixture(request: pytest.FixtureRequest, postgres_url: str) -> None:
    assert {mark.name for mark in request.node.iter_markers()} >= {"postgres", "integration"}
    assert "redis" not in {mark.name for mark in request.node.iter_markers()}
    assert postgres_url
