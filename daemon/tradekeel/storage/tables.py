"""What is stored: the journal, the projections made from it, the checkpoints, and the log of the schema itself.

Columns are named after the fields of the domain's rows (:mod:`tradekeel.domain.records`), so that one word has one
meaning; a test holds them to it. Amounts are exact text, times integer nanoseconds, lists and free-form data JSON text.
A few columns are there for people who read the file with a tool of their own (a trade's prices and profit): they are
written with the row, never read back, and ``verify`` checks them like any other.

Two references are not foreign keys on purpose: a fill may name an order that is not ours (somebody trades on the same
account), and the trade adopted from it names that same order as its entry. The venue's money is real, so both must be
booked.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from tradekeel.domain.messages import Liquidity, SignalStatus
from tradekeel.domain.orders import OrderStatus, OrderType, Purpose, Side, TimeInForce
from tradekeel.domain.records import ACCOUNT_OWNER, CHECKPOINT_BYTES_MAX, Latch, Mode, StrategyStatus
from tradekeel.domain.trades import CloseReason, TradeSide, TradeStatus
from tradekeel.storage.columns import (
    Blob,
    Choice,
    Count,
    Flag,
    Identity,
    Json,
    Money,
    Nanoseconds,
    SignRule,
    Texts,
    from_one,
    not_empty,
    not_negative,
    one_of,
    positive,
    yes_or_no,
)


class ExecutionStatus(StrEnum):
    """Whether an execution goes on after a restart."""

    RUNNING = "running"
    CLOSED = "closed"


LATCH_WORDS = ("open", "paused", "reduce_only", "halted")
"""What a latch may be. "paused" is none, a pause is a column of its own; the check has had the word from the start."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# --- the journal -----------------------------------------------------------------------------------------------------

