"""The desk: what control leaves in the state directory for people to find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from tradekeel.actors.control import Control, ControlSettings
from tradekeel.bootstrap.desk import STATUS_FILE, Desk
from tradekeel.errors import StoreUnavailable
from tradekeel.statedir import StateDir


@pytest.fixture
def statedir(tmp_path: Path) -> StateDir:
    made = StateDir(tmp_path / "state")
    made.create()
    return made


def test_a_latch_file_of_one_account_or_of_all_holds_an_account_until_it_is_let_go(statedir: StateDir) -> None:
    desk = Desk(statedir)
    desk.hold("a", "one too many")
    desk.hold("all", "enough")

    assert desk.held("a") == "enough"
    assert desk.held("b") == "enough"
    desk.let_go("all")
    assert desk.held("a") is None
    assert desk.held("b") is None


def test_a_status_that_cannot_be_written_is_told_in_our_words(statedir: StateDir) -> None:
    (statedir.path / STATUS_FILE).with_suffix(".tmp").mkdir()

    with pytest.raises(StoreUnavailable, match="status"):
        Desk(statedir).write_status({"name": "demo"})


def test_control_goes_on_without_the_status_file_and_says_so_once(statedir: StateDir) -> None:
    said: list[str] = []

    def say(level: str, text: str, **fields: str) -> None:
        said.append(f"{level}: {text}")

    settings = ControlSettings(
        name="demo", on_stop="keep", stop_at_feed_end=True, stop_timeout_s=1.0, watchdog_every_s=1.0
    )
    unused = cast("Any", None)
    control = Control(settings, (), Desk(statedir), unused, unused, dict, say, unused)
    obstacle = (statedir.path / STATUS_FILE).with_suffix(".tmp")

    obstacle.mkdir()
    control._write_status({"n": 1})
    control._write_status({"n": 2})
    assert [line[:8] for line in said] == ["WARNING:"]

    obstacle.rmdir()
    control._write_status({"n": 3})
    assert json.loads((statedir.path / STATUS_FILE).read_bytes()) == {"n": 3}

    obstacle.mkdir()
    control._write_status({"n": 4})
    assert len(said) == 2
