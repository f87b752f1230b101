"""What Redis costs: events published a second beside a bare pipeline of the same entries, and an order's way beside no Redis.

The server is a real one of the tests' own, on this machine, whose two cores it shares with us.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import redis

from tests.benchmarks.bench_orders import CONFIG, latency
from tests.benchmarks.bench_recorder import a_day
from tests.benchmarks.report import Result, at_least, at_most, standalone
from tests.benchmarks.support import percentile
from tests.servers.folders import RunFolder
from tests.servers.valkey import ValkeyServer
from tradekeel.actors.publisher.streams import PAGE
from tradekeel.ports.publication import Event
from tradekeel.runtime.loop import BlockingWorker, run
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.publication import RedisPublication
from tradekeel.storage.redis.server import RedisServer
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store
from tradekeel.storage.watching import Watch

KEEP = 10_000_000


def journal(folder: Path, decisions: int) -> tuple[Sqlite, str]:
    """Books with the journal of a day, and its execution."""
    books = Sqlite(folder / "books.db")
    groups = a_day(decisions)
    with Store.open(books, now_ns=0) as store:
        for start in range(0, len(groups), 64):
            store.commit(groups[start : start + 64])
    return books, groups[0].execution


def published(server: ValkeyServer, books: Sqlite, execution: str) -> float:
    """Events a second, from the books to the server, the way the publisher goes when it makes up for a day."""

    async def publish() -> float:
        watch = Watch(books)
        async with RedisServer.open(RedisSettings(url=server.url())) as there, BlockingWorker("bench") as worker:
            publication = RedisPublication(there)
            end, start = 0, time.perf_counter()
            while events := await worker.call(watch.events, execution, end, PAGE):
                end = await publication.append(execution, end, events, keep=KEEP)
            taken = time.perf_counter() - start
            await worker.call(watch.close)
        return end / taken

    return run(publish)


def piped(server: ValkeyServer, events: Sequence[Event]) -> float:
    """Entries a second by pipelines of a bare client that has them in its hands."""
    with redis.Redis.from_url(server.url()) as client:
        start = time.perf_counter()
        for first in range(0, len(events), PAGE):
            with client.pipeline(transaction=False) as pipeline:
                for event in events[first : first + PAGE]:
                    fields = {"type": event.type, "ts_ns": event.ts_ns, "correlation_id": event.correlation_id}
                    pipeline.xadd("trading:floor", fields | {"record": event.record}, id=f"{event.sequence}-0")
                pipeline.execute()
        return len(events) / (time.perf_counter() - start)


def with_redis(server: ValkeyServer) -> str:
    """The house of the orders' benchmark, publishing everything."""
    url = f"redis://127.0.0.1:{server.port.number}/0"
    return f'{CONFIG}\n[redis]\nurl = "{url}"\npassword = {{ env = "REDIS_PASSWORD" }}\n'


def bench(quick: bool) -> list[Result]:
    """Events, and orders."""
    decisions, orders = (1_000, 200) if quick else (10_000, 1_000)
    with RunFolder() as run_folder, ValkeyServer(run_folder) as server, tempfile.TemporaryDirectory() as name:
        books, execution = journal(Path(name), decisions)
        watch = Watch(books)
        events: list[Event] = []
        while page := watch.events(execution, len(events), 10_000):
            events += page
        watch.close()
        floor = piped(server, events)
        rate = published(server, books, execution)
        environ = {"REDIS_PASSWORD": server.password}
        taken: dict[str, list[float]] = {"no": [], "a": [], "frozen": []}
        for _ in range(1 if quick else 3):  # in turn: the machine is never the same for long
            for kind in taken:
                if kind == "frozen":
                    server.pause()
                with tempfile.TemporaryDirectory() as folder:
                    config = CONFIG if kind == "no" else with_redis(server)
                    taken[kind] += latency(Path(folder), orders, config, environ)
                server.resume()
    return [
        at_least(
            "journal → events in Redis",
            rate,
            "events/s",
            floor=floor,
            floor_name="bare pipeline of XADD",
            ratio_min=0.3,
        ),
        *(
            at_most(
                f"tick in → durable → bytes at the venue, {words}, p{share * 100:g}",
                percentile(sorted(taken[kind]), share) * 1_000,
                "ms",
                floor=percentile(sorted(taken["no"]), share) * 1_000,
                floor_name="without Redis",
                ratio_max=1.5,
                plus=1.0,
            )
            for kind, words in (("a", "Redis beside it"), ("frozen", "Redis frozen"))
            for share in (0.50, 0.99)
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
