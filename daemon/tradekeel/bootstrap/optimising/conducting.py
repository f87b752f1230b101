"""The whole of it: the windows one after the other, all workers at one window's study, and what was best tried out of sample.

Nothing is kept here that is not in the study: whoever is begun again, or comes later on another machine, finds each window as far
as it is, and goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from tradekeel import errors
from tradekeel.backtest.optimising.space import Marks, key_of
from tradekeel.backtest.optimising.stitching import Outcome
from tradekeel.backtest.optimising.windows import Part, Window
from tradekeel.bootstrap.optimising.messages import Broke, Came, Done, Ready, RunOnce, Stop, Told, TryOut
from tradekeel.bootstrap.optimising.preparing import Task
from tradekeel.bootstrap.optimising.results import Optimised, WindowResult, best_of, importance_of, trials_of
from tradekeel.bootstrap.optimising.stores import explained, opened_store
from tradekeel.bootstrap.optimising.working import work
from tradekeel.domain.ids import content_digest
from tradekeel.errors import Defect, TradekeelError
from tradekeel.runtime.clock import Clock, SystemClock
from tradekeel.runtime.processes import Crew, Gone

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage

LOOK_S = 0.5
"""How often the progress is looked up, at the latest."""

HEED_S = 0.1
"""How soon a request to stop is heard."""

OUTCOME = "out of sample"
INSIDE = "in sample"
"""Of a study's attributes: what the chosen parameters came to, by a digest of their key."""

Tell = Callable[[str, int, int], object]
"""Called with the name of a step, the trials that are over, and how many there are to be."""


class Interrupted(Exception):
    """Somebody asked for a stop, or has killed all workers. What there is by then is in the study."""


def optimise(
    task: Task,
    environ: Mapping[str, str],
    *,
    tell: Tell = lambda step, done, total: None,
    stops: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
) -> Optimised:
    """Join the study of each window, or make it; what came of all of them, as far as they are when ``stops`` says so.

    Workers that are killed are done without, and where all of them are that is a stop. Raises ConfigError, InputError, DataError,
    StoreAway, StoreRefused, StoreUnavailable, and StoreCorrupt where a Redis server has lost a part of the study.
    """
    clock = clock or SystemClock()
    began_s = clock.monotonic()
    jobs = task.options.jobs or len(os.sched_getaffinity(0))
    with opened_store(task.store) as store:
        with Crew(jobs, work, task.asked, dict(environ)) as crew:
            conductor = _Conductor(task, store, crew, tell, stops)
            try:
                conductor.conduct()
            except Interrupted:
                conductor.dismiss()
            except TradekeelError:
                conductor.dismiss()
                raise
        with explained(task.store):
            return conductor.result(jobs, clock.monotonic() - began_s)


