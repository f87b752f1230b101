"""docs/optimisation.md: its commands run as they stand, its section is the one that is shipped, its tables are the program's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.conftest import ROOT
from tests.integration.backtest.test_docs import run
from tests.integration.cli_daemon import copy_shipped_files
from tradekeel.domain.goals import GOALS

TEXT = (ROOT / "docs" / "optimisation.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


def test_the_commands_run(tmp_path: Path) -> None:
    copy_shipped_files(tmp_path)
    for line in block("sh").splitlines():
        program, *words = shlex.split(line)
        assert program == "tradekeel"
        done = run(tmp_path, "-m", "tradekeel", *words)
        assert done.returncode == 0, done.stderr
        assert "out of sample, window by window" in done.stdout or words[0] == "backtest"


def test_the_section_is_the_one_that_is_shipped() -> None:
    assert block("toml") in (ROOT / "config" / "replay.toml").read_text(encoding="utf-8")


def test_the_objectives_are_those_that_there_are() -> None:
    start = TEXT.index("**Objectives**")
    more, less = TEXT[start : TEXT.index("With two of them", start)].split("better of", 2)[1:]
    assert set(re.findall(r"`(\w+)`", more)) == {name for name, goal in GOALS.items() if goal.rises}
    assert set(re.findall(r"`(\w+)`", less)) == {name for name, goal in GOALS.items() if not goal.rises}


def test_the_options_are_those_of_the_command(tmp_path: Path) -> None:
    told = run(tmp_path, "-m", "tradekeel", "optimize", "--help").stdout
    options = set(re.findall(r"--[a-z-]+", told)) - {"--help", "--version"}
    table = "".join(line for line in TEXT.splitlines(True) if line.startswith("| `--"))
    assert options == set(re.findall(r"--[a-z-]+", table))
