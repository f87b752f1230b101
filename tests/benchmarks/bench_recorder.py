"""What the store adds to SQLite: rows a second beside raw ``executemany``, and the wait for a commit beside a raw one.

The rows are those of a trading day, as the executor makes them: decisions with their signal, trade, order, event and saved
state, and the fills of their orders. The floor gets the same values, encoded beforehand: the same columns and bytes, in the
same number of rows a transaction, written into bare tables with a primary key and nothing else.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.report import Result, at_least, at_most, reaches, standalone
from tests.unit.storage.samples import Desk
from tradekeel.domain.records import Group
from tradekeel.storage.batch import INSERT_CHECKPOINT, INSERT_JOURNAL, Batch
from tradekeel.storage.files import CHECKPOINT_PAGES
from tradekeel.storage.rows import mappings
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store

BATCH_GROUPS = 64
"""Groups in one transaction: what the executor may have unacknowledged."""

NOW_NS = 1_400_000_000_000_000_000


class Answer(NamedTuple):
    """What the database would say to a statement."""

    rowcount: int
    last: int = 0

    def fetchone(self) -> tuple[int]:
        return (self.last,)


class Capture:
    """Stands where the connection would and keeps what it was given to write."""

    def __init__(self) -> None:
        self.written: list[tuple[str, list[Sequence[Any]]]] = []
        self._last = 0

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Answer:
        return Answer(1, self._last)

    def executemany(self, sql: str, rows: list[Sequence[Any]]) -> Answer:
        self.written.append((sql, rows))
        if sql == INSERT_JOURNAL:
            self._last = int(rows[-1][1])
        return Answer(len(rows))


def batches(groups: Sequence[Group]) -> Iterator[Sequence[Group]]:
    for start in range(0, len(groups), BATCH_GROUPS):
        yield groups[start : start + BATCH_GROUPS]


def a_day(decisions: int) -> list[Group]:
    """Groups of a day: each entry is decided and, a little later, filled."""
    desk = Desk()
    groups = [desk.opening()]
    for number in range(1, decisions + 1):
        groups.append(desk.decision())
        if number > 1:
            groups.append(desk.filled(number - 1))
    return groups


def raw(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "cache_size = -8192",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
    ):
        db.execute(f"PRAGMA {pragma}")
    return db


def bare_tables(db: sqlite3.Connection) -> dict[str, str]:
    """For each statement of the store, a plain one into a table of the same columns and its primary key."""
    floors: dict[str, str] = {}
    wanted = [(m.insert_sql(Sqlite(Path())), m.table.name, m.columns, m.key_columns) for m in mappings().values()]
    for sql in (INSERT_JOURNAL, INSERT_CHECKPOINT):
        columns = tuple(sql[sql.index("(") + 1 : sql.index(")")].split(", "))
        name = sql.split()[2]
        wanted.append((sql, name, columns, ("execution", "sequence") if name == "journal" else ()))
    for sql, name, columns, keys in wanted:
        key = f", PRIMARY KEY ({', '.join(keys)})" if keys else ""
        db.execute(f"CREATE TABLE {name} ({', '.join(columns)}{key})")
        verb = "INSERT OR REPLACE" if "DO UPDATE" in sql else "INSERT"
        floors[sql] = f"{verb} INTO {name} VALUES ({', '.join('?' * len(columns))})"
    return floors


def raw_rate(folder: Path, groups: Sequence[Group], schema: str) -> tuple[float, int]:
    """Rows a second of the bare statement, and how many rows it wrote; ``schema`` "same" takes the store's own tables."""
    capture = Capture()
    prepared = []
    for chunk in batches(groups):
        capture.written = []
        Batch(chunk, 5).write(capture, Sqlite(Path()), lambda: None)  # type: ignore[arg-type]  # it is asked for these methods alone
        prepared.append(capture.written)
    path = folder / f"raw-{schema}.db"
    if schema == "same":
        Store.open(path, now_ns=NOW_NS).close()
    with closing(raw(path)) as db:
        floors = {} if schema == "same" else bare_tables(db)
        rows = 0
        start = time.perf_counter()
        for written in prepared:
            db.execute("BEGIN IMMEDIATE")
            for sql, values in written:
                db.executemany(floors.get(sql, sql), values)
                rows += len(values)
            db.execute("COMMIT")
        return rows / (time.perf_counter() - start), rows


