"""What was moved out of the books: which files have it, and what is needed to go on behind them

On PostgreSQL the positions have what was moved in them. Lists that are narrowed by one word, or by time alone, have indexes.
"""

import sqlalchemy as sa
from alembic import op

from tradekeel.errors import InputError
from tradekeel.storage import columns as c

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

EXITS = "ix_trades_exit_time_ns"

INDEXES = (
    ("ix_fills_ts_ns", "fills", ["ts_ns"]),
    ("ix_signals_execution_status_generated_at_ns", "signals", ["execution_status", "generated_at_ns"]),
    ("ix_signals_symbol_generated_at_ns", "signals", ["symbol", "generated_at_ns"]),
    ("ix_trades_strategy_created_ns", "trades", ["strategy", "created_ns"]),
)

POSITIONS = """
CREATE VIEW trading.positions AS
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
    FROM trading.fills f
    UNION ALL
    SELECT a.execution, x.account, t.venue, t.instrument, t.position_ref, t.bought, t.bought_value, t.sold, t.sold_value,
        t.realised, t.fee, t.fills, t.first_ns, to_timestamp((t.first_ns / 1000) / 1000000::double precision),
        t.last_ns, to_timestamp((t.last_ns / 1000) / 1000000::double precision)
    FROM trading.journal_archives a
    JOIN trading.executions x ON x.execution = a.execution
    CROSS JOIN LATERAL jsonb_to_recordset(a.figures::jsonb -> 'turnover') AS t(
        venue text, instrument text, position_ref text, bought numeric, bought_value numeric, sold numeric, sold_value numeric,
        realised numeric, fee numeric, fills bigint, first_ns bigint, last_ns bigint)
    WHERE a.first = (SELECT max(b.first) FROM trading.journal_archives b WHERE b.execution = a.execution)
) f
JOIN trading.executions e ON e.execution = f.execution
WHERE e.mode <> 'backtest' AND e.number > (
    SELECT coalesce(max(x.number), 0) FROM trading.executions x
    WHERE x.account = e.account AND x.close_reason = 'started fresh' AND x.mode IN ('paper', 'live'))
GROUP BY f.account, f.venue, f.instrument, f.position_ref
"""

POSITIONS_BEFORE = """
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


def upgrade() -> None:
    """A new table, on PostgreSQL with its readable time; and indexes for what is listed."""
    op.create_table(
        "journal_archives",
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("first", c.Count(), autoincrement=False, nullable=False),
        sa.Column("last", c.Count(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", c.Count(), nullable=False),
        sa.Column("archived_ns", c.Nanoseconds(), nullable=False),
        sa.Column("counts", c.Json(), nullable=False),
        sa.Column("figures", c.Json(), nullable=False),
        sa.Column("book", c.Blob(), nullable=False),
        sa.Column("kept", c.Blob(), nullable=False),
        sa.Column("crc", c.Count(), nullable=False),
        sa.CheckConstraint("first >= 1", name=op.f("ck_journal_archives_first_from_one")),
        sa.CheckConstraint("last >= first", name=op.f("ck_journal_archives_first_before_last")),
        sa.CheckConstraint("name <> ''", name=op.f("ck_journal_archives_name_not_empty")),
        sa.CheckConstraint("sha256 <> ''", name=op.f("ck_journal_archives_sha256_not_empty")),
        sa.ForeignKeyConstraint(["execution"], ["executions.execution"], name=op.f("fk_journal_archives_execution")),
        sa.PrimaryKeyConstraint("execution", "first", name=op.f("pk_journal_archives")),
    )
    has_exit = sa.text("exit_time_ns IS NOT NULL")
    op.create_index(op.f(EXITS), "trades", ["exit_time_ns"], sqlite_where=has_exit, postgresql_where=has_exit)
    for name, table, columns in INDEXES:
        op.create_index(op.f(name), table, columns)
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE trading.journal_archives ADD COLUMN archived_time timestamptz GENERATED ALWAYS AS "
            "(to_timestamp((archived_ns / 1000) / 1000000::double precision)) STORED"
        )
        op.execute("DROP VIEW trading.positions")
        op.execute(POSITIONS)


def downgrade() -> None:
    """Only books that never had an archive can go back: without it, what is in the files would be lost to them."""
    if not op.get_context().as_sql:
        found = op.get_bind().execute(sa.text("SELECT count(*) FROM journal_archives")).scalar_one()
        if found:
            raise InputError(
                f"{found} archives belong to these books, and an earlier schema cannot go on behind them. Nothing was changed: "
                "put a backup back that was made before the first archive (tradekeel db restore), or stay with this version."
            )
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP VIEW trading.positions")
        op.execute(POSITIONS_BEFORE)
    for name, table, _ in INDEXES:
        op.drop_index(op.f(name), table_name=table)
    op.drop_index(op.f(EXITS), table_name="trades")
    op.drop_table("journal_archives")
