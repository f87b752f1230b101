"""Which kills a round gets: everything from its seed, and from what the run that was not killed passed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.campaigns.kill.process import Kill
from tests.campaigns.kill.stages import BEFORE_ARRIVAL, CLOSED, ONLY_AFTER_RESTART, STAGES

KILLS_MAX = 4
EVERY_MOMENT = 4
"""One round in so many begins with a kill at a moment instead of a named point."""


def first_points(passed: Mapping[str, int]) -> list[str]:
    """The points that a first life can be killed at, each once."""
    named = dict.fromkeys(point for stage in STAGES for point in stage.points)
    return [point for point in named if passed.get(point)]


def plan_round(number: int, seed: int, passed: Mapping[str, int], turn: int) -> tuple[Kill, ...]:
    """The kills of one round. ``turn`` walks through the points, so that each comes up."""
    rng = random.Random(f"{seed}/{number}")
    points = first_points(passed)
    if number % EVERY_MOMENT == EVERY_MOMENT - 1:
        kills = [Kill(share=rng.uniform(0.0, 1.0))]
    else:
        kills = [_at(points[turn % len(points)], passed, rng)]
    while len(kills) < KILLS_MAX and rng.random() < 0.6:
        kills.append(_again(kills[-1], passed, points, rng))
    return tuple(kills)


def aim(point: str, rng: random.Random, passed: Mapping[str, int]) -> tuple[Kill, ...]:
    """A round for one point: killed there first if a first life passes it, or after another kill that leads to it."""
    if point in ONLY_AFTER_RESTART:
        first = _at(rng.choice([p for p in BEFORE_ARRIVAL if passed.get(p)]), passed, rng)
        return (first, Kill(point, 1 if point not in _MANY else rng.randint(1, 3)))
    kills = [_at(point, passed, rng)]
    if rng.random() < 0.5:
        kills.append(_again(kills[-1], passed, first_points(passed), rng))
    return tuple(kills)


_MANY = frozenset(("feed.rewinding",))


def _at(point: str, passed: Mapping[str, int], rng: random.Random) -> Kill:
    return Kill(point, rng.randint(1, max(1, passed.get(point, 1))))


def _again(before: Kill, passed: Mapping[str, int], points: Sequence[str], rng: random.Random) -> Kill:
    """The next kill: on the way back, soon after, at any later time, or at a moment."""
    choice = rng.random()
    if choice < 0.45:
        point = rng.choice(ONLY_AFTER_RESTART)
        return Kill(point, rng.randint(1, 3) if point in _MANY else 1)
    if choice < 0.7:
        return Kill(rng.choice(points), rng.randint(1, 3))
    if choice < 0.9:
        return _at(rng.choice(points), passed, rng)
    return Kill(share=rng.uniform(0.2, 0.9))


def counted(points: Sequence[str]) -> Counter[str]:
    """How often each point was passed; what comes once an account is over is left out."""
    counts = Counter(points)
    counts.pop(CLOSED, None)
    return counts
