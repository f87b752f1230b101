"""Figures of each actor: cheap enough to be always on.

Measured once a batch, never once a message. The latency of a batch runs from the moment its first mail woke
the actor (under a backlog: from the end of the batch before) to the moment the batch was done. It is kept in
buckets whose bounds double, so a percentile is right within a factor of two; how long a backlog is shows in
the mail depth instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

#: Bucket n holds latencies below 2**n microseconds; the last one holds everything above (2**30 µs are 18
#: minutes).
BUCKETS = 31


class Histogram:
    """Durations in doubling buckets."""

    __slots__ = ("count", "counts", "max_s", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.count = 0
        self.total_s = 0.0
        self.max_s = 0.0

    def add(self, duration_s: float) -> None:
        self.counts[min(int(duration_s * 1e6).bit_length(), BUCKETS - 1)] += 1
        self.count += 1
        self.total_s += duration_s
        if duration_s > self.max_s:
            self.max_s = duration_s

    def percentile_s(self, share: float) -> float:
        """An upper bound of the duration that ``share`` of all durations stay below; 0 when there are none."""
        rank = share * self.count
        seen = 0
        for exponent, count in enumerate(self.counts):
            seen += count
            if seen >= rank and count:
                return min(float(2**exponent) / 1e6, self.max_s)
        return 0.0


class ActorState(Enum):
    """Where an actor is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DOWN = "down"


@dataclass(slots=True)
class ActorMetrics:
    """What is counted for one actor name, over all its incarnations."""

    name: str
    incarnation: int = 0
    restarts: int = 0
    handled: int = 0
    batches: int = 0
    replaced: int = 0  # of the incarnations before this one; the mailbox counts its own
    high_water: int = 0  # likewise
    latency: Histogram = field(default_factory=Histogram)
    state: ActorState = ActorState.DOWN
    #: Monotonic times; ``busy_since_s`` is set while a handler runs.
    last_progress_s: float = 0.0
    busy_since_s: float | None = None
    #: An actor that said why it makes no progress, and until when that is all right.
    waiting_reason: str | None = None
    waiting_until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ActorSnapshot:
    """The figures of one actor at one moment."""

    name: str
    state: ActorState
    incarnation: int
    restarts: int
    mail_depth: int
    mail_high_water: int
    senders_waiting: int
    handled: int
    batches: int
    replaced: int
    latency_p50_s: float
    latency_p99_s: float
    latency_max_s: float
    idle_s: float  # since it last finished a batch
    waiting_reason: str | None
    unanswered: int  # requests it has accepted and not answered yet
