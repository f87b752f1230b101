"""A script's questions to large books: filtered pages of a million trades, their statistics, positions out of a million fills.

The floor of a page is the driver's own statement for the same rows; of statistics and positions it is the driver reading the
columns that they need. Rows go straight into the tables: what is asked is the repositories, and not how they came there.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import anyio
from msgspec import Struct, structs

from tests.benchmarks.report import Result, standalone, stays_within
from tests.conformance.repositories.factories import PATTERNS, SECOND, SESSIONS, START_NS, SYMBOLS, Factory
from tests.servers.folders import RunFolder
from tests.servers.postgres import PostgresServer
from tradekeel.domain.trades import TradeStatus
from tradekeel.storage.backend import Backend
from tradekeel.storage.postgres import Postgres
from tradekeel.storage.repositories import (
    Database,
    SqlExecutionRepository,
    SqlPositionRepository,
    SqlStrategyRepository,
    SqlTradeRepository,
)
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.sqlite import Sqlite

ROWS, QUICK_ROWS = 1_000_000, 10_000
PROTOTYPES = 500
"""Rows with values of their own; the rest are these again, with other numbers and times."""

AT_ONCE = 20_000
OPEN_EVERY = 1_000
STRATEGIES = ("floor", "trend", "gap", "swing")
PAGE_MS = 500.0
ROUNDS = 5
PATIENCE_S = 600.0

Question = Callable[[], Awaitable[Any]]


def trades(make: Factory, count: int) -> Iterator[Struct]:
    """Closed trades, a second from one to the next, and some that are open."""
    closed = [make.trade(STRATEGIES[n % len(STRATEGIES)], TradeStatus.CLOSED) for n in range(PROTOTYPES)]
    opened = [make.trade(STRATEGIES[n % len(STRATEGIES)], TradeStatus.OPEN) for n in range(PROTOTYPES)]
    for number in range(count):
        row = (opened if number % OPEN_EVERY == 0 else closed)[make.random.randrange(PROTOTYPES)]
        at_ns = START_NS + number * SECOND
        exit_ns = None if row.exit_time_ns is None else at_ns + 600 * SECOND
        yield structs.replace(
            row, trade_id=f"tr{number}", entry_time_ns=at_ns, exit_time_ns=exit_ns, created_ns=at_ns, updated_ns=at_ns
        )


def fills(make: Factory, count: int) -> Iterator[Struct]:
    """Fills of both sides in every symbol."""
    known = [make.fill(f"tk{number}") for number in range(PROTOTYPES)]
    for number in range(count):
        row = known[make.random.randrange(PROTOTYPES)]
        yield structs.replace(row, fill_id=f"f{number}", ts_ns=START_NS + number * SECOND)


def put(backend: Backend, execution: str, rows: Iterator[Struct]) -> None:
    """Rows into their table."""
    first = next(rows)
    mapping = mapping_of(type(first))
    names = ", ".join(f'"{name}"' for name in mapping.columns)
    sql = f'INSERT INTO "{mapping.table.name}" ({names}) VALUES ({", ".join("?" * len(mapping.columns))})'
    with closing(backend.connect()) as db:
        db.execute(backend.begin_write)
        db.executemany(sql, [mapping.encode(first, execution)])
        while some := list(islice(rows, AT_ONCE)):
            db.executemany(sql, [mapping.encode(row, execution) for row in some])
        db.execute("COMMIT")
        db.execute("ANALYZE")


async def timed(ask: Question, rounds: int) -> float:
    """Milliseconds, the median of some rounds."""
    taken = []
    for _ in range(rounds):
        start_s = time.perf_counter()
        await ask()
        taken.append((time.perf_counter() - start_s) * 1_000)
    return statistics.median(taken)


def bare_ms(backend: Backend, sql: str, values: Sequence[Any], rounds: int) -> float:
    """The same for a statement of the driver's."""
    taken = []
    with closing(backend.connect(read_only=True)) as db:
        for _ in range(rounds):
            start_s = time.perf_counter()
            db.execute(backend.begin_read)
            for _ in db.stream(sql, values):
                pass
            db.rollback()
            taken.append((time.perf_counter() - start_s) * 1_000)
    return statistics.median(taken)


