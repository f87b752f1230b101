"""What came of it: trials, what was best, how it held out of sample, and what all of that is as JSON."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tradekeel.backtest.optimising.space import Marks, key_of
from tradekeel.backtest.optimising.stitching import Outcome, Stitched, efficiency, kept, stitched
from tradekeel.backtest.optimising.windows import Window
from tradekeel.bootstrap.values import plain_value
from tradekeel.bootstrap.withinbars import WithinBars, within_bars
from tradekeel.domain.goals import Goal
from tradekeel.domain.times import iso

if TYPE_CHECKING:
    from optuna import Study

    from tradekeel.bootstrap.optimising.preparing import Task

IMPORTANCE_TRIALS_MIN = 10
"""Of fewer complete trials nothing can be said of what matters."""


class TrialResult(Struct, frozen=True, kw_only=True):
    """One trial. ``status``: complete, pruned, failed, running, waiting, gave_way or lost."""

    number: int
    status: str
    marks: Marks
    parameters: dict[str, Any]
    values: tuple[float, ...]
    figures: dict[str, Any]
    trades: int | None
    why: str


class WindowResult(Struct, frozen=True, kw_only=True):
    """One window's study, and what its best parameters came to."""

    window: Window
    trials: tuple[TrialResult, ...]
    best: TrialResult | None
    front: tuple[TrialResult, ...]  # of two objectives: what no other trial is better than in both
    inside: Outcome | None
    outside: Outcome | None
    why: str  # there is nothing out of sample
    importance: dict[str, float]

    @property
    def is_repeatable(self) -> bool | None:
        """Whether the best trial's parameters came to the same when they were run again; None where they were not."""
        if self.best is None or self.inside is None:
            return None
        said, again = self.best.figures, self.inside.figures
        return self.best.trades == self.inside.trades and all(
            _number(said[name]) == _number(again[name]) for name in said
        )


def _number(figure: object) -> Decimal | None:
    return None if figure is None else Decimal(str(figure))


class Optimised(Struct, frozen=True, kw_only=True):
    """All of it, as far as it is."""

    task: Task
    jobs: int
    ticks: int
    wanted: int
    windows: tuple[Window, ...]
    results: tuple[WindowResult, ...]
    completed: bool  # every window was gone through; otherwise the last of the results may be under way
    killed: int  # workers that somebody has ended
    duration_s: float

    @property
    def last(self) -> TrialResult | None:
        """What one would trade with now: the choice of the last window."""
        return self.results[-1].best if self.results and self.completed else None

    @property
    def together(self) -> Stitched | None:
        """The out-of-sample parts put together; None where there is none."""
        found = [each.outside for each in self.results if each.outside is not None]
        return stitched(found) if found else None

    @property
    def efficiency(self) -> Decimal | None:
        """See :func:`tradekeel.backtest.optimising.stitching.efficiency`."""
        both = [(each.inside, each.outside) for each in self.results if each.inside and each.outside]
        return efficiency([one for one, _ in both], [other for _, other in both])


def trials_of(study: Study, task: Task) -> tuple[TrialResult, ...]:
    """All trials of a study that have their parameters; one that was left before it had any is nothing."""
    from tradekeel.backtest.optimising.studies import ENOUGH, FAILED, SAME_AS, has_point, kind_of, parameters_of

    found, names = [], {each.name for each in task.space.ranges}
    for trial in study.get_trials(deepcopy=False):
        if not has_point(trial, names):
            continue
        marks = parameters_of(trial)
        said = trial.user_attrs
        same, pruned = said.get(SAME_AS), said.get("pruned at")
        why = (
            f"same as #{same}"
            if same is not None
            else "enough had begun"
            if ENOUGH in said
            else f"pruned at {pruned}"
            if pruned
            else str(said.get(FAILED, ""))
        )
        kind = kind_of(trial)
        found.append(
            TrialResult(
                number=trial.number,
                status=kind,
                marks=marks,
                parameters=task.space.shown(marks),
                values=tuple(trial.values or ()) if kind == "complete" else (),
                figures=said.get("figures", {}),
                trades=said.get("trades"),
                why=why,
            )
        )
    return tuple(found)


