"""Migrations make exactly the tables that the code believes in, and change files that hold data without losing any of it."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.unit.storage import samples as s
from tradekeel.errors import InputError, StoreCorrupt, StoreTooNew
from tradekeel.storage import migrating, revisions, schema, tables
from tradekeel.storage.archiving.moving import archive
from tradekeel.storage.backups import copies_of
from tradekeel.storage.migrating import MigrationApplied
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify

NOW_NS = 1_700_000_000_000_000_000
NOW = "20231114T221320Z"

HEAD = schema.HEAD
NEXT, AFTER_NEXT = (f"{int(HEAD) + number:04}" for number in (1, 2))
"""Of revisions that only these tests have."""

ADD_A_COLUMN = '''"""Trades get a colour"""

import sqlalchemy as sa
from alembic import op

revision = "NEXT"
down_revision = "HEAD"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trades", sa.Column("colour", sa.Text(), nullable=True))
    op.execute("UPDATE trades SET colour = 'blue'")
    with op.batch_alter_table("fills") as fills:  # rebuilds the table
        fills.alter_column("venue", new_column_name="market")


def downgrade() -> None:
    with op.batch_alter_table("fills") as fills:
        fills.alter_column("market", new_column_name="venue")
    op.drop_column("trades", "colour")
'''.replace("NEXT", NEXT).replace("HEAD", HEAD)

PAINT = "    op.execute(\"UPDATE trades SET colour = 'blue'\")\n"
FAIL_HALFWAY = ADD_A_COLUMN.replace(PAINT, PAINT + '    op.execute("SELECT nonsense")\n')
LOSE_A_PARENT = ADD_A_COLUMN.replace(PAINT, '    op.execute("DELETE FROM signals")\n')
assert ADD_A_COLUMN not in (FAIL_HALFWAY, LOSE_A_PARENT)


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """The real revisions, and room for more."""
    folder = tmp_path / "versions"
    shutil.copytree(migrating.MIGRATIONS / "versions", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def migrated(tmp_path: Path) -> Path:
    """New books, made by one revision after the other."""
    path = tmp_path / "migrated" / "books.db"
    path.parent.mkdir()
    migrating.upgrade(path, NOW_NS, versions=migrating.VERSIONS)
    return path


@pytest.fixture
def books(path: Path) -> Path:
    """Books with a trade in them."""
    desk = s.Desk()
    with Store.open(path, now_ns=NOW_NS) as store:
        store.commit([desk.opening(), desk.decision(), desk.filled(1)])
    return path


def dump(path: Path, *but: str) -> dict[str, list[tuple]]:
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in names if name not in but}


def structure(path: Path) -> dict[str, list[str]]:
    """What SQLite was told, whatever the order of the rules within a table."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        # A table that was rebuilt bears its name in quotes; a column that was added stands in the line of the one before it.
        return {name: sorted(re.sub(r'[,"]', "", line).strip() for line in _lines(sql)) for name, sql in rows}


def _lines(sql: str) -> list[str]:
    return re.sub(r", (?=\w+ \w+ DEFAULT )", ",\n", sql).splitlines()


def columns(path: Path) -> dict[str, list[tuple]]:
    """The columns of each table in their order."""
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: db.execute(f"PRAGMA table_xinfo({name})").fetchall() for name in names}


# --- migrations and tables -------------------------------------------------------------------------------------------


def test_migrations_make_the_tables_that_alembic_expects(migrated):
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(migrated), poolclass=NullPool)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_new_books_are_word_for_word_what_the_migrations_make(migrated, path):
    """Alembic does not compare checks, partial indexes and triggers; SQLite remembers them all."""
    Store.open(path, now_ns=NOW_NS).close()
    assert structure(path) == structure(migrated)
    assert columns(path) == columns(migrated)


def test_new_books_hold_row_for_row_what_the_migrations_write(migrated, path):
    with Store.open(path, now_ns=NOW_NS) as store:
        assert list(store.migrations) == migrating.history(migrated)
    assert dump(path) == dump(migrated)


def test_the_known_revisions_are_the_files_and_say_what_they_said_when_they_were_released():
    assert revisions.checksums_in(migrating.VERSIONS) == schema.CHECKSUMS


