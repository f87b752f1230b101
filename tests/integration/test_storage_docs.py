"""Every command in docs/storage.md runs as written, in order, on the books of a daemon that has traded."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.integration.cli_daemon import SHORT, environment, write_config

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "storage.md").read_text()


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def globbed(folder: Path, word: str) -> list[str]:
    """As the shell does it: a pattern becomes names, and what `$()` asks for is asked."""
    if word.startswith("$("):
        asked = ["sh", "-c", f'printf %s "{word}"']
        return [subprocess.run(asked, cwd=folder, capture_output=True, text=True, timeout=10, check=True).stdout]
    return [str(path.relative_to(folder)) for path in folder.glob(word)] if "*" in word else [word]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tradekeel", *words]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


def test_every_command_runs_as_written(tmp_path: Path) -> None:
    write_config(tmp_path, feed=SHORT).rename(tmp_path / "market.toml")
    assert run(tmp_path, "run", "market.toml").returncode == 0
    assert len(commands()) >= 4
    for command in commands():
        program, *words = shlex.split(command)
        assert program == "tradekeel", command
        done = run(tmp_path, *(found for word in words for found in globbed(tmp_path, word)))
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        assert done.stdout, command
