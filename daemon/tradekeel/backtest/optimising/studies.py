"""Optuna's study, shared by any number of processes: who tries what, so that nothing is tried twice and nothing is lost.

**Nothing twice.** A trial has its number before it has its parameters. When its parameters are written, its process waits until
each trial with a lower number has its own, too, and gives way where one of those stands for the same point: L. Lamport, "A New
Solution of Dijkstra's Concurrent Programming Problem", Communications of the ACM 17 (1974), the bakery. Of two that drew the same
point at the same moment the lower number is run, whoever writes first. In the same way no more trials begin than were asked for.

**Nothing lost.** A process writes into its trial who it is (the sampler does, before it chooses), and every few seconds that it
lives. A trial is *lost* when its
process is gone: on the same machine that is looked up, and of other machines it is concluded from a beat that has not changed for
a while by the clock of whoever looks, so that no two clocks need agree. A lost trial is failed, which Optuna lets succeed once,
and its point is put into the queue. If its process was only slow, what it tells comes too late and is dropped: it counts once.

A trial *stands* if it waits, runs, is complete or pruned, or has failed for a reason of its own (``failed``). One that failed
without such a reason was lost, interrupted, or gave way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct
from optuna import Study, Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from tradekeel.backtest.optimising.samplers import OWNER, Exhausted, distributions_of
from tradekeel.backtest.optimising.space import Marks, Space, key_of
from tradekeel.errors import InputError

FAILED, SAME_AS, ENOUGH, BEAT, AGAIN, DROPPED = "failed", "same as", "enough", "beat", "again", "dropped"
"""What we write into trials, as Optuna's user attributes."""

WAIT_S = 0.05
"""How soon it is looked again whether another process has written its parameters."""

BEATS_MISSED = 6
"""So many beats without one, and a trial of another machine is lost."""

BEATS_EVERY_S = "beats every (s)"
"""Of an owner: how often it beats. Its machine may have been told something else than ours."""

LOST_MAX = 5
"""So often a point is begun whose process is gone each time without a word. Then it has failed: it is what ends them, as a
strategy does that takes more memory than there is. A process that is stopped in order does not count.
"""

Owner = dict[str, Any]


class Me(Struct, frozen=True):
    """This process, and how to tell whether another one is there."""

    owner: Owner
    alive: Callable[[Owner], bool | None]
    """Whether the process of an owner lives; None where that cannot be looked up from here."""
    monotonic: Callable[[], float]
    pause: Callable[[float], object]


