"""The listed questions are answered through indexes, and sorted by them: shown by EXPLAIN on 30,000 rows of each database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from tests.conformance.repositories.conftest import ACCOUNT, ManualClock, fresh_books
from tests.conformance.repositories.factories import SECOND, START_NS, Factory
from tests.conformance.repositories.test_figures import change, snapshot
from tradekeel.domain.messages import SignalStatus
from tradekeel.domain.orders import OrderStatus
from tradekeel.domain.trades import TradeStatus
from tradekeel.storage import tables
from tradekeel.storage.backend import Backend
from tradekeel.storage.files import connect
from tradekeel.storage.repositories import (
    Database,
    SqlEventRepository,
    SqlExecutionRepository,
    SqlFillRepository,
    SqlOrderRepository,
    SqlParameterHistoryRepository,
    SqlPerformanceRepository,
    SqlSignalRepository,
    SqlStrategyRepository,
    SqlTradeRepository,
)
from tradekeel.storage.sqlite import Sqlite

ROWS = 30_000
EXECUTION = "ex-large"
SINCE, UNTIL = START_NS + 1_000 * SECOND, START_NS + 1_100 * SECOND

ROWS_LOOKED_AT_MAX = ROWS // 10
"""What an answer of few rows may look at on the way."""

STEPS_A_ROW = 5
"""What SQLite's machine takes at least for a row that it looks at and leaves out."""


def copies(backend: Backend, table: str, **columns: str) -> None:
    """Many rows like the one that there is, with other values in some columns; ``n`` numbers them."""
    names = [column.name for column in tables.metadata.tables[table].columns if column.name != "id"]
    listed = ", ".join(columns.get(name, f't."{name}"') for name in names)
    into = ", ".join(f'"{name}"' for name in names)
    with closing(backend.connect_for_long()) as db:
        db.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS}) "
            f"INSERT INTO {table} ({into}) SELECT {listed} FROM (SELECT * FROM {table} LIMIT 1) t, numbers"
        )


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """Books with many rows of everything, among those of few words."""
    with fresh_books(request.param, request, tmp_path_factory.mktemp("large")) as backend:
        async with Database(backend, now_ns=ManualClock()) as books:
            row = await SqlExecutionRepository(books).create_execution(ACCOUNT, execution=EXECUTION)
            make = Factory(row.execution, ACCOUNT)
            for name in ("floor", "trend"):
                await SqlStrategyRepository(books).create_strategy(make.strategy(name))
            await SqlTradeRepository(books).save_trade(make.trade(status=TradeStatus.CLOSED))
            await SqlOrderRepository(books).create_order(make.order(status=OrderStatus.FILLED))
            await SqlSignalRepository(books).save_signal(
                make.signal(executed=True, execution_status=SignalStatus.EXECUTED)
            )
            await SqlFillRepository(books).append_fill(row.execution, make.fill("tk-1"))
            await SqlPerformanceRepository(books).save_snapshot(snapshot(row.execution, 1))
            await SqlParameterHistoryRepository(books).record_change(change(row.execution, 1))
            at = f"{START_NS} + n * CAST({SECOND} AS bigint)"
            symbol, strategy = "'SYM_' || n % 40", "CASE n % 9 WHEN 0 THEN 'floor' ELSE 'trend' END"
            copies(
                backend,
                "trades",
                trade_id="'tr' || n",
                symbol=symbol,
                strategy=strategy,
                session="CASE n % 4 WHEN 0 THEN NULL ELSE 'S' || n % 40 END",
                pattern_type="CASE n % 4 WHEN 0 THEN NULL ELSE 'P' || n % 40 END",
                status="CASE n % 500 WHEN 0 THEN 'OPEN' ELSE 'CLOSED' END",
                created_ns=at,
                entry_time_ns=f"{at} + 7",
            )
            copies(
                backend,
                "orders",
                client_order_id="'tk' || n",
                venue_order_id="'v' || n",
                instrument=symbol,
                strategy=strategy,
                status="CASE n % 500 WHEN 0 THEN 'accepted' ELSE 'filled' END",
                created_ns=at,
            )
            copies(
                backend,
                "signals",
                signal_id="'sg' || n",
                symbol=symbol,
                executed="CASE n % 500 WHEN 0 THEN 0 ELSE 1 END",
                execution_status="CASE n % 500 WHEN 0 THEN 'denied' ELSE 'executed' END",
                generated_at_ns=at,
            )
            copies(backend, "fills", fill_id="'f' || n", instrument=symbol, client_order_id="'tk' || n", ts_ns=at)
            copies(backend, "performance_snapshots", ts_ns=at)
            copies(backend, "parameter_history", ts_ns=at)
            copies(backend, "journal", sequence="n + 100")
            if request.param == "postgres":  # there it happens by itself; nothing of ours does it to a file
                with closing(backend.connect_for_long()) as db:
                    db.execute("ANALYZE")
            yield books


