"""The first tables

Revision 0001 makes a new file. Frozen once released: a later change is a later revision.
"""

import sqlalchemy as sa
from alembic import op

from tradekeel.storage import columns as c

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JOURNAL_TRIGGERS = (
    (
        "CREATE TRIGGER journal_refuses_update BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, "
        "'the journal is append only'); END"
    ),
    (
        "CREATE TRIGGER journal_refuses_delete BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, "
        "'the journal is append only'); END"
    ),
)


def upgrade() -> None:
    """Make every table, its indexes, and the triggers that keep the journal append only."""
    op.create_table(
        "executions",
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("config_fingerprint", sa.Text(), nullable=False),
        sa.Column("data_fingerprint", sa.Text(), nullable=False),
        sa.Column("opening_balance", c.Money(), nullable=False),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("closed_ns", sa.BigInteger(), nullable=True),
        sa.Column("close_reason", sa.Text(), nullable=False),
        sa.Column("latch", sa.Text(), nullable=False),
        sa.Column("latch_reason", sa.Text(), nullable=False),
        sa.Column("paused", c.Flag(), nullable=False),
        sa.CheckConstraint("(status = 'closed') = (closed_ns IS NOT NULL)", name=op.f("ck_executions_closed_when")),
        sa.CheckConstraint("account <> ''", name=op.f("ck_executions_account_not_empty")),
        sa.CheckConstraint("execution <> ''", name=op.f("ck_executions_execution_not_empty")),
        sa.CheckConstraint(
            "latch = 'open' OR latch = 'paused' OR latch = 'reduce_only' OR latch = 'halted'",
            name=op.f("ck_executions_latch_word"),
        ),
        sa.CheckConstraint(
            "mode = 'live' OR mode = 'paper' OR mode = 'backtest'", name=op.f("ck_executions_mode_word")
        ),
        sa.CheckConstraint("status = 'running' OR status = 'closed'", name=op.f("ck_executions_status_word")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_executions_number_from_one")),
        sa.CheckConstraint("paused IN (0, 1)", name=op.f("ck_executions_paused_flag")),
        sa.PrimaryKeyConstraint("execution", name=op.f("pk_executions")),
        sa.UniqueConstraint("account", "number", name=op.f("uq_executions_account_number")),
    )
    op.create_index(
        "ix_executions_one_running",
        "executions",
        ["account"],
        unique=True,
        sqlite_where=sa.text("status = 'running' AND mode <> 'backtest'"),
        postgresql_where=sa.text("status = 'running' AND mode <> 'backtest'"),
    )
    op.create_table(
        "schema_migrations",
        sa.Column("id", c.Identity, nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("from_revision", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("applied_ns", sa.BigInteger(), nullable=False),
        sa.Column("backup", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_migrations")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", c.Identity, nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("inbox", sa.BigInteger(), nullable=False),
        sa.Column("ts_ns", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("crc", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("owner <> ''", name=op.f("ck_checkpoints_owner_not_empty")),
        sa.CheckConstraint("owner = '#account' OR length(state) <= 65536", name=op.f("ck_checkpoints_state_size")),
        sa.CheckConstraint(
            "sequence >= 0 AND position >= 0 AND inbox >= 0", name=op.f("ck_checkpoints_numbers_not_negative")
        ),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_checkpoints_execution")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
    )
    op.create_index(
        op.f("ix_checkpoints_execution_owner_id"), "checkpoints", ["execution", "owner", "id"], unique=False
    )
    op.create_table(
        "fills",
        sa.Column("id", c.Identity, nullable=False),
        sa.Column("fill_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", c.Money(), nullable=False),
        sa.Column("price", c.Money(), nullable=False),
        sa.Column("fee", c.Money(), nullable=False),
        sa.Column("realised", c.Money(), nullable=False),
        sa.Column("rate", c.Money(), nullable=False),
        sa.Column("liquidity", sa.Text(), nullable=False),
        sa.Column("ts_ns", sa.BigInteger(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=True),
        sa.Column("venue_sequence", sa.BigInteger(), nullable=False),
        sa.Column("position_ref", sa.Text(), nullable=True),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.CheckConstraint("fill_id <> ''", name=op.f("ck_fills_fill_id_not_empty")),
        sa.CheckConstraint("liquidity = 'maker' OR liquidity = 'taker'", name=op.f("ck_fills_liquidity_word")),
        sa.CheckConstraint("side = 'buy' OR side = 'sell'", name=op.f("ck_fills_side_word")),
        sa.CheckConstraint(c.SignRule("quantity", "> 0"), name=op.f("ck_fills_quantity_positive")),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_fills_execution")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fills")),
        sa.UniqueConstraint(
            "execution",
            "account",
            "instrument",
            "venue_order_id",
            "fill_id",
            name=op.f("uq_fills_execution_account_instrument_venue_order_id_fill_id"),
        ),
    )
    op.create_index(op.f("ix_fills_client_order_id"), "fills", ["client_order_id"], unique=False)
    op.create_index(op.f("ix_fills_execution_ts_ns"), "fills", ["execution", "ts_ns"], unique=False)
    op.create_table(
        "journal",
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("ts_ns", sa.BigInteger(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("crc", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("type <> ''", name=op.f("ck_journal_type_not_empty")),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_journal_sequence_from_one")),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_journal_execution")),
        sa.PrimaryKeyConstraint("execution", "sequence", name=op.f("pk_journal")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "metrics_checkpoints",
        sa.Column("id", c.Identity, nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("ts_ns", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("crc", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_metrics_checkpoints_execution")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metrics_checkpoints")),
    )
    op.create_index(
        op.f("ix_metrics_checkpoints_execution_id"), "metrics_checkpoints", ["execution", "id"], unique=False
    )
    op.create_table(
        "parameter_history",
        sa.Column("id", c.Identity, nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("ts_ns", sa.BigInteger(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("old", sa.Text(), nullable=True),
        sa.Column("new", sa.Text(), nullable=True),
        sa.Column("parameter_mode", sa.Text(), nullable=True),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("confidence_threshold", c.Money(), nullable=True),
        sa.Column("min_risk_reward", c.Money(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            (
                "changed_by = 'system_auto' OR changed_by = 'learning_agent' OR changed_by = 'manual' OR "
                "changed_by = 'emergency'"
            ),
            name=op.f("ck_parameter_history_changed_by_word"),
        ),
        sa.CheckConstraint("name <> ''", name=op.f("ck_parameter_history_name_not_empty")),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_parameter_history_execution")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parameter_history")),
    )
    op.create_index(
        op.f("ix_parameter_history_execution_ts_ns"), "parameter_history", ["execution", "ts_ns"], unique=False
    )
    op.create_table(
        "performance_snapshots",
        sa.Column("id", c.Identity, nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("ts_ns", sa.BigInteger(), nullable=False),
        sa.Column("total_trades", sa.BigInteger(), nullable=False),
        sa.Column("winning_trades", sa.BigInteger(), nullable=False),
        sa.Column("losing_trades", sa.BigInteger(), nullable=False),
        sa.Column("win_rate", c.Money(), nullable=True),
        sa.Column("pnl", c.Money(), nullable=False),
        sa.Column("balance", c.Money(), nullable=False),
        sa.Column("equity", c.Money(), nullable=False),
        sa.Column("sharpe", c.Money(), nullable=True),
        sa.Column("max_drawdown", c.Money(), nullable=False),
        sa.Column("average_risk_reward", c.Money(), nullable=True),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("parameter_mode", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "winning_trades >= 0 AND losing_trades >= 0 AND winning_trades + losing_trades <= total_trades",
            name=op.f("ck_performance_snapshots_trades_add_up"),
        ),
        sa.ForeignKeyConstraint(
            ["execution"], ["executions.execution"], name=op.f("fk_performance_snapshots_execution")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performance_snapshots")),
    )
    op.create_index(
        op.f("ix_performance_snapshots_execution_ts_ns"), "performance_snapshots", ["execution", "ts_ns"], unique=False
    )
    op.create_table(
        "strategies",
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=False),
        sa.Column("instruments", c.Texts(), nullable=False),
        sa.Column("parameters", c.Json(), nullable=False),
        sa.Column("decisions", sa.BigInteger(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            ("status = 'draft' OR status = 'active' OR status = 'paused' OR status = 'stopped' OR status = 'failed'"),
            name=op.f("ck_strategies_status_word"),
        ),
        sa.CheckConstraint("strategy <> ''", name=op.f("ck_strategies_strategy_not_empty")),
        sa.CheckConstraint("decisions >= 0", name=op.f("ck_strategies_decisions_not_negative")),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_strategies_execution")),
        sa.PrimaryKeyConstraint("execution", "strategy", name=op.f("pk_strategies")),
    )
    op.create_table(
        "venue_cursors",
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("sequence >= 0", name=op.f("ck_venue_cursors_sequence_not_negative")),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_venue_cursors_execution")),
        sa.PrimaryKeyConstraint("execution", "venue", name=op.f("pk_venue_cursors")),
    )
    op.create_table(
        "signals",
        sa.Column("signal_id", sa.Text(), nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=True),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("confidence", c.Money(), nullable=True),
        sa.Column("entry_price", c.Money(), nullable=True),
        sa.Column("stop_loss", c.Money(), nullable=True),
        sa.Column("take_profit", c.Money(), nullable=True),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("pattern_type", sa.Text(), nullable=True),
        sa.Column("generated_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("executed", c.Flag(), nullable=False),
        sa.Column("execution_status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=False),
        sa.Column("rl_state_key", sa.Text(), nullable=True),
        sa.Column("rl_action_key", sa.Text(), nullable=True),
        sa.Column("trade_id", sa.Text(), nullable=True),
        sa.CheckConstraint("(executed = 1) = (execution_status = 'executed')", name=op.f("ck_signals_executed_agrees")),
        sa.CheckConstraint(
            (
                "execution_status = 'pending' OR execution_status = 'denied' OR execution_status = 'ordered' OR "
                "execution_status = 'executed' OR execution_status = 'failed'"
            ),
            name=op.f("ck_signals_execution_status_word"),
        ),
        sa.CheckConstraint("side = 'buy' OR side = 'sell'", name=op.f("ck_signals_side_word")),
        sa.CheckConstraint("signal_id <> ''", name=op.f("ck_signals_signal_id_not_empty")),
        sa.CheckConstraint("executed IN (0, 1)", name=op.f("ck_signals_executed_flag")),
        sa.ForeignKeyConstraint(
            ["execution", "strategy"],
            ["strategies.execution", "strategies.strategy"],
            name=op.f("fk_signals_execution_strategy"),
        ),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_signals_execution")),
        sa.PrimaryKeyConstraint("signal_id", name=op.f("pk_signals")),
    )
    op.create_index(
        op.f("ix_signals_execution_generated_at_ns"), "signals", ["execution", "generated_at_ns"], unique=False
    )
    op.create_table(
        "strategy_events",
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("ts_ns", sa.BigInteger(), nullable=False),
        sa.Column("data", c.Json(), nullable=False),
        sa.CheckConstraint("type <> ''", name=op.f("ck_strategy_events_type_not_empty")),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_strategy_events_sequence_from_one")),
        sa.ForeignKeyConstraint(
            ["execution", "strategy"],
            ["strategies.execution", "strategies.strategy"],
            name=op.f("fk_strategy_events_execution_strategy"),
        ),
        sa.PrimaryKeyConstraint("execution", "strategy", "sequence", name=op.f("pk_strategy_events")),
    )
    op.create_index(op.f("ix_strategy_events_execution_ts_ns"), "strategy_events", ["execution", "ts_ns"], unique=False)
    op.create_table(
        "trades",
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("signal_id", sa.Text(), nullable=True),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=True),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("quantity", c.Money(), nullable=False),
        sa.Column("entered_quantity", c.Money(), nullable=False),
        sa.Column("entry_value", c.Money(), nullable=False),
        sa.Column("exited_quantity", c.Money(), nullable=False),
        sa.Column("exit_value", c.Money(), nullable=False),
        sa.Column("open_cost", c.Money(), nullable=False),
        sa.Column("leverage", c.Money(), nullable=True),
        sa.Column("margin", c.Money(), nullable=False),
        sa.Column("entry_time_ns", sa.BigInteger(), nullable=True),
        sa.Column("entry_fee", c.Money(), nullable=False),
        sa.Column("entry_slippage", c.Money(), nullable=False),
        sa.Column("exit_time_ns", sa.BigInteger(), nullable=True),
        sa.Column("exit_fee", c.Money(), nullable=False),
        sa.Column("exit_slippage", c.Money(), nullable=False),
        sa.Column("exit_reason", sa.Text(), nullable=True),
        sa.Column("financing", c.Money(), nullable=False),
        sa.Column("stop_loss", c.Money(), nullable=True),
        sa.Column("initial_stop_loss", c.Money(), nullable=True),
        sa.Column("take_profit", c.Money(), nullable=True),
        sa.Column("trailing_distance", c.Money(), nullable=True),
        sa.Column("trailing_percent", c.Money(), nullable=True),
        sa.Column("exit_at_ns", sa.BigInteger(), nullable=True),
        sa.Column("best_price", c.Money(), nullable=True),
        sa.Column("worst_price", c.Money(), nullable=True),
        sa.Column("gross_pnl", c.Money(), nullable=False),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("timeframe", sa.Text(), nullable=True),
        sa.Column("pattern_type", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("confidence_score", c.Money(), nullable=True),
        sa.Column("meta_strategy_id", sa.Text(), nullable=True),
        sa.Column("regime", sa.Text(), nullable=True),
        sa.Column("rl_state_key", sa.Text(), nullable=True),
        sa.Column("rl_action_key", sa.Text(), nullable=True),
        sa.Column("entry_order_id", sa.Text(), nullable=False),
        sa.Column("exit_order_ids", c.Texts(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=True),
        sa.Column("venue_trade_ids", c.Texts(), nullable=False),
        sa.Column("position_ref", sa.Text(), nullable=True),
        sa.Column("liquidity", sa.Text(), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("parameter_mode", sa.Text(), nullable=True),
        sa.Column("tags", c.Texts(), nullable=False),
        sa.Column("metadata", c.Json(), nullable=False),
        sa.Column("exits_at_venue", c.Flag(), nullable=False),
        sa.Column("entry_position", sa.BigInteger(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("entry_price", c.Money(), nullable=True),
        sa.Column("exit_price", c.Money(), nullable=True),
        sa.Column("pnl", c.Money(), nullable=False),
        sa.Column("pnl_percentage", c.Money(), nullable=True),
        sa.Column("r_multiple", c.Money(), nullable=True),
        sa.Column("risk_reward_ratio", c.Money(), nullable=True),
        sa.CheckConstraint(
            "entry_time_ns IS NOT NULL OR status IN ('PENDING', 'FAILED')", name=op.f("ck_trades_entered_when")
        ),
        sa.CheckConstraint(
            (
                "exit_reason = 'stop_loss' OR exit_reason = 'take_profit' OR exit_reason = 'trailing_stop' OR "
                "exit_reason = 'signal' OR exit_reason = 'time' OR exit_reason = 'manual' OR "
                "exit_reason = 'margin_call' OR exit_reason = 'venue' OR exit_reason = 'reconcile'"
            ),
            name=op.f("ck_trades_exit_reason_word"),
        ),
        sa.CheckConstraint("liquidity = 'maker' OR liquidity = 'taker'", name=op.f("ck_trades_liquidity_word")),
        sa.CheckConstraint("side = 'LONG' OR side = 'SHORT'", name=op.f("ck_trades_side_word")),
        sa.CheckConstraint(
            "status <> 'CLOSED' OR (exit_reason IS NOT NULL AND exit_time_ns IS NOT NULL)",
            name=op.f("ck_trades_closed_why"),
        ),
        sa.CheckConstraint(
            c.SignRule("quantity", "> 0", "status = 'FAILED'"), name=op.f("ck_trades_quantity_positive")
        ),
        sa.CheckConstraint(
            ("status = 'PENDING' OR status = 'OPEN' OR status = 'CLOSING' OR status = 'CLOSED' OR status = 'FAILED'"),
            name=op.f("ck_trades_status_word"),
        ),
        sa.CheckConstraint("trade_id <> ''", name=op.f("ck_trades_trade_id_not_empty")),
        sa.CheckConstraint(
            c.SignRule("entered_quantity", ">= 0"), name=op.f("ck_trades_entered_quantity_not_negative")
        ),
        sa.CheckConstraint(c.SignRule("exited_quantity", ">= 0"), name=op.f("ck_trades_exited_quantity_not_negative")),
        sa.CheckConstraint(c.SignRule("margin", ">= 0"), name=op.f("ck_trades_margin_not_negative")),
        sa.CheckConstraint("exits_at_venue IN (0, 1)", name=op.f("ck_trades_exits_at_venue_flag")),
        sa.ForeignKeyConstraint(
            ["execution", "strategy"],
            ["strategies.execution", "strategies.strategy"],
            name=op.f("fk_trades_execution_strategy"),
        ),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_trades_execution")),
        sa.ForeignKeyConstraint(["signal_id"], ["signals.signal_id"], name=op.f("fk_trades_signal_id")),
        sa.PrimaryKeyConstraint("trade_id", name=op.f("pk_trades")),
    )
    op.create_index(op.f("ix_trades_execution_created_ns"), "trades", ["execution", "created_ns"], unique=False)
    op.create_index(op.f("ix_trades_status_created_ns"), "trades", ["status", "created_ns"], unique=False)
    op.create_table(
        "orders",
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=True),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("quantity", c.Money(), nullable=False),
        sa.Column("time_in_force", sa.Text(), nullable=False),
        sa.Column("price", c.Money(), nullable=True),
        sa.Column("stop_price", c.Money(), nullable=True),
        sa.Column("trail_distance", c.Money(), nullable=True),
        sa.Column("expire_at_ns", sa.BigInteger(), nullable=True),
        sa.Column("reduce_only", c.Flag(), nullable=False),
        sa.Column("position_ref", sa.Text(), nullable=True),
        sa.Column("trade_id", sa.Text(), nullable=True),
        sa.Column("signal_id", sa.Text(), nullable=True),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("oco_group", sa.Text(), nullable=True),
        sa.Column("after_cancel_of", c.Texts(), nullable=False),
        sa.Column("close_reason", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("decision", sa.BigInteger(), nullable=False),
        sa.Column("leg", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("renews", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=False),
        sa.Column("filled_quantity", c.Money(), nullable=False),
        sa.Column("filled_value", c.Money(), nullable=False),
        sa.Column("fee", c.Money(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("reference_price", c.Money(), nullable=True),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("submitted_ns", sa.BigInteger(), nullable=True),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.Column("deadline_ns", sa.BigInteger(), nullable=True),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("client_order_id <> ''", name=op.f("ck_orders_client_order_id_not_empty")),
        sa.CheckConstraint(
            (
                "close_reason = 'stop_loss' OR close_reason = 'take_profit' OR "
                "close_reason = 'trailing_stop' OR close_reason = 'signal' OR close_reason = 'time' OR "
                "close_reason = 'manual' OR close_reason = 'margin_call' OR close_reason = 'venue' OR "
                "close_reason = 'reconcile'"
            ),
            name=op.f("ck_orders_close_reason_word"),
        ),
        sa.CheckConstraint("purpose = 'entry' OR purpose = 'exit'", name=op.f("ck_orders_purpose_word")),
        sa.CheckConstraint("side = 'buy' OR side = 'sell'", name=op.f("ck_orders_side_word")),
        sa.CheckConstraint(
            c.SignRule("quantity", ">= 0", "status = 'denied'"), name=op.f("ck_orders_quantity_not_negative")
        ),
        sa.CheckConstraint(
            (
                "status = 'intended' OR status = 'submitted' OR status = 'accepted' OR "
                "status = 'partially_filled' OR status = 'filled' OR status = 'cancel_requested' OR "
                "status = 'canceled' OR status = 'expired' OR status = 'denied' OR status = 'rejected' OR "
                "status = 'not_sent' OR status = 'unknown'"
            ),
            name=op.f("ck_orders_status_word"),
        ),
        sa.CheckConstraint(
            c.SignRule("filled_quantity", "> 0", "status NOT IN ('filled', 'partially_filled')"),
            name=op.f("ck_orders_filled_some"),
        ),
        sa.CheckConstraint(
            ("time_in_force = 'gtc' OR time_in_force = 'ioc' OR time_in_force = 'fok' OR time_in_force = 'gtd'"),
            name=op.f("ck_orders_time_in_force_word"),
        ),
        sa.CheckConstraint(
            ("type = 'market' OR type = 'limit' OR type = 'stop' OR type = 'stop_limit' OR type = 'trailing_stop'"),
            name=op.f("ck_orders_type_word"),
        ),
        sa.CheckConstraint(c.SignRule("filled_quantity", ">= 0"), name=op.f("ck_orders_filled_quantity_not_negative")),
        sa.CheckConstraint("attempt >= 0", name=op.f("ck_orders_attempt_not_negative")),
        sa.CheckConstraint("reduce_only IN (0, 1)", name=op.f("ck_orders_reduce_only_flag")),
        sa.ForeignKeyConstraint(
            ["execution", "strategy"],
            ["strategies.execution", "strategies.strategy"],
            name=op.f("fk_orders_execution_strategy"),
        ),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_orders_execution")),
        sa.ForeignKeyConstraint(["parent_id"], ["orders.client_order_id"], name=op.f("fk_orders_parent_id")),
        sa.ForeignKeyConstraint(["signal_id"], ["signals.signal_id"], name=op.f("fk_orders_signal_id")),
        sa.ForeignKeyConstraint(["trade_id"], ["trades.trade_id"], name=op.f("fk_orders_trade_id")),
        sa.PrimaryKeyConstraint("client_order_id", name=op.f("pk_orders")),
    )
    op.create_index(op.f("ix_orders_execution_created_ns"), "orders", ["execution", "created_ns"], unique=False)
    op.create_index(op.f("ix_orders_status_created_ns"), "orders", ["status", "created_ns"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        for statement in JOURNAL_TRIGGERS:
            op.execute(statement)


def downgrade() -> None:
    """Drop them all."""
    op.drop_index(op.f("ix_orders_status_created_ns"), table_name="orders")
    op.drop_index(op.f("ix_orders_execution_created_ns"), table_name="orders")
    op.drop_table("orders")
    op.drop_index(op.f("ix_trades_status_created_ns"), table_name="trades")
    op.drop_index(op.f("ix_trades_execution_created_ns"), table_name="trades")
    op.drop_table("trades")
    op.drop_index(op.f("ix_strategy_events_execution_ts_ns"), table_name="strategy_events")
    op.drop_table("strategy_events")
    op.drop_index(op.f("ix_signals_execution_generated_at_ns"), table_name="signals")
    op.drop_table("signals")
    op.drop_table("venue_cursors")
    op.drop_table("strategies")
    op.drop_index(op.f("ix_performance_snapshots_execution_ts_ns"), table_name="performance_snapshots")
    op.drop_table("performance_snapshots")
    op.drop_index(op.f("ix_parameter_history_execution_ts_ns"), table_name="parameter_history")
    op.drop_table("parameter_history")
    op.drop_index(op.f("ix_metrics_checkpoints_execution_id"), table_name="metrics_checkpoints")
    op.drop_table("metrics_checkpoints")
    op.drop_table("journal")
    op.drop_index(op.f("ix_fills_execution_ts_ns"), table_name="fills")
    op.drop_index(op.f("ix_fills_client_order_id"), table_name="fills")
    op.drop_table("fills")
    op.drop_index(op.f("ix_checkpoints_execution_owner_id"), table_name="checkpoints")
    op.drop_table("checkpoints")
    op.drop_table("schema_migrations")
    op.drop_index(
        "ix_executions_one_running",
        table_name="executions",
        sqlite_where=sa.text("status = 'running' AND mode <> 'backtest'"),
        postgresql_where=sa.text("status = 'running' AND mode <> 'backtest'"),
    )
    op.drop_table("executions")
