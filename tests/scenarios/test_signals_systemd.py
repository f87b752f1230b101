"""What the service manager is told: a real datagram socket stands in for systemd, which has its own tests under a real one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios import support_configs as configs
from tests.scenarios.support import Action, Home, Life, caught_signals, send_at

PACED = configs.pair(200, speed="1000")


class Ear:
    """The service manager's end of $NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))

    def listen(self) -> None:
        """Take in what has been said so far; the queue of such a socket is short."""
        while True:
            try:
                message = self._socket.recv(4_096).decode()
            except BlockingIOError:
                return
            self.heard.append(dict(line.split("=", 1) for line in message.split("\n")))

    def said(self, key: str) -> list[str]:
        """Every value of a key, in order."""
        self.listen()
        return [message[key] for message in self.heard if key in message]

    def keys(self) -> list[str]:
        """The keys of all messages but STATUS and WATCHDOG, in order."""
        self.listen()
        return [key for message in self.heard for key in message if key not in ("STATUS", "WATCHDOG")]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@pytest.fixture
def ear(place: Path) -> Iterator[Ear]:
    """A service manager that listens."""
    it = Ear(place / "notify")
    yield it
    it.close()


def _live(home: Home, ear: Ear, actions: dict[str, Action] | None = None) -> Life:
    listening = {"executor.after_commit": lambda passed: ear.listen()}
    with caught_signals() as inbox:
        life = home.live(listening | (actions or {}), signals=inbox, environ={"NOTIFY_SOCKET": str(ear.path)})
    ear.listen()
    return life


def test_ready_is_said_once_and_only_when_every_account_is_reconciled(place: Path, ear: Ear) -> None:
    home = Home(place, PACED)
    before: list[list[str]] = []

    def reconciled(passed: int) -> None:
        ear.listen()
        before.append(ear.said("READY"))

    assert _live(home, ear, {"executor.reconcile.after": reconciled}).code == 0
    assert before == [[], []], "nothing before the second account is reconciled"
    assert ear.said("READY") == ["1"]
    assert ear.keys().index("READY") < ear.keys().index("STOPPING")
    assert "2 of 2 accounts trading" in ear.said("STATUS")[0]


def test_a_restart_is_ready_only_after_its_own_reconciliation(place: Path, ear: Ear) -> None:
    home = Home(place, PACED)
    with caught_signals() as inbox:
        home.live({"a/executor:Decide": send_at(3, signal.SIGTERM)}, signals=inbox)
    early: list[list[str]] = []
    points = (
        "executor.recover.loaded",
        "session.read.before",
        "executor.reconcile.read",
        "executor.reconcile.recovering",
    )

    def look(passed: int) -> None:
        early.append(ear.said("READY"))

    assert _live(home, ear, dict.fromkeys(points, look)).code == 0
    assert early[:4] == [[]] * 4
    assert ear.said("READY") == ["1"]


def test_a_reload_is_told_with_its_beginning_and_its_end(place: Path, ear: Ear) -> None:
    home = Home(place, PACED)
    assert _live(home, ear, {"a/executor:Decide": send_at(2, signal.SIGHUP)}).code == 0
    keys = ear.keys()
    first = keys.index("RELOADING")
    assert keys[first : first + 3] == ["RELOADING", "MONOTONIC_USEC", "READY"]
    assert int(ear.said("MONOTONIC_USEC")[0]) > 0


def test_a_reload_that_is_refused_is_over_all_the_same(place: Path, ear: Ear) -> None:
    home = Home(place, PACED)

    def spoil(passed: int) -> None:
        if passed == 2:
            home.config.write_text("[nonsense]\n")
            send_at(2, signal.SIGHUP)(2)

    assert _live(home, ear, {"a/executor:Decide": spoil}).code == 0
    assert ear.said("RELOADING") == ["1"]
    assert ear.said("READY") == ["1", "1"]


def test_a_reload_during_the_start_does_not_make_it_ready(place: Path, ear: Ear) -> None:
    home = Home(place, PACED)
    early: list[list[str]] = []

    def reconciled(passed: int) -> None:
        ear.listen()
        early.append(ear.said("READY"))

    hang_up = send_at(1, signal.SIGHUP)
    life = _live(home, ear, {"executor.recover.loaded": hang_up, "executor.reconcile.after": reconciled})
    assert life.code == 0
    assert "reloaded: nothing has changed" in life.log
    assert early == [[], []]
    assert ear.said("READY") == ["1"]


