"""`tradekeel backtest` as a person uses it: run, interrupted, killed, gone on with, begun anew, listed."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests import cradle
from tests.campaigns.kill.reading import reading
from tests.integration.cli_daemon import Said, call, environment
from tests.scenarios import support_configs as configs
from tradekeel.domain.times import iso

COMMAND_TIMEOUT_S = 120
LONG = 200_000
"""Ticks for some seconds: time enough to interrupt it."""


def configuration(folder: Path, *, ticks: int = 2_000, accounts: int = 1) -> Path:
    """A market that is made up, and accounts that trade it."""
    parts = [configs.head(), configs.market(ticks)]
    for number in range(accounts):
        name = f"a{number}"
        params = 'timeframe = "30s", fast = 3, slow = 9' if ticks == LONG else configs.EMA
        parts += [configs.account(name), configs.strategy(f"ema-{number}", name, params=params)]
    path = folder / "backtest.toml"
    path.write_text("".join(parts).replace("{state}", str(folder / "state")))
    return path


def begun(*words: str | Path) -> subprocess.Popen[str]:
    return cradle.begin(["tradekeel", *map(str, words)], loaded=cradle.COMMANDS, env=environment(), **cradle.HEARD)


def tradekeel(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return cradle.to_its_end(begun(*words), COMMAND_TIMEOUT_S)


@contextmanager
def started(config: Path, books: Path) -> Iterator[subprocess.Popen[str]]:
    """A backtest that is under way: its books are there."""
    process = begun("backtest", config)
    try:
        while status_in(books) != "running":
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.communicate()


def status_in(books: Path) -> str | None:
    """How the only execution stands, as far as that is on the disk."""
    for path in books.glob("*/*/books.db"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db, suppress(sqlite3.OperationalError):
            for (status,) in db.execute("SELECT status FROM task_executions"):
                return str(status)
    return None


def listed(config: Path) -> list[dict[str, Any]]:
    done = tradekeel("backtests", config, "--json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def told(done: subprocess.CompletedProcess[str] | Said) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def journal(folder: str) -> list[tuple[Any, ...]]:
    """All records of an execution, byte for byte."""
    with reading(Path(folder) / "books.db") as ask:
        return [tuple(row.values()) for row in ask("SELECT * FROM journal ORDER BY sequence")]


def test_each_account_is_run_and_its_books_agree(tmp_path: Path) -> None:
    config = configuration(tmp_path, accounts=2)

    done = told(tradekeel("backtest", config, "--json"))

    assert [(each["name"], each["status"], each["number"]) for each in done] == [
        ("scenario/a0", "completed", 1),
        ("scenario/a1", "completed", 1),
    ]
    for each in done:
        assert each["account"]["trades_closed"] > 0
        assert tradekeel("verify", "--state", each["state"]).returncode == 0
        assert "EUR_USD" in tradekeel("trades", "--state", each["state"]).stdout
    assert "completed" in tradekeel("backtest", config, "--account", "a0").stdout


THROWS = """
from msgspec import Struct
from tradekeel.strategies.base import Strategy
from tradekeel.strategies.parameters import Parameters


class Nothing(Struct, frozen=True):
    seen: int = 0


class Throws(Strategy[Parameters, Nothing]):
    Params = Parameters
    State = Nothing

    def on_tick(self, tick, state, context):
        raise ValueError("no more")
