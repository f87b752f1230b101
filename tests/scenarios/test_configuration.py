"""A configuration that is changed between two starts of the same run."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home, caught_signals, send_at
from tradekeel.bootstrap.commands import release
from tradekeel.bootstrap.fresh import close_executions
from tradekeel.bootstrap.place import Place
from tradekeel.storage.loading import AccountBooks
from tradekeel.storage.store import Store

ALONE = (
    configs.head()
    + configs.market(400, speed="2000")
    + configs.account("b", exits="monitor")
    + configs.strategy("floor", "b", "floor", configs.FLOOR)
)
BOTH = ALONE + configs.strategy("ema-b", "b")
SLOW = ALONE.replace('speed = "2000"', 'speed = "200"')
FILE = (
    configs.head()
    + """
[feeds.m]
kind = "file"
path = "{folder}/ticks.csv"
instrument = "EUR_USD"
"""
    + configs.account("b")
    + configs.strategy("ema", "b")
)


def _stopped_at(home: Home, count: int) -> dict[str, str]:
    """A life that is stopped in the middle; what the books say of the strategies."""
    with caught_signals() as inbox:
        assert home.live({"b/feed:JournalReached": send_at(count, signal.SIGTERM)}, signals=inbox).code == 0
    return _strategies(home)


def _strategies(home: Home) -> dict[str, str]:
    return {row["strategy"]: row["status"] for row in home.rows("strategies")}


def test_a_strategy_that_is_taken_out_is_stopped_and_one_that_comes_back_is_active_again(place: Path) -> None:
    home = Home(place, BOTH)
    assert _stopped_at(home, 6) == {"floor": "active", "ema-b": "active"}

    home.configure(ALONE)
    assert _stopped_at(home, 6) == {"floor": "active", "ema-b": "stopped"}

    home.configure(BOTH)
    assert home.live().code == 0
    assert _strategies(home) == {"floor": "active", "ema-b": "active"}
    assert home.wrong("b") == []
    assert home.unverified() == []


def test_a_balance_that_was_changed_is_warned_about_until_the_account_begins_anew(place: Path) -> None:
    home = Home(place, ALONE)
    assert "has no effect" not in home.live().log
    home.configure(ALONE.replace("leverage = 30", 'leverage = 30\nbalance = "500.00"'))
    life = home.live()
    assert life.code == 0
    assert "WARNING accounts.b.balance: 500.00 has no effect" in life.log
    assert "opened with 100000" in life.log
    assert "has no effect" not in home.live(fresh=True).log
    assert "has no effect" not in home.live().log


def test_a_currency_that_was_changed_is_refused_at_once(place: Path) -> None:
    home = Home(place, ALONE)
    assert home.live().code == 0
    home.configure(ALONE.replace("leverage = 30", 'currency = "EUR"'))
    life = home.live()
    assert life.code == 2
    assert "accounts.b.currency: it is EUR here" in life.log
    assert "is restarted" not in life.log
    assert home.live(fresh=True).code == 0


DISABLED = BOTH + "enabled = false\n"


def test_one_that_is_not_enabled_is_a_draft_until_it_is_and_is_stopped_when_it_has_traded(place: Path) -> None:
    home = Home(place, DISABLED)
    assert _stopped_at(home, 3) == {"floor": "active", "ema-b": "draft"}
    assert "b/strategist/ema-b" not in home.status["actors"]
    assert home.unverified() == []

    home.configure(BOTH)
    assert _stopped_at(home, 30) == {"floor": "active", "ema-b": "active"}
    decided = {row["strategy"]: row["decisions"] for row in home.rows("strategies")}
    assert decided["ema-b"], "it came to the run under way, and traded"

    home.configure(DISABLED)
    assert home.live().code == 0
    assert _strategies(home) == {"floor": "active", "ema-b": "stopped"}
    last = {row["strategy"]: row["decisions"] for row in home.rows("strategies")}
    assert last["ema-b"] == decided["ema-b"]
    assert [text for text in home.wrong("b") if "strategy ema-b is stopped" not in text] == []
    assert home.unverified() == []


def test_a_schedule_that_means_nothing_starts_nothing(place: Path) -> None:
    home = Home(place, ALONE.replace("snapshot_schedule = 0", 'snapshot_schedule = "99 * * * *"'))
    life = home.live()
    assert life.code == 2
    assert "storage.snapshot_schedule: '99 * * * *' is no schedule" in life.log
    assert not home.state.exists()


LIVE = (
    configs.head()
    + """
