"""Joining a window's study: made by whoever comes first, refused to whoever has come to another one under the same name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna import Study

from tradekeel.backtest.optimising.samplers import Unrepeated, make_pruner
from tradekeel.backtest.optimising.space import Marks
from tradekeel.backtest.optimising.studies import Board, Me, keys_taken
from tradekeel.backtest.optimising.windows import Window
from tradekeel.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from tradekeel.bootstrap.optimising.preparing import Task

IDENTITY, FILE, WINDOW = "identity", "made from", "window"
"""What we write into studies, as Optuna's user attributes."""


def study_of(
    store: BaseStorage, task: Task, window: Window, points: Sequence[Marks] | None = None, me: Me | None = None
) -> Study:
    """The study, with our sampler; ``me`` is who runs trials. Raises InputError where it is another one."""
    options = task.options
    sampler = Unrepeated(
        task.space,
        options.sampler_used,
        options.seed,
        task.wanted(points),
        points=points,
        allows=task.allows,
        taken=keys_taken,
        owner=None if me is None else me.owner,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Optuna: which of its parts may still change
        study = optuna.create_study(
            storage=store,
            study_name=task.study_of(window),
            sampler=sampler,
            pruner=make_pruner(options.pruner),
            directions=["maximize" if goal.rises else "minimize" for goal in task.goals],
            load_if_exists=True,
        )
    if IDENTITY not in study.user_attrs:
        study.set_user_attr(IDENTITY, task.identity)
        study.set_user_attr(FILE, task.plan.config.source.name)
        study.set_user_attr(WINDOW, str(window.inside))
    refuse_another(study, task)
    return study


def refuse_another(study: Study, task: Task) -> None:
    """InputError where a study was made from other code, data or settings than ours."""
    there: dict[str, Any] = study.user_attrs.get(IDENTITY, {})
    if there and there != task.identity:
        other = ", ".join(name for name in task.identity if there.get(name) != task.identity[name])
        made = study.user_attrs.get(FILE, "another file")
        raise InputError(
            f"study {study.study_name} in {task.store} was made from {made} with another {other}: its trials and ours would not "
            "compare. Use the same version, configuration and data, or another --study"
        )


def joined(store: BaseStorage, task: Task, window: Window, points: Sequence[Marks] | None, me: Me) -> Board:
    """Our hold on the study."""
    return Board(
        study_of(store, task, window, points, me),
        task.space,
        task.wanted(points),
        me,
        beat_every_s=task.options.beat_every_s,
        refuse=lambda study: refuse_another(study, task),
    )
