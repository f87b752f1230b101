"""Feeds: ticks a second from files and from the synthetic market, beside the least that reading rows must cost.

The floor of the file feed is a bare loop over the same zips: csv.reader, and one int and two Decimals a row. It checks
nothing and makes no tick, so a feed that reaches it costs nothing beside reading.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from tests.benchmarks.report import Result, at_least, standalone
from tests.conftest import ROOT
from tradekeel.domain.ticks import Tick
from tradekeel.feeds import FEEDS, FeedContext
from tradekeel.feeds.writing import TickFile
from tradekeel.runtime.clock import ManualClock

DATA = Path(os.environ.get("TRADEKEEL_DATA", ROOT.parent / "shared" / "data"))
ROUNDS = 3
WINDOW = 1_024


def _ticks_per_s(
    kind: str, settings: Mapping[str, Any], timeframes: Mapping[str, Sequence[str]] | None = None
) -> float:
    entry = FEEDS[kind]
    context = FeedContext("bench", ManualClock(), timeframes=timeframes or {})
    feed = entry.build(msgspec.convert(settings, entry.settings), context)

    async def read() -> int:
        count = 0
        await feed.open(0)
        while (window := await feed.next_window(WINDOW)) is not None:
            count += len(window.ticks)
        return count

    begun = time.perf_counter()
    count = asyncio.run(read())
    return count / (time.perf_counter() - begun)


def _floor_rows_per_s(paths: Sequence[Path]) -> float:
    count = 0
    begun = time.perf_counter()
    for path in paths:
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
            for row in csv.reader(io.TextIOWrapper(member)):
                int(row[0]), Decimal(row[1]), Decimal(row[2])
                count += 1
    return count / (time.perf_counter() - begun)


def _floor_ticks_per_s(count: int) -> float:
    bid, ask = Decimal("1.1"), Decimal("1.2")
    begun = time.perf_counter()
    ticks = [Tick("EUR_USD", position, bid, ask, position) for position in range(count)]
    return len(ticks) / (time.perf_counter() - begun)


def _files(quick: bool) -> list[Result]:
    folder = DATA / "oanda/tick/eurusd"
    if not folder.is_dir():
        return []
    pattern = "20140508_*.zip" if quick else "*.zip"
    clean = {"path": str(folder / pattern), "instrument": "EUR_USD", "format": "quote"}
    dirty = {
        **clean,
        "path": str(DATA / "fxcm/tick/eurusd" / ("20140504*" if quick else "*.zip")),
        "time_zone": "UTC-05:00",
    }
    bars = {"EUR_USD": ("1m", "1h", "100t")}
    rounds = 1 if quick else ROUNDS
    floor = max(_floor_rows_per_s(sorted(folder.glob(pattern))) for _ in range(rounds))
    name = "csv.reader, int, 2 Decimals"
    with TemporaryDirectory() as place:
        packed = {"path": _packed(clean, Path(place)), "instrument": "EUR_USD", "format": "parquet"}
        from_parquet = _best("file", packed, rounds)
    return [
        at_least(
            "file feed, the same quotes in Parquet",
            from_parquet,
            "ticks/s",
            floor=floor,
            floor_name=name,
            ratio_min=0.8,
        ),
        at_least(
            "file feed, clean quotes",
            _best("file", clean, rounds),
            "ticks/s",
            floor=floor,
            floor_name=name,
            ratio_min=0.5,
        ),
        at_least(
            "file feed, clean quotes, three timeframes",
            _best("file", clean, rounds, bars),
            "ticks/s",
            floor=floor,
            floor_name=name,
            ratio_min=0.3,
        ),
        at_least(
            "file feed, 22 % bad rows",
            _best("file", dirty, rounds),
            "ticks/s",
            floor=floor,
            floor_name=name,
            ratio_min=0.2,
        ),
    ]


def _packed(settings: Mapping[str, Any], folder: Path) -> str:
    entry = FEEDS["file"]
    feed = entry.build(msgspec.convert(settings, entry.settings), FeedContext("bench", ManualClock()))

    async def write() -> None:
        await feed.open(0)
        with TickFile(folder / "ticks.parquet") as file:
            while (window := await feed.next_window(WINDOW)) is not None:
                file.write(window.ticks)

    asyncio.run(write())
    return str(folder / "ticks.parquet")


def _best(
    kind: str, settings: Mapping[str, Any], rounds: int, timeframes: Mapping[str, Sequence[str]] | None = None
) -> float:
    return max(_ticks_per_s(kind, settings, timeframes) for _ in range(rounds))


def bench(quick: bool) -> list[Result]:
    """Ticks a second of every kind of feed."""
    count = 20_000 if quick else 500_000
    rounds = 1 if quick else ROUNDS
    floor = max(_floor_ticks_per_s(count) for _ in range(rounds))
    made = _best("synthetic", {"instruments": ["EUR_USD"], "ticks": count}, rounds)
    return [
        *_files(quick),
        at_least("synthetic feed", made, "ticks/s", floor=floor, floor_name="making bare ticks", ratio_min=0.05),
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
