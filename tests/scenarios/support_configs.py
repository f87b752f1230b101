"""Configurations for scenarios: a few hundred ticks of a lively market that end by themselves in a third of a second."""

from __future__ import annotations

EMA = "fast = 8, slow = 34, stop_loss_pips = 3, take_profit_pips = 5, trailing_pips = 2"
FLOOR = "retracement_pips = 2, take_profit_pips = 3, floor_stop_pips = 12"


def head(cut_every_s: float = 0.05, snapshot_s: float = 0, more: str = "") -> str:
    """The daemon and its storage."""
    return f"""
[daemon]
name = "scenario"
state_dir = "{{state}}"
stall_limit_s = 60
{more}
[storage]
checkpoint_every_s = {cut_every_s}
snapshot_schedule = {snapshot_s}
sample_ticks_every = 40
"""


def market(ticks: int = 300, name: str = "m", speed: str = "max", more: str = "") -> str:
    """A synthetic market, the same in every run."""
    return f"""
[feeds.{name}]
kind = "synthetic"
instruments = ["EUR_USD"]
seed = 11
start = "2024-01-03T13:00:00Z"
ticks = {ticks}
interval_ms = 500
volatility = "0.4"
spread_pips = "0.6"
speed = "{speed}"
{more}
"""


def account(
    name: str, *, exits: str = "venue", feed: str = "m", more: str = "", paper: str = "", sync_s: float = 0
) -> str:
    """A paper account."""
    shared = "share_instruments = true\n" if exits == "monitor" else ""
    return f"""
[accounts.{name}]
venue = "paper"
feed = "{feed}"
leverage = 30
exits = "{exits}"
{shared}sync_schedule = {sync_s}
{more}
[accounts.{name}.paper]
{paper}
"""


def strategy(name: str, account_: str, kind: str = "ema_cross", params: str = EMA) -> str:
    """A strategy on EUR_USD."""
    return f"""
[strategies.{name}]
kind = "{kind}"
account = "{account_}"
instruments = ["EUR_USD"]
params = {{ {params} }}
"""


def pair(ticks: int = 300, speed: str = "max", **head_options: float) -> str:
    """Two accounts: one whose exits the venue keeps, one whose exits the monitor keeps for two strategies."""
    return (
        head(**head_options)  # type: ignore[arg-type]  # numbers only
        + market(ticks, speed=speed)
        + account("a")
        + account("b", exits="monitor")
        + strategy("ema", "a")
        + strategy("floor", "b", "floor", FLOOR)
        + strategy("ema-b", "b")
    )
