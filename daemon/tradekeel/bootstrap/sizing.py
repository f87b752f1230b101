"""`tradekeel db stats`: what the books hold, and how much room they and their copies take."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.values import plain_row
from tradekeel.bootstrap.waiting import waiting_at
from tradekeel.domain.times import iso
from tradekeel.storage.sizes import Progress, sizes
from tradekeel.storage.sqlite import Sqlite


def stats(place: Place, progress: Progress) -> dict[str, Any]:
    """Everything, as JSON values: sizes in bytes, times as nanoseconds and as text. Raises StoreError."""
    books = place.books()
    counted = sizes(books, progress)
    file = books.path if isinstance(books, Sqlite) else None
    taken = [table.bytes for table in counted.tables if table.bytes is not None]
    statedir = place.statedir
    return {
        "books": str(books),
        "kind": books.name,
        "schema": counted.version,
        "bytes": (sum(taken) if taken else None) if file is None else _size(file),
        "wal_bytes": None if file is None else _size(file.with_name(file.name + "-wal")),
        "waiting": waiting_at(place),
        "tables": [plain_row(table) for table in counted.tables],
        "executions": [plain_row(journal) for journal in counted.journals],
        "backups": _files(statedir.backups),
        "archives": _files(statedir.archives),
    }


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _files(folder: Path) -> list[dict[str, Any]]:
    """The files in a folder and its folders, the newest first."""
    found = [(path, path.stat()) for path in _walk(folder)]
    found.sort(key=lambda entry: (-entry[1].st_mtime_ns, entry[0]))
    return [
        {
            "name": str(path.relative_to(folder)),
            "bytes": stat.st_size,
            "time_ns": stat.st_mtime_ns,
            "time": iso(stat.st_mtime_ns),
        }
        for path, stat in found
    ]


def _walk(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()
