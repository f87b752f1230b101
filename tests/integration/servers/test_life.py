"""What may befall a server of either kind: stopped, killed, paused, restarted; and what it says when it does not start."""

from __future__ import annotations

import shutil
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis

from tests.servers.binaries import POSTGRES_LIBRARIES, postgres_home, valkey_program
from tests.servers.errors import ServerNotRunning, ServerNotStarted
from tests.servers.folders import RunFolder, can_enter
from tests.servers.keeper import state_of
from tests.servers.postgres import PostgresServer, connected
from tests.servers.process import ENDED, until
from tests.servers.valkey import DURABLE, ValkeyServer

Own = Callable[..., PostgresServer]
OwnRedis = Callable[..., ValkeyServer]
HOLDS_FOR_S = 0.3


def held(server: PostgresServer | ValkeyServer, ask: Callable[[], object]) -> bool:
    """Whether a question to a paused server has no answer until it is resumed, and has one then."""
    answered = threading.Event()

    def asked() -> None:
        ask()
        answered.set()

    thread = threading.Thread(target=asked)
    thread.start()
    early = answered.wait(HOLDS_FOR_S)
    server.resume()
    thread.join()
    return answered.is_set() and not early


def count(url: str) -> int:
    with connected(url) as connection:
        row = connection.execute("SELECT count(*) FROM t").fetchone()
    assert row is not None
    return int(row[0])


# --- PostgreSQL -----------------------------------------------------------------------------------------------------------


def test_postgres_is_durable_unless_told_otherwise(own_postgres: Own) -> None:
    def setting(server: PostgresServer, name: str) -> str:
        with connected(server.admin_url) as connection:
            row = connection.execute(f"SHOW {name}".encode()).fetchone()
        assert row is not None
        return str(row[0])

    names = ("fsync", "synchronous_commit", "full_page_writes")
    assert [setting(own_postgres(), name) for name in names] == ["on"] * 3
    assert setting(own_postgres(settings={"fsync": "off"}), "fsync") == "off"


def test_postgres_wants_its_password(own_postgres: Own) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(own_postgres().url("postgres", password="wrong"))


def test_what_postgres_committed_survives_a_kill_and_what_it_did_not_is_gone(own_postgres: Own) -> None:
    server = own_postgres()
    with connected(server.admin_url) as committed:
        committed.execute("CREATE TABLE t (n int)")
        committed.execute("INSERT INTO t VALUES (1)")
        with psycopg.connect(server.admin_url) as open_ended:
            open_ended.execute("INSERT INTO t VALUES (2)")
            server.kill()
            assert not server.running
            with pytest.raises(psycopg.OperationalError):
                open_ended.commit()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(server.admin_url)
    server.restart()
    assert count(server.admin_url) == 1


def test_a_paused_postgres_answers_nobody_until_it_is_resumed(own_postgres: Own) -> None:
    server = own_postgres()
    with connected(server.admin_url) as connection:
        server.pause()
        assert server.process is not None
        states = {pid: state_of(pid) for pid in server.process.pids}
        assert states[server.process.pid] == "T"
        # A worker that ends by itself at this moment is buried by its parent, which is held.
        assert set(states.values()) <= {"T"} | ENDED
        assert held(server, lambda: connection.execute("SELECT 1"))
        server.pause()
        assert held(server, lambda: psycopg.connect(server.admin_url).close()), "new connections too"


def test_postgres_can_be_killed_and_stopped_while_it_is_paused(own_postgres: Own) -> None:
    server = own_postgres()
    for end in (server.kill, server.stop):
        server.pause()
        end()
        assert not server.running
        server.restart()
    assert server.ready()


def test_a_restart_keeps_address_and_data_and_may_come_at_any_time(own_postgres: Own) -> None:
    server = own_postgres()
    url = server.new_database()
    with connected(url) as connection:
        connection.execute("CREATE TABLE t (n int)")
    for before in (None, server.stop, server.kill):
        if before:
            before()
        server.restart()
        assert count(url) == 0


def test_a_replica_follows_refuses_writes_and_can_take_over(own_postgres: Own) -> None:
    first = own_postgres()
    with connected(first.admin_url) as connection:
        connection.execute("CREATE TABLE t (n int)")
    second = own_postgres(copy_of=first)
    with connected(first.admin_url) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    until(lambda: count(second.admin_url) == 1, "the replica does not follow")
    with connected(second.admin_url) as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("INSERT INTO t VALUES (2)")
        first.kill()
        assert count(second.admin_url) == 1, "it reads on without the other"
        connection.execute("SELECT pg_promote()")
        connection.execute("INSERT INTO t VALUES (2)")


