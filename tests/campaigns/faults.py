"""Exceptions inside every actor at every kind of message: what is run, and what is expected of it.

    python -m tests.campaigns.faults                 every pair at its first, middle and last pass, then random passes
    python -m tests.campaigns.faults --only executor:Decide --case lossy
    python -m tests.campaigns.faults --seed 7 --random 500
    python -m tests.campaigns.faults --case pair --only session:MatchTick --disturb 2     beside two busy threads

Each case is a short run that some kinds of message need. Its run without a fault tells which actors get which
messages, which jobs the scheduler has, and how often: those are the shots. Busy threads beside it make the disk's answers
come in other moments than on a machine that has nothing else to do. After a shot in an account, that account's
actors are restarted beside the other's and the run ends by itself; the recorder, control and the scheduler end the
process, and the next start goes on.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.workplace import workplace
from tests.scenarios import support_configs as configs
from tests.scenarios.support import (
    Action,
    Home,
    Life,
    Story,
    caught_signals,
    fail_at,
    send_at,
    told_differently,
)

LIVES_MAX = 5
CRASH = 70
NO_ACTIONS: Mapping[str, Action] = {}
ENDS_THE_PROCESS = ("recorder", "control", "scheduler")
LATCHED = ("the account was latched", "is not closed as it should be", " is paused: ")
"""What the checker says of a run in which somebody paused or halted an account."""

DISTURBED_S = 0.02
"""Longest busy moment of a disturbing thread, and the longest sleep between two."""

RETRIES = 3
"""How often a shot is tried again, earlier each time, where a message came less often than in the reference."""


@dataclass(frozen=True)
class Case:
    """One configuration, what is done to it from outside, and what may be compared."""

    name: str
    about: str
    toml: str
    accounts: tuple[str, ...]
    steer: Callable[[], Mapping[str, Action]] = dict
    compares: bool = True  # False: what came from outside came at another moment, so the trades may differ
    allowed: tuple[str, ...] = ()  # what the checker may find, because the case is about it
    code: int = 0


def _pair() -> str:
    return configs.pair(120, snapshot_s=0.05)


def _lossy() -> str:
    lost = 'timeout_rate = "0.15"\ndrop_rate = "0.15"\nlatency_ms = 300'
    return (
        configs.head(snapshot_s=0.05)
        + configs.market(180)
        + configs.account("a", paper=lost, sync_s=0.05)
        + configs.account("b", exits="monitor", paper=lost, sync_s=0.05)
        + configs.strategy("ema", "a")
        + configs.strategy("floor", "b", "floor", configs.FLOOR)
    )


def _one(head: str = "", ticks: int = 180, risk: str = "", exits: str = "venue") -> str:
    return (
        configs.head(more=head)
        + configs.market(ticks)
        + configs.account("a", exits=exits)
        + (f"[accounts.a.risk]\n{risk}\n" if risk else "")
        + configs.strategy("ema", "a")
    )


CASES = {
    case.name: case
    for case in (
        Case("pair", "exits kept by the venue, exits kept by the monitor", _pair(), ("a", "b")),
        Case("lossy", "a venue that loses orders and answers, compared with all the time", _lossy(), ("a", "b")),
        Case(
            "stopped",
            "a stop in the middle, flattening on the way, and a second start",
            _one('on_stop = "flatten"'),
            ("a",),
            steer=lambda: {"a/executor:Decide": send_at(8, signal.SIGTERM)},
            compares=False,
            allowed=LATCHED,
        ),
        Case(
            "paused",
            "paused and resumed by signals, a look at the folder, a reload",
            _one(),
            ("a",),
            steer=lambda: {
                "a/executor:Decide": send_at(5, signal.SIGUSR1, signal.SIGHUP),
                "a/executor:MatchTick": send_at(20, signal.SIGUSR2, signal.SIGURG),
            },
            compares=False,
            allowed=LATCHED,
        ),
        Case(
            "limits",
            "a daily loss limit that trips",
            _one(risk="daily_loss_max = 1", exits="monitor"),
            ("a",),
            allowed=LATCHED,
            code=5,
        ),
    )
}


@dataclass(frozen=True)
class Shot:
    """Throw at this pass of this point."""

    point: str
    count: int

    @property
    def actor(self) -> str:
        """What kind of actor it hits."""
        return self.point.partition(":")[0].rpartition("/")[2] if "strategist/" not in self.point else "strategist"

    @property
    def message(self) -> str:
        """With which message."""
        return self.point.partition(":")[2]

    @property
    def account(self) -> str | None:
        """The account it hits, None for what all share."""
        return self.point.partition("/")[0] if "/" in self.point.partition(":")[0] else None

    def __str__(self) -> str:
        return f"{self.point}:{self.count}"


@dataclass
class Reference:
    """A run of a case without a fault."""

    case: Case
    stories: dict[str, Story]
    passed: Counter[str]
    wrong: list[str]

    @property
    def points(self) -> list[str]:
        """Every message to every actor."""
        return sorted(point for point in self.passed if ":" in point)

    def shots(self, shares: Sequence[float]) -> list[Shot]:
        """A shot at these shares of the passes of every point, each pass once."""
        return [
            Shot(point, count)
            for point in self.points
            for count in dict.fromkeys(max(1, round(share * self.passed[point])) for share in shares)
        ]


@dataclass
class Outcome:
    """What became of a shot."""

    case: str
    shot: Shot
    hit: bool
    lives: list[Life] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def run_reference(case: Case, folder: Path) -> Reference:
    """Run a case without a fault."""
    home = Home(folder, case.toml)
    lives = _lives(home, case, NO_ACTIONS)
    wrong = _judge(home, case, lives)
    stories = {account: home.story(account) for account in case.accounts}
    return Reference(case, stories, sum((life.passed for life in lives), Counter()), wrong)


def shoot(reference: Reference, shot: Shot, folder: Path) -> Outcome:
    """Run a case with a fault, to its end, and judge it. A shot that never came is tried again earlier."""
    case = reference.case
    outcome, home = _fire(case, shot, folder)
    for _ in range(RETRIES):
        if outcome.hit or shot.count == 1:
            break
        shot = Shot(shot.point, shot.count // 2)
        outcome, home = _fire(case, shot, folder)
    lives = outcome.lives
    outcome.wrong += _judge(home, case, lives)
    if outcome.hit:
        outcome.wrong += _as_it_should_end(outcome, case)
    if case.compares and not outcome.wrong:
        outcome.wrong += told_differently(reference.stories, home)
    return outcome


def _fire(case: Case, shot: Shot, folder: Path) -> tuple[Outcome, Home]:
    shutil.rmtree(folder, ignore_errors=True)
    home = Home(folder, case.toml)
    lives = _lives(home, case, {shot.point: fail_at(shot.count)})
    return Outcome(case.name, shot, lives[0].passed[shot.point] >= shot.count, lives), home


def shoot_together(reference: Reference, shots: Sequence[Shot], folder: Path) -> Outcome:
    """Run a case with several faults; who is restarted and who is not is for the caller to look at."""
    case = reference.case
    home = Home(folder, case.toml)
    actions: dict[str, Action] = {}
    for shot in shots:
        actions = _both(actions, {shot.point: fail_at(shot.count)})
    lives = _lives(home, case, actions)
    outcome = Outcome(case.name, shots[0], hit=True, lives=lives, wrong=_judge(home, case, lives))
    if case.compares and not outcome.wrong:
        outcome.wrong += told_differently(reference.stories, home)
    return outcome


def _lives(home: Home, case: Case, actions: Mapping[str, Action]) -> list[Life]:
    """Live, and live again until every account's run is over."""
    lives: list[Life] = []
    steering = case.steer()
    with ExitStack() as stack:
        inbox = stack.enter_context(caught_signals()) if steering else None
        lives.append(home.live(_both(steering, actions), signals=inbox))
    while len(lives) < LIVES_MAX and not _is_over(home, case, lives[-1]):
        lives.append(home.live())
    return lives


