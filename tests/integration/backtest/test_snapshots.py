"""Snapshots and metrics checkpoints of a backtest: on the file's schedule, by the market's time."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.integration.cli_daemon import call
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home
from tradekeel.bootstrap.backtests import execute, prepare
from tradekeel.domain.performance import PerformanceTracker
from tradekeel.domain.times import iso

TICKS = 1_500  # twelve and a half minutes, from 13:00 on


def ran(folder: Path, schedule: str) -> Path:
    head = configs.head().replace("snapshot_schedule = 0\n", schedule)
    assert head != configs.head()
    home = Home(folder, head + configs.market(TICKS) + configs.account("a") + configs.strategy("ema", "a"))
    (prepared,) = prepare(home.config, {})
    return execute(prepared).folder


def minutes(folder: Path) -> list[str]:
    rows = json.loads(call("snapshots", "--state", folder, "--limit", "1000", "--json").stdout)
    return sorted(iso(int(row["ts_ns"]))[11:16] for row in rows)


def saved_figures(folder: Path) -> list[PerformanceTracker]:
    with closing(sqlite3.connect(folder / "books.db")) as books:
        found = books.execute("SELECT data FROM metrics_checkpoints ORDER BY id").fetchall()
    return [PerformanceTracker.load(data) for (data,) in found]


def test_a_backtest_follows_the_schedule_of_the_file_and_saves_what_a_daemon_does(tmp_path: Path) -> None:
    folder = ran(tmp_path, 'snapshot_schedule = "*/5 * * * *"\n')
    assert minutes(folder) == ["13:05", "13:10", "13:12"], "the last one is the end"
    figures = saved_figures(folder)
    assert [tracker.state.ticks for tracker in figures] == sorted({tracker.state.ticks for tracker in figures})
    report = json.loads(call("report", "--state", folder, "--json").stdout)
    assert figures[-1].report().trades.count == report["figures"]["trades"]["count"] > 0
    assert call("verify", "--state", folder).returncode == 0


def test_without_a_schedule_there_is_a_curve_and_no_saved_figures(tmp_path: Path) -> None:
    folder = ran(tmp_path, "")
    taken = minutes(folder)
    assert (taken[0], taken[-1], len(taken)) == ("13:00", "13:12", 75), "each ten seconds at first"
    assert saved_figures(folder) == []


def test_never_is_never(tmp_path: Path) -> None:
    folder = ran(tmp_path, "snapshot_schedule = 0.0\n")
    assert minutes(folder) == []
