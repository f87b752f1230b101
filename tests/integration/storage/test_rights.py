"""A login role that is a member of trading_adapter can do all that a daemon, a script or a reader does, and nothing beyond."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.servers.postgres import PostgresServer, connected
from tests.unit.storage import samples as s
from tradekeel.errors import StoreDenied, StoreUnavailable
from tradekeel.runtime.clock import SystemClock, pause
from tradekeel.storage import migrating
from tradekeel.storage.archiving.moving import archive
from tradekeel.storage.backend import Restoring
from tradekeel.storage.postgres import Postgres, rights
from tradekeel.storage.postgres.lease import Holder, Writer
from tradekeel.storage.postgres.remote import PostgresBooks
from tradekeel.storage.queries import Reader
from tradekeel.storage.store import Store
from tradekeel.storage.tables import metadata
from tradekeel.storage.verify import verify
from tradekeel.storage.wiping import look

NOW_NS = 1_700_000_000_000_000_000

AsRole = Callable[..., str]


@pytest.fixture
def as_role(postgres_url: str) -> AsRole:
    """Makes login roles; the address of the same database as such a one."""

    def make(name: str, *attributes: str, member_of: str = "") -> str:
        with connected(postgres_url) as admin:
            admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret' {' '.join(attributes)}".encode())
            if member_of:
                admin.execute(f"GRANT {member_of} TO {name}".encode())
        return make_url(postgres_url).set(username=name, password="secret").render_as_string(hide_password=False)

    return make


@pytest.fixture
def books(postgres_url: str) -> Postgres:
    """Empty books, which the superuser has made."""
    made = Postgres(postgres_url)
    Store.open(made, now_ns=NOW_NS).close()
    return made


@pytest.fixture
def adapter(books: Postgres, as_role: AsRole) -> str:
    """The address of these books as a member of trading_adapter."""
    return as_role("keel_daemon", member_of=rights.ROLE)


@pytest.fixture
def db(adapter: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of that one."""
    with connected(adapter) as connection:
        connection.execute("SET search_path = trading")
        yield connection


def test_each_table_and_view_has_its_rights():
    assert set(rights.TABLE_RIGHTS) == {*metadata.tables, "alembic_version", "positions"}


class AtOnce:
    """Connections that are made while we wait."""

    def look_in(self, function):
        return function()


def test_a_daemon_needs_no_more(adapter):
    books = PostgresBooks(
        partial(Store.open, Postgres(adapter), now_ns=NOW_NS),
        Writer(
            daemon="keel",
            holder=Holder(host="here", installation="1", place="1", run="1"),
            accounts=("paper-1",),
            lease_ns=10**12,
        ),
        waiting=lambda: False,
        aside=AtOnce(),
        pause=partial(pause, 0.02),
        now_ns=SystemClock().now_ns,
        monotonic_ns=lambda: 0,
        tell=lambda text: None,
    )
    with closing(books):
        books.reconnect()
        desk = s.Desk()
        for batch, groups in enumerate(([desk.opening()], [desk.decision(), desk.filled(1)]), start=1):
            books.commit_numbered(batch, groups)
        states = [s.group(checkpoints=(s.checkpoint(n),)) for n in range(2, 40)]  # old ones are deleted
        for batch, group in enumerate(states, start=3):
            books.commit_numbered(batch, [group])
        assert books.last_sequence(s.RUN) == 5


async def test_a_reader_and_a_proof_need_no_more(books, adapter):
    desk = s.Desk()
    with Store.open(books, now_ns=NOW_NS) as store:
        store.commit([desk.opening(), desk.decision(), desk.filled(1)])
    async with Reader(Postgres(adapter)) as reader:
        assert len(await reader.trades()) == 1
    assert verify(Postgres(adapter)).ok


WRITES = [
    "INSERT INTO tasks (task_id, type, name, instruments, config, created_ns) VALUES ('t', 'paper', 'n', '[]', '{}', 0)",
    "UPDATE tasks SET name = 'm'",
    "DELETE FROM tasks",
    "DELETE FROM strategies",
    "DELETE FROM fills",
    "INSERT INTO position_notes VALUES ('a', 'b', '', '', '', '', 0)",
    "UPDATE position_notes SET note = 'x'",
    "DELETE FROM position_notes",
    "SELECT * FROM positions",
    "SELECT * FROM health_check()",
    "SELECT * FROM migration_history",
]


@pytest.mark.parametrize("statement", WRITES)
def test_a_script_may(db, statement):
    db.execute(statement.encode())


