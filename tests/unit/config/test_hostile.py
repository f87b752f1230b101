"""Whatever stands in the file or the environment, the answer is a Config or a ConfigError that can be printed."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.config.files import GOOD
from tradekeel.bootstrap.place import Place, place_of
from tradekeel.bootstrap.plan import Plan, read_plan
from tradekeel.config import Config, ConfigError, diff, load_config
from tradekeel.errors import InputError, StoreUnavailable
from tradekeel.statedir import StateDir

KEYS = st.sampled_from(
    [
        "daemon",
        "logging",
        "storage",
        "redis",
        "feeds",
        "accounts",
        "strategies",
        "instruments",
        "name",
        "state_dir",
        "kind",
        "venue",
        "feed",
        "account",
        "balance",
        "paper",
        "risk",
        "params",
        "token",
        "file",
        "env",
        "credential",
        "instruments",
        "enabled",
        "hedging",
        "snapshot_schedule",
        "level",
        "EUR_USD",
        "paper-1",
    ]
) | st.text(max_size=6)
SCALARS = (
    st.booleans()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.decimals()
    | st.text(max_size=12)
    | st.sampled_from(["paper", "market", "synthetic", "EUR_USD", "1e999999", "NaN", "../..", "\x1b[2J", "{env='A'}"])
    | st.dates()
    | st.times()
    | st.datetimes()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=6)


def toml(value: object) -> str:
    """A value as TOML, inline."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return quoted(value)
        case Decimal() if value.is_nan():
            return "nan"
        case Decimal() if value.is_infinite():
            return "-inf" if value < 0 else "inf"
        case Decimal():
            text = str(value)
            return text if "." in text or "E" in text else f"{text}.0"
        case date() | datetime() | time():
            return value.isoformat()
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{quoted(key)} = {toml(item)}" for key, item in value.items()) + "}"
    return str(value)


def quoted(text: str) -> str:
    escaped = "".join(f"\\U{ord(c):08X}" if not c.isalnum() else c for c in text if not 0xD800 <= ord(c) <= 0xDFFF)
    return f'"{escaped}"'


def attempt(content: bytes, environ: Mapping[str, str]) -> Config | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "demo.toml")
        path.write_bytes(content)
        try:
            return load_config(path, environ)
        except ConfigError as error:
            refusal = error
    assert refusal.problems
    assert all(problem.isprintable() for problem in refusal.problems), refusal.problems
    str(refusal).encode("utf-8")
    return None


@given(TABLES)
@example({"accounts": {"a": {"venue": "venue", "feed": "market", "feed_": 1}}})
@example({"accounts": {"a": {"venue": "token", "feed": "f", "token": {"env": "A"}}}})
def test_any_table_is_a_configuration_or_a_list_of_problems(table: dict[str, Any]) -> None:
    attempt("\n".join(f"{quoted(key)} = {toml(value)}" for key, value in table.items()).encode(), {})


@given(TABLES)
def test_whatever_is_added_to_a_good_file_too(extra: dict[str, Any]) -> None:
    lines = [f"{quoted(key)} = {toml(value)}" for key, value in extra.items()]
    attempt((GOOD + "\n".join(lines)).encode(), {})
    attempt(("\n".join(lines) + "\n" + GOOD).encode(), {})


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are(content: bytes) -> None:
    attempt(content, {})


# --- text that becomes part of a path, or is looked for as a file -----------------------------------------------------------

WHOLE = """\
[daemon]
name = "demo"
state_dir = "state"
[logging]
file = "log"
[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD"]
ticks = 10
start = "2024-01-01"
speed = "max"
[feeds.recorded]
kind = "file"
path = "ticks"
instrument = "EUR_USD"
time_zone = "UTC"
time_format = "iso"
[accounts.one]
venue = "paper"
feed = "market"
venue_account = "one"
currency = "USD"
parameter_mode = "normal"
sync_schedule = "0 0 * * *"
token = { file = "token" }
[accounts.one.risk]
instruments = ["EUR_USD"]
[accounts.one.paper]
conversion_rates = { "USD_JPY" = 150 }
[strategies.own]
kind = "mine.py:Mine"
account = "one"
instruments = ["EUR_USD"]
[instruments."EUR_USD"]
base = "EUR"
"""
OWN = """\
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
TEXTS_IN_IT = sorted(set(re.findall(r'"[^"]*"|(?<=[.])(?:market|recorded|one|own)(?=])', WHOLE)))
HOSTILE = [
    "", " ", ".", "..", "/", "-", "*", "[", "~", "~nobody-of-this-name/x", "a\0b", "a\nb", "\x1b[2J", "\x85", "\u202e",
    "e\u0301" * 200,
    "x" * 300, "x/" * 3000, "../../../up", "x/../../../up", "/proc/self/mem", "/dev/stdin", "all", "root", "recorder",
    "x\0.py:Y", "../x.py:Y", "x" * 300 + ".py:Y", "/dev/null.py:Y", "max", "1e999", "9" * 5000, "99 * * * *", "* * * * *",
    "%%", "%f%f", "America", "../UTC",
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: repr(text)[:24])
def test_no_text_anywhere_is_more_than_a_problem_or_leads_out_of_the_state_directory(
    hostile: str, tmp_path: Path
) -> None:
    """The whole way from a file to the names of files, with the real kinds."""
    (tmp_path / "ticks").mkdir()
    (tmp_path / "ticks" / "eurusd.csv").write_text("time,bid,ask\n")
    (tmp_path / "token").touch(0o600)
    (tmp_path / "mine.py").write_text(OWN)
    path = tmp_path / "demo.toml"
    path.write_text(WHOLE)
    _stays_inside(read_plan(path, {}, fetch_secrets=False))  # the file itself is right
    for text in TEXTS_IN_IT:
        path.write_text(WHOLE.replace(text, quoted(hostile)), encoding="utf-8")
        for attempt in (
            lambda: _stays_inside(read_plan(path, {}, fetch_secrets=False)),
            lambda: _can_be_asked(place_of(path, {})),
        ):
            assert all(line.isprintable() for line in _refusal(attempt).splitlines())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["demo.toml", "mine.py", "ticks", "token"]


def _refusal(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except (InputError, StoreUnavailable) as error:
        return str(error)
    return ""


def _stays_inside(plan: Plan) -> None:
    state = StateDir(plan.config.state_dir)
    for account in plan.accounts:
        names = (account.config.name, account.config.account_at_venue)
        for file in (*map(state.latch, names), *map(state.paper_ledger, names)):
            assert Path(os.path.normpath(file)).is_relative_to(state.path)
            assert len(os.fsencode(file.name)) <= 250
    log = plan.config.logging.file
    written = plan.config.raw["logging"]["file"]
    assert log is not None
    assert os.path.isabs(written) or Path(os.path.normpath(log)).is_relative_to(plan.config.state_dir)


def _can_be_asked(place: Place) -> None:
    assert place.pid is None
    assert not place.has_books


SEGMENTS = KEYS | st.sampled_from(["PAPER_1", "MARKET", "FLOOR", "__", "_"])
NAMES = st.lists(SEGMENTS, min_size=1, max_size=5).map(lambda parts: "TRADEKEEL__" + "__".join(parts))
# What os.environ can hold: any byte but NUL, undecodable ones as lone surrogates.
TEXTS = st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape"))


@given(st.dictionaries(NAMES, TEXTS | VALUES.map(toml), max_size=4))
def test_any_environment_is(environ: dict[str, str]) -> None:
    config = attempt(GOOD.encode(), environ)
    if config is not None:
        assert diff(config, config) == []
        assert len(config.fingerprint) == 32
