"""Reports and comparisons as a person asks for them: of a backtest, and of a daemon's run on paper."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_daemon import call
from tests.scenarios import support_configs as configs
from tests.scenarios.support import Home, fail_at
from tradekeel.backtest.reporting.page import BEGINNING
from tradekeel.backtest.source import WINDOW_TICKS
from tradekeel.bootstrap.backtests import execute, prepare
from tradekeel.domain.times import iso
from tradekeel.errors import ExitCode, InputError

SLOW = 'latency_ms = 700\nslippage = { model = "random", pips = "0.4" }'
TICKS = 1_500


def toml(paper: str = "", more: str = "") -> str:
    return (
        configs.head(snapshot_s=0)
        + configs.market(TICKS)
        + configs.account("a", paper=paper)
        + configs.strategy("ema", "a")
        + more
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A daemon that came to its end on paper, and a backtest of the same beside it."""
    home = Home(tmp_path_factory.mktemp("same"), toml())
    life = home.live()
    assert life.code == 0, life.log
    backtest(home)
    return home


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The same market at a venue that is slower and dearer."""
    home = Home(tmp_path_factory.mktemp("slow"), toml(SLOW))
    life = home.live()
    assert life.code == 0, life.log
    return home


def backtest(home: Home) -> Path:
    (prepared,) = prepare(home.config, {})
    return execute(prepared).folder


def told(*words: str | Path) -> Any:
    done = call(*words, "--json")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def ids(home: Home) -> tuple[str, str]:
    """The daemon's execution, and the backtest's."""
    (row,) = told("executions", home.config)
    (task,) = told("backtests", home.config)
    return row["execution"], task["task"]


def test_a_report_says_what_its_ratios_are_annualised_with(tmp_path: Path) -> None:
    """A market that never closes has 365 days a year, live as in a backtest."""
    bitcoin = toml('conversion_rates = { USDT_USD = "1" }').replace("EUR_USD", "BTC_USDT")
    home = Home(tmp_path, bitcoin)
    life = home.live()
    assert life.code == 0, life.log
    backtest(home)
    for each in ids(home):
        assert told("report", each, home.config)["figures"]["days_a_year"] == 365
        shown = call("report", each, home.config).stdout
        assert "Sharpe (365 days a year)" in shown


def test_daemon_and_backtest_have_the_same_figures(home: Home) -> None:
    paper, task = (told("report", each, home.config) for each in ids(home))
    assert (paper["run"]["mode"], task["run"]["mode"]) == ("paper", "backtest")
    assert paper["figures"]["trades"]["count"] > 10
    for part in ("trades", "costs", "streaks", "returns", "groups", "periods", "market", "ticks"):
        assert paper["figures"][part] == task["figures"][part], part
    assert paper["as_of"]["finished"] is task["as_of"]["finished"] is True
    assert paper["as_of"]["records_behind"] == task["as_of"]["records_behind"] == 0


def test_figures_are_what_the_tables_add_up_to(home: Home) -> None:
    report = told("report", ids(home)[1], home.config)
    closed = [trade for trade in report["trades"] if trade["status"] == "CLOSED"]
    assert report["figures"]["trades"]["count"] == len(closed)
    assert Decimal(report["figures"]["trades"]["pnl"]) == sum(Decimal(trade["pnl"]) for trade in closed)
    equity = report["curve"]["equity"]
    assert all(one["ts_ns"] < other["ts_ns"] for one, other in pairwise(equity))
    assert report["prices"]["EUR_USD"]
    assert report["sources"][0]["text"].startswith('"""')


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A backtest in layers, of which some are open at the end; its account nets, and takes fees."""
    fees = 'commission = { model = "per_million", taker = "30" }'
    account = configs.account("a", paper=fees)
    text = configs.head(snapshot_s=60) + configs.market(2_500) + account + configs.strategy("f", "a", "floor", FLOOR)
    home = Home(tmp_path_factory.mktemp("floor"), text)
    backtest(home)
    return home


FLOOR = "initial_units = 2000, retracement_pips = 3, take_profit_pips = 2"


def test_closed_and_open_trades_together_are_the_accounts_profit(floor: Home) -> None:
    """Whatever netting has booked of it: what open trades would lose is as much a part of the result as what closed ones won."""
    report = told("report", floor.config)
    held, figures = report["held"], report["figures"]
    still = [trade for trade in report["trades"] if trade["status"] == "OPEN"]
    assert held["trades"] == len(still) > 1
    assert held["by_trade"] == {trade["trade_id"]: trade["unrealised"] for trade in still}
    assert all("unrealised" not in trade for trade in report["trades"] if trade["status"] == "CLOSED")
    unrealised = sum(Decimal(trade["unrealised"]) for trade in still)
    assert Decimal(held["unrealised"]) == unrealised != 0
    booked = sum(Decimal(trade["pnl"]) for trade in still)  # their entries' fees
    assert Decimal(held["booked"]) == booked < 0
    whole = Decimal(figures["trades"]["pnl"]) + unrealised + booked
    assert abs(whole - Decimal(figures["returns"]["total_pnl"])) <= Decimal("0.0001") * len(still), "but for rounding"


def test_what_is_open_is_said_beside_what_is_closed(floor: Home, tmp_path: Path) -> None:
    held = told("report", floor.config)["held"]
    shown = call("report", floor.config, "--groups", "side", "--html", tmp_path / "page.html")
    assert shown.returncode == 0, shown.stderr
    worth = f"{Decimal(held['unrealised']).normalize():f} USD"
    beside = f"{held['trades']} open trades are not in it: unrealised {worth} at the last tick."
    lines = shown.stdout.splitlines()
    assert any(line.split("  ")[0] == "open trades, unrealised" and line.endswith(f" {worth}") for line in lines)
    assert any(line.startswith("trades still open") and line.endswith(f" {held['trades']}") for line in lines)
    assert beside in lines
    page = (tmp_path / "page.html").read_text()
    assert page.count(beside) == 4, "below the table of closed trades and their two charts, and above the groups"
    done = call("backtest", floor.config, "--restart")
    assert f"{held['trades']} trades open (unrealised " in done.stdout
    (told_of,) = told("backtest", floor.config, "--restart")
    assert told_of["held"] == held
    assert told_of["figures"]["balance"] == told_of["account"]["balance"]


def test_a_comparison_says_what_is_open(floor: Home) -> None:
    backtest(floor)
    (task,) = {each["task"] for each in told("backtests", floor.config)}
    one, other = f"{task}#1", f"{task}#2"
    found = told("compare", one, other, floor.config)
    held = told("report", one, floor.config)["held"]
    assert found["first"]["open"] == found["second"]["open"] == held["trades"]
    assert "`tradekeel report` has what open trades would bring" in call("compare", one, other, floor.config).stdout


def test_curves_and_prices_go_to_the_last_tick(floor: Home) -> None:
    report = told("report", floor.config)
    figures = report["figures"]
    last = report["curve"]["equity"][-1]
    assert (last["ts_ns"], last["value"]) == (figures["last_ns"], figures["equity"])
    assert report["prices"]["EUR_USD"][-1]["ts_ns"] == figures["last_ns"]
    assert report["curve"]["benchmark"][-1]["ts_ns"] == figures["last_ns"]


def test_the_curve_of_a_backtest_begins_with_its_deposit_at_the_first_tick_and_not_with_the_first_snapshot(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path, toml().replace("snapshot_schedule = 0", "snapshot_schedule = 300"))
    backtest(home)
    report = told("report", home.config)
    curve = report["curve"]
    assert curve["source"] == "snapshots"
    first, second = curve["equity"][:2]
    assert (first["ts_ns"], first["value"]) == (report["figures"]["first_ns"], "100000")
    assert second["ts_ns"] - first["ts_ns"] <= 300 * 10**9
    assert curve["under_water"][0]["value"] == "0"


def test_the_curve_of_a_daemon_begins_where_its_profit_does(tmp_path: Path) -> None:
    text = toml().replace("snapshot_schedule = 0", "snapshot_schedule = 1")
    home = Home(tmp_path, text.replace('speed = "max"', "speed = 200"))  # four seconds of ours
    life = home.live()
    assert life.code == 0, life.log
    report = told("report", home.config)
    curve = report["curve"]
    assert curve["source"] == "snapshots"
    assert curve["equity"][0]["ts_ns"] == report["figures"]["first_ns"]
    first, last = (Decimal(curve["equity"][place]["value"]) for place in (0, -1))
    assert last - first == Decimal(report["figures"]["returns"]["total_pnl"]) != 0


def test_a_run_that_never_traded_has_its_deposit_as_its_balance_and_begins_with_its_first_tick(tmp_path: Path) -> None:
    home = Home(tmp_path, toml().replace("slow = 34", "slow = 5000"))
    backtest(home)
    report = told("report", home.config)
    assert Decimal(report["figures"]["balance"]) == Decimal(report["figures"]["equity"]) == 100_000
    curve = report["curve"]
    assert curve["source"] == "balances"
    assert curve["equity"][0]["ts_ns"] == report["figures"]["first_ns"], "and not in 1970, where no tick was yet"
    assert (report["held"]["trades"], report["held"]["unrealised"]) == (0, "0")


FIELDS = {
    "archived_trades",
    "as_of",
    "configuration",
    "curve",
    "cycles",
    "denied",
    "figures",
    "format",
    "held",
    "layers",
    "name",
    "notes",
    "prices",
    "ran_by",
    "rejected",
    "rejections",
    "run",
    "sources",
    "stops",
    "strategies",
    "task",
    "task_execution",
    "trades",
    "version",
    "where",
}


def test_what_programs_read_stays_as_it_is(home: Home) -> None:
    """A field that is gone or renamed needs another ``format``, and a line in the changelog."""
    report = told("report", home.config)
    assert report["format"] == 1
    assert set(report) == FIELDS
    assert set(report["as_of"]) == {"ts_ns", "position", "sequence", "records_behind", "finished"}
    assert set(report["curve"]) == {"source", "equity", "under_water", "benchmark", "rolling_sharpe"}
    assert {"ts_ns", "value"} == set(report["curve"]["equity"][0])
    assert {"ts_ns", "bid", "ask"} == set(report["prices"]["EUR_USD"][0])
    assert isinstance(report["figures"]["balance"], str), "amounts are text"


def test_the_configuration_is_shown_while_it_is_what_it_was(tmp_path: Path) -> None:
    home = Home(tmp_path, toml())
    backtest(home)
    shown = told("report", home.config)["configuration"]
    assert shown["values"]["strategies.ema.params.fast"] == "8"
    home.configure(toml().replace("fast = 8", "fast = 9"))
    changed = told("report", home.config)["configuration"]
    assert changed["values"] == {}
    assert "says something else now" in changed["note"]


def test_of_a_secret_only_its_place_is_told(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("hunter2-hunter2")
    password.chmod(0o600)
    server = f'[redis]\nurl = "redis://127.0.0.1:9/0"\npassword = {{ file = "{password}" }}\n'
    home = Home(tmp_path / "home", toml(more=server))
    backtest(home)
    page = tmp_path / "report.html"
    done = call("report", home.config, "--json", "--html", page)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)["configuration"]["values"]["redis.password"]
    assert shown.startswith('{file = "/')
    assert "hunter2" not in done.stdout + page.read_text()


def test_the_terminal_has_the_key_figures_and_the_groups_that_are_asked_for(home: Home) -> None:
    done = call("report", home.config, "--groups", "strategy,weekday")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith("profit factor") for line in lines)
    assert "By strategy" in lines
    assert "By weekday" in lines
    assert "–" in done.stdout, "a run of some minutes has no Sharpe ratio"
    assert "not shown: " in done.stdout, "of 80 columns"
    refused = call("report", home.config, "--groups", "moon")
    assert (refused.returncode, "there is no group 'moon'" in refused.stderr) == (2, True)


def test_a_terminal_of_a_hundred_columns_has_room_for_what_people_ask_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for kind, wanted in (("side", ("expectancy", "fees", "slippage", "Kelly")), ("month", ("fees", "factor", "pnl"))):
        lines = call("report", home.config, "--groups", kind).stdout.splitlines()
        head = next(line for line in lines if line.startswith(kind))
        assert set(wanted) <= set(head.split()), head
        assert all(len(line) <= 100 for line in lines)
        left_out = next((line for line in lines if line.startswith("not shown: ")), "")
        assert not set(wanted) & set(left_out.replace(",", " ").split())


def test_what_is_not_there_is_said_with_what_is(home: Home, tmp_path: Path) -> None:
    for unknown in ("zzzz", "z", "no/such/folder"):
        done = call("report", unknown, home.config)
        assert done.returncode == 2
        assert all(each[:12] in done.stderr for each in ids(home)), done.stderr
    assert call("report", tmp_path).returncode == 2
    assert call("report", "--state", tmp_path).returncode == 2
    assert call("report", home.config, "--account", "nobody").returncode == 2


def test_a_report_is_asked_for_by_id_by_folder_or_by_configuration_as_a_comparison_is(home: Home) -> None:
    paper, task = ids(home)
    for word in (paper, paper[:8]):
        assert told("report", word, home.config)["run"]["execution"] == paper
        assert told("report", word, "--state", home.state)["run"]["execution"] == paper
    found = told("report", f"{task[:8]}#1", home.config)
    assert found["run"]["mode"] == "backtest"
    assert call("report", f"{task[:8]}#2", home.config).returncode == 2, "there is no second one"
    (folder,) = (home.state / "backtests").glob("*/1")
    places: list[tuple[str | Path, ...]] = [(folder,), (home.state / "backtests",), (home.config,), (home.state,)]
    for words in (*places, ("--state", folder)):
        assert told("report", *words)["run"] == found["run"], "the newest there"


def test_books_that_cannot_be_read_are_named_where_nothing_else_is_found(tmp_path: Path) -> None:
    home = Home(tmp_path, toml())
    folder = backtest(home)
    (folder / "books.db").write_bytes(b"no books at all, though they are long enough to be some" * 100)
    done = call("report", home.config)
    assert done.returncode == 2
    assert "1 backtest cannot be read" in done.stderr
    assert str(folder) in done.stderr


def test_a_run_that_was_killed_says_up_to_when_its_figures_go(tmp_path: Path) -> None:
    home = Home(tmp_path, toml())
    life = home.live({"recorder:Commit": fail_at(40)})
    assert life.code == ExitCode.DEFECT
    done = call("report", home.config)
    assert done.returncode == 0, done.stderr
    assert "The execution is not over: figures are as of its last saved state" in done.stderr
    report = told("report", home.config)
    assert report["as_of"]["finished"] is False
    assert report["run"]["status"] == "running"
    assert report["notes"]
    home.live_to_the_end()
    assert told("report", home.config)["notes"] == []


class Leaves:
    """Somebody who has enough behind the first window."""

    def wants(self) -> str:
        return "stop"


def test_a_backtest_that_was_interrupted_says_how_far_it_came(tmp_path: Path) -> None:
    home = Home(tmp_path, toml().replace(f"ticks = {TICKS}", f"ticks = {WINDOW_TICKS + 300}"))
    (prepared,) = prepare(home.config, {})
    execute(prepared, steering=Leaves())
    done = call("report", home.config)
    assert "of its data, and so have all figures. It was interrupted or killed" in done.stderr
    report = told("report", home.config)
    assert report["as_of"]["records_behind"] == 0, "its tables end where its figures do"
    assert 0 < report["task_execution"]["progress"] < 100
    backtest(home)
    assert told("report", home.config)["notes"] == []


OWN = """
from typing import ClassVar
from msgspec import Struct
from tradekeel.strategies.base import NOTHING, Strategy
from tradekeel.strategies.parameters import Parameters


