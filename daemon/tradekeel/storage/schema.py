"""The version of the books: told cheaply at every start, and refused where this program does not know it.

Comparing versions is one SELECT; what changes them is in :mod:`tradekeel.storage.migrating`, which imports Alembic, and
costs memory and time, only when there are books with another schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from tradekeel.errors import StoreBlocked, StoreCorrupt, StoreEmpty, StoreTooNew, StoreTooOld
from tradekeel.storage.backend import RESTORE, Backend

CHECKSUMS = {
    "0001": "2e1768a737493765d73f411ce55ee1df46a5ee71506419dae6b0be49f3993ea1",
    "0002": "8db409ea713fe599fc8b8fa84f6a64cd457a0c36e12871fd883c84f26a3275bb",
    "0003": "147a3ba978626ebdb2f019a01c29fdf2b5ef325cf19ae79a089fcb905f722025",
    "0004": "2dfa9c1159f217a321b6a660cb5c13cb9f1c7b0f343ca54df072b76049191bb4",
    "0005": "da5820a5aa743bdfd3202497b3dd2f83e94dbe37afc6b604bd0d899db099bae2",
}
"""Every revision that this version knows, oldest first, with its checksum; a test holds them to ``migrations/versions``."""

NAMES = {
    "0001": "The first tables",
    "0002": "Tasks, leases, notes on positions; a history with checksums; more indexes",
    "0003": "On PostgreSQL: readable times, updated_at, an append-only journal, positions, a health check",
    "0004": "What was moved out of the books: which files have it, and what is needed to go on behind them",
    "0005": "Which trades an entry closes on its way",
}
"""What each revision calls itself, for the history of books that are made without running it."""

REVISIONS = tuple(CHECKSUMS)

HEAD = REVISIONS[-1]

HISTORY = "migration_history"

_STANDING = (
    "SELECT v.version_num, h.version, h.from_version, h.checksum FROM alembic_version v "
    "LEFT JOIN migration_history h ON 1 = 1 ORDER BY h.id"
)
_WITHOUT_HISTORY = "SELECT version_num, NULL, NULL, NULL FROM alembic_version"


class Standing(Struct, frozen=True):
    """Which revision books are at, and how they came there."""

    version: str | None  # None: there are none yet
    applied: Mapping[str, str] = {}  # the checksum of each revision that is in force, as far as it was written down


def standing_of(execute: Callable[[str], Any], backend: Backend) -> Standing:
    """Where books stand. StoreCorrupt for a database that is not one of ours.

    ``execute`` runs a statement on whatever connection there is and gives its rows.
    """
    tables = backend.tables(execute)
    if not tables:
        return Standing(None)
    if "alembic_version" not in tables or "journal" not in tables:
        raise StoreCorrupt(
            f"{backend} is a {backend.label} database, but not a Tradekeel store (no journal in it). Name another one in the "
            "config, or move this one away."
        )
    rows = execute(_STANDING if HISTORY in tables else _WITHOUT_HISTORY).fetchall()
    if not rows:
        raise StoreCorrupt(f"{backend} does not say which version it has. {RESTORE}")
    applied: dict[str, str] = {}
    for _, version, below, checksum in rows:
        if version is None:
            continue
        if below is not None and below > version:
            applied.pop(below, None)  # it was taken back
        else:
            applied[str(version)] = str(checksum)
    return Standing(str(rows[0][0]), applied)


def version_of(execute: Callable[[str], Any], backend: Backend) -> str | None:
    """The revision that books are at, None where there are none yet: see :func:`standing_of`."""
    return standing_of(execute, backend).version


def refuse_newer(version: str | None, backend: Backend, known: Sequence[str] = REVISIONS) -> None:
    """StoreTooNew for a revision this program does not know."""
    if version is not None and version not in known:
        raise StoreTooNew(
            f"{backend} was written by a newer Tradekeel (schema {version}, this one knows up to {known[-1]}). "
            "Install that version again, or restore a backup made before the upgrade."
        )


def refuse_unknown(standing: Standing, backend: Backend, known: Mapping[str, str] = CHECKSUMS) -> None:
    """StoreTooNew for a revision that this program does not know, StoreBlocked for one that it knows with another content."""
    refuse_newer(standing.version, backend, tuple(known))
    for version, checksum in standing.applied.items():
        if known.get(version, checksum) != checksum:
            raise StoreBlocked(
                f"{backend} was brought to schema {version} by a migration of that name which said something else than this "
                f"program's (checksum {checksum[:12]}…, here {known[version][:12]}…). Whether the tables are what they should "
                "be is not known: install the version that made them, or restore the backup made before."
            )


def refuse_earlier(standing: Standing, backend: Backend) -> None:
    """StoreTooOld for books with an earlier schema, where a start may change nothing."""
    if standing.version not in (None, HEAD):
        raise StoreTooOld(
            f"{backend} has schema {standing.version}, this version needs {HEAD}, and a start changes nothing here "
            '(storage.migrations = "refuse"): run `tradekeel db upgrade` (with --dry-run it says what it would do)'
        )


def refuse_other(standing: Standing, backend: Backend) -> None:
    """For whoever only reads: StoreTooNew, StoreTooOld, or StoreEmpty where there is nothing yet."""
    refuse_unknown(standing, backend)
    if standing.version is None:
        raise StoreEmpty(f"{backend} has no books yet: start the daemon, or run `tradekeel db upgrade`")
    if standing.version != HEAD:
        raise StoreTooOld(
            f"{backend} has schema {standing.version}, this version needs {HEAD}: start the daemon, or run "
            "`tradekeel db upgrade`"
        )
