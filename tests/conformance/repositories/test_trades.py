"""Trades: what is saved comes back whole, changes only as it may, and is found again by what people ask for."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any

import anyio
import pytest
from msgspec import structs

from tests.conformance.cases import in_the_same_books
from tests.conformance.repositories.factories import (
    EXTREME_AMOUNTS,
    EXTREME_TEXTS,
    LATER_NS,
    LONG_TEXTS,
    SECOND,
    START_NS,
    SYMBOLS,
    Factory,
)
from tradekeel.domain.trades import CloseReason, Trade, TradeSide, TradeStatus
from tradekeel.errors import AlreadyExists, IllegalTransition, InputError, NotFound, VersionConflict
from tradekeel.ports.repositories import ROWS_MAX, TradeRepository
from tradekeel.storage.fitting import INDEXED_BYTES_MAX
from tradekeel.storage.repositories import Database, SqlExecutionRepository, SqlTradeRepository

STATUSES = (TradeStatus.OPEN, TradeStatus.CLOSED, TradeStatus.CLOSED, TradeStatus.PENDING, TradeStatus.FAILED)


@pytest.fixture
def trades(database: Database) -> TradeRepository:
    return SqlTradeRepository(database)


@pytest.fixture
async def many(trades: TradeRepository, manual: Factory) -> list[Trade]:
    """Sixty trades of every status, two strategies, and a second execution on another account; newest first."""
    other_row = await SqlExecutionRepository(trades.database).create_execution("other")  # type: ignore[attr-defined]
    other = Factory(other_row.execution, "other", seed=1)
    made = [manual.trade(("floor", "trend", None)[n % 3], STATUSES[n % 5]) for n in range(50)]
    made += [other.trade(None, STATUSES[n % 5], created_ns=START_NS + 100 * SECOND) for n in range(10)]
    await trades.save_trades(made)
    return sorted(made, key=lambda trade: (trade.created_ns, trade.trade_id), reverse=True)


# --- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(TradeStatus))
async def test_every_field_comes_back(trades, manual, status):
    trade = manual.trade(status=status)
    assert await trades.save_trade(trade) == trade
    assert await trades.get_trade_by_id(trade.trade_id) == trade


@in_the_same_books("number", range(len(EXTREME_AMOUNTS) * 2))
async def test_extreme_amounts_texts_and_times_come_back_exactly(trades, manual, number):
    trade = manual.extreme_trade(number)
    await trades.save_trade(trade)
    found = await trades.get_trade_by_id(trade.trade_id)
    assert found == trade
    for name in ("quantity", "entry_value", "open_cost", "entry_fee", "stop_loss"):
        written, read = getattr(trade, name), getattr(found, name)
        assert f"{written or abs(written):f}" == f"{read:f}", f"{name} has the digits that it was written with"


@in_the_same_books("field", [f.name for f in structs.fields(Trade) if f.default is None])
async def test_every_field_that_may_be_empty_comes_back_empty(trades, manual, field):
    trade = structs.replace(manual.trade(status=TradeStatus.PENDING), **{field: None})
    await trades.save_trade(trade)
    assert await trades.get_trade_by_id(trade.trade_id) == trade


async def test_an_id_that_nobody_knows_is_none(trades):
    assert await trades.get_trade_by_id("tr-nobody") is None
    assert await trades.get_trade_by_id("'; DROP TABLE trades; --") is None


# --- what is refused -------------------------------------------------------------------------------------------------


async def test_an_id_twice_is_refused_and_changes_nothing(trades, manual):
    trade = await trades.save_trade(manual.trade())
    with pytest.raises(AlreadyExists, match=trade.trade_id):
        await trades.save_trade(structs.replace(trade, symbol="XAU_USD"))
    with pytest.raises(AlreadyExists):
        await trades.save_trades([manual.trade(), trade])
    twice = manual.trade()
    with pytest.raises(AlreadyExists):
        await trades.save_trades([twice, twice])
    assert await trades.get_trade_by_id(trade.trade_id) == trade
    assert await trades.count_trades() == 1


@in_the_same_books(
    ("changes", "error"),
    [
        ({"execution": "nowhere"}, NotFound),
        ({"account": "somebody else"}, InputError),
        ({"strategy": "unknown"}, InputError),
        ({"signal_id": "sg-unknown"}, InputError),
        ({"quantity": Decimal("NaN")}, InputError),
        ({"quantity": Decimal("Infinity")}, InputError),
        ({"quantity": Decimal(0)}, InputError),
        ({"quantity": Decimal(-1)}, InputError),
        ({"stop_loss": 1.5}, InputError),
        ({"margin": Decimal(-1)}, InputError),
        ({"entry_time_ns": None}, InputError),
        ({"entry_time_ns": 2**63}, InputError),
        ({"entry_position": 2**64}, InputError),
        ({"status": "LOST"}, InputError),
        ({"trade_id": ""}, InputError),
        ({"model": "zero \0 byte"}, InputError),
        ({"tags": ("half \ud800",)}, InputError),
        ({"pattern_type": "long" * 700}, InputError),
        ({"metadata": {1: "keys are texts"}}, InputError),
        ({"metadata": {"x": object()}}, InputError),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_written(trades, manual, changes, error):
    with pytest.raises(error):
        await trades.save_trade(structs.replace(manual.trade(), **changes))
    assert await trades.count_trades() == 0


async def test_notes_have_text_where_json_has_no_word_for_a_number(trades, manual):
    """As in the notes of a strategy. Elsewhere a NaN becomes nothing, without a word."""
    trade = manual.trade(metadata={"slope": float("nan"), "bounds": [float("-inf"), 1.5, float("inf")]})
    await trades.save_trade(trade)
    found = await trades.get_trade_by_id(trade.trade_id)
    assert found.metadata == {"slope": "nan", "bounds": ["-inf", 1.5, "inf"]}


@pytest.mark.untraced
async def test_many_are_saved_all_or_none_and_not_without_bounds(trades, manual):
    good = [manual.trade() for _ in range(1_200)]
    with pytest.raises(InputError):
        await trades.save_trades([*good, manual.trade(quantity=Decimal(-1))])
    assert await trades.count_trades() == 0
    assert await trades.save_trades(good) == 1_200
    assert await trades.count_trades() == 1_200
    with pytest.raises(InputError, match=str(ROWS_MAX)):
        await trades.save_trades(good * 9)
    assert await trades.save_trades([]) == 0


# --- changes ---------------------------------------------------------------------------------------------------------


async def test_an_update_changes_what_it_names_and_nothing_else(trades, manual):
    before = await trades.save_trade(manual.trade())
    after = await trades.update_trade(before.trade_id, {"stop_loss": Decimal("0.5"), "tags": ["a", "b"], "model": None})
    assert after == await trades.get_trade_by_id(before.trade_id)
    same = {"stop_loss", "tags", "model", "version", "updated_ns"}
    assert (after.stop_loss, after.tags, after.model, after.version) == (Decimal("0.5"), ("a", "b"), None, 1)
    assert all(getattr(before, f) == getattr(after, f) for f in before.__struct_fields__ if f not in same)


async def test_an_update_of_another_version_is_refused_with_both(trades, manual):
    trade = await trades.save_trade(manual.trade())
    await trades.update_trade(trade.trade_id, {"model": "one"}, expected_version=0)
    with pytest.raises(VersionConflict) as raised:
        await trades.update_trade(trade.trade_id, {"model": "two"}, expected_version=0)
    assert (raised.value.expected, raised.value.found) == (0, 1)
    assert (await trades.get_trade_by_id(trade.trade_id)).model == "one"
    with pytest.raises(VersionConflict):
        await trades.mark_trade_closed(
            trade.trade_id, Decimal(1), LATER_NS, "manual", pnl=Decimal(1), expected_version=7
        )


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
        {"tags": "not a list"},
    ],
    ids=str,
)
async def test_an_update_that_makes_no_sense_is_refused(trades, manual, changes):
    trade = await trades.save_trade(manual.trade())
    with pytest.raises(InputError):
        await trades.update_trade(trade.trade_id, changes)
    assert await trades.get_trade_by_id(trade.trade_id) == trade


async def test_what_is_not_there_cannot_be_changed(trades):
    with pytest.raises(NotFound, match="tr-nobody"):
        await trades.update_trade("tr-nobody", {"model": "x"})
    with pytest.raises(NotFound, match="tr-nobody"):
        await trades.mark_trade_closed("tr-nobody", Decimal(1), LATER_NS, "manual")


@in_the_same_books(("before", "after"), product(list(TradeStatus), list(TradeStatus)))
async def test_a_status_changes_only_as_the_life_of_a_trade_allows(trades, manual, before, after):
    legal = {
        (TradeStatus.PENDING, TradeStatus.OPEN),
        (TradeStatus.PENDING, TradeStatus.FAILED),
        (TradeStatus.OPEN, TradeStatus.CLOSING),
        (TradeStatus.OPEN, TradeStatus.CLOSED),
        (TradeStatus.CLOSING, TradeStatus.OPEN),
        (TradeStatus.CLOSING, TradeStatus.CLOSED),
        (TradeStatus.CLOSED, TradeStatus.OPEN),
        (TradeStatus.FAILED, TradeStatus.OPEN),
    }
    trade = await trades.save_trade(manual.trade(status=before))
    changes: dict[str, Any] = {"status": after.value, "entry_time_ns": START_NS}
    changes |= {"exit_time_ns": START_NS, "exit_reason": "manual"}
    if before is after or (before, after) in legal:
        assert (await trades.update_trade(trade.trade_id, changes)).status is after
    else:
        with pytest.raises(IllegalTransition):
            await trades.update_trade(trade.trade_id, changes)


# --- the life of a trade ---------------------------------------------------------------------------------------------


async def test_the_whole_life_of_a_trade(trades, manual):
    trade = await trades.save_trade(
        manual.trade(
            status=TradeStatus.PENDING,
            symbol="EUR_USD",
            side=TradeSide.LONG,
            quantity=Decimal(1000),
            entry_slippage=Decimal(0),
        )
    )
    assert [t.trade_id for t in await trades.get_open_trades("EUR_USD")] == [trade.trade_id]
    await trades.update_trade(
        trade.trade_id,
        {
            "status": "OPEN",
            "entered_quantity": "1000",
            "entry_value": "1100.00",
            "open_cost": "1100.00",
            "entry_fee": "1.25",
            "entry_time_ns": START_NS,
        },
        expected_version=0,
    )
    await trades.update_trade(trade.trade_id, {"stop_loss": Decimal("1.09")}, expected_version=1)
    closed = await trades.mark_trade_closed(
        trade.trade_id,
        Decimal("1.1234567"),
        LATER_NS,
        CloseReason.TAKE_PROFIT,
        fee=Decimal("1.25"),
        expected_version=2,
    )
    assert closed == await trades.get_trade_by_id(trade.trade_id)
    assert (closed.status, closed.exit_reason, closed.version) == (TradeStatus.CLOSED, CloseReason.TAKE_PROFIT, 3)
    assert (closed.exit_time_ns, closed.exit_price) == (LATER_NS, Decimal("1.1234567"))
    assert closed.gross_pnl == Decimal("23.4567")
    assert closed.pnl == Decimal("20.9567")
    assert not len(await trades.get_open_trades())
    assert (await trades.get_stats()).pnl == closed.pnl
    with pytest.raises(IllegalTransition):
        await trades.mark_trade_closed(trade.trade_id, Decimal(1), LATER_NS, "manual")


async def test_a_short_trade_wins_when_prices_fall_and_the_rate_converts(trades, manual):
    trade = await trades.save_trade(
        manual.trade(symbol="USD_JPY", side=TradeSide.SHORT, quantity=Decimal(1000), entered_quantity=Decimal(1000),
                     entry_value=Decimal(150_000), open_cost=Decimal(150_000), entry_fee=Decimal(0))
    )  # fmt: skip
    with pytest.raises(InputError, match="rate"):
        await trades.mark_trade_closed(trade.trade_id, Decimal(149), LATER_NS, "stop_loss")
    closed = await trades.mark_trade_closed(trade.trade_id, Decimal(149), LATER_NS, "stop_loss", rate=Decimal("0.0067"))
    assert closed.gross_pnl == Decimal("6.7")


async def test_a_profit_that_is_told_stands_whatever_the_prices_say(trades, manual):
    trade = await trades.save_trade(manual.trade(symbol="USD_JPY"))
    closed = await trades.mark_trade_closed(
        trade.trade_id, Decimal(1), LATER_NS, "manual", fee=Decimal("0.5"), pnl=Decimal("-12.34")
    )
    assert closed.pnl == Decimal("-12.34")


@pytest.mark.parametrize("status", [TradeStatus.PENDING, TradeStatus.CLOSED, TradeStatus.FAILED])
async def test_what_is_not_open_cannot_be_closed(trades, manual, status):
    trade = await trades.save_trade(manual.trade(status=status))
    with pytest.raises(IllegalTransition):
        await trades.mark_trade_closed(trade.trade_id, Decimal(1), LATER_NS, "manual", pnl=Decimal(0))


@pytest.mark.parametrize(
    "arguments",
    [
        {"reason": "bored"},
        {"exit_price": Decimal("NaN")},
        {"exit_price": 1.5},
        {"fee": Decimal("Infinity")},
        {"pnl": 3.0},
        {"exit_time_ns": 2**63},
        {"exit_price": Decimal("1E-60")},
    ],
    ids=str,
)
async def test_a_close_that_makes_no_sense_is_refused(trades, manual, arguments):
    trade = await trades.save_trade(manual.trade(symbol="EUR_USD"))
    words: dict[str, Any] = {"exit_price": Decimal(1), "exit_time_ns": LATER_NS, "reason": "manual"} | arguments
    with pytest.raises(InputError):
        await trades.mark_trade_closed(trade.trade_id, **words)
    assert await trades.get_trade_by_id(trade.trade_id) == trade


# --- lists -----------------------------------------------------------------------------------------------------------


def ids(rows: Any) -> list[str]:
    return [trade.trade_id for trade in rows]


@pytest.mark.parametrize(
    ("words", "keeps"),
    [
        ({}, lambda t: True),
        ({"symbol": "EUR_USD"}, lambda t: t.symbol == "EUR_USD"),
        ({"strategy": "floor"}, lambda t: t.strategy == "floor"),
        ({"status": "CLOSED"}, lambda t: t.status is TradeStatus.CLOSED),
        ({"status": (TradeStatus.OPEN, "PENDING")}, lambda t: t.status in (TradeStatus.OPEN, TradeStatus.PENDING)),
        ({"account": "other"}, lambda t: t.account == "other"),
        ({"symbol": "nothing"}, lambda t: False),
        ({"since_ns": START_NS + 20 * SECOND}, lambda t: t.created_ns >= START_NS + 20 * SECOND),
        ({"until_ns": START_NS + 20 * SECOND}, lambda t: t.created_ns < START_NS + 20 * SECOND),
        (
            {"since_ns": START_NS + 5 * SECOND, "until_ns": START_NS + 9 * SECOND, "strategy": "floor"},
            lambda t: START_NS + 5 * SECOND <= t.created_ns < START_NS + 9 * SECOND and t.strategy == "floor",
        ),
    ],
    ids=str,
)
async def test_filters_narrow_and_the_newest_comes_first(trades, many, words, keeps):
    wanted = [trade for trade in many if keeps(trade)]
    assert list(await trades.get_recent_trades(**words)) == wanted
    assert await trades.count_trades(**words) == len(wanted)


async def test_named_questions(trades, many):
    is_open = (TradeStatus.OPEN, TradeStatus.PENDING, TradeStatus.CLOSING)
    by_entry = sorted(
        (t for t in many if t.entry_time_ns is not None), key=lambda t: (t.entry_time_ns, t.trade_id), reverse=True
    )
    assert list(await trades.get_open_trades()) == [t for t in many if t.status in is_open]
    for symbol in SYMBOLS:
        assert ids(await trades.get_open_trades(symbol)) == ids(
            t for t in many if t.status in is_open and t.symbol == symbol
        )
        assert ids(await trades.get_trades_by_instrument(symbol)) == ids(t for t in by_entry if t.symbol == symbol)
    assert ids(await trades.get_open_trades(strategy="trend")) == ids(
        t for t in many if t.status in is_open and t.strategy == "trend"
    )
    assert ids(await trades.get_trades_by_session("LONDON")) == ids(t for t in many if t.session == "LONDON")
    assert ids(await trades.get_trades_by_pattern("breakout")) == ids(t for t in many if t.pattern_type == "breakout")
    assert ids(await trades.get_trades_by_strategy("trend")) == ids(t for t in many if t.strategy == "trend")
    since, until = START_NS + 10 * SECOND, START_NS + 30 * SECOND
    assert ids(await trades.get_trades_by_date_range(since, until)) == ids(
        t for t in many if since <= t.created_ns < until
    )
    assert ids(await trades.get_trades_by_date_range(since, until, sort="entry_time_ns", descending=False)) == ids(
        reversed([t for t in by_entry if since <= t.entry_time_ns < until])
    )


@in_the_same_books(
    ("descending", "sort"),
    product(
        [True, False],
        [
            "created_ns",
            "updated_ns",
            "entry_time_ns",
            "exit_time_ns",
            "symbol",
            "strategy",
            "status",
            "quantity",
            "pnl",
            "trade_id",
        ],
    ),
)
async def test_pages_by_cursor_and_by_offset_give_every_row_once_in_order(trades, many, sort, descending):
    with_value = [t for t in many if getattr(t, sort) is not None]
    wanted = ids(sorted(with_value, key=lambda t: (getattr(t, sort), t.trade_id), reverse=descending))
    words: dict[str, Any] = {"sort": sort, "descending": descending, "limit": 7}
    by_cursor, page = [], await trades.get_recent_trades(**words)
    while True:
        by_cursor += ids(page)
        if page.next_cursor is None:
            break
        page = await trades.get_recent_trades(**words, cursor=page.next_cursor)
    assert by_cursor == wanted
    by_offset = [ids(await trades.get_recent_trades(**words, offset=at)) for at in range(0, len(wanted), 7)]
    assert [one for page in by_offset for one in page] == wanted


async def test_a_cursor_neither_repeats_nor_hides_rows_when_others_come(trades, many, manual):
    page = await trades.get_recent_trades(limit=20)
    seen = ids(page)
    while page.next_cursor is not None:
        await trades.save_trade(manual.trade(created_ns=START_NS + 1_000 * SECOND))  # newer than all that were seen
        page = await trades.get_recent_trades(limit=20, cursor=page.next_cursor)
        seen += ids(page)
    assert seen == ids(many)


@pytest.mark.parametrize(
    "words",
    [
        {"limit": 0},
        {"limit": ROWS_MAX + 1},
        {"limit": "10"},
        {"offset": -1},
        {"sort": "metadata"},
        {"sort": "1; DROP TABLE trades"},
        {"cursor": "nonsense"},
        {"cursor": ""},
        {"cursor": "WyJjcmVhdGVkX25zIix0cnVlLFsxXV0"},
        {"cursor": "WyJjcmVhdGVkX25zIix0cnVlLFsiYSIsImIiXV0"},
        {"since_ns": 2**63},
        {"since_ns": 1.5},
        {"status": "LOST"},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
    ],
    ids=str,
)
async def test_words_that_make_no_sense_are_refused(trades, words):
    with pytest.raises(InputError):
        await trades.get_recent_trades(**words)


async def test_a_cursor_is_of_its_list(trades, many):
    cursor = (await trades.get_recent_trades(limit=5)).next_cursor
    for words in ({"sort": "symbol"}, {"descending": False}, {"offset": 3}):
        with pytest.raises(InputError, match="cursor"):
            await trades.get_recent_trades(limit=5, cursor=cursor, **words)


# --- statistics ------------------------------------------------------------------------------------------------------


def dumb(trades: list[Trade]) -> tuple[Any, ...]:
    """The figures as anybody would compute them, with fractions."""
    pnls = [t.pnl for t in trades]
    if not pnls:
        return (0, None, Decimal(0), None, None, None)
    wins = sum(1 for pnl in pnls if pnl > 0)
    rate = (Decimal(wins) / len(pnls)).quantize(Decimal("0.000001"))
    average = (sum(pnls, Decimal(0)) / len(pnls)).quantize(Decimal("1e-12"))
    return (len(pnls), rate, sum(pnls, Decimal(0)), average, max(pnls), min(pnls))


def figures(stats: Any) -> tuple[Any, ...]:
    return (stats.count, stats.win_rate, stats.pnl, stats.average, stats.best, stats.worst)


async def test_figures_of_nothing_are_undefined(trades):
    assert figures(await trades.get_stats()) == (0, None, 0, None, None, None)


@pytest.mark.parametrize(
    "words", [{}, {"symbol": "EUR_USD"}, {"strategy": "trend"}, {"session": "LONDON"}, {"account": "other"}], ids=str
)
async def test_figures_are_those_of_a_dumb_recomputation(trades, many, words):
    closed = [
        t
        for t in many
        if t.status is TradeStatus.CLOSED and all(getattr(t, name) == word for name, word in words.items())
    ]
    stats = await trades.get_stats(**words)
    assert figures(stats) == dumb(closed)
    for name in ("symbol", "strategy", "session"):
        group = getattr(stats, f"by_{name}")
        assert set(group) == {getattr(t, name) or "" for t in closed}
        for word, found in group.items():
            assert figures(found) == dumb([t for t in closed if (getattr(t, name) or "") == word])
    assert sum(day.count for day in stats.by_day.values()) == len(closed)


async def test_figures_of_a_stretch_of_time_are_about_exits(trades, many):
    closed = sorted((t for t in many if t.status is TradeStatus.CLOSED), key=lambda t: t.exit_time_ns or 0)
    since, until = closed[3].exit_time_ns, closed[-3].exit_time_ns
    stats = await trades.get_stats(since_ns=since, until_ns=until)
    assert figures(stats) == dumb(closed[3:-3])


async def test_sums_lose_no_digit_however_far_amounts_are_apart(trades, manual):
    for pnl in EXTREME_AMOUNTS:
        await trades.save_trade(
            manual.trade(
                status=TradeStatus.CLOSED,
                gross_pnl=pnl,
                entry_fee=Decimal(0),
                exit_fee=Decimal(0),
                financing=Decimal(0),
                entered_quantity=Decimal(0),
                exited_quantity=Decimal(0),
            )
        )
    stats = await trades.get_stats()
    assert Fraction(stats.pnl) == sum(map(Fraction, EXTREME_AMOUNTS))
    assert (stats.best, stats.worst) == (max(EXTREME_AMOUNTS), min(EXTREME_AMOUNTS))


# --- many at once ----------------------------------------------------------------------------------------------------


async def test_saves_from_many_tasks_at_once_all_arrive(trades, manual):
    made = [manual.trade() for _ in range(40)]
    async with anyio.create_task_group() as tasks:
        for trade in made:
            tasks.start_soon(trades.save_trade, trade)
    assert sorted(ids(await trades.get_recent_trades())) == sorted(ids(made))


async def test_of_many_tasks_that_save_one_id_exactly_one_succeeds(trades, manual):
    trade, outcomes = manual.trade(), []

    async def save(number: int) -> None:
        try:
            await trades.save_trade(structs.replace(trade, model=str(number)))
            outcomes.append(number)
        except AlreadyExists:
            pass

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(save, number)
    assert [str(n) for n in outcomes] == [(await trades.get_trade_by_id(trade.trade_id)).model]


async def test_of_many_tasks_that_change_one_version_exactly_one_succeeds(trades, manual):
    trade, outcomes = await trades.save_trade(manual.trade()), []

    async def change(number: int) -> None:
        try:
            outcomes.append(await trades.update_trade(trade.trade_id, {"model": str(number)}, expected_version=0))
        except VersionConflict:
            pass

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(change, number)
    assert outcomes == [await trades.get_trade_by_id(trade.trade_id)]


def test_texts_are_what_they_seem():
    assert any("\n" in text for text in EXTREME_TEXTS)
    assert any(len(text) > 5_000 for text in LONG_TEXTS)
    assert INDEXED_BYTES_MAX / 2 < max(len(text) for text in EXTREME_TEXTS) < INDEXED_BYTES_MAX, (
        "as long as an index takes"
    )