class None_(Struct, frozen=True):
    seen: int = 0


class Mine(Strategy[Parameters, None_]):
    \"\"\"Does nothing.\"\"\"

    kind: ClassVar[str] = "mine"
    Params = Parameters
    State = None_

    def on_tick(self, tick, state, context):
        if tick.position == THROWS_AT:
            raise RuntimeError("no more")
        return state, NOTHING
"""


def own(folder: Path, throws_at: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(OWN.replace("THROWS_AT", str(throws_at)))
    kind = configs.strategy("mine", "a", kind="mine.py:Mine", params="")
    return configs.head() + configs.market(TICKS) + configs.account("a") + kind


def test_of_a_backtest_that_failed_before_anything_was_saved_there_is_no_report(tmp_path: Path) -> None:
    home = Home(tmp_path, own(tmp_path, throws_at=1_000))
    with pytest.raises(InputError, match="threw at tick 1,000"):
        backtest(home)
    done = call("report", home.config)
    assert "there is no execution" in done.stderr, "nothing of it was saved"
    assert "#1 has failed before anything of it was saved: strategy mine threw at tick 1,000" in done.stderr


def test_one_that_failed_unsaved_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    home = Home(tmp_path, own(tmp_path, throws_at=0))
    backtest(home)
    assert call("report", home.config).stderr == ""
    (tmp_path / "mine.py").write_text(OWN.replace("THROWS_AT", "1_000"))
    assert call("backtest", home.config).returncode == 2
    done = call("report", home.config)
    assert done.returncode == 0
    assert "#1 has failed before anything of it was saved: strategy mine threw at tick 1,000" in done.stderr


def beside_another(text: str) -> str:
    """On one account with a strategy that trades, for 4,800 ticks."""
    shared = text.replace('exits = "venue"', 'exits = "monitor"\nshare_instruments = true')
    return shared.replace(f"ticks = {TICKS}", "ticks = 4_800") + configs.strategy("ema", "a")


def test_a_backtest_that_failed_is_kept_behind_the_last_window_that_went_well(tmp_path: Path) -> None:
    sound, thrown = (
        Home(tmp_path / name, beside_another(own(tmp_path / name, throws_at=tick)))
        for name, tick in (("sound", 0), ("thrown", 4_500))
    )
    whole = told("report", "--state", backtest(sound))

    done = call("backtest", thrown.config)

    assert done.returncode == 2
    assert "threw at tick 4,500" in done.stderr
    assert "#1 has failed at 85 % of its data; what it came to until then is kept" in done.stderr
    (row,) = told("backtests", thrown.config)
    assert (row["status"], row["progress_percent"]) == ("failed", 85)
    shown = call("report", thrown.config)
    assert (
        "The backtest has come to 85 % of its data, and so have all figures. It failed: strategy mine threw"
        in shown.stderr
    )
    report = told("report", thrown.config)
    assert report["as_of"]["position"] == 2 * WINDOW_TICKS
    assert 0 < len(report["trades"]) < len(whole["trades"])
    closed = [trade for trade in report["trades"] if trade["status"] == "CLOSED"]
    facts = ("entry_time_ns", "exit_time_ns", "pnl")
    assert [[trade[name] for name in facts] for trade in closed] == [
        [trade[name] for name in facts] for trade in whole["trades"][: len(closed)]
    ]
    assert call("verify", "--state", row["state"]).returncode == 0


def test_a_backtest_keeps_which_code_of_ones_own_it_ran(tmp_path: Path) -> None:
    home = Home(tmp_path, own(tmp_path, throws_at=0))
    backtest(home)
    ran = told("report", home.config)
    (source,) = ran["sources"]
    assert source["sha256"].startswith(ran["task"]["config"]["code"]["mine"])
    assert source["note"] == "It is what ran."

    (tmp_path / "mine.py").write_text((tmp_path / "mine.py").read_text() + "\n# changed\n")
    (source,) = told("report", home.config)["sources"]
    assert "What ran was another one" in source["note"]
    assert ran["task"]["config"]["code"]["mine"] in source["note"]


def test_before_anything_was_saved_there_are_no_figures_and_the_report_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path, toml())
    assert home.live({"recorder:Commit": fail_at(2)}).code == ExitCode.DEFECT
    report = told("report", home.config)
    assert report["figures"] is None
    assert "there are no figures" in report["notes"][0]
    assert call("report", home.config, "--html", tmp_path / "r.html", "--groups", "month").returncode == 0


def test_the_page_is_written_whole_and_in_the_place_of_the_old_one(home: Home, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(BEGINNING + "old")
    assert call("report", home.config, "--html", page).returncode == 0
    assert page.read_text().endswith("</html>\n")
    assert call("report", home.config, "--html", page).returncode == 0, "what was written is a page of ours"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    refused = call("report", home.config, "--html", tmp_path / "missing" / "report.html")
    assert (refused.returncode, "cannot be written" in refused.stderr) == (2, True)


@pytest.fixture
def others(home: Home, tmp_path: Path) -> dict[Path, str]:
    """What a page may not be written over, and what is said of it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "own.html").write_text("<!doctype html>\n<html>mine</html>")
    (tmp_path / "empty").write_text("")
    (tmp_path / "page.html").write_text(BEGINNING)
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    (tmp_path / "nowhere.html").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    no_report = "is there and is no report of ours: nothing else is ever replaced"
    return {
        home.config: no_report,
        home.state / "books.db": no_report,
        tmp_path / "own.html": no_report,
        tmp_path / "empty": no_report,
        tmp_path / "folder": "is a folder",
        tmp_path / "link.html": "is a link",
        tmp_path / "nowhere.html": "is a link",
        tmp_path / "pipe": "is no file",
        tmp_path / "missing" / "x.html": "cannot be written: No such file or directory",
        tmp_path / "empty" / "x.html": "cannot be written: Not a directory",
        tmp_path / ("x" * 300): "cannot be written: File name too long",
    }


