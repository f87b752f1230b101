"""Who may write, and what: never beside a daemon, and in its unfinished execution only what describes."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from tests.conformance.repositories.conftest import ManualClock
from tests.conformance.repositories.factories import START_NS, Factory
from tests.unit.storage import samples
from tradekeel.domain import records as r
from tradekeel.domain.rows import Mode
from tradekeel.domain.trades import Trade
from tradekeel.errors import AlreadyExists, AlreadyRunning, DaemonsOwn, InputError, NotFound, StoreUnavailable
from tradekeel.statedir import StateDir
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
from tradekeel.storage.sqlite import Sqlite
from tradekeel.storage.store import Store
from tradekeel.storage.verify import verify

DESCRIPTIVE = {
    "session": "TOKYO",
    "timeframe": "H1",
    "pattern_type": "breakout",
    "model": "gbm",
    "confidence_score": Decimal("0.5"),
    "meta_strategy_id": "meta",
    "regime": "quiet",
    "rl_state_key": "s",
    "rl_action_key": "a",
    "tags": ["x"],
    "metadata": {"x": 1},
    "parameter_mode": "safe",
}
STEERING = {
    "quantity": Decimal(1),
    "stop_loss": Decimal(1),
    "take_profit": Decimal(1),
    "status": "CLOSING",
    "gross_pnl": Decimal(1),
    "exits_at_venue": True,
    "position_ref": "p",
    "strategy": None,
    "exit_at_ns": 1,
}


def closed() -> r.ExecutionClosed:
    return r.ExecutionClosed(ts_ns=samples.START_NS, reason="the feed has ended")


@pytest.fixture
def desk(backend: Backend) -> samples.Desk:
    """An unfinished execution of a daemon: one trade filled, one entry under way."""
    with Store.open(backend, now_ns=START_NS) as store:
        desk = samples.Desk()
        store.commit([desk.opening(), desk.decision(), desk.decision(), desk.filled(1)])
    return desk


@pytest.fixture
async def books(backend: Backend, desk: samples.Desk) -> AsyncIterator[Database]:
    """These books, opened by a script; verified in the end."""
    async with Database(backend, now_ns=ManualClock(), by="a script") as opened:
        yield opened
        verdict = verify(backend)
        assert verdict.ok, "\n".join(verdict.lines())


def finish(backend: Backend, desk: samples.Desk) -> None:
    with Store.open(backend, now_ns=START_NS) as store:
        store.commit([desk.group(closed())])


# --- a daemon's unfinished execution ---------------------------------------------------------------------------------


@pytest.mark.parametrize("field", DESCRIPTIVE)
async def test_what_describes_a_trade_of_a_daemon_may_change(books, desk, field):
    trades = SqlTradeRepository(books)
    before = await trades.get_trade_by_id("trexec-1-1")
    assert before is not None
    after = await trades.update_trade("trexec-1-1", {field: DESCRIPTIVE[field]}, expected_version=before.version)
    assert after == structs.replace(before, **{field: getattr(after, field)}, version=2, updated_ns=after.updated_ns)
    assert after == await trades.get_trade_by_id("trexec-1-1")


@pytest.mark.parametrize("field", STEERING)
async def test_what_steers_a_trade_of_a_daemon_is_the_daemons_to_change(books, desk, field):
    trades = SqlTradeRepository(books)
    before = await trades.get_trade_by_id("trexec-1-1")
    with pytest.raises(DaemonsOwn, match=field):
        await trades.update_trade("trexec-1-1", {field: STEERING[field], "model": "x"})
    assert await trades.get_trade_by_id("trexec-1-1") == before


async def test_nothing_else_of_a_daemons_unfinished_execution_can_be_written(books, desk):
    factory = Factory(samples.RUN, "paper-1")
    refused = (
        SqlTradeRepository(books).save_trade(factory.trade()),
        SqlTradeRepository(books).mark_trade_closed("trexec-1-1", Decimal(1), START_NS, "manual"),
        SqlOrderRepository(books).create_order(factory.order()),
        SqlOrderRepository(books).update_order("tkexec-1-2", {"price": "1"}),
        SqlOrderRepository(books).cancel_order("tkexec-1-2", "no"),
        SqlOrderRepository(books).record_fill(samples.fill(2)),
        SqlFillRepository(books).append_fill(samples.RUN, factory.fill()),
        SqlFillRepository(books).delete_all_fills(),
        SqlSignalRepository(books).save_signal(factory.signal()),
        SqlSignalRepository(books).update_signal_execution("sgexec-1-2", "failed"),
        SqlSignalRepository(books).update_signal("sgexec-1-2", {"stop_loss": "1"}),
        SqlStrategyRepository(books).create_strategy(factory.strategy("other")),
        SqlStrategyRepository(books).update_strategy(samples.RUN, "floor", {"kind": "x"}),
        SqlStrategyRepository(books).update_strategy_status(samples.RUN, "floor", "stopped"),
        SqlExecutionRepository(books).close_execution(samples.RUN, "no"),
    )
    for call in refused:
        with pytest.raises(DaemonsOwn, match=r"use its commands, or stop it"):
            await call
    assert await SqlFillRepository(books).count_fills() == 1


async def test_a_daemon_goes_on_with_what_was_described_meanwhile(books, desk, backend):
    await SqlTradeRepository(books).update_trade("trexec-1-1", {"session": "TOKYO", "tags": ["seen"]})
    await SqlSignalRepository(books).update_signal("sgexec-1-2", {"session": "TOKYO", "rl_state_key": "s"})
    with Store.open(backend, now_ns=START_NS) as store:
        for _, record in store.read_journal(samples.RUN, desk.book.sequence, 10):
            desk.book.apply(record)
        assert desk.book.trades["trexec-1-1"].session == "TOKYO"
        assert desk.book.signals["sgexec-1-2"].session == "TOKYO"
        assert not any(isinstance(result, Exception) for result in store.commit([desk.filled(2), desk.decision()]))
    found = await SqlTradeRepository(books).get_trade_by_id("trexec-1-1")
    assert found == desk.book.trades["trexec-1-1"]
    signal = await SqlSignalRepository(books).get_signal_by_id("sgexec-1-2")
    assert signal is not None
    assert signal.executed


# --- a finished one --------------------------------------------------------------------------------------------------


async def test_a_finished_execution_of_a_daemon_can_be_corrected_and_goes_on_as_corrected(books, desk, backend):
    finish(backend, desk)
    trades, fills = SqlTradeRepository(books), SqlFillRepository(books)
    after = await trades.update_trade("trexec-1-1", {"stop_loss": Decimal("1.3"), "strategy": None})
    await trades.mark_trade_closed("trexec-1-1", Decimal("1.5"), START_NS, "reconcile", rate=Decimal("0.01"))
    assert await fills.delete_fills("paper", "EUR_USD") == 1
    assert await fills.append_fill(samples.RUN, samples.fill(1, price=Decimal(2)))
    assert after.strategy is None
    with Store.open(backend, now_ns=START_NS) as store:
        journal = store.read_journal(samples.RUN, 0, 100)
    assert [type(record).__name__ for _, record in journal][-5:] == ["ExecutionClosed", *["Administered"] * 4]
    said = [(record.action, record.by) for _, record in journal[-4:] if isinstance(record, r.Administered)]
    assert [action for action, _ in said] == ["update_trade", "mark_trade_closed", "delete_fills", "append_fill"]
    assert {by for _, by in said} == {"a script"}


@pytest.mark.parametrize(
    "changes",
    [
        {"entered_quantity": Decimal(5_000)},
        {"entered_quantity": Decimal("1000.1"), "exited_quantity": Decimal("0.05")},
        {"side": "SHORT"},
        {"symbol": "GBP_USD"},
        {"position_ref": "another"},
    ],
    ids=str,
)
async def test_no_trade_of_a_finished_run_comes_to_hold_more_by_being_written_down(books, desk, backend, changes):
    """The next run takes over what is open, and would send orders to close what is not there."""
    finish(backend, desk)
    trades = SqlTradeRepository(books)
    before = await trades.get_trade_by_id("trexec-1-1")
    assert before is not None
    assert before.open_quantity == 1_000
    with pytest.raises(
        InputError, match=r"would hold .* and the next run of its account would close that at the venue"
    ):
        await trades.update_trade("trexec-1-1", changes)
    with pytest.raises(InputError, match="it holds 0"):
        await trades.save_trade(structs.replace(before, trade_id="another", entry_order_id="another"))
    assert await trades.count_trades() == 2
    await trades.update_trade("trexec-1-1", {"exited_quantity": Decimal(400)})
    with pytest.raises(InputError, match="it holds 600"):
        await trades.update_trade("trexec-1-1", {"exited_quantity": Decimal(399)})
    await trades.update_trade("trexec-1-2", {"status": "FAILED"})


# --- beside a daemon -------------------------------------------------------------------------------------------------


@contextmanager
def held(backend: Backend, account: str) -> Iterator[str]:
    """A daemon holds the books, or the account; how it is called."""
    if isinstance(backend, Sqlite):
        state = StateDir(backend.path.parent)
        state.lock()
        try:
            yield f"process {os.getpid()}"
        finally:
            state.release()
        return
    from tradekeel.storage.postgres.lease import Holder, Writer, acquire, release

    holder = Holder(host="host-7", installation="1", place="1", run="1")
    writer = Writer(daemon="keel-1", holder=holder, accounts=(account,), lease_ns=60 * 1_000_000_000)
    with Store.open(backend, now_ns=START_NS) as store:
        db = store._db
        db.execute("BEGIN")
        lease = acquire(db, writer, waiting=False)
        db.execute("COMMIT")
        try:
            yield "daemon keel-1 on host-7"
        finally:
            release(db, writer, lease)


async def test_nothing_is_written_while_a_daemon_holds_the_lease_and_the_refusal_names_it(database, manual, backend):
    if backend.name == "memory":
        return  # nobody else can reach them
    trades = SqlTradeRepository(database)
    trade = await trades.save_trade(manual.trade())
    with held(backend, manual.account) as name:
        for call in (
            trades.save_trade(manual.trade()),
            trades.update_trade(trade.trade_id, {"model": "x"}),
            SqlFillRepository(database).append_fill(manual.execution, manual.fill()),
            SqlExecutionRepository(database).create_execution(manual.account),
        ):
            with pytest.raises(AlreadyRunning, match=name):
                await call
        assert list(await trades.get_recent_trades()) == [trade], "reading is free"
    await trades.update_trade(trade.trade_id, {"model": "y"})


async def test_a_script_never_keeps_a_daemon_from_starting(database, manual, backend):
    await SqlTradeRepository(database).save_trade(manual.trade())
    if backend.name != "memory":
        with held(backend, manual.account):
            pass


async def test_a_lock_file_that_nobody_holds_is_no_daemon(database, manual, backend):
    if backend.name != "sqlite":
        return  # a server has its leases
    (backend.path.parent / "lock").write_text("4711\n")
    await SqlTradeRepository(database).save_trade(manual.trade())


async def test_whoever_takes_the_lock_waits_for_a_script_that_is_writing(tmp_path: Path) -> None:
    """The store's opening comes behind every write that looked at the lock before it was taken."""
    path = tmp_path / "books.db"
    Store.open(path, now_ns=START_NS).close()
    backend = Sqlite(path)
    writing = backend.connect()
    writing.execute("BEGIN IMMEDIATE")
    writing.execute("SELECT 1")
    lock = os.open(path.parent / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    with pytest.raises(StoreUnavailable, match="in use"):
        Store.open(path, now_ns=START_NS)
    writing.rollback()
    writing.close()
    Store.open(path, now_ns=START_NS).close()
    os.close(lock)


# --- executions of a script's own ------------------------------------------------------------------------------------


async def test_a_script_keeps_executions_of_its_own_beside_each_other(database, backend):
    executions = SqlExecutionRepository(database)
    one = await executions.create_execution("mine", opening_balance=Decimal("100.50"), currency="EUR", venue="book")
    two = await executions.create_execution("mine", execution="second")
    assert (one.number, one.mode, one.status, two.number, two.execution) == (1, Mode.MANUAL, "running", 2, "second")
    assert await executions.get_execution(one.execution) == one
    assert await executions.get_latest_execution("mine") == two
    assert await executions.get_latest_execution("nobody") is None
    with pytest.raises(AlreadyExists):
        await executions.create_execution("mine", execution="second")
    ended = await executions.close_execution("second", "done")
    assert (ended.status, ended.close_reason) == ("closed", "done")
    with pytest.raises(InputError, match="done"):
        await executions.close_execution("second", "again")
    with pytest.raises(NotFound):
        await executions.close_execution("third", "nothing")
    assert list(await executions.list_executions(status="closed")) == [ended]
    assert await executions.count_executions(account="mine", mode="manual") == 2
    with pytest.raises(InputError):
        await executions.list_executions(status="lost")
    for words in ({"execution": ""}, {"opening_balance": Decimal("NaN")}, {"opening_balance": 1.5}):
        with pytest.raises(InputError):
            await executions.create_execution("mine", **words)
    with pytest.raises(InputError):
        await executions.create_execution("")


async def test_an_account_that_a_daemon_trades_on_takes_no_execution_of_a_script(books, desk):
    with pytest.raises(InputError, match="a daemon trades on account paper-1"):
        await SqlExecutionRepository(books).create_execution("paper-1")


async def test_a_write_that_changes_nothing_leaves_no_record(database, manual, backend):
    with Store.open(backend, now_ns=START_NS) as store:
        before = store.last_sequence(manual.execution)
    assert await SqlTradeRepository(database).save_trades([]) == 0
    assert await SqlFillRepository(database).delete_all_fills() == 0
    with Store.open(backend, now_ns=START_NS) as store:
        assert store.last_sequence(manual.execution) == before


async def test_a_large_write_leaves_several_records_in_one_transaction(database, manual, backend):
    made: list[Trade] = [manual.trade() for _ in range(1_234)]
    await SqlTradeRepository(database).save_trades(made)
    with Store.open(backend, now_ns=START_NS) as store:
        records = [record for _, record in store.read_journal(manual.execution, 3, 100)]
    assert [len(record.trades) for record in records if isinstance(record, r.Administered)] == [500, 500, 234]


async def test_books_that_are_not_open_say_so(backend):
    database = Database(backend, now_ns=ManualClock())
    with pytest.raises(StoreUnavailable, match="not open"):
        await SqlTradeRepository(database).get_trade_by_id("x")


async def test_books_are_made_where_there_are_none(tmp_path):
    async with Database(tmp_path / "new.db", now_ns=ManualClock()) as made:
        assert await SqlTradeRepository(made).count_trades() == 0
    async with Database(tmp_path / "new.db", now_ns=ManualClock()) as again:
        assert await SqlTradeRepository(again).count_trades() == 0
