"""Recovery: a daemon that journals every tick and holds thousands of trades is killed, and another one takes over.

Everything is the real thing: the journal is written by a daemon that samples each tick, the trades are opened at the paper venue
and kept by the monitor, and the kill comes while it runs at full speed. What is measured is the time from asking for the new
process to the first tick that it delivers, with books and venue reconciled.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.benchmarks.process import HOARDER, daemon, noted, python_s, resident_mb, wait_for, warm_up
from tests.benchmarks.report import Result, standalone, stays_within

CONFIG = """
[daemon]
name = "bench"
state_dir = "state"
stall_limit_s = 60
[storage]
sample_ticks_every = {every}
[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD"]
ticks = {ticks}
[accounts.a]
venue = "paper"
feed = "market"
balance = 10_000_000
exits = "monitor"
[strategies.hoarder]
kind = "{hoarder}:Hoarder"
account = "a"
instruments = ["EUR_USD"]
params = {{ trades = {trades}, after = {after}, each = 50 }}
"""
ROWS, TRADES = 1_000_000, 10_000
QUICK_ROWS, QUICK_TRADES = 30_000, 1_000
ROWS_PER_TRADE = 2  # accepted, filled
TICKS_PER_ROW = 2  # as densely as ticks may be sampled
ROUNDS = 3


def written(folder: Path, rows: int, trades: int) -> Path:
    """A configuration that comes to so many journal rows just when it holds so many trades; the feed goes on far beyond."""
    after = rows - trades * ROWS_PER_TRADE
    path = folder / "bench.toml"
    wanted = {"trades": trades, "after": after * TICKS_PER_ROW, "ticks": rows * 20, "every": TICKS_PER_ROW}
    path.write_text(CONFIG.format(hoarder=HOARDER, **wanted))
    return path


def holds(state: Path, rows: int) -> Callable[[], bool]:
    """Whether the journal has come so far."""

    def look() -> bool:
        with closing(sqlite3.connect(f"file:{state / 'books.db'}?mode=ro", uri=True)) as db:
            (last,) = db.execute("SELECT max(sequence) FROM journal").fetchone()
        return bool(last >= rows)

    return look


def floor_s(state: Path, rounds: int) -> float:
    """An interpreter with the libraries that opens the books and reads what is saved last: the least of a recovery."""
    code = (
        "import anyio, uvloop, msgspec, loguru, sqlite3, sqlalchemy\n"
        f"db = sqlite3.connect({str(state / 'books.db')!r})\n"
        "saved = db.execute(\"SELECT state FROM checkpoints WHERE owner = '#account' ORDER BY id DESC\").fetchone()\n"
        "msgspec.msgpack.decode(msgspec.msgpack.decode(saved[0])['book'])\n"
    )
    return python_s(code, rounds)


def bench(quick: bool) -> list[Result]:
    """Seconds from asking for the process to trading again; the best of a few kills."""
    rows, trades = (QUICK_ROWS, QUICK_TRADES) if quick else (ROWS, TRADES)
    warm_up()
    taken: list[float] = []
    computed: list[float] = []
    memory = 0.0
    with tempfile.TemporaryDirectory(prefix="tradekeel-bench-") as name:
        config = written(Path(name), rows, trades)
        state = Path(name) / "state"
        with daemon(config) as started:
            wait_for(noted(config, "full").is_file, started.process, config)
            wait_for(holds(state, rows), started.process, config)
        for _ in range(1 if quick else ROUNDS):
            with daemon(config) as started:
                taken.append(started.first_tick_s)
                computed.append(started.cpu_s)
                memory = resident_mb(started.process.pid)
        floor = floor_s(state, 1 if quick else ROUNDS)
    what = f"{rows:,} journal rows, {trades:,} open trades"
    return [
        stays_within(
            f"killed → trading again, {what}",
            min(taken),
            "s",
            maximum=2,
            floor=floor,
            floor_name="libraries, and decoding what was saved",
        ),
        Result("killed → trading again: CPU time of it", min(computed), "s"),
        Result("memory after it", memory, "MB"),
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
