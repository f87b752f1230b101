"""Signals and commands at any moment: before recovery is done, in the middle of it, while trading, twice.

Where a signal has to hit a certain moment the daemon lives inside this process and a point sends it; where the process itself
matters (exit codes, a second signal, a second daemon) it is one of its own.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios import support_configs as configs
from tests.scenarios import support_strategies as strategies
from tests.scenarios.support import (
    Home,
    Life,
    Story,
    caught_signals,
    fail_at,
    send_at,
    story_undisturbed,
    told_differently,
)
from tradekeel.actors.feed import FLATTEN_ASKS_MAX
from tradekeel.bootstrap import commands
from tradekeel.bootstrap.desk import Desk
from tradekeel.bootstrap.place import Place
from tradekeel.runtime.faults import InjectedFault
from tradekeel.statedir import Command, CommandFiles

PAUSE, RESUME, RELOAD = signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP
STOPS = (signal.SIGTERM, signal.SIGINT)

BEFORE_READY = (
    "session.read.before",
    "executor.recover.loaded",
    "executor.reconcile.read",
    "executor.reconcile.recovering",
)

RECOVERY = (
    *BEFORE_READY,
    "executor.reconcile.after",
    "monitor.attached",
    "strategist.attached",
    "feed.open",
    "feed.rewinding",
)
"""Moments of a start, in their order; those that this start does not pass are skipped."""

PACED = configs.pair(200, speed="1000")
"""A tenth of a second at the least: long enough for a signal to find both accounts at work."""


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Story]:
    """The story that every run must tell that was only interrupted."""
    return story_undisturbed(PACED)


def _live(home: Home, point: str, count: int, *numbers: signal.Signals) -> Life:
    with caught_signals() as inbox:
        return home.live({point: send_at(count, *numbers)}, signals=inbox)


def _crash(home: Home) -> Life:
    """A life that ends in the middle of everything."""
    return home.live({"recorder:Commit": fail_at(40)})


def _as_if_undisturbed(home: Home, reference: dict[str, Story]) -> list[str]:
    return home.wrong(*reference) + home.unverified() + told_differently(reference, home)


def _slow(speed: str = "400", ticks: int = 40_000, **options: str) -> str:
    """A market that lasts until somebody stops it."""
    return (
        configs.head(more=options.get("more", ""))
        + configs.market(ticks, speed=speed)
        + configs.account("a", paper=options.get("paper", ""))
        + configs.strategy("ema", "a", options.get("kind", "ema_cross"), options.get("params", configs.EMA))
    )


# --- stop -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", STOPS)
def test_a_stop_in_the_middle_saves_everything_and_the_next_start_goes_on(
    number: signal.Signals, place: Path, undisturbed: dict[str, Story]
) -> None:
    home = Home(place, PACED)
    stopped = _live(home, "a/executor:Decide", 4, number)
    assert stopped.code == 0
    assert [home.execution(a)["status"] for a in "ab"] == ["running", "running"]
    assert home.wrong("a", "b", ended=False) == []
    assert f"signal {number.name}" in stopped.log
    assert home.live().code == 0
    assert _as_if_undisturbed(home, undisturbed) == []


def test_a_flood_of_signals_disturbs_nobody_and_hides_no_stop(place: Path, undisturbed: dict[str, Story]) -> None:
    home = Home(place, PACED)
    life = _live(home, "a/executor:Decide", 4, *[signal.SIGURG] * 200, signal.SIGTERM)
    assert life.code == 0, life.log
    assert "failed" not in life.log
    assert "stopping: signal SIGTERM" in life.log
    assert home.execution("a")["status"] == "running", "it was stopped"
    assert home.live().code == 0
    assert _as_if_undisturbed(home, undisturbed) == []


def test_a_daemon_that_is_stopped_and_started_again_and_again_comes_to_the_same_end(
    place: Path, undisturbed: dict[str, Story]
) -> None:
    home = Home(place, PACED)
    lives = 0
    while lives == 0 or home.execution("a")["status"] == "running":
        lives += 1
        assert _live(home, "a/feed:JournalReached", 9, signal.SIGTERM).code == 0
    assert lives > 2
    while home.execution("b")["status"] == "running":
        assert home.live().code == 0
    assert _as_if_undisturbed(home, undisturbed) == []


@pytest.mark.parametrize("moment", RECOVERY)
def test_a_stop_before_recovery_is_done_saves_nothing(moment: str, place: Path, undisturbed: dict[str, Story]) -> None:
    home = Home(place, PACED)
    assert _crash(home).code == 70
    before = {a: len(home.ours(a).journal) for a in "ab"}
    saved = home.rows("checkpoints")
    interrupted = _live(home, moment, 1, signal.SIGTERM)
    assert interrupted.code == 0
    assert interrupted.passed[moment], "a start passes this moment"
    # Until the signal is heard an account may have come as far as to let its feed go: then its recovery is done.
    if moment in BEFORE_READY and not (interrupted.passed["feed.rewinding"] or interrupted.passed["feed.arrived"]):
        for account, sequence in before.items():
            new = {row["type"] for row in home.ours(account).journal if row["sequence"] > sequence}
            new -= {"daemon_started", "reconciled", "venue_reported", "order_changed"}
            assert new <= {"orders_intended"}, "nothing was decided"
            entries = home.entries_after(account, sequence)
            assert all(order["renews"] for order in entries), "but what never arrived may go out anew"
        assert home.rows("checkpoints") == saved
    assert home.live().code == 0
    assert _as_if_undisturbed(home, undisturbed) == []


def test_a_stop_that_comes_while_modules_are_imported_ends_it_in_order_or_before_it_began(place: Path) -> None:
    home = Home(place, PACED)
    for delay_s in (0.0, 0.1, 0.3):
        with home.start(loaded=False) as daemon:
            daemon.wait_s(delay_s)
            daemon.send(signal.SIGTERM)
            assert daemon.end() in (0, -signal.SIGTERM), daemon.log
        if home.books.exists():
            assert home.wrong("a", "b", ended=False) == []
    with home.start() as daemon:
        assert daemon.end() == 0
    assert home.wrong("a", "b") == []


@pytest.mark.parametrize("number", STOPS)
def test_a_second_stop_ends_the_process_at_once_and_nothing_is_lost(
    number: signal.Signals, place: Path, undisturbed: dict[str, Story]
) -> None:
    home = Home(place, PACED)
    with home.start() as daemon:
        daemon.until_passed("executor.decide.before", 3)
        daemon.send(number)
        daemon.send(signal.SIGTERM)
        assert daemon.end() in (128 + number, 128 + signal.SIGTERM, 0), daemon.log
    assert home.wrong("a", "b", ended=False) == []
    assert home.live().code == 0
    assert _as_if_undisturbed(home, undisturbed) == []


@pytest.mark.parametrize("count", [6, 14, 20])
@pytest.mark.parametrize("speed", ["max", "1000"])
def test_a_stop_that_flattens_goes_on_with_the_very_next_tick(speed: str, count: int, place: Path) -> None:
    """Also where it comes in the middle of a window: what is left of that one is the market in which to close."""
    toml = configs.pair(400, speed=speed).replace("stall_limit_s = 60", 'stall_limit_s = 60\non_stop = "flatten"')
    home = Home(place, toml)
    life = _live(home, "a/executor:Decide", count, signal.SIGTERM)
    assert life.code == 0, life.log
    assert "failed" not in life.log
    assert [home.open_trades(account) for account in "ab"] == [0, 0]
    assert home.wrong("a", "b", ended=False) + home.unverified() == []


HOLDER = f"{Path(strategies.__file__).resolve()}:Troubled"


def _flattening(on_stop: str = "flatten") -> str:
    """One account, and a stop that does something."""
    head = configs.head(more=f'on_stop = "{on_stop}"', cut_every_s=600)
    return head + configs.market(400) + configs.account("a") + configs.strategy("ema", "a")


def _held(paper: str = "", on_stop: str = "flatten") -> str:
    """One trade, so far from its stop and its target that only a person or a stop closes it."""
    head = configs.head(more=f'on_stop = "{on_stop}"\nstop_timeout_s = 4')
    market = configs.market(20_000)
    holder = configs.strategy("holder", "a", HOLDER, 'what = "nothing", pips = "300"')
    return head + market + configs.account("a", paper=paper) + holder


def _left_open(place: Path, toml: str) -> Home:
    """The books of a daemon that was stopped while a trade was open; the next one is configured like this."""
    home = Home(place, _held(on_stop="keep"))
    stopped = False

    def stop(passed: int) -> None:
        nonlocal stopped
        if not stopped and home.books.exists() and home.open_trades("a"):
            stopped = True
            send_at(passed, signal.SIGTERM)(passed)

    with caught_signals() as inbox:
        assert home.live({"a/feed:JournalReached": stop}, signals=inbox).code == 0
    assert home.execution("a")["status"] == "running"
    assert home.open_trades("a") == 1
    home.configure(toml)
    return home


RUNS = 6
"""The last decision is filled by then, so the way back leads over that fill."""


class Moments:
    """A stop, and a strategist that dies once at a certain moment of it."""

    def __init__(self, dies: str) -> None:
        self._dies = dies
        self._decided = self._flattening = self._died = self._told = False
        self._runs = 0

    def actions(self) -> dict[str, Callable[[int], object]]:
        """What to do at which points."""
        return {
            "a/executor:Decide": self._stop,
            "a/executor:EndWorking": self._flatten,
            "strategist.attached": self._attached,
            "a/strategist/ema:StopStrategy": lambda passed: self._die("in on_stop"),
            "a/strategist/ema:Save": lambda passed: self._die("in the cut") if self._told else None,
            "a/strategist/ema:Run": self._run,
        }

    def _stop(self, passed: int) -> None:
        self._decided = self._decided or passed == 5
        if passed == 5 and self._dies != "before it":
            self._told = True
            send_at(1, signal.SIGTERM)(1)

    def _flatten(self, passed: int) -> None:
        self._flattening = True

    def _run(self, passed: int) -> None:
        if self._flattening:
            self._die("while it flattens")
        self._runs += self._decided
        if self._runs == RUNS:
            self._die("before it")

    def _attached(self, passed: int) -> None:
        if self._dies == "before it" and self._died and not self._told:
            self._told = True
            send_at(1, signal.SIGTERM)(1)

    def _die(self, where: str) -> None:
        if where == self._dies and not self._died:
            self._died = True
            raise InjectedFault(where)


@pytest.mark.parametrize("dies", ["in on_stop", "while it flattens", "in the cut", "before it"])
def test_a_stop_flattens_also_where_a_strategist_dies_in_between_and_ends_the_pause(dies: str, place: Path) -> None:
    home = Home(place, _flattening())
    with caught_signals() as inbox:
        life = home.live(Moments(dies).actions(), signals=inbox)
    assert life.code == 0, life.log
    assert f"a/strategist/ema failed (InjectedFault: {dies})" in life.log
    assert home.execution("a")["status"] == "running", "it was stopped"
    assert home.open_trades("a") == 0
    assert home.execution("a")["paused"] == 0, "the stop paused it, and no person"
    changes = [change["paused"] for change in home.records("a", "latch_changed")]
    assert changes == [True, False], "it was flattened"
    assert home.wrong("a", ended=False) + home.unverified() == []


@pytest.mark.parametrize("asked", [1, 2])
def test_a_stop_flattens_also_where_the_account_dies_in_between(asked: int, place: Path) -> None:
    home = _left_open(place, _held())
    with caught_signals() as inbox:
        actions = {"feed.arrived": send_at(1, signal.SIGTERM), "a/executor:EndWorking": fail_at(asked)}
        life = home.live(actions, signals=inbox)
    assert life.code == 0, life.log
    assert "a/executor failed (InjectedFault" in life.log
    assert "did not stop in order" not in life.log
    assert home.execution("a")["status"] == "running", "it was stopped"
    assert home.open_trades("a") == 0
    assert home.wrong("a", ended=False) + home.unverified() == []


@pytest.mark.parametrize("on_stop", ["keep", "cancel_entries"])
def test_a_stop_does_what_it_says_also_where_a_strategist_dies_in_its_on_stop(on_stop: str, place: Path) -> None:
    home = Home(place, _flattening(on_stop))
    with caught_signals() as inbox:
        life = home.live(Moments("in on_stop").actions(), signals=inbox)
    assert life.code == 0, life.log
    assert life.passed["a/strategist/ema:StopStrategy"] == 2, "it is asked again"
    assert life.passed["a/executor:EndWorking"] == (1 if on_stop == "cancel_entries" else 0)
    assert life.passed["feed.after_cut"] == 1
    assert home.wrong("a", ended=False) + home.unverified() == []


def test_a_stop_tells_the_others_once_where_a_strategist_dies_in_its_on_stop(place: Path) -> None:
    home = Home(place, configs.pair(400))
    actions = {"b/executor:Decide": send_at(4, signal.SIGTERM), "b/strategist/ema-b:StopStrategy": fail_at(1)}
    with caught_signals() as inbox:
        life = home.live(actions, signals=inbox)
    assert life.code == 0, life.log
    assert life.passed["b/strategist/ema-b:StopStrategy"] == 2
    assert life.passed["b/strategist/floor:StopStrategy"] == 1
    assert home.wrong("a", "b", ended=False) + home.unverified() == []


@pytest.mark.parametrize(("on_stop", "working"), [("keep", 1), ("cancel_entries", 0), ("flatten", 0)])
def test_a_stop_behind_the_end_of_a_feed_does_what_it_says_where_the_end_closes_nothing(
    on_stop: str, working: int, place: Path
) -> None:
    head = configs.head(more=f'on_feed_end = "wait"\non_stop = "{on_stop}"', cut_every_s=600)
    holder = configs.strategy("holder", "a", HOLDER, 'what = "nothing", pips = "300"')
    home = Home(place, head + configs.market(60) + configs.account("a") + holder)
    ended: list[bool] = []

    def stop(passed: int) -> None:
        if ended.count(True) == 1:
            ended.append(True)
            send_at(passed, signal.SIGTERM)(passed)

    with caught_signals() as inbox:
        actions = {"control:FeedEnded": lambda _: ended.append(True), "a/executor:Describe": stop}
        life = home.live(actions, signals=inbox)
    assert life.code == 0, life.log
    assert home.execution("a")["status"] == "running"
    assert life.passed["a/strategist/holder:StopStrategy"] == life.passed["feed.after_cut"] == 1
    last = max(int(row["sequence"]) for row in home.ours("a").journal)
    assert {row["inbox"] for row in home.rows("checkpoints") if row["position"] == 60} == {last}
    assert len(home.working("a", "entry")) == working
    assert home.open_trades("a") == 1
    assert ('on_stop = "flatten" leaves 1 trade open' in life.log) is (on_stop == "flatten")
    assert home.wrong("a", ended=False) + home.unverified() == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_stop_that_flattens_asks_again_for_exits_that_the_venue_rejects(seed: int, place: Path) -> None:
    home = _left_open(place, _held(paper=f'reject_rate = "0.8"\nseed = {seed}'))
    life = _live(home, "feed.arrived", 1, signal.SIGTERM)
    assert life.code == 0, life.log
    assert home.execution("a")["status"] == "running", "it was stopped"
    assert (home.open_trades("a"), home.execution("a")["paused"]) == (0, 0), life.log
    assert "manual" in [row["exit_reason"] for row in home.ours("a").trades]
    assert "leaves" not in life.log
    assert home.wrong("a", ended=False) + home.unverified() == []


def test_a_stop_that_cannot_flatten_gives_up_in_time_and_says_what_is_left(place: Path) -> None:
    home = _left_open(place, _held(paper='reject_rate = "1"'))
    life = _live(home, "feed.arrived", 1, signal.SIGTERM)
    assert life.code == 0, life.log
    assert (home.open_trades("a"), home.execution("a")["paused"]) == (1, 0)
    exits = [o for o in home.ours("a").orders if o["source"] == "operator" and o["status"] == "rejected"]
    assert 1 < len(exits) <= FLATTEN_ASKS_MAX + 1
    assert life.log.count('on_stop = "flatten" leaves 1 trade open: the venue keeps their exits, or the monitor') == 1
    assert home.wrong("a", ended=False) + home.unverified() == []


def test_a_stop_that_flattens_asks_a_halted_account_for_nothing_and_says_so(place: Path) -> None:
    home = _left_open(place, _held())
    (home.state / "latches").mkdir(parents=True, exist_ok=True)
    Desk(Place(home.state, home.config).statedir).hold("a", "a fire drill")
    life = _live(home, "feed.arrived", 1, signal.SIGTERM)
    assert life.code == 0, life.log
    assert life.passed["a/executor:EndWorking"] == 0
    assert [change["paused"] for change in home.records("a", "latch_changed")] == [False], "halted, and that is all"
    assert 'on_stop = "flatten" leaves 1 trade open: the account is halted, and nothing is sent until' in life.log
    assert home.wrong("a", ended=False) + home.unverified() == []


def test_a_stop_before_recovery_is_done_flattens_nothing_and_says_so(place: Path) -> None:
    home = Home(place, _flattening())

    def crash(passed: int) -> None:
        if passed > 20 and home.open_trades("a"):
            raise InjectedFault(f"pass {passed}")

    assert home.live({"recorder:Commit": crash}).code == 70
    journal = len(home.ours("a").journal)
    life = _live(home, "monitor.attached", 1, signal.SIGTERM)
    assert life.code == 0, life.log
    assert not life.passed["feed.arrived"], "it was on its way back"
    assert 'the stop came before recovery was done: on_stop = "flatten" is left undone' in life.log
    assert home.open_trades("a") == 1
    new = {row["type"] for row in home.ours("a").journal if row["sequence"] > journal}
    assert new <= {"daemon_started", "reconciled", "venue_reported", "order_changed"}


# --- pause and resume -----------------------------------------------------------------------------------------------------


def test_a_pause_lets_no_entry_through_and_exits_go_on(place: Path) -> None:
    home = Home(place, configs.pair(150, speed="300"))
    assert _live(home, "b/session:VenuePassed", 6, PAUSE).code == 0
    closed = 0
    for account in "ab":
        assert home.execution(account)["paused"] == 1
        assert {row["status"] for row in home.ours(account).strategies} == {"paused"}
        latched = home.last_sequence(account, "latch_changed")
        assert home.entries_after(account, latched) == []
        at_ns = home.records(account, "latch_changed")[-1]["ts_ns"]
        closed += sum(1 for row in home.ours(account).trades if (row["exit_time_ns"] or 0) > at_ns)
    assert closed, "a trade was closed while paused"
    assert home.unverified() == []


def test_a_pause_survives_a_stop_a_kill_and_starts_until_somebody_resumes(place: Path) -> None:
    home = Home(place, _busy())
    with home.start() as daemon:
        daemon.until_passed("executor.decide.before", 2)
        daemon.send(PAUSE)
        daemon.until(lambda: "a is paused" in daemon.log, "it was not paused")
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    with home.start() as daemon:
        daemon.until(lambda: "a is paused: no new entries (tradekeel resume)" in daemon.log, "it does not say so")
        daemon.send(signal.SIGKILL)
        daemon.end()
    assert home.execution("a")["paused"] == 1
    assert [row["status"] for row in home.ours("a").strategies] == ["paused"]
    registered = len(home.records("a", "strategy_registered"))
    paused_at = home.last_sequence("a", "latch_changed")
    with home.start() as daemon:
        daemon.until(lambda: "a is paused: no new entries" in daemon.log, "a kill made it forget")
        daemon.until(lambda: home.denied("a") > 0, "no entry was denied")
        assert home.entries_after("a", paused_at) == []
        daemon.send(RESUME)
        daemon.until(lambda: home.execution("a")["paused"] == 0, "it was not resumed")
        daemon.until(lambda: home.entries_after("a", paused_at) != [], "no entries came again")
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    assert [row["status"] for row in home.ours("a").strategies] == ["active"]
    assert len(home.records("a", "strategy_registered")) == registered, "a paused strategy is not registered anew"
    assert home.wrong("a", ended=False) == []
    assert home.unverified() == []


@pytest.mark.parametrize("moment", RECOVERY)
def test_a_pause_in_the_middle_of_recovery_is_obeyed_when_it_is_over(moment: str, place: Path) -> None:
    home = Home(place, PACED)
    assert _crash(home).code == 70
    life = _live(home, moment, 1, PAUSE)
    assert life.code == 0, life.log
    assert life.passed[moment], "a start passes this moment"
    assert [home.execution(a)["paused"] for a in "ab"] == [1, 1], life.log


def test_pauses_and_resumes_in_a_row_end_as_the_last_one_says(place: Path) -> None:
    home = Home(place, PACED)
    with caught_signals() as inbox:
        life = home.live(
            {
                "a/executor:Decide": send_at(2, PAUSE, RESUME, PAUSE, RELOAD, RESUME),
                "a/executor:MatchTick": send_at(12, PAUSE, RESUME),
            },
            signals=inbox,
        )
    assert life.code == 0
    assert [home.execution(a)["paused"] for a in "ab"] == [0, 0]


# --- reload ---------------------------------------------------------------------------------------------------------------


def test_a_reload_applies_what_is_new_and_writes_its_history(place: Path) -> None:
    home = Home(place, _slow())
    with home.start() as daemon:
        daemon.until_passed("executor.decide.before", 2)
        home.configure(_slow(params=configs.EMA.replace("stop_loss_pips = 3", "stop_loss_pips = 4")))
        daemon.send(RELOAD)
        daemon.until(lambda: "reloaded: strategies.ema.params.stop_loss_pips: 3 -> 4" in daemon.log, "not reloaded")
        decided = daemon.passed()["executor.decide.before"]
        daemon.until_passed("executor.decide.before", decided + 2)
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    assert [row["strategy"] for row in home.rows("parameter_history")] == ["ema"]
    assert home.wrong("a", ended=False) == []
    assert home.unverified() == []


def test_a_new_schedule_is_applied_and_nothing_is_warned_about(place: Path) -> None:
    home = Home(place, PACED)

    def change(passed: int) -> None:
        if passed == 2:
            home.configure(PACED.replace("snapshot_schedule = 0", "snapshot_schedule = 7"))
            send_at(2, RELOAD)(2)

    with caught_signals() as inbox:
        life = home.live({"a/executor:Decide": change}, signals=inbox)
    assert life.code == 0, life.log
    assert "reloaded: storage.snapshot_schedule: 0.0 -> 7.0" in life.log
    assert "scheduler takes over its new settings" in life.log
    assert "WARNING" not in life.log


BAD_FILES: dict[str, Callable[[bytes], bytes]] = {
    "no toml": lambda good: b"[daemon\nname = ",
    "no text": lambda good: b"\xff\xfe\x00daemon",
    "an unknown key": lambda good: b'[daemon]\nname = "x"\nspeeed = 3\n',
    "empty": lambda good: b"",
    "a schedule that means nothing": lambda good: good.replace(b"_schedule = 0", b'_schedule = "99 * * * *"'),
}


@pytest.mark.parametrize("what", list(BAD_FILES))
def test_a_reload_of_a_bad_file_changes_nothing_and_says_what_is_wrong(what: str, place: Path) -> None:
    home = Home(place, PACED)
    good = home.config.read_bytes()

    def spoil(passed: int) -> None:
        if passed == 2:
            home.config.write_bytes(BAD_FILES[what](good))
            send_at(2, RELOAD)(2)

    with caught_signals() as inbox:
        life = home.live({"a/executor:Decide": spoil}, signals=inbox)
    assert life.code == 0, life.log
    assert "reload refused, the old configuration stays in force" in life.log
    assert home.rows("parameter_history") == []
    home.config.write_bytes(good)
    assert home.wrong("a", "b") == []


def test_a_reload_while_the_file_is_gone_or_a_strategy_file_is_broken_changes_nothing(place: Path) -> None:
    (place / "mine.py").write_text(STRATEGY)
    home = Home(place, _slow(kind="{folder}/mine.py:Mine", params=""))
    with home.start() as daemon:
        daemon.until(lambda: "a is reconciled and trading" in daemon.log, "it does not trade")
        text = home.config.read_text()
        home.config.unlink()
        daemon.send(RELOAD)
        daemon.until(lambda: daemon.log.count("reload refused") == 1, "it was not refused")
        home.config.write_text(text)
        (place / "mine.py").write_text("def broken(:\n")
        daemon.send(RELOAD)
        daemon.until(lambda: daemon.log.count("reload refused") + daemon.log.count("reloaded:") == 2, "no word")
        (place / "mine.py").write_text("raise SystemExit(3)\n")
        daemon.send(RELOAD)
        daemon.until(lambda: daemon.log.count("reload refused") + daemon.log.count("reloaded:") == 3, "no word")
        (place / "mine.py").write_text(STRATEGY + "    def timeframes(self):\n        return {}['bars']\n")
        daemon.send(RELOAD)
        daemon.until(lambda: "timeframes() failed with KeyError: 'bars'" in daemon.log, "no word")
        assert "reloaded:" not in daemon.log
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0, daemon.log


STRATEGY = """
from msgspec import Struct
from tradekeel.strategies.base import Strategy
from tradekeel.strategies.parameters import Parameters

