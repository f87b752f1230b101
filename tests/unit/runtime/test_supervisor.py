"""Supervisors start in order, stop in reverse, back off, give up and escalate; what cannot be ended ends the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from tests.unit.runtime.support import Boom, Diarist, World, world
from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.clock import ManualClock
from tradekeel.runtime.errors import (
    ActorDied,
    ChildCancelled,
    HopelessChild,
    RestartsExhausted,
    StartFailed,
    StartTimeout,
    StopFailed,
    StuckActor,
)
from tradekeel.runtime.fault import Action
from tradekeel.runtime.loop import run
from tradekeel.runtime.restart import Backoff, Ending, Intensity, RestartType, Strategy
from tradekeel.runtime.supervisor import ChildSpec, Supervisor
from tradekeel.runtime.system import ActorSystem

PERMANENT, TRANSIENT, TEMPORARY = RestartType


def diarists(this: World, names: str, **options: Any) -> list[ChildSpec]:
    return [ChildSpec(name, lambda: Diarist(this), **options) for name in names]


def flat(names: str, strategy: Strategy = Strategy.ONE_FOR_ONE, **options: Any) -> Callable[[World], Supervisor]:
    return lambda this: Supervisor("root", strategy, diarists(this, names), **options)


class FailsToStart(Diarist):
    """Fails its start for as long as the world's list says so."""

    def __init__(self, world: World, failures: list[BaseException]) -> None:
        super().__init__(world)
        self.failures = failures

    async def on_start(self) -> None:
        if self.failures:
            self.note(f"fails at {self.clock.monotonic():g}")
            raise self.failures.pop()
        await super().on_start()


# --- order ---------------------------------------------------------------------------------------------------------------


async def test_children_start_in_order_each_when_the_one_before_is_ready_and_stop_in_reverse():
    class Slow(Diarist):
        async def on_start(self) -> None:
            self.note("begins")
            await self.clock.sleep(1)
            await super().on_start()

    def root(this: World) -> Supervisor:
        return Supervisor("root", children=[ChildSpec(n, lambda: Slow(this)) for n in "abc"])

    async with world(root) as w:
        await w.clock.advance(3)
        assert w.diary == ["a begins", "a starts", "b begins", "b starts", "c begins", "c starts"]
        w.diary.clear()
        await w.stop()
        assert w.diary == ["c stops", "b stops", "a stops"]
        assert w.outcome is None
        assert w.faults == []


async def test_a_nested_supervisor_counts_as_one_child():
    def root(this: World) -> Supervisor:
        def nested() -> Supervisor:
            return Supervisor("nested", children=diarists(this, "bc"))

        children = [
            *diarists(this, "a"),
            ChildSpec("nested", nested),
            *diarists(this, "d"),
        ]
        return Supervisor("root", Strategy.REST_FOR_ONE, children)

    async with world(root) as w:
        assert w.diary == ["a starts", "b starts", "c starts", "d starts"]
        w.diary.clear()
        await w.system.ref("a").send("boom")
        await w.clock.settle()
        assert w.diary == ["d stops", "c stops", "b stops", "a starts", "b starts", "c starts", "d starts"]
        w.diary.clear()
        await w.system.ref("b").send("boom")
        await w.clock.settle()
        assert w.diary == ["b starts"]


async def test_a_stop_while_starting_ends_what_is_starting_and_stops_what_is_up():
    class Never(Diarist):
        async def on_start(self) -> None:
            self.note("begins")
            await anyio.sleep_forever()

    def root(this: World) -> Supervisor:
        nested = [*diarists(this, "b"), ChildSpec("never", lambda: Never(this)), *diarists(this, "c")]
        return Supervisor(
            "root", children=[*diarists(this, "a"), ChildSpec("n", lambda: Supervisor("n", children=nested))]
        )

    async with world(root) as w:
        await w.stop()
        assert w.diary == ["a starts", "b starts", "never begins", "b stops", "a stops"]
        assert (w.outcome, w.faults) == (None, [])
        assert w.clock.monotonic() == 0


