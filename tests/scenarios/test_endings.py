"""What a strategy asks for while its run ends, or the daemon is stopped: nothing is begun that nobody would look after."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import support_bars as bars
from tests.scenarios import support_configs as configs
from tests.scenarios import support_requoting as requoting
from tests.scenarios.support import Home, caught_signals, fail_at, send_at
from tradekeel.bootstrap.backtests import execute, prepare

KINDS = ("Requotes", "Replaces")


def _home(place: Path, kind: str, on_stop: str = "keep") -> Home:
    file = Path(requoting.__file__).resolve()
    head = configs.head(more=f'on_stop = "{on_stop}"', cut_every_s=600)
    market = configs.market(200)
    return Home(place, head + market + configs.account("a") + configs.strategy("quoter", "a", f"{file}:{kind}", ""))


def _at_the_venue(home: Home) -> list[str]:
    return [
        order["status"] for order in home.rows("orders") if order["status"] in ("accepted", "intended", "submitted")
    ]


def _denied(home: Home) -> list[str]:
    return [order["status_reason"].split(":")[0] for order in home.rows("orders") if order["status"] == "denied"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("on_stop", ["cancel_entries", "flatten"])
def test_a_strategy_that_answers_the_end_of_its_order_with_another_one_does_not_get_it_during_a_stop(
    on_stop: str, kind: str, tmp_path: Path
) -> None:
    home = _home(tmp_path, kind, on_stop)
    with caught_signals() as inbox:
        life = home.live({"feed.arrived": send_at(1, signal.SIGTERM)}, signals=inbox)
        if not home.rows("orders"):
            life = home.live({"a/executor:Decide": send_at(1, signal.SIGTERM)}, signals=inbox)
    assert life.code == 0, life.log
    assert home.execution("a")["status"] == "running", "it was stopped"
    assert _at_the_venue(home) == []
    assert _denied(home) == ["stopping"]
    assert home.open_trades("a") == 0
    assert home.wrong("a", ended=False) + home.unverified() == []


@pytest.mark.parametrize("kind", KINDS)
def test_nor_at_the_end_of_the_feed(kind: str, tmp_path: Path) -> None:
    home = _home(tmp_path, kind)
    life = home.live({})
    assert life.code == 0, life.log
    assert home.execution("a")["status"] == "closed"
    assert _at_the_venue(home) == []
    assert _denied(home) == ["stopping"]
    assert [trade["status"] for trade in home.rows("trades")] == ["FAILED"]
    assert home.wrong("a") + home.unverified() == []


@pytest.mark.parametrize("point", ["feed.ending.drained", "paper.cancel.after_commit", "executor.close.before"])
def test_nor_where_that_end_is_cut_short_by_a_kill(point: str, tmp_path: Path) -> None:
    reference = _home(tmp_path / "reference", "Requotes")
    assert reference.live({}).code == 0
    home = _home(tmp_path / "killed", "Requotes")
    with home.start({"TRADEKEEL_KILL_AT": f"{point}:1"}) as process:
        assert process.end() == -signal.SIGKILL
    life = home.live({})
    assert life.code == 0, life.log
    assert _at_the_venue(home) == []
    assert home.trades("a") == reference.trades("a")
    assert _denied(home) == ["stopping"]
    assert home.wrong("a") + home.unverified() == []


def test_nor_where_a_kill_comes_between_its_last_words_and_the_end(tmp_path: Path) -> None:
    reference = _home(tmp_path / "reference", "Withdraws")
    assert reference.live({}).code == 0
    home = _home(tmp_path / "killed", "Withdraws")
    with home.start({"TRADEKEEL_KILL_AT": "feed.ending:1"}) as process:
        assert process.end() == -signal.SIGKILL
    assert home.live({}).code == 0
    assert _denied(home) == _denied(reference) == ["stopping"]
    assert home.story("a") == reference.story("a")
    assert home.wrong("a") + home.unverified() == []


def _heard(place: Path, ticks: int, cut_every_s: float = 600) -> Home:
    file = Path(bars.__file__).resolve()
    market = configs.market(ticks)
    return Home(
        place,
        configs.head(cut_every_s) + market + configs.account("a") + configs.strategy("s", "a", f"{file}:Hears", ""),
    )


def _said(books: Path) -> list[Any]:
    with closing(sqlite3.connect(books)) as db:
        return [json.loads(data) for (data,) in db.execute("SELECT data FROM strategy_events ORDER BY sequence")]


@pytest.mark.parametrize("ticks", [200, 199])
def test_the_bar_of_the_very_last_tick_is_told_by_a_daemon_as_by_a_backtest(ticks: int, tmp_path: Path) -> None:
    told = [{"position": position} for position in range(bars.TICKS_A_BAR, ticks + 1, bars.TICKS_A_BAR)]
    home = _heard(tmp_path / "daemon", ticks)
    assert home.live({}).code == 0
    (prepared,) = prepare(home.config, {}, folder=tmp_path / "backtests")
    assert _said(execute(prepared).folder / "books.db") == _said(home.books) == [*told, {"count": len(told)}]


@pytest.mark.parametrize("point", ["feed.ending", "feed.ending.drained", "feed.ending.closed"])
def test_nor_does_a_kill_at_the_end_take_that_bar_away_or_tell_it_twice(point: str, tmp_path: Path) -> None:
    reference = _heard(tmp_path / "reference", 200)
    assert reference.live({}).code == 0
    home = _heard(tmp_path / "killed", 200)
    with home.start({"TRADEKEEL_KILL_AT": f"{point}:1"}) as process:
        assert process.end() == -signal.SIGKILL
    home.live({})
    assert _said(home.books) == _said(reference.books)
    assert home.wrong("a") + home.unverified() == []


def test_a_feed_that_comes_back_behind_its_last_tick_knows_what_time_it_is_there(tmp_path: Path) -> None:
    """Everybody's state has been saved at the last tick, so there is none any more from which it could be told."""
    reference = _heard(tmp_path / "reference", 200, cut_every_s=0.001)
    life = reference.live({})
    assert life.code == 0, life.log
    for number, cut in enumerate(range(life.passed["feed.after_cut"], 0, -1)[:2]):
        home = _heard(tmp_path / str(number), 200, cut_every_s=0.001)
        home.live_to_the_end({"feed.after_cut": fail_at(cut)})
        assert home.story("a") == reference.story("a")
        assert home.wrong("a") + home.unverified() == []
