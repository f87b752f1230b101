"""What goes on beside a daemon's tree of actors."""

from __future__ import annotations

import socket
from pathlib import Path
from threading import Event

import anyio
from msgspec import Struct

from tests.unit.bootstrap.test_reload import CONFIG
from tradekeel.actors.control import Control
from tradekeel.bootstrap.daemon import (
    EFFORT_EVERY_S,
    START_EXTEND_EVERY_S,
    START_EXTEND_S,
    keep_starting,
    watch_effort,
)
from tradekeel.bootstrap.effort import STALLED_AFTER_S, TOLD_EVERY_S, Effort
from tradekeel.bootstrap.plan import read_plan
from tradekeel.bootstrap.wiring import Builder
from tradekeel.runtime import faults
from tradekeel.runtime.clock import ManualClock
from tradekeel.runtime.notify import Notifier
from tradekeel.runtime.system import ActorSystem
from tradekeel.statedir import StateDir


class Starting(Struct):
    """A daemon of which nothing is there yet, or no more than this."""

    effort: Effort
    statedir: StateDir
    control: Control | None = None
    told: int = 0

    def tell_starting(self) -> None:
        self.told += 1


async def test_a_start_that_takes_long_is_extended_at_once_and_always_before_the_last_time_is_over(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        notify = Notifier(str(tmp_path / "notify"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_starting, notify, clock, Starting(Effort(clock), StateDir(tmp_path)))
            await clock.settle()
            for _ in range(10):
                assert ear.recv(100) == b"EXTEND_TIMEOUT_USEC=30000000"
                await clock.advance(START_EXTEND_S / 2)
            tasks.cancel_scope.cancel()
        notify.close()


async def test_what_takes_a_start_long_is_told_and_what_stands_still_is_given_up(log: list[str]) -> None:
    clock = ManualClock()
    effort = Effort(clock)
    effort.moved("nothing is under way")
    with effort.under_way():
        for percent in range(0, 100, 10):
            effort.moved(f"copying: {percent} %")
            await clock.advance(TOLD_EVERY_S / 2)
        assert effort.doing == "copying: 90 %"
        assert log == [f"copying: {percent} %" for percent in (20, 40, 60, 80)]
        await clock.advance(STALLED_AFTER_S - TOLD_EVERY_S / 2 - 1)
        assert effort.stalled() is None
        await clock.advance(1)
        assert effort.stalled() == "copying: 90 % has not moved for 600 s"
        effort.moved("it was only slow")
        assert effort.stalled() is None
    await clock.advance(2 * STALLED_AFTER_S)
    assert (effort.stalled(), effort.doing) == (None, "")


async def test_what_stands_still_ends_the_process_whenever_that_is() -> None:
    clock = ManualClock()
    effort, ended = Effort(clock), list[str]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_effort, clock, effort, ended.append)
        await clock.advance(10 * STALLED_AFTER_S)  # the daemon runs, and long since
        assert ended == []
        with effort.under_way():
            effort.moved("reading ticks")
            await clock.advance(STALLED_AFTER_S + EFFORT_EVERY_S)
        assert ended[0] == "reading ticks has not moved for 600 s"
        tasks.cancel_scope.cancel()


async def test_a_start_that_works_says_what_at_and_has_the_time_it_takes(tmp_path: Path) -> None:
    clock = ManualClock()
    effort = Effort(clock)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        notify = Notifier(str(tmp_path / "notify"))
        async with anyio.create_task_group() as tasks:
            with effort.under_way():
                effort.moved("reading ticks")
                tasks.start_soon(keep_starting, notify, clock, Starting(effort, StateDir(tmp_path)))
                await clock.settle()
                for _ in range(100):  # a quarter of an hour, and more
                    assert ear.recv(100) == b"EXTEND_TIMEOUT_USEC=30000000"
                    assert ear.recv(100) == b"STATUS=reading ticks"
                    effort.moved("reading ticks")
                    await clock.advance(START_EXTEND_EVERY_S)
                tasks.cancel_scope.cancel()
        notify.close()


async def test_opening_the_books_has_the_time_it_takes(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    plan = read_plan(path, {})
    statedir = StateDir(plan.config.state_dir)
    statedir.create()
    clock, opens = ManualClock(), Event()

    async def reload() -> str:
        raise AssertionError("nobody reloads")

    system = ActorSystem(clock)
    builder = Builder(plan, statedir, system, Notifier(), reload)
    with faults.armed({"start.opening": lambda _: opens.wait(20)}):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(system.run, builder.build())
            for _ in range(10):
                await clock.advance(60)
            opens.set()
            for _ in range(2_000):
                if system.ref("recorder").alive:
                    break
                await anyio.sleep(0.005)
            assert system.ref("recorder").alive
            system.request_stop()
    for worker in builder.workers:
        await worker.close()
