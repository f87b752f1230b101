"""An account's executor, session and sync as they are, around a matcher in memory; what came before is told on a desk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import anyio
from msgspec import structs

from tests.unit.actors.test_error_meaning import an_executor
from tests.unit.actors.test_executor_pages import Books
from tests.unit.domain.executor_desk import EUR, ExecutorDesk
from tests.unit.domain.world import RUN, START_NS, strategy_row
from tests.unit.runtime.support import World, world
from tradekeel.actors.executor import Executor
from tradekeel.actors.session import Session
from tradekeel.actors.sync import Sync
from tradekeel.domain import records as r
from tradekeel.domain.effects import AmendOrder, CancelOrder, Effects, PlaceOrder
from tradekeel.domain.evidence import Proof
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.matching import Matcher, PaperAccount, PaperSettings
from tradekeel.domain.messages import OrderRequest, VenueBalance, VenueOrder, VenuePosition, VenueTransaction
from tradekeel.domain.protocol import Alert, Attach, LoadedAccount, MatchTick
from tradekeel.domain.risk import RiskGate
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.errors import VenueUnreachable
from tradekeel.ports import LastCheck, VenueCapabilities
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.restart import Intensity
from tradekeel.runtime.supervisor import Supervisor

D = Decimal
SPREAD = D("0.00010")


class Before(ExecutorDesk):
    """What happened before the executor was started: decisions on a desk, and a venue that has met them."""

    def __init__(self, **terms: Any) -> None:
        super().__init__(**terms)
        account = PaperAccount(account="paper-1", currency="USD", deposit=D(10_000), hedging=False)
        self.matcher = Matcher(account, {EUR: CATALOGUE[EUR]}, PaperSettings())
        self.record = list(self.matcher.open(START_NS))
        self.matcher.begin(RUN)

    def market(self, bid: str = "1.10000") -> None:
        """The next tick."""
        self.tick(bid)
        self.record += self.matcher.on_tick(Tick(EUR, self.now_ns, D(bid), D(bid) + SPREAD, self.position))
        self._book_news()

    def send(self, effects: Effects) -> None:
        """What was asked for arrives, and so does what follows from it."""
        for ask in effects.requests:
            match ask:
                case PlaceOrder(request):
                    self.record += self.matcher.place(request)
                case CancelOrder(key):
                    self.record += self.matcher.cancel(key)
                case AmendOrder(key, price):
                    self.record += self.matcher.amend(key, D(price))
        more = self._book_news()
        if more.requests:
            self.send(more)

    def _book_news(self) -> Effects:
        return self.keep(self.core.news(self.record[self.book.cursor :], self.now_ns))


class InMemory:
    """The paper venue's rules without its file; each call can be held up, or fail. It tells what reached it."""

    name, account = "paper", "paper-1"
    capabilities = VenueCapabilities(proof=Proof.CURSOR, matches_ticks=True, keeps_order=True, lag_margin_s=0.0)

    def __init__(self, before: Before) -> None:
        self.matcher, self.record = before.matcher, before.record
        self.wire: list[tuple[str, str]] = []
        self.gates: dict[str, anyio.Event] = {}
        self.away = False

    async def _gate(self, name: str) -> None:
        if self.away:
            raise VenueUnreachable("it is away")
        if name in self.gates:
            await self.gates[name].wait()

    async def connect(self) -> None:
        """Always there."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def place(self, request: OrderRequest, last_check: LastCheck) -> None:
        await self._gate("place")
        last_check()
        self.wire.append(("place", request.client_order_id))
        self.record += self.matcher.place(request)

    async def cancel(self, client_order_id: str, last_check: LastCheck) -> None:
        await self._gate("cancel")
        last_check()
        self.wire.append(("cancel", client_order_id))
        self.record += self.matcher.cancel(client_order_id)

    async def amend(self, client_order_id: str, price: Decimal, last_check: LastCheck) -> None:
        last_check()
        self.wire.append(("amend", client_order_id))
        self.record += self.matcher.amend(client_order_id, price)

    async def transactions(self, after: int, rows_max: int = 1000) -> Sequence[VenueTransaction]:
        await self._gate("transactions")
        return self.record[after : after + rows_max]

    async def order(self, client_order_id: str) -> VenueOrder | None:
        return self.matcher.order(client_order_id)

    async def open_orders(self) -> Sequence[VenueOrder]:
        return self.matcher.open_orders()

    async def positions(self) -> Sequence[VenuePosition]:
        return self.matcher.positions()

    async def balance(self) -> VenueBalance:
        balance = self.matcher.balance()
        await self._gate("balance")
        return balance

    async def skip(self, position: int) -> None:
        """Nothing came."""

    async def begin(self, run: str) -> None:
        """The same run goes on."""

    @property
    def position(self) -> int:
        return self.matcher.position

    def quiet_until(self, window: TickWindow, start: int) -> int:
        return self.matcher.quiet_until(window, start)

    def advance(self, window: TickWindow, stop: int) -> None:
        self.matcher.advance(window, stop)

    async def match(self, window: TickWindow, index: int) -> None:
        await self._gate("match")
        self.record += self.matcher.on_tick(window.ticks[index])


class Told(Actor):
    """Control, or the feed: it keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        self.heard.append(message)