journal = Table(
    "journal",
    metadata,
    Column("execution", Text, ForeignKey("executions.execution"), primary_key=True),
    Column("sequence", Count, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("ts_ns", Nanoseconds, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("payload", Blob, nullable=False),
    Column("crc", Count, nullable=False),
    from_one("sequence"),
    not_empty("type"),
    sqlite_with_rowid=False,  # one tree instead of two: rows are only ever added at its end and read in order
)

JOURNAL_TRIGGERS = tuple(
    f"CREATE TRIGGER journal_refuses_{verb} BEFORE {verb.upper()} ON journal "
    f"BEGIN SELECT RAISE(ABORT, 'the journal is append only'); END"
    for verb in ("update", "delete")
)
for _statement in JOURNAL_TRIGGERS:
    event.listen(journal, "after_create", DDL(_statement).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]  # theirs

# --- what runs -------------------------------------------------------------------------------------------------------

executions = Table(
    "executions",
    metadata,
    Column("execution", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("number", Count, nullable=False),
    Column("mode", Choice(Mode), nullable=False),
    Column("venue", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("config_fingerprint", Text, nullable=False),
    Column("data_fingerprint", Text, nullable=False),
    Column("opening_balance", Money, nullable=False),
    Column("started_ns", Nanoseconds, nullable=False),
    Column("closed_ns", Nanoseconds),
    Column("close_reason", Text, nullable=False),
    Column("latch", Choice(Latch), nullable=False),
    Column("latch_reason", Text, nullable=False),
    Column("paused", Flag, nullable=False),
    UniqueConstraint("account", "number"),
    not_empty("execution"),
    not_empty("account"),
    from_one("number"),
    one_of("mode", Mode),
    one_of("status", ExecutionStatus),
    one_of("latch", LATCH_WORDS),
    yes_or_no("paused"),
    CheckConstraint("(status = 'closed') = (closed_ns IS NOT NULL)", name="closed_when"),
)
# One account, one unfinished execution; backtests of one account may well run side by side.
Index(
    "ix_executions_one_running",
    executions.c.account,
    unique=True,
    sqlite_where=text("status = 'running' AND mode <> 'backtest'"),
    postgresql_where=text("status = 'running' AND mode <> 'backtest'"),
)

strategies = Table(
    "strategies",
    metadata,
    Column("execution", Text, ForeignKey("executions.execution"), primary_key=True),
    Column("strategy", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("status", Choice(StrategyStatus), nullable=False),
    Column("status_reason", Text, nullable=False),
    Column("instruments", Texts, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("decisions", Count, nullable=False),
    Column("updated_ns", Nanoseconds, nullable=False),
    not_empty("strategy"),
    one_of("status", StrategyStatus),
    CheckConstraint("decisions >= 0", name="decisions_not_negative"),
)

strategy_events = Table(
    "strategy_events",
    metadata,
    Column("execution", Text, primary_key=True),
    Column("strategy", Text, primary_key=True),
    Column("sequence", Count, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("ts_ns", Nanoseconds, nullable=False),
    Column("data", Json, nullable=False),
    ForeignKeyConstraint(["execution", "strategy"], ["strategies.execution", "strategies.strategy"]),
    from_one("sequence"),
    not_empty("type"),
    Index(None, "execution", "ts_ns"),
)

# --- signals, trades, orders, fills ----------------------------------------------------------------------------------
#
# Indexes are few on purpose: each is a page that every intent has to write before it may be sent. The reading commands go by
# execution, and what is still open is found by its status.

signals = Table(
    "signals",
    metadata,
    Column("signal_id", Text, primary_key=True),
    Column("execution", Text, ForeignKey("executions.execution"), nullable=False),
    Column("strategy", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text),
    Column("side", Choice(Side), nullable=False),
    Column("confidence", Money),
    Column("entry_price", Money),
    Column("stop_loss", Money),
    Column("take_profit", Money),
    Column("session", Text),
    Column("pattern_type", Text),
    Column("generated_at_ns", Nanoseconds, nullable=False),
    Column("executed", Flag, nullable=False),
    Column("execution_status", Choice(SignalStatus), nullable=False),
    Column("status_reason", Text, nullable=False),
    Column("rl_state_key", Text),
    Column("rl_action_key", Text),
    Column("trade_id", Text),
    ForeignKeyConstraint(["execution", "strategy"], ["strategies.execution", "strategies.strategy"]),
    not_empty("signal_id"),
    one_of("side", Side),
    yes_or_no("executed"),
    one_of("execution_status", SignalStatus),
    CheckConstraint("(executed = 1) = (execution_status = 'executed')", name="executed_agrees"),
    Index(None, "execution", "generated_at_ns"),
)

trades = Table(
    "trades",
    metadata,
    Column("trade_id", Text, primary_key=True),
    Column("signal_id", Text, ForeignKey("signals.signal_id")),
    Column("execution", Text, ForeignKey("executions.execution"), nullable=False),
    Column("account", Text, nullable=False),
    Column("strategy", Text),
    Column("venue", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Choice(TradeSide), nullable=False),
    Column("status", Choice(TradeStatus), nullable=False),
    Column("quantity", Money, nullable=False),
    Column("entered_quantity", Money, nullable=False),
    Column("entry_value", Money, nullable=False),
    Column("exited_quantity", Money, nullable=False),
    Column("exit_value", Money, nullable=False),
    Column("open_cost", Money, nullable=False),
    Column("leverage", Money),
    Column("margin", Money, nullable=False),
    Column("entry_time_ns", Nanoseconds),
    Column("entry_fee", Money, nullable=False),
    Column("entry_slippage", Money, nullable=False),
    Column("exit_time_ns", Nanoseconds),
    Column("exit_fee", Money, nullable=False),
    Column("exit_slippage", Money, nullable=False),
    Column("exit_reason", Choice(CloseReason)),
    Column("financing", Money, nullable=False),
    Column("stop_loss", Money),
    Column("initial_stop_loss", Money),
    Column("take_profit", Money),
    Column("trailing_distance", Money),
    Column("trailing_percent", Money),
    Column("exit_at_ns", Nanoseconds),
    Column("best_price", Money),
    Column("worst_price", Money),
    Column("gross_pnl", Money, nullable=False),
    Column("session", Text),
    Column("timeframe", Text),
    Column("pattern_type", Text),
    Column("model", Text),
    Column("confidence_score", Money),
    Column("meta_strategy_id", Text),
    Column("regime", Text),
    Column("rl_state_key", Text),
    Column("rl_action_key", Text),
    Column("entry_order_id", Text, nullable=False),
    Column("exit_order_ids", Texts, nullable=False),
    Column("venue_order_id", Text),
    Column("venue_trade_ids", Texts, nullable=False),
    Column("position_ref", Text),
    Column("liquidity", Text),
    Column("correlation_id", Text, nullable=False),
    Column("parameter_mode", Text),
    Column("tags", Texts, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("exits_at_venue", Flag, nullable=False),
    Column("entry_position", Count, nullable=False),
    Column("created_ns", Nanoseconds, nullable=False),
    Column("updated_ns", Nanoseconds, nullable=False),
    Column("version", Count, nullable=False),
    # For people: computed from the row itself when it is written.
    Column("entry_price", Money),
    Column("exit_price", Money),
    Column("pnl", Money, nullable=False),
    Column("pnl_percentage", Money),
    Column("r_multiple", Money),
    Column("risk_reward_ratio", Money),
    ForeignKeyConstraint(["execution", "strategy"], ["strategies.execution", "strategies.strategy"]),
    not_empty("trade_id"),
    one_of("side", TradeSide),
    one_of("status", TradeStatus),
    one_of("exit_reason", CloseReason),
    one_of("liquidity", Liquidity),
    positive("quantity", unless="status = 'FAILED'"),
    not_negative("entered_quantity"),
    not_negative("exited_quantity"),
    not_negative("margin"),
    yes_or_no("exits_at_venue"),
    CheckConstraint("entry_time_ns IS NOT NULL OR status IN ('PENDING', 'FAILED')", name="entered_when"),
    CheckConstraint("status <> 'CLOSED' OR (exit_reason IS NOT NULL AND exit_time_ns IS NOT NULL)", name="closed_why"),
    Index(None, "execution", "created_ns"),
    Index(None, "status", "created_ns"),
)

orders = Table(
    "orders",
    metadata,
    Column("client_order_id", Text, primary_key=True),
    Column("execution", Text, ForeignKey("executions.execution"), nullable=False),
    Column("account", Text, nullable=False),
    Column("strategy", Text),
    Column("instrument", Text, nullable=False),
    Column("side", Choice(Side), nullable=False),
    Column("type", Choice(OrderType), nullable=False),
    Column("purpose", Choice(Purpose), nullable=False),
    Column("quantity", Money, nullable=False),
    Column("time_in_force", Choice(TimeInForce), nullable=False),
    Column("price", Money),
    Column("stop_price", Money),
    Column("trail_distance", Money),
    Column("expire_at_ns", Nanoseconds),
    Column("reduce_only", Flag, nullable=False),
    Column("position_ref", Text),
    Column("trade_id", Text, ForeignKey("trades.trade_id")),
    Column("signal_id", Text, ForeignKey("signals.signal_id")),
    Column("parent_id", Text, ForeignKey("orders.client_order_id")),
    Column("oco_group", Text),
    Column("after_cancel_of", Texts, nullable=False),
    Column("close_reason", Text),
    Column("source", Text, nullable=False),
    Column("decision", Count, nullable=False),
    Column("leg", Count, nullable=False),
    Column("attempt", Count, nullable=False),
    Column("renews", Text),
    Column("status", Choice(OrderStatus), nullable=False),
    Column("status_reason", Text, nullable=False),
    Column("filled_quantity", Money, nullable=False),
    Column("filled_value", Money, nullable=False),
    Column("fee", Money, nullable=False),
    Column("venue_order_id", Text),
    Column("correlation_id", Text, nullable=False),
    Column("reference_price", Money),
    Column("created_ns", Nanoseconds, nullable=False),
    Column("submitted_ns", Nanoseconds),
    Column("updated_ns", Nanoseconds, nullable=False),
    Column("deadline_ns", Nanoseconds),
    Column("stamp", Count, nullable=False),
    ForeignKeyConstraint(["execution", "strategy"], ["strategies.execution", "strategies.strategy"]),
    not_empty("client_order_id"),
    one_of("side", Side),
    one_of("type", OrderType),
    one_of("purpose", Purpose),
    one_of("time_in_force", TimeInForce),
    one_of("status", OrderStatus),
    one_of("close_reason", CloseReason),
    yes_or_no("reduce_only"),
    # A strategy may ask for nonsense; that order is recorded as denied, with the nonsense in it.
    not_negative("quantity", unless="status = 'denied'"),
    not_negative("filled_quantity"),
    CheckConstraint(
        SignRule("filled_quantity", "> 0", "status NOT IN ('filled', 'partially_filled')"), name="filled_some"
    ),
    CheckConstraint("attempt >= 0", name="attempt_not_negative"),
    Index(None, "execution", "created_ns"),
    Index(None, "status", "created_ns"),
)

fills = Table(
    "fills",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("fill_id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("venue", Text, nullable=False),
    Column("instrument", Text, nullable=False),
    Column("side", Choice(Side), nullable=False),
    Column("quantity", Money, nullable=False),
    Column("price", Money, nullable=False),
    Column("fee", Money, nullable=False),
    Column("realised", Money, nullable=False),
    Column("rate", Money, nullable=False),
    Column("liquidity", Choice(Liquidity), nullable=False),
    Column("ts_ns", Nanoseconds, nullable=False),
    Column("venue_order_id", Text, nullable=False),
    Column("client_order_id", Text),
    Column("venue_sequence", Count, nullable=False),
    Column("position_ref", Text),
    Column("execution", Text, ForeignKey("executions.execution"), nullable=False),
    # Within an execution: a paper account that starts afresh numbers its fills from one again.
    UniqueConstraint("execution", "account", "instrument", "venue_order_id", "fill_id"),
    not_empty("fill_id"),
    one_of("side", Side),
    one_of("liquidity", Liquidity),
    positive("quantity"),
    Index(None, "client_order_id"),
    Index(None, "execution", "ts_ns"),
)

# --- figures, parameters, positions in other people's records ---------------------------------------------------------

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

# --- the schema's own log --------------------------------------------------------------------------------------------

schema_migrations = Table(
    "schema_migrations",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("revision", Text, nullable=False),
    Column("from_revision", Text),
    Column("description", Text, nullable=False),
    Column("applied_ns", Nanoseconds, nullable=False),
    Column("backup", Text),
)
