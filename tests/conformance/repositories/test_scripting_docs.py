"""The examples of docs/scripting.md run, one after the other in one folder, and print what the page says."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.conformance.backends import Adapter
from tests.conftest import ROOT
from tradekeel.ports.repositories.paging import ROWS_DEFAULT, ROWS_MAX, TIMEOUT_S
from tradekeel.statedir.layout import DIRECTORY_MODE
from tradekeel.storage import repositories
from tradekeel.storage.redis.trades import OPEN_MAX
from tradekeel.storage.repositories.making import MAKING_TIMEOUT_S
from tradekeel.storage.repositories.signals import DESCRIPTIVE as OF_SIGNALS
from tradekeel.storage.repositories.trades import DESCRIPTIVE as OF_TRADES

PAGE = (ROOT / "docs" / "scripting.md").read_text()


ON_REDIS = "redis://trading-adapter:PASSWORD@127.0.0.1:6379/0"
CONFIG = """
[daemon]
state_dir = "state"
[redis]
url = "{url}"
username = "trading-adapter"
password = {{ env = "SECRET" }}
"""
REDIS = ROOT / "docs" / "redis.md"


async def test_the_examples_run_and_print_what_the_page_says(tmp_path: Path, redis_url: str) -> None:
    examples = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == PAGE.count("```python") == 5
    async with Adapter(redis_url, "a-secret-of-the-tests"):
        limited = urlsplit(redis_url)
        where = limited._replace(netloc=f"trading-adapter:a-secret-of-the-tests@{limited.hostname}:{limited.port}")
        (tmp_path / "market.toml").write_text(
            CONFIG.format(url=limited._replace(netloc=f"{limited.hostname}:{limited.port}").geturl())
        )
        assert not (tmp_path / "state").exists()  # whoever tries it has nothing but the settings
        for code, printed in examples:
            run_example(code.replace(ON_REDIS, where.geturl()), printed, tmp_path)
        assert (tmp_path / "state").stat().st_mode & 0o777 == DIRECTORY_MODE


def run_example(code: str, printed: str, folder: Path) -> None:
    """As a person does, in a folder of his own."""
    environ = os.environ | {"SECRET": "a-secret-of-the-tests"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
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
    assert f"deadline of its own, {MAKING_TIMEOUT_S:g} s" in PAGE
    assert f"There may be {OPEN_MAX:,} open trades at once" in REDIS.read_text()
