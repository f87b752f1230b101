"""Ticks through a Redis stream: into it as a daemon shares them, out of it as a feed reads them, beside redis-py's own pipeline.

The floor is the least that redis-py can do with the same entries: an XADD each in pipelines of the same length, without a
transaction, and XRANGE in pieces of the same length, whose entries become ticks. Both talk to the same server, which keeps
nothing on its disk; it and we share this machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any

import redis

from tests.benchmarks.report import Result, at_least, standalone
from tests.integration.ticks.support import KEY, feed_of, sharing
from tests.servers.folders import RunFolder
from tests.servers.valkey import ValkeyServer
from tests.unit.feeds.markets import Market, ticks_of
from tradekeel.domain.ticks import Tick

PIECE = 1_000
ROUNDS = 3
FRAMES = {"EUR_USD": ("1m", "100t"), "USD_JPY": ("1h",)}


async def _shared_per_s(url: str, ticks: Sequence[Tick]) -> float:
    async with sharing(Market(ticks, window_max=512), url) as share:
        begun = time.perf_counter()
        await share.conduct()
        await share.until_brought()
        return len(ticks) / (time.perf_counter() - begun)


async def _read_per_s(url: str, count: int, *, bars: bool) -> float:
    feed = feed_of(url, timeframes=FRAMES if bars else {})
    begun = time.perf_counter()
    await feed.open(0)
    read = 0
    while (window := await feed.next_window(512)) is not None:
        read += len(window.ticks)
    taken_s = time.perf_counter() - begun
    await feed.close()
    assert read == count
    return read / taken_s


def _floor_in_per_s(url: str, ticks: Sequence[Tick]) -> float:
    with closing(redis.Redis.from_url(url)) as client:
        client.flushall()
        begun = time.perf_counter()
        for start in range(0, len(ticks), PIECE):
            pipeline = client.pipeline(transaction=False)
            for tick in ticks[start : start + PIECE]:
                fields = {"i": tick.instrument, "t": tick.ts_ns, "b": str(tick.bid), "a": str(tick.ask)}
                pipeline.xadd("floor", fields, id=f"{tick.position}-0")  # type: ignore[arg-type]  # its dict is invariant
            pipeline.execute()
        return len(ticks) / (time.perf_counter() - begun)


def _floor_out_per_s(url: str, count: int) -> float:
    client: Any = redis.Redis.from_url(url)  # its types are those of every client with every setting
    with closing(client):
        begun = time.perf_counter()
        after, read = b"-", 0
        while entries := client.xrange("floor", after, "+", PIECE):
            read += len([_bare_tick(int(entry[:-2]), said) for entry, said in entries])
            after = b"(" + entries[-1][0]
        assert read == count
        return read / (time.perf_counter() - begun)


def _bare_tick(position: int, said: Mapping[bytes, bytes]) -> Tick:
    bid, ask = Decimal(said[b"b"].decode()), Decimal(said[b"a"].decode())
    return Tick(said[b"i"].decode(), int(said[b"t"]), bid, ask, position)


def bench(quick: bool) -> list[Result]:
    """Ticks a second into and out of a stream."""
    ticks = ticks_of(5_000 if quick else 100_000)
    count, rounds = len(ticks), 1 if quick else ROUNDS
    floors_in, floors_out, into, out, with_bars = [], [], [], [], []
    with RunFolder() as run, ValkeyServer(run) as server:
        url = server.url()
        for _ in range(rounds):
            floors_in.append(_floor_in_per_s(url, ticks))
            floors_out.append(_floor_out_per_s(url, count))
            with closing(redis.Redis.from_url(url)) as client:
                client.flushall()
            into.append(asyncio.run(_shared_per_s(url, ticks)))
            out.append(asyncio.run(_read_per_s(url, count, bars=False)))
            with_bars.append(asyncio.run(_read_per_s(url, count, bars=True)))
        with closing(redis.Redis.from_url(url)) as client:
            size = int(client.memory_usage(KEY, samples=0) or 0)
    floor_in, floor_out = max(floors_in), max(floors_out)
    name_in, name_out = "redis-py, pipelines of XADD", "redis-py, XRANGE and a Tick each"
    return [
        at_least("ticks shared", max(into), "ticks/s", floor=floor_in, floor_name=name_in, ratio_min=1.0),
        at_least("ticks read", max(out), "ticks/s", floor=floor_out, floor_name=name_out, ratio_min=1.0),
        at_least("ticks read, three timeframes", max(with_bars), "ticks/s", floor=floor_out, floor_name=name_out, ratio_min=1.0),
        Result("a tick in the server's memory", size / count, "bytes"),
    ]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
