"""What is obeyed before there is control: a stop always, the rest only where the start waits for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradekeel.bootstrap.desk import Desk
from tradekeel.bootstrap.earlycommands import EarlyCommands
from tradekeel.bootstrap.effort import Effort
from tradekeel.runtime.clock import SystemClock
from tradekeel.statedir import Command, CommandFiles, CommandResult, StateDir

WAITS = "waiting for the books' server: it is away"


class Start:
    """A start, and a person who gives it commands."""

    def __init__(self, folder: Path) -> None:
        self.statedir = StateDir(folder)
        self.effort = Effort(SystemClock())
        self.stops = 0
        self.desk = Desk(self.statedir)
        self.commands = EarlyCommands(self.desk, ["a", "b"], self.effort, self._stop)
        self._files = CommandFiles(self.statedir.commands, self.statedir.results)
        self._given = 0

    def _stop(self) -> None:
        self.stops += 1

    def told(self, name: str, **arguments: str) -> CommandResult | None:
        """What a command comes to at the next look; None where it waits for control."""
        self._given += 1
        command = Command(id=f"c{self._given}", name=name, ts_ns=self._given, arguments=arguments)
        self._files.ask(command)
        self.commands.look()
        return self._files.result(command.id)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    StateDir(tmp_path).create()
    return Start(tmp_path)


def test_a_stop_is_obeyed_whatever_the_start_is_at(start: Start) -> None:
    with start.effort.under_way():
        start.effort.moved("reading ticks")
        said = start.told("stop")
    assert said is not None
    assert (said.ok, said.message, start.stops) == (True, "stopping", 1)


def test_while_a_start_goes_on_by_itself_commands_wait_for_control(start: Start) -> None:
    with start.effort.under_way():
        start.effort.waits(WAITS)
        start.effort.moved("copying")
        assert start.told("pause") is None
        assert start.told("kill") is None
    assert [asked.name for asked in start.desk.pending()] == ["kill", "pause"]


def test_a_start_that_waits_refuses_what_it_cannot_do_with_what_it_waits_for(start: Start) -> None:
    with start.effort.under_way():
        start.effort.waits(WAITS)
        for name in ("pause", "resume", "release", "flatten", "reload", "resolve", "nonsense"):
            said = start.told(name)
            assert said is not None
            assert (said.ok, WAITS in said.message) == (False, True)
    assert start.desk.pending() == []


def test_a_kill_holds_from_the_start_on_for_whom_it_is_meant(start: Start) -> None:
    with start.effort.under_way():
        start.effort.waits(WAITS)
        one = start.told("kill", account="a", reason="by hand")
        assert one is not None
        assert one.ok
        assert (start.desk.held("a"), start.desk.held("b")) == ("by hand", None)
        nobody = start.told("kill", account="c")
        assert nobody is not None
        assert (nobody.ok, "there is no account 'c'" in nobody.message) == (False, True)
        start.told("kill", reason="all")
    assert start.desk.held("b") == "all"


def test_where_the_folder_of_commands_cannot_be_read_that_is_said_once_and_nothing_ends(
    start: Start, log: list[str]
) -> None:
    start.statedir.commands.rmdir()
    start.statedir.commands.write_text("")
    start.commands.look()
    start.commands.look()
    assert ["only signals are heard" in line for line in log] == [True]
