"""A run may be killed at any moment, and goes on from its last saved state: what it comes to is the same to the last byte."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import pytest
from msgspec import structs

from tests.unit.backtest import bench, disorder
from tests.unit.backtest.scene import EUR, ns
from tests.unit.domain.gambler import Gambler, GamblerParams, Reckless
from tradekeel.backtest.account import MemoryJournal
from tradekeel.backtest.kernel import Kernel
from tradekeel.backtest.run import run
from tradekeel.backtest.setup import Setup
from tradekeel.backtest.source import FeedSource
from tradekeel.bootstrap.backtesting import snapshots_of
from tradekeel.domain.entries import Entry
from tradekeel.domain.matching import Commission, FinancingRate, PaperSettings, Slippage
from tradekeel.domain.records import ExecutionClosed
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import Checkpoint

pytestmark = pytest.mark.untraced
"""The lines of a run are those of the tests of its exactness."""

TICKS = 2_000
RUNS = 8
KILLS_MAX = 4
"""Of each run; with eight runs of each setup more than two hundred in all."""

FRAMES = {EUR: ("5s",)}

BAD_LINE = PaperSettings(
    latency_ms=120,
    latency_jitter_ms=900,
    reject_rate=Decimal("0.1"),
    drop_rate=Decimal("0.1"),
    timeout_rate=Decimal("0.1"),
    seed=5,
)
COSTS = PaperSettings(
    slippage=Slippage(model="random", pips=Decimal("0.4")),
    commission=Commission(model="per_million", taker=Decimal(30), minimum=Decimal("0.5")),
    financing={EUR: FinancingRate(long=Decimal("-2.1"), short=Decimal("0.7"))},
)

SETUPS: dict[str, Callable[[], Setup]] = {
    "exits at the venue": lambda: bench.setup({"ema": bench.ema()}),
    "exits kept by the monitor": lambda: bench.setup({"ema": bench.ema()}, exits_at_venue=False),
    "two strategies": lambda: bench.setup({"floor": bench.floor(), "ema": bench.ema()}, exits_at_venue=False),
    "hedging": lambda: bench.setup({"floor": bench.floor(), "ema": bench.ema()}, hedging=True),
    "a bad line": lambda: bench.setup({"ema": bench.ema(), "floor": bench.floor()}, settings=BAD_LINE, hedging=True),
    "costs": lambda: bench.setup({"ema": bench.ema()}, settings=COSTS),
    "bars and sampled ticks": lambda: bench.setup(
        {"ema": bench.ema(timeframe="5s", fast=3, slow=9)}, sample_ticks_every=40
    ),
    "figures by a cron line": lambda: bench.setup({"ema": bench.ema()}, snapshots=snapshots_of("* * * * *")),
    "figures each seven seconds": lambda: bench.setup({"floor": bench.floor()}, snapshots=snapshots_of(7)),
    "last words": lambda: bench.setup(
        {
            "first": Gambler(GamblerParams(seed=3, one_in=40, open_max=3)),
            "second": Reckless(GamblerParams(seed=4, one_in=60, open_max=3, answers=True)),
        },
        hedging=True,
    ),
    "a warm-up": lambda: structs.replace(
        bench.setup({"ema": bench.ema()}, snapshots=snapshots_of(7)), begins_ns=ns("2024-01-03T13:04:00Z")
    ),
    "limits": lambda: bench.setup(
        {"ema": bench.ema()},
        limits=RiskLimits(
            orders_per_minute=6, daily_loss_max=Decimal(3), drawdown_max=Decimal(5), position_max=Decimal(900)
        ),
    ),
}


class Killed(Exception):
    """Nothing runs any more."""


class DyingJournal(MemoryJournal):
    """Dies at its n-th call; what was not cut by then is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_left = -1

    def append(self, entries: Sequence[Entry]) -> None:
        self._live()
        super().append(entries)

    def _live(self) -> None:
        if not self.calls_left:
            self.calls_left = -1
            raise Killed
        self.calls_left -= 1


def undisturbed(setup: Setup) -> list[bytes]:
    journal = MemoryJournal()
    assert run(setup, source(), journal, cut_ticks=10**9).completed
    return bench.written(journal.entries)


def source(window_ticks: int = 64) -> FeedSource:
    return bench.market(TICKS, timeframes=("5s",), window_ticks=window_ticks)


