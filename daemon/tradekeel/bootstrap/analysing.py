"""Analysis of a configuration's strategies: each account is run again in other ways, and what changes is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct, structs

from tradekeel.backtest.analysing.asked import Asked, Run
from tradekeel.backtest.analysing.comparing import Changed, behind, changes, up_to
from tradekeel.backtest.analysing.warmup import WarmUp, compared_behind, leads_of, warm_up
from tradekeel.bootstrap.analysisprocesses import Processes
from tradekeel.bootstrap.analysisruns import Job, Outcome, named_in
from tradekeel.bootstrap.backtesting import accounts_of, setup_of, source_of
from tradekeel.bootstrap.ownfolder import own_folder
from tradekeel.bootstrap.plan import AccountPlan, Plan, read_plan
from tradekeel.bootstrap.values import plain_value
from tradekeel.domain.messages import Enter, Stamp
from tradekeel.domain.times import iso
from tradekeel.errors import InputError
from tradekeel.feeds.file import FileFeedSettings, suffixes_of
from tradekeel.feeds.files import locate

__all__ = ["Analysis", "Changed", "Finding", "WarmUp", "analyse", "as_json"]

CUTS = 8
CUTS_MAX = 200
RESUMED_MAX = 4
"""Of the cuts, from so many it is gone on to the end."""

FOLDER_PREFIX = "tradekeel-analysis-"
"""Of the folders, in the one for temporary files, in which the runs of an account find their jobs."""

OTHER_PORTIONS = 97
"""Ticks that are handed out at a time in the second run: few enough for short data, too, and no divisor of what is usual."""

LOOK_BEHIND_TICKS = 2_048
"""How far a run goes into a market that is replaced: strategies may run that far ahead of each other."""

Tell = Callable[[str, int, int], object]
"""Called with the step, the ticks that are done of it, and all of them; 0: nobody knows yet."""

T = TypeVar("T")


class Finding(Struct, frozen=True, kw_only=True):
    """One run that was compared."""

    what: str  # in which way it was run
    position: int | None = None  # the tick that it is about
    ts_ns: int | None = None
    decisions: int = 0  # that were compared
    changed: tuple[Changed, ...] = ()  # by strategy
    error: str = ""  # it did not come to its end, and why

    @property
    def is_same(self) -> bool:
        """Whether nothing has changed."""
        return not self.changed and not self.error


class Analysis(Struct, frozen=True, kw_only=True):
    """What is known of the strategies of one account."""

    name: str
    ticks: int
    first_ns: int
    last_ns: int
    decisions: dict[str, int]  # by strategy
    determinism: tuple[Finding, ...]
    look_ahead: tuple[Finding, ...] = ()
    resumption: tuple[Finding, ...] = ()
    warm_up: tuple[WarmUp, ...] = ()
    begun_later: tuple[Finding, ...] = ()  # only the runs that did not come to an end
    reads_its_data: tuple[str, ...] = ()  # files of the feed that strategies' code opens
    touched: tuple[str, ...] = ()  # everything that their code turned to, in words
    as_files: bool = False  # whether the data that was cut, or replaced, also lay there as files

    @property
    def is_judged(self) -> bool:
        """Whether two runs on the same data are the same, without which nothing else says anything."""
        return all(finding.is_same for finding in self.determinism)

    @property
    def is_clean(self) -> bool:
        """Whether nothing has changed that should not have."""
        compared = (*self.determinism, *self.look_ahead, *self.resumption, *self.begun_later)
        return (
            all(finding.is_same for finding in compared)
            and not self.reads_its_data
            and not any(each.is_too_short for each in self.warm_up)
        )


def analyse(
    config: Path,
    environ: Mapping[str, str],
    *,
    account: str | None = None,
    start: str | None = None,
    end: str | None = None,
    cuts: int = CUTS,
    at_once: int | None = None,
    tell: Tell = lambda step, done, total: None,
) -> Iterator[Analysis]:
    """Each account of a configuration, or the one that is named, as it is done. Raises ConfigError, InputError, DataError.

    ``cuts`` is in how many places the data is cut; ``at_once`` how many runs there are at a time (as many as processors).
    """
    if not 1 <= cuts <= CUTS_MAX:
        raise InputError(f"--cuts {cuts}: it is 1 to {CUTS_MAX}")
    if at_once is not None and at_once < 1:
        raise InputError(f"--jobs {at_once}: it is at least 1")
    plan = read_plan(config, environ)
    workers = at_once or len(os.sched_getaffinity(0))
    for chosen in accounts_of(plan, account):
        job, total = _job(plan, chosen, config, start, end)
        with (
            own_folder(FOLDER_PREFIX) as folder,
            Processes(folder, environ, workers) as processes,
        ):
            analysis = _Analyst(plan, chosen, job, processes, folder, cuts, tell).analyse(total or 0)
        yield analysis


def _job(plan: Plan, account: AccountPlan, config: Path, start: str | None, end: str | None) -> tuple[Job, int | None]:
    """The run of the whole data, as its backtest would be: ids derive from its name. And how many ticks there are."""
    source = source_of(plan, account, start, end)
    try:
        setup = setup_of(plan, account, source)
    finally:
        source.close()
    job = Job(
        config=str(config.absolute()), account=account.config.name, execution=setup.execution, start=start, end=end
    )
    return job, source.info.total


class _Analyst:
    """One account on its way."""

    def __init__(
        self, plan: Plan, account: AccountPlan, job: Job, processes: Processes, folder: Path, cuts: int, tell: Tell
    ) -> None:
        self._plan, self._account, self._job = plan, account, job
        self._processes, self._folder, self._cuts, self._tell = processes, folder, cuts, tell
        self._touched: dict[str, None] = {}
        self._opened: dict[str, None] = {}
        self._laid_out = False

    def analyse(self, total: int) -> Analysis:
        """All checks, one after the other; nothing else is looked at where the first finds something.

        ``total`` is how many ticks there are, 0 where that is not known before.
        """
        whole, determinism = self._determinism(total)
        names = [strategy.config.name for strategy in self._account.strategies]
        analysis = Analysis(
            name=f"{self._plan.config.daemon.name}/{self._account.config.name}",
            ticks=whole.ticks,
            first_ns=whole.first_ns,
            last_ns=whole.last_ns,
            decisions={name: sum(asked.strategy == name for asked in whole.asked) for name in names},
            determinism=determinism,
        )
        if analysis.is_judged and whole.ticks > 1:
            look_ahead = self._look_ahead(whole)
            resumption = self._resumption(whole)
            found, failed = self._warm_up(whole, names)
            analysis = structs.replace(
                analysis, look_ahead=look_ahead, resumption=resumption, warm_up=found, begun_later=failed
            )
        return structs.replace(
            analysis,
            reads_its_data=tuple(sorted(self._opened.keys() & self._data_files())),
            touched=tuple(sorted(self._touched)),
            as_files=self._laid_out,
        )

    def _run(self, step: str, jobs: Sequence[Job], ticks: int, read: Callable[[int, Outcome], T]) -> list[T]:
        """What is read from each outcome, as it comes: all that many runs have asked for is not kept."""
        ours = str(self._folder)

        def taken(place: int, outcome: Outcome) -> T:
            self._touched.update((words, None) for words in outcome.touched if ours not in words)
            self._opened.update(dict.fromkeys(outcome.opened))
            self._laid_out = self._laid_out or outcome.laid_out
            return read(place, outcome)

        step = f"{self._account.config.name}: {step}"
        found = self._processes.run(jobs, taken, lambda done: self._tell(step, min(done, ticks or done), ticks))
        self._tell(step, ticks or 1, ticks or 1)
        return found

    # --- the checks -------------------------------------------------------------------------------------------------------

    def _determinism(self, total: int) -> tuple[Run, tuple[Finding, ...]]:
        """The same twice: in another process, with other hashes, and with the ticks handed out in other portions.

        Only where that differs it is found out which of the two it was.
        """
        step, job = "the whole data, twice", self._job
        first = structs.replace(job, fine=True)
        other = structs.replace(job, hash_seed=2, portion_ticks=OTHER_PORTIONS)
        one, two = self._run(step, [first, other], 2 * total, lambda _, outcome: outcome)
        whole = one.run
        if whole is None:
            raise InputError(one.error)
        finding = _compared("in another process", whole.ticks, whole.asked, two)
        if finding.is_same:
            return whole, (finding,)
        (process,) = self._run(
            "the same again",
            [structs.replace(first, hash_seed=2)],
            whole.ticks,
            lambda _, again: _compared("in another process", whole.ticks, whole.asked, again),
        )
        portions = structs.replace(finding, what="ticks in other portions")
        return whole, (process,) if not process.is_same else (process, portions)

    def _look_ahead(self, whole: Run) -> tuple[Finding, ...]:
        """The data cut off behind a tick, and the opposite market behind it."""
        places = [place for place in cut_places(whole, self._cuts) for _ in range(2)]
        jobs: list[Job] = []
        for number, (position, ts_ns) in enumerate(places):
            folder = str(self._folder / f"files-{number}") if self._reads_data else ""
            job = structs.replace(self._job, hash_seed=2, files_in=folder, cut_ns=ts_ns)
            if number % 2:
                last = position + LOOK_BEHIND_TICKS
                jobs.append(structs.replace(job, until=last, mirrored_behind=position))
            else:
                jobs.append(structs.replace(job, until=position))

        def read(number: int, outcome: Outcome) -> Finding:
            position, ts_ns = places[number]
            what = "replaced behind" if number % 2 else "cut off behind"
            finding = _compared(what, position, whole.asked, outcome)
            return structs.replace(finding, position=position, ts_ns=ts_ns)

        return tuple(self._run("cut off, and replaced", jobs, sum(job.until or 0 for job in jobs), read))

    def _resumption(self, whole: Run) -> tuple[Finding, ...]:
        """What was saved right before a cut is read in a new process, which goes on to the end.

        Before it, since most cuts are entries: what is kept beside the state for a few ticks only is there again soon, and would
        show at no later decision.
        """
        places = [position - 1 for position, _ in cut_places(whole, self._cuts) if position > 1]
        chosen = places[:: -(-len(places) // RESUMED_MAX) or 1]
        jobs = [structs.replace(self._job, until=position, saves=True, hash_seed=2) for position in chosen]

        def saved(number: int, outcome: Outcome) -> Run | Finding:
            if outcome.run is None:
                return Finding(what="saved behind", position=chosen[number], error=outcome.error)
            return structs.replace(outcome.run, asked=())

        found = self._run("saved", jobs, sum(chosen), saved)
        failed = tuple(each for each in found if isinstance(each, Finding))
        cuts = [each for each in found if isinstance(each, Run)]
        jobs = [structs.replace(self._job, saved=cut.saved, saved_at=cut.ticks, hash_seed=2) for cut in cuts]

        def read(number: int, outcome: Outcome) -> Finding:
            cut = cuts[number]
            finding = _compared("gone on behind", whole.ticks, behind(cut.ticks, whole.asked), outcome)
            return structs.replace(finding, position=cut.ticks, ts_ns=cut.last_ns)

        total = sum(whole.ticks - cut.ticks for cut in cuts)
        return (*failed, *self._run("saved and gone on with", jobs, total, read))

    def _warm_up(self, whole: Run, names: Sequence[str]) -> tuple[tuple[WarmUp, ...], tuple[Finding, ...]]:
        """The data begun later. Also the runs that did not come to an end."""
        leads = {name: leads_of(whole, name) for name in names}
        behind_tick = {name: compared_behind(whole, name) or 0 for name in names}
        starts = list(dict.fromkeys(behind_tick[name] - ticks for name, own in leads.items() for ticks, _ in own))
        jobs = [structs.replace(self._job, later=start, hash_seed=2, fine=True) for start in starts]

        def read(number: int, outcome: Outcome) -> Run | Finding:
            if outcome.run is None:
                return Finding(what="begun behind", position=starts[number], error=outcome.error)
            return structs.replace(outcome.run, asked=tuple(filter(_enters, outcome.run.asked)))

        total = sum(whole.ticks - start for start in starts)
        runs = dict(zip(starts, self._run("begun later", jobs, total, read), strict=True))
        found = []
        for name, wanted in leads.items():
            own = [(ticks, multiple, runs[behind_tick[name] - ticks]) for ticks, multiple in wanted]
            found.append(warm_up(whole, name, [(t, m, run) for t, m, run in own if isinstance(run, Run)]))
        return tuple(found), tuple(run for run in runs.values() if isinstance(run, Finding))

    # --- the feed's files -------------------------------------------------------------------------------------------------

    @property
    def _reads_data(self) -> bool:
        """Whether it is worth the room to lay the data out: somebody has opened it, or knows its name."""
        settings = self._plan.config.feeds[self._account.config.feed].settings
        if not isinstance(settings, FileFeedSettings):
            return False
        params = [strategy.params for strategy in self._account.strategies]
        return bool(self._opened.keys() & self._data_files()) or any(
            named_in(each, self._plan.config.folder, settings.paths.values()) for each in params
        )

    def _data_files(self) -> set[str]:
        settings = self._plan.config.feeds[self._account.config.feed].settings
        if not isinstance(settings, FileFeedSettings):
            return set()
        base = self._plan.config.folder
        found = (locate(path, base, suffixes_of(settings.format)) for path in settings.paths.values())
        return {os.path.realpath(file.path) for files in found for file in files}


def cut_places(whole: Run, count: int) -> list[tuple[int, int]]:
    """Ticks to cut behind, with a time each: most of them right at entries, where looking ahead shows, the others anywhere."""
    entries = list(filter(_enters, whole.asked))
    times = {
        asked.position: asked.ts_ns for asked in entries or whole.asked if asked.stamp == Stamp.after(asked.position)
    }
    times.pop(0, None)
    times.pop(whole.ticks, None)
    at_decisions = _spread(sorted(times), max(1, count * 3 // 4))
    marks = dict(whole.marks)
    even = _spread(sorted(marks.keys() - {whole.ticks} - set(at_decisions)), count - len(at_decisions))
    return [(position, times.get(position) or marks[position]) for position in sorted((*at_decisions, *even))]


def _enters(asked: Asked) -> bool:
    return any(isinstance(request, Enter) for request in asked.requests)


def _spread(values: Sequence[int], count: int) -> list[int]:
    """So many of them, from the whole length."""
    if len(values) <= count:
        return list(values)
    return [values[len(values) * (2 * number + 1) // (2 * count)] for number in range(count)]


def _compared(what: str, position: int, whole: Sequence[Asked], outcome: Outcome) -> Finding:
    """Up to a tick, or as far as the other run went: a tick that a cut file is without is nothing that was decided otherwise."""
    run = outcome.run
    if run is None:
        return Finding(what=what, error=outcome.error)
    at = min(position, run.ticks)
    wanted = up_to(at, whole)
    return Finding(what=what, decisions=len(wanted), changed=tuple(changes(wanted, up_to(at, run.asked))))


# --- for programs -----------------------------------------------------------------------------------------------------


def as_json(analysis: Analysis) -> dict[str, Any]:
    """An analysis for programs; each moment also as text."""
    verdict = {"clean": analysis.is_clean, "judged": analysis.is_judged}
    timed: dict[str, Any] = _with_times(plain_value(analysis))
    return {"format": 1} | verdict | timed


def _with_times(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_times(item) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, item in value.items():
        found[name] = _with_times(item)
        if name.endswith("_ns") and isinstance(item, int):
            found["time" if name == "ts_ns" else name.removesuffix("_ns")] = iso(item)
    return found