class House:
    """The running account."""

    def __init__(self, w: World, before: Before, venue: InMemory, control: Told) -> None:
        self.w, self.before, self.venue, self.control = w, before, venue, control
        self.position = before.position

    @property
    def executor(self) -> Executor:
        actor = self.w.system.actors["executor"]
        assert isinstance(actor, Executor)
        return actor

    def alerts(self) -> list[str]:
        return [message.text for message in self.control.heard if isinstance(message, Alert)]

    async def ask(self, message: Any) -> Any:
        """What the executor answers, however long that takes on the clock."""
        asking = Asking(self.w, message)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asking.go)
            await self.w.until(lambda: asking.answered)
        return asking.answer

    def next_tick(self, bid: str) -> MatchTick:
        self.position += 1
        tick = Tick(EUR, START_NS + self.position * 10**9, D(bid), D(bid) + SPREAD, self.position)
        return MatchTick(TickWindow((tick,)), 0)


class Asking:
    """One question to the executor."""

    def __init__(self, w: World, message: Any) -> None:
        self.w, self.message = w, message
        self.answer: Any = None
        self.answered = False

    async def go(self) -> None:
        self.answer = await self.w.system.ref("executor").ask(self.message, timeout_s=10**6)
        self.answered = True


@asynccontextmanager
async def house(before: Before, *, attached: bool = True) -> AsyncIterator[House]:
    """An executor that goes on from what was before; with ``attached`` once it has compared the books."""
    journal = [(n, r.decode_record(row)) for n, row in enumerate(before.journal, start=1)]
    venue, control, books = InMemory(before), Told(), Books(LoadedAccount(RUN, 1, None, journal, {}))

    def root(this: World) -> Supervisor:
        def executor() -> Executor:
            refs = {name: this.system.ref(name) for name in ("recorder", "session", "sync", "control", "feed")}
            settings = structs.replace(
                an_executor().settings,
                terms=before.terms,
                strategies=(strategy_row("a"), strategy_row("b")),
                data_fingerprint="d",
            )
            return Executor(settings, lambda rates: RiskGate(RiskLimits(), rates), **refs)

        actors: dict[str, Any] = {
            "recorder": lambda: books,
            "control": lambda: control,
            "feed": Told,
            "session": lambda: Session(lambda: venue, None),
            "sync": lambda: Sync(this.system.ref("session"), venue.capabilities),
            "executor": executor,
        }
        children = [ChildSpec(name, make, start_timeout_s=None) for name, make in actors.items()]
        return Supervisor("root", children=children, intensity=Intensity(0, 1.0))

    if not attached:
        venue.gates["balance"] = anyio.Event()
    async with world(root) as w:
        this = House(w, before, venue, control)
        if attached:
            await this.ask(Attach(None))
        yield this
