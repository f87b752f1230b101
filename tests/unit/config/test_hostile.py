"""Whatever stands in the file or the environment, the answer is a Config or a ConfigError that can be printed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.config.files import GOOD
from tradekeel.config import Config, ConfigError, diff, load_config

KEYS = st.sampled_from(
    [
        "daemon",
        "logging",
        "storage",
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
