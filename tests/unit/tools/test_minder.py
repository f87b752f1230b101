"""What tests start ends with them, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.keeper import state_of
from tests.servers.process import ENDED, until
from tools.minder import MARK, bearers, minded

ROOT = Path(__file__).parents[3]

RUN = """
import subprocess, sys, signal
from tools.minder import minded
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
shell = [sys.executable, "-c", f"import subprocess; print(subprocess.Popen({sleep}, stdout=-3, stderr=-3).pid)"]  # DEVNULL
with minded():
    ours = subprocess.Popen(sleep, start_new_session=True)
    orphan = subprocess.run(shell, capture_output=True, check=True, text=True, start_new_session=True).stdout
    print(ours.pid, orphan, flush=True)
    {then}
ours.wait()
"""


@pytest.fixture
def begun() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that end with the test."""
    runs: list[subprocess.Popen[str]] = []
    yield runs
    for run in runs:
        run.kill()
        run.wait()
        assert run.stdout is not None
        run.stdout.close()


def begin(begun: list[subprocess.Popen[str]], then: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A run that has started two processes, one of which is an orphan already."""
    command = [sys.executable, "-c", RUN.replace("{then}", then)]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    begun.append(run)
    assert run.stdout is not None
    return run, [int(pid) for pid in run.stdout.readline().split()]


def alive(pids: list[int]) -> list[int]:
    """Those of these processes that are there."""
    return [pid for pid in pids if state_of(pid) not in ENDED]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_killed_takes_along_what_it_started_and_what_that_started(
    begun: list[subprocess.Popen[str]], number: signal.Signals
) -> None:
    run, pids = begin(begun, "signal.pause()")
    assert alive(pids) == pids
    run.send_signal(number)
    run.wait()
    until(lambda: not alive(pids), f"some of {pids} live on")


def test_a_run_that_ends_in_order_ends_nothing(begun: list[subprocess.Popen[str]]) -> None:
    run, pids = begin(begun, "pass")
    try:
        assert alive([run.pid, *pids]) == [run.pid, *pids]
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(1)
        assert alive([run.pid, *pids]) == [run.pid, *pids]
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def test_the_mark_is_that_of_the_innermost_run() -> None:
    outer = os.environ[MARK]
    with minded():
        inner = os.environ[MARK]
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            until(lambda: bearers(inner) == [child.pid], "the child bears no mark")
            assert child.pid not in bearers(outer)
            child.communicate(b"x")
    assert os.environ[MARK] == outer
