"""Revisions that only tests have, beside the real ones: they run on every database."""

from __future__ import annotations

import shutil
from pathlib import Path

from tradekeel.storage import migrating, schema

HEAD = schema.HEAD
NEXT = f"{int(HEAD) + 1:04}"

COLOUR = f'''"""Trades get a colour"""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trades", sa.Column("colour", sa.Text(), nullable=True))
    op.execute("UPDATE trades SET colour = 'blue'")
    with op.batch_alter_table("strategy_events") as events:  # SQLite rebuilds the table
        events.alter_column("data", new_column_name="details")


def downgrade() -> None:
    with op.batch_alter_table("strategy_events") as events:
        events.alter_column("details", new_column_name="data")
    op.drop_column("trades", "colour")
'''

PLAIN = f'''"""A table of colours"""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("colours", sa.Column("colour", sa.Text(), nullable=False))


def downgrade() -> None:
    op.drop_table("colours")
'''


def with_one_more(folder: Path, source: str) -> Path:
    """A folder with the real revisions and this one."""
    shutil.copytree(migrating.VERSIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / f"r{NEXT}_next.py").write_text(source)
    return folder