def _both(first: Mapping[str, Action], second: Mapping[str, Action]) -> dict[str, Action]:
    """Two sets of actions; at a point that both name, both."""
    merged = dict(first)
    for point, action in second.items():
        before = merged.get(point)
        merged[point] = action if before is None else _in_turn(before, action)
    return merged


def _in_turn(first: Action, second: Action) -> Action:
    def act(passed: int) -> None:
        first(passed)
        second(passed)

    return act


def _is_over(home: Home, case: Case, life: Life) -> bool:
    if life.code != case.code:
        return False
    return all(home.ours(account).executions[-1]["status"] == "closed" for account in case.accounts)


def _judge(home: Home, case: Case, lives: Sequence[Life]) -> list[str]:
    if not _is_over(home, case, lives[-1]):
        return [
            f"after {len(lives)} lives it ended with {lives[-1].code}, and its run is not over:\n{lives[-1].log[-2_000:]}"
        ]
    found = home.wrong(*case.accounts)
    return [text for text in found if not any(word in text for word in case.allowed)] + home.unverified()


def _as_it_should_end(outcome: Outcome, case: Case) -> list[str]:
    """DESIGN.md §3: who is restarted, who ends the process, and who is left alone."""
    shot, first = outcome.shot, outcome.lives[0]
    if shot.actor in ENDS_THE_PROCESS:
        return (
            []
            if first.code == CRASH
            else [f"it ended with {first.code}, and {CRASH} was expected:\n{first.log[-2_000:]}"]
        )
    wrong = [] if first.code in (0, case.code) else [f"the process ended with {first.code}:\n{first.log[-2_000:]}"]
    others = [account for account in case.accounts if account != shot.account]
    wrong += [
        f"account {other} was hit as well: {line}"
        for other in others
        for line in first.log.splitlines()
        if f"{other}/" in line and " failed " in line
    ]
    return wrong


