"""What must hold between the configuration and the books before anything is started."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from tradekeel.errors import ConfigError


def refuse_changed_data(books: Path, fingerprints: Mapping[str, str], source: str) -> None:
    """An unfinished execution goes on with the data it began with, or not at all: positions in other data mean other ticks.

    ``fingerprints`` are the feeds' by account; "" (not replayable) is never compared. Raises ConfigError naming every account.
    """
    if not books.exists():
        return
    problems: list[str] = []
    try:
        db = sqlite3.connect(f"{books.as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return  # the recorder opens the books next, and says what is wrong with them
    try:
        rows = db.execute(
            "SELECT account, execution, data_fingerprint FROM executions WHERE status = 'running' AND mode <> 'backtest'"
        ).fetchall()
    except sqlite3.Error:
        return
    finally:
        db.close()
    for account, execution, known in rows:
        now = fingerprints.get(account)
        if now is not None and known and now and now != known:
            problems.append(
                f"accounts.{account}.feed: its data or options are not those that execution {execution} began with "
                f"(fingerprint {known[:12]}, now {now[:12]}); put the old data back to go on, or run with --fresh to begin anew"
            )
    if problems:
        raise ConfigError(problems, source)
