"""The circuit breaker: when a server that fails is left alone, and when it is tried again.

A server that is away costs whoever asks it a deadline each time, and one that is coming up again is not helped by being
asked without pause. So after some failures in a row nobody asks any more for a while; then one is let through, and what
becomes of that one decides for all.

``CLOSED`` is how it should be: current flows, everybody may ask. Failures are counted, and a success forgets them, because it
is failures *in a row* that say that the server is away; single ones say that a packet was lost. ``OPEN``: nobody may
ask. ``HALF_OPEN``: one has been let through, and until it is known what became of it nobody else is.

Two things the table cannot know. Which failure is one too many depends on the count: ``FAIL`` leaves ``CLOSED`` as it is,
except for the ``failures_max``-th in a row, which opens. And whether ``OPEN`` has lasted long enough depends on the time:
before that a ``TRY`` is as illegal as one that the table does not list. Whoever wants to ask looks at :func:`allows` first,
says ``TRY``, asks, and says what became of it.

::

    CLOSED ──(failures_max failures in a row)──▶ OPEN ──(open_ns later, one tries)──▶ HALF_OPEN
       ▲                                          ▲                                    │    │
       │                                          └──────────────(it fails)────────────┘    │
       └─────────────────────────────────(it succeeds)──────────────────────────────────────┘

The breaker is a value, and time is an argument (monotonic nanoseconds). :func:`apply` raises
:class:`~tradekeel.errors.IllegalTransition` for whatever is not allowed, and nothing has changed.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, structs

from tradekeel.errors import IllegalTransition

FAILURES_MAX = 5
"""So many failures in a row open it."""

OPEN_NS = 30_000_000_000
"""So long nobody asks."""


class BreakerStatus(StrEnum):
    """The states of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerEvent(StrEnum):
    """What can happen to it."""

    TRY = "try"  # somebody goes and asks the server
    SUCCEED = "succeed"
    FAIL = "fail"


S, E = BreakerStatus, BreakerEvent

TRANSITIONS: dict[BreakerStatus, dict[BreakerEvent, BreakerStatus]] = {
    S.CLOSED: {
        E.TRY: S.CLOSED,
        E.SUCCEED: S.CLOSED,
        E.FAIL: S.CLOSED,  # OPEN where it is the last that is borne, see apply
    },
    S.OPEN: {E.TRY: S.HALF_OPEN},  # not before its time, see apply
    S.HALF_OPEN: {E.SUCCEED: S.CLOSED, E.FAIL: S.OPEN},
}


class Breaker(Struct, frozen=True, kw_only=True):
    """A breaker at a moment."""

    failures_max: int = FAILURES_MAX
    open_ns: int = OPEN_NS
    status: BreakerStatus = S.CLOSED
    failures: int = 0  # in a row
    since_ns: int = 0  # monotonic: when it got into this state

    def __post_init__(self) -> None:
        if self.failures_max < 1 or self.open_ns < 0:
            raise ValueError(f"a breaker bears 1 failure at least and opens for 0 ns at least, not {self}")

    @property
    def tried_again_ns(self) -> int | None:
        """From when on one is let through (monotonic), while it is open; otherwise None."""
        return self.since_ns + self.open_ns if self.status is S.OPEN else None


def allows(breaker: Breaker, event: BreakerEvent, now_ns: int) -> bool:
    """Whether :func:`apply` has an answer."""
    if breaker.status is S.OPEN and now_ns < breaker.since_ns + breaker.open_ns:
        return False
    return event in TRANSITIONS[breaker.status]


def apply(breaker: Breaker, event: BreakerEvent, now_ns: int) -> Breaker:
    """The breaker after ``event``, or :class:`~tradekeel.errors.IllegalTransition`; ``breaker`` stays what it is."""
    if not allows(breaker, event, now_ns):
        raise IllegalTransition("circuit breaker", breaker.status, event)
    status = TRANSITIONS[breaker.status][event]
    failures = breaker.failures
    if event is E.FAIL:
        failures += 1
        if failures >= breaker.failures_max:
            status = S.OPEN
    elif event is E.SUCCEED:
        failures = 0
    since_ns = breaker.since_ns if status is breaker.status else now_ns
    return structs.replace(breaker, status=status, failures=failures, since_ns=since_ns)
