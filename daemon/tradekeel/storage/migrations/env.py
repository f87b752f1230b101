"""Run by Alembic: applies revisions on the connection that the store hands over, and logs each one in the same transaction."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import text

from tradekeel.storage.tables import metadata

FIRST = "0001"
"""The one revision that keeps its log in a table of another name, without a checksum."""


def log_revision(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
    """One row for each revision that was run."""
    attributes = context.config.attributes
    if "now_ns" not in attributes:
        return
    below = step.down_revision_ids[0] if step.down_revision_ids else None
    version, before = (step.up_revision_id, below) if step.is_upgrade else (below, step.up_revision_id)
    if version is None or (version == FIRST and not step.is_upgrade):
        return  # what was the first log has only the way up
    values = {
        "version": version,
        "name": step.up_revision.doc if step.is_upgrade else f"Taken back: {step.up_revision.doc}",
        "applied_ns": attributes["now_ns"],
        "checksum": attributes["checksums"][step.up_revision_id],
        "from_version": before,
        "backup": attributes["backup"],
    }
    ctx.connection.execute(text(_FIRST_LOG if version == FIRST else _LOG), values)


_LOG = (
    "INSERT INTO migration_history (version, name, applied_ns, checksum, from_version, backup) "
    "VALUES (:version, :name, :applied_ns, :checksum, :from_version, :backup)"
)
_FIRST_LOG = (
    "INSERT INTO schema_migrations (revision, from_revision, description, applied_ns, backup) "
    "VALUES (:version, :from_version, :name, :applied_ns, :backup)"
)

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit(
        "Migrations run through `tradekeel db upgrade` (tradekeel.storage.migrating.upgrade), which makes a backup first."
    )

context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    on_version_apply=log_revision,
)
with context.begin_transaction():
    context.run_migrations()
