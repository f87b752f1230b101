"""What was held at a time: by the time of the market, whichever that is."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.conformance.books.test_archiving import LATER, Books, books, running
from tests.unit.storage import samples as s
from tests.unit.storage.rounds import DAY, Trader
from tradekeel.domain import records as r
from tradekeel.domain.recovery import opening_of
from tradekeel.errors import InputError
from tradekeel.storage.repositories import Database, SqlPositionRepository
from tradekeel.storage.wiping import wipe

__all__ = ["books"]


async def held_at(books: Books, ts_ns: int) -> dict[str, Decimal]:
    async with Database(books.at, now_ns=lambda: LATER) as database:
        found = await SqlPositionRepository(database).get_positions_at(ts_ns)
        return {held.instrument: held.quantity for held in found}


async def test_what_was_held_at_a_time_is_told_in_the_time_of_the_market_which_may_be_years_ago(books: Books) -> None:
    """A run on recorded data begins by the clock long after everything that happens in it."""
    first = running(books)
    books.commit(first.closed())
    wipe(books.at, LATER, by="a test")
    second = Trader("exec-2", number=2)
    row = s.execution("exec-2", 2, started_ns=LATER)
    opening = opening_of(first.desk.book, "exec-2")
    registered = r.StrategyRegistered(ts_ns=0, row=s.strategy("exec-2"))
    books.commit(second.desk.group(r.ExecutionStarted(ts_ns=0, row=row, opening=opening), registered))
    assert await held_at(books, first.now_ns) == {"EUR_USD": 1000}, "nobody knows since when"
    second.now_ns = first.now_ns
    books.commit(second.entry())
    began_ns = second.now_ns
    assert await held_at(books, began_ns) == {"EUR_USD": 1000}
    assert await held_at(books, began_ns - 1) == {}, "what was held before it is in no books any more"
    assert await held_at(books, began_ns + 1) == {"EUR_USD": 2000}
    [carried] = second.desk.book.trades.keys() - {"trexec-2-1"}
    books.commit(second.exit(0, "1.40000", carried), second.exit())
    assert await held_at(books, second.now_ns) == {"EUR_USD": 1000}
    assert await held_at(books, second.now_ns + 1) == {}
    books.commit(second.entry())
    books.archive()
    assert await held_at(books, second.now_ns + 1) == {"EUR_USD": 1000}
    with pytest.raises(InputError, match="can no longer be told from the books"):
        await held_at(books, began_ns)


async def test_a_run_on_a_live_market_holds_nothing_before_it_began(books: Books) -> None:
    first = running(books)
    second = Trader("exec-2", account="other")
    second.now_ns = first.now_ns + DAY
    row = s.execution("exec-2", 1, "other", started_ns=second.now_ns, data_fingerprint="")
    registered = r.StrategyRegistered(ts_ns=second.now_ns, row=s.strategy("exec-2"))
    opening = opening_of(first.desk.book, "exec-2")
    books.commit(second.desk.group(r.ExecutionStarted(ts_ns=second.now_ns, row=row, opening=opening), registered))
    assert await held_at(books, second.now_ns - 1) == {"EUR_USD": 1000}
    assert await held_at(books, second.now_ns) == {"EUR_USD": 1000}
    async with Database(books.at, now_ns=lambda: LATER) as database:
        positions = SqlPositionRepository(database)
        assert await positions.get_positions_at(second.now_ns - 1, "other") == []
        assert len(await positions.get_positions_at(second.now_ns, "other")) == 1
