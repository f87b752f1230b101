"""A configuration that is changed while the daemon runs: one reload at a time, all of it or nothing, and a true word about it."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.scenarios import support_configs as configs
from tests.scenarios.support import Action, Home, Life, caught_signals, fail_at, send_at
from tests.scenarios.test_signals import RECOVERY
from tradekeel.runtime.faults import InjectedFault

RELOAD = signal.SIGHUP
NS_2024 = 1_704_000_000_000_000_000

PAIR = configs.pair(400, speed="1000")
LASTING = configs.pair(800, speed="500")
"""Long enough for a reload that is tried again."""

KEEPS = "sample_ticks_every = 40"
"""A setting that both accounts take over, and so does each one's history."""


def _keeping(every: int, toml: str = PAIR) -> str:
    return toml.replace(KEEPS, f"sample_ticks_every = {every}")


def _live(home: Home, actions: dict[str, Action]) -> Life:
    with caught_signals() as inbox:
        return home.live(actions, signals=inbox)


def _once(act: Callable[[], object], count: int = 1) -> Action:
    def do(passed: int) -> None:
        if passed == count:
            act()

    return do


def _changed(home: Home, toml: str, times: int = 1) -> Callable[[], None]:
    """Write another file, and ask for a reload."""

    def act() -> None:
        home.configure(toml)
        for _ in range(times):
            os.kill(os.getpid(), RELOAD)

    return act


def _history(home: Home, account: str) -> list[tuple[str, str]]:
    """From what to what, in order."""
    rows = [row["change"] for row in home.records(account, "parameter_changed")]
    return [(row["old"], row["new"]) for row in rows]


def _reloads(life: Life) -> list[str]:
    """What was said of each reload."""
    return [line.partition("reloaded: ")[2] for line in life.log.splitlines() if "reloaded: " in line]


# --- one at a time ----------------------------------------------------------------------------------------------------------


def test_a_reload_during_another_one_is_done_after_it_with_the_file_as_it_is_then(place: Path) -> None:
    home = Home(place, PAIR)
    life = _live(
        home,
        {
            "a/executor:Decide": _once(_changed(home, _keeping(77)), 2),
            "a/executor:ChangeParameters": _once(_changed(home, PAIR)),
        },
    )
    assert life.code == 0, life.log
    assert _reloads(life) == ["storage.sample_ticks_every: 40 -> 77", "storage.sample_ticks_every: 77 -> 40"]
    assert [_history(home, account) for account in "ab"] == [[("40", "77"), ("77", "40")]] * 2
    assert home.wrong("a", "b") + home.unverified() == []


def test_many_reloads_of_one_change_write_it_once_and_build_each_account_anew_once(place: Path) -> None:
    home = Home(place, PAIR)
    life = _live(
        home,
        {
            "a/executor:Decide": _once(_changed(home, _keeping(77), times=3), 2),
            "b/executor:ChangeParameters": send_at(1, RELOAD, RELOAD),
        },
    )
    assert life.code == 0, life.log
    assert _reloads(life)[0] == "storage.sample_ticks_every: 40 -> 77"
    assert set(_reloads(life)[1:]) == {"nothing has changed"}
    assert [_history(home, account) for account in "ab"] == [[("40", "77")]] * 2
    assert [life.log.count(f"{account} takes over its new settings") for account in "ab"] == [1, 1]
    assert home.wrong("a", "b") + home.unverified() == []


def test_behind_a_reload_entries_are_taken_as_before(place: Path) -> None:
    """Each account is stopped for it; that a stop takes no new entries must not outlive it."""
    home = Home(place, PAIR)
    life = _live(home, {"a/executor:Decide": _once(_changed(home, _keeping(77)), 2)})
    assert life.code == 0, life.log
    for account in "ab":
        changed = home.last_sequence(account, "parameter_changed")
        assert home.entries_after(account, changed), f"{account} goes on trading"
    denied = [row["status_reason"] for row in home.rows("orders") if row["status"] == "denied"]
    assert not [reason for reason in denied if reason.startswith("stopping")]


