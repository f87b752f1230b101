"""The section `[redis]`: it may be left out, its address holds no password, and a user has one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.files import GOOD, load, problems
from tradekeel.config import RedisConfig

PASSWORD = "hunter2-hunter2"


def with_redis(*lines: str) -> str:
    return "\n".join((GOOD, "[redis]", *lines, ""))


def test_without_the_section_there_is_no_redis(tmp_path: Path) -> None:
    redis = load(tmp_path).redis
    assert redis == RedisConfig()
    assert redis.url == ""


def test_a_server_a_user_and_where_the_password_is(tmp_path: Path) -> None:
    text = with_redis('url = "redis://cache:6380/2"', 'username = "trading-adapter"', 'password = { env = "REDIS" }')
    redis = load(tmp_path, text, {"REDIS": PASSWORD}).redis
    assert (redis.url, redis.username) == ("redis://cache:6380/2", "trading-adapter")
    assert redis.password is not None
    assert redis.password.reveal() == PASSWORD


@pytest.mark.parametrize("url", ["rediss://cache/0?ssl_ca_certs=/etc/ca.pem", "unix:///run/redis.sock?db=1"])
def test_an_address_may_be_of_tls_or_a_socket(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, with_redis(f'url = "{url}"')).redis.url == url


def test_a_password_in_the_address_is_refused_and_not_shown(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, with_redis(f'url = "redis://me:{PASSWORD}@cache:6379"'))
    assert problem.startswith("redis.url: a password stands in it (it was not read); put it into redis.password")
    assert PASSWORD not in problem


@pytest.mark.parametrize(
    "url",
    [
        f"redis://cache/0?password={PASSWORD}",
        f"unix:///run/redis.sock?db=1&pass%77ord={PASSWORD}",
        f"http://cache?password={PASSWORD}",
        f"http://cache#{PASSWORD}",
        f"redis:me:{PASSWORD}@cache",
        f"redis://cache:{PASSWORD}",
    ],
)
def test_a_password_anywhere_else_in_the_address_is_not_shown_either(tmp_path: Path, url: str) -> None:
    (problem,) = problems(tmp_path, with_redis(f'url = "{url}"'))
    assert problem.startswith("redis.url: ")
    assert "allowed: redis://host:6379/0" in problem
    assert PASSWORD not in problem


@pytest.mark.parametrize(
    "url", ["cache:6379", "http://cache", "redis://", "unix://", "redis://cache:port", "redis://[1"]
)
def test_what_is_no_address_of_a_server_is_refused(tmp_path: Path, url: str) -> None:
    (problem,) = problems(tmp_path, with_redis(f'url = "{url}"'))
    assert "allowed: redis://host:6379/0" in problem


def test_a_daemon_keeps_nothing_in_memory_that_is_there_for_others(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, with_redis('url = "memory://"'))
    assert problem.startswith(
        "redis.url: memory:// is for scripts, and a daemon shares with others what it keeps on Redis; allowed"
    )


def test_a_user_without_a_password_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, with_redis('url = "redis://cache"', 'username = "me"')) == [
        "redis: username is given without password; say where that is, or leave the username out (line 27)"
    ]
