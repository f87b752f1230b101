"""A trial: a backtest over a part of the data, which is the same whether its ticks are held or read again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import structs

from tests.scenarios import support_configs as configs
from tradekeel.backtest.optimising.stitching import outcome_of
from tradekeel.backtest.optimising.trying import LOOKS, Market, try_out
from tradekeel.backtest.optimising.windows import Part
from tradekeel.backtest.source import TickDataSource, TicksSource
from tradekeel.bootstrap.backtesting import timeframes_of
from tradekeel.bootstrap.optimising.preparing import Asked, Task, prepare
from tradekeel.domain.goals import GOALS, figures_of
from tradekeel.domain.performance_report import PerformanceReport
from tradekeel.domain.ticks import Tick
from tradekeel.domain.times import NS_PER_S
from tradekeel.errors import InputError

RANGES = """
[optimize.parameters.ema]
fast = { from = 4, to = 8, step = 4 }
timeframe = { choices = ["", "5s"] }
"""
MARKS = {"ema.fast": 4, "ema.timeframe": 1}


@pytest.fixture
def task(tmp_path: Path) -> Task:
    parts = [configs.head(), configs.market(1_200), configs.account("a"), configs.strategy("ema", "a"), RANGES]
    config = tmp_path / "look.toml"
    config.write_text("".join(parts).replace("{state}", str(tmp_path / "state")))
    return prepare(Asked(config=config), {})


def run(
    task: Task, market: Market, part: Part, looks: list[int] | None = None, most: int = 100
) -> PerformanceReport | None:
    chosen = task.chosen(MARKS)
    source = market.cut(part.begun_earlier(task.warm_up_ns), timeframes_of(chosen))

    def look(number: int, report: PerformanceReport) -> bool:
        assert looks is not None
        assert report.ticks, "there is something to be seen"
        looks.append(number)
        return number < most

    tried = try_out(
        task.setup(chosen, source, part),
        source,
        goes_on=lambda position: True,
        look=None if looks is None else look,
        ticks=market.count(part),
    )
    return tried.report


def parts(data: Part) -> Sequence[Part]:
    middle = data.start_ns + data.span_ns // 3
    return data, Part(data.start_ns, middle), Part(middle, data.end_ns)


def test_ticks_that_are_held_and_ticks_that_are_read_again_come_to_the_same(task: Task) -> None:
    held, read = Market(task.source), Market(task.source, held_max=0)
    assert held.part == read.part
    assert held.ticks == read.ticks == 1_200
    for part in parts(held.part):
        assert run(task, held, part) == run(task, read, part)


def test_parts_share_no_tick_and_leave_none_out(task: Task) -> None:
    market = Market(task.source)
    whole, first, second = parts(market.part)
    assert market.count(first) + market.count(second) == market.count(whole) == market.ticks


def test_ticks_that_are_not_held_are_opened_once_and_one_trial_behind_the_other(task: Task) -> None:
    opened = list[TickDataSource]()

    def make() -> TickDataSource:
        opened.append(task.source())
        return opened[-1]

    market = Market(make, held_max=0)
    _, first, second = parts(market.part)
    next(market.cut(second, {}).windows())  # broken off
    assert run(task, market, first) == run(task, Market(task.source), first)
    assert run(task, market, second) == run(task, Market(task.source), second)
    assert len(opened) == 1


@pytest.mark.parametrize("held_max", [0, 10_000])
def test_a_part_without_a_tick_is_known_whether_they_are_held_or_not(task: Task, held_max: int) -> None:
    market = Market(task.source, held_max=held_max)
    data = market.part
    weekend = Part(data.end_ns, data.end_ns + data.span_ns)
    assert [market.count(part) for part in (weekend, Part(0, 1), weekend)] == [0, 0, 0]
    assert market.count(data) == 1_200


def test_whoever_goes_a_long_way_to_a_part_is_told_of_each_step(task: Task) -> None:
    market = Market(lambda: TicksSource(ticks_of(task), window_ticks=100), held_max=0)
    *_, second = parts(market.part)
    steps = list[int]()
    assert market.count(second, lambda: steps.append(1))
    assert len(steps) == 5, "four windows before it, and the one that it begins in"
    steps.clear()
    next(market.cut(second, {}, lambda: steps.append(1)).windows())
    assert len(steps) == 5

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        next(market.cut(second, {}, stop).windows())


def ticks_of(task: Task) -> list[Tick]:
    return [tick for window in task.source().windows() for tick in window.ticks]


def test_looking_changes_nothing(task: Task) -> None:
    market, looks = Market(task.source), list[int]()
    assert run(task, market, market.part, looks) == run(task, market, market.part)
    assert looks == list(range(1, LOOKS))


def test_nobody_looks_within_a_warm_up(task: Task) -> None:
    market, looks = Market(task.source), list[int]()
    part = Part(market.part.start_ns + market.part.span_ns // 2, market.part.end_ns)
    task = structs.replace(task, options=structs.replace(task.options, warm_up="1h"))
    report = run(task, market, part, looks)
    assert report is not None
    assert report.ticks == market.count(part) < market.ticks
    assert looks == list(range(1, len(looks) + 1))
    assert len(looks) >= LOOKS // 2 - 1, "a look is between two windows, of which a part so short has few"


def test_a_look_may_break_it_off(task: Task) -> None:
    market, looks = Market(task.source), list[int]()
    assert run(task, market, market.part, looks, most=4) is None
    assert looks == [1, 2, 3, 4]


def test_what_the_strategy_refuses_is_not_allowed(task: Task) -> None:
    assert task.allows(MARKS)
    assert not task.allows({"ema.fast": 34, "ema.timeframe": 0})
    with pytest.raises(InputError, match="must be below slow"):
        task.chosen({"ema.fast": 34, "ema.timeframe": 0})


def test_every_goal_can_be_asked_of_a_report(task: Task) -> None:
    market = Market(task.source)
    report = run(task, market, market.part)
    assert report is not None
    figures = figures_of(report, tuple(GOALS))
    assert figures["total_pnl"] == report.returns.total_pnl
    assert figures["max_drawdown"] is not None
    assert figures["sharpe"] is None, "of less than two days"


def test_the_gains_of_an_outcome_come_to_its_return(task: Task) -> None:
    market = Market(task.source)
    report = run(task, market, market.part)
    assert report is not None
    outcome = outcome_of(report, {}, 600 * NS_PER_S)
    assert outcome.total_return_percent == report.returns.total_return_percent
    factor = 1.0
    for gain in outcome.gains:
        factor *= 1 + float(gain)
    assert 100 * (factor - 1) == pytest.approx(float(outcome.total_return_percent or 0), abs=1e-3)
