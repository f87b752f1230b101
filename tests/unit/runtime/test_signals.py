"""No signal is lost and none disturbs what is going on, however many come and whenever they do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import pytest

from tradekeel.runtime import signals
from tradekeel.runtime.signals import SignalInbox

PAUSE, RESUME, LOOK, STOP = signal.SIGUSR1, signal.SIGUSR2, signal.SIGURG, signal.SIGTERM
SOURCES = Path(signals.__file__).parents[2]


@pytest.fixture
def inbox() -> Iterator[SignalInbox]:
    """One that is installed in this process."""
    numbers = [signal.SIGTERM, signal.SIGINT, PAUSE, RESUME, LOOK]
    before = {number: signal.getsignal(number) for number in numbers}
    made = SignalInbox([PAUSE, RESUME, LOOK])
    made.install()
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


async def take(inbox: SignalInbox, count: int) -> list[signal.Signals]:
    with anyio.fail_after(60):
        return [await inbox.take() for _ in range(count)]


async def is_empty(inbox: SignalInbox) -> bool:
    with anyio.move_on_after(0):
        await inbox.take()
        return False
    return True


async def test_what_comes_before_anybody_listens_is_kept_in_its_order(inbox: SignalInbox) -> None:
    send(PAUSE, LOOK, STOP)
    assert inbox.stop_asked
    assert await take(inbox, 3) == [PAUSE, LOOK, STOP]
    assert await is_empty(inbox)


async def test_whoever_waits_is_woken(inbox: SignalInbox) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take, inbox, 2)
        await anyio.wait_all_tasks_blocked()
        send(LOOK)
        await anyio.wait_all_tasks_blocked()
        send(LOOK)


async def test_one_of_a_kind_is_kept_and_what_was_asked_for_last_is_done_last(inbox: SignalInbox) -> None:
    send(*[LOOK] * 100, PAUSE, RESUME, PAUSE, STOP)
    assert await take(inbox, 4) == [LOOK, RESUME, PAUSE, STOP]
    assert await is_empty(inbox)


class BeforeLine:
    """A tracer that sends PAUSE once, before the nth line that :meth:`SignalInbox.take` runs."""

    def __init__(self, nth: int) -> None:
        self.nth = nth
        self.lines = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is not SignalInbox.take.__code__:
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.nth:
                send(PAUSE)
        return self


async def take_in_between(inbox: SignalInbox, nth: int, *kept: signal.Signals) -> tuple[list[signal.Signals], bool]:
    """What is taken where PAUSE comes at the nth line, or, if nobody gets as far, to one who waits; and which it was."""
    taken: list[signal.Signals] = []

    async def listen() -> None:
        taken.extend(await take(inbox, len(kept) + 1))

    send(*kept)
    tracer, before = BeforeLine(nth), sys.gettrace()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        sys.settrace(tracer)
        try:
            await anyio.wait_all_tasks_blocked()
        finally:
            sys.settrace(before)
        has_come = tracer.lines >= nth
        if not has_come:
            send(PAUSE)
    return sorted(taken), has_come


@pytest.mark.parametrize("kept", [(), (LOOK,)])
async def test_a_signal_may_come_between_any_two_lines_of_taking_one(
    kept: tuple[signal.Signals, ...], inbox: SignalInbox
) -> None:
    nth, has_come = 0, True
    while has_come:
        nth += 1
        taken, has_come = await take_in_between(inbox, nth, *kept)
        assert taken == sorted([*kept, PAUSE])
    assert nth > 4


TWICE = """
import os, signal
from tradekeel.runtime.signals import SignalInbox
inbox = SignalInbox([])
inbox.install()
{first}
os.kill(os.getpid(), signal.SIGTERM)
print("goes on")
"""


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("", 0),
        ("os.kill(os.getpid(), signal.SIGINT)", 128 + signal.SIGTERM),
        ("inbox.stops_already()", 128 + signal.SIGTERM),
    ],
)
def test_a_second_request_to_stop_ends_the_process_at_once_whatever_the_first_was(first: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE.format(first=first)],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "goes on" in done.stdout) == (code, code == 0)
