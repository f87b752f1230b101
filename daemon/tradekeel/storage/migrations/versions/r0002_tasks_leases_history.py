"""Tasks, leases, notes on positions; a history with checksums; more indexes

Executions that are kept by hand have a word of their own, and only those that a daemon runs are one at a time.
"""

import sqlalchemy as sa
from alembic import op

from tradekeel.errors import InputError
from tradekeel.storage import columns as c

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FIRST_CHECKSUM = "2e1768a737493765d73f411ce55ee1df46a5ee71506419dae6b0be49f3993ea1"
"""Of revision 0001, which was applied before there were checksums."""

MODES = ("live", "paper", "backtest", "manual")
ONE_RUNNING = "status = 'running' AND mode IN ('paper', 'live')"
ONE_RUNNING_BEFORE = "status = 'running' AND mode <> 'backtest'"

INDEXES = (
    ("signals", ("generated_at_ns",), None),
    ("trades", ("created_ns",), None),
    ("trades", ("symbol", "entry_time_ns"), "entry_time_ns IS NOT NULL"),
    ("trades", ("session", "created_ns"), "session IS NOT NULL"),
    ("trades", ("pattern_type", "created_ns"), "pattern_type IS NOT NULL"),
    ("orders", ("created_ns",), None),
    ("orders", ("strategy", "created_ns"), None),
    ("orders", ("instrument", "created_ns"), None),
    ("orders", ("venue_order_id",), "venue_order_id IS NOT NULL"),
    ("fills", ("venue", "instrument", "ts_ns"), None),
    ("performance_snapshots", ("ts_ns",), None),
    ("parameter_history", ("ts_ns",), None),
)


def upgrade() -> None:
    """Everything new is added beside the rows that there are; of these only executions are written anew."""
    _executions(MODES, ONE_RUNNING)
    _make_tables()
    _make_history()
    for table, columns, where in INDEXES:
        op.create_index(
            _index(table, columns),
            table,
            list(columns),
            unique=False,
            sqlite_where=sa.text(where) if where else None,
            postgresql_where=sa.text(where) if where else None,
        )


def downgrade() -> None:
    """Tasks, leases and notes are gone with their tables. What is kept by hand has no word in 0001: such rows refuse it."""
    _refuse_what_is_kept_by_hand()
    for table, columns, _ in reversed(INDEXES):
        op.drop_index(_index(table, columns), table_name=table)
    _drop_history()
    for table in ("leases", "position_notes", "task_executions", "tasks"):
        op.drop_table(table)
    _executions(MODES[:-1], ONE_RUNNING_BEFORE)


def _refuse_what_is_kept_by_hand() -> None:
    if op.get_context().as_sql:
        return
    kept = op.get_bind().execute(sa.text("SELECT count(*) FROM executions WHERE mode = 'manual'")).scalar()
    if kept:
        raise InputError(
            f"{kept} executions are kept by hand, and schema 0001 has no word for them: nothing was changed. Export them, or "
            "restore the backup that was made before the upgrade."
        )


def _index(table: str, columns: tuple[str, ...]) -> str:
    return op.f(f"ix_{table}_{'_'.join(columns)}")


def _words(column: str, words: tuple[str, ...]) -> str:
    return " OR ".join(f"{column} = '{word}'" for word in words)


# --- executions ------------------------------------------------------------------------------------------------------


def _executions(modes: tuple[str, ...], one_running: str) -> None:
    op.drop_index("ix_executions_one_running", table_name="executions")
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_executions(modes)
    else:
        op.drop_constraint(op.f("ck_executions_mode_word"), "executions", type_="check")
        op.create_check_constraint(op.f("ck_executions_mode_word"), "executions", _words("mode", modes))
    op.create_index(
        "ix_executions_one_running",
        "executions",
        ["account"],
        unique=True,
        sqlite_where=sa.text(one_running),
        postgresql_where=sa.text(one_running),
    )


