"""A daemon's process from outside: start to first tick, memory, and stopping when idle."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.benchmarks.process import WITNESS, daemon, python_s, resident_mb, stop, warm_up
from tests.benchmarks.report import Result, standalone, stays_within

CONFIG = """
[daemon]
name = "bench"
state_dir = "state"
[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD"]
ticks = {ticks}
speed = {speed}
[accounts.a]
venue = "paper"
feed = "market"
[strategies.witness]
kind = "{witness}:Witness"
account = "a"
instruments = ["EUR_USD"]
"""
LIBRARIES = "import anyio, uvloop, msgspec, loguru, sqlite3, sqlalchemy"


def written(folder: Path, ticks: int, speed: str) -> Path:
    """A configuration with the witness for a strategy."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.toml"
    path.write_text(CONFIG.format(ticks=ticks, speed=speed, witness=WITNESS))
    return path


def bench(quick: bool) -> list[Result]:
    """The best of a few processes: what else the machine does only ever makes it longer."""
    rounds = 2 if quick else 7
    first, again, cpu, stops, memory = [], [], [], [], []
    warm_up()
    with tempfile.TemporaryDirectory(prefix="tradekeel-bench-") as name:
        for number in range(rounds):
            config = written(Path(name) / str(number), 1_000_000, "1")
            with daemon(config) as started:
                first.append(started.first_tick_s)
                memory.append(resident_mb(started.process.pid))
                stop(started.process)
            with daemon(config) as started:
                again.append(started.first_tick_s)
                cpu.append(started.cpu_s)
                memory.append(resident_mb(started.process.pid))
                stops.append(stop(started.process))
    bare = python_s("pass", rounds)
    libraries = python_s(LIBRARIES, rounds)
    base = "interpreter and libraries"
    return [
        stays_within(
            "start to first tick, new state directory", min(first), "s", maximum=1, floor=libraries, floor_name=base
        ),
        stays_within("start to first tick, restart", min(again), "s", maximum=1, floor=libraries, floor_name=base),
        Result("start to first tick, restart: CPU time of it", min(cpu), "s"),
        stays_within("stop when idle", min(stops), "s", maximum=0.5, floor=bare, floor_name="bare interpreter"),
        stays_within("memory at the first tick", min(memory), "MB", maximum=80),
        Result("memory at the first tick, worst", max(memory), "MB"),
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
