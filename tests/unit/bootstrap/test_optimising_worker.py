"""A worker, called in the tests' own process: what it says to its orders, and what is in the study behind it."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import pytest

from tests.scenarios import support_configs as configs
from tradekeel.backtest.optimising.windows import Part, Window
from tradekeel.bootstrap.optimising.joining import study_of
from tradekeel.bootstrap.optimising.messages import Broke, Came, Done, Ready, RunOnce, Stop, Told, TryOut
from tradekeel.bootstrap.optimising.preparing import Asked, prepare
from tradekeel.bootstrap.optimising.results import TrialResult, best_of, trials_of
from tradekeel.bootstrap.optimising.stores import opened_store
from tradekeel.bootstrap.optimising.working import work

OPTIMIZE = """
[optimize]
objective = "{objective}"
sampler = "grid"
pruner = "{pruner}"
trades_min = {trades_min}

[optimize.parameters.ema]
fast = {{ from = 4, to = 36, step = 8 }}
"""


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A worker sets handlers of its own."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


RESTLESS = """
from tradekeel.strategies.ema_cross import EmaCross


class Restless(EmaCross):
    \"\"\"Throws with one of its parameters.\"\"\"

    kind = "restless"

    def on_tick(self, tick, state, context):
        if self.params.fast == 12:
            raise {error}
        return super().on_tick(tick, state, context)
