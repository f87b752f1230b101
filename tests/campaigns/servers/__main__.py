"""The command line of the campaign of server faults.

    python -m tests.campaigns.servers --rounds 100 --seed 7         so many rounds of each fault
    python -m tests.campaigns.servers --only postgres-paused --rounds 20
    python -m tests.campaigns.servers --only redis                  every fault whose name contains this
    python -m tests.campaigns.servers --repeat 7/postgres-cut/12    one round again, its files kept with --keep
    python -m tests.campaigns.servers --faults                      what there is

SIGINT or SIGTERM ends it early: the rounds under way are finished, and the table is printed.
It ends with 0 if every round was as it should be and every fault has hit.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from pathlib import Path

from tests.campaigns.servers.campaign import campaign
from tests.campaigns.servers.faults import FAULTS
from tests.campaigns.servers.plan import Plan, plan_of
from tests.campaigns.servers.report import missing, summary, table
from tests.campaigns.servers.trial import Trial, tail
from tests.campaigns.workplace import workplace
from tools.minder import minded

SAY_EVERY = 20
"""Rounds between two lines about how far it has come."""


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; the exit code."""
    asked = _parser().parse_args(arguments)
    if asked.faults:
        for fault in FAULTS.values():
            print(f"{fault.name}: {fault.about}")
        return 0
    plans = _plans(asked)
    if not plans:
        print(f"no fault is called {asked.only}: see --faults")
        return 2
    keep = Path(asked.keep) if asked.keep else None
    began_s = time.monotonic()
    with minded(), workplace(keep) as work, campaign(work, min(asked.workers, len(plans))) as running:
        print(f"seed {plans[0].seed}, {len(plans)} rounds", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: running.end_early())
        trials = running.run(plans, lambda trial: _say(trial, running.trials, len(plans), began_s))
    for line in table(trials):
        print(line)
    unhit = [] if asked.repeat else missing(trials, sorted({plan.fault.name for plan in plans}))
    for name in unhit:
        print(f"never hit: {name}")
    print(summary(trials, time.monotonic() - began_s))
    return 1 if unhit or any(trial.wrong for trial in trials) else 0


def _plans(asked: argparse.Namespace) -> list[Plan]:
    """Faults take turns, so that a campaign that is ended early has had them all."""
    if asked.repeat:
        seed, name, number = asked.repeat.split("/")
        return [plan_of(int(seed), FAULTS[name], int(number))]
    seed = asked.seed if asked.seed is not None else secrets.randbelow(2**32)
    chosen = [fault for name, fault in FAULTS.items() if asked.only in name]
    numbers = range(asked.first, asked.first + asked.rounds)
    return [plan_of(seed, fault, number) for number in numbers for fault in chosen]


def _say(trial: Trial, trials: list[Trial], count: int, began_s: float) -> None:
    if trial.wrong:
        print(f"\nWRONG: repeat it with: python -m tests.campaigns.servers --repeat {trial.plan.name}")
        print(f"  {trial.plan}")
        for text in tail(trial.wrong):
            print(f"  {text}")
    if len(trials) % SAY_EVERY == 0 or trial.wrong:
        hits, wrong = sum(one.hits for one in trials), sum(bool(one.wrong) for one in trials)
        print(
            f"{len(trials)} of {count} rounds, {hits} faults, {wrong} wrong, {time.monotonic() - began_s:.0f} s",
            flush=True,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.servers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help="of each fault")
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--seed", type=int, help="drawn and printed if left out")
    parser.add_argument("--only", metavar="FAULT", default="", help="faults whose name contains this")
    parser.add_argument("--repeat", metavar="SEED/FAULT/ROUND", help="one round again")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", metavar="FOLDER", help="work here, and keep the files of rounds that went wrong")
    parser.add_argument("--faults", action="store_true", help="list the faults")
    return parser


if __name__ == "__main__":
    sys.exit(main())