[feeds.m]
kind = "synthetic"
instruments = ["EUR_USD"]
seed = 11
live = true
ticks = 120
interval_ms = 5
volatility = "0.4"
"""
    + configs.account("a", more="send_within_s = 0.000001")
    + configs.strategy("ema", "a")
)


def test_a_live_entry_that_comes_too_late_is_not_sent_and_in_a_replay_nothing_comes_too_late(place: Path) -> None:
    live, replay = Home(place / "live", LIVE), Home(place / "replay", LIVE.replace("live = true\n", ""))
    assert live.live().code == 0
    assert replay.live().code == 0
    entries = [order for order in live.ours("a").orders if order["purpose"] == "entry" and order["parent_id"] is None]
    assert {order["status"] for order in entries} == {"not_sent"}
    assert "could not be sent in time" in entries[0]["status_reason"]
    assert live.wrong("a") + live.unverified() + replay.wrong("a") == []
    assert "not_sent" not in {order["status"] for order in replay.ours("a").orders}


# --- from one run to the next -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["pause", "kill"])
def test_what_a_person_has_stopped_stays_stopped_in_the_next_run(what: str, place: Path) -> None:
    home = Home(place, SLOW)
    with home.start() as daemon:
        daemon.until_trading("b")
        assert home.command(what)[0]
        assert daemon.end() in (0, 5)
    (place / "state" / "latches" / "all.json").unlink(missing_ok=True)  # what the books say is enough
    life = home.live()
    row = home.execution("b")
    assert row["number"] == 2
    assert (bool(row["paused"]), row["latch"]) == ((True, "open") if what == "pause" else (False, "halted"))
    assert [order for order in home.entries_after("b", 0) if order["execution"] == row["execution"]] == []
    assert "run 2 of b begins, with the last one's balance" in life.log
    assert home.unverified() == []


def test_a_limit_that_tripped_in_the_run_before_still_says_so_at_the_end_of_the_next(place: Path) -> None:
    home = Home(
        place, ALONE.replace("[accounts.b.paper]", "[accounts.b.risk]\ndaily_loss_max = 0.02\n[accounts.b.paper]")
    )
    assert [home.live().code, home.live().code] == [5, 5]
    assert home.execution("b")["number"] == 2
    assert home.execution("b")["latch"] == "reduce_only"
    assert release(Place(home.state, home.config), None, "a new day", "anna").ok
    home.live()
    assert home.entries_after("b", 0)[-1]["execution"] == home.execution("b")["execution"]


def test_a_release_between_two_runs_counts_for_the_next(place: Path) -> None:
    home = Home(place, SLOW)
    with home.start() as daemon:
        daemon.until_trading("b")
        assert home.command("kill")[0]
        assert daemon.end() in (0, 5)
    answer = release(Place(home.state, home.config), None, "looked into", "anna")
    assert answer.ok
    assert "(b)" in answer.message
    assert home.live().code == 0
    assert home.execution("b")["latch"] == "open"
    assert home.unverified() == []


def test_a_mistake_in_a_feed_at_the_first_start_is_told_once_and_does_not_hold_up_the_right_one(place: Path) -> None:
    good = "2014-05-08T00:00:00Z,1.39101,1.39114\n2014-05-08T00:00:01Z,1.39102,1.39115\n"
    (place / "ticks.csv").write_text("time,bid,ask\n" + good)
    (place / "other.csv").write_text("time,bid,ask\nnonsense,x,y\n")
    wrong = FILE.replace("ticks.csv", "other.csv")
    home = Home(place, wrong)
    life = home.live()
    assert life.code == 2
    assert life.log.count("nonsense") <= 2, "starting again would not help"
    home.configure(FILE)
    assert home.live().code == 0
    assert home.execution("b")["status"] == "closed"
    assert home.unverified() == []


def test_a_fresh_start_that_died_half_way_is_finished_by_the_next_start(place: Path) -> None:
    home = Home(place, ALONE)
    _stopped_at(home, 6)
    assert home.ours("b").orders
    with Store.open(home.books, now_ns=1) as store:
        close_executions(
            AccountBooks(store, {}), ["b"]
        )  # the first half of --fresh, and the venue's ledger is still there
    assert home.live().code == 0
    assert home.execution("b")["number"] == 2
    assert home.execution("b")["latch"] == "open"
    assert home.unverified() == []
    alone = Home(place / "alone", ALONE)
    assert alone.live().code == 0
    assert len(home.trades("b")) > len(alone.trades("b")) > 3, (
        "the new run is whole, behind what there was of the old one"
    )