def test_a_stop_is_told_before_it_begins_and_asks_for_the_time_it_needs(place: Path, ear: Ear) -> None:
    home = Home(place, PACED)
    assert _live(home, ear, {"a/executor:Decide": send_at(3, signal.SIGTERM)}).code == 0
    keys = ear.keys()
    assert keys[keys.index("STOPPING") + 1] == "EXTEND_TIMEOUT_USEC"
    assert "stopping: signal SIGTERM" in ear.said("STATUS")
    assert int(ear.said("EXTEND_TIMEOUT_USEC")[-1]) == 50_000_000  # stop_timeout_s and half a minute


def test_the_start_is_extended_from_its_first_moment(place: Path, ear: Ear) -> None:
    home = Home(place, PACED)  # which has a stall limit of a minute, as long as a start may take
    assert _live(home, ear).code == 0
    assert ear.keys()[0] == "EXTEND_TIMEOUT_USEC"
    assert set(ear.said("EXTEND_TIMEOUT_USEC")) == {"30000000"}


def test_the_watchdog_is_fed_as_often_as_the_service_manager_asks_for_it(place: Path, ear: Ear) -> None:
    """However long an actor may stall."""
    toml = configs.head() + configs.market(10_000, speed="400") + configs.account("a") + configs.strategy("ema", "a")
    assert "stall_limit_s = 60" in toml
    home = Home(place, toml)
    with home.start({"NOTIFY_SOCKET": str(ear.path), "WATCHDOG_USEC": "400000"}) as daemon:
        daemon.until_trading()
        began_s, fed = time.monotonic(), len(ear.said("WATCHDOG"))
        daemon.until(lambda: len(ear.said("WATCHDOG")) >= fed + 5, "the watchdog is not fed")
        assert time.monotonic() - began_s < 5 * 0.4, "not in time"
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0


def test_a_watchdog_that_is_for_another_process_is_none_of_ours(place: Path, ear: Ear) -> None:
    toml = configs.head().replace("stall_limit_s = 60", "stall_limit_s = 1")
    home = Home(place, toml + configs.market(10_000, speed="400") + configs.account("a") + configs.strategy("ema", "a"))
    environ = {"NOTIFY_SOCKET": str(ear.path), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    with home.start(environ) as daemon:
        daemon.until(lambda: len(ear.said("WATCHDOG")) >= 3, "nobody is told that it is well")
        assert len(ear.said("WATCHDOG")) < 30
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0


def test_when_controls_own_watch_stands_still_the_watchdog_starves_and_the_service_manager_ends_it(
    place: Path, ear: Ear
) -> None:
    """Nobody inside watches the one who watches: that is what the service manager's watchdog is for."""
    toml = configs.pair(120, speed="2").replace("stall_limit_s = 60", "stall_limit_s = 1")
    home = Home(place, toml)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WATCHDOG_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.scenarios.support_hang", str(home.config), "watch", "-", "2"],
        env=inherited | {"NOTIFY_SOCKET": str(ear.path)},
        stderr=subprocess.DEVNULL,
    )
    try:

        def fed_and_told() -> tuple[int, int]:
            return len(ear.said("WATCHDOG")), len(ear.said("STATUS"))

        while fed_and_told() < (2, 0):
            assert process.poll() is None
            time.sleep(0.05)
        told = fed_and_told()[1]
        while fed_and_told()[1] < told + 3:  # one a second: it lives on, and would have been fed six times
            assert process.poll() is None, "nothing inside notices"
            time.sleep(0.05)
        assert fed_and_told()[0] == 2
    finally:
        process.kill()  # what systemd does after WatchdogSec, with SIGABRT first
        process.wait()
    home.configure(toml.replace('speed = "2"', 'speed = "max"'))
    assert home.live().code == 0
    assert home.wrong("a", "b") + home.unverified() == []


def test_without_a_service_manager_or_with_a_deaf_one_it_runs_all_the_same(place: Path) -> None:
    for number, address in enumerate(("", "/nowhere/at/all", "@gone", "relative")):
        home = Home(place / str(number), configs.pair(60))
        assert home.live(environ={"NOTIFY_SOCKET": address}).code == 0
