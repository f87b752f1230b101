"""Every database refuses what the domain forbids, by the same rules under the same names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal

import pytest

from tests.unit.storage import samples as s
from tradekeel.domain.messages import SignalStatus
from tradekeel.domain.orders import OrderStatus
from tradekeel.domain.rows import (
    ACCOUNT_OWNER,
    CHECKPOINT_BYTES_MAX,
    Latch,
    Mode,
    ParameterChange,
    PerformanceSnapshot,
    Row,
    StrategyStatus,
)
from tradekeel.domain.trades import CloseReason, TradeStatus
from tradekeel.errors import GroupRefused
from tradekeel.storage.backend import Backend, Connection
from tradekeel.storage.rows import DERIVED
from tradekeel.storage.store import Store


@pytest.fixture
def db(desk: s.Desk, store: Store, at: Backend) -> Iterator[Connection]:
    """A connection beside the store, as a person with a tool would have one."""
    store.commit([desk.decision(), desk.filled(1)])
    with closing(at.connect()) as connection:
        if at.name == "sqlite":
            connection.execute("PRAGMA foreign_keys = ON")
        yield connection


# Rows whose column is set to something that nobody may store, and the rule that says no.
FORBIDDEN = [
    ("orders", "status", "asleep", "ck_orders_status_word"),
    ("orders", "side", "hold", "ck_orders_side_word"),
    ("orders", "type", "iceberg", "ck_orders_type_word"),
    ("orders", "purpose", "fun", "ck_orders_purpose_word"),
    ("orders", "time_in_force", "later", "ck_orders_time_in_force_word"),
    ("orders", "close_reason", "a bad feeling", "ck_orders_close_reason_word"),
    ("orders", "quantity", "-1", "ck_orders_quantity_not_negative"),
    ("orders", "filled_quantity", "-0.5", "ck_orders_filled_quantity_not_negative|ck_orders_filled_some"),
    ("orders", "filled_quantity", "0", "ck_orders_filled_some"),
    ("orders", "reduce_only", 2, "ck_orders_reduce_only_flag"),
    ("orders", "client_order_id", "", "ck_orders_client_order_id_not_empty"),
    ("orders", "attempt", -1, "ck_orders_attempt_not_negative"),
    ("orders", "trade_id", "nowhere", "FOREIGN KEY"),
    ("orders", "signal_id", "nowhere", "FOREIGN KEY"),
    ("orders", "parent_id", "nowhere", "FOREIGN KEY"),
    ("orders", "strategy", "nobody", "FOREIGN KEY"),
    ("orders", "execution", "never", "FOREIGN KEY"),
    ("orders", "account", None, "NOT.NULL"),
    ("trades", "status", "HALF", "ck_trades_status_word"),
    ("trades", "status", "CLOSED", "ck_trades_closed_why"),
    ("trades", "side", "SIDEWAYS", "ck_trades_side_word"),
    ("trades", "exit_reason", "guessed", "ck_trades_exit_reason_word"),
    ("trades", "liquidity", "gas", "ck_trades_liquidity_word"),
    ("trades", "quantity", "0", "ck_trades_quantity_positive"),
    ("trades", "entered_quantity", "-1", "ck_trades_entered_quantity_not_negative"),
    ("trades", "exited_quantity", "-1", "ck_trades_exited_quantity_not_negative"),
    ("trades", "margin", "-0.01", "ck_trades_margin_not_negative"),
    ("trades", "entry_time_ns", None, "ck_trades_entered_when"),
    ("trades", "exits_at_venue", 7, "ck_trades_exits_at_venue_flag"),
    ("trades", "trade_id", "", "ck_trades_trade_id_not_empty"),
    ("trades", "signal_id", "nowhere", "FOREIGN KEY"),
    ("trades", "strategy", "nobody", "FOREIGN KEY"),
    ("fills", "side", "hold", "ck_fills_side_word"),
    ("fills", "liquidity", "gas", "ck_fills_liquidity_word"),
    ("fills", "quantity", "0.00", "ck_fills_quantity_positive"),
    ("fills", "quantity", "-3", "ck_fills_quantity_positive"),
    ("fills", "fill_id", "", "ck_fills_fill_id_not_empty"),
    ("fills", "execution", "never", "FOREIGN KEY"),
    ("signals", "side", "hold", "ck_signals_side_word"),
    ("signals", "execution_status", "maybe", "ck_signals_execution_status_word|ck_signals_executed_agrees"),
    ("signals", "executed", 0, "ck_signals_executed_agrees"),
    ("signals", "strategy", "nobody", "FOREIGN KEY"),
    ("strategies", "status", "tired", "ck_strategies_status_word"),
    ("strategies", "decisions", -1, "ck_strategies_decisions_not_negative"),
    ("strategies", "execution", "never", "FOREIGN KEY"),
    ("strategy_events", "sequence", 0, "ck_strategy_events_sequence_from_one"),
    ("strategy_events", "strategy", "nobody", "FOREIGN KEY"),
    ("executions", "status", "resting", "ck_executions_status_word"),
    ("executions", "status", "closed", "ck_executions_closed_when"),
    ("executions", "mode", "dream", "ck_executions_mode_word"),
    ("executions", "latch", "ajar", "ck_executions_latch_word"),
    ("executions", "number", 0, "ck_executions_number_from_one"),
    ("venue_cursors", "sequence", -1, "ck_venue_cursors_sequence_not_negative"),
    ("checkpoints", "owner", "", "ck_checkpoints_owner_not_empty"),
    ("checkpoints", "inbox", -1, "ck_checkpoints_numbers_not_negative"),
]


@pytest.mark.parametrize(("table", "column", "value", "rule"), FORBIDDEN)
def test_the_database_itself_refuses(at, db, table, column, value, rule):
    with pytest.raises(at.errors, match=re.compile(rule, re.IGNORECASE)):
        db.execute(f"UPDATE {table} SET {column} = ?", (value,))


CONTROL = {
    "tasks": {
        "task_id": "t1",
        "type": "backtest",
        "name": "spring",
        "instruments": "[]",
        "since_ns": 1,
        "until_ns": 2,
        "config": "{}",
        "created_ns": 0,
    },
    "task_executions": {
        "task_id": "t1",
        "number": 1,
        "execution": s.RUN,
        "status": "running",
        "progress": 100,
        "started_ns": 1,
        "completed_ns": 2,
        "state": "{}",
        "error": "",
        "updated_ns": 0,
    },
    "position_notes": {
        "account": "paper-1",
        "instrument": "EUR_USD",
        "position_ref": "",
        "note": "kept",
        "tag": "",
        "owner": "ann",
        "updated_ns": 0,
    },
    "leases": {
        "account": "paper-1",
        "daemon": "d",
        "holder": "h",
        "epoch": 1,
        "batch": 0,
        "since_ns": 1,
        "until_ns": 2,
    },
}
"""One row of each table that no journal stands behind."""

FORBIDDEN_CONTROL = [
    ("tasks", "task_id", "", "ck_tasks_task_id_not_empty"),
    ("tasks", "name", "", "ck_tasks_name_not_empty"),
    ("tasks", "type", "dream", "ck_tasks_type_word"),
    ("tasks", "until_ns", 0, "ck_tasks_since_before_until"),
    ("task_executions", "task_id", "t2", "FOREIGN KEY"),
    ("task_executions", "execution", "never", "FOREIGN KEY"),
    ("task_executions", "number", 0, "ck_task_executions_number_from_one"),
    ("task_executions", "status", "tired", "ck_task_executions_status_word"),
    ("task_executions", "progress", 101, "ck_task_executions_progress_percent"),
    ("task_executions", "progress", -1, "ck_task_executions_progress_percent"),
    ("task_executions", "completed_ns", 0, "ck_task_executions_started_before_completed"),
    ("position_notes", "account", "", "ck_position_notes_account_not_empty"),
    ("position_notes", "instrument", "", "ck_position_notes_instrument_not_empty"),
    ("position_notes", "position_ref", None, "NOT.NULL"),
    ("leases", "account", "", "ck_leases_account_not_empty"),
    ("leases", "holder", "", "ck_leases_holder_not_empty"),
    ("leases", "epoch", 0, "ck_leases_epoch_from_one"),
    ("leases", "batch", -1, "ck_leases_batch_not_negative"),
    ("migration_history", "version", "", "ck_migration_history_version_not_empty"),
    ("migration_history", "checksum", "", "ck_migration_history_checksum_not_empty"),
]


@pytest.mark.parametrize(("table", "column", "value", "rule"), FORBIDDEN_CONTROL)
def test_the_database_itself_refuses_what_is_no_task_and_no_lease(at, db, table, column, value, rule):
    for name, row in CONTROL.items():
        db.execute(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    with pytest.raises(at.errors, match=re.compile(rule, re.IGNORECASE)):
        db.execute(f"UPDATE {table} SET {column} = ?", (value,))


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (
            s.execution(name="exec-2", number=1, status="closed", closed_ns=1),
            "unique constraint.*executions[._]account",
        ),
        (
            s.execution(name="exec-2", number=2),
            "unique constraint failed: executions.account|ix_executions_one_running",
        ),
        (s.fill(1), "unique constraint.*fills"),
        (
            ParameterChange(execution=s.RUN, ts_ns=1, strategy=None, name="x", old=None, new="1", changed_by="cat"),
            "word",
        ),
        (
            PerformanceSnapshot(
                execution=s.RUN,
                ts_ns=1,
                total_trades=1,
                winning_trades=1,
                losing_trades=1,
                win_rate=None,
                pnl=Decimal(0),
                balance=Decimal(0),
                equity=Decimal(0),
                sharpe=None,
                max_drawdown=Decimal(0),
                average_risk_reward=None,
                session=None,
                parameter_mode=None,
            ),
            "trades_add_up",
        ),
    ],
    ids=[
        "execution number twice",
        "two unfinished executions",
        "fill twice",
        "changed by whom",
        "more won than traded",
    ],
)
def test_a_row_that_breaks_a_rule_comes_back(desk, store, row, rule):
    store.commit([desk.decision(), desk.filled(1)])
    [refused] = store.commit([s.group(s.noted(), rows=(row,))])
    assert isinstance(refused, GroupRefused)
    assert re.search(rule, str(refused), re.IGNORECASE)


def test_the_same_fill_id_on_another_order_is_another_fill(desk, store):
    store.commit([desk.decision(), desk.filled(1)])
    [written] = store.commit([s.group(s.noted(), rows=(s.fill(1, venue_order_id="v2"),))])
    assert not isinstance(written, GroupRefused)


@pytest.mark.parametrize("mode", [mode for mode in Mode if not mode.is_a_daemons])
def test_only_a_daemons_executions_are_one_at_a_time_and_gone_on_with(desk, store, mode):
    rows = tuple(s.execution(name=f"b{n}", number=n, account="test", mode=mode) for n in (1, 2))
    [written] = store.commit([s.group(s.noted(), rows=rows)])
    assert not isinstance(written, GroupRefused)
    assert store.open_execution("test") is None


def test_a_denied_order_may_hold_the_nonsense_that_was_asked_for(desk, store):
    store.commit([desk.decision()])
    nonsense = s.order(7, quantity=Decimal(-5), status=OrderStatus.DENIED, trade_id=None, signal_id=None)
    [written] = store.commit([s.group(s.noted(), rows=(nonsense,))])
    assert not isinstance(written, GroupRefused)


def test_a_strategys_state_has_a_largest_size_and_the_accounts_book_has_none(desk, store):
    large = b"x" * (CHECKPOINT_BYTES_MAX + 1)
    refused, written = store.commit(
        [
            s.group(checkpoints=(s.checkpoint(state=large),)),
            s.group(checkpoints=(s.checkpoint(owner=ACCOUNT_OWNER, state=large),)),
        ]
    )
    assert isinstance(refused, GroupRefused)
    assert not isinstance(written, GroupRefused)


def test_what_people_want_to_read_of_a_trade_stands_in_its_row(desk, store, db):
    [row] = db.execute(f"SELECT {', '.join(DERIVED)} FROM trades").fetchall()
    assert row == ("1.39215", None, "-0.0500", None, None, None)


def test_statuses_of_the_domain_all_fit(desk, store):
    store.commit([desk.decision(), desk.filled(1)])
    rows: list[Row] = [s.order(1, status=status, filled_quantity=Decimal(1)) for status in OrderStatus]
    rows += [s.signal(1, execution_status=x, executed=x is SignalStatus.EXECUTED) for x in SignalStatus]
    rows += [s.trade(1, status=x, entry_time_ns=1, exit_time_ns=2, exit_reason=CloseReason.TIME) for x in TradeStatus]
    rows += [s.strategy(status=x) for x in StrategyStatus]
    rows += [s.execution(latch=x) for x in Latch]
    for row in rows:
        [written] = store.commit([s.group(rows=(row,))])
        assert not isinstance(written, GroupRefused), row