def _rebuild_executions(modes: tuple[str, ...]) -> None:
    """SQLite changes a check only with its table. What refers to the table goes by its name, and its rows stay the same."""
    op.create_table(
        "executions_anew",
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
            _words("latch", ("open", "paused", "reduce_only", "halted")), name=op.f("ck_executions_latch_word")
        ),
        sa.CheckConstraint(_words("mode", modes), name=op.f("ck_executions_mode_word")),
        sa.CheckConstraint("status = 'running' OR status = 'closed'", name=op.f("ck_executions_status_word")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_executions_number_from_one")),
        sa.CheckConstraint("paused IN (0, 1)", name=op.f("ck_executions_paused_flag")),
        sa.PrimaryKeyConstraint("execution", name=op.f("pk_executions")),
        sa.UniqueConstraint("account", "number", name=op.f("uq_executions_account_number")),
    )
    listed = (
        "execution, account, number, mode, venue, currency, status, config_fingerprint, data_fingerprint, "
        "opening_balance, started_ns, closed_ns, close_reason, latch, latch_reason, paused"
    )
    op.execute(f"INSERT INTO executions_anew ({listed}) SELECT {listed} FROM executions")  # noqa: S608
    op.drop_table("executions")
    op.rename_table("executions_anew", "executions")


# --- new tables ------------------------------------------------------------------------------------------------------


def _make_tables() -> None:
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("instruments", c.Texts(), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=True),
        sa.Column("until_ns", sa.BigInteger(), nullable=True),
        sa.Column("config", c.Json(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("task_id <> ''", name=op.f("ck_tasks_task_id_not_empty")),
        sa.CheckConstraint("name <> ''", name=op.f("ck_tasks_name_not_empty")),
        sa.CheckConstraint(_words("type", ("live", "paper", "backtest", "optimise")), name=op.f("ck_tasks_type_word")),
        sa.CheckConstraint("until_ns >= since_ns", name=op.f("ck_tasks_since_before_until")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_tasks")),
    )
    op.create_table(
        "task_executions",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("execution", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("progress", sa.BigInteger(), nullable=False),
        sa.Column("started_ns", sa.BigInteger(), nullable=True),
        sa.Column("completed_ns", sa.BigInteger(), nullable=True),
        sa.Column("state", c.Json(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("number >= 1", name=op.f("ck_task_executions_number_from_one")),
        sa.CheckConstraint(
            _words(
                "status", ("created", "starting", "running", "paused", "stopping", "stopped", "completed", "failed")
            ),
            name=op.f("ck_task_executions_status_word"),
        ),
        sa.CheckConstraint("progress >= 0 AND progress <= 100", name=op.f("ck_task_executions_progress_percent")),
        sa.CheckConstraint("completed_ns >= started_ns", name=op.f("ck_task_executions_started_before_completed")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_task_executions_task_id")),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_task_executions_execution")),
        sa.PrimaryKeyConstraint("task_id", "number", name=op.f("pk_task_executions")),
    )
    op.create_table(
        "position_notes",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("position_ref", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("account <> ''", name=op.f("ck_position_notes_account_not_empty")),
        sa.CheckConstraint("instrument <> ''", name=op.f("ck_position_notes_instrument_not_empty")),
        sa.PrimaryKeyConstraint("account", "instrument", "position_ref", name=op.f("pk_position_notes")),
    )
    op.create_table(
        "leases",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("daemon", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("account <> ''", name=op.f("ck_leases_account_not_empty")),
        sa.CheckConstraint("holder <> ''", name=op.f("ck_leases_holder_not_empty")),
        sa.CheckConstraint("epoch >= 1", name=op.f("ck_leases_epoch_from_one")),
        sa.CheckConstraint("batch >= 0", name=op.f("ck_leases_batch_not_negative")),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_leases")),
    )


# --- the schema's own log --------------------------------------------------------------------------------------------


def _make_history() -> None:
    op.create_table(
        "migration_history",
        sa.Column("id", c.Identity, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("applied_ns", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=False),
        sa.Column("from_version", sa.Text(), nullable=True),
        sa.Column("backup", sa.Text(), nullable=True),
        sa.CheckConstraint("version <> ''", name=op.f("ck_migration_history_version_not_empty")),
        sa.CheckConstraint("checksum <> ''", name=op.f("ck_migration_history_checksum_not_empty")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_migration_history")),
    )
    op.execute(
        "INSERT INTO migration_history (version, name, applied_ns, checksum, from_version, backup) "  # noqa: S608
        f"SELECT revision, description, applied_ns, '{FIRST_CHECKSUM}', from_revision, backup "
        "FROM schema_migrations ORDER BY id"
    )
    op.drop_table("schema_migrations")


def _drop_history() -> None:
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
    op.execute(
        "INSERT INTO schema_migrations (revision, from_revision, description, applied_ns, backup) "
        "SELECT version, from_version, name, applied_ns, backup FROM migration_history WHERE version = '0001' "
        "AND from_version IS NULL ORDER BY id LIMIT 1"
    )
    op.drop_table("migration_history")
