"""`tradekeel analyze` as a person uses it: strategies that do what none should are found out, each by what it does."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.integration.backtest import suspects
from tests.integration.cli_daemon import Said, call, environment, minding
from tests.scenarios import support_configs as configs
from tradekeel.backtest.analysing.asked import Asked, Run
from tradekeel.bootstrap.analysisruns import ENCODER, Job, Watch, perform
from tradekeel.errors import ExitCode
from tradekeel.feeds.zones import parse_instant

TICKS = 300
TIMEOUT_S = 120
PROGRAM = (sys.executable, "-m", "tradekeel", "analyze")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded market, and the suspects beside it."""
    place = tmp_path_factory.mktemp("analysis")
    draw, mid, at = random.Random("analysis"), 110_000, datetime(2024, 1, 3, 13, tzinfo=UTC)
    rows = ["time,bid,ask"]
    for _ in range(TICKS):
        mid += draw.randint(-14, 14)
        at += timedelta(milliseconds=1_000 + draw.randint(0, 999))
        rows.append(f"{at:%Y-%m-%dT%H:%M:%S.%f}Z,{mid / 1e5:.5f},{(mid + 8) / 1e5:.5f}")
    (place / "ticks.csv").write_text("\n".join(rows) + "\n")
    shutil.copy(suspects.__file__, place / "suspects.py")
    return place


def configuration(folder: Path, *strategies: str) -> Path:
    """Suspects on an account, where none is in the way of another; ``Name/5`` decides at other moments."""
    text = """
[daemon]
name = "suspects"
state_dir = "state"

[feeds.recorded]
kind = "file"
path = "ticks.csv"
instrument = "EUR_USD"

[accounts.paper]
venue = "paper"
feed = "recorded"
hedging = true
balance = "1000000"
"""
    for each in strategies:
        name, _, every = each.partition("/")
        text += f"""
[strategies.{name.lower()}]
kind = "suspects.py:{name}"
account = "paper"
instruments = ["EUR_USD"]
params = {{ path = "{folder}/ticks.csv", every = {every or suspects.EVERY} }}
"""
    path = folder / f"{strategies[-1].partition('/')[0].lower()}.toml"
    path.write_text(text)
    return path


def analyze(config: Path, *words: str) -> Said:
    return call("analyze", config, *words)


def found(config: Path, code: int, *words: str) -> dict[str, Any]:
    done = analyze(config, "--json", *words)
    assert done.returncode == code, done.stderr + done.stdout
    (analysis,) = json.loads(done.stdout)
    assert analysis["clean"] == (code == ExitCode.DONE)
    return dict(analysis)


def changed(findings: list[dict[str, Any]]) -> set[str]:
    return {each["strategy"] for finding in findings for each in finding["changed"]}


def test_each_is_found_out_by_what_it_does_and_the_honest_one_by_nothing(folder: Path) -> None:
    config = configuration(folder, "Honest", "Peeker", "HiddenPeeker", "Forgetful", "Impatient")
    analysis = found(config, ExitCode.DIFFERENT, "--cuts", "2")
    assert analysis["judged"]
    assert analysis["decisions"]["honest"] > 20
    assert analysis["as_files"]
    assert changed(analysis["look_ahead"]) == {"peeker"}
    opposite = [each for each in analysis["look_ahead"] if each["what"] == "replaced behind"]
    assert all(each["changed"] for each in opposite), "the opposite future is met at each cut"
    assert changed(analysis["resumption"]) == {"forgetful"}
    warm_up = {each["strategy"]: each for each in analysis["warm_up"]}
    assert warm_up["honest"]["verdict"] == "enough"
    assert (warm_up["impatient"]["verdict"], warm_up["impatient"]["declared"]) == ("too short", 5)
    assert warm_up["impatient"]["enough"] > 5
    assert warm_up["impatient"]["leads"][0]["changes"]["values"] > 0
    assert analysis["reads_its_data"] == [str(folder / "ticks.csv")]
    assert analysis["touched"] == [f"suspects.py opens {folder / 'ticks.csv'}"]


