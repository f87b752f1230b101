"""A small world for tests of the runtime: a system on a manual clock, actors that do what they are told, and a diary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from tradekeel.runtime.actor import Actor, Reply
from tradekeel.runtime.clock import ManualClock
from tradekeel.runtime.fault import Fault
from tradekeel.runtime.supervisor import Supervisor
from tradekeel.runtime.system import ActorSystem

STEPS_MAX = 10_000


class Boom(Exception):
    """What these actors raise when they are told to fail."""


class World:
    """A running tree, everything its supervisors reported, and how it ended."""

    def __init__(self, clock: ManualClock, system: ActorSystem, faults: list[Fault]) -> None:
        self.clock = clock
        self.system = system
        self.faults = faults
        self.diary: list[Any] = []
        self.over = False
        self.outcome: BaseException | None = None

    async def ask(self, name: str, message: Any, timeout_s: float = 1.0) -> Any:
        return await self.system.ref(name).ask(message, timeout_s=timeout_s)

    def alive(self) -> dict[str, int]:
        """The live actors and their incarnations."""
        return {name: actor.incarnation for name, actor in sorted(self.system.actors.items())}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass from timer to timer until the condition holds."""
        for _ in range(STEPS_MAX):
            await self.clock.settle()
            if condition():
                return
            if not await self.clock.advance_to_next():
                break
        raise AssertionError("nobody waits for time any more, and the condition does not hold")

    async def until_over(self) -> None:
        await self.until(lambda: self.over)

    async def stop(self) -> None:
        self.system.request_stop()
        await self.until_over()


@asynccontextmanager
async def world(root: Callable[[World], Supervisor], **options: Any) -> AsyncIterator[World]:
    """Run a tree on a manual clock; at the end it is stopped, and no task may be left."""
    before = asyncio.all_tasks()
    clock = ManualClock()
    faults: list[Fault] = []
    this = World(clock, ActorSystem(clock, on_fault=faults.append, **options), faults)

    async def run() -> None:
        try:
            await this.system.run(root(this))
        except Exception as error:
            this.outcome = error
        finally:
            this.over = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await clock.settle()
        try:
            yield this
        finally:
            if not this.over:
                await this.stop()
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert not left, f"tasks left behind: {left}"


class Diarist(Actor):
    """Writes its life into the world's diary and does what messages tell it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def note(self, what: str) -> None:
        self.world.diary.append(f"{self.name} {what}")

    async def on_start(self) -> None:
        self.note("starts")

    async def on_stop(self) -> None:
        self.note("stops")

    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case "boom":
                raise Boom(self.name)
            case "finish":
                self.finish()
            case "cancelled":
                raise asyncio.CancelledError
            case "hang":
                self.note("hangs")
                await anyio.sleep_forever()
            case ("sleep", seconds):
                await self.clock.sleep(seconds)
            case "ping":
                pass
        if reply is not None:
            reply.send((self.name, self.incarnation))
