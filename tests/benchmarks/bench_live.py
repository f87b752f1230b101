"""The path of a tick: feed → monitor → strategist → executor through real mailboxes, nothing triggering."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.benchmarks.report import Result, reaches, standalone
from tests.benchmarks.support import (
    BenchBuilder,
    EmptyStrategy,
    MemoryFeed,
    Nothing,
    made_ticks,
    plan_of,
    real_ticks,
    run_house,
)
from tradekeel.domain.ticks import Tick

CONFIG = """
[daemon]
name = "bench"
state_dir = "state"
[feeds.memory]
kind = "synthetic"
instruments = ["EUR_USD"]
ticks = 1
[accounts.a]
venue = "paper"
feed = "memory"
[strategies.empty]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
"""


def bare_loop(ticks: Sequence[Tick]) -> float:
    """Ticks a second of a loop that does nothing but call the strategy."""
    strategy, state = EmptyStrategy(Nothing()), Nothing()
    on_tick = strategy.on_tick
    start = time.perf_counter()
    for tick in ticks:
        state, _ = on_tick(tick, state, None)
    return len(ticks) / (time.perf_counter() - start)


def bench(quick: bool) -> list[Result]:
    """Ticks a second through the whole tree."""
    limit = 100_000 if quick else 532_903
    days = [f"201405{day:02d}" for day in range(1, 16) if day not in (3, 10)]
    ticks = real_ticks(days, limit) or made_ticks(limit)
    floor = max(bare_loop(ticks) for _ in range(3))
    best = 0.0
    for _ in range(1 if quick else 3):
        with tempfile.TemporaryDirectory() as folder:
            plan = plan_of(Path(folder), CONFIG)
            account = plan.accounts[0]
            strategy = msgspec.structs.replace(account.strategies[0], cls=EmptyStrategy, params=Nothing())
            plan = msgspec.structs.replace(plan, accounts=(msgspec.structs.replace(account, strategies=(strategy,)),))
            feed = MemoryFeed(ticks)
            run_house(plan, feed, BenchBuilder)
            best = max(best, len(ticks) / (feed.ended_s - feed.opened_s))
    return [
        reaches(
            "live path, empty strategy", best, "ticks/s", minimum=400_000, floor=floor, floor_name="bare on_tick loop"
        )
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
