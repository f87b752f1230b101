"""The campaign of server faults: a round after the other on servers of its own, each judged by itself."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.campaigns.kill.stores import Databases
from tests.campaigns.servers.benches import Bench
from tests.campaigns.servers.plan import Plan
from tests.campaigns.servers.trial import TICKS, Runner, Trial, undisturbed
from tests.servers.folders import RunFolder, in_memory

ROOM_MIN = 1 << 30
"""Servers' data lies in memory where so much is free: what is tried here is what becomes of a daemon, not of a disk."""


class Campaign:
    """All rounds of one seed. Use :func:`campaign`."""

    def __init__(self, work: Path, benches: Sequence[Bench], ticks: int) -> None:
        self._work = work
        self._benches: queue.SimpleQueue[Bench] = queue.SimpleQueue()
        self._workers = len(benches)
        for bench in benches:
            self._benches.put(bench)
        self._ending = False
        self.trials: list[Trial] = []
        self.reference = undisturbed(work / "reference", ticks)

    def run(self, plans: Sequence[Plan], say: Callable[[Trial], None]) -> list[Trial]:
        """Run rounds, as many at a time as there are benches; what became of each, up to an early end."""
        done: list[Trial] = []
        with ThreadPoolExecutor(self._workers) as pool:
            for trial in pool.map(self._run_one, plans):
                if trial is not None:
                    done.append(trial)
                    self.trials.append(trial)
                    say(trial)
        return done

    def end_early(self) -> None:
        """Finish the rounds that are under way, and begin no more."""
        self._ending = True

    def _run_one(self, plan: Plan) -> Trial | None:
        if self._ending:
            return None
        bench = self._benches.get()
        folder = self._work / f"{plan.fault.name}-{plan.number}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with bench.target(plan.fault) as target, ExitStack() as made:
                runner = Runner(plan, target, folder, self.reference)
                if isinstance(runner.home.store, Databases):
                    made.enter_context(closing(runner.home.store))
                trial = runner.run()
                target.heal()
        finally:
            self._benches.put(bench)
        if not trial.wrong:
            shutil.rmtree(folder)
        return trial


@contextmanager
def campaign(work: Path, workers: int, ticks: int = TICKS) -> Iterator[Campaign]:
    """A campaign with its servers, which are gone when it is over."""
    with RunFolder(in_memory(ROOM_MIN)) as run, ExitStack() as stack:
        yield Campaign(work, [stack.enter_context(Bench(run)) for _ in range(workers)], ticks)
