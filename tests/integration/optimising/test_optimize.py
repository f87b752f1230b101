"""`tradekeel optimize` as a person uses it: windows, what is out of sample, several machines on one study, kills and refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
import pytest

from tests import cradle
from tests.integration.cli_daemon import Said, call, environment, read_json
from tests.servers.postgres import PostgresServer, connected, without_password
from tradekeel.bootstrap.optimising.stores import StoreSettings, close_store, open_store
from tradekeel.errors import ExitCode

TIMEOUT_S = 240

CONFIG = """
[daemon]
name = "look"
state_dir = "state"

[feeds.m]
kind = "synthetic"
instruments = ["EUR_USD"]
seed = 11
start = "2024-01-02T00:00:00Z"
ticks = {ticks}
interval_ms = 60000
volatility = "0.4"
spread_pips = "0.6"

[accounts.a]
venue = "paper"
feed = "m"
leverage = 30

[strategies.ema]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]

[strategies.ema.params]
fast = 3            # quick
stop_loss_pips = 30

[optimize]
objective = {objective}
windows = 2
beat_every_s = 0.5
{more}

[optimize.parameters.ema]
fast = {{ from = 5, to = 20, step = 5 }}
slow = {{ from = 15, to = 45, step = 15 }}
"""
POINTS = 10
"""Of the twelve, fast = 15 and 20 with slow = 15 are refused by the strategy."""


def written(
    folder: Path, *, ticks: int = 700, objective: str = '"total_pnl"', more: str = "trials = 5", name: str = "look"
) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(CONFIG.format(ticks=ticks, objective=objective, more=more))
    return path


def optimize(*words: str | Path) -> Said:
    """The command in the tests' own process; its workers are processes all the same."""
    return call("optimize", *words)


def told(done: Said) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@contextmanager
def started(*words: str | Path, **extra: str) -> Iterator[subprocess.Popen[str]]:
    asked = ["tradekeel", "optimize", *map(str, words)]
    process = cradle.begin(asked, loaded=cradle.STUDIES, env=environment(**extra), **cradle.HEARD)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    answer: dict[str, Any] = json.loads(out)
    return answer


def are_made(url: str) -> bool:
    """Whether there are tables there, all of them: of two who make them at the same time, Optuna leaves one with a connection."""
    if not url.startswith("postgresql"):
        return True
    with connected(url) as db:
        begun = db.execute("SELECT to_regclass('alembic_version')").fetchone() != (None,)
        return begun and db.execute("SELECT FROM alembic_version").fetchone() is not None


def states(url: str, folder: Path) -> list[str]:
    """The states of all trials of all studies there."""
    try:
        if not are_made(url):
            return []
        store = open_store(StoreSettings(url, None, folder))
    except Exception:  # its file is being made
        return []
    try:
        names = optuna.get_all_study_names(store)
        return [
            each.state.name for name in names for each in optuna.load_study(study_name=name, storage=store).get_trials()
        ]
    finally:
        close_store(store)


def until_complete(process: subprocess.Popen[str], url: str, count: int, folder: Path = Path("unused")) -> None:
    while states(url, folder).count("COMPLETE") < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def refuse_repeats(found: dict[str, Any]) -> None:
    """No two trials of a window that came to an end have the same parameters."""
    for window in found["windows"]:
        over = [each for each in window["trials"] if each["status"] in ("complete", "pruned", "failed")]
        counted = Counter(json.dumps(each["parameters"], sort_keys=True) for each in over)
        assert set(counted.values()) == {1}, counted


# --- windows, and what is out of sample -----------------------------------------------------------------------------------