class Counts(Struct, frozen=True, kw_only=True):
    """The trials of a study."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    gave_way: int = 0  # were not run: another one has the same parameters, or enough had begun
    lost: int = 0  # their process was gone, or was interrupted

    @property
    def over(self) -> int:
        """Trials that came to an end, whichever."""
        return self.complete + self.pruned + self.failed


class Board:
    """See the module: one process's hold on one study."""

    def __init__(
        self,
        study: Study,
        space: Space,
        wanted: int,
        me: Me,
        *,
        beat_every_s: float,
        refuse: Callable[[Study], object] = lambda study: None,
    ) -> None:
        """``wanted`` trials in all; ``refuse`` raises where the study is another one than we believe."""
        self.study, self._space, self._wanted, self._me = study, space, wanted, me
        self._beat_every_s, self._refuse = beat_every_s, refuse
        self._distributions = distributions_of(space)
        self._names = {each.name for each in space.ranges}
        self._seen: dict[int, tuple[Any, float]] = {}  # by trial: its last sign of life, and since when it is that
        self._beaten_s = 0.0
        self._beats = 0
        self._ours: int | None = None  # the number of the trial that we are at
        self._is_exhausted = False  # nothing new is found in the space

    # --- asking -----------------------------------------------------------------------------------------------------------

    def claim(self) -> Trial | None:
        """A trial that is ours to run; None when none is left to begin. It waits for nobody but those who choose right now."""
        while True:
            trials = self._look()
            is_enough = self._is_exhausted or self._standing(trials) >= self._wanted
            if is_enough and not any(each.state is TrialState.WAITING for each in trials):
                return None
            self._refuse(self.study)
            try:
                trial = self.study.ask(self._distributions)
            except UpdateFinishedTrialError:
                continue  # we were believed dead while we chose
            except Exhausted:
                self._is_exhausted = True
                self._put_away()
                return None
            except InputError:
                self._put_away()
                raise
            self._ours, self._beaten_s = trial.number, self._me.monotonic()
            try:
                if self._is_ours(trial):
                    lost = self._times_lost(key_of(trial.params))
                    if lost < LOST_MAX:
                        return trial
                    self.fail(
                        trial, f"{lost} processes that tried it were gone without a word: killed, or out of memory"
                    )
            except UpdateFinishedTrialError:
                continue  # the same, a moment later
            except BaseException:
                self.drop(trial)
                raise

    def is_over(self) -> bool:
        """Whether all that was wanted has come to its end. Where not, and nothing can be claimed, others are at it."""
        trials = self._look()
        unfinished = (TrialState.RUNNING, TrialState.WAITING)
        is_enough = self._is_exhausted or self._standing(trials) >= self._wanted
        return is_enough and not any(each.state in unfinished for each in trials)

    def _is_ours(self, trial: Trial) -> bool:
        mine = key_of(trial.params)
        while True:
            lower = [each for each in self._trials() if each.number < trial.number]
            if any(self._is_choosing(each) for each in lower):
                self._look()
                self._me.pause(WAIT_S)
                continue
            twin = next((each for each in lower if stands(each) and self._key(each) == mine), None)
            if twin is not None:
                return self._give_way(trial, SAME_AS, twin.number)
            if sum(map(stands, lower)) >= self._wanted:
                return self._give_way(trial, ENOUGH, self._wanted)
            return True

    def _give_way(self, trial: Trial, why: str, number: int) -> bool:
        trial.set_user_attr(why, number)
        self.drop(trial)
        return False

    def _put_away(self) -> None:
        """Close the trial that was begun and for which no point was found: others wait for whoever still chooses."""
        for each in self._trials():
            if self._is_choosing(each) and each.user_attrs.get(OWNER) == self._me.owner:
                with suppress(UpdateFinishedTrialError, ValueError):
                    self.study.tell(each.number, state=TrialState.FAIL)

    def _is_choosing(self, trial: FrozenTrial) -> bool:
        return trial.state is TrialState.RUNNING and not has_point(trial, self._names)

    # --- telling ----------------------------------------------------------------------------------------------------------

    def beat(self, trial: Trial) -> None:
        """A sign of life, if one is due."""
        now_s = self._me.monotonic()
        if now_s - self._beaten_s >= self._beat_every_s:
            self._beaten_s = now_s
            self._beats += 1
            with suppress(UpdateFinishedTrialError):  # then we were believed dead, and hear of it when we tell
                trial.set_user_attr(BEAT, self._beats)

    def look_at(self, trial: Trial, number: int, value: float) -> bool:
        """Report a figure on the way; whether the trial is to be pruned."""
        try:
            trial.report(value, number)
        except UpdateFinishedTrialError:
            return True
        return trial.should_prune()

    def complete(self, trial: Trial, values: Sequence[float], said: dict[str, Any]) -> bool:
        """It came to this. False where it was not ours any more, and somebody else runs it again."""
        return self._tell(trial, said, values, TrialState.COMPLETE)

    def prune(self, trial: Trial, said: dict[str, Any]) -> bool:
        """It was broken off, because others were better by then."""
        return self._tell(trial, said, None, TrialState.PRUNED)

    def fail(self, trial: Trial, why: str) -> bool:
        """There is no figure of it, for a reason that is the same each time it is run."""
        return self._tell(trial, {FAILED: why}, None, TrialState.FAIL)

    def drop(self, trial: Trial) -> None:
        """We do not run it: somebody else may."""
        self._tell(trial, {DROPPED: True}, None, TrialState.FAIL)

    def _tell(self, trial: Trial, said: dict[str, Any], values: Sequence[float] | None, state: TrialState) -> bool:
        try:
            for name, value in said.items():
                trial.set_user_attr(name, value)
            self.study.tell(trial, values, state)
        except (UpdateFinishedTrialError, ValueError):
            # Optuna says ValueError of a trial that is finished when it looks, and the other where that was a moment later.
            if not self._is_finished(trial):
                raise
            return False
        return True

    def _is_finished(self, trial: Trial) -> bool:
        return any(each.number == trial.number and each.state.is_finished() for each in self._trials())

    # --- looking ----------------------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """How the study stands. What has no point is no trial yet, or never became one."""
        return counts_of([each for each in self._trials() if has_point(each, self._names)])

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _look(self) -> list[FrozenTrial]:
        """All trials, when those that are lost have been failed, and put into the queue again."""
        trials = self._trials()
        found = [each for each in trials if each.state is TrialState.RUNNING and self._is_lost(each)]
        for each in found:
            with suppress(UpdateFinishedTrialError, ValueError):
                self.study.tell(each.number, state=TrialState.FAIL)
        if found:
            trials = self._trials()
        taken = keys_taken(trials)
        for each in trials:
            if self._is_to_be_run_again(each) and self._key(each) not in taken and len(taken) < self._wanted:
                taken.add(self._key(each))
                self.study.enqueue_trial(dict(parameters_of(each)), user_attrs={AGAIN: each.number})
                found.append(each)
        return self._trials() if found else trials

    def _is_to_be_run_again(self, trial: FrozenTrial) -> bool:
        """Whether it was lost or interrupted, with its parameters chosen."""
        is_left = trial.state is TrialState.FAIL and not stands(trial) and not gave_way(trial)
        return is_left and has_point(trial, self._names)

    def _times_lost(self, point: Any) -> int:
        """How many processes were gone while they tried it."""
        left = [each for each in self._trials() if self._is_to_be_run_again(each) and self._key(each) == point]
        return sum(DROPPED not in each.user_attrs for each in left)

    def _is_lost(self, trial: FrozenTrial) -> bool:
        owner = trial.user_attrs.get(OWNER)
        if owner == self._me.owner:
            return trial.number != self._ours  # its end could not be told
        lives = None if owner is None else self._me.alive(owner)
        if lives is False or (
            lives and not self._is_choosing(trial)
        ):  # to choose is done at once, or others wait for ever
            return not lives
        sign, now_s = (owner, trial.user_attrs.get(BEAT), len(trial.params)), self._me.monotonic()
        before, since_s = self._seen.get(trial.number, (None, now_s))
        if before != sign:
            self._seen[trial.number] = (sign, now_s)
            return False
        every_s = max(self._beat_every_s, float((owner or {}).get(BEATS_EVERY_S, 0)))
        return now_s - since_s >= BEATS_MISSED * every_s

    def _standing(self, trials: Sequence[FrozenTrial]) -> int:
        return sum(map(stands, trials))

    def _key(self, trial: FrozenTrial) -> Any:
        return key_of(parameters_of(trial))