async def test_temporary_children_that_go_down_with_a_sibling_stay_down():
    def root(this: World) -> Supervisor:
        children = [
            *diarists(this, "a"),
            *diarists(this, "b", restart=TEMPORARY),
            *diarists(this, "c", restart=TRANSIENT),
        ]
        return Supervisor("root", Strategy.ONE_FOR_ALL, children)

    async with world(root) as w:
        await w.system.ref("a").send("boom")
        await w.clock.settle()
        assert w.alive() == {"a": 2, "c": 2}


async def test_a_transient_child_that_had_finished_comes_up_again_with_its_group():
    def root(this: World) -> Supervisor:
        return Supervisor("root", Strategy.ONE_FOR_ALL, diarists(this, "ab", restart=TRANSIENT))

    async with world(root) as w:
        await w.system.ref("b").send("finish")
        await w.clock.settle()
        assert w.alive() == {"a": 1}
        await w.system.ref("a").send("boom")
        await w.clock.settle()
        assert w.alive() == {"a": 2, "b": 2}


async def test_two_failures_at_once_are_one_restart_of_the_group():
    async with world(flat("abc", Strategy.ONE_FOR_ALL, intensity=Intensity(1, 5))) as w:
        await w.system.ref("a").send("boom")
        await w.system.ref("c").send("boom")
        await w.clock.settle()
        assert w.alive() == {"a": 2, "b": 2, "c": 2}
        assert [(f.child, f.action) for f in w.faults] == [("a", Action.RESTART), ("c", Action.RESTART)]


# --- intensity and escalation ----------------------------------------------------------------------------------------------


async def test_too_many_restarts_stop_everybody_and_fail_the_supervisor():
    async with world(flat("abc", intensity=Intensity(2, 5))) as w:
        for _ in range(3):
            await w.system.ref("b").send("boom")
            await w.clock.settle()
        assert isinstance(w.outcome, RestartsExhausted)
        assert isinstance(w.outcome.__cause__, Boom)
        assert [f.action for f in w.faults] == [Action.RESTART, Action.RESTART, Action.ESCALATE]
        assert w.diary[-2:] == ["c stops", "a stops"]
        assert w.alive() == {}


async def test_restarts_that_are_far_enough_apart_go_on_for_ever():
    async with world(flat("a", intensity=Intensity(1, 5))) as w:
        for _ in range(20):
            await w.system.ref("a").send("boom")
            await w.clock.advance(5.001)
        assert w.alive() == {"a": 21}


async def test_an_exhausted_supervisor_is_a_failed_child_of_its_parent():
    def root(this: World) -> Supervisor:
        def nested() -> Supervisor:
            return Supervisor("nested", children=diarists(this, "ab"), intensity=Intensity(1, 5))

        return Supervisor("root", children=[ChildSpec("nested", nested), *diarists(this, "c")])

    async with world(root) as w:
        for _ in range(2):
            await w.system.ref("a").send("boom")
            await w.clock.settle()
        assert w.alive() == {"a": 3, "b": 2, "c": 1}, "the nested tree was built anew, its neighbour untouched"
        assert [(f.supervisor, f.action) for f in w.faults] == [
            ("nested", Action.RESTART),
            ("nested", Action.ESCALATE),
            ("root", Action.RESTART),
        ]
        assert isinstance(w.faults[-1].error, RestartsExhausted)


async def test_without_any_restarts_the_first_failure_ends_the_system():
    async with world(flat("ab", intensity=Intensity(0, 1))) as w:
        await w.system.ref("a").send("boom")
        await w.clock.settle()
        assert isinstance(w.outcome, RestartsExhausted)


async def test_a_restart_is_told_to_whoever_keeps_the_log():
    log: list[Any] = []
    async with world(flat("a", on_restart=lambda *args: log.append(args))) as w:
        await w.system.ref("a").send("boom")
        await w.clock.settle()
        ((name, incarnation, error),) = log
        assert (name, incarnation, type(error)) == ("a", 1, Boom)


# --- starting --------------------------------------------------------------------------------------------------------------


async def test_a_start_that_fails_is_tried_again_within_the_intensity():
    failures: list[BaseException] = [Boom(), Boom()]

    def root(this: World) -> Supervisor:
        failing = ChildSpec("b", lambda: FailsToStart(this, failures))
        return Supervisor("root", children=[*diarists(this, "a"), failing, *diarists(this, "c")])

    async with world(root) as w:
        assert w.diary == ["a starts", "b fails at 0", "b fails at 0", "b starts", "c starts"]


