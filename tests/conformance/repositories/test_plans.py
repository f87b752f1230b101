"""On PostgreSQL the listed questions are answered through indexes, and sorted by them: shown by EXPLAIN on 30,000 rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from tests.conformance.repositories.conftest import ManualClock
from tests.conformance.repositories.factories import SECOND, START_NS, Factory
from tests.conformance.repositories.test_figures import change, snapshot
from tests.servers.postgres import connected
from tests.servers.prepared import Prepared
from tradekeel.domain.orders import OrderStatus
from tradekeel.domain.trades import TradeStatus
from tradekeel.storage.postgres import Postgres
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

pytestmark = pytest.mark.postgres

ROWS = 30_000
SINCE, UNTIL = START_NS + 1_000 * SECOND, START_NS + 1_100 * SECOND


def copies(url: str, table: str, **columns: str) -> None:
    """Many rows like the one that there is, with other values in some columns; ``n`` numbers them."""
    with connected(url) as db:
        names = [
            name
            for (name,) in db.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'trading' AND table_name = %s "
                "AND is_generated = 'NEVER'",
                (table,),
            )
            if name != "id"
        ]
        listed = ", ".join(columns.get(name, f't."{name}"') for name in names)
        into = ", ".join(f'"{name}"' for name in names)
        db.execute(
            f"INSERT INTO trading.{table} ({into}) SELECT {listed} FROM (SELECT * FROM trading.{table} LIMIT 1) t, "
            f"generate_series(1, {ROWS}) n".encode()
        )


@pytest.fixture(scope="module")
async def large(postgres_books: Prepared) -> AsyncIterator[Database]:
    """Books with many rows of everything, among those of few words."""
    with postgres_books.lent() as url:
        async with Database(Postgres(url), now_ns=ManualClock()) as books:
            row = await SqlExecutionRepository(books).create_execution("scripts")
            make = Factory(row.execution, "scripts")
            await SqlStrategyRepository(books).create_strategy(make.strategy("floor"))
            await SqlTradeRepository(books).save_trade(make.trade(status=TradeStatus.CLOSED))
            await SqlOrderRepository(books).create_order(make.order(status=OrderStatus.FILLED))
            await SqlSignalRepository(books).save_signal(make.signal())
            await SqlFillRepository(books).append_fill(row.execution, make.fill("tk-1"))
            await SqlPerformanceRepository(books).save_snapshot(snapshot(row.execution, 1))
            await SqlParameterHistoryRepository(books).record_change(change(row.execution, 1))
            at = f"{START_NS} + n::bigint * {SECOND}"
            symbol = "'SYM_' || n % 40"
            copies(
                url,
                "trades",
                trade_id="'tr' || n",
                symbol=symbol,
                session="CASE n % 4 WHEN 0 THEN NULL ELSE 'S' || n % 40 END",
                pattern_type="CASE n % 4 WHEN 0 THEN NULL ELSE 'P' || n % 40 END",
                status="CASE n % 500 WHEN 0 THEN 'OPEN' ELSE 'CLOSED' END",
                created_ns=at,
                entry_time_ns=f"{at} + 7",
            )
            copies(
                url,
                "orders",
                client_order_id="'tk' || n",
                venue_order_id="'v' || n",
                instrument=symbol,
                strategy="CASE n % 9 WHEN 0 THEN 'floor' END",
                status="CASE n % 500 WHEN 0 THEN 'accepted' ELSE 'filled' END",
                created_ns=at,
            )
            copies(url, "signals", signal_id="'sg' || n", symbol=symbol, generated_at_ns=at)
            copies(url, "fills", fill_id="'f' || n", instrument=symbol, client_order_id="'tk' || n", ts_ns=at)
            copies(url, "performance_snapshots", ts_ns=at)
            copies(url, "parameter_history", ts_ns=at)
            copies(url, "journal", sequence="n + 100")
            with connected(url) as db:
                db.execute("ANALYZE")
            yield books


@contextmanager
def heard(books: Database) -> Iterator[list[tuple[str, Any]]]:
    """The questions that reach the driver."""
    said: list[tuple[str, Any]] = []

    def hear(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith("SELECT"):
            said.append((statement, parameters))

    assert books._engines is not None
    engine = books._engines.reading.sync_engine
    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(engine, "before_cursor_execute", hear)


async def plan_of(books: Database, statement: str, parameters: Any) -> str:
    """How the server would answer."""

    async def ask(db: Any) -> str:
        return "\n".join(line for (line,) in await db.exec_driver_sql(f"EXPLAIN {statement}", parameters))

    return await books.read("explaining", ask)


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
    "fills of an order": ("fills", lambda b: SqlFillRepository(b).get_fills_by_order("tk7")),
    "fills of a venue and symbol": (
        "fills",
        lambda b: SqlFillRepository(b).get_fills_by_venue_and_symbol("manual", "SYM_7"),
    ),
    "snapshots": ("performance_snapshots", lambda b: SqlPerformanceRepository(b).list_snapshots()),
    "parameters": ("parameter_history", lambda b: SqlParameterHistoryRepository(b).list_changes()),
    "the journal": ("journal", lambda b: SqlEventRepository(b).get_journal_since("x", 10)),
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_listed_question_uses_an_index(large: Database, name: str) -> None:
    table, question = QUESTIONS[name]
    with heard(large) as said:
        await question(large)
    statement, parameters = said[-1]
    plan = await plan_of(large, statement, parameters)
    assert f"Seq Scan on {table}" not in plan, plan
    assert "Index" in plan, plan


async def test_a_page_far_behind_costs_no_more_than_the_first(large: Database) -> None:
    trades = SqlTradeRepository(large)
    page = await trades.get_recent_trades(limit=10_000)
    with heard(large) as said:
        await trades.get_recent_trades(limit=10, cursor=page.next_cursor)
    plan = await plan_of(large, *said[-1])
    assert "Index Cond" in plan, plan
    assert "Seq Scan" not in plan, plan
