"""Books on a PostgreSQL of our own, on this machine's disk: the recorder, one durable write, the path of an order.

The floor is psycopg alone: the same statements and values into the same tables, in the same number of rows a transaction, by
its own ``executemany``; and for the wait, one row and a COMMIT on the same server.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.bench_orders import CONFIG, latency, sustained
from tests.benchmarks.bench_recorder import NOW_NS, Capture, a_day, at, batches
from tests.benchmarks.report import Result, at_least, reaches, standalone, stays_within
from tests.campaigns.kill.stores import Databases
from tests.servers.folders import RunFolder
from tests.servers.postgres import PostgresServer, connected
from tradekeel.domain.records import Group
from tradekeel.storage.batch import Batch
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.postgres.connection import translated
from tradekeel.storage.store import Store

LEAST_MS = 100.0
"""What a durable write may cost at most, at p95."""

ROW = b"x" * 800


def prepared(groups: Sequence[Group], backend: Postgres) -> list[list[tuple[str, list[Sequence[Any]]]]]:
    """What the store would hand to the driver, batch by batch."""
    capture = Capture()
    made = []
    for chunk in batches(groups):
        capture.written = []
        Batch(chunk, 5).write(capture, backend, lambda: None)  # type: ignore[arg-type]  # it is asked for these methods alone
        made.append([(translated(sql), rows) for sql, rows in capture.written])
    return made


def raw_rate(url: str, groups: Sequence[Group]) -> tuple[float, int]:
    """Rows a second of the driver alone, and how many it wrote."""
    backend = Postgres(url)
    Store.open(backend, now_ns=NOW_NS).close()
    made, rows = prepared(groups, backend), 0
    with connected(url) as db, db.cursor() as cursor:
        cursor.execute("SET search_path = trading")
        start = time.perf_counter()
        for written in made:
            cursor.execute("BEGIN")
            for sql, values in written:
                cursor.executemany(sql.encode(), values)
                rows += len(values)
            cursor.execute("COMMIT")
        return rows / (time.perf_counter() - start), rows


def store_rate(url: str, groups: Sequence[Group], rows: int) -> tuple[float, float]:
    """Rows and groups a second through the store."""
    with Store.open(Postgres(url), now_ns=NOW_NS) as store:
        start = time.perf_counter()
        for chunk in batches(groups):
            store.commit(chunk)
        elapsed = time.perf_counter() - start
    return rows / elapsed, len(groups) / elapsed


def commit_waits(url: str, groups: Sequence[Group]) -> tuple[list[float], list[float]]:
    """Waits for one commit, in ms and ascending: of one group through the store, of one row by the driver. They take turns."""
    ours: list[float] = []
    bare: list[float] = []
    with Store.open(Postgres(url), now_ns=NOW_NS) as store, connected(url) as db, db.cursor() as cursor:
        cursor.execute("CREATE TABLE raw (sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload bytea)")
        for group in groups:
            ours.append(_timed(lambda group=group: store.commit([group])))  # type: ignore[misc]

            def one_row() -> None:
                cursor.execute("BEGIN")
                cursor.execute("INSERT INTO raw (payload) VALUES (%s)", (ROW,))
                cursor.execute("COMMIT")

            bare.append(_timed(one_row))
    return sorted(ours), sorted(bare)


def _timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) * 1_000


def order_path(databases: Databases, orders: int, many: int) -> tuple[list[float], float]:
    """Seconds from a tick to the bytes at the venue, ascending; durable orders a second."""
    with tempfile.TemporaryDirectory() as name:
        config = CONFIG.replace("[storage]\n", f"[storage]\n{databases.fresh(Path(name)).toml}")
        taken = latency(Path(name), orders, config)
    with tempfile.TemporaryDirectory() as name:
        config = CONFIG.replace("[storage]\n", f"[storage]\n{databases.fresh(Path(name)).toml}")
        return taken, sustained(Path(name), many, config)


def bench(quick: bool) -> list[Result]:
    """The recorder, a durable write and an order's path with the books on a server."""
    groups = a_day(300 if quick else 5_000)
    with RunFolder() as run, PostgresServer(run) as server:
        floors, rates, group_rates = [], [], []
        for _ in range(1 if quick else 3):
            floor, rows = raw_rate(server.new_database(), groups)
            rate, group_rate = store_rate(server.new_database(), groups, rows)
            floors.append(floor)
            rates.append(rate)
            group_rates.append(group_rate)
        ours, raw = commit_waits(server.new_database(), a_day(50 if quick else 1_000))
        taken, durable = order_path(Databases(server.admin_url), 200 if quick else 2_000, 2_000 if quick else 20_000)
    return [
        at_least(
            "PostgreSQL: recorder rows, 64 groups a commit",
            statistics.median(rates),
            "rows/s",
            floor=statistics.median(floors),
            floor_name="psycopg executemany, same tables",
            ratio_min=0.6,
        ),
        reaches("PostgreSQL: durable groups, 64 a commit", statistics.median(group_rates), "groups/s", minimum=1_000),
        *(
            Result(
                f"PostgreSQL: commit of one group, p{share:g}", at(ours, share / 100), "ms", at(raw, share / 100), name
            )
            for share, name in ((50, "one raw commit, p50"), (99, "one raw commit, p99"))
        ),
        stays_within(
            "PostgreSQL: commit of one group, p95",
            at(ours, 0.95),
            "ms",
            maximum=LEAST_MS,
            floor=at(raw, 0.95),
            floor_name="one raw commit, p95",
        ),
        *(
            Result(
                f"PostgreSQL: tick in → durable → bytes at the venue, p{share:g}",
                at(taken, share / 100) * 1_000,
                "ms",
                at(raw, share / 100),
                f"one raw commit, p{share:g}",
                at(taken, share / 100) * 1_000 / at(raw, share / 100),
            )
            for share in (50, 95, 99)
        ),
        Result("PostgreSQL: durable orders, sustained", durable, "orders/s"),
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
