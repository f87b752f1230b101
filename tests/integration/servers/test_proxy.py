"""The faults of the proxy do what they say, seen by plain sockets and by the clients that the daemon uses."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from tests.servers.postgres import PreparedWords, connected
from tests.servers.process import until
from tests.servers.proxy import TcpProxy
from tests.servers.valkey import ValkeyServer

Before = Callable[[str], TcpProxy]
ANSWER_S = 20.0
NO_ANSWER_S = 0.3
OK = b"+OK\r\n"


@pytest.fixture
def proxy(redis_url: str, proxy_before: Before) -> TcpProxy:
    """A proxy before the shared Redis."""
    return proxy_before(redis_url)


class Talk:
    """A plain connection that speaks Redis' inline commands."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((str(parts.hostname), parts.port or 0), timeout=ANSWER_S)
        self.password = parts.password

    def say(self, words: str) -> None:
        """Send a command."""
        self.socket.sendall(f"{words}\r\n".encode())

    def hear(self, timeout_s: float = ANSWER_S) -> bytes:
        """What comes next; nothing is the end."""
        self.socket.settimeout(timeout_s)
        return self.socket.recv(65_536)

    def ask(self, words: str) -> bytes:
        """Send a command and hear the answer."""
        self.say(words)
        return self.hear()


@contextlib.contextmanager
def talk(url: str) -> Iterator[Talk]:
    """A connection that has logged in."""
    one = Talk(url)
    try:
        assert one.ask(f"AUTH {one.password}") == OK
        yield one
    finally:
        one.socket.close()


def value(url: str, key: str) -> bytes | None:
    """What is under a key, by a way without the proxy."""
    with redis.Redis.from_url(url) as client:
        found = client.get(key)
    assert found is None or isinstance(found, bytes)
    return found


def test_it_passes_everything_on(redis_url: str, proxy: TcpProxy) -> None:
    large = bytes(range(256)) * 40_000
    with redis.Redis.from_url(proxy.url(redis_url)) as client:
        client.set("large", large)
        assert client.get("large") == large
        assert (proxy.connections, proxy.accepted) == (1, 1)
    until(lambda: proxy.connections == 0, "the connection did not end")


def test_refused_connections_are_new_ones_only(redis_url: str, proxy: TcpProxy) -> None:
    url = proxy.url(redis_url)
    with talk(url) as old:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            Talk(url)
        assert old.ask("PING") == b"+PONG\r\n"
        proxy.normal()
        with talk(url) as new:
            assert new.ask("PING") == b"+PONG\r\n"


def test_a_cut_ends_every_connection_and_no_later_one(redis_url: str, proxy: TcpProxy) -> None:
    url = proxy.url(redis_url)
    with talk(url) as one, talk(url) as two:
        assert proxy.cut() == 2
        for each in (one, two):
            with pytest.raises(ConnectionResetError):
                each.hear()
        with talk(url) as later:
            assert later.ask("PING") == b"+PONG\r\n"


def test_a_cut_in_order_is_an_end_and_no_reset(redis_url: str, proxy: TcpProxy) -> None:
    with talk(proxy.url(redis_url)) as one:
        proxy.cut(reset=False)
        assert one.hear() == b""


def test_away_is_both_and_normal_ends_it(redis_url: str, proxy: TcpProxy) -> None:
    url = proxy.url(redis_url)
    with talk(url) as one:
        proxy.away()
        with pytest.raises(ConnectionResetError):
            one.hear()
        with pytest.raises(ConnectionRefusedError):
            Talk(url)
    proxy.normal()
    with talk(url) as later:
        assert later.ask("PING") == b"+PONG\r\n"


def test_a_lost_answer_is_of_work_that_was_done(redis_url: str, proxy: TcpProxy) -> None:
    with talk(proxy.url(redis_url)) as one, talk(proxy.url(redis_url)) as other:
        loss = proxy.lose_answer(b"SET done")
        assert other.ask("SET another 1") == OK, "it waits for its words"
        assert not loss.happened
        one.say("SET done 1")
        with pytest.raises(ConnectionResetError):
            one.hear()
        assert loss.wait()
        assert value(redis_url, "done") == b"1"
        assert other.ask("SET done 2") == OK, "it comes once"


def test_of_an_answer_the_first_bytes_may_come_through(redis_url: str, proxy: TcpProxy) -> None:
    with talk(proxy.url(redis_url)) as one:
        proxy.lose_answer(b"SET", delivered_bytes=2)
        one.say("SET half 1")
        assert one.hear() == OK[:2]
        assert one.hear() == b""


def test_a_lost_request_never_reaches_the_server(redis_url: str, proxy: TcpProxy) -> None:
    with talk(proxy.url(redis_url)) as one:
        loss = proxy.lose_request(b"SET")
        one.say("SET never 1")
        with pytest.raises(ConnectionResetError):
            one.hear()
        assert loss.happened
        assert value(redis_url, "never") is None


def test_the_words_that_a_loss_waits_for_may_come_in_pieces(redis_url: str, proxy: TcpProxy) -> None:
    with talk(proxy.url(redis_url)) as one:
        loss = proxy.lose_request(b"SET pieces")
        one.socket.sendall(b"SET pie")
        until(lambda: proxy.connections == 1, "it is there")
        one.socket.sendall(b"ces 1\r\n")
        with pytest.raises(ConnectionResetError):
            one.hear()
        assert loss.happened


def test_a_loss_that_did_not_happen_is_called_off_by_normal(redis_url: str, proxy: TcpProxy) -> None:
    with talk(proxy.url(redis_url)) as one:
        loss = proxy.lose_request()
        proxy.normal()
        assert one.ask("PING") == b"+PONG\r\n"
        assert not loss.happened


