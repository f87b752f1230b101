"""A run on a manual clock is the same run every time: failures, back-off, cancellation and all."""

from __future__ import annotations

import random
from typing import Any

import anyio

from tests.unit.runtime.support import Boom, Diarist, World, world
from tradekeel.runtime.actor import Reply
from tradekeel.runtime.restart import Backoff, Intensity, Strategy
from tradekeel.runtime.supervisor import ChildSpec, Supervisor


class Restless(Diarist):
    """Works, asks, fails and leaves tasks behind, by its own seeded dice."""

    def __init__(self, world: World, dice: random.Random) -> None:
        super().__init__(world)
        self.dice = dice

    def note(self, what: str) -> None:
        super().note(f"{what} at {self.clock.monotonic():.9f}")

    async def on_start(self) -> None:
        await super().on_start()
        for number in range(5):
            self.spawn(self.child, number)

    async def child(self, number: int) -> None:
        try:
            while True:
                await self.clock.sleep(self.dice.random())
                await self.system.ref(self.dice.choice("abcd")).send(("work", number))
        finally:
            self.note(f"child {number} ends")

    async def handle(self, message: Any, reply: Reply | None) -> None:
        self.note(repr(message))
        if self.dice.random() < 0.02:
            raise Boom
        if self.dice.random() < 0.1:
            self.request(self.system.ref(self.dice.choice("abcd")), "ask", lambda x: ("got", str(x)), timeout_s=0.5)
        if reply is not None and self.dice.random() < 0.9:
            reply.send(self.name)


async def one_run(seed: int) -> list[Any]:
    dice = random.Random(seed)
    backoff = Backoff(initial_s=0.1, max_s=1, jitter=0.5)

    def root(this: World) -> Supervisor:
        specs = [ChildSpec(name, lambda: Restless(this, dice), backoff=backoff) for name in "abcd"]
        return Supervisor("root", Strategy.REST_FOR_ONE, specs, Intensity(1_000, 1))

    async with world(root, random=random.Random(seed)) as w:
        await w.clock.advance(20)
        await w.stop()
        faults = [(f.child, f.incarnation, f.action, f.delay_s) for f in w.faults]
        return [*w.diary, *faults, dict(w.system.dead_letters.counts), anyio.__name__]


async def test_the_same_seed_gives_the_same_run_to_the_last_line(seed):
    first = await one_run(seed)
    assert len(first) > 500
    assert await one_run(seed) == first
    assert await one_run(seed + 1) != first
