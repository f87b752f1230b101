"""Run by Alembic: applies revisions on the connection that the store hands over, and logs each one in the same transaction."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import text

from tradekeel.storage.tables import metadata

FIRST = "0001"
"""The one revision that keeps its log in a table of another name, without a checksum."""


def log_revision(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
    """One row for each revision that was run, up or down, and a word to whoever asked for it."""
    attributes = context.config.attributes
    if "ran" not in attributes:
        return
    below = step.down_revision_ids[0] if step.down_revision_ids else None
    up = step.is_upgrade
    row = {
        "revision": step.up_revision_id if up else below,
        "from_revision": below if up else step.up_revision_id,
        "description": step.up_revision.doc if up else f"Taken back: {step.up_revision.doc}",
        "applied_ns": attributes["now_ns"],
        "backup": attributes["backup"],
        "checksum": attributes["checksums"][step.up_revision_id],
    }
    attributes["ran"].append(row)
    if row["revision"] != FIRST:
        ctx.connection.execute(text(_LOG), row)
    elif up:
        ctx.connection.execute(text(_FIRST_LOG), row)  # the way down to it is not told there


_LOG = (
    "INSERT INTO migration_history (version, name, applied_ns, checksum, from_version, backup) "
    "VALUES (:revision, :description, :applied_ns, :checksum, :from_revision, :backup)"
)
_FIRST_LOG = (
    "INSERT INTO schema_migrations (revision, from_revision, description, applied_ns, backup) "
    "VALUES (:revision, :from_revision, :description, :applied_ns, :backup)"
)

attributes = context.config.attributes
connection = attributes.get("connection")
if connection is None and "buffer" not in attributes:
    raise SystemExit(
        "Migrations run through `tradekeel db upgrade` (tradekeel.storage.migrating.upgrade), which makes a backup first."
    )

if connection is None:
    context.configure(
        dialect_name=attributes["dialect"],
        output_buffer=attributes["buffer"],
        target_metadata=metadata,
        render_as_batch=True,
    )
else:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        on_version_apply=log_revision,
    )
with context.begin_transaction():
    context.run_migrations()
