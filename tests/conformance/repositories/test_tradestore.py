"""The small face: a few words make a trade, its life is kept, and there is one store in a process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

import tradekeel.storage.tradestore as module
from tests.conformance.repositories.conftest import ManualClock
from tests.conformance.repositories.factories import START_NS, Factory
from tradekeel.config.model import RESERVED
from tradekeel.domain.records import Mode
from tradekeel.domain.trades import CloseReason, TradeSide, TradeStatus
from tradekeel.errors import AlreadyExists, InputError, NotFound, VersionConflict
from tradekeel.ports.tradestore import TradeStore
from tradekeel.storage import get_trade_store, reset_trade_store
from tradekeel.storage.repositories import Database, SqlExecutionRepository, SqlStrategyRepository
from tradekeel.storage.tradestore import SCRIPTS, SqlTradeStore
from tradekeel.storage.verify import verify


@pytest.fixture
async def store(backend) -> AsyncIterator[TradeStore]:
    async with SqlTradeStore(backend, ManualClock()) as opened:
        yield opened
    verdict = verify(backend)
    assert verdict.ok, "\n".join(verdict.lines())


async def test_it_is_a_trade_store_and_says_where(store, backend):
    assert isinstance(store, TradeStore)
    assert store.backend_name == backend.name


async def test_the_life_of_a_trade_in_a_few_words(store):
    trade = await store.save_new_trade(
        symbol="EUR_USD",
        side="long",
        quantity="1000",
        entry_price="1.0850",
        strategy="mine",
        stop_loss="1.08",
        tags=["x"],
    )
    assert (trade.status, trade.side, trade.entry_price) == (TradeStatus.OPEN, TradeSide.LONG, Decimal("1.0850"))
    assert (trade.account, trade.strategy, trade.initial_stop_loss) == (SCRIPTS, "mine", Decimal("1.08"))
    assert await store.get_trade(trade.trade_id) == trade
    assert list(await store.get_open_trades(symbol="EUR_USD")) == [trade]
    assert list(await store.get_open_trades(symbol="USD_JPY")) == []
    moved = await store.update_trade(trade.trade_id, stop_loss="1.0855", expected_version=0)
    assert (moved.stop_loss, moved.version) == (Decimal("1.0855"), 1)
    with pytest.raises(VersionConflict):
        await store.update_trade(trade.trade_id, {"model": "x"}, expected_version=0)
    closed = await store.mark_trade_closed(trade.trade_id, "1.0900", "take_profit", fee="0.5", exit_time_ns=START_NS)
    assert (closed.status, closed.exit_reason, closed.pnl) == (
        TradeStatus.CLOSED,
        CloseReason.TAKE_PROFIT,
        Decimal("4.5"),
    )
    assert not len(await store.get_open_trades())
    stats = await store.get_stats()
    assert (stats.count, stats.pnl, stats.win_rate) == (1, Decimal("4.5"), Decimal(1))
    assert set(stats.by_strategy) == {"mine"}


async def test_without_a_price_a_trade_is_pending_and_every_one_has_an_id_of_its_own(store):
    made = [await store.save_new_trade(symbol="EUR_USD", side="SHORT", quantity=5) for _ in range(3)]
    assert {trade.status for trade in made} == {TradeStatus.PENDING}
    assert len({trade.trade_id for trade in made}) == 3
    assert list(await store.get_open_trades(limit=2)) == made[:0:-1]


async def test_all_trades_are_in_one_execution_of_the_scripts_own(store, backend):
    one = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1, entry_price=1, strategy="a")
    two = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1, entry_price=1, strategy="a")
    assert one.execution == two.execution
    async with Database(backend, now_ns=ManualClock()) as books:
        [row] = await SqlExecutionRepository(books).list_executions()
        assert (row.account, row.mode, row.status) == (SCRIPTS, Mode.MANUAL, "running")
        assert await SqlStrategyRepository(books).count_strategies() == 1
        await SqlExecutionRepository(books).close_execution(row.execution, "enough")
    three = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1, entry_price=1)
    assert three.execution != one.execution


async def test_a_whole_trade_may_be_given(store):
    trade = Factory("another execution", "another account").trade("floor")
    saved = await store.save_new_trade(trade)
    assert (saved.trade_id, saved.account, saved.metadata) == (trade.trade_id, SCRIPTS, trade.metadata)
    with pytest.raises(AlreadyExists):
        await store.save_new_trade(trade)


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"symbol": "EUR_USD"},
        {"quantity": 1.5},
        {"entry_price": 1.5},
        {"entry_price": "a lot"},
        {"entry_price": "NaN"},
        {"side": "UP"},
        {"quantity": "0"},
        {"nonsense": 1},
        {"stop_loss": 1.5},
        {"entry_price": "1" * 40, "quantity": "1" * 40},
    ],
    ids=str,
)
async def test_what_is_no_trade_is_refused(store, words):
    known = (
        {"symbol": "EUR_USD", "side": "LONG", "quantity": "1", "entry_price": "1.5"} if "symbol" not in words else {}
    )
    with pytest.raises(InputError):
        await store.save_new_trade(**(known | words if words else {}))
    assert not len(await store.get_open_trades())


async def test_what_cannot_be_done_is_refused(store):
    with pytest.raises(NotFound):
        await store.update_trade("nobody", model="x")
    with pytest.raises(NotFound):
        await store.mark_trade_closed("nobody", "1")
    trade = await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1, entry_price=1)
    for price in (1.5, "a lot", "NaN", None, True):
        with pytest.raises(InputError):
            await store.mark_trade_closed(trade.trade_id, price)
    assert await store.get_trade(trade.trade_id) == trade


async def test_it_opens_again_after_it_was_closed(store, backend):
    await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1)
    await store.close()
    await store.close()
    assert len(await store.get_open_trades()) == 1


# --- one for a process -----------------------------------------------------------------------------------------------


@pytest.fixture
async def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A folder of its own, and no store before and after."""
    monkeypatch.chdir(tmp_path)
    await reset_trade_store()
    yield
    await reset_trade_store()


