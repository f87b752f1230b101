"""The desk: what control leaves in the state directory for people to find."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from loguru import logger

from tradekeel.actors.control import Control, ControlSettings
from tradekeel.bootstrap.desk import STATUS_FILE, Desk
from tradekeel.errors import StoreUnavailable
from tradekeel.statedir import Command, CommandFiles, StateDir


@pytest.fixture
def statedir(tmp_path: Path) -> StateDir:
    made = StateDir(tmp_path / "state")
    made.create()
    return made


def test_a_latch_file_of_one_account_or_of_all_holds_an_account_until_it_is_let_go(statedir: StateDir) -> None:
    desk = Desk(statedir)
    desk.hold("a", "one too many")
    desk.hold("all", "enough")

    assert desk.held("a") == "enough"
    assert desk.held("b") == "enough"
    desk.let_go("all")
    assert desk.held("a") is None
    assert desk.held("b") is None


def test_a_latch_that_cannot_be_read_holds_until_somebody_is_let_go_by_name(statedir: StateDir) -> None:
    desk = Desk(statedir)
    statedir.latch("all").write_bytes(b"\x00 not json")

    assert desk.held("a") == "the latch file all.json is there"
    desk.let_go("a")
    assert desk.held("a") is None
    assert desk.held("b") == "the latch file all.json is there"


def ask(statedir: StateDir, ts_ns: int, name: str, account: str | None = None) -> str:
    arguments = {} if account is None else {"account": account}
    command = Command(id=f"{name}-{ts_ns}", name=name, ts_ns=ts_ns, arguments=arguments)
    CommandFiles(statedir.commands, statedir.results).ask(command)
    return command.id


def test_kills_come_first_the_rest_as_it_was_asked_for_and_each_until_it_is_taken(statedir: StateDir) -> None:
    desk = Desk(statedir)
    order = [
        ask(statedir, 3, "kill"),
        ask(statedir, 1, "pause"),
        ask(statedir, 2, "flatten"),
        ask(statedir, 4, "release"),
    ]

    assert [asked.id for asked in desk.pending()] == order
    desk.take(desk.pending()[0])
    assert [asked.id for asked in desk.pending()] == order[1:]


@pytest.mark.parametrize(
    ("released", "killed", "overtaken"),
    [(None, None, True), ("a", "a", True), (None, "a", True), ("a", None, True), ("a", "b", False)],
)
def test_a_release_that_a_later_kill_would_be_ended_by_is_refused(
    statedir: StateDir, released: str | None, killed: str | None, overtaken: bool
) -> None:
    release = ask(statedir, 1, "release", released)
    kill = ask(statedir, 2, "kill", killed)

    assert [asked.id for asked in Desk(statedir).pending()] == ([kill] if overtaken else [kill, release])
    answer = CommandFiles(statedir.commands, statedir.results).result(release)
    assert (answer is not None and not answer.ok) is overtaken


def test_what_is_no_command_and_what_a_later_one_overtakes_is_said_in_the_log(statedir: StateDir) -> None:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message).strip()), format="{level} {message}")
    try:
        (statedir.commands / f"{7:020d}-abc.json").write_text("{broken")
        (statedir.commands / "rubbish").write_text("")
        (statedir.commands / "stays").mkdir()
        ask(statedir, 8, "release")
        ask(statedir, 9, "kill")
        desk = Desk(statedir)
        desk.pending()
        assert [asked.name for asked in desk.pending()] == ["kill"]
    finally:
        logger.remove(sink)
    assert [line.partition(" in ")[0].partition(": ")[0] for line in lines] == [
        f"WARNING {7:020d}-abc.json",
        "WARNING rubbish",
        "WARNING stays",
        "WARNING command release",
    ]


def test_a_status_that_cannot_be_written_is_told_in_our_words(statedir: StateDir) -> None:
    (statedir.path / STATUS_FILE).with_suffix(".tmp").mkdir()

    with pytest.raises(StoreUnavailable, match="status"):
        Desk(statedir).write_status({"name": "demo"})


def test_what_was_asked_of_a_daemon_before_this_one_is_refused_but_for_kills_and_releases(statedir: StateDir) -> None:
    for ts_ns, name in enumerate(("stop", "release", "flatten", "kill"), start=1):
        ask(statedir, ts_ns, name, "a" if name == "release" else "b")
    statedir.lock()
    try:
        ask(statedir, 5, "pause")
        desk = Desk(statedir)
        assert [asked.name for asked in desk.pending()] == ["kill", "release", "pause"]
        for name in ("stop-1", "flatten-3"):
            result = CommandFiles(statedir.commands, statedir.results).result(name)
            assert result is not None
            assert not result.ok
            assert "given to a daemon that ended before it obeyed" in result.message
    finally:
        statedir.release()


def test_folders_that_somebody_removes_are_made_again_and_it_is_said(statedir: StateDir) -> None:
    desk, said = Desk(statedir), list[str]()
    sink = logger.add(lambda line: said.append(str(line)), format="{level} {message}")
    try:
        shutil.rmtree(statedir.commands)
        assert desk.pending() == []
        ask(statedir, 1, "pause")
        [asked] = desk.pending()
        desk.take(asked)
        for folder in (statedir.results, statedir.latches, statedir.commands):
            shutil.rmtree(folder)
        desk.hold("a", "enough")
        desk.answer(asked, True, "done")
        shutil.rmtree(statedir.latches)
        desk.let_go("a")
    finally:
        logger.remove(sink)
    result = CommandFiles(statedir.commands, statedir.results).result("pause-1")
    assert result is not None
    assert result.message == "done"
    assert len(said) == 3, said
    assert said[0] == f"WARNING {statedir.commands} was gone and is made again; what was in it is lost\n"


def test_a_state_directory_that_is_gone_is_not_made_again(statedir: StateDir) -> None:
    shutil.rmtree(statedir.path)
    with pytest.raises(StoreUnavailable):
        Desk(statedir).pending()
    assert not statedir.path.exists(), "another daemon could take it, beside this one"


def test_control_goes_on_without_the_status_file_and_says_so_once(statedir: StateDir) -> None:
    said: list[str] = []

    def say(level: str, text: str, **fields: str) -> None:
        said.append(f"{level}: {text}")

    settings = ControlSettings(
        name="demo", on_stop="keep", stop_at_feed_end=True, stop_timeout_s=1.0, watchdog_every_s=1.0
    )
    unused = cast("Any", None)
    control = Control(settings, (), Desk(statedir), unused, unused, dict, say, unused)
    obstacle = (statedir.path / STATUS_FILE).with_suffix(".tmp")

    obstacle.mkdir()
    control._write_status({"n": 1})
    control._write_status({"n": 2})
    assert [line[:8] for line in said] == ["WARNING:"]

    obstacle.rmdir()
    control._write_status({"n": 3})
    assert json.loads((statedir.path / STATUS_FILE).read_bytes()) == {"n": 3}

    obstacle.mkdir()
    control._write_status({"n": 4})
    assert len(said) == 2