def store_rate(folder: Path, groups: Sequence[Group], rows: int) -> tuple[float, float]:
    """Rows and groups a second through the store; ``rows`` are those that reach the disk."""
    with Store.open(folder / "store.db", now_ns=NOW_NS) as store:
        start = time.perf_counter()
        for chunk in batches(groups):
            store.commit(chunk)
        elapsed = time.perf_counter() - start
    return rows / elapsed, len(groups) / elapsed


def waits_ms(times: int, step: Callable[[int], object]) -> list[float]:
    waits = []
    for number in range(times):
        start = time.perf_counter()
        step(number)
        waits.append((time.perf_counter() - start) * 1_000)
    return sorted(waits)


def commit_waits(folder: Path, groups: Sequence[Group]) -> tuple[list[float], list[float]]:
    """Waits for one commit, in ms and ascending: of one group through the store, of one row on the bare driver.

    The two take turns, so that a disk that has a bad second has it for both.
    """
    payload = b"x" * 800
    ours: list[float] = []
    bare: list[float] = []
    with Store.open(folder / "waits.db", now_ns=NOW_NS) as store, closing(raw(folder / "raw-waits.db")) as db:
        db.execute("CREATE TABLE journal (sequence INTEGER PRIMARY KEY, payload)")

        def one_row(number: int) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO journal VALUES (?, ?)", (None, payload))
            db.execute("COMMIT")

        for group in groups:
            ours += waits_ms(1, lambda _, group=group: store.commit([group]))  # type: ignore[misc]
            bare += waits_ms(1, one_row)
    return sorted(ours), sorted(bare)


def at(waits: Sequence[float], share: float) -> float:
    return waits[min(int(len(waits) * share), len(waits) - 1)]


def bench(quick: bool) -> list[Result]:
    """Recorder rows and commits against the bare driver."""
    groups = a_day(300 if quick else 5_000)
    rounds = 1 if quick else 3
    bare_rates, same_rates, rates, group_rates = [], [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="tradekeel-bench-") as name:
            folder = Path(name)
            bare, rows = raw_rate(folder, groups, "bare")
            same, _ = raw_rate(folder, groups, "same")
            rate, group_rate = store_rate(folder, groups, rows)
            bare_rates.append(bare)
            same_rates.append(same)
            rates.append(rate)
            group_rates.append(group_rate)
    with tempfile.TemporaryDirectory(prefix="tradekeel-bench-") as name:
        ours, raw_waits = commit_waits(Path(name), a_day(50 if quick else 500))
    rate, floor = statistics.median(rates), statistics.median(same_rates)
    return [
        at_least(
            "recorder rows, 64 groups a commit",
            rate,
            "rows/s",
            floor=floor,
            floor_name="executemany, same tables",
            ratio_min=0.6,
        ),
        Result(
            "recorder rows beside bare tables",
            rate,
            "rows/s",
            statistics.median(bare_rates),
            "executemany, no index, no check",
            rate / statistics.median(bare_rates),
        ),
        reaches("durable groups, 64 a commit", statistics.median(group_rates), "groups/s", minimum=5_000),
        at_most(
            "commit of one group, p50",
            at(ours, 0.5),
            "ms",
            floor=at(raw_waits, 0.5),
            floor_name="one raw commit, p50",
            ratio_max=3,
            plus=0.5,
        ),
        at_most(
            "commit of one group, p99",
            at(ours, 0.99),
            "ms",
            floor=at(raw_waits, 0.99),
            floor_name="one raw commit, p99",
            ratio_max=5,
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
