"""What the shells of an account make of every error there is: they ask the one table of :mod:`tradekeel.errors`.

Errors of every category come where a venue session answers and where a strategy's step runs. What is tried again as a
rule is tried again; what is rejected costs the strategy its place and nobody else's; everything else ends the actor.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime.support import World, world
from tests.unit.test_errors import CONCRETE, one_of
from tradekeel.actors.executor import Executor, ExecutorSettings
from tradekeel.actors.executor.chronicle import Chronicle
from tradekeel.actors.executor.shell import SideRead
from tradekeel.actors.strategist import Failures, Strategist
from tradekeel.actors.sync import Sync
from tradekeel.domain.entries import Entry
from tradekeel.domain.evidence import Proof
from tradekeel.domain.intents import AccountTerms
from tradekeel.domain.messages import Decision, VenueBalance
from tradekeel.domain.protocol import Attach, Attached, FailStrategy, LookUp, Reached, Reconcile, Run, VenueSide
from tradekeel.domain.rows import Mode
from tradekeel.domain.ticks import Bar, TickWindow
from tradekeel.domain.view import View
from tradekeel.errors import FAULT_TABLE, ErrorAction, TradekeelError, action_of
from tradekeel.ports import VenueCapabilities
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.childspec import ChildSpec
from tradekeel.runtime.errors import ActorDied, StuckActor
from tradekeel.runtime.reference import Directory
from tradekeel.runtime.restart import Intensity
from tradekeel.runtime.supervisor import Supervisor

NOTHING = Decimal(0)
BALANCE = VenueBalance(
    currency="USD",
    balance=NOTHING,
    unrealised=NOTHING,
    margin_used=NOTHING,
    deposits=NOTHING,
    realised=NOTHING,
    financing=NOTHING,
    fees=NOTHING,
    last_sequence=0,
)
SIDE = VenueSide((), {"tk1": None}, (), (), BALANCE)
ONCE = Intensity(0, 1.0)
errors = st.sampled_from([kind for kind in CONCRETE if kind is not StuckActor]).map(one_of)
"""All but the one that a supervisor passes straight to the top."""


class Session(Actor):
    """Answers with these errors, one after the other, and then with what a venue says."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        self.errors = list(errors)
        self.asked = 0

    async def handle(self, message: Any, reply: Reply | None) -> None:
        assert reply is not None
        self.asked += 1
        if self.errors:
            reply.fail(self.errors.pop(0))
        else:
            reply.send(SIDE)


def sync_with(session: Session) -> Any:
    def root(this: World) -> Supervisor:
        capabilities = VenueCapabilities(proof=Proof.NONE)
        return Supervisor(
            "root",
            children=[
                ChildSpec("session", lambda: session),
                ChildSpec("sync", lambda: Sync(this.system.ref("session"), capabilities)),
            ],
            intensity=ONCE,
        )

    return root


class Asking:
    """One question, and what came of it."""

    def __init__(self) -> None:
        self.answer: Any = None

    async def ask(self, w: World, name: str, message: Any) -> None:
        try:
            self.answer = await w.system.ref(name).ask(message, timeout_s=10**6)
        except TradekeelError as error:
            self.answer = error


async def answer_of(w: World, name: str, message: Any) -> Any:
    """What an actor answers, or how it fails, however long that takes on the clock."""
    asking = Asking()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asking.ask, w, name, message)
        await w.until(lambda: asking.answer is not None)
    return asking.answer


@given(error=errors)
@settings(max_examples=60)
async def test_sync_hands_on_whatever_hinders_a_comparison_and_the_executor_judges_it(error: TradekeelError) -> None:
    async with world(sync_with(Session([error]))) as w:
        assert await answer_of(w, "sync", Reconcile(1, 0, ())) is error
        assert w.faults == []


@given(first=errors, second=errors)
@settings(max_examples=60)
async def test_a_lookup_goes_on_past_what_may_be_better_in_a_moment_and_past_nothing_else(
    first: TradekeelError, second: TradekeelError
) -> None:
    session = Session([first, second])
    async with world(sync_with(session)) as w:
        answer = await answer_of(w, "sync", LookUp(1, "tk1", 0, 0))
        again = [action_of(error) is ErrorAction.RETRY for error in (first, second)]
        if all(again):
            assert answer.client_order_id == "tk1"
            assert session.asked >= 3
        else:
            assert isinstance(answer, ActorDied)
            assert session.asked == 1 + again[0]
            assert w.faults[0].error is (second if again[0] else first)


