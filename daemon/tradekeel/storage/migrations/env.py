"""Run by Alembic: applies revisions on the connection that the store hands over, and logs each one in the same transaction."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import text

from tradekeel.storage.tables import metadata


def log_revision(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
    """One row of ``schema_migrations`` for each revision that went up."""
    attributes = context.config.attributes
    if not step.is_upgrade or "now_ns" not in attributes:
        return
    ctx.connection.execute(
        text(
            "INSERT INTO schema_migrations (revision, from_revision, description, applied_ns, backup) "
            "VALUES (:revision, :from_revision, :description, :applied_ns, :backup)"
        ),
        {
            "revision": step.up_revision_id,
            "from_revision": step.down_revision_ids[0] if step.down_revision_ids else None,
            "description": step.up_revision.doc,
            "applied_ns": attributes["now_ns"],
            "backup": attributes["backup"],
        },
    )


connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit(
        "Migrations run through `tradekeel db upgrade` (tradekeel.storage.schema.upgrade), which makes a backup first."
    )

context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    on_version_apply=log_revision,
)
with context.begin_transaction():
    context.run_migrations()
