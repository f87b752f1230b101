"""Which execution is gone on with, which is left, and which one a report takes for a backtest's."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_daemon import PROGRAM, call, environment
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home
from tradekeel.bootstrap.backtestbooks import FileBooks
from tradekeel.bootstrap.backtests import execute, prepare
from tradekeel.domain.tasks import TaskRow, TaskStatus, TaskType
from tradekeel.errors import StoreCorrupt

SIGNALS = """
import os
import signal
from typing import ClassVar

from msgspec import Struct
from tradekeel.strategies.base import NOTHING, Strategy
from tradekeel.strategies.parameters import Parameters

os.kill(os.getpid(), signal.SIGUSR1)


class Nothing(Struct, frozen=True):
    seen: int = 0


class Mine(Strategy[Parameters, Nothing]):
    \"\"\"Lets the run go on at its first tick.\"\"\"

    kind: ClassVar[str] = "mine"
    Params = Parameters
    State = Nothing

    def on_tick(self, tick, state, context):
        if tick.position == 1:
            os.kill(os.getpid(), signal.SIGUSR2)
        return state, NOTHING
"""


class Leaves:
    """Somebody who has enough behind the first window."""

    def wants(self) -> str:
        return "stop"


def interrupted(folder: Path) -> Home:
    """One that is not over, with a state that was saved."""
    home = Home(folder, configs.head() + configs.market(20_000) + configs.account("a") + configs.strategy("ema", "a"))
    (prepared,) = prepare(home.config, {})
    assert execute(prepared, steering=Leaves()).status is TaskStatus.PAUSED
    return home


def listed(home: Home) -> list[tuple[int, str]]:
    rows: list[dict[str, Any]] = json.loads(call("backtests", home.config, "--json").stdout)
    return [(row["number"], row["status"]) for row in rows]


def books_of(home: Home) -> Path:
    (path,) = home.state.glob("backtests/*/1/books.db")
    return path


def test_a_pause_while_the_data_is_read_is_one_of_the_run_and_leaves_nothing_out(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SIGNALS)
    own = configs.strategy("mine", "a", kind="mine.py:Mine", params="")
    home = Home(tmp_path, configs.head() + configs.market(300) + configs.account("a") + own)
    done = subprocess.run(
        [*PROGRAM, "backtest", str(home.config)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "is completed" in done.stdout) == (0, True), done


def test_one_that_was_being_left_when_the_kill_came_is_left(tmp_path: Path) -> None:
    home = interrupted(tmp_path)
    (prepared,) = prepare(home.config, {})
    with FileBooks(books_of(home), prepared.task, 1, prepared.setup.execution, (), now_ns=lambda: 7) as books:
        books.tell(TaskStatus.STOPPING)
    assert execute(prepared).number == 2
    assert listed(home) == [(1, "stopped"), (2, "completed")]


def test_a_saved_state_that_cannot_be_read_is_not_gone_on_from_an_earlier_one(tmp_path: Path) -> None:
    home = interrupted(tmp_path)
    (prepared,) = prepare(home.config, {})
    execute(prepared, steering=Leaves())
    with closing(sqlite3.connect(books_of(home))) as db, db:
        db.execute(
            "UPDATE checkpoints SET crc = crc + 1 WHERE id IN (SELECT max(id) FROM checkpoints WHERE owner = 'ema')"
        )
    (prepared,) = prepare(home.config, {})
    with pytest.raises(StoreCorrupt, match="the state of ema as of the journal's end"):
        execute(prepared)
    (prepared,) = prepare(home.config, {})
    assert execute(prepared, restart=True).number == 2
    assert listed(home) == [(1, "stopped"), (2, "completed")]


def test_a_task_that_a_script_keeps_in_a_daemons_books_makes_no_backtest_of_its_runs(tmp_path: Path) -> None:
    home = Home(tmp_path, configs.head() + configs.market(300) + configs.account("a") + configs.strategy("ema", "a"))
    life = home.live()
    assert life.code == 0, life.log
    task = TaskRow(task_id="mine", type=TaskType.PAPER, name="mine")
    with FileBooks(home.books, task, 9, "", (), now_ns=lambda: 7) as books:
        books.tell(TaskStatus.RUNNING)
    done = call("report", home.config, "--json")
    report = json.loads(done.stdout)
    assert (report["task"], report["notes"]) == (None, []), done.stderr
    assert "#9" not in report["name"]