def test_a_page_is_written_over_nothing_but_a_page(home: Home, others: dict[Path, str], tmp_path: Path) -> None:
    there = {path: path.lstat() for path in tmp_path.iterdir()}
    config, begun = home.config.read_bytes(), len(told("backtests", home.config))
    for path, why in others.items():
        for command in (("report", home.config, "--html"), ("backtest", home.config, "--report")):
            done = call(*command, path)
            assert (done.returncode, done.stdout) == (2, ""), path
            assert f"{path} {why}" in done.stderr, path
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.iterdir()} == {
        path: stat.st_mtime_ns for path, stat in there.items()
    }
    assert (tmp_path / "link.html").readlink() == tmp_path / "page.html"
    assert home.config.read_bytes() == config
    assert len(told("backtests", home.config)) == begun, "nothing was run"


def test_each_accounts_page_has_its_place_before_any_is_run(tmp_path: Path) -> None:
    home = Home(tmp_path, toml(more=configs.account("b") + configs.strategy("other", "b")))
    (tmp_path / "r-b.html").write_text("mine")
    done = call("backtest", home.config, "--report", tmp_path / "r.html")
    assert (done.returncode, "r-b.html is there and is no report of ours" in done.stderr) == (2, True)
    assert told("backtests", home.config) == []
    (tmp_path / "r.html").write_text("mine, too, and in nobody's way")
    (tmp_path / "r-b.html").unlink()
    assert call("backtest", home.config, "--report", tmp_path / "r.html").returncode == 0
    assert {path.name for path in tmp_path.glob("*.html")} == {"r.html", "r-a.html", "r-b.html"}
    assert (tmp_path / "r.html").read_text() == "mine, too, and in nobody's way"