def test_the_revisions_follow_each_other_and_are_called_what_the_history_of_new_books_says():
    script = ScriptDirectory.from_config(migrating.alembic_config(None))
    found = [revision.revision for revision in script.walk_revisions()]
    assert tuple(reversed(found)) == schema.REVISIONS
    assert {name: script.get_revision(name).doc for name in found} == schema.NAMES
    assert script.get_heads() == [schema.HEAD]


# --- at the start ----------------------------------------------------------------------------------------------------


def test_a_new_file_is_made_at_once_and_the_log_tells_of_every_revision(path):
    with Store.open(path, now_ns=NOW_NS) as store:
        made = store.migrations
    assert made[0] == MigrationApplied("0001", None, "The first tables", NOW_NS, None, schema.CHECKSUMS["0001"])
    assert {applied.revision: applied.checksum for applied in made} == schema.CHECKSUMS
    assert [applied.from_revision for applied in made] == [None, *schema.REVISIONS[:-1]]
    assert migrating.history(path) == list(made)
    assert not (path.parent / "backups").exists(), "there was nothing to copy"


def test_a_current_file_is_left_as_it_is(books):
    with Store.open(books, now_ns=NOW_NS + 1) as store:
        assert store.migrations == ()
    assert len(migrating.history(books)) == len(schema.REVISIONS)


@pytest.mark.parametrize("what", ["books", "path"])
def test_what_a_current_file_or_a_new_one_does_not_need_is_not_even_imported(what, request):
    code = (
        "import sys; from pathlib import Path; from tradekeel.storage.store import Store\n"
        "Store.open(Path(sys.argv[1]), now_ns=0).close()\n"
        "unused = ('alembic', 'aiosqlite', 'sqlalchemy.ext.asyncio', 'mako', 'sqlalchemy.dialects.postgresql')\n"
        "print([name for name in unused if name in sys.modules])"
    )
    file = str(request.getfixturevalue(what))
    answer = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.untraced
