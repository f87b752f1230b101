"""The quick reading of `run`'s words and the full one agree."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from tradekeel.bootstrap.early import install_signals
from tradekeel.cli import running
from tradekeel.cli.running import LOG_LEVELS, SWITCHES, run, run_quickly, view_for_person
from tradekeel.config import LoggingConfig
from tradekeel.runtime.signals import SignalInbox


def test_both_know_the_same_words() -> None:
    words = {f"--{name.replace('_', '-')}" for name in inspect.signature(run).parameters if name != "config"}
    assert words == SWITCHES.keys() | {"--log-level"}


def test_the_levels_are_those_of_the_configuration() -> None:
    assert get_args(get_type_hints(LoggingConfig)["level"]) == LOG_LEVELS


@pytest.mark.parametrize("words", [["--help"], ["a", "b"], ["--frob"], ["--log-level"], ["--log-level", "loud"]])
def test_what_the_quick_one_does_not_understand_it_leaves_to_the_full_one(words: list[str]) -> None:
    signals = SignalInbox([])
    assert run_quickly(words, signals) is None
    assert running._caught == [signals]


def test_a_configuration_that_is_missing_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_quickly([str(tmp_path / "none.toml"), "--fresh"], SignalInbox([])) == 2
    assert "no such file" in capsys.readouterr().err


def test_there_is_no_live_view_without_a_terminal() -> None:
    assert view_for_person({"TERM": "xterm"}) is None
    assert view_for_person({"TERM": "xterm", "JOURNAL_STREAM": "1:2"}) is None


def test_the_signals_are_taken_before_anything_heavy_is_imported() -> None:
    """What `tradekeel run` imports until its handlers are in place: the standard library and three small modules of ours."""
    seen = "import sys, tradekeel.cli, tradekeel.bootstrap.early; print(*sorted(m for m in sys.modules))"
    alone = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    words = [sys.executable, "-c", seen]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60, env=alone)
    loaded = done.stdout.split()
    assert install_signals.__module__ in loaded
    assert not {"anyio", "asyncio", "msgspec", "loguru", "sqlalchemy", "cyclopts", "rich", "decimal"} & set(loaded)
    assert {name for name in loaded if name.startswith("tradekeel.")} == {
        "tradekeel.bootstrap",
        "tradekeel.bootstrap.early",
        "tradekeel.cli",
        "tradekeel.runtime",
        "tradekeel.runtime.signals",
    }
