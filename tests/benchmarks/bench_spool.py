"""What it costs that the server may be away: a commit that goes straight to it, one that is kept here, and bringing that there.

The server is the store on this disk, without a wire, which is the hardest comparison for what stands in between. A commit
that is kept here is compared with one raw write and fsync of the same bytes.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.bench_recorder import a_day, at, waits_ms
from tests.benchmarks.report import Result, at_least, at_most, standalone
from tests.unit.storage.servers import Clock, Server
from tradekeel.domain.records import Group
from tradekeel.storage.promised import encode_groups, promise
from tradekeel.storage.spool import Spool
from tradekeel.storage.standin import SpoolingBooks


def books_on(folder: Path, server: Server) -> SpoolingBooks:
    """Books that have just been opened, their breaker as it is out of the box."""
    books = SpoolingBooks(
        server,
        server.load,
        Spool.open(folder / "spool"),
        monotonic_ns=time.monotonic_ns,
        now_ns=time.time_ns,
        pause=lambda: time.sleep(0.01),
    )
    books.settle()
    return books


def straight(folder: Path, groups: Sequence[Group]) -> tuple[list[float], list[float]]:
    """Waits in ms, ascending, for a group's commit by way of the books, and without them. The two take turns."""
    server, plain = Server(folder / "server.db", Clock()), Server(folder / "plain.db", Clock()).store
    books = books_on(folder, server)
    ours: list[float] = []
    bare: list[float] = []
    for number, group in enumerate(groups, start=1):
        ours += waits_ms(1, lambda _, group=group: books.commit([group]))  # type: ignore[misc]
        bare += waits_ms(1, lambda _, group=group, number=number: plain.commit_numbered(number, [group]))  # type: ignore[misc]
    books.close()
    return sorted(ours), sorted(bare)


def kept(folder: Path, groups: Sequence[Group]) -> tuple[list[float], list[float], float]:
    """Waits in ms, ascending, for a group's commit that is kept here, and for a raw write and fsync of the same bytes.

    And how many of these batches a second are brought to the server then.
    """
    server = Server(folder / "server.db", Clock())
    books = books_on(folder, server)
    books.commit([groups[0]])
    payloads = [encode_groups([promise(group, 1)]) for group in groups]
    server.up = False
    ours: list[float] = []
    raw: list[float] = []
    file = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(payload: bytes) -> None:
        os.write(file, payload)
        os.fsync(file)

    for group, payload in zip(groups[1:], payloads[1:], strict=True):
        ours += waits_ms(1, lambda _, group=group: books.commit([group]))  # type: ignore[misc]
        raw += waits_ms(1, lambda _, payload=payload: write(payload))  # type: ignore[misc]
    os.close(file)
    server.up = True
    waiting = books.state.batches
    books.close()
    start = time.perf_counter()
    books = books_on(folder, server)  # as at a start: the breaker does not make anybody wait
    rate = waiting / (time.perf_counter() - start)
    books.close()
    return sorted(ours), sorted(raw), rate


def bench(quick: bool) -> list[Result]:
    """The books that spool, beside what is below them."""
    groups = a_day(50 if quick else 1_000)
    with tempfile.TemporaryDirectory(prefix="tradekeel-bench-") as name:
        ours, bare = straight(Path(name), groups)
    with tempfile.TemporaryDirectory(prefix="tradekeel-bench-") as name:
        here, raw, drained = kept(Path(name), groups)
    return [
        at_most(
            "commit straight to the server, p50",
            at(ours, 0.5),
            "ms",
            floor=at(bare, 0.5),
            floor_name="the store alone (no fsync), p50",
            ratio_max=1.1,
            plus=0.02,
        ),
        at_most(
            "commit that is kept here, p50",
            at(here, 0.5),
            "ms",
            floor=at(raw, 0.5),
            floor_name="one raw write and fsync, p50",
            ratio_max=1.5,
            plus=0.5,
        ),
        at_most(
            "commit that is kept here, p95",
            at(here, 0.95),
            "ms",
            floor=at(raw, 0.95),
            floor_name="one raw write and fsync, p95",
            ratio_max=3,
            plus=0.5,
        ),
        at_least(
            "commits that are kept here",
            1_000 / statistics.fmean(here),
            "batches/s",
            floor=1_000 / statistics.fmean(raw),
            floor_name="raw writes with fsync",
            ratio_min=0.5,
        ),
        at_least(
            "batches brought to the server",
            drained,
            "batches/s",
            floor=1_000 / statistics.fmean(bare),
            floor_name="the store alone (no fsync)",
            ratio_min=0.3,
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
