"""Whatever scripts write, tables and journal agree; the book of the journal is in step; and what nobody wrote is still found."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.repositories.conftest import ManualClock
from tests.conformance.repositories.factories import LAST_NS, START_NS, Factory
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.messages import Signal, SignalStatus
from tradekeel.domain.orders import Order, OrderStatus
from tradekeel.domain.rows import PerformanceSnapshot, StrategyStatus
from tradekeel.domain.trades import Trade, TradeStatus
from tradekeel.errors import IllegalTransition, InputError
from tradekeel.storage.backend import Backend
from tradekeel.storage.repositories import (
    Database,
    SqlExecutionRepository,
    SqlFillRepository,
    SqlOrderRepository,
    SqlSignalRepository,
    SqlStrategyRepository,
    SqlTradeRepository,
)
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify

SYMBOLS = ("EUR_USD", "USD_JPY")
_accounts = itertools.count(1)


class Scripts:
    """Somebody who calls this and that, with whatever is there by then."""

    def __init__(self, database: Database, factory: Factory) -> None:
        self.database, self.make = database, factory
        self.trades, self.orders = SqlTradeRepository(database), SqlOrderRepository(database)
        self.fills, self.signals = SqlFillRepository(database), SqlSignalRepository(database)
        self.strategies = SqlStrategyRepository(database)
        self.known: dict[str, list[Any]] = {kind: [] for kind in ("trade", "order", "fill", "signal", "strategy")}
        self.random = random.Random(0)

    async def call(self, name: str, number: int) -> None:
        """One call; what it refuses is refused."""
        self.random = random.Random(number)
        try:
            await getattr(self, name)()
        except (InputError, IllegalTransition):
            pass

    def _some(self, kind: str) -> Any:
        if not self.known[kind]:
            raise InputError("nothing there yet")
        return self.random.choice(self.known[kind])

    def _new(self, kind: str, **changes: Any) -> Any:
        row = getattr(self.make, kind)(**changes)
        self.known[kind].append(row)
        return row

    def _strategy(self) -> str | None:
        return self.random.choice(("floor", "extra", None))

    async def save_trade(self) -> None:
        status = self.random.choice(list(TradeStatus))
        await self.trades.save_trade(self._new("trade", strategy=self._strategy(), status=status))

    async def save_trades(self) -> None:
        await self.trades.save_trades([self._new("trade") for _ in range(self.random.randint(0, 3))])

    async def save_trade_again(self) -> None:
        await self.trades.save_trade(self._some("trade"))

    async def update_trade(self) -> None:
        changes = self.random.choice(
            (
                {"model": "x", "tags": ["y"]},
                {"quantity": "17"},
                {"position_ref": self.random.choice(("a", "b", None))},
                {"strategy": "extra"},
                {"status": self.random.choice(list(TradeStatus)), "exit_time_ns": LAST_NS, "exit_reason": "time"},
            )
        )
        await self.trades.update_trade(self._some("trade").trade_id, changes)

    async def close_trade(self) -> None:
        await self.trades.mark_trade_closed(self._some("trade").trade_id, Decimal(1), LAST_NS, "manual", pnl=Decimal(1))

    async def save_signal(self) -> None:
        await self.signals.save_signal(self._new("signal", strategy=self._strategy() or "floor"))

    async def execute_signal(self) -> None:
        status = self.random.choice(list(SignalStatus))
        await self.signals.update_signal_execution(self._some("signal").signal_id, status)

    async def update_signal(self) -> None:
        await self.signals.update_signal(self._some("signal").signal_id, {"session": "TOKYO"})

    async def create_order(self) -> None:
        trade = self.random.choice(self.known["trade"]).trade_id if self.known["trade"] else None
        parent = self.random.choice(self.known["order"]).client_order_id if self.known["order"] else None
        changes = self.random.choice(({}, {"trade_id": trade, "purpose": "exit"}, {"parent_id": parent}))
        await self.orders.create_order(self._new("order", status=self.random.choice(list(OrderStatus)), **changes))

    async def update_order(self) -> None:
        changes = self.random.choice(({"quantity": "7"}, {"instrument": "X_Y"}, {"trade_id": None}))
        ids = {self._some("order").client_order_id for _ in range(2)}
        await self.orders.update_orders(dict.fromkeys(ids, changes))

    async def order_status(self) -> None:
        await self.orders.update_order_status(
            self._some("order").client_order_id, self.random.choice(list(OrderStatus))
        )

    async def cancel_order(self) -> None:
        await self.orders.cancel_order(self._some("order").client_order_id, "why not")

    async def record_fill(self) -> None:
        fill = self.make.fill_of(self._some("order"))
        self.known["fill"].append(fill)
        await self.orders.record_fill(fill)

    async def append_fills(self) -> None:
        new = [self._new("fill", instrument=self.random.choice(SYMBOLS)) for _ in range(self.random.randint(1, 3))]
        await self.fills.append_fills(self.make.execution, [*new, self._some("fill")])

    async def delete_fills(self) -> None:
        await self.fills.delete_fills("oanda", self.random.choice(SYMBOLS), execution=self.make.execution)

    async def delete_all_fills(self) -> None:
        await self.fills.delete_all_fills(execution=self.make.execution)

    async def create_strategy(self) -> None:
        await self.strategies.create_strategy(self._new("strategy", name="extra"))

    async def update_strategy(self) -> None:
        await self.strategies.update_strategy_status(
            self.make.execution, self._strategy() or "", self.random.choice(list(StrategyStatus)), "so"
        )

    async def delete_strategy(self) -> None:
        await self.strategies.delete_strategy(self.make.execution, "extra")

    async def remove_orders(self) -> None:
        await self._remove(r.Removed("orders", {"instrument": self.random.choice((*SYMBOLS, "X_Y"))}))

    async def remove_trades(self) -> None:
        await self._remove(r.Removed("trades", {"status": self.random.choice(list(TradeStatus)).value}))

    async def remove_signals(self) -> None:
        where = {"symbol": self.random.choice(SYMBOLS), "generated_at_ns": str(START_NS)}
        await self._remove(r.Removed("signals", self.random.choice((where, {"execution_status": "pending"}, {}))))

    async def take_snapshots(self) -> None:
        async def work(change: Any) -> None:
            rows = [snapshot(self.make.execution, self.random.randint(0, 2)) for _ in range(self.random.randint(1, 3))]
            await change.add(self.make.execution, rows, steers=None)

        await self.database.write("take_snapshots", work)

    async def remove_snapshots(self) -> None:
        where = {"session": self.random.choice(("S0", "S1"))}
        await self._remove(r.Removed("performance_snapshots", self.random.choice((where, {"total_trades": "2"}, {}))))

    async def _remove(self, removed: r.Removed) -> None:
        kinds = {"orders": Order, "trades": Trade, "signals": Signal, "performance_snapshots": PerformanceSnapshot}

        async def work(change: Any) -> None:
            await change.remove(self.make.execution, kinds[removed.table], removed.where, steers="it")

        await self.database.write("remove", work)


def snapshot(execution: str, number: int) -> PerformanceSnapshot:
    """One of three: the same ones come again and again."""
    return PerformanceSnapshot(
        execution=execution,
        ts_ns=START_NS,
        total_trades=number,
        winning_trades=0,
        losing_trades=0,
        win_rate=None,
        pnl=Decimal(number),
        balance=Decimal(0),
        equity=Decimal(0),
        sharpe=None,
        max_drawdown=Decimal(0),
        average_risk_reward=None,
        session=f"S{number % 2}",
        parameter_mode=None,
    )


CALLS = sorted(name for name in vars(Scripts) if not name.startswith("_") and name != "call")
GROUPS = (
    ("save_trade", "save_trades", "update_trade", "close_trade", "remove_trades", "create_strategy"),
    ("save_trade", "create_order", "update_order", "order_status", "cancel_order", "record_fill", "remove_orders"),
    ("create_order", "record_fill", "append_fills", "delete_fills", "delete_all_fills"),
    ("save_signal", "execute_signal", "update_signal", "remove_signals"),
    ("take_snapshots", "remove_snapshots"),
)
"""Calls that have to do with each other. Of few kinds of calls more meet in one plan than of all of them."""


def plans() -> st.SearchStrategy[list[tuple[str, int]]]:
    """What somebody calls, one after the other."""
    kinds = st.one_of(*(st.just(group) for group in GROUPS), st.just(tuple(CALLS)))
    return kinds.flatmap(
        lambda names: st.lists(st.tuples(st.sampled_from(names), st.integers(0, 99)), min_size=8, max_size=40)
    )


@pytest.fixture
async def opened(backend: Backend) -> AsyncIterator[Database]:
    """Open books, for all examples of a test."""
    async with Database(backend, now_ns=ManualClock(), by="test") as database:
        yield database


async def run(database: Database, plan: list[tuple[str, int]]) -> Scripts:
    """Somebody makes these calls, in an execution of his own."""
    account = f"account-{next(_accounts)}"
    row = await SqlExecutionRepository(database).create_execution(account)
    scripts = Scripts(database, Factory(row.execution, account))
    await scripts.strategies.create_strategy(scripts.make.strategy("floor"))
    for name, number in plan:
        await scripts.call(name, number)
    return scripts


@pytest.mark.untraced
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25)
@given(plan=plans(), page_rows=st.sampled_from((1, 3, 2_000)))
async def test_after_any_sequence_of_calls_tables_journal_and_book_agree(opened, plan, page_rows):
    scripts = await run(opened, plan)
    verdict = verify(opened.backend, page_rows=page_rows)
    assert verdict.ok, "\n".join(verdict.lines())
    book = Book()
    with Store.open(opened.backend, now_ns=START_NS) as store:
        for sequence, record in store.read_journal(scripts.make.execution, 0, 10_000):
            book.apply(record, sequence)
    ours: Any = {"execution": scripts.make.execution, "limit": 10_000}
    assert sorted(book.orders) == sorted(o.client_order_id for o in await scripts.orders.get_open_orders(**ours))
    assert list(book.orders.values()) == [await scripts.orders.get_order(key) for key in book.orders]
    open_trades = {trade.trade_id: trade for trade in await scripts.trades.get_open_trades(**ours)}
    assert book.trades == open_trades
    waiting = await scripts.signals.get_recent_signals(status=("pending", "ordered"), **ours)
    assert book.signals == {signal.signal_id: signal for signal in waiting}
    assert {key: line.row for key, line in book.strategies.items()} == {
        row.strategy: row for row in await scripts.strategies.list_strategies(**ours)
    }
    exits = {key: {o.client_order_id for o in book.live_exits(key)} for key in open_trades}
    assert exits == {
        key: {o.client_order_id for o in book.orders.values() if o.trade_id == key and o.purpose == "exit"}
        for key in open_trades
    }
    assert {key: sorted(t.trade_id for t in book.trades_at(key)) for key in ("a", "b")} == {
        key: sorted(t.trade_id for t in open_trades.values() if t.position_ref == key) for key in ("a", "b")
    }


DAMAGE = (
    "UPDATE trades SET model = 'forged' WHERE trade_id = (SELECT min(trade_id) FROM trades WHERE execution = ?)",
    "DELETE FROM fills WHERE id = (SELECT max(id) FROM fills WHERE execution = ?)",
    "UPDATE orders SET source = 'forged' WHERE client_order_id = (SELECT max(client_order_id) FROM orders WHERE execution = ?)",
    "UPDATE signals SET symbol = 'forged' WHERE signal_id = (SELECT max(signal_id) FROM signals WHERE execution = ?)",
    "DELETE FROM performance_snapshots WHERE id = (SELECT max(id) FROM performance_snapshots WHERE execution = ?)",
    "UPDATE performance_snapshots SET session = 'x' WHERE id = (SELECT min(id) FROM performance_snapshots WHERE execution = ?)",
    "UPDATE strategies SET kind = 'forged' WHERE execution = ?",
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25)
@given(plan=plans(), damage=st.sampled_from(DAMAGE))
async def test_after_any_sequence_of_calls_a_forged_row_is_still_found(opened, plan, damage):
    scripts = await run(opened, plan)
    with closing(opened.backend.connect()) as db:
        touched = db.execute(damage, (scripts.make.execution,)).rowcount
    table = damage.split()[2 if damage.startswith("DELETE") else 1]
    found = {difference.table for difference in verify(opened.backend).differences}
    assert found >= ({table} if touched else set())
    if touched:
        await undo(opened, scripts.make.execution)


async def undo(database: Database, execution: str) -> None:
    """Take the whole execution away, so that the next example finds sound books."""
    names = ("orders", "trades", "signals", "fills", "performance_snapshots", "strategies", "journal", "executions")
    with closing(database.backend.connect()) as db:
        if database.backend.name == "postgresql":
            db.execute("SET session_replication_role = replica")  # no trigger stands in the way
        else:
            db.execute("DROP TRIGGER IF EXISTS journal_refuses_delete")
            db.execute("PRAGMA foreign_keys = OFF")
        for name in names:
            db.execute(f"DELETE FROM {name} WHERE execution = ?", (execution,))


async def test_a_row_that_was_removed_and_is_there_again_without_a_word_is_found(opened):
    for again in ("same", "other"):
        scripts = await run(opened, [])
        make = scripts.make
        trade = await scripts.trades.save_trade(make.trade(status=TradeStatus.OPEN))
        await scripts.trades.update_trade(trade.trade_id, {"model": "second version"})
        with closing(opened.backend.connect()) as db:
            columns = mapping_of(Trade).columns  # and not those that a server computes
            listed = ", ".join(f'"{name}"' for name in columns)
            row = db.execute(f"SELECT {listed} FROM trades WHERE trade_id = ?", (trade.trade_id,)).fetchone()
            await scripts._remove(r.Removed("trades", {"status": "OPEN"}))
            assert verify(opened.backend).ok
            db.execute(f"INSERT INTO trades ({listed}) VALUES ({', '.join('?' * len(row))})", row)
            if again == "other":
                db.execute(
                    "UPDATE trades SET status = 'CLOSING', model = 'forged' WHERE trade_id = ?", (trade.trade_id,)
                )
        [difference] = verify(opened.backend).differences
        assert str(difference) == f"trades {trade.trade_id}: follows from no journal record"
        await undo(opened, make.execution)
