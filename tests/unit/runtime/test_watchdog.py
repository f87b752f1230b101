"""The watchdog tells a system that works from one that is merely there."""

from __future__ import annotations

from typing import Any

import anyio

from tests.unit.runtime.support import Diarist, World, world
from tradekeel.runtime.actor import Reply
from tradekeel.runtime.supervisor import ChildSpec, Supervisor
from tradekeel.runtime.watchdog import Stuck, Watchdog


class Patient(Diarist):
    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case ("excused", seconds):
                self.waiting("a long rebuild", self.clock.monotonic() + seconds)
                await anyio.sleep_forever()
            case _:
                await super().handle(message, reply)


def root(this: World) -> Supervisor:
    return Supervisor("root", children=[ChildSpec(name, lambda: Patient(this), shutdown_s=1) for name in "ab"])


async def test_idle_actors_are_healthy_for_ever():
    async with world(root) as w:
        watchdog = Watchdog(w.system, limit_s=10)
        for _ in range(5):
            await w.clock.advance(100)
            assert watchdog.healthy()


async def test_a_hung_handler_is_reported_by_name_once_and_is_unhealthy_as_long_as_it_lasts():
    reported: list[Stuck] = []
    async with world(root) as w:
        watchdog = Watchdog(w.system, limit_s=10, on_stuck=reported.append)
        await w.system.ref("a").send(("sleep", 30))
        await w.clock.settle()
        assert watchdog.healthy()
        for _ in range(2):
            await w.clock.advance(5)
            assert watchdog.healthy()
        await w.clock.advance(1)
        assert not watchdog.healthy()
        await w.clock.advance(1)
        assert [stuck.for_s for stuck in watchdog.look()] == [12.0]
        assert reported == [Stuck("a", 1, 11.0, True, 0)]
        await w.clock.advance(20)
        assert watchdog.healthy()


async def test_an_actor_that_works_through_a_queue_is_healthy_however_long_that_takes():
    async with world(root) as w:
        watchdog = Watchdog(w.system, limit_s=10)
        for _ in range(20):
            await w.system.ref("a").send(("sleep", 9))
        for _ in range(20):
            await w.clock.advance(9)
            assert watchdog.healthy()


async def test_a_restart_is_progress():
    async with world(root) as w:
        watchdog = Watchdog(w.system, limit_s=10)
        for _ in range(3):
            await w.system.ref("a").send("hang")
            await w.clock.advance(1)
            assert watchdog.healthy()
            await w.clock.advance(8)
            w.system.actors["a"]._cell.cancel()
            await w.clock.settle()
            assert watchdog.healthy()


async def test_an_actor_may_say_why_it_waits_but_not_for_ever():
    async with world(root) as w:
        watchdog = Watchdog(w.system, limit_s=10)
        await w.system.ref("a").send(("excused", 60))
        await w.clock.settle()
        for _ in range(6):
            await w.clock.advance(10)
            assert watchdog.healthy()
        assert w.system.snapshot()["a"].waiting_reason == "a long rebuild"
        await w.clock.advance(5)
        assert watchdog.healthy()
        await w.clock.advance(5.1)
        assert not watchdog.healthy()


async def test_time_in_which_the_whole_process_stood_still_is_nobodys_fault():
    async with world(root) as w:
        watchdog = Watchdog(w.system, limit_s=10)
        await w.system.ref("a").send(("sleep", 3_603))
        await w.clock.settle()
        assert watchdog.healthy()
        await w.clock.advance(3_600)  # stopped, or the machine slept: nobody looked
        assert watchdog.healthy()
        await w.clock.advance(3)
        assert watchdog.healthy()
        await w.system.ref("a").send("hang")
        for _ in range(4):
            await w.clock.advance(5)
            watchdog.look()
        assert [stuck.actor for stuck in watchdog.look()] == ["a"], "what hangs is found all the same"


class Opening(Diarist):
    """Starts with work that is done elsewhere, which gets so far each second and hangs for good at the end."""

    def __init__(self, world: World, pages: int) -> None:
        super().__init__(world)
        self._left, self._done = pages, 0

    @property
    def works(self) -> bool:
        return True

    @property
    def progress(self) -> int:
        return super().progress + self._done

    async def on_start(self) -> None:
        while self._done < self._left:
            await self.clock.sleep(9)
            self._done += 1
        await anyio.sleep_forever()


async def test_a_start_may_take_as_long_as_its_work_goes_on_and_no_longer():
    reported: list[Stuck] = []

    def opening(this: World) -> Supervisor:
        return Supervisor("root", children=[ChildSpec("a", lambda: Opening(this, 20), start_timeout_s=None)])

    async with world(opening) as w:
        watchdog = Watchdog(w.system, limit_s=10, on_stuck=reported.append)
        for _ in range(40):
            await w.clock.advance(4.5)
            assert watchdog.healthy()
        for _ in range(4):
            await w.clock.advance(5)
            watchdog.look()
        assert [stuck.actor for stuck in reported] == ["a"]


async def test_a_start_that_waits_for_others_is_not_watched():
    class Waiting(Diarist):
        async def on_start(self) -> None:
            await anyio.sleep_forever()

    def waiting(this: World) -> Supervisor:
        return Supervisor("root", children=[ChildSpec("a", lambda: Waiting(this), start_timeout_s=None)])

    async with world(waiting) as w:
        watchdog = Watchdog(w.system, limit_s=10)
        for _ in range(100):
            await w.clock.advance(5)
            assert watchdog.healthy()


async def test_it_looks_by_itself_at_an_interval():
    reported: list[Stuck] = []
    async with world(root) as w, anyio.create_task_group() as tasks:
        watchdog = Watchdog(w.system, limit_s=10, on_stuck=reported.append)
        tasks.start_soon(watchdog.run, 2)
        await w.system.ref("b").send("hang")
        await w.clock.advance(14.1)
        assert [stuck.actor for stuck in reported] == ["b"]
        tasks.cancel_scope.cancel()
