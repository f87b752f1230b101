"""On PostgreSQL: readable times, updated_at, an append-only journal, positions, a health check

SQLite has nothing of this: its own triggers of the journal are there from the start.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIMES = {
    "executions": (
        "started_ns",
        "closed_ns",
    ),
    "leases": (
        "since_ns",
        "until_ns",
    ),
    "migration_history": ("applied_ns",),
    "position_notes": ("updated_ns",),
    "tasks": (
        "since_ns",
        "until_ns",
        "created_ns",
    ),
    "checkpoints": ("ts_ns",),
    "fills": ("ts_ns",),
    "journal": ("ts_ns",),
    "metrics_checkpoints": ("ts_ns",),
    "parameter_history": ("ts_ns",),
    "performance_snapshots": ("ts_ns",),
    "strategies": ("updated_ns",),
    "task_executions": (
        "started_ns",
        "completed_ns",
        "updated_ns",
    ),
    "venue_cursors": ("updated_ns",),
    "signals": ("generated_at_ns",),
    "strategy_events": ("ts_ns",),
    "trades": (
        "entry_time_ns",
        "exit_time_ns",
        "exit_at_ns",
        "created_ns",
        "updated_ns",
    ),
    "orders": (
        "expire_at_ns",
        "created_ns",
        "submitted_ns",
        "updated_ns",
        "deadline_ns",
    ),
}

UPDATED = (
    "executions",
    "leases",
    "position_notes",
    "tasks",
    "strategies",
    "task_executions",
    "venue_cursors",
    "signals",
    "trades",
    "orders",
)

FUNCTIONS = (
    """
CREATE FUNCTION trading.set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$body$
""",
    """
CREATE FUNCTION trading.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the journal is append only' USING ERRCODE = 'restrict_violation';
END
$body$
""",
)

POSITIONS = """
CREATE VIEW trading.positions AS
SELECT f.account, f.venue, f.instrument, coalesce(f.position_ref, '') AS position_ref,
    sum(CASE f.side WHEN 'buy' THEN f.quantity ELSE -f.quantity END) AS quantity,
    coalesce(sum(f.quantity) FILTER (WHERE f.side = 'buy'), 0) AS bought,
    coalesce(sum(f.quantity * f.price) FILTER (WHERE f.side = 'buy'), 0) AS bought_value,
    coalesce(sum(f.quantity) FILTER (WHERE f.side = 'sell'), 0) AS sold,
    coalesce(sum(f.quantity * f.price) FILTER (WHERE f.side = 'sell'), 0) AS sold_value,
    sum(f.realised) AS realised, sum(f.fee) AS fee, count(*) AS fills,
    min(f.ts_ns) AS first_ns, min(f.ts_time) AS first_time, max(f.ts_ns) AS last_ns, max(f.ts_time) AS last_time
FROM trading.fills f
JOIN trading.executions e ON e.execution = f.execution
WHERE e.mode <> 'backtest' AND e.number > (
    SELECT coalesce(max(x.number), 0) FROM trading.executions x
    WHERE x.account = e.account AND x.close_reason = 'started fresh' AND x.mode IN ('paper', 'live'))
GROUP BY f.account, f.venue, f.instrument, coalesce(f.position_ref, '')
"""

HEALTH_CHECK = """
CREATE FUNCTION trading.health_check() RETURNS TABLE (
    server_version text, in_recovery boolean, schema_revision text, "now" timestamptz, journal_rows_estimate bigint,
    executions_running bigint, connections bigint, database_bytes bigint
) LANGUAGE sql STABLE AS $body$
SELECT current_setting('server_version'), pg_catalog.pg_is_in_recovery(),
    (SELECT version_num::text FROM trading.alembic_version), clock_timestamp(),
    (SELECT greatest(c.reltuples, 0)::bigint FROM pg_catalog.pg_class c WHERE c.oid = 'trading.journal'::regclass),
    (SELECT count(*) FROM trading.executions WHERE status = 'running' AND mode IN ('paper', 'live')),
    (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = current_database()),
    pg_catalog.pg_database_size(current_database())
$body$
"""

VERBS = ("update", "delete", "truncate")


def upgrade() -> None:
    """The readable times are stored, so tables are written anew for them."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for function in FUNCTIONS:
        op.execute(function)
    for table, columns in TIMES.items():
        op.execute(_times(table, columns))
    for table in UPDATED:
        op.execute(f"ALTER TABLE trading.{table} ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now()")
        op.execute(
            f"CREATE TRIGGER {table}_updated_at BEFORE UPDATE ON trading.{table} "
            "FOR EACH ROW EXECUTE FUNCTION trading.set_updated_at()"
        )
    for verb in VERBS:
        each = "STATEMENT" if verb == "truncate" else "ROW"
        op.execute(
            f"CREATE TRIGGER journal_refuses_{verb} BEFORE {verb.upper()} ON trading.journal "
            f"FOR EACH {each} EXECUTE FUNCTION trading.refuse_change()"
        )
    op.execute(POSITIONS)
    op.execute(HEALTH_CHECK)


def downgrade() -> None:
    """Take them away again."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("DROP FUNCTION trading.health_check()")
    op.execute("DROP VIEW trading.positions")
    for verb in VERBS:
        op.execute(f"DROP TRIGGER journal_refuses_{verb} ON trading.journal")
    for table in UPDATED:
        op.execute(f"DROP TRIGGER {table}_updated_at ON trading.{table}")
        op.execute(f"ALTER TABLE trading.{table} DROP COLUMN updated_at")
    for table, columns in TIMES.items():
        dropped = ", ".join(f"DROP COLUMN {_readable(column)}" for column in columns)
        op.execute(f"ALTER TABLE trading.{table} {dropped}")
    op.execute("DROP FUNCTION trading.set_updated_at(), trading.refuse_change()")


def _readable(column: str) -> str:
    name = column.removesuffix("_ns")
    return name if name.endswith(("_at", "_time")) else f"{name}_time"


def _times(table: str, columns: tuple[str, ...]) -> str:
    added = ", ".join(
        f"ADD COLUMN {_readable(column)} timestamptz GENERATED ALWAYS AS "
        f"(to_timestamp(({column} / 1000) / 1000000::double precision)) STORED"
        for column in columns
    )
    return f"ALTER TABLE trading.{table} {added}"
