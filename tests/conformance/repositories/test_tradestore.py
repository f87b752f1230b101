"""The small face: a few words make a trade, its life is kept, and there is one store in a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import structs

from tests.conformance.backends import Adapter
from tests.conformance.cases import in_the_same_books
from tests.conformance.repositories.conftest import BACKENDS, ManualClock, fresh_books
from tests.conformance.repositories.factories import EXTREME_AMOUNTS, LATER_NS, SECOND, START_NS, Factory
from tests.conformance.repositories.test_trades import dumb, figures
from tradekeel.domain.rows import Mode
from tradekeel.domain.trades import CloseReason, Trade, TradeSide, TradeStatus
from tradekeel.errors import AlreadyExists, IllegalTransition, InputError, NotFound, VersionConflict
from tradekeel.ports.tradestore import TradeStore
from tradekeel.storage.redis.client import RedisSettings
from tradekeel.storage.redis.server import RedisServer
from tradekeel.storage.redis.trades import RedisTradeStore
from tradekeel.storage.repositories import Database, SqlExecutionRepository, SqlStrategyRepository
from tradekeel.storage.tradestore import SCRIPTS, SqlTradeStore
from tradekeel.storage.verify import verify

PLACES = (*BACKENDS, *(pytest.param(name, marks=pytest.mark.redis) for name in ("redis", "redis-limited-user")))


@pytest.fixture(params=PLACES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TradeStore]:
    """A store in each place in turn, empty. Books are verified in the end."""
    if not request.param.startswith("redis"):
        with fresh_books(request.param, request, tmp_path) as backend:
            async with SqlTradeStore(backend, ManualClock()) as opened:
                yield opened
            verdict = verify(backend)
            assert verdict.ok, "\n".join(verdict.lines())
        return
    url: str = request.getfixturevalue("redis_url")
    async with AsyncExitStack() as stack:
        settings = RedisSettings(url=url)
        if request.param == "redis-limited-user":
            settings = (await stack.enter_async_context(Adapter(url, "a-secret-of-the-tests"))).settings
        yield await stack.enter_async_context(RedisTradeStore(lambda: RedisServer.open(settings), ManualClock()))


@pytest.fixture
def factory(seed: int) -> Factory:
    """Makes whole trades, of an execution that the store puts its own in the place of."""
    return Factory("another execution", "another account", seed)


def as_kept(trade: Trade, kept: Trade) -> Trade:
    """The trade as a store keeps it: in its own execution, and new."""
    ours = {name: getattr(kept, name) for name in ("execution", "account", "version", "updated_ns")}
    return structs.replace(trade, **ours)


async def test_it_is_a_trade_store_and_says_where(store, request):
    assert isinstance(store, TradeStore)
    place = request.node.callspec.params["store"]
    assert store.backend_name == {"postgres": "postgresql", "redis-limited-user": "redis"}.get(place, place)


@pytest.mark.parametrize(
    "beyond",
    ["1e-301", "-1e-400", "1e-20000", "0." + "3" * 301, "0e-301", "1e300", "7" * 301, "1e140000", "1e999999999"],
    ids=lambda text: text[:12],
)
async def test_an_amount_with_more_digits_than_every_place_keeps_is_refused_in_words(store, beyond):
    words = {"symbol": "EUR_USD", "side": "long"}
    trade = await store.save_new_trade(**words, quantity="1", entry_price="1")
    for call in (
        partial(store.save_new_trade, **words, quantity=beyond),
        partial(store.save_new_trade, **words, quantity="1", stop_loss=Decimal(beyond)),
        partial(store.update_trade, trade.trade_id, stop_loss=Decimal(beyond)),
        partial(store.mark_trade_closed, trade.trade_id, "1", "manual", fee=beyond),
    ):
        with pytest.raises(InputError, match=r"300|exact"):
            await call()
    assert list(await store.get_open_trades()) == [trade]


@pytest.mark.parametrize("amount", ["1e-300", "9" * 300, "0." + "1" * 300, "9e299"], ids=lambda text: text[:12])
async def test_an_amount_with_as_many_digits_as_there_may_be_is_kept(store, amount):
    trade = await store.save_new_trade(symbol="EUR_USD", side="long", quantity=amount, stop_loss=amount)
    found = await store.get_trade(trade.trade_id)
    assert (found.quantity, found.stop_loss) == (Decimal(amount), Decimal(amount))


async def test_texts_are_sorted_byte_by_byte(store):
    symbols = ["b_A", "B_a", "a", "A", "_", "é", "Z", "z", "ab", "a_b", "漢", "𝔘", "\uff5e"]
    for symbol in symbols:
        await store.save_new_trade(symbol=symbol, side="long", quantity="1", entry_price="1")
    found: list[str] = []
    page = await store.get_open_trades(sort="symbol", descending=False, limit=5)
    while True:
        found += [trade.symbol for trade in page]
        if page.next_cursor is None:
            break
        page = await store.get_open_trades(sort="symbol", descending=False, limit=5, cursor=page.next_cursor)
    assert found == sorted(symbols, key=str.encode)


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
    closed = await store.mark_trade_closed(trade.trade_id, "1.0900", "take_profit", fee="0.5", exit_time_ns=LATER_NS)
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


async def test_in_a_database_all_trades_are_in_one_execution_of_the_scripts_own(backend):
    store = SqlTradeStore(backend, ManualClock())
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
    await store.close()
    assert verify(backend).ok


async def test_a_whole_trade_may_be_given(store, factory):
    trade = factory.trade("floor")
    saved = await store.save_new_trade(trade)
    assert (saved.trade_id, saved.account, saved.metadata) == (trade.trade_id, SCRIPTS, trade.metadata)
    with pytest.raises(AlreadyExists):
        await store.save_new_trade(structs.replace(trade, symbol="XAU_USD"))
    assert await store.get_trade(trade.trade_id) == saved


# --- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(TradeStatus))
async def test_every_field_comes_back(store, factory, status):
    trade = factory.trade(None, status)
    saved = await store.save_new_trade(trade)
    assert saved == as_kept(trade, saved)
    assert await store.get_trade(trade.trade_id) == saved


@pytest.mark.parametrize("number", range(len(EXTREME_AMOUNTS) * 2))
async def test_extreme_amounts_texts_and_times_come_back_exactly(store, factory, number):
    trade = structs.replace(factory.extreme_trade(number), strategy=None)
    saved = await store.save_new_trade(trade)
    found = await store.get_trade(trade.trade_id)
    assert found == saved == as_kept(trade, saved)
    assert list(await store.get_open_trades()) == [saved]
    for name in ("quantity", "entry_value", "open_cost", "entry_fee", "stop_loss"):
        written, read = getattr(trade, name), getattr(found, name)
        assert f"{written or abs(written):f}" == f"{read or abs(read):f}", f"{name} has the digits it was written with"


@in_the_same_books("field", [f.name for f in structs.fields(Trade) if f.default is None])
async def test_every_field_that_may_be_empty_comes_back_empty(store, factory, field):
    trade = structs.replace(factory.trade(None, TradeStatus.PENDING), **{field: None})
    saved = await store.save_new_trade(trade)
    found = await store.get_trade(trade.trade_id)
    assert found == saved == as_kept(trade, saved)
    assert getattr(found, field) is None


async def test_an_id_that_nobody_knows_is_none(store):
    assert await store.get_trade("tr-nobody") is None
    assert await store.get_trade("'; DROP TABLE trades; --") is None


@in_the_same_books(
    "changes",
    [
        {"quantity": Decimal("NaN")},
        {"quantity": Decimal("Infinity")},
        {"quantity": Decimal(0)},
        {"quantity": Decimal(-1)},
        {"entered_quantity": Decimal(-1)},
        {"exited_quantity": Decimal(-1)},
        {"stop_loss": 1.5},
        {"margin": Decimal(-1)},
        {"entry_time_ns": None},
        {"entry_time_ns": 2**63},
        {"entry_position": 2**64},
        {"status": "LOST"},
        {"status": TradeStatus.CLOSED},
        {"liquidity": "a little"},
        {"trade_id": ""},
        {"model": "zero \0 byte"},
        {"tags": ("half \ud800",)},
        {"metadata": {1: "keys are texts"}},
        {"metadata": {"x": object()}},
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_written(store, factory, changes):
    trade = structs.replace(factory.trade(None), **changes)
    with pytest.raises(InputError):
        await store.save_new_trade(trade)
    assert not len(await store.get_open_trades())
    assert (await store.get_stats()).count == 0


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


async def test_a_status_changes_only_as_the_life_of_a_trade_allows(store, factory):
    ended = {"exit_time_ns": START_NS, "exit_reason": "manual", "entry_time_ns": START_NS}
    failed = await store.save_new_trade(factory.trade(None, TradeStatus.FAILED))
    for status in (TradeStatus.PENDING, TradeStatus.CLOSED, TradeStatus.CLOSING):
        with pytest.raises(IllegalTransition):
            await store.update_trade(failed.trade_id, ended, status=status.value)
    assert await store.get_trade(failed.trade_id) == failed
    opened = await store.update_trade(failed.trade_id, ended, status="OPEN")
    assert list(await store.get_open_trades()) == [opened], "a late fill opens it again"
    closed = await store.update_trade(failed.trade_id, status="CLOSED")
    assert not len(await store.get_open_trades())
    assert (await store.get_stats()).pnl == closed.pnl
    await store.update_trade(failed.trade_id, status="OPEN")
    assert (await store.get_stats()).count == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"nonsense": 1},
        {"trade_id": "other"},
        {"execution": "other"},
        {"version": 9},
        {"stop_loss": 0.5},
        {"stop_loss": "a lot"},
        {"status": "LOST"},
        {"quantity": None},
        {"quantity": "-1"},
        {"tags": "not a list"},
    ],
    ids=str,
)
async def test_an_update_that_makes_no_sense_is_refused(store, factory, changes):
    trade = await store.save_new_trade(factory.trade(None))
    with pytest.raises(InputError):
        await store.update_trade(trade.trade_id, changes)
    assert await store.get_trade(trade.trade_id) == trade


@pytest.mark.parametrize(
    "changes",
    [
        {"exited_quantity": "11"},
        {"entered_quantity": "3", "exited_quantity": "4"},
        {"exit_time_ns": START_NS},
        {"entry_time_ns": LATER_NS, "exit_time_ns": LATER_NS - 1},
    ],
    ids=str,
)
async def test_no_more_leaves_a_trade_than_came_in_and_none_ends_before_it_begins(store, factory, changes):
    words = {"quantity": Decimal(10), "entered_quantity": Decimal(10), "entry_time_ns": START_NS + 1}
    trade = await store.save_new_trade(factory.trade(None, symbol="EUR_USD", **words))
    with pytest.raises(InputError, match=r"is more than entered_quantity|is before entry_time_ns"):
        await store.update_trade(trade.trade_id, changes)
    with pytest.raises(InputError, match=f"exit_time_ns {START_NS} is before entry_time_ns {START_NS + 1}"):
        await store.mark_trade_closed(trade.trade_id, "1", exit_time_ns=START_NS)
    assert await store.get_trade(trade.trade_id) == trade
    assert (await store.mark_trade_closed(trade.trade_id, "1", exit_time_ns=START_NS + 1)).open_quantity == 0


async def test_a_trade_that_was_saved_crossed_may_still_be_described(store, factory):
    words = {"entered_quantity": Decimal(1), "exited_quantity": Decimal(2), "entry_time_ns": 2, "exit_time_ns": 1}
    trade = await store.save_new_trade(factory.trade(None, TradeStatus.CLOSED, **words))
    assert (await store.update_trade(trade.trade_id, model="x")).model == "x"


async def test_a_price_is_of_what_was_entered(store):
    words = {"symbol": "EUR_USD", "side": "LONG", "quantity": "10", "entry_price": "1.5"}
    part = await store.save_new_trade(**words, entered_quantity="4")
    assert (part.quantity, part.entered_quantity, part.entry_price) == (Decimal(10), Decimal(4), Decimal("1.5"))
    assert (part.entry_value, part.open_cost) == (Decimal(6), Decimal(6))
    left = await store.save_new_trade(**words, exited_quantity=Decimal(4))
    assert (left.entered_quantity, left.entry_value, left.open_cost) == (Decimal(10), Decimal(15), Decimal(9))
    for name in ("entry_value", "open_cost"):
        with pytest.raises(InputError, match=f"entry_price says {name}, too"):
            await store.save_new_trade(**words, **{name: "7"})
    for amount in (1.5, "a lot", None):
        with pytest.raises(InputError):
            await store.save_new_trade(**words, entered_quantity=amount)
    assert len(await store.get_open_trades()) == 2


async def test_a_whole_trade_may_be_given_with_the_price_of_its_entry(store, factory):
    given = factory.trade(None, TradeStatus.OPEN, quantity=Decimal(10), entry_value=Decimal(0), open_cost=Decimal(0))
    for entered in (Decimal(0), Decimal(4)):
        trade = structs.replace(given, trade_id=f"tr-{entered}", entered_quantity=entered)
        kept = await store.save_new_trade(trade, entry_price="1.5")
        assert (kept.entered_quantity, kept.entry_price) == (entered or Decimal(10), Decimal("1.5"))


async def test_a_trade_that_moves_is_found_where_it_is_now(store, factory):
    trade = await store.save_new_trade(factory.trade(None, symbol="EUR_USD"))
    moved = await store.update_trade(trade.trade_id, symbol="GBP_USD")
    assert list(await store.get_open_trades("EUR_USD")) == []
    assert list(await store.get_open_trades("GBP_USD")) == [moved]
    closed = await store.mark_trade_closed(trade.trade_id, "2", exit_time_ns=LATER_NS)
    corrected = await store.update_trade(trade.trade_id, gross_pnl=closed.gross_pnl + 1, session="TOKYO")
    stats = await store.get_stats()
    assert (stats.count, stats.pnl, list(stats.by_session)) == (1, corrected.pnl, ["TOKYO"])


async def test_a_short_trade_wins_when_prices_fall_and_the_rate_converts(store):
    words = {"symbol": "USD_JPY", "side": "SHORT", "quantity": "100", "entry_price": "150"}
    trade = await store.save_new_trade(**words)
    with pytest.raises(InputError, match="rate"):
        await store.mark_trade_closed(trade.trade_id, "149")
    closed = await store.mark_trade_closed(trade.trade_id, "149", rate="0.01", fee="0.25")
    assert closed.pnl == Decimal("0.75")
    told = await store.save_new_trade(**words)
    assert (await store.mark_trade_closed(told.trade_id, "149", pnl="-7", fee="2")).pnl == -7
    with pytest.raises(IllegalTransition):
        await store.mark_trade_closed(told.trade_id, "149", pnl="1")


# --- lists and statistics --------------------------------------------------------------------------------------------

MANY = 60
SORTS = (
    *("created_ns", "updated_ns", "entry_time_ns", "exit_time_ns", "symbol", "strategy", "status", "quantity"),
    *("pnl", "trade_id"),
)


@pytest.fixture
async def many(store: TradeStore, factory: Factory) -> list[Trade]:
    """Trades of every status and two strategies, some of one moment, the newest first."""
    statuses = list(TradeStatus)
    made = [
        await store.save_new_trade(
            factory.trade(("floor", "trend", None)[n % 3], statuses[n % 5], created_ns=START_NS + n // 7 * SECOND)
        )
        for n in range(MANY)
    ]
    return sorted(made, key=lambda trade: (trade.created_ns, trade.trade_id), reverse=True)


def still_open(trades: list[Trade]) -> list[Trade]:
    return [t for t in trades if t.status in (TradeStatus.PENDING, TradeStatus.OPEN, TradeStatus.CLOSING)]


async def test_open_trades_come_newest_first_and_by_symbol(store, many):
    assert list(await store.get_open_trades()) == still_open(many)
    for symbol in {trade.symbol for trade in many}:
        wanted = [trade for trade in still_open(many) if trade.symbol == symbol]
        assert list(await store.get_open_trades(symbol)) == wanted
    assert not len(await store.get_open_trades("nothing"))


@in_the_same_books(("descending", "sort"), product([True, False], SORTS))
async def test_pages_by_cursor_and_by_offset_give_every_row_once_in_order(store, many, sort, descending):
    wanted = [trade for trade in still_open(many) if getattr(trade, sort) is not None]
    wanted.sort(key=lambda trade: (getattr(trade, sort), trade.trade_id), reverse=descending)
    by_cursor: list[Trade] = []
    by_offset: list[Trade] = []
    words: dict[str, Any] = {"sort": sort, "descending": descending, "limit": 7}
    page = await store.get_open_trades(**words)
    while True:
        by_cursor.extend(page)
        assert list(page) == list(await store.get_open_trades(**words, offset=len(by_offset)))
        by_offset.extend(page)
        if page.next_cursor is None:
            break
        page = await store.get_open_trades(**words, cursor=page.next_cursor)
    assert by_cursor == by_offset == wanted


@in_the_same_books("sort", ["created_ns", "symbol", "entry_time_ns"])
async def test_times_narrow_a_list(store, many, sort):
    since_ns, until_ns = START_NS + 2 * SECOND, START_NS + 5 * SECOND + 8
    about = "entry_time_ns" if sort == "entry_time_ns" else "created_ns"
    wanted = {t.trade_id for t in still_open(many) if since_ns <= (getattr(t, about) or 0) < until_ns}
    found = await store.get_open_trades(sort=sort, since_ns=since_ns, until_ns=until_ns)
    assert {trade.trade_id for trade in found} == wanted
    assert 0 < len(wanted) < len(still_open(many))


async def test_a_cursor_neither_repeats_nor_hides_rows_when_others_come(store, many, factory):
    page = await store.get_open_trades(limit=10)
    newer = await store.save_new_trade(factory.trade(None, created_ns=START_NS + 100 * SECOND))
    older = await store.save_new_trade(factory.trade(None, created_ns=START_NS - 100 * SECOND))
    rest = await store.get_open_trades(cursor=page.next_cursor)
    assert [*page, *rest] == [*still_open(many), older]
    assert newer not in rest


@in_the_same_books(
    "words",
    [
        {"limit": 0},
        {"limit": 10_001},
        {"offset": -1},
        {"sort": "nonsense"},
        {"sort": "metadata"},
        {"cursor": "nonsense"},
        {"timeout_s": 0},
    ],
)
async def test_words_that_make_no_sense_are_refused(store, many, words):
    with pytest.raises(InputError):
        await store.get_open_trades(**words)


async def test_a_cursor_is_of_its_list(store, many):
    cursor = (await store.get_open_trades(limit=5)).next_cursor
    for words in ({"sort": "symbol"}, {"descending": False}, {"offset": 3}):
        with pytest.raises(InputError, match="cursor"):
            await store.get_open_trades(limit=5, cursor=cursor, **words)


async def test_figures_are_those_of_a_dumb_recomputation(store, many):
    closed = [trade for trade in many if trade.status is TradeStatus.CLOSED]
    stats = await store.get_stats()
    assert figures(stats) == dumb(closed)
    for name in ("symbol", "strategy", "session"):
        group = getattr(stats, f"by_{name}")
        assert set(group) == {getattr(t, name) or "" for t in closed}
        for word, found in group.items():
            assert figures(found) == dumb([t for t in closed if (getattr(t, name) or "") == word])
    assert sum(day.count for day in stats.by_day.values()) == len(closed)
    by_exit = sorted(closed, key=lambda t: t.exit_time_ns or 0)
    since_ns, until_ns = by_exit[3].exit_time_ns, by_exit[-3].exit_time_ns
    assert figures(await store.get_stats(since_ns=since_ns, until_ns=until_ns)) == dumb(by_exit[3:-3])


async def test_figures_of_nothing_are_undefined(store):
    assert figures(await store.get_stats()) == dumb([])


async def test_sums_lose_no_digit_however_far_amounts_are_apart(store, factory):
    nothing = dict.fromkeys(("entry_fee", "exit_fee", "financing", "entered_quantity", "exited_quantity"), Decimal(0))
    for pnl in EXTREME_AMOUNTS:
        await store.save_new_trade(factory.trade(None, TradeStatus.CLOSED, gross_pnl=pnl, **nothing))
    stats = await store.get_stats()
    assert Fraction(stats.pnl) == sum(map(Fraction, EXTREME_AMOUNTS))
    assert (stats.best, stats.worst) == (max(EXTREME_AMOUNTS), min(EXTREME_AMOUNTS))


# --- many at once ----------------------------------------------------------------------------------------------------


async def in_parallel(count: int, one: Callable[[int], Awaitable[object]]) -> list[Any]:
    """What became of each: its result, or the error that it raised."""
    outcomes: list[Any] = [None] * count

    async def keep(number: int) -> None:
        try:
            outcomes[number] = await one(number)
        except Exception as error:
            outcomes[number] = error

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(keep, number)
    return outcomes


async def test_saves_from_many_tasks_at_once_all_arrive(store):
    words = {"symbol": "EUR_USD", "side": "LONG", "quantity": 1, "entry_price": 1}
    saved = await in_parallel(30, lambda number: store.save_new_trade(**words, model=str(number)))
    assert {trade.model for trade in await store.get_open_trades()} == {str(number) for number in range(30)}
    assert len({trade.trade_id for trade in saved}) == 30


async def test_of_many_that_save_one_id_exactly_one_succeeds(store, factory):
    trade = factory.trade(None)
    outcomes = await in_parallel(10, lambda number: store.save_new_trade(structs.replace(trade, model=str(number))))
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 9
    assert [outcome for outcome in outcomes if isinstance(outcome, Trade)] == [await store.get_trade(trade.trade_id)]


async def test_of_many_that_change_one_version_exactly_one_succeeds(store, factory):
    trade = await store.save_new_trade(factory.trade(None))
    outcomes = await in_parallel(
        10, lambda number: store.update_trade(trade.trade_id, model=str(number), expected_version=0)
    )
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 9
    assert [outcome for outcome in outcomes if isinstance(outcome, Trade)] == [await store.get_trade(trade.trade_id)]


async def test_changes_without_a_version_all_happen_one_after_the_other(store, factory):
    trade = await store.save_new_trade(factory.trade(None))
    outcomes = await in_parallel(20, lambda number: store.update_trade(trade.trade_id, model=str(number)))
    assert sorted(outcome.version for outcome in outcomes) == list(range(1, 21))
    assert (await store.get_trade(trade.trade_id)).version == 20


async def test_it_opens_again_after_it_was_closed(store):
    await store.save_new_trade(symbol="EUR_USD", side="LONG", quantity=1)
    await store.close()
    await store.close()
    assert len(await store.get_open_trades()) == 1