def test_a_stall_says_nothing_and_loses_nothing(redis_url: str, proxy: TcpProxy) -> None:
    url = proxy.url(redis_url)
    with talk(url) as one:
        proxy.stall()
        one.say("SET held 1")
        with pytest.raises(TimeoutError):
            one.hear(NO_ANSWER_S)
        new = Talk(url)
        with contextlib.closing(new.socket):
            new.say(f"AUTH {new.password}")
            with pytest.raises(TimeoutError):
                new.hear(NO_ANSWER_S)
            assert value(redis_url, "held") is None
            proxy.normal()
            assert one.hear() == OK
            assert new.hear() == OK
        assert value(redis_url, "held") == b"1"


def test_a_stalled_connection_can_be_cut(redis_url: str, proxy: TcpProxy) -> None:
    with talk(proxy.url(redis_url)) as one:
        proxy.stall()
        one.say("SET held 1")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            one.hear()
        proxy.normal()
        assert value(redis_url, "held") is None


def test_a_delay_holds_each_direction(redis_url: str, proxy: TcpProxy) -> None:
    delay_s = 0.1
    with talk(proxy.url(redis_url)) as one:
        proxy.delay(delay_s)
        began = time.monotonic()
        assert one.ask("PING") == b"+PONG\r\n"
        assert time.monotonic() - began >= 2 * delay_s


def test_a_connection_is_cut_whose_client_takes_nothing_more(redis_url: str, proxy: TcpProxy) -> None:
    with talk(proxy.url(redis_url)) as one:
        one.say(f"SET large {'x' * 60_000}")
        assert one.hear() == OK
        for _ in range(500):
            one.say("GET large")
        assert proxy.cut() == 1


def test_without_its_server_it_takes_connections_and_drops_them(
    own_redis: Callable[..., ValkeyServer], proxy_before: Before
) -> None:
    server = own_redis()
    url = proxy_before(server.url()).url(server.url())
    with talk(url) as one:
        server.kill()
        with contextlib.suppress(ConnectionResetError):
            assert one.hear() == b""
    with contextlib.suppress(ConnectionResetError):  # while it connects, or afterwards
        gone = Talk(url)
        with contextlib.closing(gone.socket):
            assert gone.hear() == b""
    server.restart()
    with talk(url) as later:
        assert later.ask("PING") == b"+PONG\r\n"


def test_nothing_of_it_is_left_when_it_is_closed(redis_url: str) -> None:
    with TcpProxy.before(redis_url) as proxy:
        url = proxy.url(redis_url)
        with talk(url) as one:
            proxy.stall()
            one.say("PING")
            proxy.close()
            with pytest.raises(ConnectionResetError):
                one.hear()
    assert [thread.name for thread in threading.enumerate() if str(proxy.port) in thread.name] == []
    with pytest.raises(ConnectionRefusedError):
        Talk(url)


def test_a_commit_whose_answer_is_lost_is_durable(postgres_url: str, proxy_before: Before) -> None:
    proxy = proxy_before(postgres_url)
    with connected(postgres_url) as direct:
        direct.execute("CREATE TABLE t (n int)")
        for lose, rows in ((proxy.lose_answer, 1), (proxy.lose_request, 1)):
            lose(b"COMMIT")
            connection = psycopg.connect(proxy.url(postgres_url))
            with contextlib.closing(connection):
                connection.execute("INSERT INTO t VALUES (1)")
                with pytest.raises(psycopg.OperationalError):
                    connection.commit()
            found = direct.execute("SELECT count(*) FROM t").fetchone()
            assert found == (rows,), "what the client saw is the same both times, what the server did is not"


# --- in the middle of something ---------------------------------------------------------------------------------------


def test_something_is_done_in_the_moment_in_which_a_client_says_it_and_then_it_is_passed_on(
    proxy: TcpProxy, redis_url: str
) -> None:
    seen: list[object] = []
    with redis.Redis.from_url(redis_url) as past, redis.Redis.from_url(proxy.url(redis_url)) as client:
        moment = proxy.call_at(b"mark", lambda: seen.append(past.get("mark")))
        client.set("other", "1")
        assert not moment.wait(0)
        client.set("mark", "1")
        assert moment.wait()
        assert client.get("mark") == b"1"
    assert seen == [None], "it was not passed on before"


def test_a_moment_that_was_called_off_does_not_come_and_what_goes_wrong_in_one_is_told(
    proxy: TcpProxy, redis_url: str
) -> None:
    def fail() -> None:
        raise ValueError("no")

    with redis.Redis.from_url(proxy.url(redis_url)) as client:
        off, on = proxy.call_at(b"mark", fail), proxy.call_at(b"other", fail)
        assert proxy.call_off(off)
        client.set("mark", "1")
        assert not off.wait(0)
        client.set("other", "1")
        with pytest.raises(ValueError, match="no"):
            on.wait()
        assert not proxy.call_off(on)


def test_a_commit_is_known_also_when_it_was_prepared(postgres_url: str) -> None:
    parts = urlsplit(postgres_url)
    with (
        TcpProxy(str(parts.hostname), parts.port or 0, PreparedWords) as proxy,
        psycopg.connect(proxy.url(postgres_url), autocommit=True) as connection,
    ):
        for _ in range(20):
            connection.execute("BEGIN")
            connection.execute("SELECT 1")
            connection.execute("COMMIT")
        loss = proxy.lose_request(b"COMMIT")
        connection.execute("BEGIN")
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("COMMIT")
        assert loss.happened
