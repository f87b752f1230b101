"""What is wrong with a configuration that only somebody who knows of trading can tell, found while the file is read.

Everything is looked for in the tables as they are written: one that has a problem of its own still refers to others and is
still referred to, so no problem waits for another to be mended. `check`, `run`, `reload` and `systemd install` all see the
same list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tradekeel.bootstrap.schedule import trigger_of
from tradekeel.config import Draft, Report
from tradekeel.config.model import CRON
from tradekeel.config.words import join_path
from tradekeel.errors import InputError


def look(draft: Draft, report: Report) -> None:
    """Report every problem of the draft with its path."""
    for path, schedule in _schedules(draft):
        _tried(lambda line=schedule: trigger_of(line), path, report)


def _tried(attempt: Any, path: str, report: Report) -> None:
    try:
        attempt()
    except InputError as error:
        report(path, str(error))


def _schedules(draft: Draft) -> Iterator[tuple[str, str]]:
    """Every cron line and where it stands. What is none has been reported already."""
    found = [("storage.snapshot_schedule", _table(draft.table, "storage").get("snapshot_schedule"))]
    for name, account in draft.entries("accounts").items():
        found.append((f"{join_path('accounts', name)}.sync_schedule", account.get("sync_schedule")))
    return ((path, line) for path, line in found if isinstance(line, str) and CRON.search(line))


def _table(table: Any, key: str) -> dict[str, Any]:
    inner = table.get(key)
    return inner if isinstance(inner, dict) else {}