@contextmanager
def heard(books: Database) -> Iterator[list[tuple[str, Any]]]:
    """The questions that reach the driver."""
    said: list[tuple[str, Any]] = []

    def hear(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "WITH")):
            said.append((statement, parameters))

    assert books._engines is not None
    engine = books._engines.reading.sync_engine
    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(engine, "before_cursor_execute", hear)


def is_file(books: Database) -> bool:
    return isinstance(books.backend, Sqlite)


async def plan_of(books: Database, statement: str, parameters: Any) -> str:
    """How the database would answer."""
    explain = "EXPLAIN QUERY PLAN" if is_file(books) else "EXPLAIN"

    async def ask(db: Any) -> str:
        return "\n".join(str(row[-1]) for row in await db.exec_driver_sql(f"{explain} {statement}", parameters))

    return await books.read("explaining", ask)


def refuse_scan(plan: str, table: str) -> None:
    """The table is neither read from end to end nor sorted as a whole."""
    assert f"Seq Scan on {table}" not in plan, plan
    assert f"SCAN {table}\n" not in f"{plan}\n", plan
    assert "INDEX" in plan.upper() or "USING PRIMARY KEY" in plan, plan


async def rows_looked_at(books: Database, statement: str, parameters: Any) -> float:
    """How many rows the database looks at for an answer, found or left out."""
    if is_file(books):
        return steps_of(Path(str(books.backend)), statement, parameters) / STEPS_A_ROW

    async def ask(db: Any) -> Any:
        explained = await db.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        return explained.scalar_one()

    found = await books.read("explaining", ask)
    [whole] = json.loads(found) if isinstance(found, str) else found
    return _looked_at(whole["Plan"])


def _looked_at(node: dict[str, Any]) -> float:
    below = sum(map(_looked_at, node.get("Plans", ())))
    left_out = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float(below + (node["Actual Rows"] + left_out) * node["Actual Loops"])