async def asked(backend: Backend, rows: int, rounds: int) -> list[Result]:
    """The figures of one database."""
    results: list[Result] = []
    where = f"{backend.name}, {rows:,} trades"
    half = START_NS + rows // 2 * SECOND
    span: dict[str, Any] = {"since_ns": half, "until_ns": half + 86_400 * SECOND}
    columns = ", ".join(f'"{name}"' for name in mapping_of(type(next(trades(Factory("x", "x"), 1)))).columns)
    page = f"SELECT {columns} FROM trades WHERE {{}} ORDER BY entry_time_ns DESC LIMIT 101"
    async with Database(backend, now_ns=time.time_ns) as books:
        repository = SqlTradeRepository(books)
        one = SYMBOLS[0]
        pages: dict[str, tuple[Question, str, Sequence[Any]]] = {
            "the newest": (lambda: repository.get_recent_trades(), "1 = 1", ()),
            "of a symbol, a day of it": (
                lambda: repository.get_trades_by_instrument(one, **span),
                "symbol = ? AND entry_time_ns >= ? AND entry_time_ns < ?",
                (one, *span.values()),
            ),
            "of a strategy": (lambda: repository.get_trades_by_strategy("gap"), "strategy = ?", ("gap",)),
            "of a session": (
                lambda: repository.get_trades_by_session(str(SESSIONS[0])),
                "session = ?",
                (SESSIONS[0],),
            ),
            "of a pattern": (
                lambda: repository.get_trades_by_pattern(str(PATTERNS[0])),
                "pattern_type = ?",
                (PATTERNS[0],),
            ),
            "of a span": (
                lambda: repository.get_trades_by_date_range(span["since_ns"], span["until_ns"]),
                "entry_time_ns >= ? AND entry_time_ns < ?",
                tuple(span.values()),
            ),
            "open": (lambda: repository.get_open_trades(), "status IN ('PENDING', 'OPEN', 'CLOSING')", ()),
        }
        for name, (ask, condition, values) in pages.items():
            results.append(
                stays_within(
                    f"{where}: a page of those {name}",
                    await timed(ask, rounds),
                    "ms",
                    maximum=PAGE_MS,
                    floor=bare_ms(backend, page.format(condition), values, rounds),
                    floor_name="the driver alone",
                )
            )
        results.append(
            stays_within(
                f"{where}: how many of a symbol",
                await timed(lambda: repository.count_trades(symbol=one), rounds),
                "ms",
                maximum=PAGE_MS,
                floor=bare_ms(backend, "SELECT count(*) FROM trades WHERE symbol = ?", (one,), rounds),
                floor_name="the driver alone",
            )
        )
        needed = "SELECT symbol, strategy, session, exit_time_ns, gross_pnl, entry_fee, exit_fee, financing FROM trades"
        sql = f"{needed} WHERE exit_time_ns >= ? AND exit_time_ns < ?"
        spans: dict[str, dict[str, Any]] = {"a day": span, "all": {}}
        for name, during in spans.items():
            taken = await timed(partial(repository.get_stats, timeout_s=PATIENCE_S, **during), 1)
            floor = bare_ms(backend, sql if during else needed, tuple(during.values()), 1)
            results.append(_beside(f"{where}: statistics of {name}", taken, floor))
        taken = await timed(lambda: SqlPositionRepository(books).get_open_positions(timeout_s=PATIENCE_S), 1)
        floor = bare_ms(
            backend, "SELECT instrument, position_ref, side, quantity, price, ts_ns FROM fills ORDER BY id", (), 1
        )
        results.append(_beside(f"{backend.name}: positions out of {rows:,} fills", taken, floor))
    return results


def _beside(name: str, taken_ms: float, floor_ms: float) -> Result:
    return Result(name, taken_ms, "ms", floor_ms, "the driver reading what it needs", taken_ms / floor_ms)


async def prepared(backend: Backend, rows: int) -> None:
    """Books of an execution that a script keeps, with so many trades and fills."""
    async with Database(backend, now_ns=time.time_ns) as books:
        row = await SqlExecutionRepository(books).create_execution("scripts")
        make = Factory(row.execution, "scripts")
        for name in STRATEGIES:
            await SqlStrategyRepository(books).create_strategy(make.strategy(name))
    put(backend, row.execution, trades(make, rows))
    put(backend, row.execution, fills(make, rows))


def bench(quick: bool) -> list[Result]:
    """Milliseconds of each question, on SQLite and on PostgreSQL."""
    rows, rounds = (QUICK_ROWS, 1) if quick else (ROWS, ROUNDS)
    results: list[Result] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradekeel-bench-")))
        server = stack.enter_context(PostgresServer(stack.enter_context(RunFolder())))
        for backend in (Sqlite(folder / "books.db"), Postgres(server.new_database())):
            anyio.run(prepared, backend, rows)
            results.extend(anyio.run(asked, backend, rows, rounds))
    return results


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
