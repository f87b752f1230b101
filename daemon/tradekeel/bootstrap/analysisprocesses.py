"""The runs of an analysis, each in a new process, as many at a time as there are processors."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from tradekeel.bootstrap.analysisnursery import FAILED
from tradekeel.bootstrap.analysisruns import ENCODER, OUTCOMES, Job, Outcome
from tradekeel.errors import Defect, InputError

T = TypeVar("T")

Tell = Callable[[int], object]
"""Called with the ticks that all runs together have conducted."""


class _Nursery:
    """One nursery, see there: its runs have their sets in one order."""

    def __init__(self, folder: Path, environ: Mapping[str, str], hash_seed: int) -> None:
        self._errors = folder / f"nursery-{hash_seed}.errors"
        self._said = b""
        words = ["-P", "-m", "tradekeel.bootstrap.analysisnursery", str(folder)]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  # our own words, no shell
                [sys.executable, *words],
                env=_environment(environ, hash_seed),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for us, and we end all of them
                bufsize=0,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self.pipe = self._process.stdin, self._process.stdout

    def order(self, number: int) -> None:
        """Have a job done."""
        with suppress(BrokenPipeError):  # it is gone, and what it says next is nothing
            self._orders.write(b"%d\n" % number)

    def news(self) -> Iterator[tuple[int, str, int]]:
        """What it says next: the job, "at" or "end", and the tick or the code. Raises Defect where it is gone."""
        said = os.read(self.pipe.fileno(), 65_536)
        if not said:
            raise Defect(f"the process that starts the runs of an analysis is gone: {self._errors.read_text()}")
        *lines, self._said = (self._said + said).split(b"\n")
        for line in lines:
            number, word, value = line.split()
            yield int(number), word.decode(), int(value)

    def end(self) -> None:
        """Kill it and all that it has started, and let go of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._orders.close()
        self.pipe.close()


class Processes:
    """Runs jobs. Leaving the context ends whatever is still at work."""

    def __init__(self, folder: Path, environ: Mapping[str, str], at_once: int) -> None:
        self._folder, self._environ, self._at_once = folder, environ, at_once
        self._selector = selectors.DefaultSelector()
        self._nurseries: dict[int, _Nursery] = {}
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for nursery in self._nurseries.values():
            nursery.end()
        self._selector.close()

    def run(self, jobs: Sequence[Job], read: Callable[[int, Outcome], T], tell: Tell) -> list[T]:
        """What is read from each outcome (and the place of its job), in the order of the jobs.

        Raises InputError where a strategy's code, or somebody, has ended a process, and Defect where it failed in our hands.
        """
        waiting, places = list(enumerate(jobs))[::-1], dict[int, int]()
        ticks, outcomes = [0] * len(jobs), dict[int, T]()
        while len(outcomes) < len(jobs):
            while waiting and len(places) - len(outcomes) < self._at_once:
                place, job = waiting.pop()
                places[self._begin(job)] = place
            for key, _ in self._selector.select():
                for number, word, value in key.data.news():
                    place, tick = places[number], value
                    if word == "end":
                        outcome = self._outcome(number, value)
                        outcomes[place] = read(place, outcome)
                        tick = 0 if outcome.run is None else outcome.run.ticks + jobs[place].later
                    ticks[place] = max(0, tick - (jobs[place].later or jobs[place].saved_at))
            tell(sum(ticks))
        return [outcomes[place] for place in range(len(jobs))]

    def _begin(self, job: Job) -> int:
        nursery = self._nurseries.get(job.hash_seed)
        if nursery is None:
            nursery = self._nurseries[job.hash_seed] = _Nursery(self._folder, self._environ, job.hash_seed)
            self._selector.register(nursery.pipe, selectors.EVENT_READ, nursery)
        self._count += 1
        (self._folder / f"{self._count}.job").write_bytes(ENCODER.encode(job))
        nursery.order(self._count)
        return self._count

    def _outcome(self, number: int, code: int) -> Outcome:
        place, errors = self._folder / f"{number}.outcome", self._folder / f"{number}.errors"
        if code == FAILED:
            raise Defect(f"a run of the analysis failed:\n{errors.read_text(errors='replace')}")
        if code != 0 or not place.exists():
            said = errors.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise InputError(
                f"a run of the analysis was ended from within or from outside, with {code}, before it was over: {said[-1]}"
            )
        try:
            return OUTCOMES.decode(place.read_bytes())
        finally:
            place.unlink()


def _environment(environ: Mapping[str, str], hash_seed: int) -> dict[str, str]:
    """Ours, with modules found where we find them, and another order in sets."""
    return {**environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": str(hash_seed)}
