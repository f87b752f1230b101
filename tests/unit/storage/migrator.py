"""Migrations that are killed everywhere: run by the test of kills.

    python -m tests.unit.storage.migrator BOOKS VERSIONS FOLDER

Copies the books, where there are any, into a folder of their own for each kill, migrates them in a process that kills itself
before its n-th statement or call that changes a file, and prints the folder. It ends with the first migration that is not
killed. "-" for VERSIONS are the built-in ones.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import alembic.runtime.environment
import alembic.script
import sqlalchemy

from tradekeel.storage import migrating

IMPORTED_ONCE = (alembic.runtime.environment, alembic.script, sqlalchemy)
"""What an upgrade imports: here already, so that no process of a kill has to."""

NOW_NS = 1_700_000_000_000_000_000
CALLS = {"execute", "executemany", "commit", "rollback", "backup", "fsync", "rename", "unlink", "mkdir"}


def migrate(books: Path, versions: Path | None, kill_at: int) -> None:
    """Upgrade, and die on the way."""
    calls = 0

    def kill(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        if event == "c_call" and argument.__name__ in CALLS:
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(kill)
    migrating.upgrade(books, NOW_NS, versions=versions)
    sys.setprofile(None)


def main() -> None:
    """Kill at one call after the other."""
    books, versions, folder = map(Path, sys.argv[1:])
    chosen = None if str(versions) == "-" else versions
    for number in count(1):
        place = folder / str(number)
        place.mkdir(parents=True)
        for file in books.parent.glob(f"{books.name}*"):
            shutil.copy(file, place)
        child = os.fork()
        if child == 0:
            migrate(place / books.name, chosen, number)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0, f"the migration failed: {status}"
            return
        print(place, flush=True)


if __name__ == "__main__":
    main()
