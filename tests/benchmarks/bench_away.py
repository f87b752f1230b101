"""How long an order's durable step takes with the books on a PostgreSQL: while that is there, is away, and while it drains.

The step is the commit of a decision's group, one at a time, as the recorder makes it. The floor is one raw write and fsync of
the same bytes on the disk that the spool is on; the two take turns.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.bench_recorder import NOW_NS, a_day, at, waits_ms
from tests.benchmarks.report import Result, standalone, stays_within
from tests.servers.folders import RunFolder
from tests.servers.postgres import PostgresServer
from tradekeel.domain.protocol import LoadedAccount
from tradekeel.domain.records import Group
from tradekeel.runtime.loop import Aside
from tradekeel.storage.breaker import Breaker
from tradekeel.storage.loading import AccountBooks
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.postgres.lease import Holder, Writer
from tradekeel.storage.postgres.remote import PostgresBooks
from tradekeel.storage.promised import encode_groups, promise
from tradekeel.storage.remote import StoreMode
from tradekeel.storage.spool import Spool
from tradekeel.storage.standin import SpoolingBooks
from tradekeel.storage.store import Store

LEAST_MS = 100.0
"""What a durable step may cost at most, at p95."""

PROMISED = 0.95
SHARES = (0.5, PROMISED, 0.99)
FLOOR = "one raw write and fsync"

OPEN_NS = 300_000_000
"""A breaker that tries again soon: nobody waits half a minute for a figure."""

LEASE_NS = 60_000_000_000
PAUSE_S = 0.01


class Waits(NamedTuple):
    """Milliseconds, ascending: of the commit, and of the raw write beside it."""

    ours: list[float]
    raw: list[float]

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> Waits:
        return cls(sorted(ours for ours, _ in pairs), sorted(raw for _, raw in pairs))


def books_on(folder: Path, url: str) -> SpoolingBooks:
    """The books as a daemon opens them, settled."""
    spool = Spool.open(folder / "spool")
    remote = PostgresBooks(
        lambda: Store.open(Postgres(url), now_ns=NOW_NS),
        Writer(
            daemon="bench",
            holder=Holder(host="bench", installation="bench", place="bench", run="bench"),
            accounts=("a",),
            lease_ns=LEASE_NS,
        ),
        waiting=lambda: bool(spool.batches),
        aside=Aside("books"),
        pause=partial(time.sleep, PAUSE_S),
        now_ns=time.time_ns,
        monotonic_ns=time.monotonic_ns,
        tell=print,
    )

    def load(account: str, progress: Callable[[], object]) -> LoadedAccount:
        return AccountBooks(remote.store, {"a": ("s",)}).load(account, progress)

    books = SpoolingBooks(
        remote,
        load,
        spool,
        monotonic_ns=time.monotonic_ns,
        now_ns=time.time_ns,
        pause=lambda: time.sleep(PAUSE_S),
        breaker=Breaker(open_ns=OPEN_NS),
    )
    _settled(books)
    return books


def _settled(books: SpoolingBooks) -> None:
    while books.advance() or books.state.mode is not StoreMode.DIRECT:
        time.sleep(PAUSE_S)


def measured(folder: Path, server: PostgresServer, count: int) -> tuple[Waits, Waits, Waits, float]:
    """So many steps while the server is there, twice so many while it is away, all that it takes until nothing waits any more.

    And how long the step took that met a server that has just gone, in ms.
    """
    groups = deque(a_day(4 * count))
    books = books_on(folder, server.new_database())
    file = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(payload: bytes) -> None:
        os.write(file, payload)
        os.fsync(file)

    def step() -> tuple[float, float]:
        group: Group = groups.popleft()
        payload = encode_groups([promise(group, 1)])
        [ours] = waits_ms(1, lambda _: books.commit([group]))
        [raw] = waits_ms(1, lambda _: write(payload))
        return ours, raw

    step()  # the execution begins
    there = Waits.of([step() for _ in range(count)])
    server.kill()
    [first, *rest] = [step() for _ in range(2 * count)]
    server.start()
    while books.state.mode is StoreMode.AWAY:
        books.advance()
        time.sleep(PAUSE_S)
    draining = []
    while books.state.mode is not StoreMode.DIRECT:
        draining.append(step())
    os.close(file)
    books.close()
    return there, Waits.of(rest), Waits.of(draining), first[0]


def _figure(name: str, waits: Waits, share: float) -> Result:
    ours, raw = at(waits.ours, share), at(waits.raw, share)
    name, floor_name = f"{name}, p{share * 100:g}", f"{FLOOR}, p{share * 100:g}"
    if share == PROMISED:
        return stays_within(name, ours, "ms", maximum=LEAST_MS, floor=raw, floor_name=floor_name)
    return Result(name, ours, "ms", raw, floor_name, ours / raw)


def bench(quick: bool) -> list[Result]:
    """The durable step of an order in each mode, beside one raw write and fsync."""
    with (
        RunFolder() as run,
        PostgresServer(run) as server,
        tempfile.TemporaryDirectory(prefix="tradekeel-bench-") as name,
    ):
        there, away, draining, first_ms = measured(Path(name), server, 50 if quick else 1_000)
    modes = (("is there", there), ("is away", away), ("is back and drains", draining))
    return [
        *(
            _figure(f"durable step, the books' server {mode}", waits, share)
            for mode, waits in modes
            for share in SHARES
        ),
        Result("the step that meets a server that has just been killed", first_ms, "ms"),
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
