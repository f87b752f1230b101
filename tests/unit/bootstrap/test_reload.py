"""What can change while trading goes on, and that it is all or nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tradekeel.bootstrap.plan import Plan, read_plan
from tradekeel.bootstrap.reload import ACCOUNT, ACCOUNTS, CONTROL, PROCESS, SCHEDULER, shown, steps_of
from tradekeel.errors import InputError

CONFIG = """
[daemon]
on_stop = "keep"
[logging]
level = "info"
[storage]
checkpoint_every_s = 5
snapshot_schedule = 60
[feeds.market]
kind = "synthetic"
instruments = ["EUR_USD", "USD_JPY"]
ticks = 10
[accounts.one]
venue = "paper"
feed = "market"
leverage = 30
sync_schedule = 60
[accounts.one.risk]
quantity_max = 1000
[accounts.two]
venue = "paper"
feed = "market"
[strategies.trend]
kind = "ema_cross"
account = "one"
instruments = ["EUR_USD"]
params = { fast = 5, slow = 20 }
[strategies.floor]
kind = "floor"
account = "two"
instruments = ["USD_JPY"]
"""
MORE = """instruments = ["USD_JPY"]
[strategies.more]
kind = "floor"
account = "two"
instruments = ["EUR_USD"]
"""


def plan(folder: Path, old: str = "", new: str = "") -> Plan:
    assert old in CONFIG
    path = folder / "config.toml"
    path.write_text(CONFIG.replace(old, new) if old else CONFIG)
    return read_plan(path, {})


@pytest.mark.parametrize(
    ("old", "new", "path", "scope", "account", "strategy"),
    [
        ('level = "info"', 'level = "debug"', "logging.level", PROCESS, None, None),
        ('on_stop = "keep"', 'on_stop = "flatten"', "daemon.on_stop", CONTROL, None, None),
        ("checkpoint_every_s = 5", "checkpoint_every_s = 9", "storage.checkpoint_every_s", ACCOUNTS, None, None),
        ("snapshot_schedule = 60", "snapshot_schedule = 0", "storage.snapshot_schedule", SCHEDULER, None, None),
        ("sync_schedule = 60", "sync_schedule = 30", "accounts.one.sync_schedule", SCHEDULER, "one", None),
        (
            "sync_schedule = 60",
            "sync_schedule = 60\ndays_a_year = 365",
            "accounts.one.days_a_year",
            ACCOUNT,
            "one",
            None,
        ),
        ("quantity_max = 1000", "quantity_max = 9", "accounts.one.risk.quantity_max", ACCOUNT, "one", None),
        ("quantity_max = 1000", "", "accounts.one.risk.quantity_max", ACCOUNT, "one", None),
        ("slow = 20", "slow = 30", "strategies.trend.params.slow", ACCOUNT, "one", "trend"),
    ],
)
def test_what_can_change_live(
    tmp_path: Path, old: str, new: str, path: str, scope: str, account: str | None, strategy: str | None
) -> None:
    [step] = steps_of(plan(tmp_path), plan(tmp_path, old, new))
    assert (step.change.path, step.scope, step.account, step.strategy) == (path, scope, account, strategy)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("ticks = 10", "ticks = 11", "feeds.market.ticks"),
        ("leverage = 30", "leverage = 20", "accounts.one.leverage"),
        ("[accounts.two]", "[accounts.two]\nbalance = 5", "accounts.two.balance"),
        ('account = "two"', 'account = "two"\nenabled = false', "strategies.floor.enabled"),
        ('instruments = ["USD_JPY"]\n', MORE, "strategies.more"),
        ("[daemon]", '[daemon]\nstate_dir = "elsewhere"', "daemon.state_dir"),
        ("[daemon]", "[instruments.EUR_USD]\nmargin_rate = 0.1\n[daemon]", "instruments.EUR_USD.margin_rate"),
    ],
)  # fmt: skip
def test_what_needs_a_restart_is_refused_by_name(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(InputError, match=named) as refusal:
        steps_of(plan(tmp_path), plan(tmp_path, old, new))
    assert "Nothing was changed" in str(refusal.value)


def test_one_value_that_cannot_change_refuses_all(tmp_path: Path) -> None:
    before = plan(tmp_path)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.replace("slow = 20", "slow = 30").replace("leverage = 30", "leverage = 20"))
    with pytest.raises(InputError, match=r"accounts\.one\.leverage"):
        steps_of(before, read_plan(path, {}))


def test_the_same_meaning_written_otherwise_is_no_change(tmp_path: Path) -> None:
    assert steps_of(plan(tmp_path), plan(tmp_path, "quantity_max = 1000", 'quantity_max = "1000.0"  # as before')) == []


OWN = """
from msgspec import Struct
from tradekeel.strategies.base import Strategy
from tradekeel.strategies.parameters import Parameters
class Params(Parameters, frozen=True, kw_only=True):
    n: int = 1
class State(Struct, frozen=True):
    pass
class Mine(Strategy[Params, State]):
    Params = Params
    State = State
"""


def test_the_code_of_a_strategys_file_is_a_value_like_any_other(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(OWN)
    with_own = ('kind = "floor"\naccount = "two"', 'kind = "mine.py:Mine"\naccount = "two"')
    before = plan(tmp_path, *with_own)
    assert steps_of(before, plan(tmp_path, *with_own)) == []
    mine.write_text(OWN + "# another one")
    [step] = steps_of(before, plan(tmp_path, *with_own))
    assert (step.scope, step.account, step.strategy) == (ACCOUNT, "two", "floor")
    old, new = (hashlib.sha256(text.encode()).hexdigest()[:12] for text in (OWN, OWN + "# another one"))
    assert str(step) == f"strategies.floor.code: {old} -> {new}"


def test_values_are_shown_as_a_person_writes_them() -> None:
    assert [shown(value) for value in (None, True, 5, "x")] == ["none", "true", "5", "x"]
