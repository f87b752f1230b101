"""What waits in the executor, for the disk, for the feed or for an answer, and is not wanted any more when its turn comes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import anyio
import pytest
from msgspec import structs

from tests.unit.actors.executor_house import Asking, Before, house
from tests.unit.actors.test_error_meaning import BALANCE
from tests.unit.actors.test_executor_pages import Books, Nobody, _answer, journal_of
from tests.unit.actors.test_executor_pages import house as bare_house
from tests.unit.domain.executor_desk import buy, leave, placed_in
from tests.unit.domain.world import START_NS, execution_row
from tests.unit.runtime.support import world
from tradekeel.actors.executor.reconciling import RECONCILE_ROUNDS_MAX
from tradekeel.domain import records as r
from tradekeel.domain.messages import TransactionKind, VenueTransaction
from tradekeel.domain.orders import OrderStatus, OrderType
from tradekeel.domain.protocol import (
    AccountCommand,
    Attach,
    CaughtUp,
    Command,
    Commit,
    Describe,
    EndWorking,
    LoadedAccount,
    ReconcileNow,
    VenueSide,
)
from tradekeel.runtime.actor import Reply

D = Decimal


def with_a_stop(**terms: Any) -> Before:
    """A trade is open whose stop the venue keeps, or the monitor."""
    before = Before(**terms)
    before.market()
    before.send(before.decide(buy(stop_loss="1.09000")))
    before.market()
    return before


async def test_the_cancel_of_a_stop_that_has_not_left_when_a_kill_comes_does_not_leave() -> None:
    before = with_a_stop()
    (trade,) = before.book.trades.values()
    before.decide(leave(trade))  # durable; the process ends before the stop's cancel has left

    async with house(before) as h:
        await h.ask(AccountCommand(Command.KILL, "anna", "enough"))
        await h.ask(CaughtUp())  # the feed is back: what waits may go out

        assert h.venue.wire == []
        assert [order.state for order in await h.venue.open_orders()] == ["working"]


async def test_nor_does_one_that_the_session_has_in_hand() -> None:
    before = with_a_stop()
    (trade,) = before.book.trades.values()
    before.decide(leave(trade))

    async with house(before) as h:
        h.venue.gates["cancel"] = anyio.Event()
        catching_up, killing = Asking(h.w, CaughtUp()), Asking(h.w, AccountCommand(Command.KILL, "anna", "enough"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(catching_up.go)
            await h.w.clock.settle()
            tasks.start_soon(killing.go)
            await h.w.clock.settle()
            h.venue.gates["cancel"].set()
            await h.w.until(lambda: catching_up.answered and killing.answered)
        await h.w.clock.advance(60)

        assert h.venue.wire == [], "and it is not tried again"


async def test_a_flatten_while_the_venue_meets_a_tick_closes_what_fills_at_it() -> None:
    before = Before(at_venue=False)
    before.market()
    before.send(before.decide(buy(type=OrderType.LIMIT, price="1.09900")))

    async with house(before) as h:
        await h.ask(CaughtUp())
        h.venue.gates["match"] = anyio.Event()
        meeting = Asking(h.w, h.next_tick("1.09880"))
        flattening = Asking(h.w, AccountCommand(Command.FLATTEN, "anna"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(meeting.go)
            await h.w.clock.settle()
            tasks.start_soon(flattening.go)
            await h.w.clock.settle()
            h.venue.gates.pop("match").set()
            await h.w.until(lambda: meeting.answered and flattening.answered)
        assert len(h.executor._book.trades) == 1
        await h.ask(h.next_tick("1.09880"))

        assert not h.executor._book.trades
        assert not h.venue.matcher.positions()


async def test_nothing_is_settled_while_a_cancel_has_no_answer() -> None:
    before = Before()
    before.market()
    before.send(before.decide(buy(type=OrderType.LIMIT, price="1.09000")))

    async with house(before) as h:
        await h.ask(CaughtUp())
        h.venue.away = True
        ending = Asking(h.w, EndWorking("all", "the feed has ended", before.now_ns))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ending.go)
            await h.w.clock.settle()
            await h.w.clock.advance(10)
            assert not ending.answered, "a run that was closed now would leave an order at the venue"
            h.venue.away = False
            await h.w.until(lambda: ending.answered)

        assert await h.venue.open_orders() == []


@pytest.mark.parametrize("at_venue", [False, True])
async def test_a_flatten_goes_on_when_the_venue_comes_back(at_venue: bool) -> None:
    before = with_a_stop(at_venue=at_venue)

    async with house(before) as h:
        await h.ask(CaughtUp())
        h.venue.away = True
        await h.ask(AccountCommand(Command.FLATTEN, "anna"))
        await h.w.clock.advance(30)
        assert len(h.executor._book.trades) == 1
        h.venue.away = False
        await h.w.clock.advance(5)
        await h.ask(h.next_tick("1.10000"))

        assert not h.executor._book.trades


async def test_a_person_resolves_nothing_before_the_books_were_compared() -> None:
    before = Before()
    before.market()
    (entry_id,) = placed_in(before.decide(buy(type=OrderType.LIMIT, price="1.09000")))
    before.keep(before.core.lost(entry_id, "timeout", before.now_ns))
    command = AccountCommand(Command.RESOLVE, "anna", client_order_id=entry_id, outcome=OrderStatus.NOT_SENT.value)

    async with house(before, attached=False) as h:
        resolving = Asking(h.w, command)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(resolving.go)
            await h.w.clock.settle()
            assert not resolving.answered
            h.venue.gates.pop("balance").set()
            await h.w.until(lambda: resolving.answered)

        assert "unknown" not in [order.status for order in h.executor._book.orders.values()]


async def test_a_comparison_that_fails_while_it_trades_is_told_and_stops_nothing() -> None:
    before = with_a_stop()

    async with house(before) as h:
        await h.ask(CaughtUp())
        h.venue.away = True
        await h.ask(ReconcileNow())
        await h.w.clock.advance(120)
        told = [text for text in h.alerts() if "could not be compared" in text]
        state = (await h.ask(Describe())).state
        h.venue.away = False
        await h.w.clock.advance(60)

        assert len(told) == 1
        assert state == "trading"
        assert h.executor._failures == 0


async def test_orders_that_wait_behind_others_are_not_told_as_unknown() -> None:
    before = with_a_stop()
    (trade,) = before.book.trades.values()
    before.decide(leave(trade))

    async with house(before) as h:
        assert h.executor._book.waiting
        assert (await h.ask(Describe())).unknown == ()


class Venue(Nobody):
    """Sync, with a record of the venue's that has grown by some entries since it was asked for the balance."""

    def __init__(self, record: Sequence[VenueTransaction], behind: int) -> None:
        self.record, self.behind = record, behind
        self.asked = 0

    async def handle(self, message: Any, reply: Any) -> None:
        self.asked += 1
        behind = self.behind if self.asked == 1 or self.behind < 0 else 0
        last = len(self.record) - abs(behind)
        balance = structs.replace(BALANCE, balance=D(last), last_sequence=last)
        reply.send(VenueSide(self.record[message.cursor :], {}, (), (), balance))


