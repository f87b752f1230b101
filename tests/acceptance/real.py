"""Real ticks through the whole daemon, and what is kept of the run to look at."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.acceptance.dumb import Books, Ledger
from tradekeel.bootstrap.launch import RunOptions, launch
from tradekeel.bootstrap.summary import Summary
from tradekeel.runtime.signals import SignalInbox
from tradekeel.statedir import StateDir

HEAD = """
[daemon]
name = "real"
state_dir = "{state}"
[storage]
checkpoint_every_s = 0.5
"""
FEED = """
[feeds.eurusd]
kind = "file"
instrument = "EUR_USD"
format = "quote"
path = "{path}"
"""
APART = """
[accounts.trend]
venue = "paper"
feed = "eurusd"
leverage = 30
{terms_trend}
[accounts.layers]
venue = "paper"
feed = "eurusd"
leverage = 30
{terms_layers}
[strategies.ema]
kind = "ema_cross"
account = "trend"
instruments = ["EUR_USD"]
[strategies.floor]
kind = "floor"
account = "layers"
instruments = ["EUR_USD"]
"""
TOGETHER = """
[accounts.both]
venue = "paper"
feed = "eurusd"
leverage = 30
share_instruments = true
exits = "monitor"
{terms_both}
[strategies.ema]
kind = "ema_cross"
account = "both"
instruments = ["EUR_USD"]
[strategies.floor]
kind = "floor"
account = "both"
instruments = ["EUR_USD"]
"""
COSTS = """
[accounts.{account}.paper]
latency_ms = 40
latency_jitter_ms = 60
seed = 7
[accounts.{account}.paper.slippage]
model = "random"
pips = "0.7"
[accounts.{account}.paper.commission]
model = "per_million"
taker = 35
maker = 20
minimum = "0.02"
[accounts.{account}.paper.financing.EUR_USD]
long = "-1.5"
short = "-0.7"
"""


class Run(Struct, frozen=True):
    """A run that is over."""

    code: int
    log: str
    summary: Summary
    config: Path
    state: StateDir

    def ledger(self, account: str) -> Ledger:
        """The venue's side, recomputed."""
        return Ledger(self.state.paper_ledger(account))

    def books(self, account: str) -> Books:
        """Our side, as it stands."""
        return Books(self.state.books, account)


class Watcher:
    """Takes the place of a terminal: keeps the log, and the summary at the end."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self.summary: Summary | None = None

    def open(self, name: str) -> None:
        """Nothing to draw."""

    def show(self, status: Mapping[str, Any]) -> None:
        """Nothing to draw."""

    def close(self) -> None:
        """Nothing to put back."""

    def finish(self, summary: Summary) -> None:
        self.summary = summary

    def give_up(self) -> None:
        """The log is kept all the same."""


def config_of(folder: Path, shape: str, path: Path, *, costs: bool = False, **feed: str) -> Path:
    """A configuration file for a shape of accounts over recorded ticks."""
    terms = {f"terms_{name}": COSTS.format(account=name) if costs else "" for name in ("trend", "layers", "both")}
    extra = "".join(f'{key} = "{value}"\n' for key, value in feed.items())
    text = HEAD.format(state=folder / "state") + FEED.format(path=path) + extra + shape.format(**terms)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "real.toml"
    file.write_text(text)
    return file


def run(config: Path) -> Run:
    """Run the daemon to the end of its feed, with what `tradekeel run` does behind its first line."""
    watcher = Watcher()
    code = launch(config, RunOptions(), SignalInbox([]), {}, watcher)
    assert watcher.summary is not None, watcher.log.getvalue()
    return Run(code, watcher.log.getvalue(), watcher.summary, config, StateDir(config.parent / "state"))