@pytest.mark.parametrize("name", SETUPS)
def test_a_run_that_is_killed_again_and_again_comes_to_the_same(name: str) -> None:
    make = SETUPS[name]
    wanted = undisturbed(make())
    assert len(wanted) > 50, "something happens"
    for seed in range(RUNS):
        draw = random.Random(f"{name} {seed}")
        journal, kills = DyingJournal(), 0
        while True:
            journal.calls_left = draw.randrange(1, len(wanted) // 4) if kills < KILLS_MAX else -1
            try:
                ran = run(make(), source(), journal, cut_ticks=draw.choice((64, 200, 1_000)))
            except Killed:
                kills += 1
                continue
            break
        assert ran.completed
        assert kills, "it was killed"
        assert bench.written(journal.entries) == wanted, f"seed {seed}"


@pytest.mark.parametrize("name", SETUPS)
def test_a_run_that_is_interrupted_goes_on_and_comes_to_the_same(name: str) -> None:
    make = SETUPS[name]
    journal, draw, interruptions = MemoryJournal(), random.Random(name), 0
    while not (ran := run(make(), source(), journal, goes_on=lambda position: draw.random() < 0.7)).completed:
        interruptions += 1
    assert ran.completed
    assert interruptions > 2
    assert bench.written(journal.entries) == undisturbed(make())


@pytest.mark.parametrize("name", SETUPS)
def test_behind_the_last_tick_it_goes_on_as_if_it_had_not_been_interrupted(name: str) -> None:
    make, journal = SETUPS[name], MemoryJournal()
    assert not run(make(), source(), journal, goes_on=lambda position: position < TICKS).completed
    assert run(make(), source(), journal).completed
    assert bench.written(journal.entries) == undisturbed(make())


@pytest.mark.parametrize("name", SETUPS)
def test_behind_its_last_saved_state_nothing_is_left_to_do(name: str) -> None:
    """The process was killed before it could say that it had come to the end."""
    make, journal = SETUPS[name], MemoryJournal()
    assert run(make(), source(), journal).completed
    again = run(make(), source(), journal)
    assert again.completed
    assert again.kernel.position == TICKS
    assert isinstance(journal.entries[-1].record, ExecutionClosed), (
        "whatever strategies answer to their end comes before it"
    )
    assert bench.written(journal.entries) == undisturbed(make())


@pytest.mark.parametrize("name", SETUPS)
def test_how_many_ticks_are_conducted_at_a_time_changes_nothing(name: str) -> None:
    make, wanted = SETUPS[name], undisturbed(SETUPS[name]())
    for window_ticks in (1, 7, 2_048):
        journal = MemoryJournal()
        assert run(make(), source(window_ticks), journal).completed
        assert bench.written(journal.entries) == wanted, f"windows of {window_ticks}"


@pytest.fixture(scope="module")
def late_rows(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The market in a file in which every tenth row says an earlier time than the one before it."""
    ticks = [tick for window in source().windows() for tick in window.ticks]
    return disorder.in_files(
        tmp_path_factory.mktemp("late"), disorder.with_late_rows(random.Random("late rows"), ticks)
    )


@pytest.mark.parametrize("name", SETUPS)
def test_neither_changes_anything_where_rows_come_too_late(name: str, late_rows: Mapping[str, str]) -> None:
    make, draw, whole = SETUPS[name], random.Random(f"late {name}"), MemoryJournal()
    assert run(make(), disorder.source(late_rows, "fix", timeframes=FRAMES, window_ticks=64), whole).completed
    wanted = bench.written(whole.entries)
    assert len(wanted) > 50, "something happens"
    for window_ticks in (1, 2_048):
        journal, kills = DyingJournal(), 0
        while True:
            journal.calls_left = draw.randrange(1, len(wanted) // 4) if kills < KILLS_MAX else -1
            data = disorder.source(late_rows, "fix", timeframes=FRAMES, window_ticks=window_ticks)
            try:
                assert run(make(), data, journal, cut_ticks=draw.choice((64, 200, 1_000))).completed
            except Killed:
                kills += 1
                continue
            break
        assert bench.written(journal.entries) == wanted, f"windows of {window_ticks}, killed {kills} times"


class CountedJournal(MemoryJournal):
    """Says how many records waited for each cut."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[int] = []
        self._begins = 0

    def cut(self, saved: Sequence[Checkpoint]) -> None:
        super().cut(saved)
        self.waited.append(len(self.entries) - self._begins)
        self._begins = len(self.entries)


def nobody_looks(kernel: Kernel) -> bool:
    raise AssertionError("a look was asked for behind so many ticks, and not behind so many records")


def test_what_is_not_saved_yet_has_a_bound_however_much_a_tick_brings() -> None:
    make, journal = SETUPS["two strategies"], CountedJournal()
    assert run(make(), source(), journal, look=nobody_looks, cut_ticks=10**9, cut_records=50).completed
    assert len(journal.waited) > 5
    assert max(journal.waited) < 50 + 200, "it is looked at behind each window"
    assert bench.written(journal.entries) == undisturbed(make())