"""


def test_where_one_account_fails_those_before_it_are_shown(tmp_path: Path) -> None:
    config = configuration(tmp_path, accounts=3)
    (tmp_path / "throws.py").write_text(THROWS)
    throws = configs.strategy("ema-1", "a1", kind="throws.py:Throws", params="")
    config.write_text(config.read_text().replace(configs.strategy("ema-1", "a1"), throws))

    shown, as_json = (call("backtest", config, *words) for words in ((), ("--json",)))

    assert [shown.returncode, as_json.returncode] == [2, 2]
    assert "scenario/a0: backtest" in shown.stdout
    assert "no more" in shown.stderr
    assert "no more" in as_json.stderr
    assert [each["name"] for each in json.loads(as_json.stdout)] == ["scenario/a0"]
    rows = {row["name"]: row["status"] for row in listed(config)}
    assert rows == {"scenario/a0": "completed", "scenario/a1": "failed"}


def test_a_warm_up_is_read_and_not_traded(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    (whole,) = told(tradekeel("backtest", config, "--json"))
    span = ("--start", "2024-01-03T13:10:00Z")
    (cold,) = told(tradekeel("backtest", config, "--json", *span))
    (warm,) = told(tradekeel("backtest", config, "--json", *span, "--warm-up", "5m"))
    assert cold["ticks"] < warm["ticks"] < whole["ticks"]
    assert len({each["task"] for each in (whole, cold, warm)}) == 3
    trades = json.loads(tradekeel("trades", "--state", warm["state"], "--json", "--limit", "0").stdout)
    assert trades
    assert min(trade["entry_time_ns"] for trade in trades) >= 1704287400 * 10**9
    begins_ns = 1704287400 * 10**9
    assert (cold["warm_up"], warm["warm_up"]["asked_from_ns"]) == (None, begins_ns - 300 * 10**9)
    assert (warm["warm_up"]["ticks"], warm["warm_up"]["is_short"]) == (warm["ticks"] - cold["ticks"], False)
    assert 0 <= warm["warm_up"]["from_ns"] - warm["warm_up"]["asked_from_ns"] < 30 * 10**9
    first_ns = json.loads(tradekeel("report", whole["state"], "--json").stdout)["figures"]["first_ns"]
    for start in ("2024-01-01", iso(first_ns)):
        done = tradekeel("backtest", config, "--start", start, "--warm-up", "5m")
        assert done.returncode == 0
        assert "there was nothing to warm strategies up with" in done.stderr
        assert "warm-up:" not in done.stdout


def test_a_warm_up_that_is_only_partly_there_is_said(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    span = ("--start", "2024-01-03T13:10:00Z", "--warm-up")
    done = tradekeel("backtest", config, *span, "2h")
    assert done.returncode == 0, done.stderr
    assert "the warm-up is shorter than asked for: the data begins at 2024-01-03 13:00:0" in done.stderr
    assert ", and not at 2024-01-03 11:10:00" in done.stderr
    assert re.search(r"warm-up: [\d,]+ ticks before the start, from 2024-01-03 13:00:0\d on", done.stdout)
    done = tradekeel("backtest", config, *span, "10m")
    assert "warm-up: " in done.stdout
    assert "shorter" not in done.stderr
    (short,) = told(tradekeel("backtest", config, *span, "2h", "--json"))
    assert short["warm_up"]["is_short"]
    assert short["warm_up"]["from_ns"] >= 1704286800 * 10**9


def test_the_list_tells_one_from_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(tmp_path)
    found = tmp_path / "found.toml"
    found.write_text(config.read_text().replace(configs.EMA, configs.EMA.replace("fast = 8", "fast = 9")))
    span = ("--start", "2024-01-03T13:10:00Z", "--end", "2024-01-04")
    ran = [told(call("backtest", each, "--json", *words))[0] for each, *words in ((config,), (found, *span), (config,))]

    rows = told(call("backtests", config, "--json"))

    assert [(row["task"], row["number"]) for row in rows] == [(each["task"][:12], each["number"]) for each in ran]
    assert [Path(row["config"]) for row in rows] == [config, found, config]
    assert [row["started_ns"] for row in rows] == sorted(row["started_ns"] for row in rows)
    assert rows[0]["started"] == iso(rows[0]["started_ns"])
    assert [row["since"] for row in rows] == [None, "2024-01-03T13:10:00.000000000Z", None]
    for row, each in zip(rows, ran, strict=True):
        assert (row["end_balance"], row["trades"]) == (each["account"]["balance"], each["account"]["trades_closed"])
        assert row["first_ns"] < row["last_ns"]
    monkeypatch.setenv("COLUMNS", "100")
    lines = call("backtests", config).stdout.splitlines()
    assert all(len(line) <= 100 for line in lines), lines
    assert [line.split()[4] for line in lines[2:]] == ["backtest.toml", "found.toml", "backtest.toml"]
    assert "01-03 13:10 – 01-04" in lines[3]
    assert "came to" in lines[0]


def test_the_key_figures_say_of_which_file_and_stretch_they_are(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    done = call("backtest", config, "--start", "2024-01-03T13:10:00Z", "--warm-up", "5m", "--balance", "5000")
    for shown in (done, call("report", config)):
        lines = [line.strip() for line in shown.stdout.splitlines()]
        told_of = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in lines}
        assert told_of["configuration"] == "backtest.toml"
        (row,) = told(call("backtests", config, "--json"))
        assert told_of["ticks (UTC)"].startswith("2024-01-03 13:10:0")
        assert told_of["ticks (UTC)"].endswith(f" to {row['last'][:19].replace('T', ' ')}")
        assert told_of["asked for"] == "from 2024-01-03 13:10:00, warm-up 5m"
        assert told_of["began with"] == "5000 USD"
        assert told_of["balance"].endswith(" USD")


def test_a_report_is_of_the_file_that_is_named_and_says_what_else_there_is(tmp_path: Path) -> None:
    config = configuration(tmp_path, accounts=2)
    found = tmp_path / "found.toml"
    found.write_text(config.read_text().replace(configs.EMA, configs.EMA.replace("fast = 8", "fast = 9")))
    ours = told(call("backtest", config, "--json"))
    theirs = told(call("backtest", found, "--json"))  # in the same state directory, and newer

    for file, ran in ((config, ours), (found, theirs)):
        done = call("report", file, "--json")
        assert json.loads(done.stdout)["run"]["execution"] == ran[1]["execution"]
        assert "is the newest; there is also account a0: --account NAME says which is meant" in done.stderr
        done = call("report", file, "--account", "a0", "--json")
        assert json.loads(done.stdout)["run"]["execution"] == ran[0]["execution"]
        assert done.stderr == ""
    copy = tmp_path / "copy.toml"
    copy.write_text(config.read_text())
    done = call("report", copy, "--account", "a0")
    assert done.returncode == 0
    assert f"is of {found}: there is none of {copy}" in done.stderr


def test_two_are_compared_on_the_same_account(tmp_path: Path) -> None:
    config = configuration(tmp_path, accounts=2)
    found = tmp_path / "found.toml"
    found.write_text(config.read_text().replace(configs.EMA, configs.EMA.replace("fast = 8", "fast = 9")))
    ours = told(call("backtest", config, "--json"))
    theirs = told(call("backtest", found, "--json"))
    told(call("backtest", found, "--account", "a0", "--json"))

    def names(*words: str | Path) -> tuple[str, str]:
        compared = json.loads(call("compare", *words, "--json").stdout)
        return compared["first"]["name"].partition("#")[0], compared["second"]["name"].partition("#")[0]

    def of(account: int) -> tuple[str, str]:
        return ours[account]["task"][:12], theirs[account]["task"][:12]

    assert names(config, found) == of(1), "that of the first, though another one is newer in the second"
    assert names(config, found, "--account", "a0") == of(0)
    assert names(config, theirs[0]["task"][:12], config) == of(0), "that of an id"
    done = call("compare", config, found)
    assert done.stderr.count("there is also account a0: --account NAME says which is meant") == 1
    assert f"{config}: " in done.stderr


def test_who_looks_for_the_books_of_a_daemon_is_pointed_to_the_backtests(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    none = call("trades", config)
    assert (none.returncode, "backtests" in none.stderr) == (2, False), none.stderr
    (done,) = told(call("backtest", config, "--json"))
    folder = tmp_path / "state" / "backtests"
    for name in ("trades", "orders", "positions"):
        pointed = call(name, config)
        assert pointed.returncode == 2
        assert f"`tradekeel backtests {config}` lists them, and --state {folder}/TASK/NUMBER" in pointed.stderr
    assert f"`tradekeel backtests --state {folder}`" in call("trades", "--state", tmp_path / "state").stderr
    assert call("backtests", "--state", folder).returncode == 0
    assert call("trades", "--state", done["state"]).returncode == 0


def test_run_again_it_is_the_next_execution_with_the_same_journal(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    (first,), (second,) = (told(tradekeel("backtest", config, "--json")) for _ in range(2))
    assert [first["number"], second["number"]] == [1, 2]
    assert first["execution"] == second["execution"]
    assert journal(first["state"]) == journal(second["state"])
    assert [(row["number"], row["status"]) for row in listed(config)] == [(1, "completed"), (2, "completed")]


def test_one_that_is_interrupted_is_gone_on_with_and_comes_to_the_same(tmp_path: Path) -> None:
    config = configuration(tmp_path, ticks=LONG)
    with started(config, tmp_path / "state" / "backtests") as process:
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert process.returncode == 7, complaints
    assert "is paused" in said
    assert "the same command goes on with it" in complaints
    assert [row["status"] for row in listed(config)] == ["paused"]

    (resumed,) = told(tradekeel("backtest", config, "--json"))
    (anew,) = told(tradekeel("backtest", config, "--json"))

    assert resumed["number"] == 1
    assert resumed["resumed_behind_tick"] > 0
    assert anew["resumed_behind_tick"] == 0
    assert journal(resumed["state"]) == journal(anew["state"])


def test_one_that_is_killed_is_gone_on_with_or_begun_anew(tmp_path: Path) -> None:
    config = configuration(tmp_path, ticks=LONG)
    with started(config, tmp_path / "state" / "backtests") as process:
        process.send_signal(signal.SIGSTOP)  # it is there for as long as the others take
        second = tradekeel("backtest", config)
        assert second.returncode == 6, second
        assert "one process at a time" in second.stderr
        anew_beside = tradekeel("backtest", config, "--restart")
        assert anew_beside.returncode == 6, anew_beside
        assert "#1: it is being run: one process at a time" in anew_beside.stderr
        process.kill()
        process.wait()
    assert [(row["status"], row["alive"]) for row in listed(config)] == [("running", False)]
    assert "killed" in tradekeel("backtests", config).stdout

    (anew,) = told(tradekeel("backtest", config, "--restart", "--json"))

    assert anew["number"] == 2
    assert [row["status"] for row in listed(config)] == ["stopped", "completed"]


def test_a_pause_waits_until_somebody_lets_it_go_on(tmp_path: Path) -> None:
    config = configuration(tmp_path, ticks=LONG)
    with started(config, tmp_path / "state" / "backtests") as process:
        process.send_signal(signal.SIGUSR1)
        while status_in(tmp_path / "state" / "backtests") != "paused":
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGUSR2)
        process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert process.returncode == 0
    assert [row["status"] for row in listed(config)] == ["completed"]


def test_what_cannot_be_tested_is_said(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    for words, sentence in (
        (["--account", "nobody"], "there is no account 'nobody'; there are: a0"),
        (["--balance", "-5"], "it must be above zero"),
        (["--balance", "many"], "is not a decimal number"),
        (["--start", "2024-01-04", "--end", "2024-01-03"], "is not before"),
        (["--start", "2031-01-01"], ": nothing can be tested on it"),
        (["--start", "2031-01-01", "--warm-up", "500w"], "ends before the start, 2031-01-01T00:00:00"),
        (["--warm-up", "2h"], "say where that is, with --start"),
        (["--warm-up", "soon", "--start", "2024-01-03"], "'soon' is not how long"),
    ):
        done = tradekeel("backtest", config, *words)
        assert done.returncode == 2, (words, done)
        assert sentence in done.stderr
    config.write_text(config.read_text().replace("seed = 11", "seed = 11\nlive = true"))
    done = tradekeel("backtest", config)
    assert done.returncode == 2
    assert "cannot be replayed" in done.stderr