def test_a_kill_anywhere_in_the_making_of_new_books_leaves_none_or_all_of_them(migrated, tmp_path):
    """Before every statement; the next start makes them, or finds them made."""
    new = tmp_path / "new" / "books.db"
    command = [sys.executable, "-m", "tests.unit.storage.migrator", str(new), "-", str(tmp_path / "kills")]
    killed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()
    assert len(killed) > 50
    made = set()
    for place in map(Path, killed):
        left = place / new.name
        found = dump(left) if left.exists() else {}
        assert found in ({}, dump(migrated)), place
        made.add(bool(found))
        if place in (Path(killed[0]), Path(killed[len(killed) // 2]), Path(killed[-1])):
            Store.open(left, now_ns=NOW_NS).close()
            assert dump(left) == dump(migrated), place
    assert False in made


def test_an_empty_file_is_a_new_one(path):
    path.touch()
    with Store.open(path, now_ns=NOW_NS) as store:
        assert len(store.migrations) == len(schema.REVISIONS)


# --- a later revision ------------------------------------------------------------------------------------------------


def test_a_revision_changes_a_file_with_data_and_keeps_the_data(books, versions):
    before = dump(books, "alembic_version", "migration_history")
    (versions / f"r{NEXT}_colour.py").write_text(ADD_A_COLUMN)

    [applied] = migrating.upgrade(books, NOW_NS, versions=versions).applied
    copy = f"{books.stem}-{HEAD}-{NOW}.db"
    checksum = revisions.checksum_of(ADD_A_COLUMN)
    assert applied == MigrationApplied(NEXT, HEAD, "Trades get a colour", NOW_NS, copy, checksum)

    after = dump(books, "alembic_version", "migration_history")
    assert [row[-1] for row in after.pop("trades")] == ["blue"]
    trades = before.pop("trades")
    assert after == before
    with pytest.raises(StoreTooNew):
        Store.open(books, now_ns=NOW_NS)

    migrating.downgrade(books, HEAD, NOW_NS, versions=versions)
    assert dump(books, "alembic_version", "migration_history") == before | {"trades": trades}
    assert verify(books).ok


def test_the_backup_is_the_file_as_it_was(books, versions):
    before = dump(books)
    (versions / f"r{NEXT}_colour.py").write_text(ADD_A_COLUMN)
    backup = copies_of(books).name(HEAD, NOW_NS)
    migrating.upgrade(books, NOW_NS, versions=versions)
    assert dump(backup) == before
    assert verify(backup).ok


def test_a_revision_that_fails_changes_nothing(books, versions):
    before = dump(books), structure(books)
    (versions / f"r{NEXT}_colour.py").write_text(FAIL_HALFWAY)
    with pytest.raises(OperationalError):
        migrating.upgrade(books, NOW_NS, versions=versions)
    assert (dump(books), structure(books)) == before
    with Store.open(books, now_ns=NOW_NS) as store:
        assert store.last_sequence(s.RUN) == 5


def test_a_revision_that_would_break_references_changes_nothing(books, versions):
    before = dump(books)
    (versions / f"r{NEXT}_colour.py").write_text(LOSE_A_PARENT)
    with pytest.raises(StoreCorrupt, match="without what they refer to"):
        migrating.upgrade(books, NOW_NS, versions=versions)
    assert dump(books) == before


def test_without_a_backup_there_is_no_migration(books, versions):
    before = dump(books)
    (versions / f"r{NEXT}_colour.py").write_text(ADD_A_COLUMN)
    copies_of(books).name(HEAD, NOW_NS).parent.write_text("no folder")
    with pytest.raises(OSError, match="backups"):
        migrating.upgrade(books, NOW_NS, versions=versions)
    assert dump(books) == before


def test_a_copy_of_the_same_second_is_kept_and_the_next_one_is_numbered(books, versions):
    (versions / f"r{NEXT}_colour.py").write_text(ADD_A_COLUMN)
    taken = copies_of(books).name(HEAD, NOW_NS)
    taken.parent.mkdir()
    taken.write_text("an earlier copy")
    [applied] = migrating.upgrade(books, NOW_NS, versions=versions).applied
    assert applied.backup == f"{books.stem}-{HEAD}-{NOW}-2.db"
    assert taken.read_text() == "an earlier copy"


@pytest.mark.untraced
def test_a_kill_anywhere_in_a_migration_leaves_the_file_as_it_was_or_as_it_should_be(books, versions, tmp_path):
    """Before every statement and every call that changes a file; the next start goes on from either."""
    (versions / f"r{NEXT}_colour.py").write_text(ADD_A_COLUMN)
    before = dump(books)
    command = [sys.executable, "-m", "tests.unit.storage.migrator", str(books), str(versions), str(tmp_path / "kills")]
    killed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()
    assert len(killed) > 40
    versions_left = set()
    for place in map(Path, killed):
        left = place / books.name
        with closing(sqlite3.connect(left)) as db:
            [(version,)] = db.execute("SELECT version_num FROM alembic_version").fetchall()
        versions_left.add(version)
        if version == HEAD:
            assert dump(left) == before, place
            migrating.upgrade(left, NOW_NS, versions=versions)
        assert [row[-1] for row in dump(left)["trades"]] == ["blue"], place
        *_, applied = migrating.history(left)
        assert dump(left.parent / "backups" / applied.backup) == before, place
        copies_of(left).forget(1)
        assert len(list((place / "backups").iterdir())) == 1, place
    assert versions_left == {HEAD, NEXT}


def test_only_the_newest_backups_stay_and_other_files_are_left_alone(books):
    folder = copies_of(books).name(HEAD, NOW_NS).parent
    folder.mkdir()
    ours = []
    for version, second in (("0002", 0), ("0001", 1), ("0001", 1), ("0003", 2)):
        ours.append(copies_of(books).name(version, NOW_NS + second * s.SECOND))
        ours[-1].touch()
    others = [folder / "mine.db", folder / f"other-{HEAD}-{NOW}.db", folder / f"other-{HEAD}-{NOW}.db.partial"]
    others += [folder / f"{books.stem}-old-{HEAD}-{NOW}.db", folder / f"{books.stem}-old-{HEAD}-{NOW}.db.partial"]
    half_made = folder / f"{books.stem}-{HEAD}-{NOW}.db.partial"
    for file in (half_made, *others):
        file.touch()
    copies_of(books).forget(2)
    assert set(folder.iterdir()) == {*ours[2:], *others}


def tries(books: Path, versions: Path, count: int, kept: int) -> None:
    """Attempts at a migration that fails, a second apart."""
    for number in range(1, count + 1):
        with pytest.raises(OperationalError):
            migrating.upgrade(books, NOW_NS + number * s.SECOND, versions=versions, backups_kept=kept)


def copies(books: Path) -> list[str]:
    return sorted(file.name for file in (books.parent / "backups").iterdir())


def test_tries_that_fail_do_not_fill_the_disk(books, versions):
    (versions / f"r{NEXT}_colour.py").write_text(FAIL_HALFWAY)
    newest = [copies_of(books).name(HEAD, NOW_NS + number * s.SECOND).name for number in (4, 5)]
    tries(books, versions, 5, 2)
    assert copies(books) == newest


def test_a_copy_is_kept_whatever_the_clock_said_before_and_half_made_ones_go_first(books, versions):
    (versions / f"r{NEXT}_colour.py").write_text(FAIL_HALFWAY)
    later = copies_of(books).name(HEAD, NOW_NS + 86_400 * s.SECOND)
    later.parent.mkdir()
    later.touch()
    later.with_name(later.name + ".partial").touch()
    tries(books, versions, 1, 1)
    [kept] = copies(books)
    assert kept != later.name


def test_the_copy_of_the_last_migration_that_succeeded_outlives_all_tries_that_fail(books, versions):
    (versions / f"r{NEXT}_colour.py").write_text(ADD_A_COLUMN)
    [applied] = migrating.upgrade(books, NOW_NS, versions=versions).applied
    halfway = FAIL_HALFWAY.replace(f'"{NEXT}"', f'"{AFTER_NEXT}"').replace(f'"{HEAD}"', f'"{NEXT}"')
    (versions / f"r{AFTER_NEXT}_halfway.py").write_text(halfway)
    for number in range(1, 4):
        with pytest.raises(OperationalError):
            migrating.upgrade(books, NOW_NS + number * s.SECOND, versions=versions, backups_kept=1)
        assert len(copies(books)) == 2
        assert applied.backup in copies(books)


COUNTING = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000) SELECT count(*) FROM n"
"""What takes SQLite long enough to give signs."""


def test_what_takes_long_gives_signs_that_it_goes_on(books, versions):
    (versions / f"r{NEXT}_colour.py").write_text(ADD_A_COLUMN.replace(PAINT, PAINT + f'    op.execute("{COUNTING}")\n'))
    said: list[str] = []
    migrating.upgrade(books, NOW_NS, versions=versions, progress=said.append)
    assert any(text.startswith(f"copying {books} to ") and text.endswith(": 100 %") for text in said)
    assert said[-1] == f"migrating {books} from schema {HEAD}"


class Enough(Exception):
    """Somebody wants it to end."""


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_it_can_be_ended_before_anything_was_changed_and_leaves_no_half_made_copy(books, versions, looks):
    (versions / f"r{NEXT}_colour.py").write_text(ADD_A_COLUMN)
    seen: list[str] = []
    before = dump(books)

    def heed() -> None:
        if len(seen) == looks:
            raise Enough
        seen.append("a look")

    with pytest.raises(Enough):
        migrating.upgrade(books, NOW_NS, versions=versions, heed=heed)
    assert dump(books) == before
    made = copies(books) if (books.parent / "backups").exists() else []
    assert made == ([f"{books.stem}-{HEAD}-{NOW}.db"] if looks == 2 else []), "a whole one may stay"


def test_a_migration_that_has_begun_is_finished(books, versions):
    begun: list[bool] = []

    def heed() -> None:
        if begun:
            raise Enough

    def doing(what: str) -> None:
        begun.extend([True] * what.startswith("migrating"))

    (versions / f"r{NEXT}_colour.py").write_text(ADD_A_COLUMN.replace(PAINT, PAINT + f'    op.execute("{COUNTING}")\n'))
    assert migrating.upgrade(books, NOW_NS, versions=versions, progress=doing, heed=heed).applied
    assert begun


def test_the_first_revision_can_be_taken_back_too(path):
    Store.open(path, now_ns=NOW_NS).close()
    with Sqlite(path).migrating(lambda: None, lambda: None) as connection:
        config = migrating.alembic_config(None)
        config.attributes["connection"] = connection
        migrating.run_revisions(config, "base")
    assert set(dump(path)) == {"alembic_version"}


def test_books_with_archives_do_not_go_back_to_a_schema_that_knows_none(books: Path) -> None:
    assert verify(books).ok
    assert archive(Sqlite(books), 2**62, books.parent / "archives", NOW_NS)
    with pytest.raises(InputError, match="1 archives belong to these books"):
        migrating.downgrade(books, "0003", NOW_NS)
    assert verify(books).ok
