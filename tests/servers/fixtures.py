"""The servers as fixtures: started when the first test asks for one, shared by all, left by each as it was found.

`postgres_url` and `redis_url` are what most tests need. Who wants to hurt a server takes one of his own (`own_postgres`,
`own_redis`), since the shared ones are everybody's. TRADEKEEL_TEST_POSTGRES_URL and TRADEKEEL_TEST_REDIS_URL name existing
servers instead of the shared ones: there, only what the tests made themselves is ever removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from tests.servers.folders import RunFolder, in_memory
from tests.servers.postgres import PostgresServer, connected, drop_database, new_database
from tests.servers.prepared import Prepared
from tests.servers.proxy import TcpProxy
from tests.servers.valkey import ValkeyServer

POSTGRES_URL = "TRADEKEEL_TEST_POSTGRES_URL"
REDIS_URL = "TRADEKEEL_TEST_REDIS_URL"

ROOM_MIN = 4 << 30
"""A dozen servers at a time have less, of three parts of the suite together."""

MARKED = {
    "postgres": {"postgres_server", "postgres_admin", "postgres_books", "postgres_url", "own_postgres"},
    "redis": {"redis_server", "redis_url", "own_redis"},
}
"""The marker of whoever uses one of these fixtures."""


def markers_of(fixtures: set[str]) -> list[str]:
    """The markers of a test that uses these fixtures."""
    return [marker for marker, names in MARKED.items() if names & fixtures]


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[RunFolder]:
    """The folder of all servers of this run: in memory, where there is room for them, unless TMPDIR says where."""
    with RunFolder(None if "TMPDIR" in os.environ else in_memory(ROOM_MIN)) as run:
        yield run


@pytest.fixture(scope="session")
def postgres_server(servers_folder: RunFolder) -> Iterator[PostgresServer]:
    """The PostgreSQL that tests share: use it and leave it as it was; hurt one of your own (`own_postgres`)."""
    with PostgresServer(servers_folder) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(servers_folder: RunFolder) -> Iterator[ValkeyServer]:
    """The Redis that tests share: use it and leave it as it was; hurt one of your own (`own_redis`)."""
    with ValkeyServer(servers_folder) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_admin(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Gives the superuser's way into the shared server, which runs: for who makes and drops databases himself."""
    given = os.environ.get(POSTGRES_URL)
    if given:
        return lambda: given
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return lambda: server.heal().admin_url


@pytest.fixture(scope="session")
def postgres_books(postgres_admin: Callable[[], str]) -> Iterator[Prepared]:
    """Databases with Tradekeel's tables in them: `lent()` gives the address of one with empty books, as a superuser."""
    with closing(Prepared(postgres_admin, _make_tables)) as prepared:
        yield prepared


def _make_tables(url: str) -> None:
    from tradekeel.storage.postgres import Postgres
    from tradekeel.storage.store import Store

    Store.open(Postgres(url), now_ns=0).close()


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty database, as a superuser of its server; it is dropped afterwards, and so are new roles.

    (On an existing server roles stay: they could be anybody's.)
    """
    given = os.environ.get(POSTGRES_URL)
    if given:
        url = new_database(given)
        yield url
        drop_database(given, url)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server").heal()
    roles = roles_of(server.admin_url)
    url = server.new_database()
    yield url
    server.heal().drop(url)
    drop_roles(server.admin_url, roles_of(server.admin_url) - roles)


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty Redis database, emptied again afterwards; ACL users that a test made are removed.

    (On an existing server the database must be empty when a test begins, or nothing of it is touched and the test fails.)
    """
    given = os.environ.get(REDIS_URL)
    if given:
        yield from _existing_redis(given)
        return
    server: ValkeyServer = request.getfixturevalue("redis_server").heal()
    yield server.url()
    reset_redis(server.heal().url())


@pytest.fixture
def own_postgres(servers_folder: RunFolder) -> Iterator[Callable[..., PostgresServer]]:
    """Starts a PostgreSQL of the test's own, to be killed, paused or filled (arguments of PostgresServer); 0.3 s each."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(PostgresServer(servers_folder, **options))


@pytest.fixture
def own_redis(servers_folder: RunFolder) -> Iterator[Callable[..., ValkeyServer]]:
    """Starts a Redis of the test's own, to be killed, paused or filled (arguments of ValkeyServer); 0.1 s each."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(ValkeyServer(servers_folder, **options))


@pytest.fixture
def proxy_before() -> Iterator[Callable[[str], TcpProxy]]:
    """Puts a proxy before the server of an address; `proxy.url(address)` is the way through it."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(TcpProxy.before(url))


# --- leaving a server as it was -----------------------------------------------------------------------------------------


def roles_of(admin_url: str) -> set[str]:
    """The roles of a cluster."""
    with connected(admin_url) as connection:
        return {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}


def drop_roles(admin_url: str, names: set[str]) -> None:
    """Drop roles, with what they were granted in the databases that every cluster has."""
    from psycopg import sql

    if not names:
        return
    with connected(admin_url) as connection:
        for name in sorted(names):
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        for name in sorted(names):
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def reset_redis(url: str) -> None:
    """Empty a server of ours, and remove the users that a test made."""
    import redis

    with closing(redis.Redis.from_url(url, decode_responses=True)) as client:
        client.flushall()
        for name in map(str, client.acl_users()):
            if name != "default":
                client.acl_deluser(name)


def _existing_redis(url: str) -> Iterator[str]:
    import redis

    with closing(redis.Redis.from_url(url)) as client:
        found = client.dbsize()
        if found:
            pytest.fail(
                f"{REDIS_URL}: the database there has {found} keys, which tests would remove: name an empty one"
            )
        yield url
        client.flushdb()
