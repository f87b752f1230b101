"""Migrations on a server that are killed: run by the test of kills.

    python -m tests.integration.storage.migrator URL VERSIONS BACKUPS KILL_AT

Migrates, and kills itself before its n-th statement or call that changes a file; prints how many there were where it was not
killed. With 0 it is not.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import alembic.runtime.environment
import alembic.script
import psycopg
import sqlalchemy

from tradekeel.storage import migrating
from tradekeel.storage.postgres import Postgres

IMPORTED_ONCE = (alembic.runtime.environment, alembic.script, sqlalchemy, psycopg)
"""What an upgrade imports: here already, so that the calls of imports are not counted."""

NOW_NS = 1_700_000_000_000_000_000
CALLS = {"fsync", "rename", "unlink", "mkdir"}


def main() -> None:
    """Migrate, and die on the way."""
    url, versions, backups, kill_at = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    calls = 0

    def kill(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        changes_a_file = event == "c_call" and getattr(argument, "__name__", "") in CALLS
        # Every exchange with the server passes through here; the driver's own calls are made where no profile sees them.
        speaks = event == "call" and frame.f_code.co_name == "wait" and "psycopg" in frame.f_code.co_filename
        if changes_a_file or speaks:
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(kill)
    migrating.upgrade(Postgres(url, backups=backups), NOW_NS, versions=versions)
    sys.setprofile(None)
    print(calls)


if __name__ == "__main__":
    main()