async def test_a_factory_that_raises_is_a_start_that_fails():
    def root(this: World) -> Supervisor:
        def broken() -> Actor:
            raise Boom("no parts")

        return Supervisor("root", children=[ChildSpec("a", broken), *diarists(this, "b")])

    async with world(root) as w:
        assert isinstance(w.outcome, RestartsExhausted)
        assert {f.ending for f in w.faults} == {Ending.START_FAILED}


async def test_a_start_that_takes_too_long_is_a_start_that_fails():
    class Never(Diarist):
        async def on_start(self) -> None:
            if self.incarnation == 1:
                await anyio.sleep_forever()
            await super().on_start()

    def root(this: World) -> Supervisor:
        return Supervisor("root", children=[ChildSpec("a", lambda: Never(this), start_timeout_s=7)])

    async with world(root) as w:
        await w.clock.advance(6.9)
        assert w.diary == []
        await w.clock.advance(0.2)
        assert w.diary == ["a starts"]
        assert isinstance(w.faults[0].error, StartTimeout)


@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
async def test_nobody_waits_for_the_start_of_a_child_that_waits_for_one_that_failed(strategy: Strategy):
    class WaitsForA(Diarist):
        async def on_start(self) -> None:
            self.note("begins")
            if self.incarnation == 1:
                await anyio.sleep_forever()  # what it waits for can only come from a
            await super().on_start()

    def root(this: World) -> Supervisor:
        children = [
            ChildSpec("a", lambda: Diarist(this)),
            ChildSpec("b", lambda: WaitsForA(this), start_timeout_s=None),
        ]
        return Supervisor("root", strategy, children)

    async with world(root) as w:
        await w.system.ref("a").send("boom")
        await w.until(lambda: "b starts" in w.diary)
        assert w.diary == ["a starts", "b begins", "a starts", "b begins", "b starts"]
        assert [(fault.child, fault.action) for fault in w.faults] == [("a", Action.RESTART)]


async def test_a_child_may_finish_while_it_starts():
    class Brief(Diarist):
        async def on_start(self) -> None:
            self.finish()

    def root(this: World) -> Supervisor:
        return Supervisor("root", children=[ChildSpec("a", lambda: Brief(this), TRANSIENT), *diarists(this, "b")])

    async with world(root) as w:
        assert [f.ending for f in w.faults] == [Ending.NORMAL]
        assert w.alive() == {"b": 1}


# --- back-off --------------------------------------------------------------------------------------------------------------

PLAIN = Backoff(initial_s=1, factor=2, max_s=4, jitter=0, reset_after_s=60)


async def test_a_child_with_a_back_off_is_tried_again_later_and_later():
    failures: list[BaseException] = [Boom() for _ in range(5)]

    def root(this: World) -> Supervisor:
        spec = ChildSpec("a", lambda: FailsToStart(this, failures), backoff=PLAIN)
        return Supervisor("root", children=[spec])

    async with world(root) as w:
        await w.clock.advance(100)
        assert w.diary == [f"a fails at {at}" for at in (0, 1, 3, 7, 11)] + ["a starts"]
        assert [f.delay_s for f in w.faults] == [1, 2, 4, 4, 4]
        await w.system.ref("a").send("boom")
        await w.clock.settle()
        assert w.faults[-1].delay_s == 1, "it lived long enough to begin anew"


@pytest.mark.parametrize("strategy", Strategy)
async def test_only_where_the_order_binds_do_others_wait_for_a_child_in_back_off(strategy):
    failures: list[BaseException] = [Boom()]

    def root(this: World) -> Supervisor:
        spec = ChildSpec("b", lambda: FailsToStart(this, failures), backoff=PLAIN)
        return Supervisor("root", strategy, [*diarists(this, "a"), spec, *diarists(this, "c")])

    async with world(root) as w:
        waits = {
            Strategy.ONE_FOR_ONE: {"a": 1, "c": 1},
            Strategy.REST_FOR_ONE: {"a": 1},
            Strategy.ONE_FOR_ALL: {"a": 2},
        }
        assert w.alive() == waits[strategy], "the system counts as started: it waits for the outside world"
        await w.clock.advance(1)
        assert set(w.alive()) == {"a", "b", "c"}


