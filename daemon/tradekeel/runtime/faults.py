"""Named points where a test harness may kill the process, raise, or just count.

Code marks the moments that matter with ``point("name")``. Unarmed, that is one comparison. A harness arms a
process it starts through the environment (:func:`arm_from_environment`, which the program calls, so that
nothing is read at import), or arms its own process for the length of a ``with`` block (:func:`armed`).

===================  ===============  ==============================================================
variable             example          effect
===================  ===============  ==============================================================
TRADEKEEL_KILL_AT    ``written:3``    SIGKILL to this process at the third pass of the point
TRADEKEEL_FAIL_AT    ``written:3``    :class:`InjectedFault` at the third pass
TRADEKEEL_POINTS_TO  ``/tmp/points``  append the point's name to this file at every pass, before the rest
===================  ===============  ==============================================================

``KILL_AT`` and ``FAIL_AT`` take several, separated by commas. The file is written with one unbuffered
``write`` a pass, so that it tells the truth after a SIGKILL, from every thread.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

KILL_AT = "TRADEKEEL_KILL_AT"
FAIL_AT = "TRADEKEEL_FAIL_AT"
POINTS_TO = "TRADEKEEL_POINTS_TO"


class InjectedFault(Exception):
    """Raised on purpose by a test harness; deliberately outside the product's own errors."""


class _Plan:
    """What is to happen at which pass of which point."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.actions: dict[tuple[str, int], Callable[[], object]] = {}
        self.always: dict[str, Callable[[int], object]] = {}
        self.trace_fd: int | None = None
        self._lock = threading.Lock()

    def hit(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1
            count = self.counts[name]
        if self.trace_fd is not None:
            os.write(self.trace_fd, f"{name}\n".encode())
        if (action := self.actions.get((name, count))) is not None:
            action()
        if (each := self.always.get(name)) is not None:
            each(count)


_plan: _Plan | None = None


def point(name: str) -> None:
    """A moment worth dying at. Costs one comparison unless a harness armed this process."""
    if _plan is not None:
        _plan.hit(name)


def is_armed() -> bool:
    """Whether a harness watches: then moments whose names cost something to make are worth naming."""
    return _plan is not None


def arm_from_environment(environment: Mapping[str, str]) -> bool:
    """Arm this process as its environment says; False, and no cost ever after, when it says nothing."""
    global _plan
    plan = _Plan()
    for name, count in _parse(environment.get(KILL_AT, "")):
        plan.actions[name, count] = _kill_this_process
    for name, count in _parse(environment.get(FAIL_AT, "")):
        plan.actions[name, count] = _raiser(name, count)
    if path := environment.get(POINTS_TO):
        plan.trace_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if not plan.actions and plan.trace_fd is None:
        return False
    _plan = plan
    return True


@contextmanager
def armed(actions: Mapping[str, Callable[[int], object]] | None = None) -> Iterator[Counter[str]]:
    """Arm this process inside the block: each point calls its action with the pass's number, 1 for the first.

    Yields the live counts of every point that was passed.
    """
    global _plan
    before, plan = _plan, _Plan()
    plan.always.update(actions or {})
    _plan = plan
    try:
        yield plan.counts
    finally:
        _plan = before


def _parse(text: str) -> Iterator[tuple[str, int]]:
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, count = part.rpartition(":")
        if not name or not count.isdigit() or int(count) < 1:
            raise ValueError(f"a point is written name:count with a count from 1, not {part!r}")
        yield name, int(count)


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raiser(name: str, count: int) -> Callable[[], object]:
    def fail() -> None:
        raise InjectedFault(f"{name}, pass {count}")

    return fail
