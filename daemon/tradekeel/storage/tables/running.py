"""The journal, and what runs."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from tradekeel.domain.rows import Latch, Mode, StrategyStatus
from tradekeel.storage.columns import (
    Blob,
    Choice,
    Count,
    Flag,
    Json,
    Money,
    Nanoseconds,
    Texts,
    from_one,
    not_empty,
    one_of,
    yes_or_no,
)
from tradekeel.storage.tables.base import metadata
from tradekeel.storage.whose import A_DAEMONS


class ExecutionStatus(StrEnum):
    """Whether an execution goes on after a restart."""

    RUNNING = "running"
    CLOSED = "closed"


LATCH_WORDS = ("open", "paused", "reduce_only", "halted")
"""What a latch may be. "paused" is none, a pause is a column of its own; the check has had the word from the start."""


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
# One account, one unfinished execution of a daemon.
Index(
    "ix_executions_one_running",
    executions.c.account,
    unique=True,
    sqlite_where=text(f"status = 'running' AND {A_DAEMONS}"),
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
