"""Processes beside ours: they are heard, their end is noticed, and none outlives its crew."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import pytest

from tradekeel.runtime.processes import Crew, Gone

TIMEOUT_S = 60


def answer(pipe: Connection, number: int, word: str) -> None:
    """Say who we are, then give back what is said, until nobody is there."""
    pipe.send((number, word, os.getpid()))
    try:
        while True:
            pipe.send(pipe.recv())
    except (EOFError, OSError):
        return


def blocked(pipe: Connection, number: int) -> None:
    """Say which signals are not heard of here."""
    pipe.send(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def blocked_for_ever(pipe: Connection, number: int) -> None:
    """Say who we are, and listen no more."""
    pipe.send(os.getpid())
    signal.pause()


def chat(pipe: Connection, number: int) -> None:
    """Print, as a strategy may."""
    print("hello, whoever reads this")
    os.write(1, b"hello again\n")
    pipe.send("done")


def deaf(pipe: Connection, number: int) -> None:
    """Say who we are, hang up, and stay."""
    pipe.send(os.getpid())
    pipe.close()
    signal.pause()


def hung(pipe: Connection, number: int) -> None:
    """Say who we are, and come back to nothing any more, as a strategy's endless loop."""
    pipe.send(os.getpid())
    while True:
        pass


def listening(pipe: Connection, number: int) -> None:
    """Say who we are, and listen until nobody is there."""
    answer(pipe, number, "")


def lead(pipe: Connection, work: Callable[..., None], end_timeout_s: float) -> None:
    """Have a crew of one, say which process that is, and wait to be killed."""
    with Crew(1, work, end_timeout_s=end_timeout_s) as crew:
        ((_, pid),) = hear(crew, 1)
        pipe.send(pid[2] if isinstance(pid, tuple) else pid)
        signal.pause()


def hear(crew: Crew, count: int) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    while len(found) < count:
        found.extend(crew.receive(TIMEOUT_S))
    return found


def test_each_is_heard_and_the_end_of_one_is_noticed() -> None:
    with Crew(2, answer, "hello") as crew:
        said = dict(hear(crew, 2))
        assert [said[number][:2] for number in (0, 1)] == [(0, "hello"), (1, "hello")]
        crew.send(1, "back")
        assert hear(crew, 1) == [(1, "back")]
        os.kill(said[0][2], signal.SIGKILL)
        ((number, gone),) = hear(crew, 1)
        assert number == 0
        assert isinstance(gone, Gone)
        assert gone.code == -signal.SIGKILL
        assert crew.members == [1]
    assert crew.members == []
    for _, _, pid in said.values():
        assert not os.path.exists(f"/proc/{pid}"), "none is left"


def test_one_that_hangs_up_and_stays_is_killed() -> None:
    with Crew(2, deaf, end_timeout_s=0.01) as crew:
        said = hear(crew, 2)
        while crew.members:
            said += hear(crew, 1)
    assert {number: found.code for number, found in said if isinstance(found, Gone)} == dict.fromkeys((0, 1), -9)
    assert not any(os.path.exists(f"/proc/{pid}") for _, pid in said if isinstance(pid, int))


def test_one_that_does_not_end_when_told_is_killed() -> None:
    with Crew(2, blocked_for_ever, end_timeout_s=0.01) as crew:
        pids = [pid for _, pid in hear(crew, 2)]
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_those_that_are_terminated_are_not_waited_for() -> None:
    with Crew(2, blocked_for_ever, end_timeout_s=10 * TIMEOUT_S) as crew:
        hear(crew, 2)
        crew.terminate()
        assert {gone.code for _, gone in hear(crew, 2)} == {-signal.SIGTERM}


def test_ctrl_c_waits_for_those_that_begin_and_for_nobody_else() -> None:
    with Crew(1, blocked) as crew:
        ((_, signals),) = hear(crew, 1)
    assert signals == {signal.SIGINT}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_what_they_print_is_not_in_what_we_say(capfd: pytest.CaptureFixture[str]) -> None:
    with Crew(1, chat) as crew:
        assert hear(crew, 1) == [(0, "done")]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("work", "end_timeout_s"),
    [(hung, 0.01), pytest.param(listening, 10 * TIMEOUT_S, id="one that hears of it ends by itself")],
)
def test_none_outlives_a_parent_that_is_killed(work: Callable[..., None], end_timeout_s: float) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    parent = context.Process(target=lead, args=(theirs, work, end_timeout_s))
    parent.start()
    assert ours.poll(TIMEOUT_S)
    pid = ours.recv()
    handle = os.pidfd_open(pid)
    try:
        parent.kill()
        parent.join()
        ended, _, _ = select.select([handle], [], [], TIMEOUT_S)
        assert ended
    finally:
        os.close(handle)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
