"""An interrupt ends whatever reads, also an event loop that never waits; what was held is let go of, and what stays is said."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tradekeel.bootstrap.interrupting import INTERRUPTED, ended_at_once
from tradekeel.cli.common import guarded
from tradekeel.runtime.loop import run

HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _minding() -> Iterator[None]:
    """Signals mean here what they mean on a terminal, also where we run under nohup or in the background."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in HEEDED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("uvloop", [True, False])
@pytest.mark.parametrize("number", HEEDED)
def test_it_ends_a_coroutine_that_waits_for_nothing(number: signal.Signals, uvloop: bool) -> None:
    told: list[str] = []
    ends: list[int] = []
    before = [signal.getsignal(each) for each in HEEDED]

    async def read() -> None:
        try:
            signal.raise_signal(number)
            told.append("went on")
        finally:
            told.append("let go")

    def what_stays() -> str:
        return f"{told[-1]}, and nothing stays"

    with (
        pytest.raises(KeyboardInterrupt, match="let go, and nothing stays"),
        ended_at_once(what_stays, end=ends.append),
    ):
        run(read, use_uvloop=uvloop)
    assert (told, ends) == (["let go"], [INTERRUPTED])
    assert [signal.getsignal(each) for each in HEEDED] == before


def test_a_second_one_does_not_disturb_what_is_being_put_away() -> None:
    told: list[str] = []
    ends: list[int] = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGHUP)
            told.append("put away")

    with pytest.raises(KeyboardInterrupt), ended_at_once(lambda: "", end=ends.append):
        work()
    assert (told, ends) == (["put away"], [INTERRUPTED])


def test_with_nohup_it_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_at_once(lambda: "", end=lambda code: None):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("words", "told"), [("nothing stays", "tradekeel: nothing stays\n"), ("", "tradekeel: interrupted\n")]
)
def test_a_command_says_what_the_interrupt_says(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise KeyboardInterrupt(words)

    assert guarded(command) == INTERRUPTED
    assert capsys.readouterr().err == told
