"""Which trades an entry closes on its way

An order that was decided before closes none.
"""

import sqlalchemy as sa
from alembic import op

from tradekeel.errors import InputError
from tradekeel.storage import columns as c

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column more, which no order may be without: those that there are get an empty list."""
    op.add_column("orders", sa.Column("closes", c.Texts(), nullable=True))
    op.execute("UPDATE orders SET closes = '[]'")
    with op.batch_alter_table("orders") as orders:  # on SQLite the table is made anew
        orders.alter_column("closes", existing_type=c.Texts(), nullable=False)


def downgrade() -> None:
    """Only books in which no entry ever turned can go back: an earlier fold would not know what such an order had claimed."""
    if not op.get_context().as_sql:
        found = (
            op.get_bind()
            .execute(sa.text("SELECT count(*) FROM orders WHERE CAST(closes AS TEXT) <> '[]'"))
            .scalar_one()
        )
        if found:
            raise InputError(
                f"{found} orders of these books closed trades and opened others at once, and an earlier version cannot go on "
                "behind them. Nothing was changed: put a backup back that was made before the first of them (tradekeel db "
                "restore), or stay with this version."
            )
    with op.batch_alter_table("orders") as orders:
        orders.drop_column("closes")
