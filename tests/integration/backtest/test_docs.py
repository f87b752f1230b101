"""docs/backtesting.md: its commands run as they stand, its program does, and its options are the command's."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.cli_daemon import copy_shipped_files, environment
from tradekeel.domain.tasks import TaskStatus

TEXT = (ROOT / "docs" / "backtesting.md").read_text(encoding="utf-8")
TIMEOUT_S = 120


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_the_commands_run(tmp_path: Path) -> None:
    copy_shipped_files(tmp_path)
    for line in "".join(blocks("sh")).splitlines():
        program, *words = shlex.split(line)
        assert program == "tradekeel"
        done = run(tmp_path, "-m", "tradekeel", *words)
        assert done.returncode == 0, done.stderr
        assert "completed" in done.stdout


@pytest.mark.parametrize("program", blocks("python"))
def test_the_programs_run(program: str, tmp_path: Path) -> None:
    copy_shipped_files(tmp_path)
    done = run(tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr
    balance, trades, status = done.stdout.split()
    assert float(balance) > 0
    assert int(trades) > 10
    assert status == "completed"


def test_the_options_are_those_of_the_command(tmp_path: Path) -> None:
    told = run(tmp_path, "-m", "tradekeel", "backtest", "--help").stdout
    options = set(re.findall(r"--[a-z-]+", told)) - {"--help", "--version"}
    documented = set(
        re.findall(r"--[a-z-]+", "".join(line for line in TEXT.splitlines(True) if line.startswith("| `--")))
    )
    assert options == documented


def test_the_words_of_a_status_are_those_that_there_are() -> None:
    table = TEXT[TEXT.index("| status | |") : TEXT.index("**The same command goes on**")]
    words = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert words <= {status.value for status in TaskStatus}