IN_THE_WAY = """
from pathlib import Path

from msgspec import Struct
from tradekeel.strategies.base import Strategy
from tradekeel.strategies.parameters import Parameters


class Nothing(Struct, frozen=True):
    pass


class InTheWay(Strategy[Parameters, Nothing]):
    Params = Parameters
    State = Nothing

    def on_tick(self, tick, state, context):
        Path(__file__).with_name("page.html").write_text("mine")
        return state, ()
"""


def test_figures_are_shown_where_the_page_cannot_be_written_in_the_end(tmp_path: Path) -> None:
    (tmp_path / "in_the_way.py").write_text(IN_THE_WAY)
    kind = configs.strategy("w", "a", kind="in_the_way.py:InTheWay", params="")
    home = Home(tmp_path, configs.head() + configs.market(TICKS) + configs.account("a") + kind)
    page = home.config.with_name("page.html")
    for words in ((), ("--json",)):
        done = call("backtest", home.config, "--report", page, *words)
        assert done.returncode == 2
        assert f"{page} is there and is no report of ours" in done.stderr
        assert page.read_text() == "mine"
        page.unlink()
        if words:
            assert json.loads(done.stdout)[0]["report"] is None
        else:
            assert "profit and loss" in done.stdout
            assert "books: " in done.stdout
            assert "report: " not in done.stdout


