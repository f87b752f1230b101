"""The reading side answers from committed rows, newest first, and leaves no trace."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.storage import samples as s
from tests.unit.storage.test_store import tamper
from tests.unit.storage.test_verify import CHANGE, SNAPSHOT
from tradekeel.domain import records as r
from tradekeel.domain.orders import OrderStatus
from tradekeel.errors import InputError, StoreCorrupt, StoreTooNew, StoreUnavailable
from tradekeel.storage.queries import Filter, Reader
from tradekeel.storage.store import Store


@pytest.fixture
def books(store: Store) -> s.Desk:
    """Two accounts; on the first, five decisions of which three are filled."""
    first, second = s.Desk(), s.Desk("exec-2", account="paper-2")
    store.commit([first.opening(), *(first.decision() for _ in range(5)), *(first.filled(n) for n in (1, 2, 3))])
    store.commit([second.opening(), second.decision()])
    store.commit(
        [
            first.group(r.SnapshotTaken(ts_ns=s.START_NS, snapshot=SNAPSHOT)),
            first.group(r.ParameterChanged(ts_ns=s.START_NS, change=CHANGE)),
        ]
    )
    return first


def fingerprint(path: Path) -> dict[str, str]:
    """What is in the files. The shared memory holds locks and readers' marks, nothing of the books."""
    files = [path, path.with_name(path.name + "-wal")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


async def test_rows_come_back_as_the_domain_knows_them(books, path):
    async with Reader(path) as reader:
        assert await reader.orders(Filter(execution=s.RUN)) == [
            *(books.book.orders[f"tkexec-1-{n}"] for n in (5, 4)),
            *(books.book.ended[f"tkexec-1-{n}"] for n in (3, 2, 1)),
        ]
        assert await reader.trades(Filter(execution=s.RUN)) == list(reversed(books.book.trades.values()))
        assert await reader.fills(Filter(execution=s.RUN)) == [s.fill(n) for n in (3, 2, 1)]
        assert await reader.executions() == [s.execution("exec-2", account="paper-2"), s.execution()]
        [strategy] = await reader.strategies(Filter(account="paper-1"))
        assert strategy == books.book.strategies[s.STRATEGY].row
        assert await reader.snapshots() == [SNAPSHOT]
        assert await reader.parameter_history() == [CHANGE]
        assert [event.sequence for event in await reader.events(Filter(execution=s.RUN))] == [5, 4, 3, 2, 1]
        assert [signal.signal_id for signal in await reader.signals(Filter(account="paper-2"))] == ["sgexec-2-1"]


@pytest.mark.parametrize(
    ("which", "numbers"),
    [
        (Filter(account="paper-1"), [5, 4, 3, 2, 1]),
        (Filter(account="paper-1", status="filled"), [3, 2, 1]),
        (Filter(account="paper-1", status=OrderStatus.INTENDED), [5, 4]),
        (Filter(account="paper-1", status=("filled", "intended")), [5, 4, 3, 2, 1]),
        (Filter(account="paper-1", status="no such word"), []),
        (Filter(account="paper-1", instrument="EUR_USD", strategy=s.STRATEGY), [5, 4, 3, 2, 1]),
        (Filter(account="paper-1", instrument="USD_JPY"), []),
        (Filter(account="paper-1", strategy="other"), []),
        (Filter(execution=s.RUN, limit=2), [5, 4]),
        (Filter(execution=s.RUN, limit=2, offset=2), [3, 2]),
        (Filter(execution=s.RUN, limit=None), [5, 4, 3, 2, 1]),
        (Filter(execution=s.RUN, since_ns=s.START_NS + 2 * s.SECOND, until_ns=s.START_NS + 4 * s.SECOND), [3, 2]),
        (Filter(account="'; DROP TABLE orders; --"), []),
    ],
)
async def test_filters_narrow(books, path, which, numbers):
    async with Reader(path) as reader:
        assert [order.decision for order in await reader.orders(which)] == numbers


async def test_words_mean_the_same_whatever_the_column_is_called(books, path):
    async with Reader(path) as reader:
        assert len(await reader.trades(Filter(instrument="EUR_USD", session="LONDON", pattern_type="retracement"))) == 6
        assert len(await reader.signals(Filter(instrument="EUR_USD", status="executed"))) == 3
        assert [fill.fill_id for fill in await reader.fills(Filter(strategy=s.STRATEGY, account="paper-1"))] == [
            "f3",
            "f2",
            "f1",
        ]
        assert await reader.fills(Filter(strategy="other")) == []
        assert len(await reader.events(Filter(type="layer_opened", account="paper-1"))) == 5


async def test_a_word_that_a_table_does_not_know_is_refused(books, path):
    async with Reader(path) as reader:
        with pytest.raises(InputError, match="fills cannot be narrowed by status"):
            await reader.fills(Filter(status="filled"))


async def test_the_journal_is_read_forwards_and_backwards(books, path):
    async with Reader(path) as reader:
        assert [entry.sequence for entry in await reader.journal(s.RUN, after=4, limit=3)] == [5, 6, 7]
        last = await reader.journal(s.RUN, before=10**9, limit=2)
        assert [(entry.sequence, entry.type) for entry in last] == [(12, "snapshot_taken"), (13, "parameter_changed")]
        assert last[1].record == r.ParameterChanged(ts_ns=s.START_NS, change=CHANGE)


async def test_a_damaged_record_is_not_shown(books, path):
    tamper(path, "UPDATE journal SET payload = x'00' WHERE execution = 'exec-1' AND sequence = 5")
    async with Reader(path) as reader:
        assert len(await reader.journal(s.RUN, limit=4)) == 4
        with pytest.raises(StoreCorrupt, match="record 5 of execution exec-1"):
            await reader.journal(s.RUN, limit=5)


async def test_reading_leaves_no_trace_and_holds_nobody_up(books, store, path):
    before = fingerprint(path)
    async with Reader(path) as reader:
        assert len(await reader.orders()) == 6
        assert fingerprint(path) == before
        store.commit([books.decision()])
        assert len(await reader.orders()) == 7, "what is committed is seen at once"
        busy = store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        assert busy == 0, "between two questions nothing keeps the log from being cut back"
    before = fingerprint(path)
    async with Reader(path) as reader:
        await reader.trades()
    assert fingerprint(path) == before


async def test_a_reader_cannot_write(books, path):
    async with Reader(path) as reader, reader._asking() as db:
        with pytest.raises(Exception, match="readonly"):
            await db.exec_driver_sql("DELETE FROM orders")


async def test_books_that_a_killed_daemon_left_are_read_whole(books, store, path, tmp_path):
    crashed = tmp_path / "crashed.db"
    for ending in ("", "-wal"):  # what is on the disk after a kill: the file and its log
        crashed.with_name(crashed.name + ending).write_bytes(path.with_name(path.name + ending).read_bytes())
    before = fingerprint(crashed)
    async with Reader(crashed) as reader:
        assert len(await reader.orders()) == 6
    assert fingerprint(crashed) == before
    with Store.open(crashed, now_ns=0) as again:
        assert again.last_sequence(s.RUN) == 13


async def test_where_there_is_nothing_yet_it_says_what_to_do(path):
    with pytest.raises(StoreUnavailable, match=r"no database at .* yet: start the daemon with `tradekeel run`"):
        async with Reader(path):
            pass
    assert not path.exists()


async def test_a_newer_file_is_not_guessed_at(books, path):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNew):
        async with Reader(path):
            pass


async def test_an_empty_file_has_no_schema_to_read(path):
    path.touch()
    with pytest.raises(StoreUnavailable, match="db upgrade"):
        async with Reader(path):
            pass


async def test_what_is_no_database_is_damage(path):
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreCorrupt, match="damaged"):
        async with Reader(path):
            pass


async def test_a_reader_answers_only_while_it_is_open(books, path):
    reader = Reader(path)
    with pytest.raises(StoreUnavailable, match="not open"):
        await reader.orders()
