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
        await w.clock.advance(10)
        assert watchdog.healthy()
        await w.clock.advance(1)
        assert not watchdog.healthy()
        await w.clock.advance(1)
        assert not watchdog.healthy()
        assert reported == [Stuck("a", 1, 11.0, True, 0)]
        assert [stuck.for_s for stuck in watchdog.stuck] == [12.0]
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
            await w.system.supervisor("root").add_child(ChildSpec("c", lambda: Diarist(w)))
            await w.system.supervisor("root").remove_child("c")
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
        await w.clock.advance(10.1)
        assert not watchdog.healthy()


async def test_it_looks_by_itself_at_an_interval():
    reported: list[Stuck] = []
    async with world(root) as w, anyio.create_task_group() as tasks:
        watchdog = Watchdog(w.system, limit_s=10, on_stuck=reported.append)
        tasks.start_soon(watchdog.run, 2)
        await w.system.ref("b").send("hang")
        await w.clock.advance(14.1)
        assert [stuck.actor for stuck in reported] == ["b"]
        tasks.cancel_scope.cancel()