# --- two of them ----------------------------------------------------------------------------------------------------------------


def test_the_daemon_and_the_backtest_traded_the_same(home: Home) -> None:
    done = call("compare", home.state, home.state / "backtests")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the trades are the same" in done.stdout
    found = told("compare", *ids(home), home.config)
    assert found["same_trades"] is True
    assert found["first"]["pnl"] == found["second"]["pnl"]


def test_a_slower_and_dearer_venue_is_explained(home: Home, slow: Home) -> None:
    done = call("compare", home.config, slow.config)
    assert done.returncode == 1
    assert "latency" in done.stdout
    assert "slippage" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    found = told("compare", home.config, slow.config)
    assert found["differing"] > 5
    assert found["pairs"] == found["same"] + found["differing"]
    assert len(found["differences"]) == found["differing"] + found["missing"] + found["extra"]
    by_trade = sum(Decimal(difference["pnl"]) for difference in found["differences"])
    assert by_trade == Decimal(found["pnl"]), "differences add up to the difference"
    assert all(difference["why"] for difference in found["differences"] if difference["kind"] != "differs")


def test_what_the_gate_denied_is_the_reason_that_is_told(home: Home, tmp_path: Path) -> None:
    limits = "[accounts.a.risk]\norders_per_minute = 1\n"
    held = Home(tmp_path, toml(more=limits))
    backtest(held)
    found = told("compare", home.config, held.config)
    missing = [difference for difference in found["differences"] if difference["kind"] == "missing"]
    assert any(why.startswith("denied by") for difference in missing for why in difference["why"])
    made = {trade["trade_id"]: trade for each in ids(home) for trade in told("report", each, home.config)["trades"]}
    shown = call("compare", home.config, held.config, "--limit", "0").stdout
    for each in missing:
        own = Decimal(made[each["first_trade"]]["pnl"])
        assert (Decimal(each["trade_pnl"]), Decimal(each["pnl"])) == (own, -own)
        assert f"missing: ema EUR_USD {each['side']}, pnl {own.normalize():+f}" in shown