# --- kept until they can take it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crashed", "moment"),
    [*((True, moment) for moment in RECOVERY), (False, "executor.recover.loaded"), (False, "executor.reconcile.after")],
)
def test_a_reload_that_comes_during_the_start_is_done_when_the_accounts_are_there(
    crashed: bool, moment: str, place: Path
) -> None:
    home = Home(place, LASTING)
    if crashed:
        assert home.live({"recorder:Commit": fail_at(40)}).code == 70
    life = _live(home, {moment: _once(_changed(home, _keeping(77, LASTING)))})
    assert life.code == 0, life.log
    assert life.passed[moment], "a start passes this moment"
    assert _reloads(life) == ["storage.sample_ticks_every: 40 -> 77"], life.log
    for account in "ab":
        assert _history(home, account) == [("40", "77")]
    rows = home.rows("parameter_history")
    assert [row["ts_ns"] for row in rows if row["ts_ns"] < NS_2024] == [], "in the time of the market"
    assert home.wrong("a", "b") + home.unverified() == []


# --- all or nothing, and said as it is --------------------------------------------------------------------------------------


def test_a_reload_is_written_for_each_account_once_while_one_of_them_dies_and_comes_back(place: Path) -> None:
    home = Home(place, LASTING)

    def goes(passed: int) -> None:
        if passed == 40:
            _changed(home, _keeping(77, LASTING))()
            raise InjectedFault("b goes")

    life = _live(home, {"b/session:VenuePassed": goes})
    assert life.code == 0, life.log
    assert _reloads(life) == ["storage.sample_ticks_every: 40 -> 77"], life.log
    assert "refused" not in life.log
    assert [_history(home, account) for account in "ab"] == [[("40", "77")]] * 2
    assert home.wrong("a", "b") + home.unverified() == []


def test_nothing_takes_effect_before_its_history_is_durable(place: Path) -> None:
    """A log level needs no account to be built anew: it waits for the disk all the same."""
    home = Home(place, PAIR)
    written: list[int] = []

    def fails(passed: int) -> None:
        if written:
            raise InjectedFault("the disk is gone")

    life = _live(
        home,
        {
            "a/executor:Decide": _once(_changed(home, PAIR + '[logging]\nlevel = "debug"\n'), 2),
            "a/executor:ChangeParameters": written.append,
            "recorder:Commit": fails,
        },
    )
    assert life.code == 70
    assert written
    assert _reloads(life) == []
    assert home.rows("parameter_history") == []


def test_where_an_account_fails_while_histories_are_written_nothing_is_in_force_and_it_is_told_as_it_is(
    place: Path,
) -> None:
    home = Home(place, PAIR)
    life = _live(
        home,
        {"a/executor:Decide": _once(_changed(home, _keeping(77)), 2), "a/executor:ChangeParameters": fail_at(1)},
    )
    assert life.code == 0, life.log
    assert "reload not finished: the old configuration stays in force, but parameter_history may tell" in life.log
    assert "takes over its new settings" not in life.log
    assert _reloads(life) == []
    assert _history(home, "a") == []
    assert home.wrong("a", "b") + home.unverified() == []


OWN = """
from msgspec import Struct
from tradekeel.domain.messages import Emit
from tradekeel.strategies.base import Strategy
from tradekeel.strategies.parameters import Parameters

class Params(Parameters, frozen=True, kw_only=True):
    pass

class State(Struct, frozen=True):
    ticks: int = 0

class Mine(Strategy[Params, State]):
    Params = Params
    State = State

    def on_tick(self, tick, state, context):
        return State(state.ticks + 1), (Emit(type="says", data={"version": VERSION, "ticks": state.ticks}),)
"""


def test_changed_code_of_a_strategy_is_in_force_behind_a_reload_and_the_history_tells_of_it(place: Path) -> None:
    head = configs.head() + configs.market(400, speed="500") + configs.account("a")
    home = Home(place, head + configs.strategy("own", "a", "mine.py:Mine", ""))
    file = place / "mine.py"
    file.write_text(OWN.replace("VERSION", "1"))

    def change() -> None:
        file.write_text(OWN.replace("VERSION", "2"))
        os.kill(os.getpid(), RELOAD)

    life = _live(home, {"a/executor:Decide": _once(change, 20)})
    assert life.code == 0, life.log
    old, new = (hashlib.sha256(OWN.replace("VERSION", v).encode()).hexdigest()[:12] for v in "12")
    assert _reloads(life) == [f"strategies.own.code: {old} -> {new}"]
    assert _history(home, "a") == [(old, new)]
    said = [msgspec.json.decode(row["data"]) for row in home.rows("strategy_events") if row["type"] == "says"]
    versions = [one["version"] for one in said]
    assert versions == sorted(versions)
    assert set(versions) == {1, 2}
    assert [one["ticks"] for one in said] == list(range(400)), "each tick once, and the state goes on"


