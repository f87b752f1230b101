"""Fills: added once however often they are told, found and removed, never changed."""

from __future__ import annotations

import random
from decimal import Decimal

import anyio
import pytest
from msgspec import structs

from tests.conformance.repositories.factories import EXTREME_AMOUNTS, EXTREME_TEXTS, SECOND, START_NS, SYMBOLS, Factory
from tradekeel.domain.messages import Fill
from tradekeel.errors import AlreadyExists, InputError, NotFound
from tradekeel.ports.repositories import ROWS_MAX, FillRepository
from tradekeel.storage.repositories import Database, SqlExecutionRepository, SqlFillRepository


@pytest.fixture
def fills(database: Database) -> FillRepository:
    return SqlFillRepository(database)


@pytest.fixture
async def many(fills: FillRepository, manual: Factory) -> list[Fill]:
    """Sixty fills at two venues, newest first."""
    made = [manual.fill() for _ in range(60)]
    assert await fills.append_fills(manual.execution, made) == 60
    return made[::-1]


@pytest.mark.parametrize("number", range(len(EXTREME_AMOUNTS)))
async def test_every_field_comes_back_and_extremes_exactly(fills, manual, number):
    amounts, texts = EXTREME_AMOUNTS[number:] + EXTREME_AMOUNTS, EXTREME_TEXTS[number:] + EXTREME_TEXTS
    fill = manual.fill(
        quantity=abs(amounts[0]) or Decimal("1E-30"),
        price=amounts[1],
        fee=amounts[2],
        realised=amounts[3],
        rate=amounts[4],
        client_order_id=texts[0],
        venue_order_id=texts[1][:500],
        fill_id="f " + texts[2][:500],
        position_ref=texts[3] if number else None,
    )
    assert await fills.append_fill(manual.execution, fill)
    assert list(await fills.list_fills()) == [fill]


async def test_a_fill_is_known_by_the_venues_id_and_told_once(fills, manual):
    fill = manual.fill()
    assert await fills.append_fill(manual.execution, fill)
    assert not await fills.append_fill(manual.execution, fill)
    others = [structs.replace(fill, **{name: "other"}) for name in ("fill_id", "instrument", "venue_order_id")]
    assert await fills.append_fills(manual.execution, [*others, fill, *others]) == 3
    with pytest.raises(AlreadyExists, match="price, quantity"):
        await fills.append_fills(
            manual.execution, [manual.fill(), structs.replace(fill, price=Decimal(7), quantity=Decimal(7))]
        )
    assert await fills.count_fills() == 4


@pytest.mark.parametrize(
    "changes",
    [{"quantity": Decimal(0)}, {"quantity": 1.0}, {"account": "x"}, {"side": "up"}, {"fill_id": ""}, {"fee": None}],
    ids=str,
)
async def test_what_cannot_be_is_refused_and_nothing_is_written(fills, manual, changes):
    with pytest.raises(InputError):
        await fills.append_fills(manual.execution, [manual.fill(), structs.replace(manual.fill(), **changes)])
    assert await fills.count_fills() == 0


async def test_an_execution_that_there_is_not_takes_none_and_none_takes_too_many(fills, manual):
    with pytest.raises(NotFound, match="nowhere"):
        await fills.append_fill("nowhere", manual.fill())
    with pytest.raises(InputError, match=str(ROWS_MAX)):
        await fills.append_fills(manual.execution, [manual.fill()] * (ROWS_MAX + 1))
    assert await fills.append_fills(manual.execution, []) == 0


async def test_questions(fills, many, manual):
    assert list(await fills.list_fills()) == many
    assert list(await fills.list_fills(account="nobody")) == []
    for venue in ("manual", "oanda"):
        assert await fills.get_symbols_of_venue(venue) == sorted({f.instrument for f in many if f.venue == venue})
        for symbol in SYMBOLS:
            wanted = [f for f in many if (f.venue, f.instrument) == (venue, symbol)]
            assert list(await fills.get_fills_by_venue_and_symbol(venue, symbol)) == wanted
            assert await fills.count_fills(venue=venue, symbol=symbol) == len(wanted)
    assert await fills.get_unique_symbols() == sorted({f.instrument for f in many})
    assert await fills.get_unique_venue_symbol_pairs() == sorted({(f.venue, f.instrument) for f in many})
    since, until = START_NS + 10 * SECOND, START_NS + 20 * SECOND
    assert list(await fills.get_fills_by_time_range(since, until)) == [f for f in many if since <= f.ts_ns < until]
    assert await fills.count_fills(since_ns=since, until_ns=until) == 10
    assert await fills.count_fills(execution=manual.execution) == 60


@pytest.mark.parametrize("sort", ["ts_ns", "instrument", "venue", "quantity", "price", "realised"])
async def test_pages_give_every_row_once_in_order(fills, many, sort):
    seen, page = [], await fills.list_fills(sort=sort, descending=False, limit=7)
    while True:
        seen += list(page)
        if page.next_cursor is None:
            break
        page = await fills.list_fills(sort=sort, descending=False, limit=7, cursor=page.next_cursor)
    oldest_first = many[::-1]  # which is what decides between equals
    assert seen == sorted(oldest_first, key=lambda fill: getattr(fill, sort))


async def test_fills_of_a_venue_and_symbol_are_removed_and_may_come_again(fills, many, manual, database):
    other_run = (await SqlExecutionRepository(database).create_execution("other")).execution
    other = Factory(other_run, "other").fill(venue="oanda", instrument="EUR_USD")
    await fills.append_fill(other_run, other)
    gone = [f for f in many if (f.venue, f.instrument) == ("oanda", "EUR_USD")]
    assert await fills.delete_fills("oanda", "EUR_USD", execution=manual.execution) == len(gone) > 0
    assert await fills.delete_fills("oanda", "EUR_USD") == 1
    assert await fills.delete_fills("oanda", "EUR_USD") == 0
    assert list(await fills.list_fills()) == [f for f in many if f not in gone]
    assert await fills.append_fills(manual.execution, gone) == len(gone)
    assert await fills.delete_all_fills(execution="nowhere") == 0
    assert await fills.delete_all_fills() == 60
    assert await fills.count_fills() == 0
    assert await fills.append_fill(manual.execution, gone[0])


async def test_of_many_tasks_that_tell_of_one_fill_one_adds_it(fills, manual):
    fill, added = manual.fill(), []

    async def tell() -> None:
        added.append(await fills.append_fill(manual.execution, fill))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(tell)
    assert sorted(added) == [False] * 9 + [True]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", ["quantity", "price", "realised"])
async def test_amounts_are_sorted_to_the_last_digit_over_pages_as_well(fills, manual, seed, sort, descending):
    digits = [f"{base}{last}" for base in ("1234567890123456789", "1000000.000000000000") for last in range(10)]
    amounts = [
        Decimal(text) for text in (*digits, "0.00000000000000000001", "2E-20", "9", "10", "123456789012345678901")
    ]
    if sort == "realised":
        amounts += [-amount for amount in amounts]
    made = [manual.fill(**{sort: amount}) for amount in random.Random(seed).sample(amounts, len(amounts))]
    await fills.append_fills(manual.execution, made)
    seen, cursor = [], None
    while True:
        page = await fills.list_fills(sort=sort, descending=descending, limit=3, cursor=cursor)
        seen += [getattr(fill, sort) for fill in page]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted(amounts, reverse=descending)
