"""What a round is to be: everything from its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.campaigns.servers.faults import POSTGRES, Fault

BLOWS = (1, 2, 3, 4, 5)
AFTER_S = (0.0, 0.5)
"""Since trading has begun, or since the last blow was healed."""

IN_THE_START_S = (0.2, 0.9)
"""Since the process was started: it is about to open the books, or has just done so."""

LASTS_S = (0.03, 0.2, 0.5, 1.1)
IN_THE_START = 0.12
ALSO_KILLED = 0.35
IN_A_BATCH = 0.5
IN_MEMORY = 0.3

POINTS = (
    ("standin.before_commit", 60),
    ("store.before_commit", 60),
    ("store.after_commit", 60),
    ("spool.written", 12),
    ("spool.synced", 12),
    ("standin.kept", 12),
    ("standin.met", 3),
    ("standin.brought", 12),
    ("spool.before_mark", 2),
    ("spool.marked", 2),
    ("spool.drained", 2),
)
"""Where a daemon is killed on its way there and back, and at which pass at the latest."""


@dataclass(frozen=True)
class Blow:
    """One time that the fault strikes, and what becomes of the daemon meanwhile."""

    after_s: float
    lasts_s: float
    kill_after_s: float | None  # the daemon is killed so long after it
    waits: bool  # and it is started again when the server is back


@dataclass(frozen=True)
class Plan:
    """One round to be."""

    seed: int
    fault: Fault
    number: int
    policy: str
    in_the_start: bool
    in_a_batch: bool
    kill_at: str  # a point of the product, where the daemon is killed, too
    blows: tuple[Blow, ...]

    @property
    def name(self) -> str:
        """How to have it again."""
        return f"{self.seed}/{self.fault.name}/{self.number}"

    @property
    def kills(self) -> bool:
        """Whether the daemon is killed as well."""
        return bool(self.kill_at) or any(blow.kill_after_s is not None for blow in self.blows)

    def __str__(self) -> str:
        words = [self.policy, "in the middle of a batch" if self.in_a_batch else "at a moment"]
        words += ["during the start"] * self.in_the_start
        words += [f"daemon killed at {self.kill_at}"] * bool(self.kill_at)
        for blow in self.blows:
            killed = "" if blow.kill_after_s is None else f", daemon killed after {blow.kill_after_s:.2f} s"
            words.append(f"after {blow.after_s:.2f} s for {blow.lasts_s:.2f} s{killed}")
        return "; ".join(words)


def plan_of(seed: int, fault: Fault, number: int) -> Plan:
    """The round of this number."""
    dice = random.Random(f"{seed}/{fault.name}/{number}")
    in_the_start = dice.random() < IN_THE_START
    how = dice.random()
    by_point = how < ALSO_KILLED / 2 and fault.kind == POSTGRES
    by_moment = not by_point and how < ALSO_KILLED
    blows: list[Blow] = []
    for _ in range(dice.choice(BLOWS)):
        low, high = sorted(dice.sample(LASTS_S, 2))
        lasts_s = dice.uniform(low, high) * fault.patience
        after_s = dice.uniform(*(IN_THE_START_S if in_the_start and not blows else AFTER_S))
        kill_after_s = dice.uniform(0, lasts_s) if by_moment and dice.random() < 0.5 else None
        blows.append(Blow(after_s, lasts_s, kill_after_s, dice.random() < 0.5))
    point, last = dice.choice(POINTS)
    kill_at = f"{point}:{dice.randint(1, last)}" if by_point else ""
    in_a_batch = dice.random() < IN_A_BATCH and not in_the_start
    # What is kept in memory does not survive a kill, and a start without the server begins without what was there.
    may_forget = not by_point and not by_moment and not in_the_start
    policy = "memory" if may_forget and dice.random() < IN_MEMORY else "reduce_only"
    return Plan(seed, fault, number, policy, in_the_start, in_a_batch, kill_at, tuple(blows))