def test_it_walks_forward_and_writes_what_it_found(tmp_path: Path) -> None:
    config = written(tmp_path)
    found = told(optimize(config, "--jobs", "1", "--json", "--write", tmp_path / "found.toml"))
    assert found["completed"]
    assert found["walk_forward"]
    assert [each["number"] for each in found["windows"]] == [1, 2]
    for window in found["windows"]:
        assert window["in_sample"]["end"] == window["out_of_sample"]["start"]
        best = max(window["trials"], key=lambda each: float(each["figures"]["total_pnl"]))
        assert window["best"]["figures"] == best["figures"]
        assert window["in_sample_figures"]["total_pnl"] == best["figures"]["total_pnl"], "it is the same run"
    trades = sum(each["out_of_sample_trades"] for each in found["windows"])
    assert found["out_of_sample"]["trades"] == trades > 0
    text = (tmp_path / "found.toml").read_text()
    assert "# quick" in text
    params = tomllib.loads(text)["strategies"]["ema"]["params"]
    assert {f"ema.{name}": params[name] for name in ("fast", "slow")} == found["parameters"]

    again = optimize(config, "--jobs", "1")
    for line in (
        "window 2: in sample",
        "5 complete\n",
        "out of sample, window by window",
        "together: return",
        "closed trades: ",
    ):
        assert line in again.stdout
    more = told(optimize(config, "--jobs", "1", "--json", "--trials", "7"))
    assert [len(each["trials"]) for each in more["windows"]] == [7, 7]
    assert [each["trials"][:5] for each in more["windows"]] == [each["trials"] for each in found["windows"]]
    assert more["study"] == found["study"]


def test_jobs_of_nought_are_one_for_each_core_as_in_the_file(tmp_path: Path) -> None:
    config = written(tmp_path, ticks=400, more="trials = 1\njobs = 1")
    assert told(optimize(config, "--no-walk-forward", "--json", "--jobs", "0"))["jobs"] == len(os.sched_getaffinity(0))
    refused = optimize(config, "--jobs", "-1")
    assert (refused.returncode, "--jobs -1: it must be from 0 to" in refused.stderr) == (2, True), refused.stderr


def test_the_best_trial_is_what_a_backtest_of_its_file_comes_to(tmp_path: Path) -> None:
    config = written(tmp_path, more="trials = 3")
    done = optimize(config, "--jobs", "1", "--no-walk-forward", "--json", "--write", tmp_path / "found.toml")
    found = told(done)
    (backtest,) = read_json("backtest", tmp_path / "found.toml")
    best = found["windows"][0]["best"]
    assert backtest["account"]["trades_closed"] == best["trades"]
    assert float(backtest["account"]["pnl"]) == float(best["figures"]["pnl"])


def test_with_a_warm_up_it_still_is_what_a_backtest_comes_to(tmp_path: Path) -> None:
    cold = told(optimize(written(tmp_path, more="trials = 3", name="cold"), "--jobs", "1", "--json"))["windows"][1]
    config = written(tmp_path, more='trials = 3\nwarm_up = "2h"')
    window = told(optimize(config, "--jobs", "1", "--json", "--write", tmp_path / "found.toml"))["windows"][1]
    outside = window["out_of_sample"]

    stretch = ("--start", outside["start"], "--end", outside["end"], "--warm-up", "2h")
    (backtest,) = read_json("backtest", tmp_path / "found.toml", *stretch)
    assert backtest["account"]["trades_closed"] == window["out_of_sample_trades"] > 0
    assert float(backtest["account"]["pnl"]) == float(window["out_of_sample_figures"]["pnl"])
    returned = backtest["figures"]["returns"]["total_return_percent"]
    assert returned == window["out_of_sample_figures"]["total_return_percent"], "its last tick is there, too"
    assert window["in_sample"] == cold["in_sample"], "parts are as they were"
    assert figures(window) != figures(cold)


def figures(window: dict[str, Any]) -> list[object]:
    return [(each["parameters"], each["figures"]) for each in window["trials"]]


LEAKY = """
from tradekeel.strategies.ema_cross import EmaCross


class Leaky(EmaCross):
    runs = [0]

    def on_start(self, event, state, context):
        self.runs[0] += 1
        return super().on_start(event, state, context)

    def on_tick(self, tick, state, context):
        state, requests = super().on_tick(tick, state, context)
        return state, (requests if self.runs[0] % 3 else ())
"""


