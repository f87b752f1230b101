"""Ctrl-C while a command reads much data: the real program says what stays, and leaves nothing half done."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.integration.cli_daemon import PROGRAM, environment, minding

TIMEOUT_S = 60
ROWS = 1_000_000

CONFIG = """
[daemon]
name = "large"
state_dir = "state"

[feeds.m]
kind = "file"
path = "ticks.csv"
instrument = "EUR_USD"
format = "csv"
columns = { time = "time", bid = "bid", ask = "ask" }
time_format = "epoch_s"

[accounts.a]
venue = "paper"
feed = "m"

[strategies.ema]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]

[optimize]
objective = "total_pnl"

[optimize.parameters.ema]
fast = { from = 5, to = 20, step = 5 }
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ticks that take seconds to read."""
    folder = tmp_path_factory.mktemp("large")
    with (folder / "ticks.csv").open("w") as file:
        file.write("time,bid,ask\n")
        file.writelines(f"{1_700_000_000 + row},1.1{row % 1_000:03},1.11\n" for row in range(ROWS))
    (folder / "large.toml").write_text(CONFIG)
    return folder


def interrupted(words: Sequence[str], folder: Path, is_under_way: Callable[[], bool]) -> tuple[int, str]:
    """The exit code, and what was said on standard error."""
    with minding(signal.SIGINT):
        process = subprocess.Popen(
            (*PROGRAM, *words), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    try:
        while not is_under_way():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.communicate()
    return process.returncode, said


def test_a_conversion_leaves_no_file(large: Path) -> None:
    words = ("data", "convert", "ticks.csv", "ticks.parquet", "-i", "EUR_USD", "--format", "csv")
    partial = large / "ticks.parquet.partial"
    is_written = lambda: partial.exists() and partial.stat().st_size > 0
    done = interrupted((*words, "--time-format", "epoch_s"), large, is_written)
    assert done == (130, "tradekeel: interrupted: ticks.parquet was not written; the same command begins anew\n")
    assert sorted(each.name for each in large.glob("ticks*")) == ["ticks.csv"]


def test_an_optimisation_whose_workers_read_does_not_wait_for_them(large: Path) -> None:
    study = large / "state" / "optimizations" / "mine" / "study.db"
    code, said = interrupted(("optimize", "large.toml", "--study", "mine", "--jobs", "2"), large, study.exists)
    assert code == 7
    assert said.splitlines() == [
        "stopping: trials that are over are kept, and those under way are run again by the same command",
        "it was interrupted: the same command goes on with it",
    ]
