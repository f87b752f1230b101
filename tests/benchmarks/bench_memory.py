"""Memory over millions of ticks: a fresh daemon that trades now and then must not hold more and more.

What is kept in memory of the past has bounds: ended orders and trades that late fills may still come for, entries since the last
cut, the newest entries of the paper venue's record. They fill in the first part of the way, which is therefore left out.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.process import WITNESS, Started, daemon, resident_mb, warm_up
from tests.benchmarks.report import Result, standalone, stays_within

CONFIG = """
[daemon]
name = "bench"
state_dir = "state"
[storage]
snapshot_schedule = 1
[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD"]
ticks = {ticks}
[accounts.a]
venue = "paper"
feed = "market"
leverage = 30
[accounts.b]
venue = "paper"
feed = "market"
[strategies.ema]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
params = {{ fast = 500, slow = 1_500, stop_loss_pips = 30, take_profit_pips = 60 }}
[strategies.witness]
kind = "{witness}:Witness"
account = "b"
instruments = ["EUR_USD"]
"""
TICKS, QUICK_TICKS = 10_000_000, 1_000_000
LOOK_EVERY_S = 0.1
GROWTH_MAX_MB = 4.0
"""What the allocator may still lose to fragments."""


class Look(NamedTuple):
    """What the daemon held when its slower feed had come so far."""

    position: int
    mb: float


def look(started: Started, status: Path) -> Look | None:
    """Position and memory now; None before there is a status, or when the process is gone."""
    try:
        feeds = json.loads(status.read_text())["feeds"]
        position = min((feed["position"] for feed in feeds.values()), default=0)
        return Look(position, resident_mb(started.process.pid)) if len(feeds) == 2 else None
    except (OSError, RuntimeError, json.JSONDecodeError):
        return None


def watch(ticks: int) -> list[Look]:
    """Run to the end of the feed, looking all the while."""
    looks: list[Look] = []
    with tempfile.TemporaryDirectory(prefix="tradekeel-bench-") as name:
        config = Path(name) / "bench.toml"
        config.write_text(CONFIG.format(ticks=ticks, witness=WITNESS))
        with daemon(config) as started:
            while started.process.poll() is None:
                seen = look(started, Path(name) / "state" / "status.json")
                if seen is not None:
                    looks.append(seen)
                time.sleep(LOOK_EVERY_S)
        if started.process.returncode != 0:
            raise RuntimeError(config.with_suffix(".log").read_text()[-4000:])
    return looks


def between(looks: list[Look], ticks: int, start: float, end: float) -> float:
    """The middle of what was held in a part of the way."""
    found = [seen.mb for seen in looks if start * ticks <= seen.position <= end * ticks]
    if not found:
        raise RuntimeError(f"nobody looked between {start:.0%} and {end:.0%} of the way: it was too short")
    return statistics.median(found)


def bench(quick: bool) -> list[Result]:
    """Two accounts, each with all of the ticks: one trades, one only looks."""
    ticks = QUICK_TICKS if quick else TICKS
    warm_up()
    looks = watch(ticks)
    first, last = between(looks, ticks, 0.3, 0.4), between(looks, ticks, 0.9, 1)
    name = f"memory, growth over {ticks / 1e6:g} M ticks, behind the first third"
    return [
        stays_within(name, last - first, "MB", maximum=GROWTH_MAX_MB, floor=first, floor_name="held after a third"),
        Result("memory, most that was held", max(seen.mb for seen in looks), "MB"),
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
