"""Everything that is wrong with a file comes in one list, whatever stage would have met it, each problem with its path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.cli_daemon import call
from tradekeel.bootstrap.checking import check
from tradekeel.bootstrap.making import check_installed, why_closed
from tradekeel.bootstrap.place import find_place
from tradekeel.bootstrap.plan import read_plan
from tradekeel.config.words import quoted
from tradekeel.errors import ConfigError

GOOD = """
[daemon]
name = "demo"
[storage]
checkpoint_every_s = 5
snapshot_schedule = "0 0 * * *"
[redis]
url = "redis://cache:6379/0"
[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD", "USD_JPY"]
ticks = 10
start = "2024-01-01"
speed = "max"
[feeds.recorded]
kind = "file"
path = "ticks"
instrument = "GBP_USD"
time_zone = "UTC"
time_format = "iso"
[accounts.one]
venue = "paper"
feed = "market"
[accounts.two]
venue = "paper"
feed = "recorded"
sync_schedule = 60
[strategies.trend]
kind = "ema_cross"
account = "one"
instruments = ["EUR_USD"]
[strategies.own]
kind = "mine.py:Mine"
account = "two"
instruments = ["GBP_USD"]
[instruments.EUR_USD]
pip_size = "0.0001"
"""

WRONG = {
    'name = "demo"': ("name = 5", "daemon.name: found 5 (an integer), allowed: a string"),
    "checkpoint_every_s = 5": ("chekpoint_every_s = 5", 'storage.chekpoint_every_s: unknown key; did you mean "checkpoint_'),
    '"0 0 * * *"': ('"99 * * * *"', "storage.snapshot_schedule: '99 * * * *' is no schedule"),
    '"redis://cache:6379/0"': ('"redis://cache/one"', "redis.url: a Redis URL names its database by a number, not by 'one'"),
    '["EUR_USD", "USD_JPY"]': ('["EUR_USD", "USDJPY"]', 'feeds.market.instruments: "USDJPY" is not known; did you mean "USD_J'),
    '"2024-01-01"': ('"soon"', "feeds.market.start: 'soon' is not a time"),
    '"max"': ('"fast"', "feeds.market.speed: speed 'fast': allowed are"),
    '"ticks"': ('"tocks"', "feeds.recorded.path: {folder}/tocks does not exist"),
    'instrument = "GBP_USD"': ('instrument = "GBPUSD"', 'feeds.recorded.instrument: "GBPUSD" is not known; did you mean "GBP_U'),
    '"UTC"': ('"Mars"', "feeds.recorded.time_zone: time zone 'Mars' is not known"),
    '"iso"': ('"unix"', "feeds.recorded.time_format: time_format 'unix'"),
    "sync_schedule = 60": ('sync_schedule = "0 0 31 2 *"', "accounts.two.sync_schedule: '0 0 31 2 *' is no schedule"),
    '"ema_cross"': ('"ema_crss"', "strategies.trend.kind: unknown strategy 'ema_crss': did you mean ema_cross?"),
    'instruments = ["EUR_USD"]': ('instruments = ["EURUSD"]', 'strategies.trend.instruments: "EURUSD" is not known; did you'),
    '"mine.py:Mine"': ('"yours.py:Mine"', "strategies.own.kind: {folder}/yours.py does not exist"),
    'pip_size = "0.0001"': ('pip_size = "0.00000001"', "instruments.EUR_USD: instrument EUR_USD: pip_size must be a multiple"),
}  # fmt: skip
"""What stands in the good file, what is put there instead, and how the problem begins."""

OWN = """
from msgspec import Struct
from tradekeel.strategies.base import Strategy
from tradekeel.strategies.parameters import Parameters

class Params(Parameters, frozen=True, kw_only=True):
    pass

class State(Struct, frozen=True):
    pass

class Mine(Strategy[Params, State]):
    Params = Params
    State = State
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with everything that the good file names."""
    (tmp_path / "ticks").mkdir()
    (tmp_path / "ticks" / "gbpusd.csv").write_text("time,bid,ask\n2024-01-01T22:00:00Z,1.2,1.3\n")
    (tmp_path / "mine.py").write_text(OWN)
    there = sorted(tmp_path.iterdir())
    yield tmp_path
    assert sorted(path for path in tmp_path.iterdir() if path.suffix != ".toml") == there, "nothing is made"


def written(folder: Path, *wrong: str) -> Path:
    text = GOOD
    for good in wrong:
        assert text.count(good) >= 1
        text = text.replace(good, WRONG[good][0], 1)
    path = folder / "demo.toml"
    path.write_text(text)
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_plan(path, {})
    return caught.value.problems


def expected(folder: Path, *wrong: str) -> list[str]:
    return [WRONG[good][1].replace("{folder}", str(folder)) for good in wrong]


@pytest.mark.parametrize("file", ["books.db", "paper-one.db", "latches/all.json", "{folder}/var/demo/status.json"])
def test_a_log_file_that_is_one_of_the_daemons_own_is_refused(folder: Path, file: str) -> None:
    """Its rotation would rename the books away, and remove what is older."""
    file = file.replace("{folder}", str(folder))
    path = written(folder)
    path.write_text(f'{path.read_text()}[logging]\nfile = "{file}"\n')
    [problem] = problems(path)
    assert problem.startswith(f"logging.file: found {quoted(file)}, which the daemon keeps its own state in")
    assert [(finding.ok, finding.code) for finding in check(path, {})] == [(False, 2)]


def test_the_good_file_is_good(folder: Path) -> None:
    assert [account.config.name for account in read_plan(written(folder), {}).accounts] == ["one", "two"]


@pytest.mark.parametrize("good", WRONG)
def test_each_is_found_alone(folder: Path, good: str) -> None:
    [problem] = problems(written(folder, good))
    assert problem.startswith(expected(folder, good)[0])


def test_all_are_found_together(folder: Path) -> None:
    found = problems(written(folder, *WRONG))
    for beginning in expected(folder, *WRONG):
        assert [text for text in found if text.startswith(beginning)], (beginning, found)
    assert len(found) == len(WRONG)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("[accounts.two.papr]", 'papr: unknown key; did you mean "paper"?'),
        (
            "[accounts.two.risk.signal_filter.sessions.TOKIO]",
            'risk.signal_filter.sessions.TOKIO: unknown key; did you mean "TOKYO"?',
        ),
        (
            "[accounts.two.risk.signal_filter.modes.calm.sessions.MARS]",
            "risk.signal_filter.modes.calm.sessions.MARS: unknown key; known keys: LONDON, NY, OVERLAP, SYDNEY, TOKYO",
        ),
    ],
)
def test_a_misspelt_name_of_a_table_has_its_path_and_the_nearest_known_one(
    folder: Path, wrong: str, problem: str
) -> None:
    path = written(folder)
    path.write_text(f"{GOOD}\n{wrong}\n")
    assert problems(path) == [f"accounts.two.{problem} (line 39)"]


def test_of_a_venue_that_is_misspelt_the_table_is_no_problem_of_its_own(folder: Path) -> None:
    path = written(folder)
    path.write_text(GOOD.replace('[accounts.two]\nvenue = "paper"', '[accounts.two]\nvenue = "papr"\npaper = {}'))
    assert problems(path) == ['accounts.two.venue: found "papr", which does not exist; did you mean "paper"? (line 25)']


def test_check_and_run_and_install_say_the_same(folder: Path) -> None:
    path = written(folder, *WRONG)
    wanted = problems(path)
    findings = check(find_place(str(path), None, {}).config or path, {})
    assert [finding.text for finding in findings] == wanted
    said = call("run", path)
    assert said.returncode == 2
    checked = call("check", path, "--json")
    assert checked.returncode == 2
    for problem in wanted:
        assert f"- {problem}" in said.stderr
        assert problem.partition('"')[0] in checked.stdout
    with pytest.raises(ConfigError) as caught:
        check_installed(path, folder / "demo.toml", {})
    assert set(wanted) <= set(caught.value.problems)


def test_a_strategy_that_cannot_be_made_of_its_parameters_is_a_problem_like_any_other(folder: Path) -> None:
    (folder / "mine.py").write_text(OWN + "\n    def timeframes(self):\n        raise LookupError('no bars')\n")
    path = written(folder, 'name = "demo"')
    wanted = [
        WRONG['name = "demo"'][1],
        f"strategies.own: {folder}/mine.py, line 17: timeframes() failed with LookupError: no bars",
    ]
    assert [found[: len(line)] for found, line in zip(problems(path), wanted, strict=True)] == wanted
    with pytest.raises(ConfigError, match="no bars"):
        check_installed(path, folder / "demo.toml", {})
    path.write_text(GOOD.replace('"mine.py:Mine"', '"mine.py:Mine"\nenabled = false'))
    assert read_plan(path, {}).accounts, "nothing of it runs"


def test_files_that_no_account_uses_need_not_be_there(folder: Path) -> None:
    path = written(folder, '"ticks"')
    path.write_text(path.read_text().replace('feed = "recorded"', 'feed = "market"').replace("GBP_USD", "EUR_USD"))
    assert read_plan(path, {}).config.warnings == ("feeds.recorded: no account uses this feed",)


def test_times_without_a_day_and_markets_without_a_price_are_found_before_they_are_built(folder: Path) -> None:
    path = written(folder)
    path.write_text(path.read_text().replace('"iso"', '"ms_since_midnight"').replace('"USD_JPY"', '"USD_SEK"'))
    without_price, without_day = problems(path)
    assert without_price.startswith(
        "feeds.market.price: is missing, allowed: the price at which the synthetic market of USD_SEK"
    )
    assert without_day.startswith(
        f"feeds.recorded.path: {folder}/ticks/gbpusd.csv: times are milliseconds since midnight"
    )


# --- references -----------------------------------------------------------------------------------------------------------

REFERENCES = [
    (
        'instruments = ["EUR_USD"]',
        'instruments = ["EUR_USD", "GBP_JPY"]',
        'strategies.trend.instruments: "GBP_JPY" is not in feeds.market, the feed of accounts.one; it has: EUR_USD, USD_JPY',
    ),
    (
        "[accounts.one]",
        '[accounts.one.risk]\ninstruments = ["USD_JPY", "EURUSD"]\n[accounts.one]',
        'accounts.one.risk.instruments: "EURUSD" is not known; did you mean "EUR_USD"?',
    ),
    (
        "[accounts.one]",
        "[accounts.one.paper.financing]\nEURUSD = { long = 1, short = 1 }\n[accounts.one]",
        'accounts.one.paper.financing.EURUSD: "EURUSD" is not known; did you mean "EUR_USD"?',
    ),
    (
        "[accounts.one]",
        "[accounts.one.paper.conversion_rates]\nUSD_JYP = 150\n[accounts.one]",
        'accounts.one.paper.conversion_rates.USD_JYP: there is no currency "JYP"; did you mean "JPY"?',
    ),
    (
        "[accounts.one]",
        '[accounts.one]\ncurrency = "ZZZ"',
        'accounts.one.currency: found "ZZZ", in which no instrument is quoted; known are',
    ),
    (
        "[accounts.one]",
        '[accounts.one]\ncurrency = "USDD"',
        'accounts.one.currency: found "USDD", in which no instrument is quoted; did you mean "USD',
    ),
    (
        "[accounts.one]",
        '[accounts.one]\ncurrency = "SEK"',
        "accounts.one.currency: nothing leads from USD, in which EUR_USD is quoted, to SEK, so its orders would be rejected",
    ),
]


@pytest.mark.parametrize(("good", "bad", "problem"), REFERENCES, ids=[problem[:40] for _, _, problem in REFERENCES])
def test_what_nothing_answers_to_is_said_with_what_is_near(folder: Path, good: str, bad: str, problem: str) -> None:
    path = written(folder)
    path.write_text(GOOD.replace(good, bad, 1))
    [found] = problems(path)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("good", "right"),
    [
        ("[accounts.one]", '[accounts.one]\ncurrency = "EUR"'),  # the feed has EUR_USD
        ("[accounts.one]", '[accounts.one]\ncurrency = "JPY"'),  # and USD_JPY
        ("[accounts.one]", '[accounts.one]\ncurrency = "SEK"\npaper = { conversion_rates = { USD_SEK = 10 } }'),
        ("[accounts.one]", '[accounts.one]\ncurrency = "ZZZ"\npaper = { conversion_rates = { USD_ZZZ = 10 } }'),
        ("[accounts.one]", '[accounts.one]\nrisk = { instruments = ["EUR_CHF", "EUR_USD"] }'),
        ('instruments = ["EUR_USD"]', 'enabled = false\ninstruments = ["EUR_GBP"]'),
    ],
)
def test_what_something_answers_to_is_right(folder: Path, good: str, right: str) -> None:
    path = written(folder)
    path.write_text(GOOD.replace(good, right, 1))
    assert read_plan(path, {}).accounts


# --- a service ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def image(folder: Path) -> Path:
    """Where a service of an image will find its files; what stands beside the file that is installed does not count."""
    root = folder.with_name(f"{folder.name}-image")
    for path, text in {"etc/tradekeel/mine.py": OWN, "srv/ticks/a.csv": "time,bid,ask\n"}.items():
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
    for part in root.rglob("*"):
        part.chmod(0o755 if part.is_dir() else 0o644)
    return root


def installed(folder: Path, image: Path, path: str) -> list[str]:
    config = folder / "demo.toml"
    config.write_text(GOOD.replace('path = "ticks"', f'path = "{path}"'))
    try:
        check_installed(config, image / "etc/tradekeel/demo.toml", {})
    except ConfigError as error:
        return error.problems
    return []


def test_a_service_looks_for_its_files_from_where_its_configuration_will_stand(folder: Path, image: Path) -> None:
    assert installed(folder, image, "/srv/ticks") == []
    assert installed(folder, image, "../../srv/ticks/*.csv") == []
    [problem] = installed(folder, image, "ticks")
    assert problem.startswith(f"feeds.recorded.path: {image}/etc/tradekeel/ticks does not exist")
    (image / "etc/tradekeel/mine.py").unlink()
    [problem] = installed(folder, image, "/srv/ticks")
    assert problem.startswith("strategies.own.kind: ")


def test_a_service_sees_no_homes_and_is_nobody_in_particular(folder: Path, image: Path) -> None:
    (image / "home").mkdir()
    (image / "home" / "a.csv").write_text("")
    [problem] = installed(folder, image, "/home/a.csv")
    assert (
        problem
        == "feeds.recorded.path: /home/a.csv lies in /home, which the service does not see; put it elsewhere, /srv for one "
        "(line 17)"
    )
    (image / "srv/ticks").chmod(0o750)
    (image / "etc/tradekeel/mine.py").chmod(0o600)
    closed = installed(folder, image, "/srv/ticks")
    assert closed == [
        f"feeds.recorded.path: {image}/srv/ticks is closed to the service's user (mode 0750): chmod o+rx it (line 17)",
        f"strategies.own.kind: {image}/etc/tradekeel/mine.py is closed to the service's user (mode 0600): chmod o+r it (line 33)",
    ]


PLACES = [
    ("daemon", 'state_dir = "/home/me/state"', "daemon.state_dir", "StateDirectory="),
    ("daemon", 'state_dir = "/var/lib/tradekeel/demo/../other"', "daemon.state_dir", "StateDirectory="),
    ("daemon", 'state_dir = "/var/lib/tradekeel/demo"', "", ""),
    ("daemon", 'state_dir = "../var/demo"', "", ""),
    ("logging", 'file = "/var/log/keel.log"', "logging.file", "the journal has the log"),
    ("logging", 'file = "/var/lib/private/tradekeel/demo/keel.log"', "", ""),
    ("logging", 'file = "keel.log"', "", ""),
    ("accounts.one", 'token = { file = "/root/token" }', "accounts.one.token", "/etc/tradekeel/credentials/demo"),
    ("accounts.one", 'token = { file = "token" }', "accounts.one.token", '{ credential = "FILE" } (LoadCredential=)'),
    ("accounts.one", 'token = { file = "/var/lib/tradekeel/demo/token" }', "", ""),
    ("accounts.one", 'token = { credential = "token" }', "", ""),
]


@pytest.mark.parametrize(("section", "line", "path", "advice"), PLACES, ids=[line for _, line, _, _ in PLACES])
def test_a_service_is_told_of_places_that_its_sandbox_keeps_it_out_of_and_what_to_use_instead(
    folder: Path, image: Path, section: str, line: str, path: str, advice: str
) -> None:
    config = folder / "demo.toml"
    table = f"[{section}]\n"
    good = GOOD.replace('path = "ticks"', 'path = "/srv/ticks"')
    config.write_text(good.replace(table, f"{table}{line}\n") if table in good else f"{good}\n{table}{line}\n")
    if not path:
        check_installed(config, image / "etc/tradekeel/demo.toml", {})
        return
    with pytest.raises(ConfigError) as caught:
        check_installed(config, image / "etc/tradekeel/demo.toml", {})
    [problem] = caught.value.problems
    assert problem.startswith(f"{path}: ")
    assert advice in problem


def test_what_everybody_may_read_a_service_may() -> None:
    assert why_closed(Path("/etc/passwd")) is None


def test_the_guides_example_is_what_is_said(folder: Path) -> None:
    text = (ROOT / "config" / "demo.toml").read_text("utf-8")
    before, trend, behind = text.replace("[daemon]\n", '[daemon]\non_stp = "keep"\n', 1).partition("[strategies.trend]")
    behind = behind.replace('account = "paper"', 'account = "papr"', 1)
    path = folder / "demo.toml"
    path.write_text(before.replace("daily_loss_max = 1000", 'daily_loss_max = "a lot"') + trend + behind)
    guide = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert [line.removeprefix("  - ") for line in guide.splitlines() if line.startswith("  - ")] == problems(path)
