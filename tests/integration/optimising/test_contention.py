"""Processes on one study share its trials: nothing is run twice, nothing counts twice, and what a kill has left is run again.

The processes do what workers do, without the backtests between: there they meet at each trial.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from optuna import Trial
from optuna.trial import FrozenTrial
from sqlalchemy.exc import DBAPIError

from tests import cradle
from tests.integration.cli_daemon import environment
from tests.integration.optimising.contender import POINTS, board_of
from tests.servers.postgres import connected
from tests.servers.process import until
from tradekeel.backtest.optimising.samplers import OWNER
from tradekeel.backtest.optimising.studies import Board, Counts, counts_of
from tradekeel.bootstrap.optimising.stores import StoreSettings, close_store, open_store, opened_store
from tradekeel.errors import StoreRefused

TIMEOUT_S = 120
COUNTS, TOO_LATE = "counts", "too late"


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.postgres), "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """Each kind of storage."""
    return "" if request.param == "file" else str(request.getfixturevalue(f"{request.param}_url"))


@contextmanager
def contender(
    url: str, folder: Path, *, sampler: str = "random", trials: int = POINTS, seconds: float = 0, where: str = ""
) -> Iterator[subprocess.Popen[str]]:
    words = [url, str(folder), "study", sampler, str(trials), str(seconds), where]
    process = cradle.begin(
        ["tests.integration.optimising.contender", *words], loaded=cradle.STUDIES, env=environment(), **cradle.HEARD
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ran(process: subprocess.Popen[str]) -> list[str]:
    """What it ran, when it has come to its end."""
    return [line for line in said(process) if line not in (COUNTS, TOO_LATE)]


def said(process: subprocess.Popen[str]) -> list[str]:
    """What it still had to say, when it has come to its end."""
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    return out.splitlines()


def trials(url: str, folder: Path) -> list[FrozenTrial]:
    store = open_store(StoreSettings(url, None, folder))
    try:
        return board_of(store, "study", "random", POINTS).study.get_trials()
    finally:
        close_store(store)


def counted(url: str, folder: Path) -> Counts:
    return counts_of(trials(url, folder))


def complete_points(url: str, folder: Path) -> list[str]:
    return [repr(sorted(each.params.items())) for each in trials(url, folder) if each.state.name == "COMPLETE"]


def share(url: str, folder: Path, sampler: str) -> None:
    """Two processes come to the end of a study, and neither has run what the other one has."""
    how: dict[str, Any] = {"sampler": sampler, "seconds": 0.02}
    with contender(url, folder, **how) as one, contender(url, folder, **how) as other:
        mine, theirs = ran(one), ran(other)
    points = [line.split(" ", 1)[1] for line in (*mine, *theirs)]
    assert len(points) == len(set(points)) == POINTS
    assert mine
    assert theirs
    counts = counted(url, folder)
    assert (counts.complete, counts.failed, counts.lost, counts.running, counts.waiting) == (POINTS, 0, 0, 0, 0)


def test_two_processes_try_every_point_once(url: str, tmp_path: Path) -> None:
    share(url, tmp_path, "random")


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_so_they_do_with_each_sampler(postgres_url: str, tmp_path: Path, sampler: str) -> None:
    share(postgres_url, tmp_path, sampler)


def test_no_more_trials_begin_than_were_asked_for(postgres_url: str, tmp_path: Path) -> None:
    with contender(postgres_url, tmp_path, trials=7) as one, contender(postgres_url, tmp_path, trials=7) as other:
        lines = [*ran(one), *ran(other)]
    assert len(lines) == 7
    assert counted(postgres_url, tmp_path).complete == 7


def test_what_a_killed_process_was_at_is_run_again_and_counts_once(url: str, tmp_path: Path) -> None:
    with contender(url, tmp_path, seconds=600) as lost:
        assert lost.stdout is not None
        was_at = lost.stdout.readline().split(" ", 1)[1].strip()
        os.kill(lost.pid, signal.SIGKILL)
        lost.wait()
    with contender(url, tmp_path) as other:
        lines = [line.split(" ", 1)[1] for line in ran(other)]
    assert was_at in lines, "the same machine knows at once that a process is gone"
    points = complete_points(url, tmp_path)
    assert len(points) == len(set(points)) == POINTS
    assert counted(url, tmp_path).lost == 1


def test_what_a_machine_was_at_that_stood_still_is_run_by_another_and_counts_once(url: str, tmp_path: Path) -> None:
    with contender(url, tmp_path, seconds=2) as still:
        assert still.stdout is not None
        was_at = still.stdout.readline().split(" ", 1)[1].strip()
        os.kill(still.pid, signal.SIGSTOP)
        with contender(url, tmp_path, where="far") as other:
            lines = said(other)
        os.kill(still.pid, signal.SIGCONT)
        assert said(still) == [TOO_LATE]
    assert was_at in [line.split(" ", 1)[-1] for line in lines], "it was run twice"
    assert lines.count(COUNTS) == POINTS
    points = complete_points(url, tmp_path)
    assert len(points) == len(set(points)) == POINTS
    assert counted(url, tmp_path) == Counts(complete=POINTS, lost=1)


@pytest.mark.postgres
def test_what_a_process_holds_that_stands_still_is_let_go(postgres_url: str, tmp_path: Path) -> None:
    hasty = StoreSettings(postgres_url, None, tmp_path, timeout_s=0.1)
    with opened_store(StoreSettings(postgres_url, None, tmp_path)) as store, opened_store(hasty) as still:
        board = board_of(store, "study", "random", 1)
        trial = board.claim()
        assert trial is not None
        with suppress(DBAPIError), still._backend.engine.connect() as held:  # type: ignore[attr-defined]  # see close_store
            held.exec_driver_sql("SELECT 1 FROM trials FOR UPDATE")
            assert board.complete(trial, [1.0], {"trades": 7})


def failed_by_another(url: str, number: int, meanwhile: Callable[[], Future[bool]]) -> bool:
    """Fail a trial as Optuna does, its row locked and then changed; between the two somebody begins something, and must wait.

    What becomes of that.
    """
    with connected(url) as mine, connected(url) as looking:
        with mine.transaction():
            mine.execute("SELECT FROM trials WHERE number = %s FOR UPDATE", (number,))
            came = meanwhile()
            while not looking.execute(WAITS, (mine.info.backend_pid,)).fetchone():
                assert not came.done(), came.result()
            mine.execute("UPDATE trials SET state = 'FAIL', datetime_complete = now() WHERE number = %s", (number,))
        return came.result(TIMEOUT_S)


WAITS = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"


@pytest.mark.postgres
@pytest.mark.parametrize("late", ["fail", "complete", "drop", "look"])
def test_what_is_told_at_the_moment_at_which_it_is_taken_for_lost_counts_once(
    postgres_url: str, tmp_path: Path, late: str
) -> None:
    tell: dict[str, Callable[[Board, Trial], object]] = {
        "fail": lambda board, trial: board.fail(trial, "too few trades"),
        "complete": lambda board, trial: board.complete(trial, [1.0], {"trades": 7}),
        "drop": lambda board, trial: board.drop(trial),
        "look": lambda board, trial: not board.look_at(trial, 1, 0.5),
    }
    with opened_store(StoreSettings(postgres_url, None, tmp_path)) as store, ThreadPoolExecutor(1) as slowly:
        slow = board_of(store, "study", "random", 1)
        trial = slow.claim()
        assert trial is not None
        was_ours = failed_by_another(
            postgres_url, trial.number, lambda: slowly.submit(lambda: bool(tell[late](slow, trial)))
        )
        assert not was_ours
    with contender(postgres_url, tmp_path, trials=1) as next_one:
        assert len(ran(next_one)) == 1, "it is run again"
    lost, again = trials(postgres_url, tmp_path)
    assert counts_of([lost, again]) == Counts(complete=1, lost=1)
    assert lost.params == again.params
    assert lost.user_attrs.keys() == {OWNER}, "nothing is written into a trial that is over"
    assert not lost.intermediate_values


def test_what_was_over_when_all_were_killed_is_not_run_again(tmp_path: Path) -> None:
    with contender("", tmp_path, seconds=0.02) as one:
        assert one.stdout is not None
        for _ in range(5):
            one.stdout.readline()
        os.kill(one.pid, signal.SIGKILL)
        one.wait()
    before = set(complete_points("", tmp_path))
    assert before
    with contender("", tmp_path) as last:
        again = {line.split(" ", 1)[1] for line in ran(last)}
    assert not before & again
    assert len(complete_points("", tmp_path)) == POINTS


@pytest.mark.postgres
def test_a_storage_that_cannot_be_used_leaves_no_connection_behind(postgres_url: str, tmp_path: Path) -> None:
    """Its way to the error may be the race of two that make the tables, of which one is often tried again."""
    with connected(postgres_url) as db:
        db.execute("CREATE TABLE alembic_version (something_else text)")
        with pytest.raises(StoreRefused):
            open_store(StoreSettings(postgres_url, None, tmp_path))
        ours = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name = 'tradekeel-optimize' AND datname = current_database()"
        )
        until(lambda: db.execute(ours).fetchone() == (0,), "it holds a connection still")
