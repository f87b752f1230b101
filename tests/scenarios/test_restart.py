"""What a restart must not forget: what has gone out lately, what a person asked for in between, how long nobody looked."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.scenarios import support_configs as configs
from tests.scenarios import support_waiting as waiting
from tests.scenarios.support import Action, Home, caught_signals, fail_at, send_at, told_differently
from tradekeel.bootstrap.desk import Desk
from tradekeel.errors import ExitCode
from tradekeel.runtime.faults import InjectedFault
from tradekeel.statedir import Command, CommandFiles, StateDir
from tradekeel.storage.loading import AccountBooks

TICKS = 400


def _limited() -> str:
    """Two orders a minute, and a strategy that wants more."""
    return (
        configs.head(cut_every_s=0.001)
        + configs.market(TICKS)
        + configs.account("a")
        + "[accounts.a.risk]\norders_per_minute = 2\n"
        + configs.strategy("ema", "a")
    )


def _statuses(home: Home) -> list[tuple[str, str]]:
    return sorted((o["client_order_id"], o["status"]) for o in home.ours("a").orders)


@pytest.mark.parametrize("who", ["a/executor:Decide", "recorder:Commit"])
def test_the_rates_of_the_risk_gate_go_on(tmp_path: Path, who: str) -> None:
    """The account is restarted, or the process: either way from a cut that is a moment old."""
    whole = Home(tmp_path / "whole", _limited())
    passed = whole.live().passed[who]
    reference = {"a": whole.story("a")}
    denied = [o for o in whole.ours("a").orders if o["status"] == "denied"]
    assert len(denied) > 3, "the limit is felt"

    for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        home = Home(tmp_path / f"share-{share}", _limited())
        home.live_to_the_end({who: fail_at(int(passed * share))})
        assert home.wrong("a") + home.unverified() == []
        assert told_differently(reference, home) == []
        assert len([o for o in home.ours("a").orders if o["status"] == "denied"]) == len(denied)


def test_a_flatten_that_comes_before_the_books_were_compared_is_carried_out_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exits are not those that may have been sent before."""
    home = Home(tmp_path / "home", configs.pair(TICKS, cut_every_s=600))
    assert home.live({"recorder:Commit": _fail_while_something_is_open(home)}).code == ExitCode.DEFECT
    assert home.open_trades("b")
    load, asked_for = AccountBooks.load, list[bool]()

    def slowly(self: AccountBooks, *which: Any) -> Any:
        if not asked_for:
            asked_for.append(True)
            _ask_to_flatten(home)
        time.sleep(0.3)  # a large journal on a slow disk: control has read the folder by the time that it is there
        return load(self, *which)

    monkeypatch.setattr(AccountBooks, "load", slowly)
    life = home.live()

    assert life.code == 0, life.log
    wrong = [text for text in home.wrong("a", "b") if "is not closed as it should be" not in text]  # it is paused
    assert wrong + home.unverified() == []
    for account in ("a", "b"):
        assert home.execution(account)["latch"] == "open"
        assert home.execution(account)["paused"]
        assert home.open_trades(account) == 0
        asked = [order["status"] for order in home.ours(account).orders if order["source"] == "operator"]
        assert set(asked) <= {"filled"}, "each exit went out under the one id that the books know"
    assert "manual" in [trade["exit_reason"] for trade in home.ours("b").trades]


def test_a_halted_account_says_what_nobody_protects(tmp_path: Path) -> None:
    """Exits that the monitor keeps wait for the release; those at the venue go on."""
    home = Home(tmp_path / "home", configs.pair(TICKS))
    home.live({"recorder:Commit": _fail_while_something_is_open(home)})
    Desk(StateDir(home.state)).hold("all", "enough")
    life = home.live()
    told = [line for line in life.log.splitlines() if "have no stop at the venue" in line]
    assert told
    assert all("b: " in line and "(tradekeel release)" in line for line in told)


@pytest.mark.parametrize("asked", [(), (signal.SIGUSR1,)])
def test_a_pause_that_somebody_asks_for_while_a_stop_flattens_stays(
    tmp_path: Path, asked: tuple[signal.Signals, ...]
) -> None:
    """To flatten, the stop pauses, too; what it paused for its own sake it ends, and nothing else."""
    toml = configs.head(more='on_stop = "flatten"') + configs.market(TICKS) + configs.account("a")
    home = Home(tmp_path / "home", toml + configs.strategy("ema", "a"))
    with caught_signals() as inbox:
        actions = {
            "a/executor:Decide": send_at(8, signal.SIGTERM),
            "a/executor:EndWorking": send_at(1, *asked),
        }
        assert home.live(actions, signals=inbox).code == 0
    assert home.open_trades("a") == 0
    assert bool(home.execution("a")["paused"]) is bool(asked)
    *_, asked_at, filled_at = [r["transaction"]["position"] for r in home.records("a", "venue_reported")]
    assert filled_at == asked_at + 1, "no tick of the market is passed over"


def test_a_live_market_went_unseen_since_the_last_tick_whatever_was_recorded_in_between(tmp_path: Path) -> None:
    """A start that failed, a snapshot, a pause: none of them has seen a price."""
    home = Home(tmp_path / "home", _live())
    assert home.live({"recorder:Commit": fail_at(8)}).code == ExitCode.DEFECT
    (last_seen_ns,) = [e["ts_ns"] for e in home.ours("a").events if e["type"] == "seen"][-1:]
    time.sleep(0.6)
    assert home.live({"recorder:Commit": fail_at(2)}).code == ExitCode.DEFECT
    assert home.last_sequence("a", "daemon_started") > 3, "it has recorded that it was there"
    time.sleep(0.2)
    assert home.live({"recorder:Commit": fail_at(8)}).code == ExitCode.DEFECT

    told = [
        msgspec.json.decode(e["data"]) | {"at_ns": e["ts_ns"]} for e in home.ours("a").events if e["type"] == "started"
    ]
    first, again = told[0], told[-1]
    assert (first["gap_ns"], first["ticks"]) == (0, 0)
    assert again["ticks"] > 0
    assert again["gap_ns"] == again["at_ns"] - last_seen_ns
    assert again["gap_ns"] > 800_000_000


def _live() -> str:
    return (
        configs.head(cut_every_s=600)
        + configs.market(1).replace("ticks = 1\n", "live = true\n").replace("interval_ms = 500", "interval_ms = 10")
        + configs.account("a")
        + configs.strategy("waiting", "a", f"{Path(waiting.__file__)}:Waiting", "")
    )


def _fail_while_something_is_open(home: Home) -> Action:
    def act(passed: int) -> None:
        if passed > 3 and home.open_trades("b"):
            raise InjectedFault(f"pass {passed}")

    return act


def _ask_to_flatten(home: Home) -> None:
    place = StateDir(home.state)
    asked = Command(id="flat1", name="flatten", ts_ns=time.time_ns(), arguments={"by": "anna", "reason": "home early"})
    CommandFiles(place.commands, place.results).ask(asked)
