"""Which kills a round gets: everything from its seed, and from what the runs that were not killed passed.

Rounds take the stages in turn, and for each stage the variants that come by it, so that a campaign of a few hundred
rounds has hit each stage in each variant. One round in four begins with a kill at some moment instead. What follows
the first kill is drawn: on the way back, soon after, or at any later time.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.campaigns.kill.process import Kill
from tests.campaigns.kill.stages import BEFORE_ARRIVAL, ONLY_AFTER_RESTART, STAGES, Stage

KILLS_MAX = 4
KILL_AGAIN = 0.55
"""How likely another kill follows the last one."""

EVERY_MOMENT = 4
"""One round in so many begins with a kill at a moment instead of a named point."""

POLITELY = 0.25
"""How often a moment is one of a stop in order instead."""

COUNT_MAX_AFTER_RESTART = {"feed.rewinding": 3, "strategist.attached": 2, "session.read.before": 3}
"""Points that one recovery passes more than once."""

Passed = Mapping[str, Counter[str]]
"""By variant: how often each point is passed by a run that is not killed."""


class Plan(NamedTuple):
    """One round to be."""

    variant: str
    kills: tuple[Kill, ...]


def plan_round(number: int, seed: int, passed: Passed) -> Plan:
    """The round of this number."""
    rng = random.Random(f"{seed}/{number}")
    if number % EVERY_MOMENT == EVERY_MOMENT - 1:
        variant = list(passed)[number // EVERY_MOMENT % len(passed)]
        kills = [Kill(share=rng.uniform(0.0, 1.0), politely=rng.random() < POLITELY)]
    else:
        turn = number - number // EVERY_MOMENT
        stages = [s for s in STAGES if any(_reaches(p, counts) for p in s.points for counts in passed.values())]
        stage = stages[turn % len(stages)]
        variant = _able(stage.points, passed, turn // len(stages) + turn)
        kills = _lead_to(_point_of(stage, passed[variant], rng), passed[variant], rng)
    while len(kills) < KILLS_MAX and rng.random() < KILL_AGAIN:
        kills.append(_again(passed[variant], rng))
    return Plan(variant, tuple(kills))


def plan_aimed(number: int, seed: int, passed: Passed, point: str) -> Plan:
    """A round that is all about one point."""
    rng = random.Random(f"{seed}/{number}/{point}")
    variant = _able((point,), passed, number)
    kills = _lead_to(point, passed[variant], rng)
    if rng.random() < KILL_AGAIN:
        kills.append(_again(passed[variant], rng))
    return Plan(variant, tuple(kills))


def _able(points: Sequence[str], passed: Passed, turn: int) -> str:
    """A variant that passes one of these points; all can that are passed on the way back from a kill."""
    able = [name for name, counts in passed.items() if any(_reaches(point, counts) for point in points)]
    if not able:
        raise LookupError(f"no variant passes {' or '.join(points)}")
    return able[turn % len(able)]


def _reaches(point: str, counts: Mapping[str, int]) -> bool:
    return bool(counts.get(point)) or point in ONLY_AFTER_RESTART


def _point_of(stage: Stage, counts: Mapping[str, int], rng: random.Random) -> str:
    return rng.choice([point for point in stage.points if _reaches(point, counts)])


def _lead_to(point: str, counts: Mapping[str, int], rng: random.Random) -> list[Kill]:
    """Kills up to one at ``point``: what only a recovery passes needs a kill before, one that leaves an order in doubt."""
    if point not in ONLY_AFTER_RESTART:
        return [_at(point, counts, rng)]
    first = _at(rng.choice([p for p in BEFORE_ARRIVAL if counts.get(p)]), counts, rng)
    return [first, Kill(point, rng.randint(1, COUNT_MAX_AFTER_RESTART.get(point, 1)))]


def _at(point: str, counts: Mapping[str, int], rng: random.Random) -> Kill:
    return Kill(point, rng.randint(1, max(1, counts.get(point, 1))))


def _again(counts: Mapping[str, int], rng: random.Random) -> Kill:
    """The next kill: on the way back, soon after, at any later time, or at a moment."""
    points = [point for stage in STAGES for point in stage.points if counts.get(point)]
    choice = rng.random()
    if choice < 0.45:
        point = rng.choice(ONLY_AFTER_RESTART)
        return Kill(point, rng.randint(1, COUNT_MAX_AFTER_RESTART.get(point, 1)))
    if choice < 0.7:
        return Kill(rng.choice(points), rng.randint(1, 3))
    if choice < 0.9:
        return _at(rng.choice(points), counts, rng)
    return Kill(share=rng.uniform(0.2, 0.9), politely=rng.random() < POLITELY)
