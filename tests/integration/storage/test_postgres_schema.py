"""What the books are on PostgreSQL: the tables that the code believes in, and beside them what people and tools read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from random import Random
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec import structs
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from tests.servers.postgres import connected
from tests.unit.storage import samples as s
from tests.unit.storage.rounds import Trader
from tradekeel.domain.money import ledger
from tradekeel.domain.orders import Side
from tradekeel.domain.rows import STARTED_FRESH, Mode
from tradekeel.storage import migrating, schema
from tradekeel.storage.archiving.moving import archive
from tradekeel.storage.fitting import INDEXED_BYTES_MAX
from tradekeel.storage.postgres import Postgres, objects, rights
from tradekeel.storage.promised import promise
from tradekeel.storage.store import Store
from tradekeel.storage.tables import metadata

NOW_NS = 1_700_000_000_000_000_000

# What only PostgreSQL has, readable times and updated_at, stands behind a table's own columns in new books, and before one
# that was added later in older ones.
CATALOGUE = {
    "columns": """
        SELECT c.relname, a.attname,
            row_number() OVER (PARTITION BY c.oid, a.attgenerated <> '' OR a.attname = 'updated_at' ORDER BY a.attnum),
            format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated,
            pg_get_expr(d.adbin, d.adrelid)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'trading'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, convalidated, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'trading'::regnamespace""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'trading'",
    "triggers": """
        SELECT tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'trading'::regnamespace""",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'trading'",
    "sequences": "SELECT sequencename, data_type::text, last_value FROM pg_sequences WHERE schemaname = 'trading'",
    "rights": "SELECT relname, relowner::regrole::text, relacl::text FROM pg_class WHERE relnamespace = 'trading'::regnamespace",
    "version": "SELECT version_num FROM alembic_version",
    "history": "SELECT id, version, name, applied_ns, applied_time, checksum, from_version, backup FROM migration_history",
}


@pytest.fixture
def books(postgres_url: str) -> Postgres:
    """Empty books."""
    made = Postgres(postgres_url)
    Store.open(made, now_ns=NOW_NS).close()
    return made