def steps_of(path: Path, statement: str, parameters: Any) -> int:
    """The steps that SQLite's machine takes, to the next hundred."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 100
        return 0

    with closing(connect(path, read_only=True)) as db:
        db.set_progress_handler(step, 100)
        db.execute(statement, parameters).fetchall()
    return steps


Question = Callable[[Database], Awaitable[Any]]

QUESTIONS: dict[str, tuple[str, Question]] = {
    "trade by id": ("trades", lambda b: SqlTradeRepository(b).get_trade_by_id("tr7")),
    "recent trades": ("trades", lambda b: SqlTradeRepository(b).get_recent_trades()),
    "open trades": ("trades", lambda b: SqlTradeRepository(b).get_open_trades()),
    "open trades of a symbol": ("trades", lambda b: SqlTradeRepository(b).get_open_trades("SYM_20")),
    "trades of a session": ("trades", lambda b: SqlTradeRepository(b).get_trades_by_session("S7")),
    "trades of a pattern": ("trades", lambda b: SqlTradeRepository(b).get_trades_by_pattern("P7")),
    "trades of a symbol": ("trades", lambda b: SqlTradeRepository(b).get_trades_by_instrument("SYM_7")),
    "trades of a symbol in a time": (
        "trades",
        lambda b: SqlTradeRepository(b).get_trades_by_instrument("SYM_7", since_ns=SINCE, until_ns=UNTIL),
    ),
    "trades of a strategy": ("trades", lambda b: SqlTradeRepository(b).get_trades_by_strategy("trend")),
    "open trades of a strategy": ("trades", lambda b: SqlTradeRepository(b).get_open_trades(strategy="trend")),
    "trades of a time": ("trades", lambda b: SqlTradeRepository(b).get_trades_by_date_range(SINCE, UNTIL)),
    "statistics of a time": (
        "trades",
        lambda b: SqlTradeRepository(b).get_stats(since_ns=SINCE, until_ns=UNTIL),
    ),
    "recent orders": ("orders", lambda b: SqlOrderRepository(b).list_orders()),
    "open orders": ("orders", lambda b: SqlOrderRepository(b).get_open_orders()),
    "orders of a strategy": ("orders", lambda b: SqlOrderRepository(b).get_orders_by_strategy("floor")),
    "orders of an instrument": ("orders", lambda b: SqlOrderRepository(b).get_orders_by_instrument("SYM_7")),
    "orders of a time": ("orders", lambda b: SqlOrderRepository(b).get_orders_by_time_range(SINCE, UNTIL)),
    "order by the venue's id": ("orders", lambda b: SqlOrderRepository(b).get_order_by_venue_order_id("v77")),
    "recent signals": ("signals", lambda b: SqlSignalRepository(b).get_recent_signals()),
    "signals of a time": (
        "signals",
        lambda b: SqlSignalRepository(b).get_recent_signals(since_ns=SINCE, until_ns=UNTIL),
    ),
    "signals of a symbol": ("signals", lambda b: SqlSignalRepository(b).get_signals_by_symbol("SYM_7")),
    "signals of a symbol in a time": (
        "signals",
        lambda b: SqlSignalRepository(b).get_signals_by_symbol("SYM_7", since_ns=SINCE, until_ns=UNTIL),
    ),
    "signals of a status": ("signals", lambda b: SqlSignalRepository(b).get_signals_by_status("executed")),
    "recent fills": ("fills", lambda b: SqlFillRepository(b).list_fills()),
    "fills of a time": ("fills", lambda b: SqlFillRepository(b).get_fills_by_time_range(SINCE, UNTIL)),
    "symbols": ("fills", lambda b: SqlFillRepository(b).get_unique_symbols()),
    "symbols of venues": ("fills", lambda b: SqlFillRepository(b).get_unique_venue_symbol_pairs()),
    "symbols of a venue": ("fills", lambda b: SqlFillRepository(b).get_symbols_of_venue("manual")),
    "fills of an order": ("fills", lambda b: SqlFillRepository(b).get_fills_by_order("tk7")),
    "fills of a venue and symbol": (
        "fills",
        lambda b: SqlFillRepository(b).get_fills_by_venue_and_symbol("manual", "SYM_7"),
    ),
    "snapshots": ("performance_snapshots", lambda b: SqlPerformanceRepository(b).list_snapshots()),
    "parameters": ("parameter_history", lambda b: SqlParameterHistoryRepository(b).list_changes()),
    "the journal": ("journal", lambda b: SqlEventRepository(b).get_journal_since("x", 10)),
}


FEW: dict[str, Question] = {
    "open trades": lambda b: SqlTradeRepository(b).get_open_trades(),
    "open trades of a symbol": lambda b: SqlTradeRepository(b).get_open_trades("SYM_20"),
    "open trades of a strategy": lambda b: SqlTradeRepository(b).get_open_trades(strategy="trend"),
    "open trades of an execution": lambda b: SqlTradeRepository(b).get_open_trades(execution=EXECUTION),
    "open trades of an account": lambda b: SqlTradeRepository(b).get_open_trades(account=ACCOUNT),
    "open trades of no strategy that there is": lambda b: SqlTradeRepository(b).get_open_trades(strategy="nobody"),
    "trades of no strategy that there is": lambda b: SqlTradeRepository(b).get_trades_by_strategy("nobody"),
    "trades of no symbol that there is": lambda b: SqlTradeRepository(b).get_trades_by_instrument("NONE"),
    "trades of no session that there is": lambda b: SqlTradeRepository(b).get_trades_by_session("NONE"),
    "trades of no pattern that there is": lambda b: SqlTradeRepository(b).get_trades_by_pattern("NONE"),
    "trades of another time": lambda b: SqlTradeRepository(b).get_trades_by_date_range(0, 1),
    "orders of no strategy that there is": lambda b: SqlOrderRepository(b).get_orders_by_strategy("nobody"),
    "orders of no instrument that there is": lambda b: SqlOrderRepository(b).get_orders_by_instrument("NONE"),
    "orders of another time": lambda b: SqlOrderRepository(b).get_orders_by_time_range(0, 1),
    "signals of no symbol that there is": lambda b: SqlSignalRepository(b).get_signals_by_symbol("NONE"),
    "signals of a rare status": lambda b: SqlSignalRepository(b).get_signals_by_status("denied"),
    "signals of a status that none has": lambda b: SqlSignalRepository(b).get_signals_by_status("failed"),
    "signals of several statuses that none has": lambda b: SqlSignalRepository(b).get_signals_by_status(
        ("failed", "pending", "ordered")
    ),
    "signals of another time": lambda b: SqlSignalRepository(b).get_recent_signals(since_ns=0, until_ns=1),
    "fills of another time": lambda b: SqlFillRepository(b).get_fills_by_time_range(0, 1),
    "fills of no order that there is": lambda b: SqlFillRepository(b).get_fills_by_order("none"),
    "fills of no venue that there is": lambda b: SqlFillRepository(b).get_fills_by_venue_and_symbol("none", "SYM_7"),
    "fills of no symbol that there is": lambda b: SqlFillRepository(b).get_fills_by_venue_and_symbol("manual", "NONE"),
    "recent fills": lambda b: SqlFillRepository(b).list_fills(),
    "symbols": lambda b: SqlFillRepository(b).get_unique_symbols(),
    "symbols of venues": lambda b: SqlFillRepository(b).get_unique_venue_symbol_pairs(),
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_listed_question_uses_an_index(large: Database, name: str) -> None:
    table, question = QUESTIONS[name]
    with heard(large) as said:
        await question(large)
    statement, parameters = said[-1]
    refuse_scan(await plan_of(large, statement, parameters), table)


@pytest.mark.parametrize("name", FEW)
async def test_what_has_few_rows_is_found_without_looking_at_the_others(large: Database, name: str) -> None:
    with heard(large) as said:
        await FEW[name](large)
    plan = await plan_of(large, *said[-1])
    assert await rows_looked_at(large, *said[-1]) < ROWS_LOOKED_AT_MAX, plan


async def test_a_page_far_behind_costs_no_more_than_the_first(large: Database) -> None:
    trades = SqlTradeRepository(large)
    page = await trades.get_recent_trades(limit=10_000)
    with heard(large) as said:
        await trades.get_recent_trades(limit=10, cursor=page.next_cursor)
    plan = await plan_of(large, *said[-1])
    assert ("SEARCH trades USING INDEX" if is_file(large) else "Index Cond") in plan, plan
    assert "Seq Scan" not in plan, plan


TEXTS: dict[str, Callable[[Database, Any], Awaitable[Any]]] = {
    **dict.fromkeys(
        ("symbol", "strategy", "status", "trade_id"), lambda b, w: SqlTradeRepository(b).get_recent_trades(**w)
    ),
    **dict.fromkeys(("instrument", "venue"), lambda b, w: SqlFillRepository(b).list_fills(**w)),
    **dict.fromkeys(("execution_status", "signal_id"), lambda b, w: SqlSignalRepository(b).get_recent_signals(**w)),
    "name": lambda b, w: SqlParameterHistoryRepository(b).list_changes(**w),
}


@pytest.mark.parametrize("sort", TEXTS)
async def test_a_list_that_is_sorted_by_a_text_is_sorted_byte_by_byte(large: Database, sort: str) -> None:
    """PostgreSQL would go by the language of its database; the servers of tests have none, so that only the question shows it."""
    with heard(large) as said:
        page = await TEXTS[sort](large, {"sort": sort, "limit": 10})
        await TEXTS[sort](large, {"sort": sort, "limit": 10, "cursor": page.next_cursor})
    statement, _ = said[-1]
    _, _, behind = statement.partition("WHERE")
    compared, _, ordered = behind.partition("ORDER BY")
    for part in (compared, ordered):
        assert (f'{sort} COLLATE "C"' in part) is not is_file(large), statement
