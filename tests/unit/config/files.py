"""A configuration that is right, as text, and what the tests of this folder do with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tradekeel.config import Config, ConfigError, Kinds, load_config

GOOD = """\
[daemon]
name = "demo"

[feeds.market]
kind = "synthetic"
seed = 7

[accounts.paper-1]
venue = "paper"
feed = "market"
balance = "100000.00"

[accounts.paper-1.risk]
loss_daily_max = 500

[accounts.paper-1.paper]
latency_ms = 20

[strategies.floor]
kind = "floor"
account = "paper-1"
instruments = ["EUR_USD"]

[strategies.floor.params]
max_layers = 5
"""


def written(folder: Path, text: str = GOOD, name: str = "demo.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def load(
    folder: Path, text: str = GOOD, environ: Mapping[str, str] | None = None, kinds: Kinds | None = None
) -> Config:
    return load_config(written(folder, text), environ or {}, kinds)


def problems(
    folder: Path, text: str = GOOD, environ: Mapping[str, str] | None = None, kinds: Kinds | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ, kinds)
    return caught.value.problems


def without_lines(problems: list[str]) -> list[str]:
    """Problems without where they stand in the file."""
    return [re.sub(r" \(line \d+\)$", "", problem) for problem in problems]