async def test_others_are_supervised_while_one_is_in_back_off():
    def root(this: World) -> Supervisor:
        spec = ChildSpec("a", lambda: FailsToStart(this, [Boom()]), backoff=PLAIN)
        return Supervisor("root", children=[spec, *diarists(this, "b")], intensity=Intensity(9, 5))

    async with world(root) as w:
        await w.system.ref("b").send("boom")
        await w.clock.settle()
        assert w.alive() == {"b": 2}
        await w.stop()
        assert w.clock.monotonic() == 0, "nobody waits for a back-off when the system stops"


async def test_jitter_comes_from_the_systems_own_randomness():
    import random

    async def delays(seed: int) -> list[float]:
        failures: list[BaseException] = [Boom() for _ in range(3)]

        def root(this: World) -> Supervisor:
            spec = ChildSpec("a", lambda: FailsToStart(this, failures), backoff=Backoff(jitter=0.5))
            return Supervisor("root", children=[spec])

        async with world(root, random=random.Random(seed)) as w:
            await w.clock.advance(100)
            return [f.delay_s for f in w.faults]

    assert await delays(1) == await delays(1)
    assert await delays(1) != await delays(2)


# --- stopping --------------------------------------------------------------------------------------------------------------


async def test_a_child_that_hangs_while_stopping_is_cancelled_at_its_deadline():
    class Hangs(Diarist):
        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    def root(this: World) -> Supervisor:
        hangs = ChildSpec("b", lambda: Hangs(this), shutdown_s=7)
        return Supervisor("root", children=[*diarists(this, "a"), hangs])

    async with world(root) as w:
        await w.stop()
        assert w.clock.monotonic() == 7
        assert w.outcome is None
        assert [(f.ending, f.action) for f in w.faults] == [(Ending.KILLED, Action.STOP)]
        assert w.diary == ["a starts", "b starts", "a stops"]


async def test_a_child_that_fails_while_stopping_is_told_and_the_others_are_stopped_all_the_same():
    class Fails(Diarist):
        async def on_stop(self) -> None:
            raise Boom

    def root(this: World) -> Supervisor:
        nested = Supervisor("nested", children=[ChildSpec("b", lambda: Fails(this))])
        return Supervisor("root", children=[*diarists(this, "a"), ChildSpec("nested", lambda: nested)])

    async with world(root) as w:
        await w.stop()
        assert isinstance(w.outcome, StopFailed)
        ((child, error),) = w.outcome.failures
        assert (child, type(error)) == ("nested", StopFailed)
        assert w.diary[-1] == "a stops"


async def test_a_nested_supervisor_gets_the_time_its_children_need_to_stop():
    class Slow(Diarist):
        async def on_stop(self) -> None:
            await self.clock.sleep(4)
            await super().on_stop()

    def root(this: World) -> Supervisor:
        nested = [ChildSpec(name, lambda: Slow(this), shutdown_s=5) for name in "abc"]
        return Supervisor(
            "root", children=[ChildSpec("nested", lambda: Supervisor("nested", children=nested), shutdown_s=1)]
        )

    async with world(root) as w:
        await w.stop()
        assert w.clock.monotonic() == 12
        assert w.diary[3:] == ["c stops", "b stops", "a stops"]
        assert w.faults == []


async def test_a_cancelled_system_cancels_everybody():
    clock = ManualClock()
    system = ActorSystem(clock)
    this = World(clock, system, [])
    async with anyio.create_task_group() as tasks:
        nested = ChildSpec("n", lambda: Supervisor("n", children=diarists(this, "b")))
        tasks.start_soon(system.run, Supervisor("root", children=[*diarists(this, "a"), nested]))
        await clock.settle()
        tasks.cancel_scope.cancel()
    assert this.diary == ["a starts", "b starts"]
    assert system.actors == {}


async def test_a_child_cancelled_from_outside_counts_as_killed():
    async with world(flat("a")) as w:
        (task,) = (t for t in asyncio.all_tasks() if t.get_name() == "a")
        task.cancel()
        await w.clock.settle()
        assert w.faults[0].ending is Ending.KILLED
        assert isinstance(w.faults[0].error, ChildCancelled)
        assert w.alive() == {"a": 2}