@pytest.fixture
def db(books: Postgres, postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of a person with a tool of his own, the owner of everything."""
    with connected(postgres_url) as connection:
        connection.execute("SET search_path = trading")
        yield connection


def catalogue(db: psycopg.Connection[Any]) -> dict[str, list[tuple]]:
    """All that the server knows of the schema, and what new books hold."""
    found = {kind: db.execute(question.encode()).fetchall() for kind, question in CATALOGUE.items()}
    return {kind: sorted(rows, key=repr) for kind, rows in found.items()}


@pytest.fixture
def migrated(db: psycopg.Connection[Any], postgres_url: str) -> Postgres:
    """In their place books that were made by one revision after the other."""
    db.execute("DROP SCHEMA trading CASCADE")
    made = Postgres(postgres_url)
    migrating.upgrade(made, NOW_NS, versions=migrating.VERSIONS)
    return made


# --- migrations and tables -------------------------------------------------------------------------------------------


def test_migrations_make_the_tables_that_alembic_expects(migrated, postgres_url):
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(postgres_url, options="-c search_path=trading"),
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), _with_companions()) == []


def _with_companions() -> Any:
    """The tables with the columns that Alembic would take for too many."""
    from sqlalchemy import Column, Computed, FetchedValue, MetaData
    from sqlalchemy.dialects.postgresql import TIMESTAMP

    copied = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        copy = table.to_metadata(copied)
        for name in objects.nanoseconds(table):
            copy.append_column(
                Column(objects.readable_name(name), TIMESTAMP(timezone=True), Computed("x", persisted=True))
            )
        if table.name in objects.UPDATED:
            updated = Column("updated_at", TIMESTAMP(timezone=True), nullable=False, server_default=FetchedValue())
            copy.append_column(updated)
    return copied


def test_new_books_are_what_the_migrations_make_down_to_the_last_rule_and_row(db, request):
    at_once = catalogue(db)
    request.getfixturevalue("migrated")
    by_migrations = catalogue(db)
    for kind in CATALOGUE:
        assert at_once[kind] == by_migrations[kind], kind
        assert at_once[kind], kind


def test_both_databases_have_the_same_constraints_references_and_indexes(db):
    """They are made from one description; what a database alone has is named here."""
    names = {
        name for (name,) in db.execute("SELECT conname FROM pg_constraint WHERE connamespace = 'trading'::regnamespace")
    }
    described = {str(rule.name) for table in metadata.tables.values() for rule in table.constraints}
    with closing(create_engine("sqlite://").connect()) as sqlite:
        metadata.create_all(sqlite)
        laid_down = " ".join(
            sql for (sql,) in sqlite.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
        )
        indexes = {name for (name,) in sqlite.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'")}
    written = {name for name in names if f"CONSTRAINT {name} " in laid_down}
    only_here = {name for name in names - written if not name.endswith("_not_null")}
    assert only_here <= {"alembic_version_pkc"}
    assert described - {"None"} >= written
    found = {name for (name,) in db.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'trading'")}
    assert {name for name in found if name.startswith("ix_")} == {name for name in indexes if name.startswith("ix_")}


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "readable"),
    [
        ("ts_ns", "ts_time"),
        ("created_ns", "created_time"),
        ("generated_at_ns", "generated_at"),
        ("entry_time_ns", "entry_time"),
    ],
)
def test_the_readable_time_of_a_column_has_its_name(column, readable):
    assert objects.readable_name(column) == readable


def test_every_time_has_a_readable_one_beside_it(db):
    missing = db.execute(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'trading'::regnamespace AND c.relkind = 'r' AND a.attname LIKE '%\\_ns' "
        "AND NOT EXISTS (SELECT 1 FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attgenerated = 's' AND "
        "b.attname IN (replace(a.attname, '_ns', ''), replace(a.attname, '_ns', '_time')))"
    ).fetchall()
    assert missing == []


@pytest.mark.parametrize(
    ("ts_ns", "shown"),
    [
        (0, "1970-01-01 00:00:00+00"),
        (1_400_000_000_123_456_789, "2014-05-13 16:53:20.123456+00"),
        (1_711_846_800_999_999_999, "2024-03-31 01:00:00.999999+00"),
        (4_102_444_799_999_999_999, "2099-12-31 23:59:59.999999+00"),
    ],
)
def test_a_readable_time_is_the_time_to_the_microsecond(db, ts_ns, shown):
    db.execute(
        "INSERT INTO position_notes (account, instrument, position_ref, note, tag, owner, updated_ns) "
        "VALUES ('a', 'b', '', '', '', '', %s)",
        (ts_ns,),
    )
    db.execute("SET timezone = 'UTC'")
    assert db.execute("SELECT updated_time::text FROM position_notes").fetchone() == (shown,)


def test_a_row_says_when_it_was_last_written(db):
    db.execute(
        "INSERT INTO position_notes (account, instrument, position_ref, note, tag, owner, updated_ns) "
        "VALUES ('a', 'b', '', '', '', '', 0)"
    )
    [(first,)] = db.execute("SELECT updated_at FROM position_notes")
    db.execute("UPDATE position_notes SET note = 'x'")
    [(second,)] = db.execute("SELECT updated_at FROM position_notes")
    assert second > first


def test_the_tables_whose_rows_are_updated_are_those_that_are_written_again(db):
    """The role may update them, and nothing else."""
    assert {name for name, given in rights.TABLE_RIGHTS.items() if "UPDATE" in given} == objects.UPDATED


@pytest.mark.parametrize("field", ["venue_order_id", "parent_id", "instrument"])
def test_what_may_be_promised_a_place_fits_into_every_index(books, seed, field):
    """The longest texts that are promised anything while the server is away, of letters that cannot be made shorter."""
    letters = Random(seed)
    text = "".join(letters.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(INDEXED_BYTES_MAX - 200))
    desk = s.Desk()
    with Store.open(books, now_ns=NOW_NS) as store:
        store.commit([desk.opening(), desk.decision()])
        parent = s.order(7, client_order_id=text) if field == "parent_id" else s.order(7)
        for order in (parent, s.order(8, **{field: text})):
            group = s.group(s.noted(), rows=(structs.replace(order, trade_id=None, signal_id=None),))
            promise(group, 1)
            [written] = store.commit([group])
            assert not isinstance(written, Exception), written


# --- the journal, positions, health ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement", ["UPDATE journal SET type = 'x'", "DELETE FROM journal", "TRUNCATE journal CASCADE"]
)
def test_the_journal_is_append_only(books, db, statement):
    with Store.open(books, now_ns=NOW_NS) as store:
        store.commit([s.Desk().opening()])
    with pytest.raises(psycopg.IntegrityError, match="append only"):
        db.execute(statement.encode())


def position(db: psycopg.Connection[Any], account: str = "paper-1") -> list[tuple]:
    return db.execute(
        "SELECT instrument, position_ref, quantity, bought_value, sold_value, fee, fills FROM positions "
        "WHERE account = %s ORDER BY 1, 2",
        (account,),
    ).fetchall()


def test_a_position_is_the_exact_net_of_its_fills(books, db):
    tiny, odd = Decimal("0.000000000000000000000001"), Decimal("12345678901234567890.123456789")
    fills = (
        s.fill(1, quantity=odd, price=Decimal("1.1"), fee=tiny),
        s.fill(2, quantity=tiny, price=Decimal(3), fee=tiny),
        s.fill(3, quantity=Decimal(1), price=Decimal(2), side=Side.SELL, fee=Decimal(0)),
        s.fill(4, quantity=Decimal(7), price=Decimal(1), position_ref="leg", fee=Decimal(0)),
    )
    desk = s.Desk()
    with Store.open(books, now_ns=NOW_NS) as store:
        store.commit([desk.opening(), s.group(s.noted(), rows=fills)])
    with ledger():  # 50 digits, and nothing is rounded
        net, bought = odd + tiny - 1, odd * Decimal("1.1") + 3 * tiny
    assert position(db) == [("EUR_USD", "", net, bought, 2, 2 * tiny, 3), ("EUR_USD", "leg", 7, 7, 0, 0, 1)]


@pytest.mark.parametrize("records_max", [5, 50_000])
def test_what_was_archived_is_in_the_positions(books, db, tmp_path, records_max):
    everything = "SELECT * FROM positions ORDER BY account, venue, instrument, position_ref"
    trader = Trader()
    with Store.open(books, now_ns=NOW_NS) as store:
        store.commit([trader.opening(), *trader.round_trip(), *trader.round_trip(), trader.entry(), trader.closed()])
    before = db.execute(everything).fetchall()
    assert len(before) == 1
    assert archive(books, 2**62, tmp_path, NOW_NS, records_max=records_max)
    assert db.execute("SELECT count(*) FROM fills").fetchone() == (0,)
    assert db.execute(everything).fetchall() == before


def test_positions_go_on_from_run_to_run_until_an_account_begins_anew_and_backtests_are_none(books, db):
    def run(name: str, number: int, **changes: Any) -> Any:
        return s.execution(name=name, number=number, status="closed", closed_ns=NOW_NS, **changes)

    def bought(number: int, run: str) -> Any:
        return s.group(s.noted(), rows=(s.fill(number, run=run, quantity=Decimal(10) ** number),), run=run)

    with Store.open(books, now_ns=NOW_NS) as store:
        store.commit([s.group(s.noted(), rows=(run("e1", 1),), run="e1"), bought(1, "e1")])
        store.commit([s.group(s.noted(), rows=(run("e2", 2),), run="e2"), bought(2, "e2")])
        assert [row[2] for row in position(db)] == [110]
        store.commit([s.group(s.noted(), rows=(run("e3", 3, close_reason=STARTED_FRESH),), run="e3"), bought(3, "e3")])
        assert position(db) == []
        store.commit([s.group(s.noted(), rows=(run("e4", 4),), run="e4"), bought(4, "e4")])
        store.commit([s.group(s.noted(), rows=(run("e5", 5, mode=Mode.MANUAL),), run="e5"), bought(5, "e5")])
        store.commit([s.group(s.noted(), rows=(run("e6", 6, mode=Mode.BACKTEST),), run="e6"), bought(6, "e6")])
    assert [row[2] for row in position(db)] == [110_000]


def test_the_health_check_says_how_it_is_in_one_row(books, db):
    with Store.open(books, now_ns=NOW_NS) as store:
        store.commit([s.Desk().opening()])
    db.execute("ANALYZE journal")
    cursor = db.execute("SELECT * FROM health_check()")
    names = [column.name for column in cursor.description or ()]
    [row] = cursor.fetchall()
    said = dict(zip(names, row, strict=True))
    assert said["server_version"] == db.execute("SHOW server_version").fetchone()[0]
    assert said["in_recovery"] is False
    assert said["schema_revision"] == schema.HEAD
    assert said["journal_rows_estimate"] == 3
    assert said["executions_running"] == 1
    assert said["connections"] >= 1
    assert said["database_bytes"] > 0
    assert said["now"].tzinfo is not None