def deposits(count: int) -> list[VenueTransaction]:
    return [
        VenueTransaction(sequence=n, kind=TransactionKind.DEPOSITED, ts_ns=START_NS, amount=D(1), balance=D(n))
        for n in range(1, count + 1)
    ]


async def compared(venue: Any, before: Sequence[tuple[int, r.Record]]) -> list[r.Reconciled]:
    books = Books(LoadedAccount(execution_row().execution, 1, None, before, {}))
    async with world(bare_house(books, venue)) as w:
        await _answer(w, Attach("a"))
    return [kept for kept in books.kept if isinstance(kept, r.Reconciled)]


@pytest.mark.parametrize("entries", [3, 2_500], ids=["a short record", "one of several pages"])
async def test_an_answer_that_is_older_than_the_news_in_it_is_asked_for_again(entries: int) -> None:
    venue = Venue(deposits(entries), behind=1)

    (record,) = await compared(venue, journal_of(0))

    assert record.balanced
    assert venue.asked == 2


async def test_a_record_that_is_shorter_than_ours_was_when_we_asked_halts_at_once() -> None:
    journal = journal_of(0)
    for n, entry in enumerate(deposits(5), start=len(journal) + 1):
        journal.append((n, r.VenueReported(ts_ns=START_NS, stamp=0, transaction=entry)))
    venue = Venue(deposits(5), behind=-2)

    (record,) = await compared(venue, journal)

    assert not record.balanced
    assert venue.asked == 1 < RECONCILE_ROUNDS_MAX


class Patient(Books):
    """A recorder whose server has not answered for ten minutes each time: what it was told is durable then."""

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if isinstance(message, Commit):
            await self.clock.sleep(600)
        await super().handle(message, reply)


async def test_an_account_waits_for_its_commit_as_long_as_the_books_wait_for_their_server() -> None:
    """What the server does not take in the end is kept on this side: started again it would wait for that server to be back."""
    books = Patient(LoadedAccount(execution_row().execution, 1, None, journal_of(0), {}))
    venue: Any = Venue((), behind=0)
    async with world(bare_house(books, venue)) as w:
        asked = w.system.ref("executor").begin(Attach("a"), timeout_s=1e6)
        await w.until(asked.future.done)
        asked.close()
        assert w.faults == []
        assert r.Reconciled in map(type, books.kept)
