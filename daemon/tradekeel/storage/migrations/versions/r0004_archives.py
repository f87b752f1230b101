"""What was moved out of the books: which files have it, and what is needed to go on behind them"""

import sqlalchemy as sa
from alembic import op

from tradekeel.errors import InputError
from tradekeel.storage import columns as c

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A new table, and on PostgreSQL its readable time."""
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
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE trading.journal_archives ADD COLUMN archived_time timestamptz GENERATED ALWAYS AS "
            "(to_timestamp((archived_ns / 1000) / 1000000::double precision)) STORED"
        )


def downgrade() -> None:
    """Only books that never had an archive can go back: without it, what is in the files would be lost to them."""
    if not op.get_context().as_sql:
        found = op.get_bind().execute(sa.text("SELECT count(*) FROM journal_archives")).scalar_one()
        if found:
            raise InputError(
                f"{found} archives belong to these books, and an earlier schema cannot go on behind them. Nothing was changed: "
                "put a backup back that was made before the first archive (tradekeel db restore), or stay with this version."
            )
    op.drop_table("journal_archives")