@pytest.mark.usefixtures("_fresh")
async def test_there_is_one_in_a_process_until_it_is_reset(tmp_path: Path) -> None:
    store = get_trade_store()
    assert get_trade_store() is store
    assert get_trade_store(module.DEFAULT_FILE) is store
    await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1)
    assert (tmp_path / "tradekeel-trades.db").exists()
    with pytest.raises(InputError, match="reset_trade_store"):
        get_trade_store("memory://")
    await reset_trade_store()
    other = get_trade_store("memory://")
    assert other is not store
    assert other.backend_name == "memory"
    assert not len(await other.get_open_trades())


@pytest.mark.usefixtures("_fresh")
async def test_a_url_says_where(tmp_path: Path) -> None:
    for url, name, place in (
        ("sqlite:///relative.db", "sqlite", "relative.db"),
        (f"sqlite:///{tmp_path}/absolute.db", "sqlite", f"{tmp_path}/absolute.db"),
        ("plain.db", "sqlite", "plain.db"),
        ("postgresql://anna:secret@example.org/books", "postgresql", "postgresql://anna@example.org/books"),
    ):
        store = get_trade_store(url)
        assert isinstance(store, SqlTradeStore)
        assert (store.backend_name, str(store.backend)) == (name, place)
        await reset_trade_store()


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("url", ["mysql://x", "sqlite://", "sqlite:///", "postgresql://x", "redis://localhost"])
async def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="allowed"):
        get_trade_store(url)


def test_no_daemon_may_have_an_account_of_this_name():
    assert SCRIPTS in RESERVED


def test_the_script_of_the_documentation_runs_and_ends_even_where_it_forgets_to_close(tmp_path: Path) -> None:
    lines = (module.__doc__ or "").partition("\n\n")[2].partition("\n\nWhat is written")[0].splitlines()
    script = "\n".join(line.removeprefix("    ") for line in lines)
    assert "asyncio.run(main())" in script
    forgetful = script.replace("async with get_trade_store() as store:", "if store := get_trade_store():")
    for number, text in enumerate((script, forgetful), start=1):
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert Decimal(done.stdout) == number * 5


def test_importing_the_face_imports_nothing_heavy():
    code = (
        "import sys; from tradekeel.storage import get_trade_store; "
        "print([m for m in ('sqlalchemy', 'psycopg', 'redis', 'aiosqlite', 'alembic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