class _Conductor:
    def __init__(self, task: Task, store: BaseStorage, crew: Crew, tell: Tell, stops: Callable[[], bool]) -> None:
        self._task, self._store, self._crew, self._tell, self._stops = task, store, crew, tell, stops
        self._wanted = 0
        self._results: list[WindowResult] = []
        self._current: tuple[Window, Study] | None = None  # what is under way
        self._windows: tuple[Window, ...] = ()
        self._ticks = 0
        self._killed = 0

    def conduct(self) -> None:
        """All windows."""
        data = self._until_all_are_ready()
        self._windows = self._task.windows(data)
        for window in self._windows:
            self._results.append(self._one(window))
            self._current = None

    def dismiss(self) -> None:
        """Everybody is to come to an end: in order, or at once where the data is still being read."""
        for number in self._crew.members:
            self._crew.send(number, Stop())
        self._crew.terminate()

    def result(self, jobs: int, duration_s: float) -> Optimised:
        """What there is, a window that is under way included."""
        results = list(self._results)
        if self._current is not None:
            results.append(self._so_far(*self._current))
        return Optimised(
            task=self._task,
            jobs=jobs,
            ticks=self._ticks,
            wanted=self._wanted,
            windows=self._windows,
            results=tuple(results),
            completed=bool(self._windows) and len(self._results) == len(self._windows),
            killed=self._killed,
            duration_s=duration_s,
        )

    # --- one window -------------------------------------------------------------------------------------------------------

    def _one(self, window: Window) -> WindowResult:
        from tradekeel.bootstrap.optimising.joining import study_of

        with explained(self._task.store):
            study = study_of(self._store, self._task, window)
        self._current = (window, study)
        step = f"window {window.number} of {len(self._windows)}" if window.outside is not None else "trials"
        for number in self._crew.members:
            self._crew.send(number, TryOut(window))
        self._until_done(study, step)
        with explained(self._task.store):
            found = self._so_far(window, study)
            if found.best is None:
                return structs.replace(found, why="no trial has a figure")
            inside, why = self._kept(study, found.best.marks, INSIDE, window.inside)
            outside = None
            if window.outside is not None:
                outside, why = self._kept(study, found.best.marks, OUTCOME, window.outside)
            return structs.replace(found, inside=inside, outside=outside, why=why)

    def _so_far(self, window: Window, study: Study) -> WindowResult:
        """What the trials say, with nothing run again."""
        trials = trials_of(study, self._task)
        best, front = best_of(trials, self._task.goals)
        return WindowResult(
            window=window,
            trials=trials,
            best=best,
            front=front,
            inside=None,
            outside=None,
            why="it was not run yet",
            importance=importance_of(study, self._task),
        )

    def _until_done(self, study: Study, step: str) -> None:
        from tradekeel.backtest.optimising.studies import counts_of

        left = set(self._crew.members)
        while left:
            for number, message in self._heard():
                if isinstance(message, Done):
                    left.discard(number)
            left &= set(self._crew.members)
            with explained(self._task.store):
                over = counts_of(study.get_trials(deepcopy=False)).over
            self._tell(step, min(over, self._wanted), self._wanted)

    def _kept(self, study: Study, marks: Marks, what: str, part: Part) -> tuple[Outcome | None, str]:
        """What these parameters come to over a part: as somebody has found already, or as one of the workers finds."""
        name = f"{what} {content_digest(repr(key_of(marks)).encode())}"
        there = study.user_attrs.get(name)
        if there is None:
            came = self._run_once(RunOnce(marks, part))
            there = {"outcome": msgspec.to_builtins(came.outcome, str_keys=True), "why": came.why}
            study.set_user_attr(name, msgspec.json.decode(msgspec.json.encode(there)))
        outcome = None if there["outcome"] is None else msgspec.convert(there["outcome"], Outcome, strict=False)
        return outcome, there["why"]

    def _run_once(self, wanted: RunOnce) -> Came:
        while True:
            number = self._crew.members[0]
            self._crew.send(number, wanted)
            while number in self._crew.members:  # one that is killed meanwhile leaves it to the next
                for sender, message in self._heard():
                    if sender == number and isinstance(message, Came):
                        return message

    # --- the workers ------------------------------------------------------------------------------------------------------

    def _until_all_are_ready(self) -> Part:
        """What the data is. Who is ready first waits for the others, which read the same."""
        ready: dict[int, Ready] = {}
        step, all_of_them = "reading the data", len(self._crew.members)
        self._tell(step, 0, all_of_them)
        while not ready or set(self._crew.members) - ready.keys():
            ready |= {number: message for number, message in self._heard() if isinstance(message, Ready)}
            self._tell(step, len(ready), all_of_them)
        first = next(iter(ready.values()))
        if any(each != first or each.identity != self._task.identity for each in ready.values()):
            ours = self._task.identity
            other = {name for each in ready.values() for name in ours if each.identity[name] != ours[name]}
            raise errors.DataError(
                f"something changed while it was read ({', '.join(sorted(other)) or 'data'}), or is still being written: begin "
                "again when it is at rest"
            )
        self._ticks, self._wanted = first.ticks, first.wanted
        return first.data

    def _heard(self) -> list[tuple[int, Any]]:
        """What workers have said by now. Raises what a worker ended of, and Interrupted."""
        heard = []
        for number, message in self._received():
            if isinstance(message, Broke):
                raise _as_error(message)
            if isinstance(message, Gone):
                self._killed += 1
                if not self._crew.members:
                    raise Interrupted
            elif not isinstance(message, Told):
                heard.append((number, message))
        return heard

    def _received(self) -> list[tuple[int, Any]]:
        """The next that comes, or nothing when it is time to look."""
        for _ in range(round(LOOK_S / HEED_S)):
            if self._stops():
                raise Interrupted
            if received := list(self._crew.receive(HEED_S)):
                return received
        return []


def _as_error(broke: Broke) -> TradekeelError:
    """The error again that a worker ended of."""
    kind = getattr(errors, broke.kind, Defect)
    if kind is errors.ConfigError:
        return errors.InputError(broke.text)
    try:
        error: TradekeelError = kind(broke.text)
    except TypeError:
        return Defect(broke.text)
    return error
