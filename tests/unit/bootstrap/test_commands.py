"""Commands as whoever gives them sees it, where the daemon does not answer or is not there.

How a daemon that is well answers is told in tests/integration/test_cli_commands.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.bootstrap.books import latch
from tradekeel.bootstrap import commands
from tradekeel.bootstrap.desk import Desk
from tradekeel.bootstrap.ending import NoAnswer, NotRunning
from tradekeel.bootstrap.place import Place
from tradekeel.domain.rows import Latch
from tradekeel.errors import InputError
from tradekeel.statedir import Command, CommandFiles, StateDir

SOON_S = 0.05


@pytest.fixture
def silent(place: Place) -> Iterator[Place]:
    """A place whose lock is held by somebody who never looks into the command folder."""
    holder = place.statedir
    holder.lock()
    yield place
    holder.release()


def test_without_a_daemon_there_is_nobody_to_ask(place: Place) -> None:
    with pytest.raises(NotRunning, match="no daemon is running"):
        commands.send(place, "pause", {})
    assert list(place.statedir.commands.iterdir()) == []


def test_a_command_that_nobody_takes_is_taken_back(silent: Place) -> None:
    with pytest.raises(NoAnswer, match="taken back"):
        commands.send(silent, "pause", {}, SOON_S)
    assert list(silent.statedir.commands.iterdir()) == []


def test_a_kill_that_nobody_takes_is_written_down_all_the_same(silent: Place) -> None:
    answer = commands.kill(silent, None, "too hot", "alice", SOON_S)
    assert not answer.ok
    assert f"kill -9 {silent.pid}" in answer.message
    assert silent.statedir.latch("all").exists()


def test_a_kill_and_its_release_need_no_daemon(place: Place) -> None:
    assert commands.kill(place, "paper-1", "by night", "alice").ok
    assert place.statedir.latch("paper-1").exists()
    assert commands.release(place, None, "by day", "alice").ok
    assert not place.statedir.latch("paper-1").exists()


def test_a_kill_and_its_release_need_no_folders_either(place: Place) -> None:
    """Whoever puts back a copy of the books may have no more than that."""
    for folder in (place.statedir.latches, place.statedir.commands, place.statedir.results, place.statedir.backups):
        folder.rmdir()
    assert commands.kill(place, None, "by night", "alice").ok
    assert Desk(place.statedir).held("paper-1") is not None
    place.statedir.latch("all").unlink()
    place.statedir.latches.rmdir()
    latch(place, Latch.HALTED, "bob")
    assert commands.release(place, None, "by day", "alice").ok
    assert place.statedir.release_note("paper-1").exists()


# --- of a kill and a release the later one stands -------------------------------------------------------------------------

ACCOUNT = "paper-1"
ACCOUNTS = (ACCOUNT, "other")


def held(place: Place) -> set[str]:
    """The accounts that the next start would halt."""
    return {name for name in ACCOUNTS if Desk(place.statedir).held(name) is not None}


def waiting(place: Place) -> list[str]:
    return [asked.name for asked in Desk(place.statedir).pending()]


def ask(place: Place, name: str, account: str | None = None, ts_ns: int = 1) -> None:
    """A command that somebody has left behind."""
    arguments = {} if account is None else {"account": account}
    files = CommandFiles(place.statedir.commands, place.statedir.results)
    files.ask(Command(id=f"{name}-{account}-{ts_ns}", name=name, ts_ns=ts_ns, arguments=arguments))


def test_a_release_without_a_daemon_leaves_word_for_the_books_that_are_halted_and_nothing_else(place: Place) -> None:
    assert "halted nothing" in commands.release(place, None, "by day", "alice").message
    assert Desk(place.statedir).released(ACCOUNT) is None

    latch(place, Latch.HALTED, "bob")
    assert f"halted ({ACCOUNT})" in commands.release(place, None, "by day", "alice").message
    assert Desk(place.statedir).released(ACCOUNT) == ("by day", "alice")
    assert waiting(place) == []


def test_a_kill_after_a_release_stands_whoever_each_of_them_was_for(place: Place) -> None:
    latch(place, Latch.HALTED, "bob")
    for released in (None, ACCOUNT):
        for killed in (None, ACCOUNT):
            commands.release(place, released, "by day", "alice")
            commands.kill(place, killed, "by night", "alice")
            assert ACCOUNT in held(place)
            assert "other" in held(place) or killed


def test_a_release_that_still_waits_is_taken_back_by_a_kill(place: Place) -> None:
    ask(place, "release")
    ask(place, "release", "other")
    ask(place, "pause")
    commands.kill(place, ACCOUNT, "by night", "alice")
    assert waiting(place) == ["pause", "release"]
    commands.kill(place, None, "by night", "alice")
    assert waiting(place) == ["pause"]
    answer = CommandFiles(place.statedir.commands, place.statedir.results).result("release-None-1")
    assert answer is not None
    assert "a kill that came later" in answer.message


def test_a_kill_leaves_it_to_a_running_daemon_to_take_a_release_back(silent: Place) -> None:
    """Which may be carrying it out: then it is not true that nothing was done."""
    ask(silent, "release")
    commands.kill(silent, None, "by night", "alice", SOON_S)
    files = CommandFiles(silent.statedir.commands, silent.statedir.results)
    assert files.result("release-None-1") is None
    assert waiting(silent) == ["kill"], "one that has not begun it takes it back"
    assert files.result("release-None-1") is not None


def test_a_kill_that_still_waits_is_taken_back_by_a_release_and_goes_on_to_hold_the_others(place: Place) -> None:
    ask(place, "kill")
    commands.release(place, ACCOUNT, "by day", "alice")
    assert waiting(place) == []
    assert held(place) == {"other"}
    commands.release(place, None, "by day", "alice")
    assert held(place) == set()


def test_one_account_is_released_while_all_are_held(place: Place) -> None:
    commands.kill(place, None, "by night", "alice")
    commands.release(place, ACCOUNT, "by day", "alice")
    assert held(place) == {"other"}
    commands.kill(place, ACCOUNT, "again", "alice")
    assert held(place) == set(ACCOUNTS)


class StartsMeanwhile(Place, frozen=True, kw_only=True):
    """A place where a daemon, which answers nobody, takes the lock as soon as somebody has found none."""

    daemon: StateDir

    @property
    def pid(self) -> int | None:
        """What is found; the first time nobody."""
        found = super().pid
        if found is None:
            self.daemon.lock()
        return found


@pytest.fixture
def starting(place: Place) -> Iterator[Place]:
    daemon = place.statedir
    yield StartsMeanwhile(place.state_dir, None, daemon=daemon)
    daemon.release()


def test_a_kill_tells_a_daemon_that_starts_at_that_very_moment(starting: Place) -> None:
    """It may have looked for latch files before there was one."""
    answer = commands.kill(starting, None, "too hot", "alice", SOON_S)
    assert not answer.ok
    assert waiting(starting) == ["kill"]
    assert held(starting) == set(ACCOUNTS)


def test_a_release_that_a_daemon_which_has_just_started_does_not_take_leaves_no_word(starting: Place) -> None:
    latch(starting, Latch.HALTED, "bob")
    with pytest.raises(NoAnswer, match="taken back"):
        commands.release(starting, None, "why", "alice", SOON_S)
    assert waiting(starting) == []
    assert Desk(starting.statedir).released(ACCOUNT) is None


def test_a_command_comes_behind_all_that_wait_although_the_clock_was_set_back(silent: Place) -> None:
    ask(silent, "release", "other", ts_ns=10**19)
    assert not commands.kill(silent, ACCOUNT, "too hot", "alice", SOON_S).ok
    *_, last = CommandFiles(silent.statedir.commands, silent.statedir.results).pending()
    assert isinstance(last, Command)
    assert last.name == "kill"


# --- whom it is for -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../status", "../../../x", "paper/1", "", "Paper", "a.b", "x" * 32, "a\0b"])
def test_a_name_that_could_lead_elsewhere_is_refused(place: Place, name: str) -> None:
    status = place.state_dir / "status.json"
    status.write_text("{}")
    for act in (commands.kill, commands.release):
        with pytest.raises(InputError, match="cannot be an account's name"):
            act(place, name, "why", "alice", SOON_S)
    assert status.read_text() == "{}"
    assert list(place.statedir.latches.iterdir()) == []


def test_an_account_that_is_not_there_is_refused_with_the_nearest_one(place: Place) -> None:
    for act in (commands.kill, commands.release):
        with pytest.raises(InputError, match="there is no account 'paper1'; did you mean \"paper-1\"\\?"):
            act(place, "paper1", "why", "alice")
    assert list(place.statedir.latches.iterdir()) == []


def test_an_account_is_known_from_the_configuration_the_books_or_a_latch(place: Place, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[accounts.fresh]\nvenue = 5\n")
    Desk(place.statedir).hold("gone", "long ago")
    there = Place(place.state_dir, config)
    for name in ("fresh", "gone", ACCOUNT):
        assert commands.kill(there, name, "why", "alice").ok
        assert commands.release(there, name, "why", "alice").ok


def test_where_nobody_knows_the_accounts_all_are_to_be_killed(tmp_path: Path) -> None:
    place = Place(tmp_path / "state", None)
    place.statedir.create()
    with pytest.raises(InputError, match="without --account"):
        commands.kill(place, "paper-1", "why", "alice")
    assert commands.kill(place, None, "why", "alice").ok


def test_a_daemon_that_does_not_answer_makes_no_name_right(silent: Place) -> None:
    with pytest.raises(InputError, match="there is no account 'paper-2'"):
        commands.kill(silent, "paper-2", "why", "alice", SOON_S)
    assert waiting(silent) == []


def test_a_place_that_is_none_is_not_killed(tmp_path) -> None:
    nowhere = Place(tmp_path / "nowhere", None)
    for act in (commands.kill, commands.release):
        with pytest.raises(NotRunning):
            act(nowhere, None, "why", "alice")
    assert not nowhere.state_dir.exists()


def test_an_outcome_is_one_of_four_words(place: Place) -> None:
    with pytest.raises(InputError, match="not_sent, rejected, canceled, expired"):
        commands.resolve(place, "tk1", "filled", "why", "alice")


def test_the_end_of_a_daemon_is_waited_for(silent: Place, place: Place) -> None:
    assert not commands.wait_until_gone(silent, SOON_S)


def test_a_place_without_a_daemon_is_gone_at_once(place: Place) -> None:
    assert commands.wait_until_gone(place, SOON_S)


@pytest.mark.parametrize(
    ("environ", "who"), [({"SUDO_USER": "alice", "USER": "root"}, "alice"), ({"USER": "bob"}, "bob"), ({}, "uid ")]
)
def test_the_journal_names_the_person_behind_sudo(environ: dict[str, str], who: str) -> None:
    assert commands.operator(environ).startswith(who)