"""


def asked(
    folder: Path, *, objective: str = "pnl", pruner: str = "none", trades_min: int = 1, kind: str = "ema_cross"
) -> Asked:
    parts = [configs.head(), configs.market(1_200), configs.account("a"), configs.strategy("ema", "a", kind)]
    text = "".join(parts).replace("{state}", str(folder / "state"))
    config = folder / "look.toml"
    config.write_text(text + OPTIMIZE.format(objective=objective, pruner=pruner, trades_min=trades_min))
    return Asked(config=config, walk_forward=False)


class Orders:
    """The end of a pipe: orders come one by one, when the one before is done, and behind the last nobody is there."""

    def __init__(self, *orders: Any, end: Exception | None = None) -> None:
        self._orders, self._end = list(orders), end or EOFError()
        self.said: list[Any] = []

    def poll(self) -> bool:
        return False

    def recv(self) -> Any:
        if not self._orders:
            raise self._end
        return self._orders.pop(0)

    def send(self, message: Any) -> None:
        self.said.append(pickle.loads(pickle.dumps(message)))


def said(order: Asked, *orders: Any) -> list[Any]:
    """All that a worker says to these orders."""
    pipe = Orders(*orders)
    work(cast(Connection, pipe), 0, order, {})
    return pipe.said


def window_of(order: Asked) -> Window:
    (ready,) = said(order)
    assert isinstance(ready, Ready)
    assert (ready.ticks, ready.wanted) == (1_200, 4), "of five points one is refused by the strategy"
    return Window(1, ready.data, None)


def trials(order: Asked, window: Window) -> tuple[TrialResult, ...]:
    task = prepare(order, {})
    with opened_store(task.store) as store:
        return trials_of(study_of(store, task, window), task)


def test_it_runs_every_trial_and_tells_of_each(tmp_path: Path) -> None:
    order = asked(tmp_path)
    window = window_of(order)
    assert said(order, TryOut(window))[1:] == [Told()] * 4 + [Done()]
    found = trials(order, window)
    assert [each.status for each in found] == ["complete"] * 4
    assert {each.parameters["ema.fast"] for each in found} == {4, 12, 20, 28}
    assert said(order, TryOut(window))[1:] == [Done()], "nothing is left"


@pytest.mark.parametrize("end", [EOFError(), ConnectionResetError(104, "Connection reset by peer"), BrokenPipeError()])
def test_it_comes_to_an_end_in_silence_where_the_command_was_killed(tmp_path: Path, end: Exception) -> None:
    pipe = Orders(end=end)
    work(cast(Connection, pipe), 0, asked(tmp_path), {})
    assert [type(each) for each in pipe.said] == [Ready], "nothing is thrown, and nobody is told"


def test_what_is_run_once_is_what_the_trial_was(tmp_path: Path) -> None:
    order = asked(tmp_path)
    window = window_of(order)
    said(order, TryOut(window))
    best, _ = best_of(trials(order, window), prepare(order, {}).goals)
    assert best is not None
    came = said(order, RunOnce(best.marks, window.inside))[1]
    assert isinstance(came, Came)
    assert came.outcome is not None
    assert str(came.outcome.figures["pnl"]) == best.figures["pnl"]
    nothing = said(order, RunOnce(best.marks, Part(0, 1)))[1]
    assert nothing == Came(None, "there is no tick")


def test_a_trial_with_too_few_trades_or_without_a_figure_has_failed_with_its_reason(tmp_path: Path) -> None:
    few = asked(tmp_path, trades_min=1_000)
    window = window_of(few)
    said(few, TryOut(window))
    assert {each.status for each in trials(few, window)} == {"failed"}
    assert all("fewer than trades_min 1000" in each.why for each in trials(few, window))
    none = asked(tmp_path, objective="sharpe")
    said(none, TryOut(window))
    assert all("sharpe is undefined" in each.why for each in trials(none, window))


@pytest.mark.parametrize(
    ("error", "why"),
    [("SystemExit(3)", "the strategy ends its process: SystemExit(3)"), ("ValueError('no')", "ValueError: no")],
)
def test_a_strategy_that_throws_at_a_point_fails_there_and_nowhere_else(tmp_path: Path, error: str, why: str) -> None:
    (tmp_path / "restless.py").write_text(RESTLESS.format(error=error))
    order = asked(tmp_path, kind="restless.py:Restless")
    window = window_of(order)
    assert said(order, TryOut(window))[1:] == [Told()] * 4 + [Done()]
    found = {each.parameters["ema.fast"]: each for each in trials(order, window)}
    assert {fast: each.status for fast, each in found.items()} == {
        4: "complete",
        12: "failed",
        20: "complete",
        28: "complete",
    }
    assert why in found[12].why


def test_a_strategy_that_has_no_memory_left_ends_the_worker_and_its_point_is_not_given_up(tmp_path: Path) -> None:
    (tmp_path / "restless.py").write_text(RESTLESS.format(error="MemoryError"))
    order = asked(tmp_path, kind="restless.py:Restless")
    window = window_of(order)
    broke = said(order, TryOut(window))[-1]
    assert isinstance(broke, Broke)
    assert "MemoryError" in broke.text
    assert not [each for each in trials(order, window) if each.status == "failed"]


def test_a_trial_that_is_broken_off_says_where(tmp_path: Path) -> None:
    order = asked(tmp_path, pruner="halving")
    window = window_of(order)
    said(order, TryOut(window))
    pruned = [each for each in trials(order, window) if each.status == "pruned"]
    assert pruned
    assert all(each.why.startswith("pruned at ") for each in pruned)


def test_what_ends_a_worker_is_told_to_whoever_began_it(tmp_path: Path) -> None:
    order = asked(tmp_path)
    window = window_of(order)
    empty = said(order, TryOut(Window(3, Part(0, 1), None)))[1]
    assert isinstance(empty, Broke)
    assert (empty.kind, "has no tick" in empty.text) == ("InputError", True)
    assert said(order, Stop(), TryOut(window))[1:] == [], "a stop is a stop"


def result(number: int, *values: float) -> TrialResult:
    return TrialResult(
        number=number,
        status="complete",
        marks={"s.a": -number},
        parameters={},
        values=values,
        figures={},
        trades=1,
        why="",
    )


def test_of_equals_the_best_does_not_depend_on_who_was_quicker(tmp_path: Path) -> None:
    goals = prepare(asked(tmp_path), {}).goals
    found = [result(1, 2.0), result(2, 3.0), result(3, 3.0)]
    best, front = best_of(found, goals)
    assert best is found[2], "its parameters sort first"
    assert front == ()
    assert best_of([], goals) == (None, ())


def test_of_two_goals_the_front_is_what_nothing_is_better_than_in_both(tmp_path: Path) -> None:
    goals = (*prepare(asked(tmp_path), {}).goals, *prepare(asked(tmp_path, objective="max_drawdown"), {}).goals)
    profit_and_fall = [(10.0, 5.0), (9.0, 1.0), (1.0, 0.9), (8.0, 2.0), (10.0, 6.0)]
    found = [result(number, *values) for number, values in enumerate(profit_and_fall)]
    best, front = best_of(found, goals)
    assert [each.number for each in front] == [0, 1, 2]
    assert best is found[1], "near the best of both"
