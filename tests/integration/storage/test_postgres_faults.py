"""Books on a PostgreSQL that fails: each failure has its words, says where and what to do, and never the password."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import psycopg
import pytest

from tests.servers.postgres import PostgresServer, connected, with_database
from tests.servers.process import until
from tests.servers.proxy import TcpProxy
from tests.unit.storage import samples as s
from tests.unit.storage.looking import tamper
from tradekeel.domain.rows import ACCOUNT_OWNER
from tradekeel.errors import StoreCorrupt, StoreError, StoreUnavailable
from tradekeel.storage.moment import one_moment
from tradekeel.storage.postgres import Limits, Postgres, words
from tradekeel.storage.queries import Reader
from tradekeel.storage.store import Store, Written
from tradekeel.storage.verify import verify

SECRET = "open, sesame"
SOON = Limits(connect_timeout_s=2.0, statement_timeout_s=1.0)
GIVEN_UP_S = 6.0
"""What a silent server may cost with these limits, and a machine that is busy."""


@pytest.fixture
def url(postgres_url: str) -> str:
    """Books with one decision in them."""
    fill(postgres_url)
    return postgres_url


def fill(url: str) -> s.Desk:
    desk = s.Desk()
    with Store.open(Postgres(url), now_ns=s.START_NS) as store:
        store.commit([desk.opening(), desk.decision()])
    return desk


def open_store(url: str, limits: Limits = SOON) -> Store:
    return Store.open(Postgres(url, limits), now_ns=s.START_NS)


async def read(url: str, limits: Limits = SOON) -> int:
    async with Reader(Postgres(url, limits)) as reader:
        return len(await reader.orders())


@contextmanager
def said(*words: str, kind: type[StoreError] = StoreUnavailable) -> Iterator[None]:
    """The error says all of this, and no password."""
    with pytest.raises(kind) as caught:
        yield
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert SECRET not in text
    assert ":***@" not in text


def part_of(url: str) -> str:
    """Where it is, as people read it."""
    return url.rpartition("@")[2]


# --- it lets nobody in -------------------------------------------------------------------------------------------------


def as_user(url: str, user: str) -> str:
    return f"postgresql://{user}:{SECRET.replace(' ', '%20').replace(',', '%2C')}@{part_of(url)}"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda url: as_user(url, "postgres"), ("password authentication failed", "storage.password")),
        (lambda url: as_user(url, "nobody_at_all"), ("nobody_at_all", "storage.password")),
        (lambda url: with_database(url, "nowhere"), ("nowhere", "CREATE DATABASE")),
        (lambda url: f"postgresql://a:b@127.0.0.1:1/{SECRET[:4]}", ("Connection refused", "Is the server running")),
        (lambda url: "postgresql://a@no-such-host.invalid/books", ("resolve", "the address right")),
        (lambda url: f"{url}?sslmode=require", ("SSL", "sslmode")),
    ],
    ids=["password", "user", "database", "port", "host", "ssl"],
)
async def test_who_is_not_let_in_is_told_why(url: str, wrong: Callable[[str], str], words: tuple[str, ...]) -> None:
    address = wrong(url)
    where = part_of(address).partition("?")[0]
    with said(where, *words):
        open_store(address)
    with said(where, *words):
        await read(address)
    with said(where, *words), one_moment(Postgres(address)):
        pass
    with said(where, *words):
        verify(Postgres(address))


async def test_a_server_that_is_full_says_so(own_postgres: Callable[..., PostgresServer]) -> None:
    server = own_postgres(settings={"max_connections": "4", "superuser_reserved_connections": "0"})
    url = server.new_database()
    fill(url)
    held = [Postgres(url).connect() for _ in range(4)]
    try:
        with said("too many clients", "max_connections"):
            open_store(url)
    finally:
        for connection in held:
            connection.close()


async def test_more_questions_than_connections_wait_for_their_turn_and_then_say_so(url: str) -> None:
    limits = Limits(connect_timeout_s=1.0, statement_timeout_s=20.0, pool_size=1, pool_overflow=1)
    async with Reader(Postgres(url, limits)) as reader, reader._asking(), reader._asking():
        with said("all connections are in use", "pool_size"):
            await reader.orders()


# --- it does not do what it is asked -----------------------------------------------------------------------------------


@pytest.fixture
def trader(url: str) -> str:
    """The address as a role that was granted nothing."""
    with connected(url) as connection:
        connection.execute(f"CREATE ROLE trader LOGIN PASSWORD '{SECRET}'".encode())
    return as_user(url, "trader")


async def test_a_role_without_rights_is_told_what_to_ask_for(url: str, trader: str) -> None:
    with said("permission denied", "grant trading_adapter"):
        open_store(trader)
    with said("permission denied", "grant trading_adapter"):
        await read(trader)


def test_a_role_that_may_only_read_cannot_write(url: str, trader: str) -> None:
    with connected(url) as connection:
        connection.execute("GRANT USAGE ON SCHEMA trading TO trader")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA trading TO trader")
    assert verify(Postgres(trader)).ok
    with open_store(trader) as store:
        with said("permission denied", "grant trading_adapter"):
            store.commit([s.group(s.noted())])
        with said("failed before"):
            store.commit([s.group(s.noted())])


async def test_somebody_elses_lock_is_waited_for_and_named(url: str) -> None:
    with connected(url) as other, open_store(url) as store:
        other.execute("BEGIN")
        other.execute("LOCK TABLE trading.journal, trading.orders")
        began = time.monotonic()
        with said(part_of(url), "committing", "timeout"):
            store.commit([s.group(s.noted())])
        with said(part_of(url), "reading it", "timeout"):
            await read(url)
        assert time.monotonic() - began < 2 * GIVEN_UP_S
        other.execute("ROLLBACK")
        assert await read(url) == 1
    with open_store(url) as store:
        assert store.commit([s.group(s.noted())]) == [Written(5, 5)]


def test_a_standby_is_refused_at_the_start_and_may_be_read(own_postgres: Callable[..., PostgresServer]) -> None:
    server = own_postgres()
    url = server.new_database()
    fill(url)
    server.stop()
    (server.data / "standby.signal").touch()
    server.start()
    with said("standby", "Name the primary"):
        open_store(url)
    assert verify(Postgres(url)).ok


def test_a_full_disk_is_called_by_its_name_and_loses_nothing(
    own_postgres: Callable[..., PostgresServer], seed: int
) -> None:
    server = own_postgres(room_mb=96)
    url = server.new_database()
    fill(url)
    noise = random.Random(seed)
    acknowledged = 4
    with open_store(url, Limits(statement_timeout_s=20.0)) as store:
        server.fill_disk(left_bytes=2_000_000)
        failed: StoreUnavailable | None = None
        while failed is None:
            saved = s.checkpoint(acknowledged, ACCOUNT_OWNER, state=noise.randbytes(1_000_000))
            try:
                store.commit([s.group(s.noted(), checkpoints=(saved,))])
            except StoreUnavailable as error:
                failed = error
            else:
                acknowledged += 1
            assert acknowledged < 200, "there was room enough"
        with said("failed before"):
            store.commit([s.group(s.noted())])
    text = str(failed)
    assert part_of(url) in text
    # Without room for its log the server stops by itself, and can say no more.
    assert "disk is full" in text or "Is the server running" in text, text
    server.heal()
    with open_store(url, Limits()) as store:
        assert store.last_sequence(s.RUN) - acknowledged in (0, 1), (
            "and the one that was not acknowledged is there or not"
        )
    assert verify(Postgres(url)).ok


# --- it goes away ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["kill", "stop"])
async def test_a_server_that_ends_in_the_middle_is_gone_and_comes_back(
    own_postgres: Callable[..., PostgresServer], way: str
) -> None:
    server = own_postgres()
    url = server.new_database()
    desk = fill(url)
    with open_store(url) as store:
        async with Reader(Postgres(url, SOON)) as reader:
            assert len(await reader.orders()) == 1
            getattr(server, way)()
            with said(part_of(url), "committing"):
                store.commit([desk.decision()])
            with said(part_of(url), "cannot be reached", "Is the server running"):
                await reader.orders()
            server.start()
            assert len(await reader.orders()) == 1, "a reader connects again by itself"
        with said("failed before"):
            store.commit([s.group(s.noted())])
    with open_store(url) as store:
        assert store.last_sequence(s.RUN) == 4
        assert verify(Postgres(url)).ok


async def test_a_server_that_is_frozen_is_given_up_in_time(own_postgres: Callable[..., PostgresServer]) -> None:
    server = own_postgres()
    url = server.new_database()
    desk = fill(url)

    def in_time(began: float) -> bool:
        return time.monotonic() - began < GIVEN_UP_S

    with open_store(url) as store:
        async with Reader(Postgres(url, SOON)) as reader:
            await reader.orders()
            server.pause()
            began = time.monotonic()
            with said(part_of(url), "committing", "has not answered for 2 s"):
                store.commit([desk.decision()])
            assert in_time(began)
            began = time.monotonic()
            with said(part_of(url), "cannot be reached"):
                await reader.orders()
            assert in_time(began)
            began = time.monotonic()
            with said(part_of(url), "timeout"):
                open_store(url)
            assert in_time(began)
            began = time.monotonic()
            with said(part_of(url), "cannot be reached"):
                verify(Postgres(url, SOON))
            assert in_time(began)
            server.resume()
            assert len(await reader.orders()) == 1
    with open_store(url) as store:
        assert store.last_sequence(s.RUN) == 4, "what was never acknowledged was never committed"


@pytest.mark.parametrize("was_done", [False, True], ids=["the request is lost", "the answer is lost"])
def test_nobody_believes_a_commit_whose_answer_never_came(
    url: str, proxy_before: Callable[[str], TcpProxy], was_done: bool
) -> None:
    proxy = proxy_before(url)
    with open_store(proxy.url(url)) as store:
        assert store.commit([s.group(s.noted())]) == [Written(5, 5)]
        loss = proxy.lose_answer(b"COMMIT") if was_done else proxy.lose_request(b"COMMIT")
        with said("committing"):
            store.commit([s.group(s.noted())])
        assert loss.wait()
        with said("failed before"):
            store.commit([s.group(s.noted())])
    with open_store(url) as store:
        assert store.last_sequence(s.RUN) == 5 + was_done


def test_bytes_that_never_arrive_are_given_up_in_time(url: str, proxy_before: Callable[[str], TcpProxy]) -> None:
    proxy = proxy_before(url)
    with open_store(proxy.url(url)) as store:
        proxy.stall()
        began = time.monotonic()
        with said("has not answered"):
            store.commit([s.group(s.noted())])
        assert time.monotonic() - began < GIVEN_UP_S


async def test_a_slow_network_is_slow_and_nothing_else(url: str, proxy_before: Callable[[str], TcpProxy]) -> None:
    proxy = proxy_before(url)
    proxy.delay(0.02)
    desk = s.Desk("exec-2", account="paper-2")
    with open_store(proxy.url(url), Limits()) as store:
        assert store.commit([desk.opening(), desk.decision()]) == [Written(1, 3), Written(4, 4)]
    assert await read(proxy.url(url), Limits()) == 2


# --- readers that give up ----------------------------------------------------------------------------------------------


def running(url: str) -> int:
    """How many of our questions the server is working at."""
    with connected(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tradekeel' AND state <> 'idle' "
            "AND datname = current_database()"
        ).fetchone()
    return int(found[0]) if found else 0


async def test_a_reader_that_is_cancelled_leaves_no_question_running(url: str) -> None:
    async with Reader(Postgres(url, Limits(statement_timeout_s=60.0))) as reader:

        async def ask() -> None:
            async with reader._asking() as db:
                await db.exec_driver_sql("SELECT pg_sleep(50)")

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
            await anyio.to_thread.run_sync(until, lambda: running(url) == 3, "the questions were not asked")
            tasks.cancel_scope.cancel()
        until(lambda: running(url) == 0, "a question goes on", timeout_s=10)
        assert len(await reader.orders()) == 1, "and the reader is as good as before"


# --- damage ------------------------------------------------------------------------------------------------------------


def test_somebody_elses_tables_are_left_alone(postgres_url: str) -> None:
    with connected(postgres_url) as connection:
        connection.execute("CREATE SCHEMA trading")
        connection.execute("CREATE TABLE trading.recipes (cake text)")
    with said("not a Tradekeel store", kind=StoreCorrupt):
        open_store(postgres_url)
    with connected(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'trading'").fetchone() == (1,)


async def test_a_table_that_is_gone_is_damage(url: str) -> None:
    tamper(Postgres(url), "DROP TABLE orders CASCADE")
    with said("orders", "damaged", kind=StoreCorrupt):
        await read(url)
    assert any("orders" in problem for problem in verify(Postgres(url)).problems)


def test_a_flipped_bit_on_the_servers_disk_is_found(own_postgres: Callable[..., PostgresServer]) -> None:
    server = own_postgres()
    url = server.new_database()
    fill(url)
    with connected(url) as connection:
        [(place,)] = connection.execute("SELECT pg_relation_filepath('trading.journal')").fetchall()
    server.stop()
    flip(server.data / place)
    server.start()
    with said("is damaged", "db backup", kind=StoreCorrupt):
        open_store(url)
    verdict = verify(Postgres(url))
    assert any("is damaged" in problem for problem in verdict.problems), verdict.lines()


def flip(path: Path) -> None:
    """Flip one bit in the middle of what is written."""
    content = bytearray(path.read_bytes())
    content[content.index(b"decision_taken")] ^= 0x01
    path.write_bytes(content)


# --- what is documented ------------------------------------------------------------------------------------------------


def test_what_each_message_says_to_do_is_documented() -> None:
    documented = (Path(__file__).parents[3] / "docs" / "postgresql.md").read_text()
    for to_do in {*(to_do for _, to_do in words._TO_DO), *(to_do for _, to_do in words._REFUSED), words._POOL}:
        assert to_do in documented or to_do == words._SAYS_WHY, to_do


def test_a_connection_is_patient_only_as_long_as_it_was_asked_to_be(url: str) -> None:
    with closing(Postgres(url, SOON).connect()) as db:
        usual_s = db.raw.patience_s
        db.execute("BEGIN")
        with db.patient(30.0):
            assert db.raw.patience_s > usual_s
            assert db.execute("SHOW statement_timeout").fetchone() == ("30s",)
        assert (db.raw.patience_s, db.execute("SHOW statement_timeout").fetchone()) == (usual_s, ("1s",))
        with pytest.raises(psycopg.errors.DivisionByZero), db.patient(30.0):
            db.execute("SELECT 1 / 0")
        assert db.raw.patience_s == usual_s
        db.rollback()
        assert db.execute("SHOW statement_timeout").fetchone() == ("1s",)