# --- the long rounds --------------------------------------------------------------------------------------------------------


@contextmanager
def disturbed(threads: int, seed: int) -> Iterator[None]:
    """Threads beside the run that are busy for up to 20 ms and then sleep as long: who waits for whom changes all the time."""
    over = threading.Event()

    def disturb(rng: random.Random) -> None:
        while not over.wait(rng.random() * DISTURBED_S):
            until = time.monotonic() + rng.random() * DISTURBED_S
            while time.monotonic() < until:
                pass

    busy = [threading.Thread(target=disturb, args=(random.Random(f"{seed} {n}"),), daemon=True) for n in range(threads)]
    for thread in busy:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in busy:
            thread.join()


def table(outcomes: Sequence[Outcome]) -> str:
    """How often each kind of actor was hit at each kind of message."""
    counts = Counter((o.shot.actor, o.shot.message) for o in outcomes if o.hit)
    lines = ["actor         message            thrown"]
    lines += [f"{actor:13} {message:18} {count:6}" for (actor, message), count in sorted(counts.items())]
    return "\n".join([*lines, f"{len(counts)} pairs, {sum(counts.values())} exceptions"])


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; 0 if everything was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--only", default="", help="points that contain this")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--random", type=int, default=200, help="random shots on top")
    parser.add_argument("--disturb", type=int, default=0, help="busy threads beside the runs")
    asked = parser.parse_args(arguments)
    seed = asked.seed if asked.seed is not None else secrets.randbelow(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    outcomes: list[Outcome] = []
    bad = 0
    with workplace() as work, disturbed(asked.disturb, seed):
        references = [run_reference(CASES[name], work / f"reference-{name}") for name in asked.case or CASES]
        for reference in references:
            print(f"  {reference.case.name:8} {len(reference.points):3} points  {reference.case.about}")
            for text in reference.wrong:
                bad += 1
                print(f"    WRONG without a fault: {text}")
        shots = [(ref, shot) for ref in references for shot in ref.shots((0.0, 0.5, 1.0))]
        for _ in range(asked.random):
            reference = rng.choice(references)
            point = rng.choice(reference.points)
            shots.append((reference, Shot(point, rng.randint(1, reference.passed[point]))))
        for number, (reference, shot) in enumerate(s for s in shots if asked.only in s[1].point):
            outcome = shoot(reference, shot, work / f"shot-{number}")
            outcomes.append(outcome)
            if outcome.wrong:
                bad += 1
                print(
                    f"  WRONG {reference.case.name} {outcome.shot}: " + "\n      ".join(outcome.wrong[:5]), flush=True
                )
            else:
                shutil.rmtree(work / f"shot-{number}", ignore_errors=True)
    print(table(outcomes))
    print(f"{bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
