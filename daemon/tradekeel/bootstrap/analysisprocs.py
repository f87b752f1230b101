"""The runs of an analysis, each in a new process, as many at a time as there are processors."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from tradekeel.bootstrap.analysisruns import ENCODER, OUTCOMES, Job, Outcome
from tradekeel.errors import Defect

LOOK_AGAIN_S = 0.2
"""How soon a process is looked for that said nothing."""

Tell = Callable[[int], object]
"""Called with the ticks that all runs together have conducted."""


class _Running:
    """One process at work."""

    def __init__(self, number: int, job: Job, folder: Path, environ: Mapping[str, str]) -> None:
        self.number, self.ticks = number, 0
        self._first = job.later or job.saved_at
        self._outcome, self._errors = folder / f"{number}.outcome", folder / f"{number}.errors"
        order = folder / f"{number}.job"
        order.write_bytes(ENCODER.encode(job))
        self.pipe, theirs = os.pipe()
        words = ["-P", "-m", "tradekeel.bootstrap.analysisruns", str(order), str(self._outcome), str(theirs)]
        try:
            with self._errors.open("wb") as errors:
                self.process = subprocess.Popen(  # noqa: S603  # our own words, no shell
                    [sys.executable, *words],
                    env=_environment(environ, job.hash_seed),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,  # what a strategy prints is not said dozens of times
                    stderr=errors,
                    pass_fds=(theirs,),
                    start_new_session=True,  # Ctrl-C is for us, and we end them
                )
        finally:
            os.close(theirs)

    def heard(self) -> bool:
        """Take what it says; whether it goes on."""
        said = os.read(self.pipe, 65_536)
        words = said.split()
        if words and said.endswith(b"\n"):
            with suppress(ValueError):  # the beginning of a number may be in what was taken before
                self.ticks = max(self.ticks, int(words[-1]) - self._first)
        return bool(said)

    def outcome(self) -> Outcome:
        """What it came to. Raises Defect where it has ended without a word."""
        code = self.process.wait()
        if code != 0 or not self._outcome.exists():
            told = self._errors.read_text(errors="replace").strip().splitlines()
            last = told[-1] if told else "it said nothing"
            raise Defect(f"a run of the analysis ended with {code}: {last}\n" + "\n".join(told))
        try:
            return OUTCOMES.decode(self._outcome.read_bytes())
        finally:
            self._outcome.unlink()

    def end(self) -> None:
        """Kill it, if it is still there, and let go of it."""
        os.close(self.pipe)
        self.process.kill()
        self.process.wait()


class Processes:
    """Runs jobs. Leaving the context ends whatever is still at work."""

    def __init__(self, folder: Path, environ: Mapping[str, str], at_once: int) -> None:
        self._folder, self._environ, self._at_once = folder, environ, at_once
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, _Running] = {}  # by pipe
        self._count = 0
        self._done_ticks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for running in self._running.values():
            running.end()
        self._selector.close()

    def run(self, jobs: Sequence[Job], tell: Tell) -> list[Outcome]:
        """What each comes to, in their order. Raises Defect where a process dies."""
        outcomes: dict[int, Outcome] = {}
        waiting = list(enumerate(jobs))[::-1]
        places: dict[int, int] = {}
        while waiting or self._running:
            while waiting and len(self._running) < self._at_once:
                place, job = waiting.pop()
                self._count += 1
                running = _Running(self._count, job, self._folder, self._environ)
                places[self._count] = place
                self._running[running.pipe] = running
                self._selector.register(running.pipe, selectors.EVENT_READ)
            for key, _ in self._selector.select(LOOK_AGAIN_S):
                running = self._running[key.fd]
                if not running.heard():
                    outcomes[places[running.number]] = self._finished(running)
            tell(self._done_ticks + sum(running.ticks for running in self._running.values()))
        return [outcomes[place] for place in range(len(jobs))]

    def _finished(self, running: _Running) -> Outcome:
        try:
            return running.outcome()
        finally:
            self._selector.unregister(running.pipe)
            del self._running[running.pipe]
            self._done_ticks += running.ticks
            running.end()


def _environment(environ: Mapping[str, str], hash_seed: int) -> dict[str, str]:
    """Ours, with modules found where we find them, and another order in sets."""
    return {**environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": str(hash_seed)}
