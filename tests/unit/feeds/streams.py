"""Shared streams in memory, and what unit tests write into them and read from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tests.unit.feeds.markets import SYMBOLS
from tradekeel.domain.ticks import Tick
from tradekeel.feeds import FEEDS, FeedContext, Sleeper
from tradekeel.feeds.shared import SharedFeed
from tradekeel.ports.ticks import Counts, SharedTick, StreamHead, Writing
from tradekeel.runtime.clock import SystemClock
from tradekeel.storage.memory.ticks import MemoryStreams, MemoryTicks

STREAM = "market"
HEAD = StreamHead(run="run", instruments=SYMBOLS, live=False, last=0)
WRITING = Writing(run="run", writer="me", ticks_max=1_000_000, ended=False)


def counted(ticks: Sequence[Tick]) -> list[SharedTick]:
    """Ticks as a writer gives them who has left out none."""
    known: dict[str, Counts] = {}
    made = []
    for tick in ticks:
        before = known.get(tick.instrument, Counts(0, 0))
        now = known[tick.instrument] = Counts(before.count + 1, max(before.latest_ns, tick.ts_ns))
        made.append(SharedTick(tick, now.count, now.latest_ns))
    return made


async def written(
    *runs: Sequence[Tick], ended: bool = True, live: bool = False, ticks_max: int = 1_000_000
) -> MemoryStreams:
    """A stream of these ticks; between two runs of them there is a gap."""
    streams = MemoryStreams()
    ticks = MemoryTicks(streams, STREAM)
    head = msgspec.structs.replace(HEAD, live=live, last=runs[0][0].position - 1 if runs else 0)
    await ticks.begin(head, "data", "me")
    for run in runs:
        await ticks.append(msgspec.structs.replace(WRITING, ticks_max=ticks_max), counted(run), {})
    if ended:
        await ticks.append(msgspec.structs.replace(WRITING, ended=True), [], {})
    return streams


def stream_feed(
    streams: MemoryStreams,
    *,
    timeframes: Mapping[str, Sequence[str]] | None = None,
    said: list[tuple[str, str]] | None = None,
    clock: Sleeper | None = None,
    patience: Callable[[str], object] | None = None,
    **settings: Any,
) -> SharedFeed:
    """A feed that reads the stream, as the config would make it from a table."""
    kind = FEEDS["redis"]
    table = {"stream": STREAM, "instruments": list(SYMBOLS), "start": "oldest", "block_s": 0.05} | settings
    heard = said if said is not None else []
    context = FeedContext(
        "reader",
        clock or SystemClock(),
        timeframes=timeframes or {},
        stream=lambda name: MemoryTicks(streams, name),
        say=lambda level, text, **fields: heard.append((level, text)),
        patience=patience,
    )
    feed = kind.build(msgspec.convert(table, kind.settings), context)
    assert isinstance(feed, SharedFeed)
    return feed