def test_a_log_that_cannot_be_opened_again_keeps_nothing_of_a_reload_from_being_in_force(place: Path) -> None:
    logged = PAIR + '[logging]\nfile = "logs/daemon.log"\n'
    home = Home(place, logged)
    folder = home.state / "logs"

    def closed() -> None:
        folder.rename(home.state / "before")
        folder.write_text("in the way")
        _changed(home, _keeping(77, logged) + 'level = "debug"\n')()

    life = _live(home, {"a/executor:Decide": _once(closed, 2)})
    assert life.code == 0, life.log
    [said] = _reloads(life)
    assert said.startswith(
        "logging.level: info -> debug; storage.sample_ticks_every: 40 -> 77; but the log goes on without"
    )
    assert "refused" not in life.log
    for account in "ab":
        assert f"{account} takes over its new settings" in life.log
        assert _history(home, account) == [("info", "debug"), ("40", "77")]
    assert home.wrong("a", "b") + home.unverified() == []


def test_a_stop_in_the_middle_of_a_reload_says_what_is_in_force_and_who_has_not_taken_it_over(place: Path) -> None:
    home = Home(place, PAIR)
    life = _live(
        home,
        {
            "a/executor:Decide": _once(_changed(home, _keeping(77)), 2),
            "a/feed:StopFeed": send_at(1, signal.SIGTERM),
        },
    )
    assert life.code == 0, life.log
    assert "the old configuration stays in force" not in life.log
    said = "reload not finished: in force is storage.sample_ticks_every: 40 -> 77; b has not taken it over"
    assert said in life.log
    assert "did not stop in order" not in life.log
    assert [_history(home, account) for account in "ab"] == [[("40", "77")]] * 2
    assert home.wrong("a", "b", ended=False) == []
    assert home.live().code == 0
    assert home.wrong("a", "b") + home.unverified() == []


def test_a_stop_that_flattens_does_so_in_the_account_that_a_reload_is_building_anew(place: Path) -> None:
    toml = PAIR.replace("stall_limit_s = 60", 'stall_limit_s = 60\non_stop = "flatten"')
    home = Home(place, toml)
    saving: list[int] = []

    def stop_once(passed: int) -> None:
        if saving and len(saving) == 1:
            saving.append(passed)
            os.kill(os.getpid(), signal.SIGTERM)

    life = _live(
        home,
        {
            "a/executor:Decide": _once(_changed(home, _keeping(77, toml)), 6),
            "a/feed:StopFeed": _once(lambda: saving.append(0)),
            "feed.before_cut": stop_once,
        },
    )
    assert life.code == 0, life.log
    assert "reload not finished" in life.log
    assert "did not stop in order" not in life.log
    assert life.passed["a/executor:EndWorking"] == 2, "it was flattened, and takes entries at its next start"
    assert [home.open_trades(account) for account in "ab"] == [0, 0]
    assert home.wrong("a", "b", ended=False) + home.unverified() == []


SHORT = (
    configs.head()
    + configs.market(60, "short")
    + configs.market(400, "long", speed="500")
    + configs.account("a", feed="short")
    + configs.account("b", feed="long", exits="monitor")
    + configs.strategy("ema", "a")
    + configs.strategy("floor", "b", "floor", configs.FLOOR)
)


def test_a_reload_passes_over_an_account_whose_feed_has_ended(place: Path) -> None:
    home = Home(place, SHORT)
    life = _live(home, {"control:FeedEnded": _once(_changed(home, _keeping(77, SHORT)))})
    assert life.code == 0, life.log
    assert _reloads(life) == ["storage.sample_ticks_every: 40 -> 77"], life.log
    assert "WARNING" not in life.log, "nobody is waited for in vain"
    assert "a takes over" not in life.log
    assert [_history(home, account) for account in "ab"] == [[], [("40", "77")]]
    assert home.wrong("a", "b") + home.unverified() == []


@pytest.mark.parametrize("moment", ["feed.ending", "feed.ending.drained", "feed.ending.closed"])
def test_a_reload_while_a_feed_is_ending_waits_for_nobody_in_vain(moment: str, place: Path) -> None:
    home = Home(place, SHORT)
    life = _live(home, {moment: _once(_changed(home, _keeping(77, SHORT)))})
    assert life.code == 0, life.log
    assert _reloads(life) == ["storage.sample_ticks_every: 40 -> 77"], life.log
    assert "could not be saved" not in life.log
    assert _history(home, "b") == [("40", "77")]
    assert home.wrong("a", "b") + home.unverified() == []