def best_of(trials: Sequence[TrialResult], goals: Sequence[Goal]) -> tuple[TrialResult | None, tuple[TrialResult, ...]]:
    """What was best; and with two goals the front, in the order of the first goal.

    Of equals the one whose parameters sort first, so that it does not matter who was quicker. With two goals the best is the
    point of the front that is nearest to the ideal one, each goal measured by the front's own extent.
    """
    complete = [each for each in trials if each.status == "complete"]
    if not complete:
        return None, ()
    signs = [1 if goal.rises else -1 for goal in goals]

    def scores(trial: TrialResult) -> tuple[float, ...]:
        return tuple(sign * value for sign, value in zip(signs, trial.values, strict=True))

    if len(goals) == 1:
        return min(complete, key=lambda each: (-scores(each)[0], key_of(each.marks))), ()
    front = [
        each
        for each in complete
        if not any(other is not each and _dominates(scores(other), scores(each)) for other in complete)
    ]
    front.sort(key=lambda each: (tuple(-score for score in scores(each)), key_of(each.marks)))
    lows = [min(scores(each)[n] for each in front) for n in range(len(goals))]
    highs = [max(scores(each)[n] for each in front) for n in range(len(goals))]

    def distance(trial: TrialResult) -> float:
        parts = zip(scores(trial), lows, highs, strict=True)
        return sum(((high - score) / (high - low)) ** 2 for score, low, high in parts if high > low)

    return min(front, key=lambda each: (distance(each), key_of(each.marks))), tuple(front)


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(mine >= theirs for mine, theirs in pairs) and any(mine > theirs for mine, theirs in pairs)


def importance_of(study: Study, task: Task) -> dict[str, float]:
    """Which share of the difference between good and other trials lies in each parameter; empty where that cannot be said.

    S. Watanabe et al., "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces", IJCAI 2023.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = [each for each in study.get_trials(deepcopy=False) if each.state is TrialState.COMPLETE]
    if len(task.goals) > 1 or len(task.space.ranges) < 2 or len(complete) < IMPORTANCE_TRIALS_MIN:
        return {}
    if len({each.value for each in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
        except (RuntimeError, ValueError):
            return {}  # of too few distinct points
    return {name: round(float(value), 6) for name, value in found.items()}


# --- for programs -----------------------------------------------------------------------------------------------------------


def as_json(optimised: Optimised) -> dict[str, Any]:
    """Everything."""
    task = optimised.task
    return {
        "study": task.name,
        "storage": str(task.store),
        "account": task.account.config.name,
        "objectives": [{"figure": goal.name, "better": "more" if goal.rises else "less"} for goal in task.goals],
        "sampler": task.options.sampler_used,
        "walk_forward": task.options.walk_forward,
        "warm_up": task.options.warm_up,
        "ticks": optimised.ticks,
        "jobs": optimised.jobs,
        "points": task.space.count,
        "trials_a_window": optimised.wanted,
        "completed": optimised.completed,
        "windows_in_all": len(optimised.windows),
        "windows": [_window(each, task) for each in optimised.results],
        "out_of_sample": plain_value(optimised.together),
        "walk_forward_efficiency": plain_value(optimised.efficiency),
        "within_bars": looking_within_bars(optimised),
        "parameters": None if optimised.last is None else plain_value(optimised.last.parameters),
        "duration_s": optimised.duration_s,
    }


def looking_within_bars(optimised: Optimised) -> tuple[WithinBars, ...]:
    """Strategies that decide on less than their data says, with the parameters that were found, or as they stand."""
    task = optimised.task
    chosen = task.account if optimised.last is None else task.chosen(optimised.last.marks)
    return within_bars(task.plan, chosen)


def _window(result: WindowResult, task: Task) -> dict[str, Any]:
    window = result.window
    outside = window.outside
    return {
        "number": window.number,
        "in_sample": {"start": iso(window.inside.start_ns), "end": iso(window.inside.end_ns)},
        "out_of_sample": None if outside is None else {"start": iso(outside.start_ns), "end": iso(outside.end_ns)},
        "best": None if result.best is None else _trial(result.best, task),
        "front": [_trial(each, task) for each in result.front],
        "in_sample_figures": None if result.inside is None else plain_value(result.inside.figures),
        "out_of_sample_figures": None if result.outside is None else plain_value(result.outside.figures),
        "out_of_sample_trades": None if result.outside is None else result.outside.trades,
        "kept": {goal.name: plain_value(kept_of(result, goal)) for goal in task.goals},
        "why_nothing_out_of_sample": result.why,
        "best_again_is_the_same": result.is_repeatable,
        "importance": result.importance,
        "trials": [_trial(each, task) for each in result.trials],
    }


def kept_of(result: WindowResult, goal: Goal) -> Decimal | None:
    """The share of a goal's figure that was left out of sample."""
    if result.inside is None or result.outside is None:
        return None
    return kept(result.inside.figures[goal.name], result.outside.figures[goal.name])


def _trial(trial: TrialResult, task: Task) -> dict[str, Any]:
    return {
        "number": trial.number,
        "status": trial.status,
        "parameters": plain_value(trial.parameters),
        "values": {goal.name: trial.figures.get(goal.name) for goal in task.goals},
        "figures": trial.figures,
        "trades": trial.trades,
        "why": trial.why,
    }
