"""Commands as files: in order, whole, answered once; what is no command harms nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.statedir import Command, CommandFiles, CommandResult, StateDir, Unreadable
from tradekeel.statedir.commands import PENDING_MAX, RESULTS_KEPT_MAX


@pytest.fixture
def files(tmp_path: Path) -> CommandFiles:
    state = StateDir(tmp_path)
    state.create()
    return CommandFiles(state.commands, state.results)


def command(number: int = 1, name: str = "pause") -> Command:
    return Command(id=f"c{number}", name=name, ts_ns=number, arguments={"account": "paper-1"})


def test_commands_arrive_in_the_order_of_their_times(files: CommandFiles) -> None:
    for number in (10, 9, 100):
        files.ask(command(number))
    assert files.pending() == [command(9), command(10), command(100)]


def test_an_answer_takes_the_command_away_and_waits_for_whoever_asked(files: CommandFiles) -> None:
    files.ask(command())
    assert files.result("c1") is None
    files.answer(command(), CommandResult(id="c1", ok=True, message="paused", data={"orders": 2}))
    assert files.pending() == []
    assert files.result("c1") == CommandResult(id="c1", ok=True, message="paused", data={"orders": 2})
    files.forget("c1")
    assert files.result("c1") is None


def test_a_daemon_that_dies_before_the_answer_finds_the_command_again(files: CommandFiles) -> None:
    files.ask(command())
    assert files.pending() == files.pending() == [command()]


def test_a_command_can_be_withdrawn_until_it_is_answered(files: CommandFiles) -> None:
    files.ask(command())
    assert files.withdraw(command())
    assert not files.withdraw(command())
    assert files.pending() == []


def test_half_written_files_are_not_seen(files: CommandFiles, tmp_path: Path) -> None:
    (tmp_path / "commands" / ".00000000000000000001-c1.json.77.tmp").write_text("{")
    assert files.pending() == []


def huge(path: Path) -> None:
    path.write_bytes(b" " * 70_000)


def linked(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("name", "make", "command_id"),
    [
        ("00000000000000000001-c1.json", lambda path: path.write_text("{"), "c1"),
        ("00000000000000000001-c1.json", lambda path: path.write_text('{"id":"c2","name":"x","ts_ns":1}'), "c1"),
        ("00000000000000000001-c1.json", lambda path: path.write_text('{"id":"c1","name":"x","ts_ns":1,"y":2}'), "c1"),
        ("00000000000000000001-c1.json", lambda path: path.write_text("[" * 60_000), "c1"),
        ("00000000000000000001-c1.json", huge, "c1"),
        ("00000000000000000001-c1.json", linked, "c1"),
        ("00000000000000000001-c1.json", pipe, "c1"),
        ("note.txt", lambda path: path.write_text("hello"), ""),
    ],
)
def test_what_is_no_command_is_said_and_can_be_removed(
    files: CommandFiles, tmp_path: Path, name: str, make: Callable[[Path], object], command_id: str
) -> None:
    make(tmp_path / "commands" / name)
    (unreadable,) = files.pending()
    assert isinstance(unreadable, Unreadable)
    assert unreadable.id == command_id
    assert files.discard(unreadable)
    assert files.pending() == []
    if command_id:
        result = files.result(command_id)
        assert result is not None
        assert not result.ok
        assert result.message == unreadable.problem


@pytest.mark.parametrize(("name", "command_id"), [("old", ""), ("00000000000000000001-c1.json", "c1")])
def test_a_folder_among_the_commands_is_left_and_said_once(
    files: CommandFiles, tmp_path: Path, name: str, command_id: str
) -> None:
    folder = tmp_path / "commands" / name
    folder.mkdir()
    (folder / "note.txt").write_text("somebody's")
    (unreadable,) = files.pending()
    assert isinstance(unreadable, Unreadable)
    assert unreadable.id == command_id
    assert not files.discard(unreadable)
    assert (folder / "note.txt").exists()
    files.ask(command(2))
    assert files.pending() == [command(2)]
    if command_id:
        result = files.result(command_id)
        assert result is not None
        assert not result.ok


def test_no_rubbish_keeps_a_command_waiting(files: CommandFiles, tmp_path: Path) -> None:
    for number in range(PENDING_MAX):
        (tmp_path / "commands" / f"000{number:04d}").mkdir()
    files.ask(command())
    assert files.pending()[0] == command()


def test_a_folder_among_the_answers_is_nobodys_and_stays(files: CommandFiles, tmp_path: Path) -> None:
    (tmp_path / "results" / "old.json").mkdir()
    os.utime(tmp_path / "results" / "old.json", ns=(1, 1))
    for number in range(RESULTS_KEPT_MAX):
        (tmp_path / "results" / f"r{number}.json").write_text("{}")
    files.answer(command(), CommandResult(id="c1", ok=True))
    assert (tmp_path / "results" / "old.json").is_dir()


def test_a_flood_is_taken_in_portions(files: CommandFiles, tmp_path: Path) -> None:
    for number in range(PENDING_MAX + 5):
        (tmp_path / "commands" / f"x{number:04d}").write_text("")
    assert len(files.pending()) == PENDING_MAX


def test_answers_that_nobody_fetches_are_bounded(files: CommandFiles, tmp_path: Path) -> None:
    for number in range(RESULTS_KEPT_MAX):
        path = tmp_path / "results" / f"old{number}.json"
        path.write_text("{}")
        os.utime(path, ns=(number, number))
    files.answer(command(), CommandResult(id="c1", ok=True))
    kept = os.listdir(tmp_path / "results")
    assert len(kept) == RESULTS_KEPT_MAX
    assert "c1.json" in kept
    assert "old0.json" not in kept


@pytest.mark.parametrize("command_id", ["", "../x", "a/b", "a b", "x" * 65, ".x", "\0"])
def test_an_id_cannot_leave_its_folder(files: CommandFiles, command_id: str) -> None:
    with pytest.raises(InputError):
        files.ask(Command(id=command_id, name="pause", ts_ns=1))
    with pytest.raises(InputError):
        files.result(command_id)


def test_a_command_that_could_never_be_read_is_refused_when_asked(files: CommandFiles) -> None:
    with pytest.raises(InputError, match="larger than"):
        files.ask(Command(id="c1", name="resolve", ts_ns=1, arguments={"x": "y" * 70_000}))
    with pytest.raises(InputError, match="is not one"):
        files.ask(Command(id="c1", name="pause", ts_ns=-1))


def test_an_answer_that_is_none_is_an_error_not_a_crash(files: CommandFiles, tmp_path: Path) -> None:
    (tmp_path / "results" / "c1.json").write_text("[]")
    with pytest.raises(StoreUnavailable, match="is not an answer"):
        files.result("c1")


def test_without_the_folder_nobody_listens(tmp_path: Path) -> None:
    files = CommandFiles(tmp_path / "no", tmp_path / "no")
    with pytest.raises(StoreUnavailable):
        files.ask(command())
    with pytest.raises(StoreUnavailable):
        files.pending()


@given(st.binary(max_size=300))
def test_any_bytes_in_a_command_file_are_a_command_or_unreadable(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    state = StateDir(folder)
    state.create()
    (state.commands / "00000000000000000001-c1.json").write_bytes(content)
    (found,) = CommandFiles(state.commands, state.results).pending()
    assert isinstance(found, Command | Unreadable)
