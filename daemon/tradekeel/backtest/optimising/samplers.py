"""What is tried next: Optuna's samplers, kept from saying what was said before, or what the strategy refuses.

A sampler of Optuna's draws as if each trial were worth its time. In a space of a few hundred points it soon repeats itself, and a
backtest that is repeated tells nothing. So what it draws is looked up among the trials there are, and drawn again; where that
does not help, one of the points that are left is taken, or of a space too large for a list any that random finds.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, cast

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from tradekeel.backtest.optimising.space import Marks, Range, Space, key_of
from tradekeel.errors import InputError

OWNER = "owner"
"""Of a trial's attributes: the process that runs it."""


class Exhausted(Exception):
    """All that is drawn of a space without a list was tried before, or is refused."""


DRAWS_MAX = 1_000
"""Draws in a row that were all refused or repeated, where the space is too large for a list of what is left."""

DRAWS_BEFORE_LISTED = 16

DRAWS_BEFORE_RANDOM = 16
"""Of a space without a list: behind so many it is drawn at random. A sampler that has learnt something may say the same for ever,
as where good points lie beside those that the strategy refuses.
"""

STARTUP_TRIALS = 5
"""Trials that a pruner lets come to their end before it compares."""

WARM_UP_LOOKS = 3
"""Looks at a trial before it may be pruned: the figures of a few days say nothing."""


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """The space as Optuna knows spaces."""
    return {each.name: _distribution(each) for each in space.ranges}


def _distribution(range_: Range) -> BaseDistribution:
    if range_.choices:
        return CategoricalDistribution(tuple(range(len(range_.choices))))
    if range_.step is None:
        return FloatDistribution(float(range_.low), float(range_.high), log=range_.log)
    marks = range_.marks()
    return IntDistribution(int(marks[0]), int(marks[-1]), log=range_.log)


def make_sampler(kind: str, seed: int, trials: int) -> BaseSampler:
    """Optuna's sampler of our name for it: tpe, random, nsga2. A grid needs none: it takes what is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if kind == "tpe":
            return TPESampler(seed=seed, constant_liar=True)
        if kind == "nsga2":
            return NSGAIISampler(seed=seed, population_size=max(4, min(50, trials // 5)))
        return RandomSampler(seed=seed)


def make_pruner(kind: str) -> BasePruner:
    """Optuna's pruner of our name for it."""
    if kind == "median":
        return MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARM_UP_LOOKS)
    if kind == "halving":
        return SuccessiveHalvingPruner(min_resource=WARM_UP_LOOKS)
    return NopPruner()


class Unrepeated(BaseSampler):
    """See the module. What it draws follows from the seed, the trial's number and the trials that it has seen."""

    def __init__(
        self,
        space: Space,
        kind: str,
        seed: int,
        trials: int,
        *,
        points: Sequence[Marks] | None,
        allows: Callable[[Marks], bool],
        taken: Callable[[Sequence[FrozenTrial]], set[Any]],
        owner: Mapping[str, Any] | None = None,
    ) -> None:
        """``owner`` is written into each trial before its parameters are chosen, as :data:`OWNER`. ``points`` are all that are
        allowed, None of a space without a list; ``taken`` says which keys stand among trials.
        """
        self._space, self._kind, self._seed, self._trials = space, kind, seed, trials
        self._points, self._allows, self._taken = points, allows, taken
        self._owner = owner
        self._distributions = distributions_of(space)
        self._inner: BaseSampler = make_sampler(kind, seed, trials)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Sign, and draw as if nothing had been drawn before: a process that was begun anew goes on as the first one would have.

        The way to the storage is the one that Optuna's own samplers take.
        """
        if self._owner is not None:
            study._storage.set_trial_user_attr(trial._trial_id, OWNER, dict(self._owner))
        self._inner = make_sampler(self._kind, _mixed(self._seed, trial.number), self._trials)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All of it: a point is drawn whole."""
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A point that is allowed, and that no other trial stands for."""
        if "fixed_params" in trial.system_attrs:
            return {}
        trials = study.get_trials(deepcopy=False)
        taken = self._taken([each for each in trials if each.number != trial.number])
        if self._kind == "tpe":
            study = _as_seen(study, trials)
        most = DRAWS_MAX if self._points is None else DRAWS_BEFORE_LISTED if self._kind != "grid" else 0
        sampler, found_known = self._inner, False
        for number in range(most):
            if number == DRAWS_BEFORE_RANDOM:
                sampler = make_sampler("random", _mixed(self._seed, trial.number), self._trials)
            marks = self._draw(sampler, study, trial)
            is_known = key_of(marks) in taken
            if not is_known and self._allows(marks):
                return dict(marks)
            found_known = found_known or is_known
        if self._points is None:
            if found_known:
                raise Exhausted
            raise InputError(
                f"of {DRAWS_MAX:,} points of the space each was refused by the strategy: look at the ranges"
            )
        left = [marks for marks in self._points if key_of(marks) not in taken]
        # Whoever asks is sent to another one, so that processes that ask at the same moment seldom meet.
        return dict((left or self._points)[_mixed(self._seed, trial.number) % (len(left) or len(self._points))])

    def _draw(self, inner: BaseSampler, study: Study, trial: FrozenTrial) -> Marks:
        together = inner.sample_relative(study, trial, inner.infer_relative_search_space(study, trial))
        drawn: dict[str, Any] = {}
        for range_ in self._space.ranges:
            name = range_.name
            if name in together:
                drawn[name] = together[name]
            else:
                drawn[name] = inner.sample_independent(study, trial, name, self._distributions[name])
            drawn[name] = range_.rounded(drawn[name])
        return drawn

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Only where a trial was asked for with some parameters and not all, which nobody does."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Let the sampler keep what it keeps."""
        self._inner.after_trial(study, trial, state, values)


class _Seen:
    """A study's storage as somebody has read it who draws: it reads it once, and not for each point that is drawn again.

    What TPE would tell others of its draw is the point, which is written anyway as soon as it is one that is run.
    """

    def __init__(self, storage: BaseStorage, trials: Sequence[FrozenTrial]) -> None:
        self._storage, self._trials = storage, trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        assert not deepcopy, "a sampler changes no trial"
        return [each for each in self._trials if states is None or each.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        """Nobody is told."""


def _as_seen(study: Study, trials: Sequence[FrozenTrial]) -> Study:
    seen: Any = copy.copy(study)
    seen._storage = _Seen(study._storage, trials)
    return cast(Study, seen)


def listed(space: Space, most: int, allows: Callable[[Marks], bool]) -> list[Marks] | None:
    """All points that are allowed; None of a space with more than ``most`` points, or with a stretch in it."""
    count = space.count
    if count is None or count > most:
        return None
    return [marks for marks in itertools.islice(space.points(), most) if allows(marks)]


def _mixed(seed: int, number: int) -> int:
    """A seed of a trial's own."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {number}".encode(), digest_size=4).digest())
