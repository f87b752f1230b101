"""The examples of docs/scripting.md run, one after the other in one folder, and print what the page says."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tradekeel.ports.repositories.paging import ROWS_DEFAULT, ROWS_MAX, TIMEOUT_S
from tradekeel.storage import repositories
from tradekeel.storage.repositories.signals import DESCRIPTIVE as OF_SIGNALS
from tradekeel.storage.repositories.trades import DESCRIPTIVE as OF_TRADES

PAGE = (ROOT / "docs" / "scripting.md").read_text()


def test_the_examples_run_and_print_what_the_page_says(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == PAGE.count("```python") == 2
    for code, printed in examples:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (0, printed), done.stderr


def test_the_page_names_every_repository_and_what_describes() -> None:
    names = {name for name, kind in vars(repositories).items() if inspect.isclass(kind) and name.startswith("Sql")}
    assert set(re.findall(r"`(Sql\w+Repository)`", PAGE)) == names
    for field in OF_TRADES | OF_SIGNALS:
        assert field in PAGE or field.startswith("rl_")


def test_the_figures_are_those_of_the_code() -> None:
    assert f"({ROWS_DEFAULT} unless said, at most {ROWS_MAX:,})" in PAGE
    assert f"`timeout_s`: {TIMEOUT_S:g} s unless said" in PAGE
