"""Where something happens at every other tick a window of ticks takes its time. Stops and cuts do not wait for its end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from tests.acceptance.dumb import Books, without_ids
from tests.benchmarks.bench_orders import EnterOften
from tests.benchmarks.support import BenchBuilder, MemoryFeed, Nothing, made_ticks, plan_of, run_house
from tradekeel.bootstrap.plan import AccountPlan
from tradekeel.domain.rows import ACCOUNT_OWNER
from tradekeel.domain.ticks import Tick
from tradekeel.storage.verify import verify

WINDOW = 512
CONFIG = """
[daemon]
name = "busy"
state_dir = "state"
[storage]
checkpoint_every_s = {checkpoint_every_s}
snapshot_schedule = 0
[feeds.memory]
kind = "synthetic"
instruments = ["EUR_USD"]
ticks = 1
[accounts.a]
venue = "paper"
feed = "memory"
sync_schedule = 0
[strategies.s]
kind = "ema_cross"
account = "a"
instruments = ["EUR_USD"]
"""


class Interrupting(EnterOften):
    """Enters often, and calls somebody at one tick."""

    at = 0
    call: Callable[[], object]

    def on_tick(self, tick: Tick, state: Any, context: Any) -> Any:
        if tick.position == type(self).at:
            type(self).call()
        return super().on_tick(tick, state, context)


def conduct(folder: Path, *, stop_at: int = 0, checkpoint_every_s: float = 3_600) -> Books:
    """Conduct a window and a half, stopped at a tick or to the end."""
    folder.mkdir(exist_ok=True)
    made: list[BenchBuilder] = []

    class Builder(BenchBuilder):
        def build(self) -> Any:
            made.append(self)
            return super().build()

    class Strategy(Interrupting):
        at = stop_at

        @staticmethod
        def call() -> None:
            control = made[0].control
            assert control is not None
            control.begin_stop("somebody asked for it in the middle of a window")

    plan = plan_of(folder, CONFIG.format(checkpoint_every_s=checkpoint_every_s))
    account: AccountPlan = plan.accounts[0]
    strategy = msgspec.structs.replace(account.strategies[0], cls=Strategy, params=Nothing())
    account = msgspec.structs.replace(account, strategies=(strategy,))
    run_house(msgspec.structs.replace(plan, accounts=(account,)), MemoryFeed(made_ticks(WINDOW + WINDOW // 2)), Builder)
    books = folder / "state" / "books.db"
    assert verify(books).ok
    return Books(books, "a")


def test_a_stop_comes_between_two_ticks_of_a_window_and_the_rest_is_as_if_it_had_not(tmp_path: Path) -> None:
    stopped = conduct(tmp_path / "stopped", stop_at=100)
    assert 100 <= stopped.checkpoint("s")["position"] < 130
    went_on = conduct(tmp_path / "stopped")
    whole = conduct(tmp_path / "whole")
    assert went_on.checkpoint("s")["ticks_processed"] == WINDOW + WINDOW // 2
    for name in ("trades", "orders", "fills", "signals"):
        assert without_ids(went_on, name) == without_ids(whole, name), name


def test_cuts_are_made_in_the_middle_of_a_window_when_they_are_due(tmp_path: Path) -> None:
    books = conduct(tmp_path, checkpoint_every_s=0.02)
    with closing(sqlite3.connect(books.path)) as db:
        cuts = [
            position
            for (position,) in db.execute(
                "SELECT DISTINCT position FROM checkpoints WHERE execution = ? AND owner = ?",
                (books.execution, ACCOUNT_OWNER),
            )
        ]
    assert any(position % WINDOW and position != WINDOW + WINDOW // 2 for position in cuts), cuts
