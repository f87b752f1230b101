"""Migrations of books on a server: one at a time, alone, after a copy, and whole or not at all."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event

import psycopg
import pytest

from tests import cradle
from tests.conformance.books.revisions import COLOUR, HEAD, NEXT, with_one_more
from tests.servers.postgres import connected
from tests.unit.storage import samples as s
from tradekeel.errors import StoreBlocked, StoreHeld
from tradekeel.runtime.clock import pause
from tradekeel.storage import migrating, schema
from tradekeel.storage.backend import Restoring
from tradekeel.storage.planning import plan
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.postgres.changing import MIGRATION_LOCK
from tradekeel.storage.postgres.lease import NOW_NS as NOW_NS_THERE
from tradekeel.storage.postgres.lease import try_lock
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify

NOW_NS = 1_700_000_000_000_000_000
POLLS = 2_000
POLL_S = 0.005
KILLS = {"dev": 8, "ci": 12, "campaign": 60}


@pytest.fixture
def books(postgres_url: str, tmp_path: Path) -> Postgres:
    """Books with a trade in them, and a folder for copies."""
    made = Postgres(postgres_url, backups=tmp_path / "backups")
    desk = s.Desk()
    with Store.open(made, now_ns=NOW_NS) as store:
        store.commit([desk.opening(), desk.decision(), desk.filled(1)])
    return made


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """The real revisions, and one more."""
    return with_one_more(tmp_path / "versions", COLOUR)


def until(what: Callable[[], object], why: str) -> None:
    """Look again and again."""
    for _ in range(POLLS):
        if what():
            return
        pause(POLL_S)
    raise AssertionError(why)


def version(url: str) -> str:
    with connected(url) as db:
        [(found,)] = db.execute("SELECT version_num FROM trading.alembic_version").fetchall()
        return str(found)


def test_of_two_who_migrate_at_the_same_time_one_does_and_the_other_finds_it_done(books, versions, postgres_url):
    holds, go_on = Event(), Event()

    def first_heed() -> None:
        with connected(postgres_url) as db:
            if db.execute(
                "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted",
                (MIGRATION_LOCK & 0xFFFFFFFF,),
            ).fetchone():
                holds.set()
                assert go_on.wait(60)

    def waiting() -> bool:
        with connected(postgres_url) as db:
            found = db.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone()
            return found is not None and found[0] > 0

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(migrating.upgrade, books, NOW_NS, versions=versions, heed=first_heed)
        assert holds.wait(60)
        second = pool.submit(migrating.upgrade, books, NOW_NS + s.SECOND, versions=versions)
        until(waiting, "the second never waited")
        go_on.set()
        assert [row.revision for row in first.result(60).applied] == [NEXT]
        assert second.result(60).applied == ()
    assert [row.revision for row in migrating.history(books)].count(NEXT) == 1


def test_who_waits_can_be_called_off(books, versions, postgres_url):
    class Enough(Exception):
        """Somebody wants it to end."""

    looks = 0

    def heed() -> None:
        nonlocal looks
        looks += 1
        if looks > 2:
            raise Enough

    with connected(postgres_url) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        with pytest.raises(Enough):
            migrating.upgrade(books, NOW_NS, versions=versions, heed=heed)
    assert version(postgres_url) == HEAD


@pytest.mark.parametrize("way", ["up", "down"])
def test_while_a_daemon_writes_nothing_is_migrated_and_it_is_named(books, versions, postgres_url, way):
    migrate = {
        "up": partial(migrating.upgrade, books, NOW_NS, versions=versions),
        "down": partial(migrating.downgrade, books, "0001", NOW_NS),
    }[way]
    with connected(postgres_url) as db:
        db.execute(
            "INSERT INTO trading.leases (account, daemon, holder, epoch, batch, since_ns, until_ns) "
            "VALUES ('paper-1', 'night-watch', 'here', 1, 0, 0, 0)"
        )
    with closing(Postgres(postgres_url).connect()) as daemon:
        assert try_lock(daemon, "night-watch")
        with pytest.raises(StoreHeld, match="daemon night-watch writes there"):
            migrate()
        problem = plan(books, versions=versions).problem
        assert problem is not None
        assert "night-watch" in problem
    assert version(postgres_url) == HEAD
    assert migrating.upgrade(books, NOW_NS, versions=versions).applied


def test_whoever_has_lost_its_connection_comes_back_under_its_lease_and_finds_the_schema_that_it_knows(
    books, versions, postgres_url, tmp_path
):
    with connected(postgres_url) as db:
        db.execute(
            "INSERT INTO trading.leases (account, daemon, holder, epoch, batch, since_ns, until_ns) "
            f"VALUES ('paper-1', 'night-watch', 'here/us/this-directory/r', 1, 0, 0, {NOW_NS_THERE} + 60000000000)"
        )
        with pytest.raises(
            StoreHeld, match=r"daemon night-watch, whose lease runs for another (59|60) s, may write there"
        ):
            migrating.upgrade(books, NOW_NS, versions=versions)
        with pytest.raises(StoreHeld, match="night-watch"):
            migrating.upgrade(Postgres(postgres_url, place="a-copy-of-it"), NOW_NS, versions=versions)
        assert version(postgres_url) == HEAD
        again = Postgres(postgres_url, place="this-directory", backups=tmp_path / "backups")
        assert migrating.upgrade(again, NOW_NS, versions=versions).applied, "an earlier run of ours is over"


def test_a_lease_that_is_over_keeps_nobody_from_migrating(books, versions, postgres_url):
    with connected(postgres_url) as db:
        db.execute(
            "INSERT INTO trading.leases (account, daemon, holder, epoch, batch, since_ns, until_ns) "
            f"VALUES ('paper-1', 'night-watch', 'here/us/elsewhere/r', 1, 0, 0, {NOW_NS_THERE} - 1)"
        )
    assert migrating.upgrade(books, NOW_NS, versions=versions).applied


def test_a_daemon_of_another_database_of_the_server_is_in_nobodys_way(books, versions, postgres_url):
    with connected(postgres_url) as here:
        other = psycopg.connect(postgres_url, dbname="postgres", autocommit=True)
        with closing(other):
            other.execute("SELECT pg_advisory_lock(%s::int, hashtext('night-watch'))", (0x6B65656C,))
            assert migrating.upgrade(books, NOW_NS, versions=versions).applied
            assert here.execute("SELECT 1").fetchone()


def test_without_a_folder_for_the_copy_a_migration_has_to_be_asked_for(books, postgres_url):
    migrating.downgrade(books, "0001", NOW_NS)
    folderless = Postgres(postgres_url)
    with pytest.raises(StoreBlocked, match="no folder was named"):
        Store.open(folderless, now_ns=NOW_NS)
    assert version(postgres_url) == "0001"
    with Store.open(folderless, now_ns=NOW_NS, backup=False) as store:
        assert [row.backup for row in store.migrations] == [None] * (len(schema.REVISIONS) - 1)


def test_a_folder_for_the_copy_that_cannot_be_written_is_named_and_its_server_is_not_away(postgres_url, tmp_path):
    (tmp_path / "file").touch()
    books = Postgres(postgres_url, backups=tmp_path / "file")
    Store.open(books, now_ns=NOW_NS).close()
    migrating.downgrade(books, "0001", NOW_NS, backup=False)
    with pytest.raises(StoreBlocked, match="file cannot be written"):
        Store.open(books, now_ns=NOW_NS)
    assert version(postgres_url) == "0001"


def test_a_kill_anywhere_in_a_migration_leaves_the_books_as_they_were_or_as_they_should_be(
    books, versions, postgres_url, tmp_path, profile
):
    """Before many statements, and calls that change a file; the next start goes on from either."""
    backups = tmp_path / "backups"

    def migrated(kill_at: int) -> subprocess.CompletedProcess[str]:
        words = ["tests.integration.storage.migrator", postgres_url, str(versions), str(backups), str(kill_at)]
        return cradle.to_its_end(cradle.begin(words, loaded=cradle.STORE, **cradle.HEARD), 120)

    whole = migrated(0)
    assert whole.returncode == 0, whole.stderr
    calls = int(whole.stdout)
    assert calls > 50
    before = migrating.downgrade(books, HEAD, NOW_NS, versions=versions).applied
    assert before
    seen = set()
    for kill_at in sorted({*range(1, calls, max(calls // KILLS[profile], 1)), *range(calls - 3, calls + 1)}):
        assert migrated(kill_at).returncode == -9, kill_at
        seen.add(version(postgres_url))
        if version(postgres_url) == NEXT:
            migrating.downgrade(books, HEAD, NOW_NS, versions=versions)
        assert verify(books).ok, kill_at
    assert HEAD in seen
    [applied] = migrating.upgrade(books, NOW_NS, versions=versions).applied
    copies = sorted(file.name for file in backups.iterdir())
    assert applied.backup in copies
    assert not [name for name in copies if name.endswith(".partial")]
    assert len(copies) <= 6
    with connected(postgres_url) as db:
        assert db.execute("SELECT colour FROM trading.trades").fetchall() == [("blue",)]


def test_the_copy_made_before_a_migration_restores_the_books_as_they_were(books, versions, postgres_server, tmp_path):
    [applied] = migrating.upgrade(books, NOW_NS, versions=versions).applied
    url = postgres_server.new_database()
    try:
        restored = Postgres(url)
        copy = tmp_path / "backups" / str(applied.backup)
        silent = Restoring(NOW_NS, tmp_path, tmp_path / "replaced", lambda *step: None, lambda name: None)
        assert restored.restore(copy, silent).version == HEAD
        assert verify(restored).ok
        with Store.open(restored, now_ns=NOW_NS) as store:
            assert store.last_sequence(s.RUN) == 5
    finally:
        postgres_server.drop(url)
