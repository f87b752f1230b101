"""The reading side answers from committed rows, newest first."""

from __future__ import annotations

import pytest

from tests.unit.storage import samples as s
from tests.unit.storage.looking import tamper
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
            first.group(r.SnapshotTaken(ts_ns=s.START_NS, snapshot=s.SNAPSHOT)),
            first.group(r.ParameterChanged(ts_ns=s.START_NS, change=s.CHANGE)),
        ]
    )
    return first


async def test_rows_come_back_as_the_domain_knows_them(books, at):
    async with Reader(at) as reader:
        assert await reader.orders(Filter(execution=s.RUN)) == [
            *(books.book.orders[f"tkexec-1-{n}"] for n in (5, 4)),
            *(books.book.ended[f"tkexec-1-{n}"] for n in (3, 2, 1)),
        ]
        assert await reader.trades(Filter(execution=s.RUN)) == list(reversed(books.book.trades.values()))
        assert await reader.fills(Filter(execution=s.RUN)) == [s.fill(n) for n in (3, 2, 1)]
        assert await reader.executions() == [s.execution("exec-2", account="paper-2"), s.execution()]
        [strategy] = await reader.strategies(Filter(account="paper-1"))
        assert strategy == books.book.strategies[s.STRATEGY].row
        assert await reader.snapshots() == [s.SNAPSHOT]
        assert await reader.parameter_history() == [s.CHANGE]
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
async def test_filters_narrow(books, at, which, numbers):
    async with Reader(at) as reader:
        assert [order.decision for order in await reader.orders(which)] == numbers


async def test_words_mean_the_same_whatever_the_column_is_called(books, at):
    async with Reader(at) as reader:
        assert len(await reader.trades(Filter(instrument="EUR_USD", session="LONDON", pattern_type="retracement"))) == 6
        assert len(await reader.signals(Filter(instrument="EUR_USD", status="executed"))) == 3
        assert [fill.fill_id for fill in await reader.fills(Filter(strategy=s.STRATEGY, account="paper-1"))] == [
            "f3",
            "f2",
            "f1",
        ]
        assert await reader.fills(Filter(strategy="other")) == []
        assert len(await reader.events(Filter(type="layer_opened", account="paper-1"))) == 5


async def test_a_word_that_a_table_does_not_know_is_refused(books, at):
    async with Reader(at) as reader:
        with pytest.raises(InputError, match="fills cannot be narrowed by status"):
            await reader.fills(Filter(status="filled"))


async def test_the_journal_is_read_forwards_and_backwards(books, at):
    async with Reader(at) as reader:
        assert [entry.sequence for entry in await reader.journal(s.RUN, after=4, limit=3)] == [5, 6, 7]
        last = await reader.journal(s.RUN, before=10**9, limit=2)
        assert [(entry.sequence, entry.type) for entry in last] == [(12, "snapshot_taken"), (13, "parameter_changed")]
        assert last[1].record == r.ParameterChanged(ts_ns=s.START_NS, change=s.CHANGE)


async def test_a_damaged_record_is_not_shown(books, at):
    tamper(at, "UPDATE journal SET payload = x'00' WHERE execution = 'exec-1' AND sequence = 5")
    async with Reader(at) as reader:
        assert len(await reader.journal(s.RUN, limit=4)) == 4
        with pytest.raises(StoreCorrupt, match="record 5 of execution exec-1"):
            await reader.journal(s.RUN, limit=5)


async def test_what_is_committed_is_seen_at_once_and_nobody_is_held_up(books, store, at):
    async with Reader(at) as reader:
        assert len(await reader.orders()) == 6
        store.commit([books.decision()])
        assert len(await reader.orders()) == 7


async def test_a_reader_cannot_write(books, at):
    async with Reader(at) as reader, reader._asking() as db:
        with pytest.raises(Exception, match=r"read-?only"):
            await db.exec_driver_sql("DELETE FROM orders")


async def test_a_newer_schema_is_not_guessed_at(books, at):
    tamper(at, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNew):
        async with Reader(at):
            pass


async def test_a_reader_answers_only_while_it_is_open(books, at):
    reader = Reader(at)
    with pytest.raises(StoreUnavailable, match="not open"):
        await reader.orders()


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("trades", "UPDATE trades SET tags = '{\"a\": 1}'"),
        ("trades", "UPDATE trades SET exit_order_ids = '[7]'"),
        ("strategies", "UPDATE strategies SET instruments = '7'"),
    ],
)
async def test_a_row_that_nobody_of_ours_has_written_is_damage(books, at, kind, damage):
    tamper(at, damage)
    async with Reader(at) as reader:
        with pytest.raises(StoreCorrupt, match="damaged"):
            await getattr(reader, kind)()
