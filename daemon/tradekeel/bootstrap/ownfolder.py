"""A folder of a command's own for what it puts down meanwhile, which is gone behind it, however it ended.

What a kill leaves is removed by the next one that is made. Whose folder it is, is said by a lock in it, which the kernel lets go
of with the process: a number of a process may be another one's by now, or one of another container that shares the place.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "lock"


@contextmanager
def own_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """By its real path, as that of whatever strategies open is told: what lies in here is none of their doing.

    It is made in ``parent``, if not where temporary files lie.
    """
    parent = parent or Path(tempfile.gettempdir())
    _sweep(parent, prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name:
        folder = Path(name).resolve()
        made = folder / "making"
        with made.open("x") as lock:
            with suppress(OSError):  # where nothing can be locked, nothing is swept either
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            made.rename(folder / LOCK)  # so a lock that can be seen is held
            yield folder


def _sweep(parent: Path, prefix: str) -> None:
    """Remove our user's folders of this kind whose process is gone. One that has no lock yet, or no more, is somebody's."""
    with suppress(OSError):
        for folder in parent.glob(f"{prefix}*"):
            with suppress(OSError):
                _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
