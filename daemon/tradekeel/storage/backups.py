"""Copies of a file's books that are made before a migration: their names, and how many stay."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

from tradekeel.storage.files import connect, copy_database

BACKUPS_KEPT = 5
"""Copies made before migrations that stay in the backups folder."""

Doing = Callable[[str], object]
"""Called again and again, with what is being done, while it goes on."""

Heed = Callable[[], object]
"""Looks whether it should go on at all, and raises where it should not."""


def backup_name(path: Path, version: str, now_ns: int) -> Path:
    """Where the copy before a migration goes: ``backups/NAME-VERSION-TIME.db`` beside the file.

    If an attempt of the same second was killed behind its copy, that one stays and this one is numbered: ``…-2.db``.
    """
    when = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    first = path.parent / "backups" / f"{path.stem}-{version}-{when}.db"
    names = chain([first], (first.with_stem(f"{first.stem}-{number}") for number in count(2)))
    return next(name for name in names if not name.exists())


def forget_old_backups(path: Path, kept: int, *, newest: str = "", good: str = "") -> None:
    """Delete all but the newest ``kept`` copies made before migrations, and the half-made ones of attempts that were killed.

    ``newest`` is the name of the one just made, whatever its time says (clocks are set back), and ``good`` that of one which
    stays in any case. Other files of the folder are not ours.
    """
    folder = path.parent / "backups"
    if not folder.exists():
        return
    made = re.compile(re.escape(path.stem) + r"-.+-(\d{8}T\d{6}Z)(?:-(\d+))?\.db(\.partial)?")
    named = [(found, file) for file in folder.iterdir() if (found := made.fullmatch(file.name))]
    whole = sorted(
        ((file.name == newest, found[1], int(found[2] or 1), file) for found, file in named if not found[3]),
        reverse=True,
    )
    half_made = [file for found, file in named if found[3]]
    for file in (*half_made, *(file for *_, file in whole[max(kept, 1) :] if file.name != good)):
        file.unlink()


def back_up(path: Path, version: str, now_ns: int, kept: int, doing: Doing, heed: Heed) -> str:
    """The name of a copy made now. Each try makes one, and trims: tries that fail must not fill the disk.

    The copy of the last migration that succeeded stays until this one has: what fails may have damaged books to copy.
    """
    with closing(connect(path)) as source:
        good = _good(source)
        forget_old_backups(path, kept, good=good)
        backup = backup_name(path, version, now_ns)
        copying = f"copying {path} to {backup} before it is migrated"

        def goes_on(done: int, total: int) -> None:
            doing(f"{copying}: {done * 100 // max(total, 1)} %")
            heed()

        copy_database(source, backup, goes_on)
    forget_old_backups(path, kept, newest=backup.name, good=good)
    return backup.name


def _good(source: sqlite3.Connection) -> str:
    """The copy that was made before the last migration that succeeded."""
    named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('migration_history', 'schema_migrations')"
    log = source.execute(named).fetchone()
    if log is None:
        return ""
    row = source.execute(
        f"SELECT backup FROM {log[0]} WHERE backup IS NOT NULL ORDER BY id DESC LIMIT 1"  # noqa: S608
    ).fetchone()
    return "" if row is None else str(row[0])