@pytest.mark.parametrize(
    "kind", [kind for kind in CONCRETE if FAULT_TABLE[kind.category].usual is not ErrorAction.RETRY]
)
def test_an_executor_does_not_wait_for_what_waiting_cannot_mend(kind: type[TradekeelError]) -> None:
    error = one_of(kind)
    executor = an_executor()
    with pytest.raises(kind) as raised:
        executor._read(SideRead(0, error), None)
    assert raised.value is error


def an_executor() -> Executor:
    """One that has not been started."""
    terms = AccountTerms(account="a", venue="v", currency="USD", instruments={}, exits_at_venue=True)
    settings = ExecutorSettings(
        terms=terms,
        mode=Mode.PAPER,
        config_fingerprint="",
        data_fingerprint="",
        strategies=(),
        version="",
        make_execution_id=lambda: "e",
        number_before=0,
        halted_by=lambda: None,
        released_by=lambda: None,
        forget_release=lambda: None,
        chronicle=Chronicle("a", "USD", lambda *_, **__: None, lambda _: False),
    )
    nobody: Any = Directory
    refs = dict.fromkeys(("recorder", "session", "sync", "control", "feed"), nobody)
    return Executor(settings, nobody, **refs)


# --- a strategy's step -------------------------------------------------------------------------------------------------------


class Core:
    """A strategy that raises at its first step."""

    stamp = position = last_tick_ns = read_to = 0
    state_version = 1
    held: Decision | None = None

    def __init__(self, error: Exception) -> None:
        self.view = View("s")
        self.error = error

    def start(self, ts_ns: int, gap_ns: int = 0) -> bool:
        return False

    def skip(self, position: int) -> None:
        """Nothing was missed."""

    def deliver(self, entries: Sequence[Entry]) -> None:
        """There is no news."""

    def run(self, window: TickWindow | None, until: int, told_to: int | None = None) -> int:
        raise self.error

    def miss(self, ts_ns: int) -> bool:
        return False

    def has_more(self, until: int) -> bool:
        return False

    def confirm(self, window: TickWindow | None, stamp: int, told_to: int = 0) -> Decision | None:
        return None

    def stop(
        self, ts_ns: int, reason: str, for_good: bool = False, told_to: int = 0, bars: Sequence[Bar] = ()
    ) -> Decision | None:
        return None

    def save(self) -> bytes:
        return b""


class Clerk(Actor):
    """In the executor's place: lets a strategist begin, and remembers who was given up."""

    def __init__(self) -> None:
        self.failed: list[FailStrategy] = []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        assert reply is not None
        match message:
            case Attach():
                reply.send(Attached("e", None, View("s"), (), 0, 0, 0))
            case FailStrategy():
                self.failed.append(message)
                reply.send(0)


@given(error=errors | st.just(ZeroDivisionError("the strategy's own")))
@settings(max_examples=60)
async def test_a_strategy_is_given_up_for_what_is_rejected_and_crashes_with_everything_else(error: Exception) -> None:
    clerk = Clerk()

    def root(this: World) -> Supervisor:
        def strategist() -> Strategist:
            return Strategist("s", lambda _: Core(error), this.system.ref("clerk"), Failures(), replayable=True)

        children = [ChildSpec("clerk", lambda: clerk), ChildSpec("strategist", strategist)]
        return Supervisor("root", children=children, intensity=ONCE)

    async with world(root) as w:
        answer = await answer_of(w, "strategist", Run(None, 7, 0))
        if isinstance(error, TradekeelError) and action_of(error) is ErrorAction.REJECT:
            assert answer == Reached(7, decided=False)
            assert [f.strategy for f in clerk.failed] == ["s"]
            assert w.faults == []
        else:
            assert isinstance(answer, ActorDied)
            assert clerk.failed == []
            assert w.faults[0].error is error
