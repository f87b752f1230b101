"""A file becomes a Config, or a ConfigError with everything that is wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import Struct

from tests.unit.config.files import GOOD, load, problems, without_lines, written
from tradekeel.config import ConfigError, DaemonConfig, Kinds, diff, load_config
from tradekeel.config.load import state_dir_of
from tradekeel.config.model import NAME_WORDS
from tradekeel.config.source import FILE_BYTES_MAX
from tradekeel.errors import InputError


class SyntheticSettings(Struct, frozen=True, kw_only=True):
    seed: int
    speed: Decimal = Decimal(1)


class PaperSettings(Struct, frozen=True, kw_only=True):
    latency_ms: int = 0


class RiskSettings(Struct, frozen=True, kw_only=True):
    loss_daily_max: Decimal | None = None


class FloorSettings(Struct, frozen=True, kw_only=True):
    max_layers: int = 3
    pips: Decimal = Decimal("10.0")


def strategy_type(kind: str, folder: Path) -> type[Struct]:
    if kind != "floor":
        raise InputError(f"no strategy {kind!r} in {folder.name}; there is floor")
    return FloorSettings


KINDS = Kinds(
    feeds={"synthetic": SyntheticSettings},
    venues={"paper": PaperSettings},
    strategies=strategy_type,
    risk=RiskSettings,
)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_file_is_read_with_exact_numbers_and_defaults(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.daemon.name == "demo"
    assert config.daemon.on_stop == "keep"
    account = config.accounts["paper-1"]
    assert account.balance == Decimal("100000.00")
    assert account.options == {"latency_ms": 20}
    assert account.risk == {"loss_daily_max": 500}
    assert account.account_at_venue == "paper-1"
    assert config.feeds["market"].options == {"seed": 7}
    assert config.strategies["floor"].instruments == ("EUR_USD",)
    assert config.warnings == ()


def test_tables_of_a_kind_are_decoded_in_the_same_pass(tmp_path: Path) -> None:
    config = load(tmp_path, kinds=KINDS)
    assert config.feeds["market"].settings == SyntheticSettings(seed=7)
    assert config.accounts["paper-1"].settings == PaperSettings(latency_ms=20)
    assert config.accounts["paper-1"].risk_settings == RiskSettings(loss_daily_max=Decimal(500))
    assert config.strategies["floor"].settings == FloorSettings(max_layers=5)


def test_problems_of_every_section_and_kind_come_together(tmp_path: Path) -> None:
    text = (
        changed('kind = "synthetic"', 'kind = "synthetc"')
        .replace("latency_ms = 20", "latency = 20")
        .replace("loss_daily_max", "loss_dayly_max")
        .replace('kind = "floor"', 'kind = "flor"')
        .replace('name = "demo"', 'name = "Demo"')
        + "\n[loging]\nlevel = 'info'\n[instruments.EUR_USD]\npip_size = 0\n"
    )
    found = problems(tmp_path, text, kinds=KINDS)
    assert without_lines(found) == [
        'loging: unknown section; did you mean "logging"?',
        'feeds.market.kind: found "synthetc", which does not exist; did you mean "synthetic"?',
        'accounts.paper-1.paper.latency: unknown key; did you mean "latency_ms"?',
        'accounts.paper-1.risk.loss_dayly_max: unknown key; did you mean "loss_daily_max"?',
        f"strategies.floor.kind: no strategy 'flor' in {tmp_path.name}; there is floor",
        "instruments.EUR_USD.pip_size: found 0 (an integer), allowed: a decimal number above 0",
        f'daemon.name: found "Demo", allowed: {NAME_WORDS}',
    ]
    rows = text.splitlines()
    lines = [int(problem.rpartition(" (line ")[2].rstrip(")")) for problem in found]
    where = (
        "[loging]",
        'kind = "synthetc"',
        "latency = 20",
        "loss_dayly_max",
        'kind = "flor"',
        "pip_size = 0",
        'name = "Demo"',
    )
    assert [word in rows[line - 1] for word, line in zip(where, lines, strict=True)] == [True] * 7


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (changed('feed = "market"', 'feed = "markt"'), 'accounts.paper-1.feed: there is no feed "markt"; did you mean'),
        (
            changed('account = "paper-1"', 'account = "paper_l"'),
            'strategies.floor.account: there is no account "paper_l"; did you mean "paper-1"?',
        ),
        (GOOD + '[accounts.Paper]\nvenue = "paper"\nfeed = "market"\n', 'accounts.Paper: found the name "Paper", allowed: 1'),
        ("[feeds.market]\nkind = 'synthetic'\n", "accounts: there is no account; add [accounts.NAME]"),
        ("accounts = 5", "accounts: found 5 (an integer), allowed: tables [accounts.NAME]"),
        ("[feeds]\nx = 1\n" + GOOD, "feeds.x: found 1 (an integer), allowed: a table"),
        (changed("[accounts.paper-1.paper]\nlatency_ms = 20", ""), ""),
        (
            changed('feed = "market"', 'feed = "market"\nshare_instruments = true\nexits = "venue"'),
            'accounts.paper-1.exits: found "venue", allowed with share_instruments: "monitor"',
        ),
        (
            changed('["EUR_USD"]', '["EUR_USD", "EUR_USD"]'),
            'strategies.floor.instruments: named twice: "EUR_USD"',
        ),
        (
            GOOD + '[strategies.ema]\nkind = "ema"\naccount = "paper-1"\ninstruments = ["EUR_USD"]\n',
            "strategies.ema.instruments: strategies.floor trades EUR_USD on accounts.paper-1 already",
        ),
        (
            GOOD + '[accounts.copy]\nvenue = "paper"\nfeed = "market"\nvenue_account = "paper-1"\n',
            'accounts.copy: the same account as accounts.paper-1 ("paper", "paper-1")',
        ),
        (
            changed('feed = "market"', 'feed = "market"\nvenue_account = "x/../../../up"'),
            'accounts.paper-1.venue_account: found "x/../../../up" (a string), allowed: 1 to 64 letters, digits and _ . : -',
        ),
        (
            GOOD + '[accounts.scheduler]\nvenue = "paper"\nfeed = "market"\n',
            'accounts.scheduler: an account cannot be called "scheduler"',
        ),
        (
            GOOD + '[accounts.tasks]\nvenue = "paper"\nfeed = "market"\n',
            'accounts.tasks: an account cannot be called "tasks"',
        ),
        (
            changed('name = "demo"', f'name = "demo"\nstate_dir = "{"x" * 300}"'),
            'daemon.state_dir: the part "xxx',
        ),
        (
            changed('name = "demo"', 'name = "demo"\nstate_dir = "a\\u0000b"'),
            'daemon.state_dir: found "a\\u0000b", allowed: a path without control characters',
        ),
        (GOOD + '[logging]\nfile = "../log"\n', 'logging.file: found "../log", allowed: a path inside of the state directory'),
        (
            GOOD + '[instruments."a b"]\npip_size = 1\n',
            'instruments."a b": found the name "a b", allowed: an instrument\'s symbol',
        ),
        (
            GOOD + "[storage]\nsnapshot_schedule = 'hourly'\n",
            'storage.snapshot_schedule: found "hourly" (a string), allowed: seconds from 0 (never) to 86400 or a cron line',
        ),
        (
            GOOD + "[storage]\nsnapshot_schedule = 1e-9\n",
            "storage.snapshot_schedule: found 1e-09, allowed: 0 (never), 0.05 to 86400 seconds, or a cron line",
        ),
        (
            changed("[accounts.paper-1]", "[accounts.paper-1]\nsync_schedule = 0.0001"),
            "accounts.paper-1.sync_schedule: found 0.0001, allowed: 0 (never), 0.05 to 86400 seconds",
        ),
        (GOOD + "[storage]\nsnapshot_schedule = 0\n", ""),
        (GOOD + '[logging]\nfile = "{time}.log"\n', 'logging.file: found "{time}.log", allowed: a path without braces'),
        (
            GOOD + "[storage]\nsample_ticks_every = 1\n",
            "storage: sample_ticks_every 1 would journal every tick",
        ),
        (GOOD + "[storage]\nsample_ticks_every = 0\n", ""),
        (
            GOOD + "[storage]\nreplica_url = 'postgresql://a@b/c'\n",
            "storage: replica_url is given without url",
        ),
        (
            GOOD + "[storage]\nurl = 'postgresql://a@b/c'\nreplica_url = 'postgresql://a:secret@b/c'\n",
            "storage.replica_url: a password stands in it (it was not read); put it into storage.password",
        ),
        (
            GOOD + "[storage]\nurl = 'postgresql://a@b/c?sslmode=require&password=SECRET'\n",
            'storage.url: a secret stands in its option "password" (it was not read); put it into storage.password',
        ),
        (
            GOOD + "[storage]\nurl = 'postgresql://a@b/c'\nreplica_url = 'postgresql://a@b/c?sslpassword=SECRET'\n",
            'storage.replica_url: a secret stands in its option "sslpassword" (it was not read); nothing here takes one',
        ),
        (GOOD + "[storage]\nurl = 'mysql://a@b/c?x=SECRET'\n", 'storage.url: it begins with "mysql://", allowed: postgresql://'),
        (GOOD + "[storage]\nurl = 'postgresql://a@b'\n", "storage.url: it names no database behind the server, allowed: postgresql://"),
        (GOOD + "[storage]\nurl = 'postgresql://a@b:99999/c'\n", "storage.url: its port is beyond 65535, allowed: postgresql://"),
        (GOOD + "[storage]\nurl = 'postgresql://b:SECRET/c'\n", "storage.url: found no URL, allowed: postgresql://"),
        (GOOD + "[storage]\nurl = 'a:SECRET@b/c'\n", "storage.url: found another text, allowed: postgresql://"),
        (GOOD + "[storage]\nurl = 'postgresql://a@b/c?passfile=/etc/x&sslmode=require'\n", ""),
        (GOOD + "[storage]\nurl = 'postgresql://a@b/c'\nreplica_url = 'postgresql://a@d/c'\n", ""),
        (
            GOOD + "[instruments.EUR_USD]\nquantity_min = 5\nquantity_max = 4\n",
            "instruments.EUR_USD: quantity_min 5 is above quantity_max 4",
        ),
        (changed('venue = "paper"\n', 'venue = "paper"\npaper = 5\n').replace("[accounts.paper-1.paper]", "[feeds.y]\nkind='z'"),
            "accounts.paper-1.paper: found 5 (an integer), allowed: a table"),
    ],
)  # fmt: skip
def test_what_is_wrong_between_the_sections_is_said(tmp_path: Path, text: str, problem: str) -> None:
    if not problem:
        load(tmp_path, text)
        return
    (found,) = problems(tmp_path, text)
    assert found.startswith(problem)
    assert "SECRET" not in found


def test_where_instruments_are_shared_the_monitor_keeps_the_exits(tmp_path: Path) -> None:
    shared = load(tmp_path, changed('feed = "market"', 'feed = "market"\nshare_instruments = true'))
    assert shared.accounts["paper-1"].exits == "monitor"
    assert load(tmp_path).accounts["paper-1"].exits == "venue"


@pytest.mark.parametrize("where", ["share_instruments = true\nexits = 'monitor'", "hedging = true"])
def test_an_instrument_may_be_shared_where_the_account_allows_it(tmp_path: Path, where: str) -> None:
    second = '[strategies.ema]\nkind = "ema"\naccount = "paper-1"\ninstruments = ["EUR_USD"]\n'
    load(tmp_path, changed('feed = "market"', f'feed = "market"\n{where}') + second)


def test_a_strategy_that_is_switched_off_occupies_nothing(tmp_path: Path) -> None:
    second = '[strategies.ema]\nkind = "ema"\naccount = "paper-1"\nenabled = false\ninstruments = ["EUR_USD"]\n'
    load(tmp_path, GOOD + second)


def test_what_nobody_uses_is_a_warning(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD + '[feeds.b]\nkind = "file"\n[accounts.c]\nvenue = "paper"\nfeed = "market"\n')
    assert config.warnings == (
        "feeds.b: no account uses this feed",
        "accounts.c: no enabled strategy trades on this account",
    )


# --- files that are none -------------------------------------------------------------------------------------------------


def test_a_syntax_error_has_its_line_and_column(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "[daemon]\nname = demo\n")
    assert problem == "not TOML: Invalid value (at line 2, column 8)"


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no such file; did you mean .*/demo\.toml\?"):
        load_config(tmp_path / "deom.toml", {})


def test_a_missing_folder_is_no_worse_than_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such file$"):
        load_config(tmp_path / "nowhere" / "demo.toml", {})


def test_a_folder_says_what_it_holds(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(ConfigError, match=r"this is a folder, not a file; it holds demo\.toml"):
        load_config(tmp_path, {})


def test_text_that_is_not_utf8_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_bytes(b"[daemon]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(at line 2\)"):
        load_config(path, {})


def test_a_byte_order_mark_and_windows_lines_are_harmless(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_config(path, {}).daemon.name == "demo"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_file_of_somebody_else_names_the_user(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    path = written(tmp_path)
    path.chmod(0o600)
    code = (
        "import os, sys; from tradekeel.config import load_config; os.setgid(12345); os.setuid(12345)\n"
        "try: load_config(sys.argv[1], {})\n"
        "except Exception as error: print(error.problems)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    assert said == "['may not be read by this user (uid 12345)']\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("x = " + "[" * 100_000, "nested too deeply"),
        ("x" + ".x" * 10_000 + " = 1", "nested deeper than 24"),
        ("x = " + "9" * 5_000, "a number with too many digits"),
        ("x = 1e99999999999999999999", "a number with too many digits"),
        ("#" * (FILE_BYTES_MAX + 1), f"larger than {FILE_BYTES_MAX} bytes"),
    ],
    ids=["arrays", "keys", "integer", "float", "size"],
)
def test_a_file_made_to_break_a_parser_is_a_problem_like_any_other(tmp_path: Path, content: str, problem: str) -> None:
    (found,) = problems(tmp_path, content)
    assert problem in found


def test_a_path_that_would_upset_the_terminal_is_shown_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Path("no\x1b[2Jsuch\0file.toml"), {})
    assert "\x1b" not in str(caught.value)
    assert "\0" not in str(caught.value)


def test_more_problems_than_anybody_reads_are_counted(tmp_path: Path) -> None:
    accounts = "".join(f"[accounts.a{n}]\nvenue = 'paper'\nfeed = 'x'\n" for n in range(100))
    found = problems(tmp_path, accounts)
    assert len(found) == 61
    assert found[-1] == "… and 40 more problems"


def test_more_accounts_than_a_daemon_can_have_are_refused(tmp_path: Path) -> None:
    accounts = "".join(f"[accounts.a{n}]\nvenue = 'paper'\nfeed = 'x'\n" for n in range(257))
    assert "accounts: found 257 tables, allowed: at most 256" in without_lines(problems(tmp_path, accounts))


# --- where the state is --------------------------------------------------------------------------------------------------


def test_the_state_lies_beside_the_file_unless_something_else_is_said(tmp_path: Path) -> None:
    assert load(tmp_path).state_dir == tmp_path / "var" / "demo"
    relative = changed('name = "demo"', 'state_dir = "../state"')
    assert load(tmp_path, relative).state_dir == tmp_path.parent / "state"


def test_under_a_service_manager_the_state_is_where_that_put_it(tmp_path: Path) -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/tradekeel/demo:/other"}
    assert load(tmp_path, environ=environ).state_dir == Path("/var/lib/tradekeel/demo")
    assert load(tmp_path, changed('name = "demo"', 'state_dir = "x"'), environ).state_dir.is_relative_to("/var/lib")
    absolute = changed('name = "demo"', 'state_dir = "/srv/keel"')
    assert load(tmp_path, absolute, environ).state_dir == Path("/srv/keel")


def test_a_file_in_the_units_folder_means_the_units_state() -> None:
    # A person's `tradekeel status /etc/tradekeel/demo.toml` has no $STATE_DIRECTORY.
    daemon = DaemonConfig(name="other")
    assert state_dir_of(daemon, Path("/etc/tradekeel/demo.toml"), {}) == Path("/var/lib/tradekeel/demo")
    assert state_dir_of(daemon, Path("/etc/elsewhere/demo.toml"), {}) == Path("/etc/elsewhere/var/other")


def test_the_daemon_is_called_like_its_file_when_it_has_no_name(tmp_path: Path) -> None:
    text = changed('[daemon]\nname = "demo"\n', "")
    assert load_config(written(tmp_path, text, "paper-2.toml"), {}).daemon.name == "paper-2"
    with pytest.raises(ConfigError, match=r"the file's name, because daemon\.name is not set"):
        load_config(written(tmp_path, text, "My Demo.toml"), {})


def test_a_log_file_lies_in_the_state_directory(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD + "[logging]\nfile = 'keel.log'\n")
    assert config.logging.file == str(tmp_path / "var" / "demo" / "keel.log")


# --- fingerprint and difference ------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_what_is_meant_not_of_how_it_is_written(tmp_path: Path) -> None:
    plain = load(tmp_path, kinds=KINDS).fingerprint
    assert load(tmp_path, "# a comment\n" + changed('"100000.00"', "1e5"), kinds=KINDS).fingerprint == plain
    with_default = changed("max_layers = 5", 'max_layers = 5\npips = "10"')
    assert load(tmp_path, with_default, kinds=KINDS).fingerprint == plain
    assert load(tmp_path, changed("max_layers = 5", "max_layers = 6"), kinds=KINDS).fingerprint != plain


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("[1, 2.0]", "[1.0, 2]", True),
        ("[1, 2]", "[2, 1]", False),
        ("[{ a = 1, b = true }]", "[{ b = true, a = 1.0 }]", True),
        ("[{ a = 1 }]", "[{ a = 2 }]", False),
        ("1979-05-27", "1979-05-27", True),
        ("1979-05-27", "1979-05-28", False),
        ("true", "1", False),
        ('"1"', "1", False),
        ("123456789012345678901234567890123456789012", "0x1_6ace_42c2_0fa2_f2a1_6ee5_ba3b_2db8_a52", False),
    ],
)
def test_the_fingerprint_tells_values_apart_by_what_they_mean(tmp_path: Path, one: str, other: str, same: bool) -> None:
    prints = {load(tmp_path, changed("seed = 7", f"seed = {value}")).fingerprint for value in (one, other)}
    assert (len(prints) == 1) == same


def test_a_secret_counts_by_its_reference_only(tmp_path: Path) -> None:
    text = changed('feed = "market"', 'feed = "market"\ntoken = { env = "TOKEN" }')
    one = load(tmp_path, text, {"TOKEN": "first-secret"})
    two = load(tmp_path, text, {"TOKEN": "second-secret"})
    assert one.fingerprint == two.fingerprint
    (change,) = diff(one, two)
    assert change.path == "accounts.paper-1.token"
    assert "secret" not in repr(change).replace("Secret(", "")


def test_a_difference_names_each_value_with_old_and_new(tmp_path: Path) -> None:
    old = load(tmp_path, kinds=KINDS)
    new = load(
        tmp_path,
        changed("max_layers = 5", "max_layers = 6")
        .replace("latency_ms = 20", "")
        .replace("[daemon]", "[daemon]\non_stop = 'flatten'"),
        kinds=KINDS,
    )
    assert [(change.path, change.old, change.new) for change in diff(old, new)] == [
        ("accounts.paper-1.paper.latency_ms", 20, 0),
        ("daemon.on_stop", "keep", "flatten"),
        ("strategies.floor.params.max_layers", 5, 6),
    ]


def test_a_file_differs_from_itself_in_nothing(tmp_path: Path) -> None:
    assert diff(load(tmp_path), load(tmp_path)) == []


def test_a_strategy_that_is_gone_differs_value_by_value(tmp_path: Path) -> None:
    without = GOOD[: GOOD.index("[strategies.floor]")]
    changes = diff(load(tmp_path), load(tmp_path, without))
    assert {change.path for change in changes} >= {"strategies.floor.kind", "strategies.floor.params.max_layers"}
    assert all(change.new is None for change in changes)


def test_a_later_table_is_decoded_with_this_files_secrets(tmp_path: Path) -> None:
    config = load(tmp_path)
    found: list[str] = []
    assert config.decode({"seed": 3}, SyntheticSettings, "feeds.market", found) == SyntheticSettings(seed=3)
    assert config.decode({"sed": 3}, SyntheticSettings, "feeds.market", found) is None
    assert found[0] == 'feeds.market.sed: unknown key; did you mean "seed"?'