def test_one_execution_is_not_compared_with_itself(home: Home) -> None:
    done = call("compare", home.config, home.state)
    assert (done.returncode, "are one execution" in done.stderr) == (2, True)


def test_times_are_told_to_the_nanosecond(home: Home, slow: Home) -> None:
    first = told("compare", home.config, slow.config)["differences"][0]
    assert first["entry"] == iso(first["entry_ns"])


def test_the_benchmark_begins_where_the_figures_do_and_not_with_the_warm_up(tmp_path: Path) -> None:
    home = Home(tmp_path, toml())
    begins = "2024-01-03T13:06:00Z"
    assert call("backtest", home.config, "--start", begins, "--warm-up", "3m").returncode == 0
    report = told("report", home.config)
    first_ns = report["figures"]["first_ns"]
    assert iso(first_ns) >= "2024-01-03T13:06:00"
    assert report["prices"]["EUR_USD"][0]["ts_ns"] < first_ns, "ticks of the warm-up are sampled, too"
    assert report["curve"]["benchmark"][0]["ts_ns"] >= first_ns


# --- archives -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def archived(tmp_path: Path) -> tuple[Home, Any]:
    """A daemon's run beside its backtest, with the report of it as it was before all but its last record was archived."""
    home = Home(tmp_path, toml())
    assert home.live().code == 0
    backtest(home)
    before = told("report", ids(home)[0], home.config)
    assert call("db", "archive", home.config, "--before", "9999-12-31").returncode == 0
    return home, before


