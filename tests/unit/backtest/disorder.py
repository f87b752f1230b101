"""Rows that come too late: a market in files in which some rows stand behind those of a later time, and the feed of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from tests.unit.feeds.reading import write
from tradekeel.backtest.source import FeedSource
from tradekeel.bootstrap.backtesting import NO_CLOCK
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_S, iso
from tradekeel.feeds import FEEDS, FeedContext

LATE_BY_S = (1, 3, 40, 600, 90_000)
POLICIES = ("fix", "drop")


def with_late_rows(draw: random.Random, ticks: Sequence[Tick], share: float = 0.1) -> list[Tick]:
    """The same, but that some say an earlier time: by a moment, by minutes, by a day."""
    return [
        structs.replace(tick, ts_ns=tick.ts_ns - draw.choice(LATE_BY_S) * NS_PER_S) if draw.random() < share else tick
        for tick in ticks
    ]


def in_files(folder: Path, ticks: Sequence[Tick]) -> dict[str, str]:
    """A file of each instrument, its rows in the order of the ticks."""
    lines: dict[str, list[str]] = {}
    for tick in ticks:
        cells = (iso(tick.ts_ns), tick.bid, tick.ask, tick.bid_size or "", tick.ask_size or "")
        lines.setdefault(tick.instrument, ["time,bid,ask,bid_size,ask_size"]).append(",".join(map(str, cells)))
    return {
        symbol: str(write(folder / f"{symbol}.csv", "\n".join(rows) + "\n")) for symbol, rows in sorted(lines.items())
    }


def source(
    files: Mapping[str, str], policy: str, *, timeframes: Mapping[str, Sequence[str]] | None = None, window_ticks: int
) -> FeedSource:
    """The feed of these files, as a backtest reads it."""
    entry = FEEDS["file"]
    settings = msgspec.convert({"instruments": dict(files), "bad_rows": {"out_of_order": policy}}, entry.settings)
    context = FeedContext(name="files", sleeper=NO_CLOCK, timeframes=timeframes or {})
    return FeedSource(entry.build(settings, context), window_ticks=window_ticks)
