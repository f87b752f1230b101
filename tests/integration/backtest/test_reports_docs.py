"""docs/reports.md: its commands run as they stand, and its tables of options and fields are the program's."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.backtest.test_docs import run
from tests.integration.cli_daemon import copy_shipped_files
from tradekeel.backtest.reporting.model import RunReport
from tradekeel.backtest.reporting.tables import GROUPS

TEXT = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    (block,) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    return str(block).splitlines()


def test_the_commands_run(tmp_path: Path) -> None:
    copy_shipped_files(tmp_path)
    said = {}
    for line in commands():
        program, *words = shlex.split(line)
        assert program == "tradekeel"
        done = run(tmp_path, "-m", "tradekeel", *words)
        assert done.returncode in ((0, 1) if words[0] == "compare" else (0,)), f"{line}: {done.stdout}{done.stderr}"
        said[line] = done.stdout
    assert {file.name for file in tmp_path.glob("*.html")} == {"replay-floor.html", "replay-trend.html", "newest.html"}
    assert all("<html" in file.read_text()[:100] for file in tmp_path.glob("*.html"))
    whole = next(json.loads(text) for line, text in said.items() if "--json" in line)
    assert set(whole) == documented_fields()


def documented_fields() -> set[str]:
    table = TEXT[TEXT.index("### As JSON") : TEXT.index("## compare")]
    return {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def test_the_fields_are_those_of_a_report() -> None:
    added = {"format", "name", "layers", "cycles"}
    assert documented_fields() == {*RunReport.__struct_fields__, *added}


@pytest.mark.parametrize("command", ["report", "compare"])
def test_the_options_are_those_of_the_command(command: str, tmp_path: Path) -> None:
    start = TEXT.index(f"## {command}\n")
    end = TEXT.find("\n### ", start) if command == "report" else len(TEXT)
    documented = set(re.findall(r"^\| `(--[a-z-]+)", TEXT[start:end], re.MULTILINE))
    told = run(tmp_path, "-m", "tradekeel", command, "--help").stdout
    assert set(re.findall(r"--[a-z-]+", told)) - {"--help", "--version"} == documented


def test_the_groups_are_those_that_there_are() -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith("| `--groups"))
    assert tuple(re.findall(r"`(\w+)`", row)) == GROUPS
