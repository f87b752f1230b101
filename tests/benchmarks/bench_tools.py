"""The tools of `tradekeel db` on a million rows: archived and read back, proved, exported, imported, copied.

Rows are those of round trips as the executor journals them: a decision, two fills, an exit, and the seven rows that follow. The
floor is what reading the same rows out of the file and nothing else costs.
"""

from __future__ import annotations

import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from tests.benchmarks.report import Result, standalone
from tests.unit.storage.rounds import Trader
from tests.unit.storage.samples import SECOND, START_NS
from tradekeel.storage.archiving.moving import archive
from tradekeel.storage.archiving.proving import rows_in
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store
from tradekeel.storage.transfer.exporting import export
from tradekeel.storage.transfer.importing import import_books
from tradekeel.storage.transfer.manifest import Narrowed
from tradekeel.storage.verify import verify

ROWS, QUICK_ROWS = 1_000_000, 22_000
ROWS_PER_TRIP = 11
TRIPS_PER_COMMIT = 500
LATER = 2**62

T = TypeVar("T")


def written(path: Path, rows: int) -> int:
    """Books with so many rows, of an execution that is over; how many there are."""
    trader = Trader()
    trader.step_ns = 60 * SECOND
    with Store.open(path, now_ns=START_NS) as store:
        store.commit([trader.opening()])
        for _ in range(rows // ROWS_PER_TRIP // TRIPS_PER_COMMIT):
            store.commit([group for _ in range(TRIPS_PER_COMMIT) for group in trader.round_trip()])
        store.commit([trader.closed()])
    return trader.trips * ROWS_PER_TRIP


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start_s = time.perf_counter()
    result = work()
    return time.perf_counter() - start_s, result


def read_all(path: Path) -> int:
    """The floor."""
    tables = ("journal", "trades", "orders", "fills", "signals", "strategy_events")
    with closing(sqlite3.connect(path)) as db:
        return sum(1 for table in tables for _ in db.execute(f"SELECT * FROM {table}"))


def bench(quick: bool) -> list[Result]:
    """Rows a second of each tool."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="tradekeel-bench-") as name:
        folder = Path(name)
        books = Sqlite(folder / "books.db")
        rows = written(books.path, QUICK_ROWS if quick else ROWS)
        taken, read = timed(lambda: read_all(books.path))
        floor = read / taken

        def tell(what: str, seconds: float, count: int = rows) -> None:
            rate = count / seconds
            results.append(Result(what, rate, "rows/s", floor, "reading them out of the file", rate / floor))

        tell("db verify", timed(lambda: verify(books))[0])
        tell("db backup", timed(lambda: books.copy(folder / "copy.db"))[0])
        tell("db export (jsonl)", timed(lambda: export(books, folder / "jsonl", "jsonl", Narrowed()))[0])
        tell("db export (csv)", timed(lambda: export(books, folder / "csv", "csv", Narrowed()))[0])
        again = Sqlite(folder / "again.db")
        tell("db import (jsonl), proved", timed(lambda: import_books(again, folder / "jsonl", START_NS))[0])
        size = books.path.stat().st_size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds, moved = timed(lambda: archive(books, LATER, folder / "archives", START_NS))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        count = sum(sum(piece.row.counts.values()) for piece in moved)
        tell("db archive", seconds, count)
        seconds, back = timed(lambda: sum(1 for piece in moved for _ in rows_in(piece.path)))
        assert back == count
        tell("db archive --read", seconds, count)
        seconds, verdict = timed(lambda: verify(books))
        assert verdict.ok, verdict.lines()
        tell("db verify, out of the archives", seconds)
        packed = sum(piece.row.size for piece in moved)
        results.append(
            Result(f"archives of {count:,} rows in {len(moved)} files", packed / 1e6, "MB", size / 1e6, "books")
        )
        results.append(Result("memory that archiving took beyond the rest", grown / 1_000, "MB"))
    return results


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
