"""Backtests: the whole kernel beside a bare loop over the same prebuilt ticks that only calls the same ``on_tick``.

Two strategies: one that does nothing, and the cross of two exponential averages (10 and 100 ticks) of the mid, which after 1,000
ticks flips 100,000 units at the market with one order each time. The bare loop keeps position and cash of the second, and
nothing else: no gate, no venue, no books. Processor time, the best of a few runs; whole commands by the clock.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from msgspec import Struct

from tests.benchmarks.report import Result, at_least, standalone
from tests.benchmarks.support import DATA, EmptyStrategy, Nothing, made_ticks, real_ticks
from tradekeel.backtest import BacktestExecutor, FeedSource, TicksSource
from tradekeel.bootstrap.backtestbooks import FileBooks
from tradekeel.bootstrap.backtesting import NO_CLOCK
from tradekeel.domain.messages import Enter, Request
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import Side
from tradekeel.domain.tasks import TaskRow, TaskType
from tradekeel.domain.ticks import Tick
from tradekeel.feeds import FEEDS, FeedContext
from tradekeel.feeds.writing import TickFile
from tradekeel.runtime import collector
from tradekeel.runtime.clock import SystemClock
from tradekeel.strategies.base import AnyStrategy, Strategy

EUR = "EUR_USD"
DAYS = tuple(sorted(path.name[:8] for path in (DATA / "oanda" / "tick" / "eurusd").glob("*_quote.zip")))
QUICK_TICKS = 30_000
ROUNDS, QUICK_ROUNDS = 3, 1
BALANCE = Decimal(1_000_000)
UNITS = Decimal(100_000)
WARM_TICKS = 1_000
FAST, SLOW = 2 / 11, 2 / 101


class Averages(Struct, frozen=True, gc=False):
    """The two averages, how many ticks they have seen, and which way the position is."""

    fast: float = 0.0
    slow: float = 0.0
    count: int = 0
    side: int = 0


class Flip(Strategy[Nothing, Averages]):
    """Always in the market once it is warm: long above the cross, short below."""

    kind = "flip"
    Params = Nothing
    State = Averages

    def on_tick(self, tick: Tick, state: Averages, context: Any) -> tuple[Averages, Sequence[Request]]:
        mid = float(tick.mid)
        count, side = state.count + 1, state.side
        if count == 1:
            return Averages(mid, mid, 1, 0), ()
        fast = state.fast + FAST * (mid - state.fast)
        slow = state.slow + SLOW * (mid - state.slow)
        if count > WARM_TICKS:
            wanted = 1 if fast > slow else -1 if fast < slow else side
            if wanted != side:
                way = Side.BUY if wanted > 0 else Side.SELL
                enter = Enter(instrument=EUR, side=way, quantity=UNITS, reverse=True)
                return Averages(fast, slow, count, wanted), (enter,)
        return Averages(fast, slow, count, side), ()


def bare_s(strategy: AnyStrategy, ticks: Sequence[Tick]) -> float:
    """Seconds of a loop that calls ``on_tick`` and keeps position and cash of what it asks for."""
    state, on_tick = strategy.initial_state(), strategy.on_tick
    position = cash = ZERO
    context: Any = None
    began = time.process_time()
    for tick in ticks:
        state, requests = on_tick(tick, state, context)
        for request in requests:
            if isinstance(request, Enter):
                bought = request.side.sign * request.quantity - position
                cash -= bought * (tick.ask if bought > 0 else tick.bid)
                position += bought
    return time.process_time() - began


def kernel_s(strategy: AnyStrategy, source: TicksSource, folder: Path | None = None) -> float:
    """Seconds of a backtest, with its journal in memory, or in a file."""
    execution = BacktestExecutor(source, strategy, BALANCE).setup.execution
    books = None if folder is None else _books(folder, execution)
    try:
        backtest = BacktestExecutor(source, strategy, BALANCE, journal=books)
        gc.collect()
        with collector.seldom():  # as the command does
            began = time.process_time()
            backtest.run()
            return time.process_time() - began
    finally:
        if books is not None:
            books.close()


def _books(folder: Path, execution: str) -> FileBooks:
    task = TaskRow(task_id="bench", type=TaskType.BACKTEST, name="bench")
    return FileBooks(folder / "books.db", task, 1, execution, ["flip"], now_ns=SystemClock().now_ns)


def _best(rounds: int, measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(rounds))


def bench(quick: bool) -> list[Result]:
    """All of it."""
    recorded = real_ticks(DAYS, QUICK_TICKS if quick else sys.maxsize)
    ticks = recorded if recorded is not None else made_ticks(QUICK_TICKS)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    gc.freeze()
    source = TicksSource(ticks)
    results = [*_kernel(ticks, source, rounds)]
    if recorded is not None:
        results += _loading(quick)
        results += _command(len(ticks), quick)
    return results


def _kernel(ticks: Sequence[Tick], source: TicksSource, rounds: int) -> list[Result]:
    empty, flip = EmptyStrategy(Nothing()), Flip(Nothing())
    bare_empty = _best(rounds, lambda: bare_s(empty, ticks))
    bare_flip = _best(rounds, lambda: bare_s(flip, ticks))
    used_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    full_empty = _best(rounds, lambda: kernel_s(empty, source))
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used_kb
    orders = len(BacktestExecutor(source, flip, BALANCE).execute().orders)
    full_flip = _best(rounds, lambda: kernel_s(flip, source))
    with TemporaryDirectory() as folder:
        stored = kernel_s(flip, source, Path(folder))
        stored_bytes = (Path(folder) / "books.db").stat().st_size
    count = len(ticks)
    per_order_us = (full_flip - bare_flip - (full_empty - bare_empty)) / orders * 1e6
    return [
        _rate("empty strategy", count, full_empty, bare_empty, 0.20),
        _rate(f"EMA 10/100, {orders:,} orders", count, full_flip, bare_flip, 0.45),
        Result(
            "EMA 10/100, journal on the disk",
            count / stored,
            "ticks/s",
            count / bare_flip,
            "bare loop",
            bare_flip / stored,
        ),
        Result("an order of it, all told", per_order_us, "us"),
        Result("its books on the disk", stored_bytes / 1e6, "MB"),
        Result("memory of the empty run", grown_kb / 1024 / count * 1e6, "MB a million ticks"),
    ]


def _rate(name: str, count: int, took_s: float, bare_s: float, ratio_min: float) -> Result:
    return at_least(
        f"backtest, {name}",
        count / took_s,
        "ticks/s",
        floor=count / bare_s,
        floor_name="bare loop",
        ratio_min=ratio_min,
    )


def _loading(quick: bool) -> list[Result]:
    pattern = str(DATA / "oanda/tick/eurusd" / ("20140508_*.zip" if quick else "*_quote.zip"))
    csv = {"path": pattern, "instrument": EUR, "format": "quote"}
    with TemporaryDirectory() as folder:
        parquet = Path(folder) / "ticks.parquet"
        with TickFile(parquet) as file:
            for ticks in _windows(csv):
                file.write(ticks)
        count, from_csv = _load_s(csv)
        _, from_parquet = _load_s({"path": str(parquet), "instrument": EUR, "format": "parquet"})
    return [
        Result(f"load {count:,} ticks from zipped CSV", from_csv, "s"),
        Result(f"load {count:,} ticks from Parquet", from_parquet, "s", from_csv, "CSV", from_parquet / from_csv),
    ]


def _windows(settings: dict[str, Any]) -> Any:
    kind = FEEDS["file"]
    feed = kind.build(msgspec.convert(settings, kind.settings), FeedContext(name="bench", sleeper=NO_CLOCK))
    return (window.ticks for window in FeedSource(feed).windows())


def _load_s(settings: dict[str, Any]) -> tuple[int, float]:
    began = time.process_time()
    count = sum(len(ticks) for ticks in _windows(settings))
    return count, time.process_time() - began


CONFIG = """
[daemon]
name = "bench"
state_dir = "state"
[feeds.recorded]
kind = "file"
path = "{path}"
instrument = "EUR_USD"
format = "quote"
[accounts.bench]
venue = "paper"
feed = "recorded"
balance = "1000000"
leverage = 30
[strategies.flip]
kind = "{strategy}"
account = "bench"
instruments = ["EUR_USD"]
"""


def _command(count: int, quick: bool) -> list[Result]:
    """`tradekeel backtest` as a person runs it: start, data, run, books on the disk, tables."""
    pattern = "20140508_*.zip" if quick else "*_quote.zip"
    found = []
    for name, strategy in (("empty strategy", "EmptyStrategy"), ("EMA 10/100", "Flip")):
        with TemporaryDirectory() as folder:
            config = Path(folder) / "bench.toml"
            (Path(folder) / "mine.py").write_text(
                f"from tests.benchmarks.bench_backtest import {strategy} as Original\n\n\n"
                f"class {strategy}(Original):\n    '''As it is measured.'''\n"
            )
            path = DATA / "oanda/tick/eurusd" / pattern
            config.write_text(CONFIG.format(path=path, strategy=f"mine.py:{strategy}"))
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "tradekeel", "backtest", str(config)],
                check=True,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            took = time.perf_counter() - began
        found.append(Result(f"tradekeel backtest, {name}, whole process", took, "s"))
    return found


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
