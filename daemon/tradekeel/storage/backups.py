"""Copies of books that are made before a migration: their names, how many stay, and whether there is room for another."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import StoreBlocked
from tradekeel.storage.files import connect, copy_database
from tradekeel.storage.naming import free_path

BACKUPS_KEPT = 5
"""Copies made before migrations that stay in the backups folder."""

SPARE_BYTES = 16 * 1024 * 1024
"""What is left free beside a copy."""

Doing = Callable[[str], object]
"""Called again and again, with what is being done, while it goes on."""

Heed = Callable[[], object]
"""Looks whether it should go on at all, and raises where it should not."""


class Copies(Struct, frozen=True):
    """The copies of one daemon's books: ``FOLDER/STEM-VERSION-TIME.SUFFIX``."""

    folder: Path
    stem: str
    suffix: str

    def name(self, version: str, now_ns: int) -> Path:
        """Where the next one goes.

        If an attempt of the same second was killed behind its copy, that one stays and this one is numbered: ``…-2.db``.
        """
        when = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
        return free_path(self.folder / f"{self.stem}-{version}-{when}{self.suffix}")

    def forget(self, kept: int, *, newest: str = "", good: str = "") -> None:
        """Delete all but the newest ``kept``, and the half-made ones of attempts that were killed.

        ``newest`` is the name of the one just made, whatever its time says (clocks are set back), and ``good`` that of one which
        stays in any case. Other files of the folder are not ours.
        """
        if not self.folder.exists():
            return
        stem, suffix = re.escape(self.stem), re.escape(self.suffix)
        made = re.compile(rf"{stem}-[^-]+-(\d{{8}}T\d{{6}}Z)(?:-(\d+))?{suffix}(\.partial)?")
        named = [(found, file) for file in self.folder.iterdir() if (found := made.fullmatch(file.name))]
        whole = sorted(
            ((file.name == newest, found[1], int(found[2] or 1), file) for found, file in named if not found[3]),
            reverse=True,
        )
        half_made = [file for found, file in named if found[3]]
        for file in (*half_made, *(file for *_, file in whole[max(kept, 1) :] if file.name != good)):
            file.unlink()

    def refuse_without_room(self, needed_bytes: int) -> None:
        """StoreBlocked where the disk has no room for a copy of this size. Raises OSError."""
        there = next(folder for folder in (self.folder, *self.folder.absolute().parents) if folder.exists())
        state = os.statvfs(there)
        free = state.f_bavail * state.f_frsize
        if free < needed_bytes + SPARE_BYTES:
            raise StoreBlocked(
                f"{self.folder}: {free:,} bytes are free on its disk, and a copy of the books before they are migrated may take "
                f"{needed_bytes:,} (and {SPARE_BYTES:,} stay free). Nothing was changed: make room there."
            )


def copies_of(path: Path) -> Copies:
    """Those of a file's books: ``backups/NAME-VERSION-TIME.db`` beside it."""
    return Copies(path.parent / "backups", path.stem, ".db")


def back_up(path: Path, version: str, now_ns: int, kept: int, doing: Doing, heed: Heed) -> str:
    """The name of a copy made now. Each try makes one, and trims: tries that fail must not fill the disk.

    The copy of the last migration that succeeded stays until this one has: what fails may have damaged books to copy.
    """
    copies = copies_of(path)
    with closing(connect(path)) as source:
        there = {name for (name,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        good = last_good(source.execute, there)
        copies.forget(kept, good=good)
        backup = copies.name(version, now_ns)
        copying = f"copying {path} to {backup} before it is migrated"

        def goes_on(done: int, total: int) -> None:
            doing(f"{copying}: {done * 100 // max(total, 1)} %")
            heed()

        copy_database(source, backup, goes_on)
    copies.forget(kept, newest=backup.name, good=good)
    return backup.name


def last_good(execute: Any, tables: set[str]) -> str:
    """The copy that was made before the last migration that succeeded, "" where there is none."""
    log = next((name for name in ("migration_history", "schema_migrations") if name in tables), None)
    if log is None:
        return ""
    row = execute(f"SELECT backup FROM {log} WHERE backup IS NOT NULL ORDER BY id DESC LIMIT 1").fetchone()  # noqa: S608
    return "" if row is None else str(row[0])


def size_of(execute: Any) -> int:
    """Bytes of a file's books, as a copy of them will have them."""
    pages, size = (int(execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    return pages * size
