"""Ten times more work than an actor can do: nothing of the reliable lane is lost, control stays quick, memory is bounded."""

from __future__ import annotations

from typing import Any

import anyio

from tests.unit.runtime.support import World, world
from tradekeel.runtime.actor import Actor, MailboxLimits, Reply
from tradekeel.runtime.supervisor import ChildSpec, Supervisor

SENDERS = 10
EACH = 60
WORK_S = 0.010  # 100 messages a second can be handled, 1,000 a second are sent
SEND_EVERY_S = 0.010
ROOM = 50


class Worker(Actor):
    """Takes its time, and notes when it handled what."""

    mailbox_limits = MailboxLimits(reliable_max=ROOM, latest_keys_max=2)

    def __init__(self) -> None:
        self.work: list[tuple[int, int]] = []
        self.values: list[int] = []
        self.pauses_s: list[float] = []

    async def handle(self, message: Any, reply: Reply | None) -> None:
        match message:
            case ("pause", sent_s):
                self.pauses_s.append(self.clock.monotonic() - sent_s)
            case ("value", number):
                self.values.append(number)
            case _:
                await self.clock.sleep(WORK_S)
                self.work.append(message)


async def send_work(w: World, sender: int) -> None:
    for number in range(EACH):
        assert await w.system.ref("worker").send((sender, number))
        await w.clock.sleep(SEND_EVERY_S)


async def send_values(w: World) -> None:
    for number in range(1_000):
        w.system.ref("worker").latest("key", ("value", number))
        await w.clock.sleep(0.005)


async def send_pauses(w: World) -> None:
    for _ in range(50):
        w.system.ref("worker").control(("pause", w.clock.monotonic()))
        await w.clock.sleep(0.0973)


async def test_ten_times_overload():
    worker = Worker()

    def root(this: World) -> Supervisor:
        return Supervisor("root", children=[ChildSpec("worker", lambda: worker, shutdown_s=60)])

    async with world(root) as w:
        async with anyio.create_task_group() as tasks:
            for sender in range(SENDERS):
                tasks.start_soon(send_work, w, sender)
            tasks.start_soon(send_values, w)
            tasks.start_soon(send_pauses, w)
            await w.until(lambda: len(worker.work) == SENDERS * EACH)
            await w.clock.advance(10)
        figures = w.system.snapshot()["worker"]

    for sender in range(SENDERS):
        assert [n for s, n in worker.work if s == sender] == list(range(EACH)), "whole and in order"
    assert len(worker.pauses_s) == 50
    assert max(worker.pauses_s) <= 0.100, "a pause waits for the message at hand, never for the queue"
    assert figures.mail_high_water <= ROOM + 1 + 2, "the reliable lane, one value a key, and control"
    assert worker.values[-1] == 999
    assert worker.values == sorted(worker.values)
    assert len(worker.values) + figures.replaced == 1_000, "what was not handled was counted"
    assert w.system.dead_letters.total == 0
