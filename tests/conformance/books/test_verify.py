"""Verify finds every way in which the books can disagree with themselves, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.storage import samples as s
from tests.unit.storage.looking import look, tamper
from tradekeel.domain import records as r
from tradekeel.domain.orders import Order
from tradekeel.domain.records import encode_record, record_type
from tradekeel.domain.rows import MetricsCheckpoint
from tradekeel.storage import tables
from tradekeel.storage.backend import Backend
from tradekeel.storage.checksums import journal_crc
from tradekeel.storage.rows import mapping_of, mappings
from tradekeel.storage.store import Store
from tradekeel.storage.verify import FINDINGS_MAX, Difference, Verdict, verify


@pytest.fixture
def books(at: Backend) -> Backend:
    """Two executions with a little of everything."""
    write(at)
    return at


def write(at: Backend) -> None:
    first, second = s.Desk(), s.Desk("exec-2", account="paper-2")
    with Store.open(at, now_ns=s.START_NS) as store:
        for desk in (first, second):
            store.commit([desk.opening(), desk.decision(), desk.decision(), desk.filled(1)])
        store.commit(
            [
                first.group(r.SnapshotTaken(ts_ns=s.START_NS, snapshot=s.SNAPSHOT)),
                first.group(r.SnapshotTaken(ts_ns=s.START_NS, snapshot=s.SNAPSHOT)),
                first.group(r.ParameterChanged(ts_ns=s.START_NS, change=s.CHANGE)),
                s.group(rows=(MetricsCheckpoint(execution=s.RUN, ts_ns=1, data=b"figures"),)),
            ]
        )


def test_sound_books_are_sound(books):
    steps: list[tuple[str, int, int]] = []
    verdict = verify(books, lambda *step: steps.append(step))
    assert verdict.ok
    assert (verdict.executions, verdict.records, verdict.left_off) == (2, 15, 0)
    assert verdict.lines()[0].endswith("everything agrees")
    assert {"file", "executions", "journal of exec-1", "journal of exec-2"} == {name for name, _, _ in steps}
    assert all(done <= total for _, done, total in steps)


NO_BOOKS = {
    "journal_archives",
    "alembic_version",
    "migration_history",
    "tasks",
    "task_executions",
    "position_notes",
    "leases",
}
"""Tables that do not follow from a journal."""


def test_every_table_was_looked_at(books):
    names = {mapping.table.name for mapping in mappings().values()} | {"checkpoints"}
    assert names == tables.metadata.tables.keys() - {"journal"} - NO_BOOKS
    counts = [look(books, f"SELECT count(*) FROM {name}")[0][0] for name in names]
    assert all(counts)
    assert verify(books).rows == sum(counts)


@pytest.mark.parametrize(
    ("table", "where", "key", "column", "should", "is_"),
    [
        ("orders", "client_order_id = 'tkexec-1-1'", "tkexec-1-1", "fee", "0.0500", "0.0501"),
        ("orders", "client_order_id = 'tkexec-1-1'", "tkexec-1-1", "fee", "0.0500", "0.05"),
        ("trades", "trade_id = 'trexec-1-1'", "trexec-1-1", "entry_price", "1.39215", "1.4"),
        ("trades", "trade_id = 'trexec-1-2'", "trexec-1-2", "pnl", "0", "1"),
        ("trades", "trade_id = 'trexec-1-2'", "trexec-1-2", "model", None, "x"),
        ("fills", "execution = 'exec-1'", "paper-1/EUR_USD/v1/f1", "price", "1.39215", "1.4"),
        ("signals", "signal_id = 'sgexec-1-2'", "sgexec-1-2", "symbol", "EUR_USD", "X"),
        ("strategies", "execution = 'exec-2'", "exec-2/floor", "decisions", "2", "3"),
        (
            "strategy_events",
            "execution = 'exec-1' AND sequence = 2",
            "exec-1/floor/2",
            "data",
            '{"layer":2,"price":"1.39210"}',
            "{}",
        ),
        ("executions", "execution = 'exec-1'", "exec-1", "paused", "0", "1"),
        ("venue_cursors", "execution = 'exec-1'", "exec-1/paper", "sequence", "2", "9"),
        ("performance_snapshots", "id = 2", "2", "pnl", "1.25", "9"),
        ("parameter_history", "id = 1", "1", "new", "3", "4"),
    ],
)
def test_a_changed_column_is_named_with_what_it_should_be(books, table, where, key, column, should, is_):
    tamper(books, f"UPDATE {table} SET {column} = '{is_}' WHERE {where}")
    verdict = verify(books)
    assert verdict.differences == (Difference(table, key, column, should, is_),)
    assert verdict.problems == ()
    assert not verdict.ok


def test_a_missing_row_and_a_row_too_many_are_named(books):
    tamper(
        books,
        "DELETE FROM strategy_events WHERE execution = 'exec-2' AND sequence = 1",
        "INSERT INTO strategy_events VALUES ('exec-2', 'floor', 7, 'invented', 1, '{}')",
        "DELETE FROM performance_snapshots WHERE id = 2",
    )
    found = {str(difference) for difference in verify(books).differences}
    assert found == {
        "strategy_events exec-2/floor/1: is missing",
        "strategy_events exec-2/floor/7: follows from no journal record",
        "performance_snapshots 2: is missing",
    }


def test_a_lost_end_of_the_journal_shows_in_tables_and_checkpoints(books):
    tamper(books, "DELETE FROM journal WHERE execution = 'exec-2' AND sequence > 4")
    verdict = verify(books)
    assert any(
        "checkpoint of floor at record 5 of execution exec-2 is ahead of the journal" in p for p in verdict.problems
    )
    assert {"fills", "orders", "signals", "trades"} <= {difference.table for difference in verdict.differences}


def test_a_gap_is_named_and_the_other_execution_still_compared(books):
    tamper(
        books,
        "DELETE FROM journal WHERE execution = 'exec-1' AND sequence = 4",
        "UPDATE strategies SET decisions = 7 WHERE execution = 'exec-2'",
    )
    verdict = verify(books)
    assert "the journal of execution exec-1 has a gap: record 4 is missing (the next is 5)" in verdict.problems
    assert any("tables of execution exec-1 were not compared" in problem for problem in verdict.problems)
    assert [difference.column for difference in verdict.differences] == ["decisions"]


def rewrite(at: Backend, sequence: int, record: r.Record, type_: str | None = None) -> None:
    """Put another record in the place of one, checksum and all: as a bug would, not as a disk does."""
    type_ = type_ or record_type(record)
    payload = encode_record(record)
    crc = journal_crc(s.RUN, sequence, type_, record.ts_ns, record.correlation_id, payload)
    values = (type_, record.ts_ns, record.correlation_id, payload, crc, s.RUN, sequence)
    changing = "type = ?, ts_ns = ?, correlation_id = ?, payload = ?, crc = ?"
    tamper(at, (f"UPDATE journal SET {changing} WHERE execution = ? AND sequence = ?", values))


def test_a_record_that_does_not_follow_is_named(books):
    rewrite(books, 4, s.noted())
    assert any("record 5 of execution exec-1 does not follow from those before it" in p for p in verify(books).problems)


def test_columns_and_content_of_a_record_must_agree(books):
    rewrite(books, 4, s.noted(), type_="order_changed")
    assert "record 4 of execution exec-1: its columns and its content disagree" in verify(books).problems


def test_a_record_of_an_unknown_kind_is_named(books):
    crc = journal_crc(s.RUN, 4, "x", 1, "", b"\x81\xa6record\xa1x")
    tamper(
        books,
        f"UPDATE journal SET type = 'x', ts_ns = 1, correlation_id = '', payload = x'81a67265636f7264a178', crc = {crc} "
        "WHERE execution = 'exec-1' AND sequence = 4",
    )
    assert any(p.startswith("record 4 of execution exec-1 cannot be decoded") for p in verify(books).problems)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE checkpoints SET state = x'00' WHERE id = 1", "checkpoint of floor at record 4 of execution exec-1 is damaged"),
        ("UPDATE metrics_checkpoints SET data = x'00'", "the metrics saved at 1 in execution exec-1 are damaged"),
        ("DELETE FROM strategies WHERE execution = 'exec-2'", "what it refers to in strategies does not exist"),
        ("DELETE FROM executions WHERE execution = 'exec-2'", "what it refers to in executions does not exist"),
    ],
)  # fmt: skip
def test_what_no_journal_record_tells_is_checked_by_itself(books, statement, problem):
    tamper(books, statement)
    assert any(problem in found for found in verify(books).problems)


def as_it_was() -> tuple[str, tuple[str, tuple[object, ...]]]:
    """The first order, before it was filled."""
    mapping = mapping_of(Order)
    columns, values = ", ".join(f'"{name}"' for name in mapping.columns), mapping.encode(s.order(1), s.RUN)
    insert = f"INSERT INTO orders ({columns}) VALUES ({', '.join('?' * len(values))})"
    return "DELETE FROM orders WHERE client_order_id = 'tkexec-1-1'", (insert, tuple(values))


@pytest.mark.parametrize(
    "damage",
    [
        (),
        as_it_was(),
        ("DELETE FROM orders",),
        ("UPDATE trades SET quantity = '1'",),
        ("UPDATE fills SET fill_id = 'f9'",),  # one is missing, and one too many
        ("DELETE FROM performance_snapshots WHERE id = 1",),
    ],
)
def test_it_does_not_matter_how_many_rows_are_looked_up_together(books: Backend, damage: tuple[Any, ...]) -> None:
    tamper(books, *damage)
    whole = verify(books)
    assert whole.ok is not bool(damage)
    for page_rows in (1, 2, 3):
        paged = verify(books, page_rows=page_rows)
        assert (paged.problems, paged.rows, paged.left_off) == (whole.problems, whole.rows, whole.left_off)
        assert sorted(map(str, paged.differences)) == sorted(map(str, whole.differences))


def test_findings_are_bounded_and_the_rest_is_counted(at):
    desk = s.Desk()
    with Store.open(at, now_ns=s.START_NS) as store:
        store.commit([desk.opening(), *(desk.decision() for _ in range(FINDINGS_MAX))])
    tamper(at, "UPDATE orders SET fee = '1', stamp = 7")
    verdict = verify(at)
    assert len(verdict.differences) == FINDINGS_MAX
    assert verdict.left_off == FINDINGS_MAX
    assert verdict.lines()[-1] == f"and {FINDINGS_MAX} more"


def test_it_works_beside_a_running_daemon_and_changes_nothing(at):
    desk = s.Desk()
    with Store.open(at, now_ns=s.START_NS) as store:
        store.commit([desk.opening(), desk.decision()])
        verdicts: list[Verdict] = []

        def commit_more(step: str, done: int, total: int) -> None:
            store.commit([desk.decision()])

        verdicts.append(verify(at, commit_more))
        assert verdicts[0].ok
        assert verdicts[0].records == 4, "one consistent view, whatever is committed meanwhile"
        assert store.last_sequence(s.RUN) > 4
    assert verify(at).ok