def test_what_is_in_archives_is_in_tables_charts_and_comparisons(archived: tuple[Home, Any]) -> None:
    home, before = archived
    assert told("trades", home.config) == [], "the books have none"
    after = told("report", ids(home)[0], home.config)
    assert len(after["trades"]) > 10
    assert after == before

    done = call("compare", home.state, home.state / "backtests")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the trades are the same" in done.stdout


def test_a_backtest_is_told_of_while_the_server_of_the_daemons_books_is_away(tmp_path: Path) -> None:
    """Port 1 of this machine: nobody listens there."""
    away = '[storage]\nurl = "postgresql://nobody@127.0.0.1:1/none"\n'
    head = configs.head().replace("[storage]\n", away)
    home = Home(tmp_path, head + configs.market(2_000) + configs.account("a") + configs.strategy("ema", "a"))
    for _ in range(2):
        assert execute(prepare(home.config, {})[0]).summary is not None
    task = told("backtests", home.config)[0]["task"]
    assert told("report", f"{task}#1", home.config)["name"].startswith(f"{task}#1 ")
    assert call("compare", f"{task}#1", f"{task}#2", home.config).returncode == 0
    for words in (("report", home.config), ("report", "abcdefgh", home.config)):
        done = call(*words)
        assert (done.returncode, "cannot be reached" in done.stderr) == (70, True), done.stderr


