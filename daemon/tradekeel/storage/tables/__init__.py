"""What is stored: the journal, the projections made from it, the checkpoints, who works on what, and the log of the schema.

Columns are named after the fields of the domain's rows (:mod:`tradekeel.domain.records`), so that one word has one
meaning; a test holds them to it. Amounts are exact text, times integer nanoseconds, lists and free-form data JSON text.
A few columns are there for people who read the file with a tool of their own (a trade's prices and profit): they are
written with the row, never read back, and ``verify`` checks them like any other.

Two references are not foreign keys on purpose: a fill may name an order that is not ours (somebody trades on the same
account), and the trade adopted from it names that same order as its entry. The venue's money is real, so both must be
booked.
"""

from tradekeel.storage.tables.archives import journal_archives
from tradekeel.storage.tables.base import metadata, say_conditions_to_postgresql
from tradekeel.storage.tables.control import leases, migration_history, position_notes, task_executions, tasks
from tradekeel.storage.tables.figures import (
    checkpoints,
    metrics_checkpoints,
    parameter_history,
    performance_snapshots,
    venue_cursors,
)
from tradekeel.storage.tables.running import (
    JOURNAL_TRIGGERS,
    LATCH_WORDS,
    ExecutionStatus,
    executions,
    journal,
    strategies,
    strategy_events,
)
from tradekeel.storage.tables.trading import FILL_KEY, fills, orders, signals, trades

__all__ = [
    "FILL_KEY",
    "JOURNAL_TRIGGERS",
    "LATCH_WORDS",
    "ExecutionStatus",
    "checkpoints",
    "executions",
    "fills",
    "journal",
    "journal_archives",
    "leases",
    "metadata",
    "metrics_checkpoints",
    "migration_history",
    "orders",
    "parameter_history",
    "performance_snapshots",
    "position_notes",
    "say_conditions_to_postgresql",
    "signals",
    "strategies",
    "strategy_events",
    "task_executions",
    "tasks",
    "trades",
    "venue_cursors",
]