REFUSED = [
    "UPDATE journal SET type = 'x'",
    "DELETE FROM journal",
    "TRUNCATE journal",
    "ALTER TABLE journal DISABLE TRIGGER ALL",
    "DROP TABLE journal CASCADE",
    "DROP SCHEMA trading CASCADE",
    "CREATE TABLE trading.mine (a int)",
    "ALTER TABLE orders ADD COLUMN mine int",
    "CREATE INDEX mine ON orders (stamp)",
    "DELETE FROM orders",
    "DELETE FROM trades",
    "DELETE FROM executions",
    "UPDATE fills SET quantity = 1",
    "UPDATE checkpoints SET position = 1",
    "UPDATE migration_history SET checksum = 'x'",
    "DELETE FROM migration_history",
    "UPDATE alembic_version SET version_num = '9999'",
    "CREATE OR REPLACE FUNCTION trading.health_check() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE another",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_nobody_who_only_trades_may(db, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(statement.encode())


def test_a_stranger_may_nothing(books, as_role):
    with connected(as_role("keel_stranger")) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM trading.orders")


# --- who migrates ----------------------------------------------------------------------------------------------------


def test_one_who_owns_nothing_is_told_to_let_the_owner_migrate(books, adapter, tmp_path):
    migrating.downgrade(books, "0002", NOW_NS, backup=False)
    with pytest.raises(StoreDenied, match=r"keel_daemon does not own the tables .*db upgrade.* as the owner"):
        Store.open(Postgres(adapter, backups=tmp_path), now_ns=NOW_NS)


def test_what_deletes_history_is_said_to_be_the_owners(books, adapter, tmp_path):
    books.copy(tmp_path / "copy.zip")
    daemons = Postgres(adapter)
    doing = Restoring(NOW_NS, tmp_path, tmp_path / "replaced", lambda *step: None, lambda name: None)
    for tool in (
        lambda: daemons.restore(tmp_path / "copy.zip", doing),
        lambda: archive(daemons, NOW_NS, tmp_path / "archives", NOW_NS),
        lambda: look(daemons),
    ):
        with pytest.raises(StoreDenied, match=r"keel_daemon may not do that.*run this as the owner of the schema \("):
            tool()
    assert not look(books)


def test_what_an_administrator_puts_back_is_the_owners_as_before(postgres_url, as_role, tmp_path):
    """Else nobody but the administrator could look at it, or change it, from then on."""
    owners = Postgres(as_role("keel_owner"))
    with connected(postgres_url) as admin:
        admin.execute("CREATE SCHEMA trading AUTHORIZATION keel_owner")
        [(database,)] = admin.execute("SELECT current_database()").fetchall()
        admin.execute(f'GRANT CREATE ON DATABASE "{database}" TO keel_owner'.encode())
    desk = s.Desk()
    with Store.open(owners, now_ns=NOW_NS) as store:
        store.commit([desk.opening(), desk.decision()])
    owners.copy(tmp_path / "copy.zip")
    doing = Restoring(NOW_NS, tmp_path, tmp_path / "replaced", lambda *step: None, lambda name: None)
    Postgres(postgres_url).restore(tmp_path / "copy.zip", doing)
    assert verify(owners).ok
    with Store.open(owners, now_ns=NOW_NS) as store:
        store.commit([desk.decision()])
    migrating.downgrade(owners, "0003", NOW_NS, backup=False)
    migrating.upgrade(owners, NOW_NS, backup=False)
    owners.restore(tmp_path / "copy.zip", doing)
    assert verify(owners).ok


def test_one_who_may_not_make_a_schema_is_told_so(postgres_url, as_role):
    url = as_role("keel_nobody")
    with pytest.raises(StoreUnavailable, match=r"keel_nobody may not make a schema|permission denied"):
        Store.open(Postgres(url), now_ns=NOW_NS)


def test_an_owner_who_may_make_no_roles_migrates_and_says_what_is_missing(own_postgres):
    server: PostgresServer = own_postgres()  # the shared one has the role
    there = make_url(server.new_database())

    def as_user(name: str) -> str:
        return there.set(username=name, password="secret").render_as_string(hide_password=False)

    def administrate(*statements: str) -> None:
        with connected(there.render_as_string(hide_password=False)) as admin:
            for statement in statements:
                admin.execute(statement.encode())

    administrate(
        "CREATE ROLE keel_owner LOGIN PASSWORD 'secret'", f"GRANT CREATE ON DATABASE {there.database} TO keel_owner"
    )
    with Store.open(Postgres(as_user("keel_owner")), now_ns=NOW_NS) as store:
        assert store.notes == (rights.WITHOUT_ROLE,)
        store.commit([s.Desk().opening()])

    administrate(
        f"CREATE ROLE {rights.ROLE} NOLOGIN",
        "CREATE ROLE keel_daemon LOGIN PASSWORD 'secret'",
        f"GRANT {rights.ROLE} TO keel_daemon",
    )
    assert migrating.upgrade(Postgres(as_user("keel_owner")), NOW_NS).notes == ()
    with connected(as_user("keel_daemon")) as connection:
        assert connection.execute("SELECT count(*) FROM trading.journal").fetchone() == (3,)


def test_rights_that_somebody_added_are_taken_back_when_the_schema_is_looked_after(books, adapter, postgres_url):
    with connected(postgres_url) as admin:
        admin.execute(f"GRANT ALL ON trading.journal TO {rights.ROLE}".encode())
    migrating.upgrade(books, NOW_NS)
    with connected(adapter) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM trading.journal")