# --- what a trial is ------------------------------------------------------------------------------------------------------


def parameters_of(trial: FrozenTrial) -> Marks:
    """Its point, also of one that waits in the queue, or was just taken from it: then its parameters are being written."""
    fixed: Marks = trial.system_attrs.get("fixed_params", {})
    return {**fixed, **trial.params}


def has_point(trial: FrozenTrial, names: Collection[str]) -> bool:
    """Whether all parameters of these names are chosen. One that was left before has nothing that could be told of it."""
    return parameters_of(trial).keys() >= set(names)


def gave_way(trial: FrozenTrial) -> bool:
    """Whether it was not run, because another one stands for its point, or enough were begun."""
    return SAME_AS in trial.user_attrs or ENOUGH in trial.user_attrs


def stands(trial: FrozenTrial) -> bool:
    """Whether it counts: see the module."""
    if gave_way(trial):
        return False
    return trial.state is not TrialState.FAIL or FAILED in trial.user_attrs


def keys_taken(trials: Sequence[FrozenTrial]) -> set[Any]:
    """The points that trials stand for."""
    return {key_of(marks) for each in trials if stands(each) and (marks := parameters_of(each))}


def counts_of(trials: Sequence[FrozenTrial]) -> Counts:
    """How many of each kind there are."""
    found = dict.fromkeys(Counts.__struct_fields__, 0)
    for trial in trials:
        found[kind_of(trial)] += 1
    return Counts(**found)


def kind_of(trial: FrozenTrial) -> str:
    """What it is, in our words: a field of :class:`Counts`."""
    if trial.state is not TrialState.FAIL:
        return trial.state.name.lower()
    return "gave_way" if gave_way(trial) else "failed" if stands(trial) else "lost"