def test_a_run_meets_the_future_that_is_laid_out_for_it(folder: Path, tmp_path: Path) -> None:
    config = configuration(folder, "Honest/5", "Peeker")
    whole = Job(config=str(config), account="paper", execution="x")
    run = ran(whole)
    at = next(asked.position for asked in run.asked if asked.strategy == "peeker" and asked.position > TICKS // 2)
    cut = structs.replace(whole, until=at, cut_ns=times(folder)[at - 1], files_in=str(tmp_path / "cut"), saves=True)
    before = ran(cut)
    assert before.ticks == at
    assert not (tmp_path / "cut").exists(), "it takes away what it has laid out"
    other = structs.replace(cut, until=at + 10, mirrored_behind=at, saves=False)
    assert decided(ran(other), at)["honest"] == decided(run, at)["honest"]
    assert decided(ran(other), at)["peeker"] != decided(run, at)["peeker"]
    rest = ran(structs.replace(whole, saved=before.saved, saved_at=at))
    assert [asked for asked in run.asked if asked.position > at] == list(rest.asked)
    assert ran(structs.replace(whole, later=100)).ticks == TICKS - 100


def ran(job: Job) -> Run:
    """The run of a job in this process, which has told on its way how far it was and read nothing in a bad way."""
    told: list[int] = []
    outcome = perform(job, Watch(), told.append)
    assert (outcome.error, outcome.laid_out) == ("", bool(job.files_in))
    assert outcome.run is not None
    return outcome.run


def decided(run: Run, position: int) -> dict[str, list[Asked]]:
    asked = [each for each in run.asked if each.position <= position]
    return {name: [each for each in asked if each.strategy == name] for name in ("honest", "peeker")}


def times(folder: Path) -> list[int]:
    return [parse_instant(row.split(",")[0]) for row in (folder / "ticks.csv").read_text().splitlines()[1:]]


def test_what_is_wrong_with_the_data_is_part_of_what_comes_out(folder: Path) -> None:
    job = Job(config=str(configuration(folder, "Honest")), account="paper", execution="x", start="2030-01-01")
    outcome = perform(job, Watch(), lambda position: None)
    assert outcome.run is None
    assert "no ticks" in outcome.error


@pytest.mark.parametrize("name", ["Gambler", "Timed", "Unordered"])
def test_nothing_else_is_judged_where_two_runs_are_not_the_same(folder: Path, name: str) -> None:
    analysis = found(configuration(folder, name), ExitCode.DIFFERENT)
    assert not analysis["judged"]
    assert [each["what"] for each in analysis["determinism"]] == ["in another process"]
    assert changed(analysis["determinism"]) == {name.lower()}
    assert not analysis["look_ahead"] + analysis["resumption"] + analysis["warm_up"]


def test_whoever_counts_what_he_is_shown_is_found_out_by_other_portions(folder: Path) -> None:
    analysis = found(configuration(folder, "Counting/40", "Honest"), ExitCode.DIFFERENT)
    process, portions = analysis["determinism"]
    assert process["changed"] == []
    assert changed([portions]) == {"counting"}


def test_what_is_kept_beside_the_state_for_a_few_ticks_shows_at_the_first_decision(folder: Path) -> None:
    analysis = found(configuration(folder, "Shortsighted"), ExitCode.DIFFERENT)
    assert analysis["judged"]
    assert changed(analysis["resumption"]) == {"shortsighted"}


def test_a_run_that_comes_to_no_end_has_changed(folder: Path) -> None:
    done = analyze(configuration(folder, "Throwing"), "--cuts", "1", "--end", "2024-01-03T13:06:00Z")
    assert done.returncode == ExitCode.DIFFERENT
    assert "look-ahead: cut off behind tick" in done.stdout
    assert "the run did not come to its end: strategy throwing threw at tick" in done.stdout


def test_what_ends_its_process_is_told(folder: Path) -> None:
    done = analyze(configuration(folder, "Dying"))
    assert done.returncode == ExitCode.BAD_USAGE
    assert "was ended from within or from outside, with 9" in done.stderr


def test_where_one_account_cannot_be_analysed_those_before_it_are_shown(folder: Path) -> None:
    config = configuration(folder, "Honest")
    config = config.rename(folder / "two.toml")
    second = """
[accounts.second]
venue = "paper"
feed = "recorded"
[strategies.dying]
kind = "suspects.py:Dying"
account = "second"
instruments = ["EUR_USD"]
"""
    config.write_text(config.read_text() + second + f'params = {{ path = "{folder}/ticks.csv", every = 5 }}\n')
    done = analyze(config, "--cuts", "1", "--json")
    assert done.returncode == ExitCode.BAD_USAGE
    assert "a run of the analysis was ended" in done.stderr
    assert [(each["name"], each["clean"]) for each in json.loads(done.stdout)] == [("suspects/paper", True)]


def test_what_has_changed_is_shown_side_by_side(folder: Path) -> None:
    done = analyze(configuration(folder, "Gambler"))
    assert "Two runs on the same data are not the same" in done.stdout
    assert re.search(r"^  gambler at tick \d+, 2024-01-03 13:\d\d:\d\d, the first of \d+:$", done.stdout, re.MULTILINE)
    assert re.search(r"enter EUR_USD (buy|sell) 1000 +enter EUR_USD (buy|sell) 1000", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_whoever_is_clean_ends_with_0(folder: Path) -> None:
    done = analyze(configuration(folder, "Honest"), "--cuts", "1", "--jobs", "1")
    assert (done.returncode, done.stderr) == (ExitCode.DONE, "")
    assert done.stdout.endswith("No decision changes that should not.\n")


def test_what_is_laid_out_below_a_link_is_none_of_a_strategys_doing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    done = subprocess.run(
        (*PROGRAM, str(configuration(folder, "Peeker")), "--cuts", "1", "--json"),
        env={**environment(), "TMPDIR": str(tmp_path / "link")},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == ExitCode.DIFFERENT, done.stderr
    (analysis,) = json.loads(done.stdout)
    assert analysis["touched"] == [f"suspects.py opens {folder / 'ticks.csv'}"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_nothing_behind(tmp_path: Path, stop: signal.Signals) -> None:
    config = tmp_path / "long.toml"
    parts = [configs.head(), configs.market(400_000), configs.account("a"), configs.strategy("s", "a")]
    config.write_text("".join(parts).replace("{state}", str(tmp_path / "state")))
    (tmp_path / "tmp").mkdir()
    with minding(stop):
        process = subprocess.Popen(
            (*PROGRAM, str(config)),
            env={**environment(), "TMPDIR": str(tmp_path / "tmp")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        while not list((tmp_path / "tmp").glob("*/*.job")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(stop)
        process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_run_that_hangs_does_not_outlive_whoever_asked_for_it(folder: Path, tmp_path: Path) -> None:
    job = Job(config=str(configuration(folder, "Hanging")), account="paper", execution="x")
    (tmp_path / "1.job").write_bytes(ENCODER.encode(job))
    nursery = subprocess.Popen(
        (sys.executable, "-m", "tradekeel.bootstrap.analysisnursery", str(tmp_path)),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert nursery.stdin is not None
    try:
        nursery.stdin.write(b"1\n")
        nursery.stdin.flush()
        while not (folder / "hanging").exists():
            assert nursery.poll() is None
            time.sleep(0.01)
        out, _ = nursery.communicate(timeout=TIMEOUT_S)
        assert out == b"", "nobody is left who could say anything, or hold the pipe"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(nursery.pid, signal.SIGKILL)
        nursery.communicate()


@pytest.mark.parametrize(("words", "told"), [(("--cuts", "0"), "--cuts 0"), (("--jobs", "0"), "--jobs 0")])
def test_what_cannot_be_meant_is_refused(folder: Path, words: tuple[str, ...], told: str) -> None:
    done = analyze(configuration(folder, "Honest"), *words)
    assert done.returncode == ExitCode.BAD_USAGE
    assert told in done.stderr
