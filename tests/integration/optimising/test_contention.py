"""Processes on one study share its trials: nothing is run twice, nothing counts twice, and what a kill has left is run again.

The processes do what workers do, without the backtests between: there they meet at each trial.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial

from tests.integration.cli_daemon import environment
from tests.integration.optimising.contender import POINTS, board_of
from tradekeel.backtest.optimising.studies import Counts, counts_of
from tradekeel.bootstrap.optimising.stores import StoreSettings, close_store, open_store

TIMEOUT_S = 120


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.postgres), "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """Each kind of storage."""
    return "" if request.param == "file" else str(request.getfixturevalue(f"{request.param}_url"))


@contextmanager
def contender(
    url: str, folder: Path, *, sampler: str = "random", trials: int = POINTS, seconds: float = 0
) -> Iterator[subprocess.Popen[str]]:
    words = [url, str(folder), "study", sampler, str(trials), str(seconds)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.optimising.contender", *words],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ran(process: subprocess.Popen[str]) -> list[str]:
    """What it ran, when it has come to its end."""
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
