"""The tools of `tradekeel db` on books that a PostgreSQL keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy.engine import URL, make_url

from tests.integration.cli_daemon import SHORT, call, write_config
from tests.servers.postgres import PostgresServer, connected, with_database, without_password
from tests.unit.storage import samples
from tradekeel.bootstrap.audit import audit, fills_were_deleted
from tradekeel.bootstrap.database import restore
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.reading import Query, read_rows
from tradekeel.bootstrap.schemas import history
from tradekeel.bootstrap.sizing import stats
from tradekeel.bootstrap.standing import read_status
from tradekeel.bootstrap.summary import last_record, latched_by
from tradekeel.domain.records import LatchChanged
from tradekeel.domain.rows import Latch
from tradekeel.errors import AlreadyRunning, InputError, StoreCorrupt, StoreUnavailable
from tradekeel.statedir import StateDir
from tradekeel.storage import migrating
from tradekeel.storage.archiving.moving import archive
from tradekeel.storage.backend import Restored, Restoring
from tradekeel.storage.moment import one_moment
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.postgres.connection import PostgresConnection
from tradekeel.storage.postgres.lease import NOW_NS
from tradekeel.storage.promised import NumberedBatch, promise
from tradekeel.storage.schema import HEAD
from tradekeel.storage.sizes import sizes
from tradekeel.storage.spool import Spool
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify
from tradekeel.storage.wiping import wipe


def silent(step: str, done: int, total: int) -> None:
    assert 0 < done <= total, step


@pytest.fixture
def books(postgres_url: str) -> Postgres:
    """Books with an execution, one entry of which is filled."""
    made = Postgres(postgres_url)
    desk = samples.Desk()
    with Store.open(made, now_ns=samples.START_NS) as store:
        store.commit([desk.opening(), desk.decision(), desk.decision(), desk.filled(1)])
    return made


def test_rows_and_bytes_are_counted(books: Postgres) -> None:
    found = sizes(books, silent)
    counted = {table.table: (table.rows, table.bytes) for table in found.tables}
    assert counted["journal"][0] == 6
    assert counted["trades"][0] == 2
    assert all(size for _, size in counted.values())
    [journal] = found.journals
    assert (journal.records, journal.first_record, journal.last_record) == (6, 1, 6)


class Counted(PostgresConnection):
    """Counts the rows of the answers that came whole."""

    fetched = 0

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        cursor = super().execute(sql, values)
        self.fetched += max(cursor.rowcount, 0)
        return cursor


def test_of_a_long_journal_a_summary_has_few_records_at_a_time(books: Postgres) -> None:
    with Store.open(books, now_ns=samples.START_NS) as store:
        store.commit(
            [
                samples.group(
                    LatchChanged(ts_ns=n, paused=False, latch=Latch.HALTED, reason="the day's loss", by=f"risk {n}")
                )
                for n in range(1, 2_001)
            ]
        )
        [run] = store.executions()
    with closing(books.connect()) as writer:
        writer.execute("UPDATE executions SET latch = 'halted', latch_reason = ?", ("the day's loss",))
    run = structs.replace(run, latch=Latch.HALTED, latch_reason="the day's loss")
    with one_moment(books) as db:
        assert isinstance(db, PostgresConnection)
        counted = Counted(db.raw)
        assert latched_by(counted, run) == "risk 2000"
        newest = last_record(counted, run.execution, LatchChanged)
        assert isinstance(newest, LatchChanged)
        assert newest.by == "risk 2000"
        assert not fills_were_deleted(counted, run)
        assert counted.fetched < 10


def put_back(books: Postgres, copy: Path, point: Callable[[str], object] = lambda name: None) -> Restored:
    when = Restoring(
        samples.START_NS, copy.parent, copy.parent / "replaced-20140508T000000Z", lambda *step: None, point
    )
    return books.restore(copy, when)


def go_on(books: Postgres) -> None:
    desk = samples.Desk("exec-2", account="paper-2")
    with Store.open(books, now_ns=samples.START_NS) as store:
        store.commit([desk.opening(), desk.decision()])


def test_a_copy_is_put_back_and_what_was_there_is_kept(books: Postgres, tmp_path: Path) -> None:
    books.copy(tmp_path / "copy.zip")
    go_on(books)
    restored = put_back(books, tmp_path / "copy.zip")
    assert restored == Restored(HEAD, 1, 6, "schema trading_replaced_20140508t000000z")
    verdict = verify(books)
    assert (verdict.ok, verdict.executions, verdict.records) == (True, 1, 6)
    with closing(books.connect()) as db:
        kept = db.execute("SELECT count(*) FROM trading_replaced_20140508t000000z.executions").fetchone()
    assert kept == (2,)
    with Store.open(books, now_ns=samples.START_NS) as store:  # and the books go on
        store.commit([samples.Desk("exec-3", account="paper-3").opening()])
    assert verify(books).ok
    assert put_back(books, tmp_path / "copy.zip").replaced == "schema trading_replaced_20140508t000000z_2"


def test_a_copy_of_an_earlier_schema_is_brought_up_to_date_and_proved(books: Postgres, tmp_path: Path) -> None:
    migrating.downgrade(books, "0002", samples.START_NS, backup=False)
    books.copy(tmp_path / "copy.zip")
    migrating.upgrade(books, samples.START_NS, backup=False)
    assert put_back(books, tmp_path / "copy.zip").version == "0002"
    assert verify(books).ok


def test_a_copy_that_does_not_agree_with_itself_changes_nothing(books: Postgres, tmp_path: Path) -> None:
    with closing(books.connect()) as db:
        db.execute("UPDATE trades SET stop_loss = 1 WHERE trade_id = 'trexec-1-1'")
    books.copy(tmp_path / "copy.zip")
    with closing(books.connect()) as db:
        db.execute("UPDATE trades SET stop_loss = 1.39000 WHERE trade_id = 'trexec-1-1'")
    with pytest.raises(StoreCorrupt, match="stop_loss is 1"):
        put_back(books, tmp_path / "copy.zip")
    assert verify(books).ok
    with pytest.raises(InputError, match="no file"):
        put_back(books, tmp_path / "nothing.zip")


def test_a_copy_of_the_other_kind_is_no_damage_and_the_way_over_is_named(books: Postgres, tmp_path: Path) -> None:
    here = Sqlite(tmp_path / "books.db")
    Store.open(here, now_ns=samples.START_NS).close()
    here.copy(tmp_path / "copy.db")
    books.copy(tmp_path / "copy.zip")
    with pytest.raises(InputError, match=r"copy\.db is a copy of books in a file.*db export.*db import"):
        put_back(books, tmp_path / "copy.db")
    when = Restoring(samples.START_NS, tmp_path / "restoring", tmp_path / "replaced", silent, lambda name: None)
    with pytest.raises(InputError, match=r"copy\.zip is a copy of books on a server.*db export.*db import"):
        here.restore(tmp_path / "copy.zip", when)


def test_until_it_is_committed_nothing_of_it_is_seen(books: Postgres, tmp_path: Path) -> None:
    books.copy(tmp_path / "copy.zip")
    go_on(books)

    def fail(name: str) -> None:
        if name == "restore.proved":
            raise RuntimeError(name)

    with pytest.raises(RuntimeError):
        put_back(books, tmp_path / "copy.zip", fail)
    assert verify(books).executions == 2


def test_a_daemon_that_holds_an_account_is_not_disturbed(books: Postgres, tmp_path: Path) -> None:
    books.copy(tmp_path / "copy.zip")
    with closing(books.connect()) as db:
        db.execute(
            "INSERT INTO leases (account, daemon, holder, epoch, batch, since_ns, until_ns) "
            f"VALUES ('paper-1', 'other', 'elsewhere', 1, 0, 0, {NOW_NS} + 60000000000)"
        )
    with pytest.raises(AlreadyRunning, match="daemon other on elsewhere"):
        put_back(books, tmp_path / "copy.zip")
    with pytest.raises(AlreadyRunning, match="daemon other on elsewhere"):
        wipe(books, samples.START_NS, by="a test")
    with pytest.raises(AlreadyRunning, match="daemon other on elsewhere"):
        archive(books, 2**62, tmp_path / "archives", samples.START_NS)
    assert verify(books).ok


@pytest.fixture
def there(postgres_url: str, tmp_path: Path) -> Place:
    """A daemon on that server, one batch of which the server has not got."""
    url = make_url(postgres_url)
    storage: dict[str, Any] = {
        "url": URL.create("postgresql", url.username, None, url.host, url.port, url.database).render_as_string()
    }
    environ: dict[str, str] = {}
    if url.password is not None:
        storage["password"] = {"env": "BOOKS"}
        environ["BOOKS"] = url.password
    state = StateDir(tmp_path / "state")
    state.lock()
    state.release()
    spool = Spool.open(state.spool)
    spool.append([NumberedBatch(7, (promise(samples.group(samples.noted(1)), 7),))])
    spool.close()
    return Place(state.path, None, storage=storage, environ=environ)


def silently(step: str, done: int, total: int) -> None:
    """Nobody looks."""


@pytest.mark.parametrize(
    ("migrations", "to_do"),
    [("upgrade", r"`tradekeel db upgrade` or start the daemon"), ("refuse", r"`tradekeel db upgrade` as their owner")],
)
def test_an_empty_server_is_named_with_what_makes_books_there(there: Place, migrations: str, to_do: str) -> None:
    place = structs.replace(there, storage={**there.storage, "migrations": migrations})
    where = f"there are no books on {place.where} yet: run "
    for ask in (lambda: audit(place, silently), lambda: read_rows(place, "trades", Query()), lambda: history(place)):
        with pytest.raises(InputError, match=f"^{re.escape(where)}{to_do}"):
            ask()
    assert where in str(read_status(place)["problem"])


def test_whoever_reads_is_told_of_batches_that_wait(books: Postgres, there: Place) -> None:
    for waiting in (audit(there, silently).waiting, stats(there, silently)["waiting"], read_status(there)["waiting"]):
        assert waiting["batches"] == 1
        assert waiting["bytes"] > 0
        assert waiting["said"] == (
            f"1 acknowledged batches ({waiting['bytes']:,} bytes) wait in {there.statedir.spool} for the books' server: what is "
            "shown is without them, and the next start brings them there"
        )
    said = audit(there, silently).lines()[-1]
    assert said.startswith("1 acknowledged batches")
    for path in there.statedir.spool.iterdir():
        path.unlink()
    assert audit(there, silently).waiting == {"batches": 0, "bytes": 0, "said": ""}
    assert "acknowledged" not in "".join(audit(there, silently).lines())


def test_a_copy_is_not_put_back_in_front_of_batches_that_wait(books: Postgres, there: Place, tmp_path: Path) -> None:
    books.copy(tmp_path / "copy.zip")
    go_on(books)
    with pytest.raises(StoreUnavailable, match=r"1 batches of the daemon wait.*--set-waiting-aside puts the batches"):
        restore(there, tmp_path / "copy.zip", {}, silently)
    assert verify(books).executions == 2
    assert Spool.open(there.statedir.spool).batches == 1


def test_whoever_says_so_puts_waiting_batches_aside_and_they_are_kept(
    books: Postgres, there: Place, tmp_path: Path
) -> None:
    books.copy(tmp_path / "copy.zip")
    go_on(books)
    (tmp_path / "damaged.zip").write_bytes(b"x")
    with pytest.raises((StoreCorrupt, InputError)):
        restore(there, tmp_path / "damaged.zip", {}, silently, set_waiting_aside=True)
    assert Spool.open(there.statedir.spool).batches == 1, "nothing was changed"
    done = restore(there, tmp_path / "copy.zip", {}, silently, set_waiting_aside=True)
    assert verify(books).executions == done["executions"] == 1
    assert not there.statedir.spool.exists()
    [kept] = there.statedir.backups.glob("waiting-*")
    assert str(kept) == done["waiting"]
    assert [batch.number for batch in Spool.open(kept).pending()] == [7]
    assert restore(there, tmp_path / "copy.zip", {}, silently)["waiting"] is None


def test_check_looks_at_the_replica_and_what_it_finds_keeps_nobody_from_trading(
    own_postgres: Callable[..., PostgresServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary = own_postgres()
    url = primary.new_database()
    replica = own_postgres(copy_of=primary)
    there = with_database(replica.admin_url, url.rpartition("/")[2])
    monkeypatch.setenv("PGPASSWORD", primary.password)
    config = write_config(tmp_path, feed=SHORT)
    addresses = "".join(
        f'{key} = "{without_password(address)}"\n' for key, address in (("url", url), ("replica_url", there))
    )
    config.write_text(config.read_text().replace("[storage]\n", f"[storage]\n{addresses}"))

    def found() -> str:
        said = call("check", config, "--json")
        assert said.returncode == 0, said.stdout
        [finding] = [finding for finding in json.loads(said.stdout)["findings"] if finding["subject"] == "replica"]
        return str(finding["text"])

    assert found().endswith(" follows its primary")
    with connected(replica.admin_url) as admin:
        admin.execute("SELECT pg_promote()")
    assert "follows nobody" in found()
    replica.kill()
    assert found().endswith("Scripts read at the primary meanwhile")
