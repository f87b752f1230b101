"""The schema goes up and down with the books in it, on every database alike; what is not known, or was changed, is refused."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.books.revisions import COLOUR, HEAD, NEXT, PLAIN, with_one_more
from tests.unit.storage import samples as s
from tradekeel.domain.rows import Mode
from tradekeel.errors import InputError, StoreBlocked, StoreTooNew, StoreTooOld
from tradekeel.storage import migrating, schema
from tradekeel.storage.backend import Backend
from tradekeel.storage.backups import copies_of
from tradekeel.storage.planning import plan
from tradekeel.storage.queries import Reader
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store
from tradekeel.storage.tables import metadata
from tradekeel.storage.verify import verify

NOW_NS = 1_700_000_000_000_000_000

COLUMNS = {table.name: [column.name for column in table.columns] for table in metadata.sorted_tables}


@pytest.fixture
def books(at: Backend, tmp_path: Path) -> Backend:
    """Books with a trade in them, and a folder for copies of them."""
    books = at if isinstance(at, Sqlite) else with_backups(at, tmp_path / "backups")
    desk = s.Desk()
    with Store.open(books, now_ns=s.START_NS) as store:
        store.commit([desk.opening(), desk.decision(), desk.filled(1)])
    return books


def with_backups(at: Any, folder: Path) -> Backend:
    """The same database, with a folder for copies."""
    from tradekeel.storage.postgres import Postgres

    return Postgres(at._url.render_as_string(hide_password=False), backups=folder)


def rows(books: Backend, *but: str) -> dict[str, list[tuple]]:
    """All that is in the tables."""
    with closing(books.connect(read_only=True)) as db:
        there = books.tables(db.execute) - {"alembic_version", *but}
        found = {}
        for name in sorted(there):
            cursor: Any = db.execute(f'SELECT * FROM "{name}" LIMIT 0')
            known = [description[0] for description in cursor.description]
            listed = ", ".join(f'"{column}"' for column in COLUMNS.get(name, []) if column in known) or "*"
            found[name] = sorted((tuple(row) for row in db.execute(f'SELECT {listed} FROM "{name}"')), key=repr)
        return found


def without(found: dict[str, list[tuple]], table: str, column: str) -> dict[str, list[tuple]]:
    """The same where a table has no such column."""
    at = COLUMNS[table].index(column)
    return found | {table: sorted(((*row[:at], *row[at + 1 :]) for row in found[table]), key=repr)}


def run(books: Backend, statement: str) -> None:
    """As a person with a tool of his own would."""
    with closing(books.connect()) as db:
        db.execute(statement)


# --- up and down -----------------------------------------------------------------------------------------------------


def test_a_revision_goes_up_and_down_with_the_data_in_place(books, tmp_path):
    versions = with_one_more(tmp_path / "versions", COLOUR)
    before = rows(books, "migration_history")

    up = migrating.upgrade(books, NOW_NS, versions=versions)
    assert [(row.revision, row.from_revision) for row in up.applied] == [(NEXT, HEAD)]
    with closing(books.connect(read_only=True)) as db:
        assert [tuple(row) for row in db.execute("SELECT colour FROM trades")] == [("blue",)]
        assert '"layer":1' in db.execute("SELECT details FROM strategy_events").fetchone()[0]
    with pytest.raises(StoreTooNew):
        Store.open(books, now_ns=NOW_NS)

    down = migrating.downgrade(books, HEAD, NOW_NS + s.SECOND, versions=versions)
    assert [(row.revision, row.from_revision) for row in down.applied] == [(HEAD, NEXT)]
    assert rows(books, "migration_history") == before
    assert verify(books).ok
    logged = migrating.history(books)
    assert [(row.revision, row.from_revision) for row in logged[-2:]] == [(NEXT, HEAD), (HEAD, NEXT)]
    assert logged[-1].checksum == logged[-2].checksum == up.applied[0].checksum
    assert [row.backup for row in logged[-2:]] == [up.applied[0].backup, down.applied[0].backup]

    again = migrating.upgrade(books, NOW_NS + 2 * s.SECOND, versions=versions)
    assert again.applied[0].revision == NEXT


def test_all_revisions_but_the_first_go_down_and_up_with_the_data_in_place(books):
    before = rows(books, "migration_history")
    down = migrating.downgrade(books, "0001", NOW_NS)
    assert [row.from_revision for row in down.applied] == list(reversed(schema.REVISIONS[1:]))
    earlier = rows(books, "schema_migrations")
    assert earlier == {name: found for name, found in without(before, "orders", "closes").items() if name in earlier}
    assert [row.revision for row in migrating.history(books)] == ["0001"]

    with Store.open(books, now_ns=NOW_NS + s.SECOND) as store:
        assert [row.revision for row in store.migrations] == list(schema.REVISIONS[1:])
        assert all(row.backup for row in store.migrations)
    assert rows(books, "migration_history") == before
    assert {row.revision: row.checksum for row in migrating.history(books)} == schema.CHECKSUMS
    assert verify(books).ok


def test_orders_from_before_close_nothing_and_the_column_goes_and_comes_with_the_data_in_place(books):
    before = rows(books, "migration_history")
    migrating.downgrade(books, "0004", NOW_NS)
    assert rows(books, "migration_history") == without(before, "orders", "closes")
    migrating.upgrade(books, NOW_NS + s.SECOND)
    assert rows(books, "migration_history") == before
    with closing(books.connect(read_only=True)) as db:
        assert {row[0] for row in db.execute("SELECT CAST(closes AS TEXT) FROM orders")} == {"[]"}
    assert verify(books).ok


def test_books_in_which_an_entry_turned_do_not_go_back_to_a_schema_that_knows_none(books):
    run(books, """UPDATE orders SET closes = '["tr-1"]'""")
    before = rows(books)
    with pytest.raises(InputError, match="orders of these books closed trades and opened others at once"):
        migrating.downgrade(books, "0004", NOW_NS)
    assert rows(books) == before


def test_what_is_kept_by_hand_has_no_place_in_the_first_schema_and_nothing_is_lost(books):
    kept = s.execution(name="by-hand", number=7, account="drawer", mode=Mode.MANUAL)
    with Store.open(books, now_ns=NOW_NS) as store:
        store.commit([s.group(s.noted(), rows=(kept,))])
    before = rows(books)
    with pytest.raises(InputError, match="1 executions are kept by hand"):
        migrating.downgrade(books, "0001", NOW_NS)
    assert rows(books) == before


@pytest.mark.parametrize("target", ["base", "0000", "9999", HEAD + "x"])
def test_there_is_no_way_back_to_what_is_no_earlier_schema(books, target):
    with pytest.raises(InputError, match=f"allowed: {', '.join(schema.REVISIONS[:-1])}"):
        migrating.downgrade(books, target, NOW_NS)


def test_a_revision_that_fails_changes_nothing_and_the_next_try_succeeds(books, tmp_path):
    painted = "    op.execute(\"UPDATE trades SET colour = 'blue'\")\n"
    assert painted in COLOUR
    failing = with_one_more(
        tmp_path / "failing", COLOUR.replace(painted, painted + '    op.execute("SELECT nonsense")\n')
    )
    before = rows(books)
    with pytest.raises(Exception, match="nonsense"):
        migrating.upgrade(books, NOW_NS, versions=failing)
    assert rows(books) == before
    assert migrating.upgrade(books, NOW_NS, versions=with_one_more(tmp_path / "versions", COLOUR)).applied


# --- what is refused -------------------------------------------------------------------------------------------------


async def test_books_that_another_migration_of_that_name_has_changed_are_refused_and_it_is_named(books):
    run(books, f"UPDATE migration_history SET checksum = 'another' WHERE version = '{HEAD}'")
    said = f"schema {HEAD} by a migration of that name which said something else"
    with pytest.raises(StoreBlocked, match=said):
        Store.open(books, now_ns=NOW_NS)
    with pytest.raises(StoreBlocked, match=said):
        async with Reader(books):
            pass
    with pytest.raises(StoreBlocked, match=said):
        migrating.upgrade(books, NOW_NS)


def test_a_changed_migration_that_was_taken_back_is_forgiven(books, tmp_path):
    migrating.upgrade(books, NOW_NS, versions=with_one_more(tmp_path / "first", COLOUR))
    migrating.downgrade(books, HEAD, NOW_NS, versions=tmp_path / "first")
    changed = with_one_more(tmp_path / "second", COLOUR.replace("'blue'", "'red'"))
    assert migrating.upgrade(books, NOW_NS, versions=changed).applied
    with pytest.raises(StoreBlocked, match=f"schema {NEXT} by a migration of that name"):
        migrating.upgrade(books, NOW_NS, versions=tmp_path / "first")


def test_a_program_whose_migrations_are_not_those_it_was_released_with_changes_nothing(books, tmp_path):
    versions = with_one_more(tmp_path / "versions", COLOUR)
    [last] = versions.glob(f"r{HEAD}_*.py")
    last.write_text(last.read_text() + "\nsomething = 1\n")
    before = rows(books)
    with pytest.raises(StoreBlocked, match=f"migration {HEAD} is not what it was when it was released"):
        migrating.upgrade(books, NOW_NS, versions=versions)
    assert rows(books) == before


def test_a_start_that_may_not_migrate_says_what_to_run(books):
    migrating.downgrade(books, "0001", NOW_NS)
    before = rows(books)
    with pytest.raises(StoreTooOld, match=f"schema 0001, this version needs {HEAD}.*tradekeel db upgrade"):
        Store.open(books, now_ns=NOW_NS, migrate=False)
    assert rows(books) == before
    migrating.upgrade(books, NOW_NS)
    Store.open(books, now_ns=NOW_NS, migrate=False).close()


# --- dry runs --------------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(books, tmp_path):
    migrating.downgrade(books, "0001", NOW_NS)
    before = rows(books), files(books, tmp_path)
    found = plan(books, sql=True)
    assert found.version == "0001"
    assert [step.revision for step in found.steps] == list(schema.REVISIONS[1:])
    assert "backups" in found.backup
    assert found.problem is None
    assert found.sql is not None
    assert "CREATE TABLE tasks" in found.sql
    assert f"UPDATE alembic_version SET version_num='{HEAD}'" in found.sql
    assert (rows(books), files(books, tmp_path)) == before


def test_the_sql_of_a_dry_run_is_what_is_run(books, tmp_path):
    versions = with_one_more(tmp_path / "versions", PLAIN)
    text = plan(books, sql=True, versions=versions).sql
    assert text is not None
    with closing(books.connect()) as db:
        for statement in text.split(";"):
            if statement.strip():
                db.execute(statement)
        assert "colours" in books.tables(db.execute)
        assert schema.version_of(db.execute, books) == NEXT


def test_a_dry_run_of_the_way_back_says_it_in_its_order(books):
    found = plan(books, "0001", sql=True)
    assert [step.revision for step in found.steps] == list(reversed(schema.REVISIONS[1:]))
    assert found.sql is not None
    assert "DROP TABLE tasks" in found.sql


def test_nothing_would_be_done_with_books_that_are_up_to_date(books):
    found = plan(books, sql=True)
    assert (found.version, found.steps, found.sql) == (HEAD, (), None)


def files(books: Backend, tmp_path: Path) -> set[str]:
    folder = copies_of(books.path).folder if isinstance(books, Sqlite) else tmp_path / "backups"
    return {file.name for file in folder.iterdir()} if folder.exists() else set()
