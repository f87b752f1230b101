"""However much an account has to go through when it starts, the event loop turns in between: a guard ends what stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from msgspec import structs

from tests.unit.actors.test_error_meaning import BALANCE, an_executor
from tests.unit.domain.world import START_NS, execution_row, strategy_row
from tests.unit.runtime.support import World, world
from tradekeel.actors.executor import Executor
from tradekeel.actors.executor.reconciling import NEWS_PAGE_MAX
from tradekeel.actors.executor.starting import PAGE_RECORDS_MAX
from tradekeel.actors.recorder import Recorder
from tradekeel.domain import records as r
from tradekeel.domain.messages import TransactionKind, VenueTransaction
from tradekeel.domain.protocol import (
    Attach,
    Attached,
    Commit,
    LoadAccount,
    LoadedAccount,
    Reconcile,
    StoreStands,
    VenueSide,
)
from tradekeel.domain.risk import RiskGate
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.rows import Checkpoint
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.faults import armed
from tradekeel.runtime.loop import InlineWorker
from tradekeel.runtime.restart import Intensity
from tradekeel.runtime.supervisor import Supervisor

D = Decimal


class Turns:
    """Counts the turns of the event loop, and how much of something was gone through in each."""

    def __init__(self) -> None:
        self.now = 0
        self.gone_through: dict[int, int] = {}

    async def count(self) -> None:
        while True:
            self.now += 1
            await anyio.lowlevel.checkpoint()

    def through(self, things: Iterable[Any]) -> Iterator[Any]:
        """These, each noted when it is taken."""
        for thing in things:
            self.gone_through[self.now] = self.gone_through.get(self.now, 0) + 1
            yield thing


class Watched(list[Any]):
    """A journal that notes in which turn each of its records is read."""

    turns: Turns

    def __iter__(self) -> Iterator[Any]:
        return self.turns.through(super().__iter__())


class Books(Actor):
    """A recorder with these records; what it is told to keep is durable at once."""

    def __init__(self, loaded: LoadedAccount) -> None:
        self.loaded = loaded
        self.kept: list[r.Record] = []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        assert reply is not None
        match message:
            case LoadAccount():
                reply.send(self.loaded)
            case Commit(group):
                self.kept.extend(group.records)
                reply.send(len(self.kept))


class Venue(Actor):
    """Sync, and the venue behind it, whose record is this."""

    def __init__(self, record: Sequence[VenueTransaction]) -> None:
        self.record = record

    async def handle(self, message: Any, reply: Reply | None) -> None:
        assert isinstance(message, Reconcile)
        assert reply is not None
        last = self.record[-1] if self.record else None
        total = D(0) if last is None or last.balance is None else last.balance
        balance = structs.replace(BALANCE, balance=total, last_sequence=len(self.record))
        reply.send(VenueSide(self.record[message.cursor :], {}, (), (), balance))


class Nobody(Actor):
    """Whoever else an executor speaks to."""

    async def handle(self, message: Any, reply: Reply | None) -> None:
        """There is nothing to do."""


def house(books: Books, venue: Venue) -> Any:
    def root(this: World) -> Supervisor:
        def executor() -> Executor:
            refs = {n: this.system.ref(n) for n in ("recorder", "session", "sync", "control", "feed")}
            settings = structs.replace(an_executor().settings, strategies=(strategy_row("a"),))
            return Executor(settings, lambda rates: RiskGate(RiskLimits(), rates), **refs)

        actors: dict[str, Any] = {"recorder": lambda: books, "session": Nobody, "sync": lambda: venue}
        actors |= {"control": Nobody, "feed": Nobody, "executor": executor}
        children = [ChildSpec(name, make, start_timeout_s=None) for name, make in actors.items()]
        return Supervisor("root", children=children, intensity=Intensity(0, 1.0))

    return root


def journal_of(samples: int) -> list[tuple[int, r.Record]]:
    """A run with one strategy and so many sampled ticks."""
    row = structs.replace(execution_row(), account="a", data_fingerprint="")
    ticks = (
        r.TickSampled(ts_ns=START_NS, stamp=2 * n, position=n, instrument="EUR_USD", bid=D(1), ask=D(2))
        for n in range(1, samples + 1)
    )
    records = (r.ExecutionStarted(ts_ns=START_NS, row=row), r.StrategyRegistered(ts_ns=START_NS, row=strategy_row("a")))
    return list(enumerate((*records, *ticks), start=1))


def checkpoint_of(inbox: int) -> Checkpoint:
    return Checkpoint(
        execution=execution_row().execution, owner="a", position=0, inbox=inbox, ts_ns=0, version=1, state=b""
    )


@pytest.mark.parametrize("saved", [False, True], ids=["nothing can be read", "a strategy's state can be read"])
async def test_a_journal_that_is_read_from_its_first_record_lets_the_loop_turn_behind_each_page(saved: bool) -> None:
    turns, pages = Turns(), 5
    journal = Watched(journal_of(pages * PAGE_RECORDS_MAX))
    journal.turns = turns
    inbox = len(journal) - 10
    books = Books(
        LoadedAccount(execution_row().execution, 1, None, journal, {"a": checkpoint_of(inbox)} if saved else {})
    )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.count)
        async with world(house(books, Venue(()))) as w:
            attached = await _answer(w, Attach("a"))
            assert attached.view.inbox == (inbox if saved else 0)
            assert attached.entries[-1].sequence >= len(journal)
        tasks.cancel_scope.cancel()

    assert sum(turns.gone_through.values()) == len(journal), "each record once"
    assert len(turns.gone_through) > pages
    assert max(turns.gone_through.values()) <= PAGE_RECORDS_MAX


async def test_a_venues_long_record_is_booked_in_pages_and_compared_when_all_of_it_is_booked() -> None:
    turns, pages = Turns(), 5
    record = [
        VenueTransaction(sequence=n, kind=TransactionKind.DEPOSITED, ts_ns=START_NS, amount=D(1), balance=D(n))
        for n in range(1, pages * NEWS_PAGE_MAX + 8)
    ]
    books = Books(LoadedAccount(execution_row().execution, 1, None, journal_of(0), {}))
    booked_in: list[int] = []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.count)
        with armed({"executor.news.before_booking": lambda _: booked_in.append(turns.now)}):
            async with world(house(books, Venue(record))) as w:
                await _answer(w, Attach("a"))
        tasks.cancel_scope.cancel()

    assert len(booked_in) == len(set(booked_in)) == pages + 1, "each page in a turn of its own"
    kinds = [type(kept) for kept in books.kept]
    assert kinds.count(r.VenueReported) == len(record)
    assert kinds.count(r.Reconciled) == 1
    assert kinds.index(r.Reconciled) > max(n for n, kind in enumerate(kinds) if kind is r.VenueReported)
    assert next(kept for kept in books.kept if isinstance(kept, r.Reconciled)).balanced


class Long:
    """Books whose journals have three pages each; ``behind`` is called behind each page with how many that makes."""

    def __init__(self, behind: Callable[[int], object]) -> None:
        self.pages = 0
        self.behind = behind

    def load(self, account: str, progress: Callable[[], object]) -> LoadedAccount:
        for _ in range(3):
            progress()
            self.pages += 1
            self.behind(self.pages)
        return LoadedAccount(None, 1, None, (), {})

    def commit(self, groups: Sequence[r.Group]) -> Sequence[Any]:
        raise AssertionError("nothing is committed here")

    def close(self) -> None:
        """Nothing is open."""

    tend_every_s = None

    def tend(self) -> bool:
        return False

    def stands(self) -> StoreStands:
        return StoreStands(mode="direct")

    @property
    def asks(self) -> bool:
        return False


def alone(recorder: Recorder) -> Callable[[World], Supervisor]:
    return lambda _: Supervisor("root", children=[ChildSpec("recorder", lambda: recorder)], intensity=Intensity(0, 1.0))


async def test_a_recorder_that_reads_page_after_page_makes_progress() -> None:
    seen: list[int] = []
    books = Long(lambda _: seen.append(recorder.progress))
    recorder = Recorder(lambda: books, InlineWorker(), groups_max=1)

    async with world(alone(recorder)) as w:
        await w.ask("recorder", LoadAccount("a"))

    assert len(set(seen)) == 3


async def test_a_long_journal_is_not_read_on_when_whoever_asked_for_it_has_gone() -> None:
    def behind(page: int) -> None:
        if page == 1:
            first.close()  # as an executor that is stopped

    books = Long(behind)
    async with world(alone(Recorder(lambda: books, InlineWorker(), groups_max=1))) as w:
        first = w.system.ref("recorder").begin(LoadAccount("a"), timeout_s=1.0)
        await w.clock.settle()
        assert books.pages == 1
        await w.ask("recorder", LoadAccount("a"))  # by the next one
        assert books.pages == 4


async def _answer(w: World, message: Any) -> Attached:
    found: list[Any] = []

    async def ask() -> None:
        found.append(await w.system.ref("executor").ask(message, timeout_s=10**6))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await w.until(lambda: bool(found))
    assert isinstance(found[0], Attached)
    return found[0]
