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
    """A column more. With a default no order that there is has to be written anew, however many there are."""
    empty = sa.text("'[]'")
    op.add_column("orders", sa.Column("closes", c.Texts(), server_default=empty, nullable=False))


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
    op.drop_column("orders", "closes")
