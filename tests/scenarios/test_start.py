"""Starts that are refused, killed, slow or one too many: the run goes on, or begins, as if nothing had been."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.campaigns.workplace import workplace
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home, Story, caught_signals, told_differently
from tests.scenarios.test_signals_systemd import Ear
from tradekeel.errors import ExitCode
from tradekeel.runtime import faults
from tradekeel.runtime.faults import InjectedFault
from tradekeel.runtime.signals import SignalInbox
from tradekeel.statedir import A_COMMAND_IS_ALONE, StateDir
from tradekeel.storage import migrating
from tradekeel.storage.schema import REVISIONS
from tradekeel.storage.store import Store

PAIR = configs.pair(160)


@pytest.fixture(scope="module")
def second_run() -> Iterator[dict[str, Story]]:
    """The story of a second run behind a whole first one, that nothing happened to."""
    with workplace() as work:
        home = Home(work, PAIR)
        assert [home.live().code, home.live().code] == [0, 0]
        yield {account: home.story(account) for account in "ab"}


def _numbers(home: Home) -> dict[str, list[int]]:
    return {account: [row["number"] for row in home.ours(account).executions] for account in "ab"}


# --- whose run it is --------------------------------------------------------------------------------------------------------


def test_a_start_that_was_refused_has_begun_nothing_and_the_next_one_trades(
    place: Path, second_run: dict[str, Story]
) -> None:
    home = Home(place, PAIR)
    assert home.live().code == 0
    home.configure(PAIR.replace("leverage = 30", 'leverage = 30\ncurrency = "EUR"', 1))
    assert home.live().code == 2
    assert not (home.state / "running").exists()
    home.configure(PAIR)
    assert home.live().code == 0
    assert _numbers(home) == {"a": [1, 2], "b": [1, 2]}
    assert told_differently(second_run, home) == []


@pytest.mark.parametrize(
    "kill_at",
    [
        "executor.recover.loaded:1",  # before any account has begun
        "executor.recover.loaded:2",
        "paper.begin.before_commit:1",
        "store.before_commit:1",
        "store.after_commit:1",  # one account has begun
        "executor.close.before:2",  # one account has ended
    ],
)
def test_a_second_run_that_is_killed_anywhere_finishes_with_the_same_trades_and_nobody_begins_a_third(
    kill_at: str, place: Path, second_run: dict[str, Story]
) -> None:
    home = Home(place, PAIR)
    assert home.live().code == 0
    with home.start({faults.KILL_AT: kill_at}) as daemon:
        assert daemon.end() < 0, "it was killed"
    assert home.live().code == 0
    assert _numbers(home) == {"a": [1, 2], "b": [1, 2]}
    assert told_differently(second_run, home) == []
    assert home.unverified() == []
    assert home.live().code == 0
    assert _numbers(home) == {"a": [1, 2, 3], "b": [1, 2, 3]}


def test_a_run_that_was_over_when_its_process_was_killed_is_not_replayed_by_the_next(place: Path) -> None:
    home = Home(place, PAIR)
    assert [home.live().code, home.live().code] == [0, 0]
    (home.state / "running").write_bytes(msgspec.json.encode({"a": 1, "b": 1}))  # the very last act was not done
    life = home.live()
    assert life.code == 0
    assert "a is not trading: the feed has ended" in life.log
    assert _numbers(home) == {"a": [1, 2], "b": [1, 2]}


def test_a_run_whose_mark_is_gone_is_gone_on_with_all_the_same(place: Path) -> None:
    home = Home(place, PAIR)
    with home.start({faults.KILL_AT: "executor.close.before:2"}) as daemon:
        assert daemon.end() < 0, "it was killed"
    (home.state / "running").unlink()
    assert home.live().code == 0
    assert _numbers(home) == {"a": [1], "b": [1]}


def test_beginning_anew_behind_a_killed_run_is_a_run_of_its_own(place: Path) -> None:
    home = Home(place, PAIR)
    assert home.live().code == 0
    with home.start({faults.KILL_AT: "executor.close.before:2"}) as daemon:
        assert daemon.end() < 0, "it was killed"
    with home.start({faults.KILL_AT: "executor.recover.loaded:1"}, "--fresh") as daemon:
        assert daemon.end() < 0, "it was killed"
    assert home.live().code == 0
    assert _numbers(home) == {"a": [1, 2, 3], "b": [1, 2, 3]}


# --- much data --------------------------------------------------------------------------------------------------------------

PIECES = 3
ROWS = 300


def _file_pair(folder: Path) -> str:
    """Two accounts on one file of two and a half megabytes and few rows."""
    padding = "x" * (PIECES * 1_000_000 // ROWS - 100)
    prices = [1_10000 + (n * 7 % 40) * 10 for n in range(ROWS)]
    rows = [
        f"2024-01-03T13:{n // 60:02}:{n % 60:02}Z,1.{p % 100_000:05},1.{p % 100_000 + 6:05},{padding}"
        for n, p in enumerate(prices)
    ]
    (folder / "ticks.csv").write_text("\n".join(["time,bid,ask,note", *rows]) + "\n")
    feed = '[feeds.m]\nkind = "file"\ninstrument = "EUR_USD"\npath = "ticks.csv"\n'
    return (
        configs.head()
        + feed
        + configs.account("a")
        + configs.account("b")
        + configs.strategy("one", "a")
        + configs.strategy("two", "b")
    )


def test_data_is_read_once_a_start_and_beside_the_event_loop_whoever_shares_it_or_is_started_again(
    place: Path,
) -> None:
    home = Home(place, _file_pair(place))
    threads: set[str] = set()

    def fail_once(passed: int) -> None:
        if passed == 2:
            raise InjectedFault("an account is started again")

    life = home.live(
        {
            "start.reading": lambda _: threads.add(threading.current_thread().name),
            "a/monitor:WatchTick": fail_once,
        }
    )
    assert life.code == 0
    assert "it is restarted" in life.log
    assert life.passed["start.reading"] == PIECES
    assert threads == {"data"}
    assert home.live().passed["start.reading"] == PIECES


def test_an_account_that_is_started_again_takes_no_further_thread(place: Path) -> None:
    home = Home(place, PAIR)
    threads: list[int] = []

    def count_and_fail(passed: int) -> None:
        threads.append(sum(thread.name == "paper a" for thread in threading.enumerate()))
        if passed in (2, 4, 6):
            raise InjectedFault("an account is started again")

    life = home.live({"a/session:MatchTick": count_and_fail})
    assert life.code == 0
    assert life.log.count("an account is started again") >= 3
    assert set(threads) == {1}


def test_data_that_is_changed_while_it_is_traded_ends_the_process_and_put_back_it_goes_on(place: Path) -> None:
    home = Home(place, _file_pair(place))
    data = place / "ticks.csv"
    before = data.read_bytes()

    def change(passed: int) -> None:
        if passed == 2:
            data.write_bytes(before.replace(b"x", b"y", 1))
            raise InjectedFault("an account is started again")

    life = home.live({"a/monitor:WatchTick": change})
    assert life.code == 2
    assert "accounts.a.feed: its data has changed while it was traded" in life.log
    data.write_bytes(before)
    assert home.live().code == 0
    assert home.wrong("a", "b") + home.unverified() == []


def test_a_stop_while_data_is_still_read_is_heeded_at_once(place: Path) -> None:
    home = Home(place, _file_pair(place))
    inbox = SignalInbox([])

    def stop(passed: int) -> None:
        inbox.stops = 1

    life = home.live({"start.reading": stop}, signals=inbox)
    assert (life.code, life.passed["start.reading"]) == (0, 1)
    assert "stopped before recovery was done: nothing was traded" in life.log
    assert not home.books.exists()
    assert not (home.state / "running").exists()


def test_a_stop_while_the_books_are_opened_ends_it_before_they_are_made(place: Path) -> None:
    home = Home(place, PAIR)
    inbox = SignalInbox([])

    def stop(passed: int) -> None:
        inbox.stops = 1

    life = home.live({"start.opening": stop}, signals=inbox)
    assert (life.code, life.passed["recorder:LoadAccount"]) == (0, 0), life.log
    assert "stopped before recovery was done: nothing was traded" in life.log
    assert "WARNING" not in life.log
    assert not home.books.exists()
    assert not (home.state / "running").exists()
    assert home.live().code == 0
    assert home.wrong("a", "b") + home.unverified() == []


# --- one too many -----------------------------------------------------------------------------------------------------------


def test_books_of_an_earlier_schema_that_a_start_may_not_change_are_refused_and_a_person_is_told(place: Path) -> None:
    home = Home(place / "home", configs.pair(60))
    home.config.write_text(home.config.read_text().replace("[storage]\n", '[storage]\nmigrations = "refuse"\n'))
    home.state.mkdir()
    Store.open(home.place.where, now_ns=1).close()
    migrating.downgrade(home.place.where, REVISIONS[-2], 2)
    life = home.live()
    assert life.code == 2
    assert "tradekeel db upgrade" in life.log
    assert "a bug of ours" not in life.log


def test_a_second_daemon_leaves_the_log_of_the_first_alone(place: Path) -> None:
    toml = PAIR + '\n[logging]\nfile = "{state}/daemon.log"\nfile_bytes_max = 10_000\n'
    home = Home(place, toml)
    first = StateDir(home.state)
    first.lock()
    log = home.state / "daemon.log"
    log.write_text("what the first one says\n" * 500)
    log.chmod(0o600)
    before = (os.stat(log).st_ino, log.read_bytes())
    life = home.live()
    first.release()
    assert life.code == 6
    assert f"a daemon (process {os.getpid()}) holds" in life.log
    assert (os.stat(log).st_ino, log.read_bytes()) == before
    assert [path.name for path in home.state.glob("daemon*")] == ["daemon.log"]


def test_a_second_daemon_is_refused_also_where_the_lock_file_of_the_first_was_removed(place: Path) -> None:
    """It looks like one that a dead process has left behind; two daemons would write one journal, each its own."""
    home = Home(place, PAIR)
    first = StateDir(home.state)
    first.lock()
    (home.state / "lock").unlink()
    life = home.live()
    assert life.code == ExitCode.ALREADY_RUNNING
    assert f"still holds {home.state}, though its file `lock` was removed or replaced" in life.log
    assert not home.books.exists()
    first.release()
    assert home.live().code == ExitCode.DONE


# --- a start beside a command -------------------------------------------------------------------------------------------------


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[StateDir]:
    """A command that changes books has taken the state directory."""
    statedir = StateDir(tmp_path / "state")
    statedir.lock(A_COMMAND_IS_ALONE)
    yield statedir
    statedir.release()


def test_a_start_waits_for_a_command_that_changes_the_books(tmp_path: Path, at_work: StateDir) -> None:
    """Refused with the code of a second daemon, nobody would start it again, and there is no first."""
    threading.Timer(SOON_S, at_work.release).start()
    ear = Ear(tmp_path / "notify")
    life = Home(tmp_path, PAIR).live(environ={"NOTIFY_SOCKET": str(ear.path)})
    assert life.code == ExitCode.DONE
    assert ear.keys()[0] == "EXTEND_TIMEOUT_USEC", "a large archive takes longer than the unit gives a start"
    ear.close()
    assert f"waiting until a command that changes the books in {at_work.path} has ended" in life.log


def test_a_start_that_looks_while_a_command_gives_the_directory_back_is_not_refused(
    tmp_path: Path, at_work: StateDir
) -> None:
    """Its name goes out of the lock a moment before the lock itself, and nobody would start the daemon again."""
    (at_work.path / "lock").write_bytes(b"")
    threading.Timer(SOON_S, at_work.release).start()
    assert Home(tmp_path, PAIR).live().code == ExitCode.DONE


def test_a_start_does_not_wait_for_ever_for_whoever_does_not_say_who_he_is(tmp_path: Path, at_work: StateDir) -> None:
    (at_work.path / "lock").write_bytes(b"")
    life = Home(tmp_path, PAIR).live()
    assert life.code == ExitCode.ALREADY_RUNNING
    assert "a daemon holds" in life.log


def test_a_stop_ends_a_start_that_waits_for_a_command(tmp_path: Path, at_work: StateDir) -> None:
    home = Home(tmp_path, PAIR)
    with caught_signals() as inbox:
        threading.Timer(SOON_S, os.kill, [os.getpid(), signal.SIGTERM]).start()
        assert home.live(signals=inbox).code == ExitCode.DONE
    assert at_work.holder() == os.getpid()
    assert not home.books.exists()


SOON_S = 0.5
