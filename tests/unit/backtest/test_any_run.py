"""Whoever trades whatever in any world: how its ticks come, where its state is saved and how often it is killed change no byte.

A round draws a market, the terms, what is recorded on the way, a warm-up, and then how it is run. Some markets come from files
in which rows stand too late. `make campaign` runs many.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.unit.backtest import bench, disorder
from tests.unit.backtest.lively import MIDS, market
from tests.unit.backtest.test_dumb_engine import WORLDS
from tests.unit.backtest.test_resume import DyingJournal, Killed
from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.run import run
from tradekeel.backtest.setup import Setup
from tradekeel.backtest.source import TickDataSource, TicksSource
from tradekeel.bootstrap.backtesting import snapshots_of
from tradekeel.domain.ticks import Tick

pytestmark = [pytest.mark.untraced, pytest.mark.scenario]
"""The lines of a run are those of the tests of its exactness."""

ROUNDS = {"dev": 5, "ci": 5, "campaign": 200}
TICKS = 200
KILLS_MAX = 4
FRAMES = dict.fromkeys(MIDS, ("5s", "5t"))

Open = Callable[..., TickDataSource]
"""Opens a market, in windows of ``window_ticks``."""


def drawn(draw: random.Random, name: str, folder: Path) -> tuple[Setup, Open]:
    """A run, and its market."""
    world = structs.replace(WORLDS[name], bars=draw.random() < 0.3)
    seed = draw.randrange(10**6)
    ticks = market(seed, TICKS, sizes=world.sizes)
    more: dict[str, Any] = {"snapshots": draw.choice((None, snapshots_of(7), snapshots_of("* * * * *")))}
    more["sample_ticks_every"] = draw.choice((0, 1, 7, 50))
    if draw.random() < 0.5:
        more["begins_ns"] = ticks[draw.randrange(1, TICKS // 2)].ts_ns + draw.choice((-1, 0, 1))
    return structs.replace(world.setup(seed), **more), opener(draw, ticks, folder)


def opener(draw: random.Random, ticks: list[Tick], folder: Path) -> Open:
    """These ticks as they are, or what a feed makes of them where some come too late."""
    if draw.random() < 0.5:
        return partial(TicksSource, ticks, timeframes=FRAMES)
    files = disorder.in_files(folder, disorder.with_late_rows(draw, ticks))
    return partial(disorder.source, files, draw.choice(disorder.POLICIES), timeframes=FRAMES)


@pytest.mark.parametrize("name", WORLDS)
def test_however_it_is_run_it_is_the_same_to_the_last_byte(name: str, seed: int, profile: str, tmp_path: Path) -> None:
    for number in range(ROUNDS[profile]):
        draw = random.Random(f"{seed} {number} {name}")
        setup, opened = drawn(draw, name, tmp_path)
        whole, journal, kills = MemoryJournal(), DyingJournal(), 0
        assert run(setup, opened(window_ticks=2_048), whole).completed
        wanted = bench.written(whole.entries)
        while True:
            journal.calls_left = draw.randrange(1, max(2, len(wanted) // 3)) if kills < KILLS_MAX else -1
            source = opened(window_ticks=draw.choice((1, 3, 16, 64)))
            cut_ticks, cut_records = draw.choice((16, 64, 500)), draw.choice((20, 100, 20_000))
            try:
                assert run(setup, source, journal, cut_ticks=cut_ticks, cut_records=cut_records).completed
            except Killed:
                kills += 1
                continue
            break
        assert bench.written(journal.entries) == wanted, f"round {number}, killed {kills} times"
