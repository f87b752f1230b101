"""The monitor's shell on its own: the gate's loss limits are measured on what it says, and that must come before a decision."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

from tests.unit.domain.world import START_NS, execution_row, ticks_of
from tests.unit.runtime.support import World, world
from tradekeel.actors.monitor import Monitor
from tradekeel.domain import records as r
from tradekeel.domain.book import Book
from tradekeel.domain.instruments import CATALOGUE
from tradekeel.domain.monitor import MonitorCore, last_quotes
from tradekeel.domain.protocol import (
    Attach,
    Attached,
    EquitySeen,
    Note,
    ReadEntries,
    TakeSnapshot,
    TicksPassed,
    WatchTick,
    Where,
)
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.domain.ticks import TickWindow
from tradekeel.domain.view import View
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.clock import ManualClock
from tradekeel.runtime.restart import Intensity, Strategy
from tradekeel.runtime.supervisor import Supervisor
from tradekeel.runtime.system import ActorSystem

D = Decimal
LIMITS = RiskLimits(daily_loss_max=D(100))
WINDOW = TickWindow(tuple(ticks_of(["1.1000", "1.1001", "1.1002"])))


class Listener(Actor):
    """Stands where the executor stands, and keeps what it is told."""

    def __init__(self, told: list[Any], saved: bytes | None, balance: Decimal, *, reconciled: bool = True) -> None:
        self._told, self._saved, self._balance = told, saved, balance
        self._reconciled = reconciled
        self._attaching: list[Reply] = []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case Attach():
                assert reply is not None
                self._attaching.append(reply)
                if self._reconciled:
                    self._attach()
            case "reconciled":
                self._attach()
            case ReadEntries():
                assert reply is not None
                reply.send(())
            case _:
                self._told.append(message)

    def _attach(self) -> None:
        book = Book()
        book.apply(r.ExecutionStarted(ts_ns=START_NS, row=execution_row()))
        view = View.of(book, None)
        view.balance = self._balance
        self._attaching.pop().send(Attached("run-1", self._saved, view, (), 0, 0, START_NS))


def _core(attached: Attached, limits: RiskLimits = LIMITS) -> MonitorCore:
    return MonitorCore(attached.view, {"EUR_USD": CATALOGUE["EUR_USD"]}, "USD", limits, attached.saved)


async def told(*questions: Any, limits: RiskLimits = LIMITS, saved: bytes | None = None) -> list[Any]:
    """What the executor is told while a monitor is asked these questions; an empty text stands for "answered"."""
    system = ActorSystem(ManualClock())
    heard: list[Any] = []

    async def drive() -> None:
        for question in questions:
            await system.ref("monitor").ask(question, timeout_s=5)
            heard.append("")
        system.request_stop()

    class Driver(Actor):
        async def on_start(self) -> None:
            self.spawn(drive)

    children = [
        ChildSpec("executor", partial(Listener, heard, saved, D(1000))),
        ChildSpec("monitor", lambda: Monitor(partial(_core, limits=limits), system.ref("executor"), None, True)),
        ChildSpec("driver", Driver),
    ]
    await system.run(Supervisor("root", Strategy.ONE_FOR_ALL, children, Intensity(0, 1.0)))
    return heard


SEEN = EquitySeen(D(1000), D(1000), D(1000))


async def test_the_equity_is_told_before_a_tick_is_done_so_that_the_first_decision_is_measured_on_it() -> None:
    assert await told(WatchTick(WINDOW, 0, 0)) == [SEEN, ""]


async def test_it_is_told_again_when_it_has_changed_or_when_quiet_ticks_lay_between() -> None:
    watch = [WatchTick(WINDOW, 0, 0), WatchTick(WINDOW, 1, 0)]
    assert await told(*watch) == [SEEN, "", ""]
    passed = TicksPassed(WINDOW, 1, 2, last_quotes(WINDOW, 1, 2), WINDOW.extremes(1, 2))
    assert await told(watch[0], passed, WatchTick(WINDOW, 2, 0)) == [SEEN, "", "", SEEN, ""]


async def test_after_a_restart_the_gate_knows_at_once_what_the_last_cut_knew() -> None:
    view = View(strategy=None, balance=D(1000))
    before = MonitorCore(view, {"EUR_USD": CATALOGUE["EUR_USD"]}, "USD", LIMITS, None)
    before.at(WINDOW.ticks[0])

    assert await told(Where(), saved=before.save()) == [SEEN, ""]


async def test_without_a_loss_limit_nobody_needs_it() -> None:
    assert await told(WatchTick(WINDOW, 0, 0), limits=RiskLimits()) == [""]


async def test_an_account_that_is_not_reconciled_yet_keeps_no_snapshots_that_it_is_asked_for() -> None:
    heard: list[Any] = []
    executor = Listener(heard, None, D(1000), reconciled=False)

    def root(this: World) -> Supervisor:
        monitor = partial(Monitor, _core, this.system.ref("executor"), None, live=False)
        return Supervisor("root", children=[ChildSpec("executor", lambda: executor), ChildSpec("monitor", monitor)])

    async with world(root) as w:
        for _ in range(3):
            await w.system.ref("monitor").send(TakeSnapshot())
        await w.system.ref("executor").send("reconciled")
        await w.clock.settle()
        assert [note for note in heard if isinstance(note, Note)] == []
        await w.system.ref("monitor").send(TakeSnapshot())
        await w.clock.settle()
        assert len([note for note in heard if isinstance(note, Note)]) == 1
