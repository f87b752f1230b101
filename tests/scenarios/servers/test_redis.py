"""Redis beside a trading daemon: what outside readers find there is exactly what the books hold, and trading needs none of it.

Whatever becomes of the server, the daemon or what passes between them: no event is missing, doubled or different, the open
trades are those of the books, and the run ends as the one that had no Redis.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.campaigns.kill.stores import BooksStore, Databases
from tests.conformance.documented import acl_line
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home, Process, Story, story_undisturbed, told_differently
from tests.scenarios.support_redis import Outside, with_redis, wrong_board, wrong_events
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import TcpProxy
from tests.servers.valkey import DURABLE, ValkeyServer
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.standing import read_status

TICKS = 300
PATIENCE_S = 30.0
GUIDE = Path(__file__).parents[3] / "docs" / "redis.md"
OwnRedis = Callable[..., ValkeyServer]
ProxyBefore = Callable[[str], TcpProxy]


PAIR = configs.pair(TICKS)
SLOWLY = configs.pair(TICKS, speed="15")  # some ten seconds: it is not over before it was killed three times
PACED = configs.pair(TICKS, speed="60")
ENDLESS = configs.pair(1_000_000, speed="30")


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Story]:
    """The story of the run that has no Redis."""
    return story_undisturbed(PAIR)


def environ(server: ValkeyServer) -> dict[str, str]:
    return {"REDIS_PASSWORD": server.password, "WRONG_PASSWORD": "not-this-one"}


def flush(server: ValkeyServer) -> None:
    with redis.Redis.from_url(server.url()) as client:
        client.flushall()


def until(holds: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, what
        time.sleep(0.01)


def redis_status(home: Home) -> dict[str, Any]:
    return home.status.get("redis") or {}


def until_state(daemon: Process, home: Home, state: str) -> None:
    daemon.until(lambda: redis_status(home).get("state") == state, f"redis is not {state}")


# --- as it should be --------------------------------------------------------------------------------------------------


def test_a_run_is_published_exactly_and_its_board_is_empty_when_it_is_closed(
    tmp_path: Path, own_redis: OwnRedis, undisturbed: dict[str, Story], store: BooksStore
) -> None:
    server = own_redis()
    home = Home(tmp_path, with_redis(server.port.number, PAIR), store)
    assert home.live(environ=environ(server)).code == 0
    outside = Outside(server)
    for account in "ab":
        assert wrong_events(home, account, outside) == []
        assert wrong_board(home, account, outside) == []
        assert outside.board(account)["#trades"] == "0"
    assert outside.services() == {}
    outside.client.close()
    assert told_differently(undisturbed, home) == []


def test_a_daemon_registers_beats_and_leaves_when_it_is_stopped(tmp_path: Path, own_redis: OwnRedis) -> None:
    server = own_redis()
    home = Home(tmp_path, with_redis(server.port.number, ENDLESS))
    outside = Outside(server)
    with home.start(environ(server)) as daemon:
        daemon.until_trading("a")
        installation = (home.state / "installation").read_text().strip()
        daemon.until(lambda: outside.services() == {installation: "running"}, "it does not register")
        first = outside.client.hget(f"trading:services:main:one:{installation}", "heartbeat_ns")
        daemon.until(
            lambda: outside.client.hget(f"trading:services:main:one:{installation}", "heartbeat_ns") != first,
            "it does not beat",
        )
        assert _services(home, environ(server))[0]["accounts"] == "a, b"
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    assert outside.services() == {}
    assert [wrong for account in "ab" for wrong in wrong_events(home, account, outside)] == []
    assert [wrong for account in "ab" for wrong in wrong_board(home, account, outside)] == []
    assert home.unverified() == []
    outside.client.close()


def _services(home: Home, environ: dict[str, str], *words: str) -> list[dict[str, Any]]:
    said = subprocess.run(
        [sys.executable, "-m", "tradekeel", "services", str(home.config), "--json", *words],
        capture_output=True,
        check=True,
        env=os.environ | environ,
        timeout=PATIENCE_S,
    )
    return list(json.loads(said.stdout))


def test_a_daemon_that_is_killed_is_no_more_alive_and_taken_out_by_the_next_that_beats(
    tmp_path: Path, own_redis: OwnRedis
) -> None:
    server = own_redis()
    killed = Home(tmp_path / "killed", with_redis(server.port.number, configs.pair(1_000_000, speed="30")))
    lives = Home(tmp_path / "lives", with_redis(server.port.number, _renamed(ENDLESS)))
    outside = Outside(server)
    with killed.start(environ(server)) as first:
        first.until_trading("a")
        first.until(lambda: "running" in outside.services().values(), "it does not register")
    gone = (killed.state / "installation").read_text().strip()
    until(lambda: not _services(lives, environ(server))[0]["alive"], "it still counts as alive")
    with lives.start(environ(server)) as second:
        second.until(lambda: len(outside.services()) == 1 and gone not in outside.services(), "nobody takes it out")
        second.send(signal.SIGTERM)
        assert second.end() == 0
    outside.client.close()


def _renamed(toml: str) -> str:
    """The same with other accounts: their boards are their own."""
    return (
        toml.replace('name = "scenario"', 'name = "other"')
        .replace("[accounts.a", "[accounts.c")
        .replace("[accounts.b", "[accounts.d")
        .replace('account = "a"', 'account = "c"')
        .replace('account = "b"', 'account = "d"')
    )


def test_the_guides_reader_reads_what_a_run_has_published(
    tmp_path: Path, own_redis: OwnRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = acl_line(GUIDE, "a-secret-of-the-tests").removeprefix("ACL SETUSER ")
    server = own_redis(users=[rules])
    home = Home(
        tmp_path, with_redis(server.port.number, PAIR).replace("[redis]", '[redis]\nusername = "trading-adapter"')
    )
    assert home.live(environ=environ(server) | {"REDIS_PASSWORD": "a-secret-of-the-tests"}).code == 0
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    [example] = [code for code in examples if "trading:events:" in code]
    url = f"redis://127.0.0.1:{server.port.number}/0"
    exec(compile(example, str(GUIDE), "exec"), {"URL": url, "PASSWORD": "a-secret-of-the-tests"})
    assert capsys.readouterr().out == f"{len(home.ours('a').journal)} 1 True 0\n"


# --- kills and faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False], ids=["kept on disk", "kept in memory"])
def test_events_are_those_of_the_journal_whatever_is_killed_and_lost_on_the_way(
    tmp_path: Path,
    own_redis: OwnRedis,
    proxy_before: ProxyBefore,
    seed: int,
    durable: bool,
    undisturbed: dict[str, Story],
) -> None:
    dice = random.Random(seed)
    server = own_redis(settings=DURABLE if durable else {})
    proxy = proxy_before(server.url())
    home = Home(tmp_path, with_redis(proxy.port, SLOWLY, deadline_s=0.3))
    befalls: list[Callable[[], object]] = [
        lambda: proxy.lose_answer(b"XADD"),
        lambda: proxy.lose_request(b"XADD"),
        lambda: proxy.lose_answer(b"HSET"),
        proxy.cut,
        proxy.away,
        proxy.stall,
        server.pause,
        server.kill,
        lambda: flush(server),
    ]
    dice.shuffle(befalls)
    for number in range(3):
        with home.start(environ(server)) as daemon:
            daemon.until_trading("a")
            for befall in befalls[number::3]:
                daemon.wait_s(dice.uniform(0.05, 0.4))
                if server.running:
                    befall()
                daemon.wait_s(dice.uniform(0.05, 0.5))
                server.heal()
                proxy.normal()
            # and killed
    outside = Outside(server)
    home.configure(with_redis(proxy.port, PACED, deadline_s=5.0))
    assert home.live(environ=environ(server)).code == 0
    assert [wrong for account in "ab" for wrong in wrong_events(home, account, outside)] == []
    assert [wrong for account in "ab" for wrong in wrong_board(home, account, outside)] == []
    assert told_differently(undisturbed, home) == []
    assert home.wrong("a", "b") == []
    assert home.unverified() == []
    outside.client.close()


def test_open_trades_are_those_of_the_books_while_the_daemon_trades_and_when_it_was_killed(
    tmp_path: Path, own_redis: OwnRedis, store: BooksStore
) -> None:
    server = own_redis()
    home = Home(tmp_path, with_redis(server.port.number, ENDLESS), store)
    outside = Outside(server)
    with home.start(environ(server)) as daemon:
        daemon.until_trading("b")
        daemon.until(lambda: int(outside.board("b").get("#trades", 0)) >= 2, "no trades are shown")
    with home.start(environ(server)) as daemon:
        daemon.until_trading("a")
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    assert [wrong for account in "ab" for wrong in wrong_board(home, account, outside)] == []
    outside.client.close()


def test_what_waits_for_the_books_server_is_published_when_that_has_it(
    tmp_path: Path, own_redis: OwnRedis, own_postgres: Callable[..., PostgresServer]
) -> None:
    server, books = own_redis(), own_postgres()
    store = Databases(books.admin_url)
    impatient = '[storage]\nbreaker_open_s = 0.2\non_store_failure = "reduce_only"\n'
    toml = configs.pair(1_000_000, speed="30", cut_every_s=5).replace("[storage]\n", impatient)
    home = Home(tmp_path, with_redis(server.port.number, toml), store)
    outside = Outside(server)
    with home.start(environ(server)) as daemon:
        daemon.until_trading("a")
        until_state(daemon, home, "up")
        books.kill()
        daemon.until(lambda: home.status["store"]["batches_waiting"] > 5, "nothing waits for the books' server")
        daemon.until(lambda: "publishing waits for the books (" in daemon.log, "it does not say what it waits for")
        assert outside.services() != {}
        books.start()
        daemon.until(lambda: home.status["store"]["mode"] == "direct", "the books' server is not back")
        until_state(daemon, home, "up")
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
        assert "fails us" not in daemon.log
    assert [wrong for account in "ab" for wrong in wrong_events(home, account, outside)] == []
    assert [wrong for account in "ab" for wrong in wrong_board(home, account, outside)] == []
    outside.client.close()
    store.close()


# --- the server fails us: degrade -------------------------------------------------------------------------------------


def ends_as_ever(home: Home, undisturbed: dict[str, Story]) -> None:
    assert told_differently(undisturbed, home) == []
    assert home.wrong("a", "b") == []


def test_redis_that_is_away_holds_up_nothing_is_said_once_and_made_up_for(
    tmp_path: Path, own_redis: OwnRedis, undisturbed: dict[str, Story]
) -> None:
    server = own_redis()
    server.kill()
    home = Home(tmp_path, with_redis(server.port.number, PAIR))
    alone = home.live(environ=environ(server))  # from the start to the end
    assert alone.code == 0
    assert alone.log.count("fails us (the server), and trading goes on without") == 1
    ends_as_ever(home, undisturbed)
    assert redis_status(home)["state"] == "stopped"
    home.configure(with_redis(server.port.number, ENDLESS.replace("seed = 11", "seed = 12")))
    with home.start(environ(server)) as daemon:
        until_state(daemon, home, "degraded")
        assert "cannot be reached" in redis_status(home)["reason"]
        status = read_status(Place(home.state, home.config))
        assert status["redis"]["failing"] == ["the server"]
        server.start()
        until_state(daemon, home, "up")
        assert "is back: what was to be published meanwhile is made up for" in daemon.log
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    outside = Outside(server)
    assert [wrong for account in "ab" for wrong in wrong_events(home, account, outside)] == []
    outside.client.close()


def test_redis_that_is_slow_or_frozen_holds_up_neither_start_nor_trading_nor_stop(
    tmp_path: Path, own_redis: OwnRedis, undisturbed: dict[str, Story]
) -> None:
    server = own_redis()
    server.pause()
    home = Home(tmp_path, with_redis(server.port.number, PAIR, deadline_s=60))
    assert home.live(environ=environ(server)).code == 0
    ends_as_ever(home, undisturbed)
    home.configure(with_redis(server.port.number, ENDLESS, deadline_s=60))
    with home.start(environ(server)) as daemon:
        daemon.until_trading("a")
        began_s = time.monotonic()
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
        assert time.monotonic() - began_s < 10  # of the 60 s that an answer may take
    server.resume()


def test_redis_that_is_frozen_in_the_middle_of_a_stop_does_not_hold_it_up(tmp_path: Path, own_redis: OwnRedis) -> None:
    server = own_redis()
    home = Home(tmp_path, with_redis(server.port.number, ENDLESS, deadline_s=60))
    with home.start(environ(server)) as daemon:
        daemon.until_trading("a")
        until_state(daemon, home, "up")
        server.pause()
        began_s = time.monotonic()
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
        assert time.monotonic() - began_s < 10
    server.resume()
    assert home.unverified() == []


def test_redis_that_is_full_is_said_and_made_up_for_when_there_is_room(tmp_path: Path, own_redis: OwnRedis) -> None:
    server = own_redis()
    home = Home(tmp_path, with_redis(server.port.number, ENDLESS))
    outside = Outside(server)
    with home.start(environ(server)) as daemon:
        daemon.until_trading("a")
        until_state(daemon, home, "up")
        outside.client.config_set("maxmemory-policy", "noeviction")
        outside.client.config_set("maxmemory", "1kb")
        until_state(daemon, home, "degraded")
        daemon.until(lambda: "events" in redis_status(home)["failing"], "it does not say that events fail")
        assert "it is full (maxmemory)" in redis_status(home)["reason"]
        outside.client.config_set("maxmemory", "0")
        until_state(daemon, home, "up")
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    assert [wrong for account in "ab" for wrong in wrong_events(home, account, outside)] == []
    outside.client.close()


def test_redis_that_takes_no_writes_is_waited_for(tmp_path: Path, own_redis: OwnRedis) -> None:
    server = own_redis()
    home = Home(tmp_path, with_redis(server.port.number, ENDLESS))
    outside = Outside(server)
    with home.start(environ(server)) as daemon:
        daemon.until_trading("a")
        until_state(daemon, home, "up")
        outside.client.execute_command("REPLICAOF", "127.0.0.1", "1")
        until_state(daemon, home, "degraded")
        outside.client.execute_command("REPLICAOF", "NO", "ONE")
        until_state(daemon, home, "up")
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    assert [wrong for account in "ab" for wrong in wrong_events(home, account, outside)] == []
    outside.client.close()


def test_redis_that_does_not_take_our_password_is_said_and_trading_goes_on(
    tmp_path: Path, own_redis: OwnRedis, undisturbed: dict[str, Story]
) -> None:
    server = own_redis()
    home = Home(tmp_path, with_redis(server.port.number, PAIR, variable="WRONG_PASSWORD"))
    life = home.live(environ=environ(server))
    assert life.code == 0
    assert life.log.count("fails us (the server), and trading goes on without") == 1
    assert "it does not take this user and password" in life.log
    assert "not-this-one" not in life.log
    ends_as_ever(home, undisturbed)


def test_a_publisher_that_fails_again_and_again_stays_down_and_everybody_else_goes_on(
    tmp_path: Path, own_redis: OwnRedis, undisturbed: dict[str, Story]
) -> None:
    server = own_redis()
    home = Home(tmp_path, with_redis(server.port.number, PAIR))

    def fails(passed: int) -> None:
        raise RuntimeError(f"pass {passed}")

    life = home.live({"publisher:JournalsGrew": fails}, environ=environ(server))
    assert life.code == 0
    assert "publisher failed (RuntimeError: pass 1)" in life.log
    ends_as_ever(home, undisturbed)
