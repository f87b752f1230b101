"""The soak: one daemon for a long time, paused and resumed at random, killed now and then, its memory watched.

    python -m tests.campaigns.soak --minutes 10 --seed 3 [--kills 2]

Layers and averages trade a made-up market at full speed. The resident memory is sampled every second; it must be flat:
over the last third of each life it may stand no more than a little above the second third. At the end the daemon is stopped
in order, and both sides' books are compared as after a kill campaign. Exit code 0 if all of that holds.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.kill.books import check_settled, read_ours, read_theirs
from tests.campaigns.workplace import workplace
from tools.minder import minded
from tradekeel.storage.verify import verify

GROWTH_MAX = 1.05
GROWTH_MAX_MB = 4.0
"""What the last third of a life may stand above the second: a share, and what an allocator may keep by chance."""

SAMPLES_MIN = 60
"""A shorter life says nothing about memory."""

STOP_MAX_S = 60.0

CONFIG = """
[daemon]
name = "soak"
state_dir = "{state_dir}"
stall_limit_s = 60
[storage]
checkpoint_every_s = 1
snapshot_schedule = 5
[feeds.m]
kind = "synthetic"
instruments = ["EUR_USD", "USD_JPY"]
seed = {seed}
ticks = 2000000000
interval_ms = 500
volatility = "0.2"
spread_pips = "0.6"
size = "100000"
[accounts.a]
venue = "paper"
feed = "m"
leverage = 30
balance = 10000000
sync_schedule = 3
[accounts.a.paper]
latency_ms = 100
slippage = {{ model = "random", pips = "0.2" }}
commission = {{ model = "per_million", taker = "30" }}
timeout_rate = "0.01"
[strategies.floor]
kind = "floor"
account = "a"
instruments = ["EUR_USD"]
[strategies.floor.params]
floor_stop_pips = 60
[strategies.ema]
kind = "ema_cross"
account = "a"
instruments = ["USD_JPY"]
[strategies.ema.params]
timeframe = "1m"
stop_loss_pips = 20
take_profit_pips = 30
"""


@dataclass
class Life:
    """One process: its memory in megabytes, second by second."""

    resident_mb: list[float] = field(default_factory=list)
    signals: int = 0

    def verdict(self) -> str | None:
        """What is wrong with its memory, or None."""
        if len(self.resident_mb) < SAMPLES_MIN:
            return None
        third = len(self.resident_mb) // 3
        before = statistics.median(self.resident_mb[third : 2 * third])
        after = statistics.median(self.resident_mb[2 * third :])
        if after > before * GROWTH_MAX + GROWTH_MAX_MB:
            return f"memory grows: {before:.1f} MB in the second third, {after:.1f} MB in the last"
        return None


def soak(work: Path, minutes: float, seed: int, kills: int) -> Iterator[str]:
    """Run it; sentences about what went wrong."""
    rng = random.Random(seed)
    state = work / "state"
    config = work / "soak.toml"
    config.write_text(CONFIG.format(state_dir=state, seed=seed % 2**31))
    ends = time.monotonic() + minutes * 60
    moments = sorted(rng.uniform(0.1, 0.9) * minutes * 60 for _ in range(kills))
    killed_at = [ends - minutes * 60 + moment for moment in moments]
    while True:
        until = killed_at.pop(0) if killed_at else ends
        life, process = Life(), _start(config, work)
        try:
            yield from _live(process, life, until, rng)
            if until < ends:
                process.kill()
                process.wait()
            else:
                yield from _stop(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        _tell(life, process.returncode)
        wrong = life.verdict()
        if wrong:
            yield wrong
        if until >= ends or process.returncode not in (0, -signal.SIGKILL):
            break
    yield from check_settled(read_ours(state / "books.db", "a"), read_theirs(state / "paper-a.db"))
    verdict = verify(state / "books.db")
    if not verdict.ok:
        yield from verdict.lines()[:10]


def _start(config: Path, work: Path) -> subprocess.Popen[bytes]:
    with (work / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tradekeel", "run", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _live(process: subprocess.Popen[bytes], life: Life, until: float, rng: random.Random) -> Iterator[str]:
    """Watch and disturb it until ``until``."""
    paused, change_at = False, time.monotonic() + 5
    while time.monotonic() < until:
        if process.poll() is not None:
            yield f"it ended by itself with {process.returncode}"
            return
        life.resident_mb.append(_resident_mb(process.pid))
        if time.monotonic() >= change_at:
            paused = not paused
            process.send_signal(signal.SIGUSR1 if paused else signal.SIGUSR2)
            life.signals += 1
            change_at = time.monotonic() + rng.uniform(0.1, 2.0 if paused else 10.0)
        time.sleep(1.0)


def _stop(process: subprocess.Popen[bytes]) -> Iterator[str]:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        code = process.wait(STOP_MAX_S)
    except subprocess.TimeoutExpired:
        yield f"it did not stop within {STOP_MAX_S:.0f} s"
        return
    if code != 0:
        yield f"it stopped with {code}"


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _tell(life: Life, code: int | None) -> None:
    seen = life.resident_mb or [0.0]
    quarters = [seen[min(len(seen) - 1, len(seen) * n // 4)] for n in range(5)]
    shown = " ".join(f"{mb:.1f}" for mb in quarters)
    print(
        f"  a life of {len(seen)} s, {life.signals} pauses and resumes, ended with {code}; MB over it: {shown}",
        flush=True,
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.soak", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--keep", metavar="FOLDER")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else secrets.randbelow(2**31)
    print(f"seed {seed}, {asked.minutes} minutes, {asked.kills} kills", flush=True)
    with minded(), workplace(Path(asked.keep) if asked.keep else None) as work:
        wrong = list(soak(work, asked.minutes, seed, asked.kills))
        ours = read_ours(work / "state" / "books.db", "a")
        print(f"  {len(ours.journal)} journal records, {len(ours.fills)} fills, {len(ours.trades)} trades", flush=True)
    for text in wrong:
        print(f"WRONG: {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
