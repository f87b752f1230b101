"""Commands as whoever gives them sees it, where the daemon does not answer or is not there.

How a daemon that is well answers is told in tests/integration/test_cli_commands.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tradekeel.bootstrap import commands
from tradekeel.bootstrap.ending import NoAnswer, NotRunning
from tradekeel.bootstrap.place import Place
from tradekeel.errors import InputError

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