# --- what cannot be ended ----------------------------------------------------------------------------------------------------


class Stubborn(Actor):
    """Swallows its cancellation, in a handler or in a child task, for as long as the test goes on."""

    def __init__(self, give_in: asyncio.Event) -> None:
        self.give_in = give_in

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if message == "in the handler":
            await self.refuse()
        self.spawn(self.refuse)
        if message == "then fail":
            raise Boom

    async def refuse(self) -> None:
        while not self.give_in.is_set():
            try:
                await self.give_in.wait()
            except asyncio.CancelledError:
                continue


@pytest.mark.parametrize(
    ("message", "then"),
    [
        ("in the handler", "stop"),
        ("in a child task", "stop"),
        ("then fail", "wait"),
        ("in a child task", "finish"),
    ],
)
async def test_a_child_that_outlives_its_cancellation_fails_the_whole_system(message, then):
    before = asyncio.all_tasks()
    clock, give_in = ManualClock(), asyncio.Event()
    system = ActorSystem(clock)
    this = World(clock, system, [])
    spec = ChildSpec("stubborn", lambda: Stubborn(give_in), TRANSIENT, shutdown_s=2)
    nested = ChildSpec("n", lambda: Supervisor("n", children=[spec, *diarists(this, "b")]))
    outcomes: list[Any] = []

    async def run_system() -> None:
        try:
            await system.run(Supervisor("root", children=[*diarists(this, "a"), nested]))
        except StuckActor as error:
            outcomes.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_system)
        await clock.settle()
        await system.ref("stubborn").send(message)
        await clock.settle()
        if then == "stop":
            system.request_stop()
        elif then == "finish":
            system.actors["stubborn"].finish()
        await clock.advance(2.9)
        assert outcomes == [], "on_stop has its deadline, then cancellation, then a short grace"
        await clock.advance(0.2)
    (stuck,) = outcomes
    assert stuck.child == "stubborn"
    assert "a stops" not in this.diary, "nobody is stopped in order on the way to the top"
    give_in.set()
    for task in asyncio.all_tasks() - before:  # what the end of the process would end
        task.cancel()
    await clock.settle()


async def test_a_child_that_swallows_a_cancellation_once_is_cancelled_again():
    class Slippery(Diarist):
        async def handle(self, message: Any, reply: Reply | None) -> None:
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                self.note("slips away")
            await anyio.sleep_forever()

    def root(this: World) -> Supervisor:
        return Supervisor("root", children=[ChildSpec("a", lambda: Slippery(this), shutdown_s=2)])

    async with world(root) as w:
        await w.system.ref("a").send("x")
        await w.clock.settle()
        await w.stop()
        assert (w.outcome, w.diary) == (None, ["a starts", "a slips away"])


async def test_a_supervisor_that_fails_itself_leaves_no_child_behind():
    def broken(*_: Any) -> None:
        raise KeyError("the log")

    async with world(flat("ab", on_restart=broken)) as w:
        await w.system.ref("a").send("boom")
        await w.clock.settle()
        assert isinstance(w.outcome, KeyError)
        assert w.alive() == {}


async def test_a_start_that_fails_while_the_system_stops_is_told_and_not_tried_again():
    class FailsLate(Diarist):
        async def on_start(self) -> None:
            self.system.request_stop()
            raise Boom

    def root(this: World) -> Supervisor:
        return Supervisor("root", children=[*diarists(this, "a"), ChildSpec("b", lambda: FailsLate(this))])

    async with world(root) as w:
        assert isinstance(w.outcome, StopFailed)
        assert w.diary == ["a starts", "a stops"]


def test_a_stuck_child_does_not_keep_the_loop_from_being_left():
    async def main() -> None:
        clock = ManualClock()
        system = ActorSystem(clock)
        specs = [ChildSpec("stubborn", lambda: Stubborn(asyncio.Event()), shutdown_s=2)]

        async def stop() -> None:
            await clock.settle()
            await system.ref("stubborn").send("in the handler")
            await clock.settle()
            system.request_stop()
            await clock.advance(10)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop)
            await system.run(Supervisor("root", children=specs))

    with pytest.RaisesGroup(pytest.RaisesExc(StuckActor)) as caught:
        run(main, leak_grace_s=0.01)
    assert any("stubborn" in note for note in caught.value.__notes__)


