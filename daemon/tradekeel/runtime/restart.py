"""When a child is started again: the rules of Erlang/OTP, as data and pure functions.

A supervisor asks four questions, and each has its function here:

* does *this ending* of a child with *this restart type* call for a restart?  :func:`should_restart`
* may it be restarted, or did its supervisor restart too often lately?  :func:`admit_restart`
* which siblings go down and up with it?  :func:`affected`
* how long to wait before the next try?  :func:`backoff_delay_s`

=========  =======  =======  =======  ============  =========================
type       normal   error    killed   start failed  stopped by its supervisor
=========  =======  =======  =======  ============  =========================
permanent  restart  restart  restart  restart       no
transient  no       restart  restart  restart       no
temporary  no       no       no       no            no
=========  =======  =======  =======  ============  =========================

``killed`` is what OTP calls it: cancelled by somebody else than the supervisor, or cancelled because the
child's own stop took longer than its shutdown deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random


class Strategy(Enum):
    """Who goes down and up with a failed child."""

    ONE_FOR_ONE = "one_for_one"  # nobody
    REST_FOR_ONE = "rest_for_one"  # everyone started after it
    ONE_FOR_ALL = "one_for_all"  # everyone


class RestartType(Enum):
    """Whether a child that ended is to be started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # unless it ended normally
    TEMPORARY = "temporary"  # never


class Ending(Enum):
    """How a child ended."""

    NORMAL = "normal"  # it finished by itself
    STOPPED = "stopped"  # its supervisor stopped it
    ERROR = "error"
    KILLED = "killed"
    START_FAILED = "start_failed"


@dataclass(frozen=True, slots=True)
class Intensity:
    """At most ``restarts_max`` restarts within ``period_s``; one more, and the supervisor gives up."""

    restarts_max: int = 3
    period_s: float = 5.0

    def __post_init__(self) -> None:
        assert self.restarts_max >= 0, "a bound is not negative"
        assert self.period_s > 0, "an intensity needs a period"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before each next try, for children that depend on something outside the process.

    ``jitter`` spreads each delay evenly over ``[1 - jitter, 1 + jitter]`` of it, so that many clients of one
    server do not come back at the same moment. A child that lived for ``reset_after_s`` starts again at
    ``initial_s``.
    """

    initial_s: float = 0.5
    factor: float = 2.0
    max_s: float = 30.0
    jitter: float = 0.2
    reset_after_s: float = 60.0

    def __post_init__(self) -> None:
        assert 0 < self.initial_s <= self.max_s, "a back-off starts above zero and has a bound"
        assert self.factor >= 1, "a back-off does not shrink"
        assert 0 <= self.jitter <= 1, "jitter is a share"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """A supervisor's policy, as data."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: Intensity = Intensity()


def should_restart(restart: RestartType, ending: Ending) -> bool:
    """Whether a child with this restart type is started again after this ending."""
    if ending is Ending.STOPPED or restart is RestartType.TEMPORARY:
        return False
    return restart is RestartType.PERMANENT or ending is not Ending.NORMAL


def admit_restart(restarts_s: Sequence[float], now_s: float, intensity: Intensity) -> tuple[tuple[float, ...], bool]:
    """The restarts that still count, this one included, and whether it is within the intensity (OTP's filter)."""
    recent = (*(at_s for at_s in restarts_s if now_s - at_s <= intensity.period_s), now_s)
    return recent, len(recent) <= intensity.restarts_max


def affected(strategy: Strategy, index: int, count: int) -> range:
    """The positions, in start order, that go down and up when the child at ``index`` is restarted."""
    assert 0 <= index < count
    if strategy is Strategy.ONE_FOR_ONE:
        return range(index, index + 1)
    return range(index if strategy is Strategy.REST_FOR_ONE else 0, count)


def backoff_delay_s(backoff: Backoff, failures: int, random: Random) -> float:
    """The delay before the next try after ``failures`` failures in a row (from 1)."""
    assert failures >= 1
    # The exponent is bounded: past a thousand doublings a float overflows, and the delay is max_s long
    # before.
    delay_s = min(backoff.max_s, backoff.initial_s * backoff.factor ** min(failures - 1, 64))
    return delay_s * (1 + backoff.jitter * random.uniform(-1, 1))


def failures_in_a_row(backoff: Backoff, failures: int, lived_s: float) -> int:
    """The new count of failures in a row of a child that lived for ``lived_s`` since it was ready."""
    return 1 if lived_s >= backoff.reset_after_s else failures + 1