def test_postgres_says_why_it_does_not_start(servers_folder: RunFolder) -> None:
    with closing(PostgresServer(servers_folder, settings={"shared_buffers": "many"})) as server:
        with pytest.raises(ServerNotStarted, match='invalid value for parameter "shared_buffers"'):
            server.start()
        with pytest.raises(ServerNotRunning):
            server.pause()


def test_a_database_is_dropped_whoever_is_in_it(own_postgres: Own) -> None:
    server = own_postgres()
    url = server.new_database()
    with psycopg.connect(url) as connection:
        server.drop(url)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    server.drop(url)
    with pytest.raises(AssertionError, match="no database that a test made"):
        server.drop(server.admin_url)


# --- Redis ------------------------------------------------------------------------------------------------------------------


def test_redis_keeps_what_it_answered_where_a_test_wants_it(own_redis: OwnRedis) -> None:
    server = own_redis(settings=DURABLE)
    with redis.Redis.from_url(server.url()) as client:
        client.set("kept", "1")
    server.kill()
    with redis.Redis.from_url(server.url()) as client:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.restart()
        assert client.get("kept") == b"1"


def test_redis_keeps_nothing_by_default(own_redis: OwnRedis) -> None:
    server = own_redis()
    with redis.Redis.from_url(server.url()) as client:
        client.set("lost", "1")
        server.restart()
        assert client.get("lost") is None


def test_a_paused_redis_answers_nobody_until_it_is_resumed(own_redis: OwnRedis) -> None:
    server = own_redis()
    with redis.Redis.from_url(server.url()) as client:
        client.ping()
        server.pause()
        assert held(server, client.ping)


def test_redis_wants_its_password_and_knows_the_users_it_was_given(own_redis: OwnRedis) -> None:
    server = own_redis(users=["clerk on >secret ~ours:* +@all"])
    with redis.Redis.from_url(server.url(password="wrong")) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with redis.Redis.from_url(server.url(user="clerk", password="secret")) as client:
        client.set("ours:1", "1")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.set("theirs:1", "1")


def test_redis_says_why_it_does_not_start(servers_folder: RunFolder) -> None:
    with (
        closing(ValkeyServer(servers_folder, settings={"maxmemory-policy": "greedy"})) as server,
        pytest.raises(ServerNotStarted, match="maxmemory-policy"),
    ):
        server.start()


def test_a_shared_server_that_a_test_left_hurt_is_healed_for_the_next(own_redis: OwnRedis, own_postgres: Own) -> None:
    for server in (own_redis(), own_postgres()):
        server.pause()
        assert server.heal().ready()
        server.kill()
        assert server.heal().ready()
        server.stop()
        assert server.heal().ready()


# --- where they live --------------------------------------------------------------------------------------------------------


def test_servers_start_from_folders_with_blanks_and_quotes(tmp_path_factory: pytest.TempPathFactory) -> None:
    with RunFolder() as outer:
        place = outer.make('a "folder" with\' blanks')
        with RunFolder(place) as run, PostgresServer(run) as postgres, ValkeyServer(run, settings=DURABLE) as valkey:
            assert postgres.ready()
            assert valkey.ready()


def test_programs_that_the_servers_user_cannot_reach_are_copied_for_him(
    servers_folder: RunFolder, tmp_path: Path
) -> None:
    home = postgres_home()
    site = tmp_path / "root's own"
    shutil.copytree(home, site / home.parent.name / home.name, ignore=shutil.ignore_patterns("include"))
    shutil.copytree(home.parent.parent / POSTGRES_LIBRARIES, site / POSTGRES_LIBRARIES)
    program = Path(shutil.copy2(valkey_program(), site / "valkey-server"))
    site.chmod(0o700)
    mine = site / home.parent.name / home.name
    with (
        PostgresServer(servers_folder, home=mine) as postgres,
        ValkeyServer(servers_folder, program=program) as valkey,
    ):
        reached = can_enter(servers_folder.user, site)
        assert (postgres.home == mine, valkey.program == program) == (reached, reached)
        assert postgres.ready()
        assert valkey.ready()
    assert stat.S_IMODE(site.stat().st_mode) == 0o700, "no folder's mode is loosened"
