"""What the books are on PostgreSQL beyond their tables: readable times, ``updated_at``, triggers, a view, a health check.

This is what should be there, and what new books get. Revisions make it, each its part; a test compares the catalogue of a
database that they have made with one that was made from here. A revision that adds a table adds its times, and its
``updated_at`` where rows are updated.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import MetaData, Table

from tradekeel.storage.postgres.rights import SCHEMA

UPDATED = frozenset(
    {
        *("executions", "strategies", "signals", "trades", "orders", "venue_cursors"),
        *("tasks", "task_executions", "position_notes", "leases"),
    }
)
"""The tables whose rows come again in newer versions."""


def readable_name(column: str) -> str:
    """What the readable companion of a column of nanoseconds is called."""
    name = column.removesuffix("_ns")
    return name if name.endswith(("_at", "_time")) else f"{name}_time"


def readable_times(table: str, columns: list[str]) -> str:
    """Columns with the same times for people, to the microsecond (until the year 2242, where a float ends to tell them apart).

    They are stored: columns that PostgreSQL 18 computes when they are read cost a writer half of its speed, because every
    statement then works out anew what they are.
    """
    added = ", ".join(
        f"ADD COLUMN {readable_name(column)} timestamptz GENERATED ALWAYS AS "
        f"(to_timestamp(({column} / 1000) / 1000000::double precision)) STORED"
        for column in columns
    )
    return f"ALTER TABLE {SCHEMA}.{table} {added}"


def updated_at(table: str) -> tuple[str, str]:
    """A column that says when a row was last written, by the server's clock, and the trigger that keeps it."""
    column = f"ALTER TABLE {SCHEMA}.{table} ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now()"
    trigger = (
        f"CREATE TRIGGER {table}_updated_at BEFORE UPDATE ON {SCHEMA}.{table} "
        f"FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.set_updated_at()"
    )
    return column, trigger


FUNCTIONS = (
    f"""
CREATE FUNCTION {SCHEMA}.set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$body$
""",
    f"""
CREATE FUNCTION {SCHEMA}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the journal is append only' USING ERRCODE = 'restrict_violation';
END
$body$
""",
)

JOURNAL_TRIGGERS = tuple(
    f"CREATE TRIGGER journal_refuses_{verb} BEFORE {verb.upper()} ON {SCHEMA}.journal "
    f"FOR EACH {'STATEMENT' if verb == 'truncate' else 'ROW'} EXECUTE FUNCTION {SCHEMA}.refuse_change()"
    for verb in ("update", "delete", "truncate")
)

POSITIONS = f"""
CREATE VIEW {SCHEMA}.positions AS
SELECT f.account, f.venue, f.instrument, f.position_ref, sum(f.bought) - sum(f.sold) AS quantity,
    sum(f.bought) AS bought, sum(f.bought_value) AS bought_value, sum(f.sold) AS sold, sum(f.sold_value) AS sold_value,
    sum(f.realised) AS realised, sum(f.fee) AS fee, sum(f.fills)::bigint AS fills,
    min(f.first_ns) AS first_ns, min(f.first_time) AS first_time, max(f.last_ns) AS last_ns, max(f.last_time) AS last_time
FROM (
    SELECT f.execution, f.account, f.venue, f.instrument, coalesce(f.position_ref, '') AS position_ref,
        CASE f.side WHEN 'buy' THEN f.quantity ELSE 0 END AS bought,
        CASE f.side WHEN 'buy' THEN f.quantity * f.price ELSE 0 END AS bought_value,
        CASE f.side WHEN 'buy' THEN 0 ELSE f.quantity END AS sold,
        CASE f.side WHEN 'buy' THEN 0 ELSE f.quantity * f.price END AS sold_value,
        f.realised, f.fee, 1 AS fills, f.ts_ns AS first_ns, f.ts_time AS first_time, f.ts_ns AS last_ns, f.ts_time AS last_time
    FROM {SCHEMA}.fills f
    UNION ALL
    SELECT a.execution, x.account, t.venue, t.instrument, t.position_ref, t.bought, t.bought_value, t.sold, t.sold_value,
        t.realised, t.fee, t.fills, t.first_ns, to_timestamp((t.first_ns / 1000) / 1000000::double precision),
        t.last_ns, to_timestamp((t.last_ns / 1000) / 1000000::double precision)
    FROM {SCHEMA}.journal_archives a
    JOIN {SCHEMA}.executions x ON x.execution = a.execution
    CROSS JOIN LATERAL jsonb_to_recordset(a.figures::jsonb -> 'turnover') AS t(
        venue text, instrument text, position_ref text, bought numeric, bought_value numeric, sold numeric, sold_value numeric,
        realised numeric, fee numeric, fills bigint, first_ns bigint, last_ns bigint)
    WHERE a.first = (SELECT max(b.first) FROM {SCHEMA}.journal_archives b WHERE b.execution = a.execution)
) f
JOIN {SCHEMA}.executions e ON e.execution = f.execution
WHERE e.mode <> 'backtest' AND e.number > (
    SELECT coalesce(max(x.number), 0) FROM {SCHEMA}.executions x
    WHERE x.account = e.account AND x.close_reason = 'started fresh' AND x.mode IN ('paper', 'live'))
GROUP BY f.account, f.venue, f.instrument, f.position_ref
"""  # noqa: S608  # a constant
"""The net of all fills since an account last began anew, those that were archived too, also where it is zero; sums are exact."""

HEALTH_CHECK = f"""
CREATE FUNCTION {SCHEMA}.health_check() RETURNS TABLE (
    server_version text, in_recovery boolean, schema_revision text, "now" timestamptz, journal_rows_estimate bigint,
    executions_running bigint, connections bigint, database_bytes bigint
) LANGUAGE sql STABLE AS $body$
SELECT current_setting('server_version'), pg_catalog.pg_is_in_recovery(),
    (SELECT version_num::text FROM {SCHEMA}.alembic_version), clock_timestamp(),
    (SELECT greatest(c.reltuples, 0)::bigint FROM pg_catalog.pg_class c WHERE c.oid = '{SCHEMA}.journal'::regclass),
    (SELECT count(*) FROM {SCHEMA}.executions WHERE status = 'running' AND mode IN ('paper', 'live')),
    (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = current_database()),
    pg_catalog.pg_database_size(current_database())
$body$
"""  # noqa: S608  # a constant
"""How the server and the books are, in one row. How many rows the journal has is as old as the server's last ANALYZE."""


def statements(metadata: MetaData) -> Iterator[str]:
    """Everything of these for all tables, in an order in which it can be made."""
    yield from FUNCTIONS
    for table in metadata.sorted_tables:
        columns = nanoseconds(table)
        if columns:
            yield readable_times(table.name, columns)
        if table.name in UPDATED:
            yield from updated_at(table.name)
    yield from JOURNAL_TRIGGERS
    yield POSITIONS
    yield HEALTH_CHECK


def nanoseconds(table: Table) -> list[str]:
    """The columns that hold times."""
    return [column.name for column in table.columns if column.name.endswith("_ns")]