def test_a_backtest_that_was_archived_has_its_trades_in_the_list(home: Home, tmp_path: Path) -> None:
    root = tmp_path / "backtests"
    shutil.copytree(home.state / "backtests", root)
    (before,) = told("backtests", "--state", root)
    (folder,) = root.glob("*/1")
    assert call("db", "archive", "--state", folder, "--before", "9999-12-31").returncode == 0
    assert told("trades", "--state", folder) == [], "the books have none"
    (after,) = told("backtests", "--state", root)
    assert (before["trades"] > 10, after) == (True, before)


def test_an_archive_that_is_elsewhere_is_found_in_the_folder_of_archives(archived: tuple[Home, Any]) -> None:
    home, before = archived
    home.state.rename(home.state.with_name("moved"))
    after = told("report", ids_of(before), "--state", home.state.with_name("moved"))
    assert after["trades"] == before["trades"]


def ids_of(report: Any) -> str:
    return str(report["run"]["execution"])


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (Path.unlink, "is not there"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "is not the file that was made"),
    ],
)
def test_an_archive_that_is_missing_or_damaged_is_a_note_and_no_error(
    archived: tuple[Home, Any], tmp_path: Path, harm: Callable[[Path], object], why: str
) -> None:
    home, before = archived
    (file,) = (home.state / "archives").iterdir()
    harm(file)

    page = tmp_path / "report.html"
    done = call("report", ids_of(before), home.config, "--html", page)
    assert done.returncode == 0, done.stderr
    assert f"{file} {why}" in done.stderr
    assert f"tables and charts lack {len(before['trades'])} trades" in done.stderr
    assert "Put an intact copy of the file there" in done.stderr
    assert why in page.read_text()
    report = told("report", ids_of(before), home.config)
    assert report["archived_trades"] == len(before["trades"])
    assert report["figures"] == before["figures"]
    assert report["trades"] == []

    done = call("compare", home.state, home.state / "backtests")
    assert done.returncode == ExitCode.DIFFERENT
    assert why in done.stderr
    assert f": {len(before['trades'])} older trades of " in done.stderr
    assert "were not compared. Put an intact copy of the file there" in done.stderr


def test_trades_that_were_wiped_are_in_no_report_also_where_an_archive_has_them(archived: tuple[Home, Any]) -> None:
    home, before = archived
    assert call("db", "wipe", home.config, "--confirm", "DELETE ALL TRADES").returncode == 0
    report = told("report", ids_of(before), home.config)
    assert (report["trades"], report["archived_trades"]) == ([], 0)
    assert [note for note in report["notes"] if "as behind `tradekeel db wipe`: there are no figures" in note]
    sampled = {symbol: points[:-1] for symbol, points in before["prices"].items()}
    assert report["prices"] == sampled, "the journal stays; the very last prices were those of a saved state"
