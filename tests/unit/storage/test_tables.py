"""The tables hold what the domain says, and refuse what it forbids."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.storage import samples as s
from tradekeel.domain.rows import Row
from tradekeel.storage import tables
from tradekeel.storage.rows import DERIVED, mappings
from tradekeel.storage.store import Store


@pytest.fixture
def db(desk: s.Desk, store: Store, path: Path) -> Iterator[sqlite3.Connection]:
    """A connection beside the store, as a person with a tool would have one."""
    store.commit([desk.decision(), desk.filled(1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


EXTRA = {
    "fills": {"id", "execution"},
    "trades": set(DERIVED),
    "performance_snapshots": {"id"},
    "parameter_history": {"id"},
    "metrics_checkpoints": {"id", "crc"},
}


@pytest.mark.parametrize("row_type", list(mappings()), ids=lambda row_type: row_type.__name__)
def test_every_field_of_a_row_is_a_column_of_its_name(row_type):
    mapping = mappings()[row_type]
    columns = {column.name for column in mapping.table.columns}
    assert columns == set(row_type.__struct_fields__) | EXTRA.get(mapping.table.name, set())


def test_every_row_type_of_the_domain_has_a_table():
    assert set(mappings()) == set(Row.__args__)


def test_tables_are_written_in_an_order_that_their_references_allow():
    order = [mapping.table.name for mapping in mappings().values()]
    for mapping in mappings().values():
        for key in mapping.table.foreign_keys:
            assert order.index(key.column.table.name) <= order.index(mapping.table.name)


def test_no_amount_is_a_float_column():
    for table in tables.metadata.tables.values():
        for column in table.columns:
            kind = column.type.compile(dialect=sqlite_dialect())
            assert kind in {"TEXT", "BIGINT", "INTEGER", "BLOB"}, f"{table.name}.{column.name} is {kind}"


def sqlite_dialect() -> Any:
    from sqlalchemy.dialects import sqlite

    return sqlite.dialect()


@pytest.mark.parametrize("statement", ["UPDATE journal SET type = 'x'", "DELETE FROM journal"])
def test_the_journal_is_append_only(db, statement):
    with pytest.raises(sqlite3.IntegrityError, match="append only"):
        db.execute(statement)


READINGS = [
    ("SELECT * FROM trades WHERE status = ? ORDER BY created_ns DESC", "ix_trades_status_created_ns"),
    ("SELECT * FROM trades WHERE execution = ? ORDER BY created_ns DESC", "ix_trades_execution_created_ns"),
    (
        "SELECT * FROM trades WHERE execution = ? AND symbol = ? ORDER BY created_ns DESC",
        "ix_trades_execution_created_ns",
    ),
    (
        "SELECT * FROM orders WHERE execution = ? AND strategy = ? ORDER BY created_ns DESC",
        "ix_orders_execution_created_ns|ix_orders_strategy_created_ns",
    ),
    ("SELECT * FROM signals WHERE execution = ? ORDER BY generated_at_ns DESC", "ix_signals_execution_generated_at_ns"),
    ("SELECT * FROM orders WHERE status = ? ORDER BY created_ns DESC", "ix_orders_status_created_ns"),
    ("SELECT * FROM orders WHERE execution = ? ORDER BY created_ns DESC", "ix_orders_execution_created_ns"),
    ("SELECT * FROM fills WHERE client_order_id = ?", "ix_fills_client_order_id"),
    ("SELECT * FROM fills WHERE execution = ? ORDER BY ts_ns DESC", "ix_fills_execution_ts_ns"),
    (
        "SELECT * FROM performance_snapshots WHERE execution = ? ORDER BY ts_ns DESC",
        "ix_performance_snapshots_execution_ts_ns",
    ),
    ("SELECT * FROM strategy_events WHERE execution = ? AND strategy = ? ORDER BY sequence", "pk|autoindex|PRIMARY"),
    ("SELECT max(sequence) FROM journal WHERE execution = ?", "PRIMARY KEY"),
    (
        "SELECT * FROM trades WHERE symbol = ? AND entry_time_ns > ? ORDER BY entry_time_ns DESC",
        "ix_trades_symbol_entry_time_ns",
    ),
    ("SELECT * FROM trades WHERE session = ? ORDER BY created_ns DESC", "ix_trades_session_created_ns"),
    ("SELECT * FROM trades WHERE pattern_type = ? ORDER BY created_ns DESC", "ix_trades_pattern_type_created_ns"),
    ("SELECT * FROM trades WHERE created_ns > ? ORDER BY created_ns DESC", "ix_trades_created_ns"),
    ("SELECT * FROM signals WHERE generated_at_ns > ? ORDER BY generated_at_ns DESC", "ix_signals_generated_at_ns"),
    ("SELECT * FROM orders WHERE strategy = ? ORDER BY created_ns DESC", "ix_orders_strategy_created_ns"),
    ("SELECT * FROM orders WHERE instrument = ? ORDER BY created_ns DESC", "ix_orders_instrument_created_ns"),
    ("SELECT * FROM orders WHERE created_ns > ? ORDER BY created_ns DESC", "ix_orders_created_ns"),
    ("SELECT * FROM orders WHERE venue_order_id = ?", "ix_orders_venue_order_id"),
    (
        "SELECT * FROM fills WHERE venue = ? AND instrument = ? ORDER BY ts_ns DESC",
        "ix_fills_venue_instrument_ts_ns",
    ),
    ("SELECT * FROM performance_snapshots WHERE ts_ns > ? ORDER BY ts_ns DESC", "ix_performance_snapshots_ts_ns"),
    ("SELECT * FROM parameter_history WHERE ts_ns > ? ORDER BY ts_ns DESC", "ix_parameter_history_ts_ns"),
    (
        "SELECT * FROM executions WHERE account = ? AND status = 'running' AND mode IN ('paper', 'live')",
        "ix_executions_one_running",
    ),
]


@pytest.mark.parametrize(("question", "index"), READINGS)
def test_a_reading_command_finds_its_index(db, question, index):
    plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {question}", ("?",) * question.count("?")))
    assert any(name in plan for name in index.split("|")), plan
    assert "TEMP B-TREE" not in plan
    assert "SCAN" not in plan
