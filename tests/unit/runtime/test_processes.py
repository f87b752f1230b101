"""Processes beside ours: they are heard, their end is noticed, and none outlives its crew."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from typing import Any

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
