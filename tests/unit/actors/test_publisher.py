"""The publisher: what is durable comes to outside readers once and without a gap, and whatever fails, nobody waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from msgspec import structs

from tests.unit.runtime.support import World, world
from tradekeel.actors.publisher import Publisher, PublisherSettings
from tradekeel.actors.publisher.streams import PAGE
from tradekeel.domain.protocol import DaemonStands, JournalsGrew, PublisherStands
from tradekeel.domain.rows import ExecutionRow, Mode
from tradekeel.errors import StoreAway, StoreCorrupt, StoreError, StoreRefused, StoreUnanswered
from tradekeel.ports import Author, Board, Event, OpenTrades, Run, Service
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.supervisor import Supervisor
from tradekeel.storage.memory.publication import MemoryPublication
from tradekeel.storage.memory.registry import MemoryServiceRegistry

BEAT_S = 5.0


def event(sequence: int, type_: str = "order_changed") -> Event:
    return Event(sequence, type_, 1_000 + sequence, "", b'{"n":%d}' % sequence)


def row(execution: str, number: int = 1, account: str = "main", status: str = "running") -> ExecutionRow:
    return ExecutionRow(
        execution=execution,
        account=account,
        number=number,
        mode=Mode.PAPER,
        venue="paper",
        currency="USD",
        status=status,
        config_fingerprint="",
        data_fingerprint="",
        opening_balance=Decimal(1),
        started_ns=0,
    )


class Books:
    """Journals and open trades in memory, as whoever publishes them asks for them."""

    def __init__(self) -> None:
        self.rows: dict[str, ExecutionRow] = {}
        self.journals: dict[str, list[Event]] = {}
        self.trades: dict[str, dict[str, int]] = {}  # by execution: versions
        self.archived: dict[str, int] = {}
        self.wrong: StoreError | None = None
        self.asked = 0

    def begin(self, execution: str, number: int = 1, account: str = "main") -> None:
        self.rows[execution] = row(execution, number, account)
        self.journals[execution] = []
        self.trades[execution] = {}

    def grow(self, execution: str, count: int, type_: str = "order_changed") -> int:
        journal = self.journals[execution]
        journal += [event(len(journal) + n, type_) for n in range(1, count + 1)]
        return len(journal)

    def close(self, execution: str) -> int:
        self.rows[execution] = structs.replace(self.rows[execution], status="closed")
        self.trades[execution] = {}
        return self.grow(execution, 1, "execution_closed")

    def _look(self) -> None:
        self.asked += 1
        if self.wrong is not None:
            raise self.wrong

    async def runs(self, accounts: Sequence[str], each_max: int) -> list[Run]:
        self._look()
        found = sorted(self.rows.values(), key=lambda one: -one.number)
        return [self._run(one) for one in found if one.account in accounts]

    def _run(self, one: ExecutionRow) -> Run:
        return Run(one, len(self.journals[one.execution]), self.archived.get(one.execution, 0))

    async def run(self, execution: str) -> Run | None:
        self._look()
        found = self.rows.get(execution)
        return None if found is None else self._run(found)

    async def events(self, execution: str, after: int, events_max: int) -> list[Event]:
        self._look()
        if after < self.archived.get(execution, 0):
            raise StoreCorrupt("the journal has a gap")
        return self.journals[execution][after : after + events_max]

    async def open_trades(self, execution: str, known: Mapping[str, int]) -> OpenTrades:
        self._look()
        versions = dict(self.trades[execution])
        changed = {one: b"%d" % version for one, version in versions.items() if known.get(one) != version}
        return OpenTrades(len(self.journals[execution]), versions, changed)


class Shop(MemoryPublication):
    """A server that can be told to fail: before it does what it was asked, behind it, or for a part of it only."""

    def __init__(self, this: World) -> None:
        super().__init__(this.clock.now_ns)
        self.wrong: StoreError | None = None
        self.loses_answers = 0
        self.refuses_boards = False
        self.asked = 0

    def look(self) -> None:
        self.asked += 1
        if self.wrong is not None:
            raise self.wrong

    async def newest(self, execution: str) -> Event | None:
        self.look()
        return await super().newest(execution)

    async def append(
        self, execution: str, after: int, events: Sequence[Event], *, keep: int, anew: bool = False
    ) -> int:
        self.look()
        end = await super().append(execution, after, events, keep=keep, anew=anew)
        if events and self.loses_answers:
            self.loses_answers -= 1
            raise StoreUnanswered("it was asked and did not answer")
        return end

    async def show(self, board: Board, by: Author, *, since: int | None, fresh_s: float) -> bool:
        self.look()
        if self.refuses_boards:
            raise StoreRefused("a right is missing")
        return await super().show(board, by, since=since, fresh_s=fresh_s)


class Outlet:
    """One server."""

    where = "a server"

    def __init__(self, shop: Shop, registry: MemoryServiceRegistry) -> None:
        self.publication, self.registry, self._shop = shop, registry, shop

    async def ping(self) -> None:
        self._shop.look()


class Listener(Actor):
    """Stands where control stands."""

    def __init__(self, heard: list[PublisherStands]) -> None:
        self.heard = heard

    async def handle(self, message: Any, reply: Reply | None) -> None:
        self.heard.append(message)


class House:
    """A publisher, the books it reads, and the server it publishes on."""

    def __init__(self, this: World, **settings: Any) -> None:
        self.world = this
        self.books = Books()
        self.shop = Shop(this)
        self.registry = MemoryServiceRegistry(this.clock.now_ns)
        self.heard: list[PublisherStands] = []
        service = Service(id="installation", name="fx", host="here", pid=1)
        self.settings = PublisherSettings(service=service, accounts=("main",), beat_every_s=BEAT_S, **settings)

    def root(self) -> Supervisor:
        @asynccontextmanager
        async def outlet() -> AsyncIterator[Outlet]:
            yield Outlet(self.shop, self.registry)

        @asynccontextmanager
        async def source() -> AsyncIterator[Books]:
            yield self.books

        def publisher() -> Publisher:
            return Publisher(self.settings, outlet, source, self.world.system.ref("control"))

        children = [ChildSpec("control", lambda: Listener(self.heard)), ChildSpec("publisher", publisher)]
        return Supervisor("root", children=children)

    def tell(self, message: Any, key: str = "journals") -> None:
        self.world.system.ref("publisher").latest(key, message)

    def grow(self, execution: str, count: int) -> None:
        self.tell(JournalsGrew({execution: self.books.grow(execution, count)}))

    async def pass_s(self, seconds: float) -> None:
        await self.world.clock.advance(seconds)

    @property
    def now(self) -> PublisherStands:
        return self.heard[-1]


@asynccontextmanager
async def house(prepare: Any = None, **settings: Any) -> AsyncIterator[House]:
    made: list[House] = []

    def root(this: World) -> Supervisor:
        made.append(House(this, **settings))
        made[0].books.begin("x")
        if prepare is not None:
            prepare(made[0])
        return made[0].root()

    async with world(root) as this:
        await this.clock.settle()
        yield made[0]
        assert this.faults == []


# --- events -----------------------------------------------------------------------------------------------------------


async def test_what_the_journal_holds_is_published_within_a_moment() -> None:
    async with house() as here:
        here.grow("x", 5)
        await here.pass_s(0.2)
        assert here.shop.streams["x"] == here.books.journals["x"]
        await here.pass_s(0.5)
        assert (here.now.state, here.now.events_published, here.now.events_waiting) == ("up", 5, 0)


async def test_many_records_come_in_pages_and_in_order() -> None:
    async with house() as here:
        here.grow("x", 3 * PAGE + 7)
        await here.pass_s(1.0)
        assert here.shop.streams["x"] == here.books.journals["x"]


async def test_a_publisher_that_starts_goes_on_where_the_stream_ends() -> None:
    def half(here: House) -> None:
        here.books.grow("x", 10)
        here.shop.streams["x"] = here.books.journals["x"][:4]

    async with house(half) as here:
        await here.pass_s(0.6)
        assert here.shop.streams["x"] == here.books.journals["x"]
        assert here.now.events_published == 6


async def test_an_answer_that_is_lost_doubles_nothing() -> None:
    async with house() as here:
        here.shop.loses_answers = 3
        here.grow("x", 3 * PAGE)
        await here.pass_s(10.0)
        assert here.shop.streams["x"] == here.books.journals["x"]
        assert (here.now.state, here.now.failures) == ("up", 3)


@pytest.mark.parametrize("keep", [1_000, 100])
async def test_a_stream_that_the_server_has_lost_is_filled_again_as_far_as_it_is_kept(keep: int) -> None:
    async with house(events_max=keep) as here:
        here.grow("x", 300)
        await here.pass_s(1.0)
        here.shop.streams.clear()
        await here.pass_s(BEAT_S + 1.0)  # also where nothing new happens
        assert here.shop.streams["x"] == here.books.journals["x"][-keep:]
        assert here.now.streams_refilled == 1


async def test_a_stream_of_which_the_end_was_lost_goes_on_from_there() -> None:
    async with house() as here:
        here.grow("x", 300)
        await here.pass_s(1.0)
        del here.shop.streams["x"][120:]  # as a server does that comes back with an older copy
        here.grow("x", 1)
        await here.pass_s(2.0)
        assert here.shop.streams["x"] == here.books.journals["x"]


@pytest.mark.parametrize("ahead", [True, False])
async def test_a_stream_of_other_books_is_begun_anew(ahead: bool) -> None:
    def other(here: House) -> None:
        here.books.grow("x", 10)
        events = [event(n, "latch_changed") for n in range(1, 31 if ahead else 6)]
        here.shop.streams["x"] = events

    async with house(other) as here:
        await here.pass_s(1.0)
        assert here.shop.streams["x"] == here.books.journals["x"]
        assert here.now.streams_replaced == 1


@pytest.mark.parametrize("taken", [1, 9, 10])
async def test_a_stream_from_which_a_reader_deletes_goes_on_where_it_was(taken: int) -> None:
    """Such as one that takes it for a queue. What was deleted comes no second time, and nobody asks again and again."""

    def read(here: House) -> None:
        here.books.grow("x", 10)
        here.shop.streams["x"] = list(here.books.journals["x"])
        here.shop.take_away("x", taken)

    async with house(read) as here:
        await here.pass_s(1.0)
        here.grow("x", 2)
        await here.pass_s(1.0)
        journal = here.books.journals["x"]
        assert here.shop.streams["x"] == [*journal[: 10 - taken], *journal[10:]]
        here.shop.take_away("x", 2)
        here.grow("x", 1)
        await here.pass_s(1.0)
        assert here.shop.streams["x"][-1] == journal[-1]
        assert (here.now.state, here.now.events_waiting, here.now.streams_replaced) == ("up", 0, 0)
        assert here.shop.asked < 30


async def test_a_stream_of_other_books_from_which_a_reader_deletes_is_begun_anew() -> None:
    def other(here: House) -> None:
        here.books.grow("x", 10)
        here.shop.streams["x"] = [event(n) for n in range(1, 31)]
        here.shop.take_away("x", 25)

    async with house(other) as here:
        await here.pass_s(1.0)
        assert here.shop.streams["x"] == here.books.journals["x"]
        assert here.now.streams_replaced == 1


@pytest.mark.parametrize(
    ("published", "there"), [(0, range(21, 31)), (12, range(21, 31)), (20, [*range(1, 31)]), (25, [*range(1, 31)])]
)
async def test_a_stream_goes_on_behind_what_was_archived_or_begins_there(published: int, there: Sequence[int]) -> None:
    def archived(here: House) -> None:
        here.books.grow("x", 30)
        here.books.archived["x"] = 20
        if published:
            here.shop.streams["x"] = here.books.journals["x"][:published]

    async with house(archived) as here:
        await here.pass_s(1.0)
        assert [one.sequence for one in here.shop.streams["x"]] == list(there)
        assert here.now.streams_replaced == (published == 12)


async def test_what_the_books_do_not_have_yet_is_waited_for() -> None:
    async with house() as here:
        here.grow("x", 3)
        await here.pass_s(1.0)
        here.tell(JournalsGrew({"x": 8}))  # acknowledged, and kept for the books' server
        await here.pass_s(30.0)
        asked = here.books.asked
        assert here.now.events_waiting == 5
        assert asked < 60  # and not asked for at every turn
        here.books.grow("x", 5)
        await here.pass_s(30.0)
        assert here.shop.streams["x"] == here.books.journals["x"]


async def test_books_that_cannot_be_read_are_said_and_the_rest_goes_on() -> None:
    async with house() as here:
        here.grow("x", 3)
        await here.pass_s(1.0)
        here.books.wrong = StoreCorrupt("record 4 is damaged")
        here.grow("x", 3)
        await here.pass_s(20.0)
        assert (here.now.state, here.now.failing) == ("degraded", ("events", "open trades"))
        assert here.now.at_books == ("events", "open trades")
        assert here.now.reason == "record 4 is damaged"
        assert (await here.registry.list())[0].alive
        here.books.wrong = None
        await here.pass_s(20.0)
        assert here.now.state == "up"
        assert here.shop.streams["x"] == here.books.journals["x"]


async def test_books_that_do_not_answer_about_a_run_have_failed_until_they_do() -> None:
    """Not being asked for a while is no answer."""
    async with house() as here:
        await here.pass_s(1.0)
        here.books.wrong = StoreAway("the books' server is away")
        here.tell(JournalsGrew({"y": 2}))
        await here.pass_s(30.0)
        assert here.now.state == "degraded"
        changes = [after.state for before, after in pairwise(here.heard) if before.state != after.state]
        assert changes.count("degraded") == 1
        here.books.wrong = None
        here.books.begin("y", 2)
        here.books.grow("y", 2)
        await here.pass_s(20.0)
        assert here.now.state == "up"
        assert here.shop.streams["y"] == here.books.journals["y"]


async def test_the_last_records_of_the_run_before_are_made_up_for() -> None:
    def two_runs(here: House) -> None:
        here.books.grow("x", 9)
        here.books.close("x")
        here.books.begin("y", 2)
        here.books.grow("y", 3)
        here.shop.streams["x"] = here.books.journals["x"][:6]

    async with house(two_runs) as here:
        await here.pass_s(1.0)
        assert here.shop.streams == here.books.journals


async def test_runs_of_a_time_without_redis_are_made_up_for_back_to_the_last_whole_one() -> None:
    def four_runs(here: House) -> None:
        for number, execution in enumerate(("w", "x", "y", "z")):
            here.books.begin(execution, number)
            here.books.grow(execution, 3)
            here.books.close(execution)
        here.shop.streams["x"] = list(here.books.journals["x"])

    async with house(four_runs) as here:
        await here.pass_s(1.0)
        assert set(here.shop.streams) == {"x", "y", "z"}
        assert all(here.shop.streams[one] == here.books.journals[one] for one in here.shop.streams)


async def test_where_nothing_was_ever_published_the_newest_run_is_begun_with() -> None:
    def three_runs(here: House) -> None:
        for number, execution in enumerate(("x", "y", "z")):
            here.books.begin(execution, number)
            here.books.grow(execution, 3)

    async with house(three_runs) as here:
        await here.pass_s(1.0)
        assert set(here.shop.streams) == {"z"}


async def test_a_run_that_begins_later_is_found_when_the_books_know_it() -> None:
    async with house() as here:
        here.tell(JournalsGrew({"y": 2}))
        await here.pass_s(5.0)
        here.books.begin("y", 2)
        here.books.grow("y", 2)
        await here.pass_s(5.0)
        assert here.shop.streams["y"] == here.books.journals["y"]


# --- open trades ------------------------------------------------------------------------------------------------------


async def test_a_board_follows_the_open_trades_and_is_empty_when_the_execution_is_closed() -> None:
    async with house() as here:
        here.books.trades["x"] = {"a": 1, "b": 1}
        here.grow("x", 2)
        await here.pass_s(1.0)
        assert here.shop.boards["main"].trades == {"a": b"1", "b": b"1"}
        here.books.trades["x"] = {"b": 2, "c": 1}
        here.grow("x", 1)
        await here.pass_s(1.0)
        assert here.shop.boards["main"].trades == {"b": b"2", "c": b"1"}
        assert here.shop.boards["main"].sequence == 3
        here.tell(JournalsGrew({"x": here.books.close("x")}))
        await here.pass_s(1.0)
        assert here.shop.boards["main"].trades == {}
        assert here.shop.streams["x"] == here.books.journals["x"]


async def test_a_board_says_with_every_beat_that_it_is_still_right() -> None:
    async with house() as here:
        here.grow("x", 1)
        await here.pass_s(1.0)
        before = here.shop.boards["main"]
        await here.pass_s(3 * BEAT_S)
        after = here.shop.boards["main"]
        assert structs.replace(after, ts_ns=0) == structs.replace(before, ts_ns=0)
        assert here.world.clock.now_ns() - after.ts_ns <= (BEAT_S + 1) * 10**9


async def test_a_board_that_the_server_has_lost_is_put_there_again() -> None:
    async with house() as here:
        here.books.trades["x"] = {"a": 1}
        here.grow("x", 1)
        await here.pass_s(1.0)
        here.shop.boards.clear()
        await here.pass_s(2 * BEAT_S)
        assert here.shop.boards["main"].trades == {"a": b"1"}


async def test_a_board_changes_no_more_often_than_anybody_looks() -> None:
    async with house(publish_events=False, register=False) as here:
        await here.pass_s(1.0)
        before = here.shop.asked
        for _ in range(100):
            here.grow("x", 1)
            await here.pass_s(0.05)
        assert here.shop.asked - before <= 11


async def test_an_account_that_another_daemon_shows_is_left_to_it_and_said() -> None:
    other = Author("another", "theirs")

    async with house() as here:
        here.shop.boards.clear()
        await here.shop.show(
            Board(account="main", execution="o", sequence=1, put={}, trades=0), other, since=None, fresh_s=1.0
        )
        here.grow("x", 3)
        await here.pass_s(2.0)
        assert here.now.failing == ("open trades",)
        assert "another daemon" in here.now.reason
        assert here.shop.streams["x"] == here.books.journals["x"]
        await here.pass_s(10 * BEAT_S)  # the other one is gone
        assert here.now.state == "up"
        assert here.shop.boards["main"].by.id == "installation"


# --- the list of daemons ----------------------------------------------------------------------------------------------


async def test_a_daemon_registers_beats_tells_how_it_stands_and_leaves() -> None:
    async with house() as here:
        (service,) = await here.registry.list()
        assert (service.id, service.name, service.status, service.ttl_s) == (
            "installation",
            "fx",
            "starting",
            3 * BEAT_S,
        )
        here.tell(DaemonStands("running", {"accounts": "main"}), "daemon")
        await here.pass_s(0.2)
        (service,) = await here.registry.list()
        assert (service.status, service.metadata) == ("running", {"accounts": "main"})
        await here.pass_s(20 * BEAT_S)
        (service,) = await here.registry.list()
        assert service.alive
        here.tell(DaemonStands("running", {}), "daemon")
        await here.pass_s(0.2)
        assert (await here.registry.list())[0].metadata == {}
        registry = here.registry
    assert await registry.list() == ()


async def test_a_daemon_that_was_taken_for_dead_registers_again() -> None:
    async with house() as here:
        await here.registry.deregister("installation")
        await here.pass_s(2 * BEAT_S)
        assert [service.id for service in await here.registry.list()] == ["installation"]


async def test_daemons_that_beat_no_more_are_taken_out() -> None:
    async with house() as here:
        await here.registry.register(Service(id="dead", name="old", ttl_s=1.0))
        await here.pass_s(5 * BEAT_S)
        assert [service.id for service in await here.registry.list()] == ["installation"]


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreAway("it is away"), StoreUnanswered("it is slow")])
async def test_a_server_that_fails_is_left_alone_more_and_more_said_once_and_made_up_for(error: StoreError) -> None:
    async with house() as here:
        here.grow("x", 1)
        await here.pass_s(1.0)
        here.shop.wrong, before = error, here.shop.asked
        for _ in range(60):
            here.grow("x", 10)
            await here.pass_s(1.0)
        assert here.shop.asked - before < 20
        assert (here.now.state, here.now.failing, here.now.reason) == ("degraded", ("the server",), str(error))
        assert here.now.at_books == ()
        assert len([one for one in here.heard if one.state == "degraded"]) < 130
        here.shop.wrong = None
        await here.pass_s(15.0)
        assert (here.now.state, here.now.reason) == ("up", "")
        assert here.shop.streams["x"] == here.books.journals["x"]
        assert here.shop.boards["main"].sequence == 601


async def test_a_server_that_refuses_us_from_the_beginning_is_said_once() -> None:
    def closed(here: House) -> None:
        here.shop.wrong = StoreRefused("it does not take this password")

    async with house(closed) as here:
        here.grow("x", 3)
        await here.pass_s(60.0)
        assert {(one.state, one.failing) for one in here.heard[1:]} == {("degraded", ("the server",))}
        here.shop.wrong = None
        await here.pass_s(15.0)
        assert here.shop.streams["x"] == here.books.journals["x"]


async def test_a_server_that_is_full_is_tried_for_each_part_and_said_once() -> None:
    async with house() as here:
        here.grow("x", 1)
        await here.pass_s(1.0)
        here.shop.wrong = StoreRefused("it is full")
        here.grow("x", 3)
        await here.pass_s(60.0)
        assert (here.now.failing, here.now.reason) == (("events", "open trades"), "it is full")
        here.shop.wrong = None
        await here.pass_s(15.0)
        assert here.now.state == "up"
        assert here.shop.streams["x"] == here.books.journals["x"]


async def test_what_one_part_may_not_do_keeps_the_others_from_nothing() -> None:
    async with house() as here:
        here.shop.refuses_boards = True
        here.grow("x", 5)
        await here.pass_s(20.0)
        assert (here.now.state, here.now.failing, here.now.reason) == (
            "degraded",
            ("open trades",),
            "a right is missing",
        )
        assert here.shop.streams["x"] == here.books.journals["x"]
        assert (await here.registry.list())[0].alive
        here.shop.refuses_boards = False
        await here.pass_s(20.0)
        assert here.now.state == "up"


async def test_a_stop_publishes_what_is_left_before_it_leaves() -> None:
    async with house() as here:
        here.grow("x", 3)
        await here.pass_s(1.0)
        here.grow("x", 2 * PAGE)
        here.books.trades["x"] = {"a": 1}
        books, shop = here.books, here.shop
    assert shop.streams["x"] == books.journals["x"]
    assert shop.boards["main"].trades == {"a": b"1"}


@pytest.mark.parametrize("is_wrong", [True, False])
async def test_a_stop_publishes_what_the_books_could_not_tell_until_just_now(is_wrong: bool) -> None:
    """Nobody knows of the next try, which is seconds away: there is none behind a stop."""
    async with house() as here:
        here.grow("x", 3)
        await here.pass_s(1.0)
        if is_wrong:
            here.books.wrong = StoreAway("the books' server is away")
        here.tell(JournalsGrew({"x": 8}))  # acknowledged, and kept for the books' server
        await here.pass_s(60.0)
        here.books.wrong = None
        here.books.grow("x", 5)
        here.books.trades["x"] = {"a": 1}
        books, shop = here.books, here.shop
    assert shop.streams["x"] == books.journals["x"]
    assert shop.boards["main"].trades == {"a": b"1"}
    assert await here.registry.list() == ()


@pytest.mark.parametrize("is_wrong", [True, False])
async def test_a_stop_publishes_a_run_that_the_books_did_not_know_until_just_now(is_wrong: bool) -> None:
    """They were asked a moment ago, and would be asked again in a second."""
    async with house() as here:
        await here.pass_s(1.0)
        here.books.wrong = StoreAway("the books' server is away") if is_wrong else None
        here.tell(JournalsGrew({"y": 5}))
        asked = here.books.asked
        await here.world.until(lambda: here.books.asked > asked)
        here.books.wrong = None
        here.books.begin("y", 2)
        here.books.grow("y", 5)
        here.books.trades["y"] = {"a": 1}
        books, shop = here.books, here.shop
    assert shop.streams["y"] == books.journals["y"]
    assert shop.boards["main"].trades == {"a": b"1"}


@pytest.mark.parametrize("moved", [True, False])
async def test_a_stop_shows_again_what_the_server_has_just_lost(moved: bool) -> None:
    async with house() as here:
        here.books.trades["x"] = {"a": 1, "b": 1}
        here.grow("x", 3)
        await here.pass_s(1.0)
        here.shop.boards.clear()
        if moved:
            here.books.trades["x"] = {"a": 2, "b": 1}
            here.grow("x", 1)
        shop = here.shop
    assert shop.boards["main"].trades == {"a": b"2" if moved else b"1", "b": b"1"}


async def test_a_stop_asks_a_server_that_is_away_for_nothing() -> None:
    async with house() as here:
        here.shop.wrong = StoreAway("it is away")
        here.grow("x", 3)
        await here.pass_s(20.0)
        before, began_s = here.shop.asked, here.world.clock.monotonic()
        await here.world.stop()
        assert here.shop.asked == before
        assert here.world.clock.monotonic() - began_s < 0.1