def test_a_strategy_that_keeps_something_from_trial_to_trial_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY)
    config = written(tmp_path, more="trials = 2")
    sound = told(optimize(config, "--jobs", "1", "--json", "--no-walk-forward"))
    config.write_text(config.read_text().replace('kind = "ema_cross"', 'kind = "leaky.py:Leaky"'))
    leaky = optimize(config, "--jobs", "1", "--no-walk-forward")
    assert leaky.returncode == 0
    assert "the best trial of window 1 came to something else when it was run again" in leaky.stderr
    assert [each["best_again_is_the_same"] for each in sound["windows"]] == [True]
    leaky = optimize(config, "--jobs", "1", "--no-walk-forward", "--json")
    assert [each["best_again_is_the_same"] for each in told(leaky)["windows"]] == [False]


def test_two_objectives_have_a_front_and_a_table(tmp_path: Path) -> None:
    config = written(tmp_path, objective='["total_pnl", "max_drawdown_percent"]', more="trials = 6")
    done = optimize(config, "--jobs", "1", "--no-walk-forward")
    assert done.returncode == 0, done.stderr
    assert "sampler nsga2" in done.stdout
    assert "the front of" in done.stdout
    assert "[strategies.ema.params]" in done.stdout


def test_a_grid_has_every_point_that_the_strategy_takes_and_pruned_trials_say_where(tmp_path: Path) -> None:
    config = written(tmp_path, more='sampler = "grid"\npruner = "halving"')
    found = told(optimize(config, "--jobs", "1", "--no-walk-forward", "--json"))
    trials = found["windows"][0]["trials"]
    assert len(trials) == found["trials_a_window"] == POINTS
    refuse_repeats(found)
    pruned = [each for each in trials if each["status"] == "pruned"]
    assert pruned
    assert all(each["why"].startswith("pruned at ") for each in pruned)


def test_a_stretch_that_is_exhausted_shows_its_trials_and_nothing_else(tmp_path: Path) -> None:
    config = written(tmp_path, ticks=400, more="trials = 40")
    text = config.read_text().split("[optimize.parameters.ema]")[0]
    config.write_text(text + '[optimize.parameters.ema]\nstop_loss_pips = { from = "30", to = "30.0004" }\n')
    words = (config, "--jobs", "2", "--no-walk-forward", "--json")
    for _ in range(2):
        (window,) = told(optimize(*words))["windows"]
        tried = [each for each in window["trials"] if each["status"] != "gave_way"]
        assert [each["status"] for each in tried] == ["complete"] * 5
        assert {each["parameters"]["ema.stop_loss_pips"] for each in tried} == {
            "30.0",
            *(f"30.000{n}" for n in range(1, 5)),
        }
        assert all(each["parameters"] for each in window["trials"])


def test_a_figure_that_is_undefined_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    config = written(tmp_path, ticks=300, objective='"value_at_risk_percent"', more="trials = 2")
    done = optimize(config, "--jobs", "1", "--no-walk-forward")
    assert "value_at_risk_percent is undefined" in done.stdout
    (window,) = json.loads(optimize(config, "--jobs", "1", "--no-walk-forward", "--json").stdout)["windows"]
    assert window["why_nothing_out_of_sample"] == "no trial has a figure"


def test_one_of_which_every_trial_failed_ends_as_a_failure_and_one_that_found_something_as_done(tmp_path: Path) -> None:
    words = ("--jobs", "1", "--no-walk-forward")
    done = optimize(written(tmp_path, ticks=300, objective='"value_at_risk_percent"', more="trials = 2"), *words)
    assert done.returncode == ExitCode.BAD_USAGE
    assert "no trial has a figure, so nothing was found: value_at_risk_percent is undefined after" in done.stderr
    again = optimize(tmp_path / "look.toml", *words, "--json")
    assert (again.returncode, json.loads(again.stdout)["completed"]) == (ExitCode.BAD_USAGE, True)

    picky = written(tmp_path, more=f"trials = {POINTS}\ntrades_min = 38", name="picky")
    found = told(optimize(picky, *words, "--json"))
    assert {each["status"] for each in found["windows"][0]["trials"]} == {"complete", "failed"}
    assert told(optimize(picky, *words, "--json"))["windows"] == found["windows"], "gone on with it is the same"