# --- what a supervisor can be asked --------------------------------------------------------------------------------------------


async def test_a_child_can_be_restarted_and_it_alone():
    async with world(flat("ab")) as w:
        supervisor = w.system.supervisor("root")
        assert supervisor.children == ("a", "b")
        await supervisor.restart_child("a")
        assert w.alive() == {"a": 2, "b": 1}
        assert w.faults == []


async def test_impossible_wishes_are_refused_and_change_nothing():
    async with world(flat("a")) as w:
        supervisor = w.system.supervisor("root")
        with pytest.raises(LookupError):
            await supervisor.restart_child("x")
        assert supervisor.children == ("a",)
        with pytest.raises(ActorDied):
            w.system.supervisor("x")


async def test_a_restart_on_request_that_fails_is_told_and_tried_again():
    failures: list[BaseException] = []

    def root(this: World) -> Supervisor:
        return Supervisor("root", children=[ChildSpec("a", lambda: FailsToStart(this, failures))])

    async with world(root) as w:
        failures.append(Boom())
        with pytest.raises(StartFailed):
            await w.system.supervisor("root").restart_child("a")
        await w.clock.settle()
        assert w.alive() == {"a": 3}


async def test_a_wish_that_breaks_the_supervisor_fails_with_it():
    failures: list[BaseException] = []

    def root(this: World) -> Supervisor:
        spec = ChildSpec("a", lambda: FailsToStart(this, failures))
        return Supervisor("root", children=[spec], intensity=Intensity(0, 1))

    async with world(root) as w:
        failures.append(Boom())
        supervisor = w.system.supervisor("root")
        with pytest.raises(ActorDied):
            await supervisor.restart_child("a")
        await w.clock.settle()
        assert isinstance(w.outcome, RestartsExhausted)
        with pytest.raises(ActorDied):
            await supervisor.restart_child("a")


async def test_names_are_unique_and_a_supervisor_lives_once():
    with pytest.raises(AssertionError):
        Supervisor("root", children=[ChildSpec("a", Actor), ChildSpec("a", Actor)])
    with pytest.raises(AssertionError):
        ChildSpec("", Actor)
    with pytest.raises(AssertionError):
        ChildSpec("a", Actor, shutdown_s=0)

    once = Supervisor("once")

    def root(this: World) -> Supervisor:
        return Supervisor("root", children=[ChildSpec("once", lambda: once)])

    async with world(root) as w:
        with pytest.raises(StartFailed):
            await w.system.supervisor("root").restart_child("once")


# --- leaks -------------------------------------------------------------------------------------------------------------------


@pytest.mark.untraced
async def test_a_thousand_starts_and_stops_leak_no_task():
    class Parent(Diarist):
        async def on_start(self) -> None:
            await super().on_start()
            self.spawn(anyio.sleep_forever)

    def root(this: World) -> Supervisor:
        nested = [ChildSpec(name, lambda: Parent(this)) for name in "bc"]
        return Supervisor(
            "root",
            children=[*diarists(this, "a"), ChildSpec("n", lambda: Supervisor("n", children=nested))],
        )

    before = asyncio.all_tasks()
    for _ in range(1_000):
        async with world(root) as w:
            assert w.alive() == {"a": 1, "b": 1, "c": 1}
    assert asyncio.all_tasks() == before


async def test_an_error_that_no_restart_mends_is_not_met_with_one() -> None:
    def root(w: World) -> Supervisor:
        return Supervisor("root", children=[ChildSpec("a", lambda: Diarist(w)), ChildSpec("b", lambda: Diarist(w))])

    async with world(root, is_hopeless=lambda error: isinstance(error, Boom)) as w:
        await w.system.ref("b").send("boom")
        await w.until_over()

    assert isinstance(w.outcome, HopelessChild)
    assert isinstance(w.outcome.__cause__, Boom)
    assert [fault.action for fault in w.faults] == [Action.ESCALATE]
    assert "a stops" in w.diary, "the others are stopped in order"
