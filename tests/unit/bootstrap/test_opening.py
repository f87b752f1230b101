"""Opening books on a server: what waited for it is brought there first, however long that takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bootstrap.test_reload import CONFIG
from tradekeel.bootstrap.books import books_of
from tradekeel.bootstrap.effort import STALLED_AFTER_S, Effort
from tradekeel.bootstrap.opening import Opener
from tradekeel.bootstrap.plan import read_plan
from tradekeel.bootstrap.preparing import StopAsked
from tradekeel.domain.protocol import StoreStands
from tradekeel.runtime.clock import SystemClock
from tradekeel.statedir import StateDir


class Stepped(SystemClock):
    """Time passes when it is told to."""

    def __init__(self) -> None:
        self.s = 0.0

    def monotonic(self) -> float:
        return self.s


class Many:
    """Books for which a great deal waits; their server takes a piece of it in two minutes."""

    def __init__(self, clock: Stepped, pieces: int) -> None:
        self._clock, self._left = clock, pieces

    def settle(self, heed: Callable[[], object]) -> None:
        while self._left:
            self._clock.s += 120
            self._left -= 1
            heed()

    def stands(self) -> StoreStands:
        return StoreStands(mode="draining", batches=64 * self._left)


class Start:
    """A start, and what is said of it."""

    def __init__(self, folder: Path) -> None:
        (folder / "t.toml").write_text(CONFIG)
        config = read_plan(folder / "t.toml", {}).config
        self.clock, self.statedir = Stepped(), StateDir(folder / "state")
        self.effort = Effort(self.clock)
        self.said: list[str] = []
        self.stopped_after_s = float("inf")
        books = books_of(config.storage, self.statedir, config.daemon.name)
        self._opener: Any = Opener(config, books, self.statedir, self.clock, self.effort, self._heed)

    def _heed(self) -> None:
        assert self.effort.stalled() is None
        self.said.append(self.effort.waiting)
        if self.clock.s >= self.stopped_after_s:
            raise StopAsked

    def bring(self, pieces: int) -> None:
        with self.effort.under_way():
            self._opener._wait_for(Many(self.clock, pieces), "")


def test_bringing_what_waited_takes_its_time_and_is_told_and_not_given_up(tmp_path: Path) -> None:
    start = Start(tmp_path)
    start.bring(10)
    assert start.clock.s > STALLED_AFTER_S
    assert start.said[2] == "bringing what waited to the books' server: 576 batches are left"


def test_a_stop_ends_it_between_two_pieces(tmp_path: Path) -> None:
    start = Start(tmp_path)
    start.stopped_after_s = 360
    with pytest.raises(StopAsked):
        start.bring(10)
    assert start.clock.s == 360
