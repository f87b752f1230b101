"""What goes wrong with a person's view ends the view, and the daemon goes on."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from tradekeel.bootstrap.onlooker import Onlooker
from tradekeel.bootstrap.summary import Summary

SUMMARY = Summary(accounts=(), feeds=(), duration_s=1.0)


class Terminal:
    """A view that notes what is asked of it, and fails or hangs at one of these things."""

    def __init__(self, fails: str = "", hangs: str = "") -> None:
        self.log = io.StringIO()
        self.done: list[str] = []
        self.thaws = threading.Event()
        self._fails, self._hangs = fails, hangs

    def _do(self, what: str) -> None:
        if what == self._hangs:
            self.thaws.wait(60)
        if what == self._fails:
            raise OSError(5, "Input/output error")
        self.done.append(what)

    def open(self, name: str) -> None:
        self._do("open")

    def show(self, status: Mapping[str, Any]) -> None:
        self._do("show")

    def close(self) -> None:
        self._do("close")

    def finish(self, summary: Summary) -> None:
        self._do("finish")

    def give_up(self) -> None:
        self._do("give_up")


def look_on(terminal: Terminal) -> None:
    """All that a run does with a view, as it does it."""
    onlooker = Onlooker(terminal)
    onlooker.open("demo")
    if not onlooker.is_gone:
        try:
            onlooker.show({})
        except OSError as error:
            onlooker.lose(error)
    onlooker.close()
    onlooker.finish(SUMMARY)


def test_all_is_drawn_where_nothing_is_wrong(log: list[str]) -> None:
    terminal = Terminal()
    look_on(terminal)
    assert terminal.done == ["open", "show", "close", "finish"]
    assert log == []


@pytest.mark.parametrize(("fails", "before"), [("open", 0), ("show", 1), ("close", 2), ("finish", 3)])
def test_whatever_fails_ends_the_view_and_is_said_once(fails: str, before: int, log: list[str]) -> None:
    terminal = Terminal(fails=fails)
    look_on(terminal)
    assert terminal.done == [*["open", "show", "close", "finish"][:before], "give_up"]
    assert log == ["the live view is over, the daemon goes on without: OSError: [Errno 5] Input/output error"]


def test_a_terminal_that_is_stopped_does_not_keep_the_end(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradekeel.bootstrap.onlooker.DRAWN_WITHIN_S", 0.01)
    terminal = Terminal(hangs="close")
    look_on(terminal)
    assert terminal.done == ["open", "show"], "nothing more is asked of it, nor written to it"
    assert log == ["the terminal takes nothing: the live view is over, the daemon goes on without"]
    terminal.thaws.set()
