"""Which execution is gone on with, which is left, and which one a report takes for a backtest's."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests import cradle
from tests.integration.cli_daemon import call, environment, start
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home
from tradekeel.backtest.source import WINDOW_TICKS
from tradekeel.bootstrap.backtestbooks import FileBooks
from tradekeel.bootstrap.backtests import execute, prepare
from tradekeel.domain.tasks import TaskRow, TaskStatus, TaskType
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import AlreadyRunning, StoreCorrupt
from tradekeel.runtime.clock import SystemClock
from tradekeel.statedir import A_COMMAND_IS_ALONE, StateDir

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


TOGETHER = """
import os
import time
from pathlib import Path
from typing import ClassVar

from msgspec import Struct
from tradekeel.strategies.base import NOTHING, Strategy
from tradekeel.strategies.parameters import Parameters

here = Path(__file__).parent
(here / f"ready.{os.getpid()}").touch()
while len(list(here.glob("ready.*"))) < 2:
    time.sleep(0.0005)


class Nothing(Struct, frozen=True):
    seen: int = 0


class Mine(Strategy[Parameters, Nothing]):
    \"\"\"Is loaded in two processes before either begins, and runs when one has ended.\"\"\"

    kind: ClassVar[str] = "mine"
    Params = Parameters
    State = Nothing

    def on_tick(self, tick, state, context):
        while not (here / "one-has-ended").exists():
            time.sleep(0.001)
        return state, NOTHING
"""


class Leaves:
    """Somebody who has enough behind the first window."""

    def wants(self) -> str:
        return "stop"


def interrupted(folder: Path) -> Home:
    """One that is not over, with a state that was saved; it has a second window, and ends in a third one."""
    home = Home(
        folder,
        configs.head() + configs.market(2 * WINDOW_TICKS + 300) + configs.account("a") + configs.strategy("ema", "a"),
    )
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
    done = start("backtest", home.config)
    assert (done.returncode, "is completed" in done.stdout) == (0, True), done


@pytest.mark.parametrize("words", [(), ("--restart",)])
@pytest.mark.parametrize("before", ["nothing", "interrupted", "completed"])
def test_of_two_that_are_begun_at_once_one_runs_and_the_other_is_refused(
    tmp_path: Path, before: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "mine.py").write_text(TOGETHER)
    own = configs.strategy("mine", "a", kind="mine.py:Mine", params="")
    home = Home(tmp_path, configs.head() + configs.market(WINDOW_TICKS + 300) + configs.account("a") + own)
    signs = [tmp_path / name for name in ("ready.a", "ready.b", "one-has-ended")]
    if before != "nothing":
        for sign in signs:
            sign.touch()
        execute(prepare(home.config, {})[0], steering=Leaves() if before == "interrupted" else None)
        for sign in tmp_path.glob("ready.*"):
            sign.unlink()
        signs[-1].unlink()
    command = ["tradekeel", "backtest", str(home.config), *words]
    both = [cradle.begin(command, loaded=cradle.COMMANDS, env=environment(), **cradle.HEARD) for _ in range(2)]

    def end(process: subprocess.Popen[str]) -> str:
        said = process.communicate(timeout=60)[1]
        signs[-1].touch()
        return said

    with ThreadPoolExecutor(len(both)) as waiting:
        said = list(waiting.map(end, both))
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 6], said
    assert "it is being run: one process at a time." in said[codes.index(6)]
    first = {"nothing": [], "interrupted": [(1, "stopped")] if words else [], "completed": [(1, "completed")]}[before]
    assert listed(home) == [*first, (len(first) + 1, "completed")]


def test_a_command_at_its_books_is_not_told_as_a_run(tmp_path: Path) -> None:
    home = interrupted(tmp_path)
    held = StateDir(books_of(home).parent)
    held.lock(A_COMMAND_IS_ALONE)
    try:
        with pytest.raises(
            AlreadyRunning, match=rf"#1: process {os.getpid()} is a command at its books, .* and run this again"
        ):
            execute(prepare(home.config, {})[0])
    finally:
        held.release()
    assert execute(prepare(home.config, {})[0]).status is TaskStatus.COMPLETED


class Asks:
    """Somebody who asks a question behind the first window, before anything was saved."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._asks = [ask]

    def wants(self) -> str:
        while self._asks:
            self._asks.pop()()
        return ""


def test_a_command_at_the_books_of_a_run_is_told_that_it_is_no_daemons(tmp_path: Path) -> None:
    home = Home(tmp_path, configs.head() + configs.market(3_000) + configs.account("a") + configs.strategy("ema", "a"))
    said: list[str] = []

    def ask() -> None:
        folder = books_of(home).parent
        archived = call("db", "archive", "--state", folder, "--before", "9999-12-31")
        said.extend(" ".join(done.stderr.split()) for done in (archived, call("report", home.config)))

    execute(prepare(home.config, {})[0], steering=Asks(ask))
    assert f"a backtest (process {os.getpid()}) holds" in said[0]
    assert "Wait for it, or stop it (Ctrl-C, or SIGTERM)" in said[0]
    assert "tradekeel stop" not in said[0]
    assert "#1 is being run, and nothing of it was saved yet" in said[1]


def test_a_folder_without_books_that_a_kill_has_left_is_no_backtest_yet(tmp_path: Path) -> None:
    home = interrupted(tmp_path)
    for each in books_of(home).parent.glob("books.db*"):
        each.unlink()
    assert listed(home) == []
    (prepared,) = prepare(home.config, {})
    assert (execute(prepared).number, listed(home)) == (1, [(1, "completed")])


def test_a_report_of_one_that_was_killed_before_anything_was_saved_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path, configs.head() + configs.market(3_000) + configs.account("a") + configs.strategy("ema", "a"))

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(prepare(home.config, {})[0], steering=Asks(die))
    said = " ".join(call("report", home.config).stderr.split())
    assert "#1 was interrupted before anything of it was saved: the same command begins it again" in said
    assert execute(prepare(home.config, {})[0]).number == 1


class SetBack(SystemClock):
    """A clock on the wall that shows an hour less each time that somebody looks at it."""

    def __init__(self) -> None:
        self._hours = count()

    def now_ns(self) -> int:
        return 1_700_000_000 * NS_PER_S - next(self._hours) * 3_600 * NS_PER_S


def test_one_whose_clock_is_set_back_comes_to_its_end_and_is_over_no_earlier_than_it_began(tmp_path: Path) -> None:
    home = Home(tmp_path, configs.head() + configs.market(3_000) + configs.account("a") + configs.strategy("ema", "a"))
    (prepared,) = prepare(home.config, {})
    assert execute(prepared, clock=SetBack(), steering=Leaves()).status is TaskStatus.PAUSED
    assert execute(prepared, clock=SetBack()).status is TaskStatus.COMPLETED
    (row,) = json.loads(call("backtests", home.config, "--json").stdout)
    assert row["completed_ns"] == row["started_ns"]


def test_books_that_a_kill_has_left_half_made_are_made(tmp_path: Path) -> None:
    home = interrupted(tmp_path)
    books = books_of(home)
    for each in books.parent.glob("books.db*"):
        each.unlink()
    with closing(sqlite3.connect(books)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    assert books.stat().st_size
    assert listed(home) == []
    (prepared,) = prepare(home.config, {})
    assert (execute(prepared).number, listed(home)) == (1, [(1, "completed")])


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
    assert execute(prepared, steering=Leaves()).status is TaskStatus.PAUSED
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
