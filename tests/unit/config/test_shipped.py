"""The files in config/ are right, and complete.toml is complete: it names every option and says its default."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from tradekeel.config import Config, Kinds, load_config
from tradekeel.config.config import flat_values
from tradekeel.domain.matching.terms import PaperSettings
from tradekeel.domain.risk_limits import RiskLimits
from tradekeel.feeds import FEEDS
from tradekeel.strategies.registry import load_strategy_class

FOLDER = Path(__file__).parents[3] / "config"
KINDS = Kinds(
    feeds={kind: feed.settings for kind, feed in FEEDS.items()},
    venues={"paper": PaperSettings},
    strategies=lambda kind, folder: load_strategy_class(kind, folder).Params,
    risk=RiskLimits,
)
# What an example must choose although there is a default, or what has an effect only where it differs from it.
CHOSEN = {"daemon.name", "daemon.state_dir", "feeds.market.duration"}


def shipped(name: str) -> Config:
    return load_config(FOLDER / name, {}, KINDS)


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.toml")))
def test_every_file_is_right_and_warns_of_nothing(name: str) -> None:
    config = shipped(name)
    assert config.warnings == ()
    assert config.daemon.name == Path(name).stem
    assert config.state_dir == FOLDER.parent / "var" / config.daemon.name


def test_the_demo_is_paced_ends_within_three_minutes_and_needs_nobody() -> None:
    config = shipped("demo.toml")
    (feed,) = config.feeds.values()
    assert feed.kind == "synthetic"
    assert feed.settings.duration == "2h"
    assert 2 * 3600 / feed.settings.speed <= 180
    assert len(config.strategies) == 2
    assert config.daemon.on_feed_end == "stop"


# --- complete.toml -------------------------------------------------------------------------------------------------------


def structs(config: Config) -> Iterator[tuple[str, Struct, set[str]]]:
    """Every Struct that a table of the file is decoded to: its path, itself, and fields that are no keys of that table."""
    for section in ("daemon", "logging", "storage", "redis"):
        yield section, getattr(config, section), set()
    for feed in config.feeds.values():
        yield f"feeds.{feed.name}", feed.settings, set()
    account = config.accounts["main"]
    yield "accounts.main", account, {"name", "options", "settings", "risk_settings", "risk"}
    yield "accounts.main.paper", account.settings, set()
    yield "accounts.main.risk", account.risk_settings, set()
    for strategy in config.strategies.values():
        yield f"strategies.{strategy.name}.params", strategy.settings, set()
    yield "instruments.EUR_USD", config.instruments["EUR_USD"], set()
    assert config.optimize is not None
    yield "optimize", config.optimize, {"parameters"}


def keys_shown(text: str) -> dict[str, set[str]]:
    """Keys by table, those behind a ``#`` too."""
    shown: dict[str, set[str]] = {}
    table = ""
    for line in text.splitlines():
        if match := re.match(r"(?:# )?\[([\w.-]+)\]", line):
            table = match[1]
            parts = table.split(".")
            for depth in range(1, len(parts)):
                shown.setdefault(".".join(parts[:depth]), set()).add(parts[depth])
        elif match := re.match(r"(?:# )?(\w+) = ", line):
            shown.setdefault(table, set()).add(match[1])
    return shown


def walked(path: str, struct: Struct, hidden: set[str]) -> Iterator[tuple[str, Struct, set[str]]]:
    yield path, struct, hidden
    for name in set(struct.__struct_fields__) - hidden:
        value = getattr(struct, name)
        if isinstance(value, Struct):
            yield from walked(f"{path}.{name}", value, set())


def test_complete_names_every_option() -> None:
    shown = keys_shown((FOLDER / "complete.toml").read_text(encoding="utf-8"))
    missing = [
        f"{path}.{name}"
        for top in structs(shipped("complete.toml"))
        for path, struct, hidden in walked(*top)
        for name in struct.__struct_fields__
        if name not in hidden and name not in shown.get(path, set())
    ]
    assert missing == []


def test_complete_names_the_options_of_every_kind_of_feed() -> None:
    shown = keys_shown((FOLDER / "complete.toml").read_text(encoding="utf-8"))
    tables = {"synthetic": "feeds.market", "file": "feeds.recorded", "redis": "feeds.shared", "sql": "feeds.database"}
    assert set(tables) == set(FEEDS)
    for kind, feed in FEEDS.items():
        assert set(feed.settings.__struct_fields__) <= shown[tables[kind]], kind


def test_complete_says_the_defaults() -> None:
    config = shipped("complete.toml")
    written = tomllib.loads((FOLDER / "complete.toml").read_text(encoding="utf-8"))
    wrong = []
    for top in structs(config):
        for path, struct, hidden in walked(*top):
            if not path.startswith("instruments."):  # there the catalogue has the defaults
                wrong += list(different(path, struct, hidden, written))
    assert wrong == []


def different(path: str, struct: Struct, hidden: set[str], written: Mapping[str, Any]) -> Iterator[str]:
    for field in msgspec.structs.fields(type(struct)):
        at, value = f"{path}.{field.name}", getattr(struct, field.name)
        if field.name in hidden or field.required or isinstance(value, Struct) or at in CHOSEN:
            continue
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        if (
            is_written(written, at)
            and plain(value) != plain(default)
            and field.name not in {"path", "instrument", "markets"}
        ):
            yield f"{at} = {value}, but the default is {default}"


def is_written(table: Any, path: str) -> bool:
    for key in path.split("."):
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True


def plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def test_what_is_shown_behind_a_number_sign_is_right_too(tmp_path: Path) -> None:
    # Options that exclude each other stay as they are.
    excluded = re.compile(
        r"# (ticks|kind = \"my_strategy|start = \"2024-01-03\"|date|price|\[strategies\.mine\]|bid_size|ask_size|"
        r"token|username|password|instrument = \"instrument|query)\b"
    )
    text = (FOLDER / "complete.toml").read_text(encoding="utf-8")
    lines = [
        line[2:] if re.match(r"# (\w+ = |\[feeds\.)", line) and not excluded.match(line) else line
        for line in text.splitlines()
    ]
    path = tmp_path / "complete.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    config = load_config(path, {}, KINDS)
    shared = config.feeds["shared"].settings
    assert shared == FEEDS["redis"].settings(
        stream=shared.stream, instruments=shared.instruments
    )  # the rest is the default
    assert len(flat_values({"accounts": config.accounts})) > 40
    assert config.accounts["main"].leverage == 30
    assert config.accounts["main"].risk_settings.daily_loss_max == 1000
