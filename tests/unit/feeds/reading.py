"""What the tests of feeds share: writing files, building feeds, and reading them to the end."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from tradekeel.domain.ticks import Bar, Tick
from tradekeel.feeds import FEEDS, FeedContext
from tradekeel.ports import Feed
from tradekeel.runtime.clock import ManualClock

HEADER = "time,bid,ask\n"

Placed = tuple[int, Bar]
"""A bar, with the position of the tick that it comes before."""


def build(
    kind: str,
    settings: Mapping[str, Any],
    *,
    base: Path = Path(),
    timeframes: Mapping[str, Sequence[str]] | None = None,
    clock: ManualClock | None = None,
) -> Feed:
    """A feed, as the config would make it from a table."""
    entry = FEEDS[kind]
    context = FeedContext("test", clock or ManualClock(), base=base, timeframes=timeframes or {})
    return entry.build(msgspec.convert(settings, entry.settings), context)


def csv_feed(path: Path, /, *, timeframes: Mapping[str, Sequence[str]] | None = None, **settings: Any) -> Feed:
    """A CSV feed of EUR/USD from one path."""
    return build("file", {"path": str(path), "instrument": "EUR_USD", **settings}, timeframes=timeframes)


async def read(feed: Feed, after: int = 0, ticks_max: int = 1_000) -> tuple[list[Tick], list[Placed]]:
    """All ticks of a feed from ``after`` on, and all bars in order with their places; checks what every window promises."""
    await feed.open(after)
    ticks: list[Tick] = []
    bars: list[Placed] = []
    while (window := await feed.next_window(ticks_max)) is not None:
        assert 1 <= len(window.ticks) <= ticks_max
        assert window.first_position == after + len(ticks) + 1
        assert [t.position for t in window.ticks] == list(range(window.first_position, window.last_position + 1))
        ticks += window.ticks
        for index in sorted(window.bars):
            bars += [(window.first_position + index, bar) for bar in window.bars[index]]
    assert await feed.next_window(ticks_max) is None
    assert all(one.ts_ns <= other.ts_ns for one, other in pairwise(ticks)), "time never steps back"
    return ticks, bars


async def ticks_of(feed: Feed) -> list[Tick]:
    """All ticks of a feed."""
    return (await read(feed))[0]


def quotes(ticks: Sequence[Tick]) -> list[tuple[int, str, str]]:
    """Time, bid and ask, as text, for short comparisons."""
    return [(tick.ts_ns, str(tick.bid), str(tick.ask)) for tick in ticks]


def write(path: Path, text: str | bytes) -> Path:
    """A file, packed as its name says."""
    data = text.encode() if isinstance(text, str) else text
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data, mtime=0))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem + ".csv", data)
    else:
        path.write_bytes(data)
    return path
