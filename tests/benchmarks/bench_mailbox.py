"""Messages through real mailboxes, requests, and hops to a thread, each beside the least it could cost here.

    python -m tests.benchmarks.bench_mailbox

The floor of a message is a bare deque between two coroutines, drained in the same batches; the floor of a request is a bare
future between two tasks; the floor of a hop is the standard library's executor with one thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio

from tests.benchmarks.report import Result, reaches, standalone, stays_within
from tradekeel.runtime.actor import Actor, ActorRef, MailboxLimits, Reply
from tradekeel.runtime.clock import SystemClock
from tradekeel.runtime.loop import BlockingWorker, run
from tradekeel.runtime.mailbox import Mailbox
from tradekeel.runtime.supervisor import ChildSpec, Supervisor
from tradekeel.runtime.system import ActorSystem

BATCH = 256
LIMITS = MailboxLimits(reliable_max=1_024)


async def floor_messages(count: int) -> None:
    """A deque between a coroutine that fills it and one that drains it, with a turn of the loop a batch."""
    lane: deque[Any] = deque()

    async def fill() -> None:
        for number in range(count):
            lane.append((number, None))
            if len(lane) >= BATCH:
                await asyncio.sleep(0)

    async def drain() -> None:
        taken = 0
        while taken < count:
            taken += len(lane)
            lane.clear()
            await asyncio.sleep(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain)
        tasks.start_soon(fill)


async def mailbox_messages(count: int) -> None:
    """One mailbox: put, wait when it is full, receive in batches."""
    box = Mailbox(LIMITS, SystemClock().monotonic)

    async def fill() -> None:
        for number in range(count):
            if not box.put(number):
                await box.put_waiting(number)

    async def drain() -> None:
        taken = 0
        while taken < count:
            taken += len(await box.receive(BATCH))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain)
        tasks.start_soon(fill)


class Relay(Actor):
    """Passes every message on."""

    mailbox_limits = LIMITS

    def __init__(self, to: str) -> None:
        self.to = to

    async def handle(self, message: Any, reply: Reply | None) -> None:
        if reply is not None:
            reply.send(message)
        else:
            await self.system.ref(self.to).send(message)


class Sink(Actor):
    """Counts, and answers requests."""

    mailbox_limits = LIMITS

    def __init__(self) -> None:
        self.expected = 0
        self.done = asyncio.Event()

    async def handle(self, message: Any, reply: Reply | None) -> None:
        self.expected -= 1
        if self.expected == 0:
            self.done.set()
        if reply is not None:
            reply.send(message)


async def with_actors(relay: Callable[[], Actor], work: Callable[[ActorSystem, Sink], Awaitable[None]]) -> None:
    system, sink = ActorSystem(), Sink()
    children = [ChildSpec("sink", lambda: sink), ChildSpec("relay", relay)]
    async with anyio.create_task_group() as tasks:
        started = anyio.Event()
        tasks.start_soon(system.run, Supervisor("root", children=children), started.set)
        await started.wait()
        await work(system, sink)
        await system.stop()


def two_hops(count: int, relay: Callable[[], Actor]) -> float:
    """Seconds for ``count`` messages source → relay → sink."""
    took_s = 0.0

    async def work(system: ActorSystem, sink: Sink) -> None:
        nonlocal took_s
        sink.expected = count
        ref = system.ref("relay")
        begin_s = time.perf_counter()
        for number in range(count):
            await ref.send(number)
        await sink.done.wait()
        took_s = time.perf_counter() - begin_s

    run(with_actors, relay, work)
    return took_s


def requests(count: int) -> float:
    """Seconds for ``count`` requests one after the other."""
    took_s = 0.0

    async def work(system: ActorSystem, sink: Sink) -> None:
        nonlocal took_s
        ref: ActorRef = system.ref("sink")
        begin_s = time.perf_counter()
        for number in range(count):
            await ref.ask(number, timeout_s=5)
        took_s = time.perf_counter() - begin_s

    run(with_actors, lambda: Relay("sink"), work)
    return took_s


async def floor_requests(count: int) -> None:
    """A future handed to a task that waits for one, and answered by it."""
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[Any] = loop.create_future()

    async def answer() -> None:
        nonlocal asked
        for _ in range(count):
            reply = await asked
            asked = loop.create_future()
            reply.set_result(None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer)
        for _ in range(count):
            reply = loop.create_future()
            asked.set_result(reply)
            await reply


async def hops(count: int) -> None:
    async with BlockingWorker("bench") as worker:
        for _ in range(count):
            await worker.call(int)


async def floor_hops(count: int) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as executor:
        for _ in range(count):
            await loop.run_in_executor(executor, int)


def seconds(function: Callable[[int], Awaitable[None]], count: int) -> float:
    begin_s = time.perf_counter()
    run(function, count)
    return time.perf_counter() - begin_s


def best(measure: Callable[[], float], rounds: int = 3) -> float:
    """The shortest of a few rounds: what the machine did beside them only ever makes it longer."""
    return min(measure() for _ in range(rounds))


def measure_all(count: int) -> list[Result]:
    """Every figure, with ``count`` messages a round."""
    few = count // 50
    floor = count / best(lambda: seconds(floor_messages, count))
    bare = count / best(lambda: seconds(mailbox_messages, count))
    by_one = count / best(lambda: two_hops(count, lambda: Relay("sink")))
    ask_us = best(lambda: requests(few)) / few * 1e6
    ask_floor_us = best(lambda: seconds(floor_requests, few)) / few * 1e6
    hop_us = best(lambda: seconds(hops, few)) / few * 1e6
    hop_floor_us = best(lambda: seconds(floor_hops, few)) / few * 1e6
    deque_floor: dict[str, Any] = {"floor": floor, "floor_name": "bare deque"}
    return [
        reaches("mailbox: one mailbox", bare, "msg/s", minimum=400_000, **deque_floor),
        reaches("mailbox: two actors", by_one, "msg/s", minimum=400_000, **deque_floor),
        stays_within("mailbox: request", ask_us, "µs", maximum=100, floor=ask_floor_us, floor_name="bare future"),
        stays_within("worker: one call", hop_us, "µs", maximum=100, floor=hop_floor_us, floor_name="executor"),
    ]


def bench(quick: bool) -> list[Result]:
    """For the benchmark runner."""
    return measure_all(50_000 if quick else 500_000)


def main(rounds: int) -> None:
    """Print the figures of ``rounds`` messages, plainly."""
    for result in measure_all(rounds):
        floor = f" (floor {result.floor:,.0f}, {result.floor_name})" if result.floor is not None else ""
        print(f"{result.name}: {result.value:,.0f} {result.unit}{floor}")


if __name__ == "__main__":
    raise SystemExit(standalone(bench))
