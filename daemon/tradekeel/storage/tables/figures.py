"""Figures, changed parameters, how far a venue was read, and saved states."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text

from tradekeel.domain.rows import ACCOUNT_OWNER, CHECKPOINT_BYTES_MAX
from tradekeel.storage.columns import Blob, Count, Identity, Money, Nanoseconds, not_empty, one_of
from tradekeel.storage.tables.base import metadata

performance_snapshots = Table(
    "performance_snapshots",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("execution", Text, ForeignKey("executions.execution"), nullable=False),
    Column("ts_ns", Nanoseconds, nullable=False),
    Column("total_trades", Count, nullable=False),
    Column("winning_trades", Count, nullable=False),
    Column("losing_trades", Count, nullable=False),
    Column("win_rate", Money),
    Column("pnl", Money, nullable=False),
    Column("balance", Money, nullable=False),
    Column("equity", Money, nullable=False),
    Column("sharpe", Money),
    Column("max_drawdown", Money, nullable=False),
    Column("average_risk_reward", Money),
    Column("session", Text),
    Column("parameter_mode", Text),
    CheckConstraint(
        "winning_trades >= 0 AND losing_trades >= 0 AND winning_trades + losing_trades <= total_trades",
        name="trades_add_up",
    ),
    Index(None, "execution", "ts_ns"),
    Index(None, "ts_ns"),
)

parameter_history = Table(
    "parameter_history",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("execution", Text, ForeignKey("executions.execution"), nullable=False),
    Column("ts_ns", Nanoseconds, nullable=False),
    Column("strategy", Text),
    Column("name", Text, nullable=False),
    Column("old", Text),
    Column("new", Text),
    Column("parameter_mode", Text),
    Column("session", Text),
    Column("confidence_threshold", Money),
    Column("min_risk_reward", Money),
    Column("reason", Text, nullable=False),
    Column("changed_by", Text, nullable=False),
    not_empty("name"),
    one_of("changed_by", ("system_auto", "learning_agent", "manual", "emergency")),
    Index(None, "execution", "ts_ns"),
    Index(None, "ts_ns"),
)

venue_cursors = Table(
    "venue_cursors",
    metadata,
    Column("execution", Text, ForeignKey("executions.execution"), primary_key=True),
    Column("venue", Text, primary_key=True),
    Column("sequence", Count, nullable=False),
    Column("updated_ns", Nanoseconds, nullable=False),
    CheckConstraint("sequence >= 0", name="sequence_not_negative"),
)

# --- saved states: not projections, so they carry checksums of their own ----------------------------------------------

metrics_checkpoints = Table(
    "metrics_checkpoints",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("execution", Text, ForeignKey("executions.execution"), nullable=False),
    Column("ts_ns", Nanoseconds, nullable=False),
    Column("data", Blob, nullable=False),
    Column("crc", Count, nullable=False),
    Index(None, "execution", "id"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("execution", Text, ForeignKey("executions.execution"), nullable=False),
    Column("owner", Text, nullable=False),
    Column("sequence", Count, nullable=False),
    Column("position", Count, nullable=False),
    Column("inbox", Count, nullable=False),
    Column("ts_ns", Nanoseconds, nullable=False),
    Column("version", Count, nullable=False),
    Column("state", Blob, nullable=False),
    Column("crc", Count, nullable=False),
    not_empty("owner"),
    CheckConstraint("sequence >= 0 AND position >= 0 AND inbox >= 0", name="numbers_not_negative"),
    CheckConstraint(f"owner = '{ACCOUNT_OWNER}' OR length(state) <= {CHECKPOINT_BYTES_MAX}", name="state_size"),
    Index(None, "execution", "owner", "id"),
)
