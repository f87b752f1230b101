"""What can go wrong between actors, apart from what goes wrong inside them.

::

    TradekeelError
    └── ActorError                    anything the runtime itself raises
        ├── MailboxFull               a bounded lane refused a message; the sender still has it
        ├── ActorDied                 there is no such live actor, or it died before it answered
        ├── RequestTimeout            no answer in time: it may or may not have been handled
        ├── WorkerClosed              a blocking worker was asked for work after it had been closed
        ├── ChildCancelled            a child was cancelled by somebody who is not its supervisor
        ├── StartFailed               a child that was asked for by name did not start
        │   └── StartTimeout          ... because its start took longer than it may
        ├── StopFailed                children raised while they were being stopped
        ├── HopelessChild             a supervisor gave up: a restart would not help
        ├── RestartsExhausted         a supervisor gave up: its children fail faster than they may
        ├── StuckActor                a child outlived its cancellation: only the process can end it
        └── LeakedTasks               the main function returned and left tasks behind

:class:`StuckActor` and :class:`LeakedTasks` mean that the process can no longer be trusted to run on.
"""

from __future__ import annotations

from tradekeel.errors import ErrorCategory, TradekeelError


class ActorError(TradekeelError):
    """Anything the runtime itself raises. Critical, unless it only says that somebody cannot be reached just now."""

    category = ErrorCategory.CRITICAL


class MailboxFull(ActorError):
    """A bounded lane refused a message. Nothing was queued: the sender still has the message."""

    category = ErrorCategory.TRANSIENT

    def __init__(self, lane: str, limit: int) -> None:
        super().__init__(f"the {lane} lane is full ({limit})")
        self.lane = lane
        self.limit = limit


class ActorDied(ActorError):
    """There is no such live actor, or it died before it answered."""

    category = ErrorCategory.TRANSIENT

    def __init__(self, actor: str, why: str = "it is not running") -> None:
        super().__init__(f"{actor}: {why}")
        self.actor = actor


class RequestTimeout(ActorError):
    """No answer came in time. The request may or may not have been handled: nobody knows."""

    category = ErrorCategory.TRANSIENT

    def __init__(self, actor: str, request: str, timeout_s: float) -> None:
        super().__init__(f"{actor} did not answer {request} within {timeout_s:g} s")
        self.actor = actor
        self.request = request
        self.timeout_s = timeout_s


class WorkerClosed(ActorError):
    """A blocking worker was asked for work after it had been closed."""


class ChildCancelled(ActorError):
    """A child was cancelled by somebody who is not its supervisor (OTP: killed)."""

    def __init__(self, child: str) -> None:
        super().__init__(f"{child} was cancelled from outside its supervisor")
        self.child = child


class StartFailed(ActorError):
    """A child did not start; the cause is the exception it raised."""

    def __init__(self, child: str, why: str) -> None:
        super().__init__(f"{child} did not start: {why}")
        self.child = child


class StartTimeout(StartFailed):
    """A child's start took longer than it may."""

    def __init__(self, child: str, timeout_s: float) -> None:
        super().__init__(child, f"no sign of readiness within {timeout_s:g} s")
        self.timeout_s = timeout_s


class StopFailed(ActorError):
    """Children raised while they were being stopped; every one was stopped all the same."""

    def __init__(self, supervisor: str, failures: tuple[tuple[str, BaseException], ...]) -> None:
        listed = "; ".join(f"{child}: {error!r}" for child, error in failures)
        super().__init__(f"{supervisor}: {len(failures)} failed while stopping: {listed}")
        self.failures = failures


class RestartsExhausted(ActorError):
    """A supervisor gave up, because its children failed faster than they may; the cause is the last failure."""

    def __init__(self, supervisor: str, child: str, restarts_max: int, period_s: float) -> None:
        super().__init__(f"{supervisor}: {child} failed, and {restarts_max} restarts in {period_s:g} s are used up")
        self.supervisor = supervisor
        self.child = child


class HopelessChild(ActorError):
    """A supervisor gave up at once, because what its child failed with does not mend by a restart; it is the cause."""

    def __init__(self, supervisor: str, child: str) -> None:
        super().__init__(f"{supervisor}: {child} failed, and starting it again would not help")
        self.supervisor = supervisor
        self.child = child


class StuckActor(ActorError):
    """A child outlived its cancellation. Nothing in this process can end it, so the process ends instead."""

    def __init__(self, child: str, waited_s: float) -> None:
        super().__init__(f"{child} is still running {waited_s:g} s after it should have ended")
        self.child = child
        self.waited_s = waited_s


class LeakedTasks(ActorError):
    """The main function returned and left tasks behind, which would have been lost without a word."""

    def __init__(self, tasks: tuple[str, ...], survivors: tuple[str, ...] = ()) -> None:
        alive = f"; still running after cancellation: {', '.join(survivors)}" if survivors else ""
        super().__init__(f"tasks left behind: {', '.join(tasks)}{alive}")
        self.tasks = tasks
        self.survivors = survivors
