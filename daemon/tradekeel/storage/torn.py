"""Books that a restore has left between two states, because its process was killed: told, and made whole again.

Before a restore touches the books that are there it makes a copy of their log. Where that copy is still there, and the books
are those from before, the log at their place may be gone or half folded: the copy is the one that belongs to them.
"""

from __future__ import annotations

import os
from pathlib import Path

from tradekeel.storage.files import sync


def make_whole(path: Path, work: Path) -> bool:
    """After a process that was killed in between there are the old books, or the new ones; whether that took anything.

    Raises OSError.
    """
    if not is_torn(path, work):
        return False
    os.replace(log_of(kept_in(work, path)), log_of(path))
    sync(path.parent)
    return True


def is_torn(path: Path, work: Path) -> bool:
    """Whether the log of these books is to be put back first: what is written before that would be played over."""
    return log_of(kept_in(work, path)).exists() and not is_swapped(path, work)


def is_swapped(path: Path, work: Path) -> bool:
    """Whether what is at the place of the books came there as a copy."""
    kept = kept_in(work, path)
    return path.exists() and not (kept.exists() and kept.samefile(path))


def kept_in(work: Path, path: Path) -> Path:
    """Where a restore that works in a folder keeps the books that are there."""
    return work / "old" / path.name


def log_of(path: Path) -> Path:
    """The write-ahead log of a file."""
    return path.with_name(path.name + "-wal")