def test_where_nothing_can_be_written_that_is_said_before_the_work_and_where_nothing_was_found_behind_it(
    tmp_path: Path,
) -> None:
    config = written(tmp_path, ticks=300, objective='"value_at_risk_percent"', more="trials = 2")
    done = optimize(config, "--jobs", "1", "--no-walk-forward", "--write", config)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert not (tmp_path / "state").exists()
    done = optimize(config, "--jobs", "1", "--no-walk-forward", "--write", tmp_path / "found.toml")
    assert done.returncode == ExitCode.BAD_USAGE
    assert "found.toml was not written: no trial of the last window has a figure" in done.stderr


# --- several processes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_two_commands_on_one_server_share_the_trials_and_a_kill_loses_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    one, other = tmp_path / "one", tmp_path / "other"
    configs = []
    for folder in (one, other):
        folder.mkdir()
        configs.append(written(folder, ticks=3_000, more='sampler = "grid"'))
    words = ("--jobs", "1", "--no-walk-forward", "--json", "--study", "ours", "--storage", without_password(url))
    extra = {"TRADEKEEL_STUDY_PASSWORD": urlsplit(url).password or ""}
    with started(configs[0], *words, **extra) as first:
        until_complete(first, url, 2, Path("ours"))
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with started(configs[1], *words, **extra) as second, started(configs[0], *words, **extra) as resumed:
        answers = ended(second), ended(resumed)
    for found in answers:
        trials = found["windows"][0]["trials"]
        assert sum(1 for each in trials if each["status"] == "complete") == POINTS
        refuse_repeats(found)
    assert answers[0]["windows"][0]["trials"] == answers[1]["windows"][0]["trials"]


def test_ctrl_c_ends_it_well_and_the_same_command_goes_on(tmp_path: Path) -> None:
    config = written(tmp_path, ticks=3_000, more='sampler = "grid"\nstudy = "mine"')
    folder = tmp_path / "state" / "optimizations" / "mine window 1"
    words = (config, "--jobs", "2", "--no-walk-forward")
    with started(*words) as process:
        while not (tmp_path / "state" / "optimizations" / "mine" / "study.db").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        until_complete(process, "", 1, folder.with_name("mine"))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 7, err
    assert "complete" in out, "what there is by then is shown"
    assert "the same command goes on with it" in err
    assert "RUNNING" not in states("", folder.with_name("mine"))
    found = told(optimize(*words, "--json"))
    assert found["completed"]
    refuse_repeats(found)


