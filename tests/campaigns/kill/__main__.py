"""The command line of the kill campaign.

    python -m tests.campaigns.kill --rounds 300 --seed 7       the whole campaign
    python -m tests.campaigns.kill --only paper.place.after_commit --rounds 20
    python -m tests.campaigns.kill --repeat 7/123              one round again, its files kept
    python -m tests.campaigns.kill --store postgres            the books on a server, which it starts itself
    python -m tests.campaigns.kill --points                    the stages and their points

It ends with 0 if every round was as it should be and every stage was hit.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from pathlib import Path

from tests.campaigns.kill.campaign import Campaign, Round
from tests.campaigns.kill.report import missing, summary, table
from tests.campaigns.kill.stages import STAGES
from tests.campaigns.kill.stores import store_of
from tests.campaigns.kill.variants import VARIANTS
from tests.campaigns.workplace import workplace
from tools.minder import minded

SAY_EVERY = 10
"""Rounds between two lines about how far it has come."""


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; the exit code."""
    asked = _parser().parse_args(arguments)
    if asked.points:
        for stage in STAGES:
            print(f"{stage.chapter}: {stage.what}: {', '.join(stage.points)}")
        return 0
    seed, numbers = _numbers(asked)
    chosen = [VARIANTS[name] for name in asked.variant or VARIANTS]
    keep = Path(asked.keep) if asked.keep else None
    with minded(), workplace(keep) as work, store_of(asked.store) as store:
        return _run(asked, Campaign(work, _data_dir(), chosen, seed, store), numbers)


def _run(asked: argparse.Namespace, campaign: Campaign, numbers: list[int]) -> int:
    print(f"seed {campaign.seed}, books on {asked.store}; reference runs:", flush=True)
    wrong = campaign.run_references(lambda text: print(text, flush=True))
    if wrong:
        print("\n".join(wrong))
        if not campaign.references:
            return 1
    began = time.monotonic()
    campaign.run(
        campaign.plan(numbers, asked.only), asked.workers, lambda round_: _say(round_, campaign, len(numbers), began)
    )
    for line in table(campaign.rounds):
        print(line)
    for line in summary(campaign.rounds, time.monotonic() - began):
        print(line)
    unhit = [] if asked.only or asked.repeat else missing(campaign.rounds)
    for stage in unhit:
        print(f"never hit: {stage}")
    return 1 if wrong or unhit or any(r.wrong for r in campaign.rounds) else 0


def _say(round_: Round, campaign: Campaign, count: int, began: float) -> None:
    if round_.wrong:
        print(f"\nWRONG: {round_.name}; repeat it with --repeat {round_.seed}/{round_.number}")
        print(f"  kills: {', '.join(str(d.kill) for d in round_.deaths)} (of {', '.join(map(str, round_.kills))})")
        for text in round_.wrong[:12]:
            print(f"  {text}")
    done = len(campaign.rounds)
    if done % SAY_EVERY == 0 or round_.wrong:
        kills, wrong = sum(len(r.deaths) for r in campaign.rounds), sum(1 for r in campaign.rounds if r.wrong)
        print(f"{done} of {count} rounds, {kills} kills, {wrong} wrong, {time.monotonic() - began:.0f} s", flush=True)


def _numbers(asked: argparse.Namespace) -> tuple[int, list[int]]:
    if asked.repeat:
        seed, _, number = asked.repeat.partition("/")
        return int(seed), [int(number)]
    seed = asked.seed if asked.seed is not None else secrets.randbelow(2**32)
    return seed, list(range(asked.first, asked.first + asked.rounds))


def _data_dir() -> Path | None:
    given = os.environ.get("TRADEKEEL_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[3].parent / "shared" / "data"
    return folder if folder.is_dir() else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.kill", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--seed", type=int, help="drawn and printed if left out")
    parser.add_argument("--only", metavar="POINT", help="aim every round at one kill point")
    parser.add_argument("--repeat", metavar="SEED/ROUND", help="one round again")
    parser.add_argument("--variant", action="append", choices=sorted(VARIANTS), help="only these variants")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite", help="where the books are")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", metavar="FOLDER", help="work here, and keep the files of rounds that went wrong")
    parser.add_argument("--points", action="store_true", help="list stages and points")
    return parser


if __name__ == "__main__":
    sys.exit(main())
