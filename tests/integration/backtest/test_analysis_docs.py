"""docs/analysis.md: its commands run as they stand and say what it says, and its options and verdicts are the program's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.conftest import ROOT
from tests.integration.backtest.test_docs import run
from tests.integration.cli_daemon import copy_shipped_files
from tradekeel.backtest.analysing.warmup import Verdict
from tradekeel.bootstrap.analysing import Analysis
from tradekeel.errors import ExitCode

TEXT = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


def test_the_commands_find_what_the_page_says(tmp_path: Path) -> None:
    copy_shipped_files(tmp_path)
    (program,), (config,), commands = blocks("python"), blocks("toml"), "".join(blocks("sh"))
    (tmp_path / "config" / "peeker.py").write_text(program)
    (tmp_path / "config" / "peeker.toml").write_text(config)
    for line, shown in zip(commands.splitlines(), blocks("text"), strict=True):
        program, *words = shlex.split(line)
        assert program == "tradekeel"
        done = run(tmp_path, "-m", "tradekeel", *words)
        assert done.returncode == ExitCode.DIFFERENT, done.stdout + done.stderr
        said = {text.rstrip() for text in done.stdout.splitlines()}
        assert {text for text in shown.splitlines() if text} <= said, done.stdout
    assert not (tmp_path / "var").exists(), "nothing is left behind"


def test_the_options_are_those_of_the_command(tmp_path: Path) -> None:
    told = run(tmp_path, "-m", "tradekeel", "analyze", "--help").stdout
    documented = set(re.findall(r"--[a-z-]+", "".join(re.findall(r"^\| `--.*?\|", TEXT, re.MULTILINE))))
    assert set(re.findall(r"--[a-z-]+", told)) - {"--help", "--version"} == documented


def test_the_fields_are_those_of_an_analysis() -> None:
    table = TEXT[TEXT.index("### As JSON") : TEXT.index("## What it cannot see")]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    added = {"format", "clean", "judged", "first", "last"}
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {*Analysis.__struct_fields__, *added}


def test_the_verdicts_are_those_that_there_are() -> None:
    table = TEXT[TEXT.index("| verdict | means |") : TEXT.index("An average that is carried on")]
    words = {
        word.lower()
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for word in re.findall(r"`(.*?)`", row)
    }
    assert words == {verdict.value for verdict in Verdict}