def test_a_server_that_dies_ends_it_and_the_same_command_goes_on(
    tmp_path: Path, own_postgres: Callable[..., PostgresServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_postgres()
    url = server.new_database()
    config = written(tmp_path, ticks=3_000, more='sampler = "grid"')
    words = (config, "--jobs", "1", "--no-walk-forward", "--json", "--storage", without_password(url))
    password = {"TRADEKEEL_STUDY_PASSWORD": urlsplit(url).password or ""}
    with started(*words, **password) as process:
        until_complete(process, url, 1)
        server.kill()
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 70
    assert "does not answer" in err
    assert "the same command goes on when it does" in err
    server.start()
    monkeypatch.setenv("TRADEKEEL_STUDY_PASSWORD", "another")
    refused = optimize(*words)
    assert refused.returncode == 2
    assert "does not let us in" in refused.stderr
    monkeypatch.setenv("TRADEKEEL_STUDY_PASSWORD", password["TRADEKEEL_STUDY_PASSWORD"])
    found = told(optimize(*words))
    assert sum(1 for each in found["windows"][0]["trials"] if each["status"] == "complete") == POINTS
    refuse_repeats(found)


# --- what is refused ------------------------------------------------------------------------------------------------------


def test_another_configuration_does_not_join_under_the_same_name(tmp_path: Path) -> None:
    config = written(tmp_path, ticks=400, more='trials = 1\nstudy = "mine"')
    told(optimize(config, "--jobs", "1", "--no-walk-forward", "--json"))
    written(tmp_path, ticks=401, more='trials = 1\nstudy = "mine"')
    done = optimize(config, "--jobs", "1", "--no-walk-forward")
    assert done.returncode == 2
    assert "was made from look.toml with another data" in done.stderr


CHANGING = """
from pathlib import Path
from tradekeel.strategies.ema_cross import EmaCross

with Path(__file__).open("a") as file:
    file.write("# changed again\\n")

class Mine(EmaCross):
    pass
"""


def test_code_that_changes_while_workers_begin_is_not_tried_under_another_name(tmp_path: Path) -> None:
    config = written(tmp_path, ticks=400, more="trials = 1")
    (tmp_path / "mine.py").write_text(CHANGING)
    config.write_text(config.read_text().replace('kind = "ema_cross"', 'kind = "mine.py:Mine"'))
    done = optimize(config, "--jobs", "1", "--no-walk-forward")
    assert done.returncode == 2
    assert "something changed while it was read (strategies)" in done.stderr


def test_the_password_of_the_section_is_fetched_for_a_server_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(tmp_path, ticks=400, more='trials = 1\npassword = { env = "OF_THE_STUDY" }')
    assert optimize(config, "--jobs", "1", "--no-walk-forward").returncode == 0
    storage = ("--storage", "postgresql://me@127.0.0.1:1/books")
    done = optimize(config, *storage)
    assert done.returncode == 2
    assert "optimize.password: the environment has no variable OF_THE_STUDY" in done.stderr
    monkeypatch.setenv("OF_THE_STUDY", "hunter2-hunter2")
    done = optimize(config, *storage)
    assert done.returncode == 70
    assert "hunter2" not in done.stderr


def test_a_server_that_is_not_there_is_said_so_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(tmp_path, ticks=400)
    monkeypatch.setenv("TRADEKEEL_STUDY_PASSWORD", "hunter2")
    for url in ("postgresql://me@127.0.0.1:1/books", "redis://127.0.0.1:1/0"):
        done = optimize(config, "--storage", url)
        assert done.returncode == 70
        assert "127.0.0.1:1" in done.stderr
        assert "hunter2" not in done.stderr
        assert "a bug of ours" not in done.stderr


def test_without_optuna_the_extra_is_named(tmp_path: Path) -> None:
    config = written(tmp_path, ticks=400)
    program = "import sys; sys.modules['optuna'] = None; from tradekeel.cli.app import dispatch; sys.exit(dispatch(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "optimize", config],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'tradekeel[optimize]'" in done.stderr


def test_a_configuration_without_ranges_is_told_what_to_write(tmp_path: Path) -> None:
    config = written(tmp_path)
    config.write_text(config.read_text().split("[optimize]")[0])
    done = optimize(config)
    assert done.returncode == 2
    assert "[optimize.parameters.STRATEGY]" in done.stderr


def test_who_looks_within_the_bars_of_the_data_is_named_with_what_was_found(tmp_path: Path) -> None:
    prices = [1.1 + (hour * 7 % 41) / 1e4 for hour in range(96)]
    rows = [
        f"2024-01-{2 + hour // 24:02d}T{hour % 24:02d}:00,{price:.4f},{price + 0.001:.4f},{price - 0.001:.4f},{price:.4f}"
        for hour, price in enumerate(prices)
    ]
    (tmp_path / "bars.csv").write_text("\n".join(["time,open,high,low,close", *rows, ""]))
    path = written(tmp_path, more='trials = 2\nsampler = "random"\nwalk_forward = false')
    feed = 'kind = "file"\npath = "bars.csv"\ninstrument = "EUR_USD"\nbars = { span = "1h", spread_pips = 1 }\n'
    head, rest = path.read_text().split('kind = "synthetic"')
    path.write_text(head + feed + "\n[accounts.a]" + rest.split("[accounts.a]")[1])
    done = optimize(path)
    assert done.returncode == 0, done.stderr
    assert "strategy ema decides on every tick, and feed m makes its ticks up from bars of 1h" in done.stderr
    assert told(optimize(path, "--json"))["within_bars"] == [
        {"strategy": "ema", "feed": "m", "span": "1h", "timeframe": ""}
    ]
