"""What goes on beside a daemon's tree of actors."""

from __future__ import annotations

import socket
from pathlib import Path

import anyio
from msgspec import Struct

from tradekeel.actors.control import Control
from tradekeel.bootstrap.daemon import START_EXTEND_S, keep_starting
from tradekeel.runtime.clock import ManualClock
from tradekeel.runtime.notify import Notifier


class Starting(Struct):
    """A daemon of which nothing is there yet, or no more than this."""

    control: Control | None = None


async def test_a_start_that_takes_long_is_extended_at_once_and_always_before_the_last_time_is_over(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        notify = Notifier(str(tmp_path / "notify"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_starting, notify, clock, Starting())
            await clock.settle()
            for _ in range(10):
                assert ear.recv(100) == b"EXTEND_TIMEOUT_USEC=30000000"
                await clock.advance(START_EXTEND_S / 2)
            tasks.cancel_scope.cancel()
        notify.close()
