"""A backtest whose books are a file, killed (SIGKILL) at random moments, also within a transaction: the same to the last row."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.backtest.test_resume import SETUPS, TICKS, source
from tradekeel.backtest.run import run
from tradekeel.backtest.setup import Setup
from tradekeel.bootstrap.backtestbooks import FileBooks
from tradekeel.domain.entries import Entry
from tradekeel.domain.rows import Checkpoint
from tradekeel.domain.tasks import TaskRow, TaskType
from tradekeel.storage.backend import Connection
from tradekeel.storage.verify import verify

RUNS = 3
"""Of each setup."""

KILLS_MAX = 8
CUT_TICKS = 100
NOW_NS = 1_700_000_000_000_000_000
WHERE_IT_GOES_ON = {"checkpoints", "task_executions"}
"""Tables that say from where a run would go on, and not what it came to."""


class DyingBooks(FileBooks):
    """The process is gone at the n-th moment: before records are kept, at a cut before, within and behind its transaction."""

    moments_left = -1

    def append(self, entries: Sequence[Entry]) -> None:
        self._live()
        super().append(entries)

    def cut(self, saved: Sequence[Checkpoint]) -> None:
        self._live()
        super().cut(saved)
        self._live()

    def _mark(self, db: Connection) -> Callable[[], object]:
        written = super()._mark(db)
        self._live()
        return written

    def _live(self) -> None:
        if not self.moments_left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.moments_left -= 1


def conduct(folder: Path, setup: Setup, moments: int) -> int:
    """Begin or go on in a process of its own; its exit code, below zero where it was killed."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            owners = [each.row.strategy for each in setup.traded]
            task = TaskRow(task_id="task", type=TaskType.BACKTEST, name="books")
            with DyingBooks(folder / "books.db", task, 1, setup.execution, owners, now_ns=lambda: NOW_NS) as books:
                books.moments_left = moments
                code = 0 if run(setup, source(), books, cut_ticks=CUT_TICKS).completed else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def rows(folder: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(folder / "books.db")) as books:
        tables = [name for (name,) in books.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        return {
            name: sorted(books.execute(f'SELECT * FROM "{name}"'), key=repr)
            for name in tables
            if name not in WHERE_IT_GOES_ON
        }


@pytest.mark.untraced
@pytest.mark.parametrize("name", SETUPS)
def test_killed_anywhere_the_books_come_to_the_same_rows(name: str, tmp_path: Path) -> None:
    draw = random.Random(name)
    plain = tmp_path / "plain"
    plain.mkdir()
    assert conduct(plain, SETUPS[name](), -1) == 0
    wanted = rows(plain)
    assert len(wanted["journal"]) > TICKS // CUT_TICKS
    for number in range(RUNS):
        folder, kills = tmp_path / str(number), 0
        folder.mkdir()
        while code := conduct(folder, SETUPS[name](), draw.randrange(60) if kills < KILLS_MAX else -1):
            assert code == -signal.SIGKILL
            kills += 1
        assert kills, f"run {number} was not killed"
        assert rows(folder) == wanted, f"run {number} of {name}, behind {kills} kills"
        verdict = verify(folder / "books.db")
        assert verdict.ok, verdict.lines()
