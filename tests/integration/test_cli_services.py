"""`tradekeel services`: the fleet as people and programs see it, what changes in it, and what it says where it cannot tell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_daemon import SHORT, call, write_config
from tests.integration.ticks.support import client
from tests.scenarios.support_configs import pair
from tests.servers.valkey import ValkeyServer
from tradekeel.ports import Service
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.registry import RedisServiceRegistry
from tradekeel.storage.redis.server import RedisServer

TIMEOUT_S = 60.0
OLD = Service(
    id="one", name="fx", host="trader-1", pid=7, version="1.2.3", status="running", metadata={"accounts": "a, b"}
)


def address(server: ValkeyServer) -> str:
    return f"redis://127.0.0.1:{server.port.number}/0"


def environment(password: str) -> dict[str, str]:
    return os.environ | {"TRADEKEEL_REDIS_PASSWORD": password}


def services(password: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tradekeel", "services", *words],
        env=environment(password),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture
def server(own_redis: Callable[..., ValkeyServer]) -> ValkeyServer:
    return own_redis()


@pytest.fixture
async def registry(server: ValkeyServer) -> AsyncIterator[RedisServiceRegistry]:
    async with RedisServer.open(RedisSettings(url=server.url())) as there:
        yield RedisServiceRegistry(there)


async def test_the_fleet_is_a_table_for_people_and_json_for_programs(
    server: ValkeyServer, registry: RedisServiceRegistry
) -> None:
    empty = services(server.password, "--url", address(server))
    assert (empty.returncode, empty.stdout.startswith("No daemon has registered on Redis at")) == (0, True)
    await registry.register(OLD)
    shown = services(server.password, "--url", address(server))
    assert shown.returncode == 0
    for word in ("fx", "trader-1", "7", "running", "yes", "1.2.3", "a, b"):
        assert word in shown.stdout
    [row] = json.loads(services(server.password, "--url", address(server), "--json").stdout)
    assert {"id": "one", "alive": True, "metadata": {"accounts": "a, b"}}.items() <= row.items()
    assert 0 <= row["beat_age_s"] < TIMEOUT_S


async def test_whoever_watches_hears_of_every_change_and_of_a_death(
    server: ValkeyServer, registry: RedisServiceRegistry
) -> None:
    await registry.register(OLD)
    command = [sys.executable, "-m", "tradekeel", "services", "--url", address(server), "--watch", "--json"]
    watching = subprocess.Popen(command, env=environment(server.password), stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220  # nothing else runs on this loop
    with watching:
        assert watching.stdout is not None

        def heard() -> Any:
            assert watching.stdout is not None
            return json.loads(watching.stdout.readline())

        assert [row["id"] for row in heard()["services"]] == ["one"]
        await registry.update_status("one", "stopping")
        await registry.deregister("one")
        await registry.register(Service(id="two", name="dies", ttl_s=0.1))
        changes = [heard() for _ in range(4)]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(TIMEOUT_S) == 130
    told = [(change["change"], change["service"]["id"]) for change in changes]
    assert told == [("updated", "one"), ("deregistered", "one"), ("registered", "two"), ("pruned", "two")]
    assert changes[0]["service"]["status"] == "stopping"


def test_where_there_is_no_list_it_says_so(tmp_path: Path) -> None:
    config = tmp_path / "lonely.toml"
    config.write_text(pair().replace("{state}", str(tmp_path / "state")))
    said = services("", str(config))
    assert said.returncode == 2
    assert f"no registry is configured in {config}" in said.stderr
    assert "`tradekeel status` tells" in said.stderr


def test_a_server_that_does_not_let_us_in_or_is_away_is_told_in_a_sentence(server: ValkeyServer) -> None:
    refused = services("not-the-password", "--url", address(server))
    assert (refused.returncode, "it does not take this user and password" in refused.stderr) == (2, True)
    server.kill()
    away = services(server.password, "--url", address(server))
    assert (away.returncode, "cannot be reached" in away.stderr) == (70, True)
    assert "a bug of ours" not in refused.stderr + away.stderr


@pytest.mark.parametrize("url", ["http://x", "redis://:a-secret-here@x", "redis://x/0?unknown=1"])
def test_what_is_no_address_is_refused_and_a_password_in_it_is_not_shown(url: str) -> None:
    said = services("", "--url", url)
    assert said.returncode == 2
    assert "a-secret-here" not in said.stderr


def test_check_needs_no_password_of_redis(server: ValkeyServer, tmp_path: Path) -> None:
    config = write_config(tmp_path, feed=SHORT)
    config.write_text(
        config.read_text() + f'\n[redis]\nurl = "{address(server)}"\npassword = {{ env = "NOT_THERE" }}\n'
    )
    said = call("check", config, "--json")
    [finding] = [finding for finding in json.loads(said.stdout)["findings"] if finding["subject"] == "redis"]
    assert (said.returncode, finding["ok"], finding["warning"]) == (0, True, True)
    assert "not looked at, because the password is the daemon's to read" in finding["text"]


def test_check_looks_at_redis_and_what_it_finds_keeps_nobody_from_trading(
    server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, feed=SHORT)
    config.write_text(config.read_text() + f'\n[redis]\nurl = "{address(server)}"\n')

    def found() -> tuple[int, str]:
        said = call("check", config, "--json")
        [finding] = [finding for finding in json.loads(said.stdout)["findings"] if finding["subject"] == "redis"]
        line = finding["text"]
        return said.returncode, line

    code, line = found()
    assert (code, "it wants a user and a password" in line, "Trading goes on without it" in line) == (0, True, True)
    with client(server.url()) as admin:
        admin.config_set("requirepass", "")
    code, line = found()
    assert (code, line.endswith(" is there")) == (0, True)
    server.kill()
    code, line = found()
    assert (code, "cannot be reached" in line, "Trading goes on without it" in line) == (0, True, True)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    code, line = found()
    assert (code, "pip install 'tradekeel[redis]'" in line) == (2, True)
