"""Who works on what: tasks and their executions, leases, what people attach to positions; and the schema's own log.

None of these follows from a journal, so ``verify`` has nothing to compare them with. Nothing about an order is decided by them; a
lease says who may write at all.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Table, Text

from tradekeel.domain.tasks import PROGRESS_MAX, TaskStatus, TaskType
from tradekeel.storage.columns import Choice, Count, Identity, Json, Nanoseconds, Texts, from_one, not_empty, one_of
from tradekeel.storage.tables.base import metadata

tasks = Table(
    "tasks",
    metadata,
    Column("task_id", Text, primary_key=True),
    Column("type", Choice(TaskType), nullable=False),
    Column("name", Text, nullable=False),
    Column("instruments", Texts, nullable=False),
    Column("since_ns", Nanoseconds),
    Column("until_ns", Nanoseconds),
    Column("config", Json, nullable=False),
    Column("created_ns", Nanoseconds, nullable=False),
    not_empty("task_id"),
    not_empty("name"),
    one_of("type", TaskType),
    CheckConstraint("until_ns >= since_ns", name="since_before_until"),
)

task_executions = Table(
    "task_executions",
    metadata,
    Column("task_id", Text, ForeignKey("tasks.task_id"), primary_key=True),
    Column("number", Count, primary_key=True, autoincrement=False),
    Column("execution", Text, ForeignKey("executions.execution")),
    Column("status", Choice(TaskStatus), nullable=False),
    Column("progress", Count, nullable=False),
    Column("started_ns", Nanoseconds),
    Column("completed_ns", Nanoseconds),
    Column("state", Json),
    Column("error", Text, nullable=False),
    Column("updated_ns", Nanoseconds, nullable=False),
    from_one("number"),
    one_of("status", TaskStatus),
    CheckConstraint(f"progress >= 0 AND progress <= {PROGRESS_MAX}", name="progress_percent"),
    CheckConstraint("completed_ns >= started_ns", name="started_before_completed"),
)

position_notes = Table(
    "position_notes",
    metadata,
    Column("account", Text, primary_key=True),
    Column("instrument", Text, primary_key=True),
    Column("position_ref", Text, primary_key=True),  # '' where the account nets
    Column("note", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("updated_ns", Nanoseconds, nullable=False),
    not_empty("account"),
    not_empty("instrument"),
)

# Who may write for an account. A holder numbers its transactions in ``batch``: behind a commit whose answer was lost, the number
# that stands here says whether it was done.
leases = Table(
    "leases",
    metadata,
    Column("account", Text, primary_key=True),
    Column("daemon", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("epoch", Count, nullable=False),
    Column("batch", Count, nullable=False),
    Column("since_ns", Nanoseconds, nullable=False),
    Column("until_ns", Nanoseconds, nullable=False),
    not_empty("account"),
    not_empty("holder"),
    from_one("epoch"),
    CheckConstraint("batch >= 0", name="batch_not_negative"),
)

# In the order of applying. ``checksum`` is that of the revision that was run: of ``version`` on the way up, of
# ``from_version`` on the way down.
migration_history = Table(
    "migration_history",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("version", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("applied_ns", Nanoseconds, nullable=False),
    Column("checksum", Text, nullable=False),
    Column("from_version", Text),
    Column("backup", Text),
    not_empty("version"),
    not_empty("checksum"),
)
