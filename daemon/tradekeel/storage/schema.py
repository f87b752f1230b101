"""The version of the books: told cheaply at every start, and refused where this program does not know it.

Comparing versions is one SELECT; what changes them is in :mod:`tradekeel.storage.migrating`, which imports Alembic, and
costs memory and time, only when there is something to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tradekeel.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from tradekeel.storage.backend import RESTORE, Backend

CHECKSUMS = {
    "0001": "2e1768a737493765d73f411ce55ee1df46a5ee71506419dae6b0be49f3993ea1",
    "0002": "d987196ea693d0c2995036e75c2d00dbd7350cdbc960a3d2f9140e446279c706",
}
"""Every revision that this version knows, oldest first, with its checksum; a test holds them to ``migrations/versions``."""

REVISIONS = tuple(CHECKSUMS)

HEAD = REVISIONS[-1]


def version_of(execute: Callable[[str], Any], backend: Backend) -> str | None:
    """The revision that books are at, None where there are none yet. StoreCorrupt for a database that is not one of ours.

    ``execute`` runs a statement on whatever connection there is and gives its rows.
    """
    tables = backend.tables(execute)
    if not tables:
        return None
    if "alembic_version" not in tables or "journal" not in tables:
        raise StoreCorrupt(
            f"{backend} is a {backend.label} database, but not a Tradekeel store (no journal in it). Name another one in the "
            "config, or move this one away."
        )
    row = execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        raise StoreCorrupt(f"{backend} does not say which version it has. {RESTORE}")
    return str(row[0])


def refuse_newer(version: str | None, backend: Backend, known: Sequence[str] = REVISIONS) -> None:
    """StoreTooNew for a revision this program does not know."""
    if version is not None and version not in known:
        raise StoreTooNew(
            f"{backend} was written by a newer Tradekeel (schema {version}, this one knows up to {known[-1]}). "
            "Install that version again, or restore a backup made before the upgrade."
        )


def refuse_other(version: str | None, backend: Backend) -> None:
    """For whoever only reads: StoreTooNew, or StoreUnavailable where a migration is still to come."""
    refuse_newer(version, backend)
    if version != HEAD:
        raise StoreUnavailable(
            f"{backend} has schema {version}, this version needs {HEAD}: start the daemon, or run `tradekeel db upgrade`"
        )
