"""What a model learns from: of each closed trade the state it was decided in, the action that was taken, and what it brought.

``reward`` is the profit after fees and financing in account currency, ``reward_r`` the same in units of the risk that was
taken (NULL without a stop). Trades without a state are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from tradekeel.storage.transfer.tables import FileColumn, FileTable, Kind

_COLUMNS: tuple[tuple[str, str, Kind, bool], ...] = (
    ("trade_id", "trade_id", Kind.TEXT, False),
    ("execution", "execution", Kind.TEXT, False),
    ("account", "account", Kind.TEXT, False),
    ("strategy", "strategy", Kind.TEXT, True),
    ("symbol", "symbol", Kind.TEXT, False),
    ("side", "side", Kind.TEXT, False),
    ("state", "rl_state_key", Kind.TEXT, False),
    ("action", "rl_action_key", Kind.TEXT, True),
    ("reward", "pnl", Kind.DECIMAL, False),
    ("reward_r", "r_multiple", Kind.DECIMAL, True),
    ("reward_percent", "pnl_percentage", Kind.DECIMAL, True),
    ("exit_reason", "exit_reason", Kind.TEXT, True),
    ("session", "session", Kind.TEXT, True),
    ("timeframe", "timeframe", Kind.TEXT, True),
    ("pattern_type", "pattern_type", Kind.TEXT, True),
    ("regime", "regime", Kind.TEXT, True),
    ("confidence_score", "confidence_score", Kind.DECIMAL, True),
    ("parameter_mode", "parameter_mode", Kind.TEXT, True),
    ("created_ns", "created_ns", Kind.INTEGER, False),
    ("entry_time_ns", "entry_time_ns", Kind.INTEGER, True),
    ("exit_time_ns", "exit_time_ns", Kind.INTEGER, True),
)

LEARNING = FileTable(
    "learning",
    tuple(FileColumn(name, kind, null) for name, _, kind, null in _COLUMNS),
    ("created_ns", "trade_id"),
    frozenset({"trade_id"}),
)


def learning_sql(conditions: Sequence[str]) -> str:
    """The question, narrowed further."""
    listed = ", ".join(f"{source} AS {name}" for name, source, _, _ in _COLUMNS)
    where = " AND ".join(("status = 'CLOSED'", "rl_state_key IS NOT NULL", *conditions))
    return f"SELECT {listed} FROM trades WHERE {where}"  # noqa: S608  # names of our own
