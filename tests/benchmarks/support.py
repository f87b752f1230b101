"""What the benchmarks of the daemon share: prebuilt ticks as a feed, a house around them, a raw commit to compare with."""

from __future__ import annotations

import os
import sqlite3
import time
import zipfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradekeel import logs
from tradekeel.bootstrap.plan import AccountPlan, Plan, read_plan
from tradekeel.bootstrap.wiring import Builder
from tradekeel.domain.messages import Request
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.ports import FeedInfo
from tradekeel.runtime import collector
from tradekeel.runtime.loop import run
from tradekeel.runtime.notify import Notifier
from tradekeel.runtime.system import ActorSystem
from tradekeel.statedir import StateDir
from tradekeel.strategies.base import Strategy

_LOG = Path(os.devnull).open("w")  # noqa: SIM115  # as long as the process lives

DATA = Path(os.environ.get("TRADEKEEL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


class Nothing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters, no state."""


class EmptyStrategy(Strategy[Nothing, Nothing]):
    """Does nothing on every tick: what is left is the path of the tick."""

    kind = "empty"
    Params = Nothing
    State = Nothing

    def on_tick(self, tick: Tick, state: Nothing, context: Any) -> tuple[Nothing, Sequence[Request]]:
        return state, ()


def real_ticks(days: Sequence[str], limit: int) -> list[Tick] | None:
    """Recorded EUR/USD ticks, or None where the data is not at hand."""
    folder = DATA / "oanda" / "tick" / "eurusd"
    if not folder.is_dir():
        return None
    ticks: list[Tick] = []
    prices: dict[str, Decimal] = {}
    for day in days:
        start_ns = int(time.mktime(time.strptime(day + " UTC", "%Y%m%d %Z"))) * 1_000_000_000
        with zipfile.ZipFile(folder / f"{day}_quote.zip") as archive:
            text = archive.read(archive.namelist()[0]).decode()
        for line in text.splitlines():
            ms, bid, ask = line.split(",")
            ticks.append(
                Tick(
                    "EUR_USD",
                    start_ns + int(ms) * 1_000_000,
                    prices.setdefault(bid, Decimal(bid)),
                    prices.setdefault(ask, Decimal(ask)),
                    len(ticks) + 1,
                )
            )
            if len(ticks) == limit:
                return ticks
    return ticks


def made_ticks(count: int) -> list[Tick]:
    """Ticks without data at hand: a saw-tooth of a few pips."""
    prices = [Decimal(139100 + step) / 100_000 for step in (*range(40), *range(40, 0, -1))]
    spread = Decimal("0.00013")
    return [
        Tick("EUR_USD", 1_399_507_200_000_000_000 + i * 900_000_000, (p := prices[i % len(prices)]), p + spread, i + 1)
        for i in range(count)
    ]


class MemoryFeed:
    """Prebuilt ticks; notes when it was opened and when it was empty."""

    def __init__(self, ticks: Sequence[Tick], window_max: int | None = None) -> None:
        self.ticks = ticks
        self.window_max = window_max
        self.info = FeedInfo(
            name="memory", instruments=("EUR_USD",), replayable=True, fingerprint="memory", total=len(ticks)
        )
        self.at = 0
        self.opened_s = self.ended_s = 0.0
        self.handed_s: dict[int, float] = {}

    async def open(self, after: int, seen: int = 0) -> None:
        self.at = after
        self.opened_s = time.perf_counter()

    async def next_window(self, ticks_max: int) -> TickWindow | None:
        size = min(ticks_max, self.window_max or ticks_max)
        ticks = self.ticks[self.at : self.at + size]
        if not ticks:
            self.ended_s = time.perf_counter()
            return None
        self.at += len(ticks)
        if self.window_max is not None:
            self.handed_s[self.at] = time.perf_counter()
        return TickWindow(ticks)

    async def close(self) -> None:
        """Nothing to let go of."""

    def quality(self) -> dict[str, int]:
        return {"rows": self.at, "ticks": self.at}

    def progress(self) -> float | None:
        return self.at / len(self.ticks)


class BenchBuilder(Builder):
    """The real house around a feed of our own."""

    feed: MemoryFeed

    def _source(self, account: AccountPlan, patience: Callable[[str], object]) -> Any:
        return self.feed


def plan_of(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Plan:
    """The plan of a configuration given as text. From here on what is logged is logged as by a daemon in a pipe."""
    path = folder / "bench.toml"
    path.write_text(text)
    plan = read_plan(path, environ or {})
    logs.setup(plan.config.logging, _LOG)
    return plan


def run_house(plan: Plan, feed: MemoryFeed, builder: type[BenchBuilder] = BenchBuilder) -> ActorSystem:
    """Run the real daemon's tree over ``feed`` until the feed ends."""
    statedir = StateDir(plan.config.state_dir)
    statedir.lock()

    async def reload() -> str:
        raise RuntimeError("nobody reloads a benchmark")

    async def main() -> ActorSystem:
        system = ActorSystem()
        made = builder(plan, statedir, system, Notifier(), reload)
        made.feed = feed
        with collector.seldom():  # as the daemon does
            try:
                await system.run(made.build())
            finally:
                for worker in made.workers:
                    await worker.close()
        return system

    try:
        return run(main)
    finally:
        statedir.release()


def raw_commits(folder: Path, count: int, row_bytes: int = 400) -> list[float]:
    """Seconds of ``count`` single-row synchronous=FULL commits, sorted: what one durable step must cost on this disk."""
    path = folder / "raw.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)")
    row = b"x" * row_bytes
    taken: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t (b) VALUES (?)", (row,))
        db.execute("COMMIT")
        taken.append(time.perf_counter() - start)
    db.close()
    return sorted(taken)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``ordered`` lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


Main = Callable[[], Awaitable[Any]]