class Params(Parameters, frozen=True, kw_only=True):
    pass

class State(Struct, frozen=True):
    n: int = 0

class Mine(Strategy[Params, State]):
    Params = Params
    State = State

    def on_tick(self, tick, state, context):
        return state, ()
"""


@pytest.mark.parametrize("name", ["stop", "pause", "kill"])
def test_a_command_that_a_daemon_left_undone_is_not_obeyed_by_the_next_one_but_a_kill_is(
    name: str, place: Path
) -> None:
    home = Home(place, configs.pair(150, speed="300"))
    statedir = Place(home.state, home.config).statedir
    statedir.create()
    CommandFiles(statedir.commands, statedir.results).ask(Command(id="left", name=name, ts_ns=1))
    life = home.live()
    assert life.code == 0, life.log
    assert ("given to a daemon that ended before it obeyed" in life.log) == (name != "kill")
    assert home.execution("a")["status"] == "closed", "its feed has ended, and nobody has stopped it"
    assert (home.execution("a")["paused"], home.execution("a")["latch"]) == (0, "halted" if name == "kill" else "open")
    assert list(statedir.commands.iterdir()) == []
    assert (home.entries_after("a", 0) == []) == (name == "kill"), "a kill is obeyed before anything is traded"


# --- kill, release, flatten -----------------------------------------------------------------------------------------------

RESTING = "seed = 3, every = 3"
"""For the busy strategy: entries of all types, so that some of them rest at the venue."""


def _busy() -> str:
    from tests.campaigns.kill.variants import BUSY

    return _slow(kind=f"{BUSY}:Busy", params=RESTING)


def test_a_kill_cancels_what_adds_exposure_keeps_protective_stops_and_survives_restarts(place: Path) -> None:
    home = Home(place, _busy())
    with home.start() as daemon:
        daemon.until_trading()
        daemon.until(
            lambda: bool(home.working("a", "entry")) and home.open_trades("a") > 1, "it has no orders to cancel"
        )
        ok, said = home.command("kill", reason="a fire drill")
        assert ok, said
        daemon.until(lambda: home.working("a", "entry") == [], "entries still work")
        stops = home.working("a", "exit")
        halted_at = home.last_sequence("a", "latch_changed")
        daemon.send(signal.SIGKILL)
        daemon.end()
    assert (home.state / "latches" / "all.json").exists()
    assert home.execution("a")["latch"] == "halted"
    assert {order["status"] for order in stops} <= {"accepted", "partially_filled"}
    with home.start() as daemon:
        daemon.until(lambda: "a is halted: a fire drill" in daemon.log, "a kill was forgotten")
        daemon.until(lambda: home.denied("a") > 2, "nothing was denied")
        assert home.entries_after("a", halted_at) == []
        assert home.command("flatten") == (False, "nothing done: a is halted, and nothing is sent until it is released")
        assert home.command("release", reason="the fire is out") == (True, "a is released")
        assert home.command("release") == (True, "a was not held: nothing to release")
        daemon.until(lambda: home.entries_after("a", halted_at) != [], "no entry after the release")
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0, daemon.log
    assert not (home.state / "latches" / "all.json").exists()
    assert home.execution("a")["latch"] == "open"
    assert home.wrong("a", ended=False) == []
    assert home.unverified() == []


def test_a_latch_file_alone_halts_the_next_start_also_a_damaged_one(place: Path) -> None:
    home = Home(place, PACED)
    (home.state / "latches").mkdir(parents=True)
    (home.state / "latches" / "a.json").write_bytes(b"\x00 not json")
    life = home.live()
    assert life.code == 0, "a person did it, no limit"
    assert "a is halted: the latch file a.json is there (tradekeel release)" in life.log
    assert home.execution("a")["latch"] == "halted"
    assert home.entries_after("a", 0) == []
    assert home.execution("b")["latch"] == "open"
    assert home.entries_after("b", 0) != []


@pytest.mark.parametrize("killed", [None, "a"])
@pytest.mark.parametrize("released", [None, "a"])
def test_a_kill_without_a_daemon_is_not_undone_by_an_older_release(
    released: str | None, killed: str | None, place: Path
) -> None:
    """The books are halted, somebody releases them while nobody runs, and somebody else thinks better of it."""
    home = Home(place, PACED)
    there = Place(home.state, home.config)
    (home.state / "latches").mkdir(parents=True)
    (home.state / "latches" / "all.json").write_bytes(b'{"scope": "all", "reason": "first"}')
    with caught_signals() as inbox:
        home.live({"b/feed:JournalReached": send_at(1, signal.SIGTERM)}, signals=inbox)
    assert home.execution("a")["latch"] == "halted"

    assert commands.release(there, released, "it is over", "alice").ok
    assert commands.kill(there, killed, "it is not", "bob").ok
    life = home.live()
    assert "a is halted: it is not" in life.log
    assert home.execution("a")["latch"] == "halted"
    assert home.entries_after("a", 0) == []
    assert home.execution("b")["latch"] == ("halted" if killed is None or released else "open")


@pytest.mark.parametrize(
    ("commands_left", "latch"),
    [(("release", "kill"), "halted"), (("kill", "release"), "open"), (("kill",) * 3, "halted")],
)
def test_commands_that_wait_at_a_start_are_obeyed_one_after_another(
    commands_left: tuple[str, ...], latch: str, place: Path
) -> None:
    home = Home(place, PACED)
    state = Place(home.state, None).statedir
    state.create()
    for number, name in enumerate(commands_left, start=1):
        left = Command(id=f"c{number}", name=name, ts_ns=number, arguments={"reason": f"word {number}"})
        CommandFiles(state.commands, state.results).ask(left)
    life = home.live()
    assert {home.execution(account)["latch"] for account in "ab"} == {latch}, life.log
    assert [path.name for path in state.latches.iterdir()] == (["all.json"] if latch == "halted" else [])
    assert list(state.commands.iterdir()) == []


def test_a_release_without_a_daemon_is_obeyed_once_however_often_the_start_dies(place: Path) -> None:
    home = Home(place, PACED)
    there = Place(home.state, home.config)
    (home.state / "latches").mkdir(parents=True)
    Desk(there.statedir).hold("all", "a fire drill")
    with caught_signals() as inbox:
        home.live({"b/feed:JournalReached": send_at(1, signal.SIGTERM)}, signals=inbox)
    assert commands.release(there, None, "the fire is out", "alice").ok
    for commit in (1, 2, 3):
        assert home.live({"recorder:Commit": fail_at(commit)}).code == 70
    assert home.live().code == 0
    for account in "ab":
        said = [(change["latch"], change["by"]) for change in home.records(account, "latch_changed")]
        assert said == [("halted", "latch file"), ("open", "alice")]
    assert list((home.state / "latches").iterdir()) == []
    assert home.unverified() == []


def test_nothing_is_written_into_an_execution_that_is_closed_while_another_account_runs(place: Path) -> None:
    short = configs.market(100, name="s") + configs.account("a", feed="s", sync_s=0.05) + configs.strategy("ema", "a")
    head = configs.head(snapshot_s=0.05)
    home = Home(place, head + configs.market(100_000, speed="10") + short + configs.account("b"))
    with home.start() as daemon:
        daemon.until(lambda: "the feed of a has ended" in daemon.log, "its feed does not end")
        for name in ("pause", "flatten", "kill"):
            assert home.command(name, account="a") == (True, "nothing to do: a is over, the feed has ended")
        seen = daemon.passed()
        for scheduled in ("a/executor:Note", "a/executor:ReconcileNow"):  # a snapshot, a comparison
            daemon.until_passed(scheduled, seen[scheduled] + 2)
        over = "the feed has ended"
        daemon.until(lambda: home.status.get("accounts", {}).get("a", {}).get("state") == over, "its state is not told")
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    assert home.ours("a").journal[-1]["type"] == "execution_closed"
    assert (home.execution("a")["latch"], home.execution("a")["paused"]) == ("open", 0)
    assert home.wrong("a") + home.unverified() == []


def test_flatten_closes_everything_and_then_pauses(place: Path) -> None:
    home = Home(place, _busy())
    with home.start() as daemon:
        daemon.until_trading()
        daemon.until(lambda: home.open_trades("a") > 1, "it holds nothing")
        ok, said = home.command("flatten", reason="enough")
        assert ok, said
        assert "exits that are rejected are told in the log and not tried again: then flatten again" in said
        daemon.until(lambda: home.open_trades("a") == 0 and not home.working("a", "entry"), "it is not flat")
        assert home.execution("a")["paused"] == 1
        flat_at = home.last_sequence("a", "latch_changed")
        daemon.until(lambda: home.denied("a") > 2, "nothing was denied")
        assert home.entries_after("a", flat_at) == []
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    assert home.wrong("a", ended=False) == []


# --- one daemon -----------------------------------------------------------------------------------------------------------


def test_a_second_daemon_on_the_same_state_directory_is_refused_and_disturbs_nobody(place: Path) -> None:
    home = Home(place, _slow())
    other = Home(place / "other", home.config.read_text())
    with home.start() as first:
        first.until_passed("executor.decide.before", 1)
        with other.start() as second:
            assert second.end() == 6
            assert f"process {first.pid}" in second.log
        assert home.live().code == 6, "also from within another process"
        before = first.passed()["executor.decide.before"]
        first.until_passed("executor.decide.before", before + 1)
        first.send(signal.SIGTERM)
        assert first.end() == 0
    assert home.wrong("a", ended=False) == []
