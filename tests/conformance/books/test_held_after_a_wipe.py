"""What is held behind a wipe: no fill tells of it any more, and the journal does. Every way of asking says the same."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.conformance.books.test_archiving import LATER, Books, books, held_in
from tests.unit.storage.rounds import Trader
from tradekeel.bootstrap.standing import accounts_of
from tradekeel.bootstrap.summary import newest_executions
from tradekeel.domain.positions import Position
from tradekeel.storage.loading import AccountBooks
from tradekeel.storage.moment import one_moment
from tradekeel.storage.repositories import Database, SqlPositionRepository
from tradekeel.storage.store import Store
from tradekeel.storage.wiping import wipe

__all__ = ["books"]

ACCOUNT = "paper-1"


def first_run(books: Books) -> Trader:
    """An execution that has ended and holds 1,000."""
    trader = Trader()
    books.commit(trader.opening(), *trader.round_trip(), trader.entry(), trader.closed())
    return trader


def next_run(books: Books, before: Trader, number: int, entries: int = 1) -> Trader:
    """One that took that over, and holds more when it has ended."""
    trader = Trader(f"exec-{number}", number=number)
    books.commit(
        trader.going_on(before), *trader.round_trip(), *(trader.entry() for _ in range(entries)), trader.closed()
    )
    return trader


def wiped(books: Books, *traders: Trader) -> None:
    """The books, and what was written of each execution's book behind it."""
    wipe(books.at, LATER, by="a test")
    with Store.open(books.at, now_ns=LATER) as store:
        for trader in traders:
            book = AccountBooks(store, {}).load(trader.account).previous
            assert book is not None
            trader.desk.book = book


async def is_held(books: Books, quantity: int) -> None:
    """What `status`, `positions`, scripts and the next start say is the same, at the same cost."""
    asked = await held_in(books)
    [(account, position)] = asked["open"]
    assert (account, position.quantity) == (ACCOUNT, quantity)
    assert asked["venues"]["EUR_USD"].by_venue == {"paper": quantity}
    assert position == of_the_next_start(books)
    with one_moment(books.at) as db:
        [said] = accounts_of(db, books.at, {})
        assert [run.account for run in newest_executions(db, books.at)] == [ACCOUNT]
    [shown] = said["positions"]
    assert shown["side"] == "LONG"
    assert Decimal(shown["quantity"]) == quantity
    assert Decimal(shown["cost"]) == position.cost
    assert books.verify().ok


def of_the_next_start(books: Books) -> Position:
    with Store.open(books.at, now_ns=LATER) as store:
        loaded = AccountBooks(store, {}).load(ACCOUNT)
    assert loaded.previous is not None
    [position] = loaded.previous.positions.values()
    return position


async def test_what_a_run_held_that_is_over_is_held_behind_a_wipe(books: Books) -> None:
    first = first_run(books)
    before = await held_in(books)
    wiped(books, first)
    await is_held(books, 1_000)
    assert (await held_in(books))["open"] == before["open"]
    second = Trader("exec-2", number=2)
    books.commit(second.going_on(first))
    after = await held_in(books)
    assert (after["open"], after["venues"]) == (before["open"], before["venues"])


async def test_of_two_runs_the_second_one_says_what_is_held_behind_a_wipe(books: Books) -> None:
    first = first_run(books)
    second = next_run(books, first, 2, entries=2)
    before = (await held_in(books))["open"]
    wiped(books, second)
    assert (await held_in(books))["open"] == before
    await is_held(books, 3_000)
    assert (await held_in(books))["by strategy"] == [], "whose it was went with the orders"


async def test_behind_a_wipe_the_next_run_and_another_wipe(books: Books) -> None:
    second = next_run(books, first_run(books), 2, entries=2)
    wiped(books, second)
    third = next_run(books, second, 3)
    assert [(account, one.quantity) for account, one in (await held_in(books))["open"]] == [(ACCOUNT, 4_000)]
    wiped(books, third)
    await is_held(books, 4_000)


@pytest.mark.parametrize("records_max", [5, 50_000])
async def test_behind_an_archive_and_a_wipe_and_another_archive(books: Books, records_max: int) -> None:
    first = first_run(books)
    assert books.archive(records_max=records_max)
    second = next_run(books, first, 2, entries=2)
    wiped(books, second)
    await is_held(books, 3_000)
    assert books.archive(records_max=records_max)
    await is_held(books, 3_000)
    third = next_run(books, second, 3)
    assert books.archive(records_max=records_max)
    assert [(account, one.quantity) for account, one in (await held_in(books))["open"]] == [(ACCOUNT, 4_000)]
    wiped(books, third)
    await is_held(books, 4_000)


async def test_what_was_archived_of_a_run_and_then_wiped_is_held_with_what_came_behind(books: Books) -> None:
    trader = Trader()
    books.commit(trader.opening(), *trader.round_trip(), trader.entry())
    assert books.archive()
    books.commit(trader.entry(), trader.closed())
    wiped(books, trader)
    await is_held(books, 2_000)
    assert books.archive()
    await is_held(books, 2_000)


async def test_what_was_held_at_a_time_is_told_until_another_run_has_taken_over(books: Books) -> None:
    first = first_run(books)
    second = next_run(books, first, 2, entries=2)
    wiped(books, second)
    async with Database(books.at, now_ns=lambda: LATER) as database:
        positions = SqlPositionRepository(database)
        [held] = await positions.get_positions_at(second.now_ns)
        assert held.quantity == 2_000, "all but the last entry"
        [held] = await positions.get_positions_at(second.now_ns + 1)
        assert held.quantity == 3_000
