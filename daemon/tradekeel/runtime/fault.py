"""What a supervisor reports about a child that ended, and what it does about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tradekeel.runtime.restart import Ending


class Action(Enum):
    """What a supervisor does about a child that ended."""

    RESTART = "restart"
    FORGET = "forget"  # its restart type says so
    ESCALATE = "escalate"  # the restarts are used up: the supervisor itself fails
    STOP = "stop"  # it was being stopped, and failed at that or overran its deadline


@dataclass(frozen=True, slots=True)
class Fault:
    """A child ended in another way than by being stopped in order; for logs and people."""

    supervisor: str
    child: str
    incarnation: int
    ending: Ending
    error: BaseException | None
    action: Action
    delay_s: float = 0.0  # until the next try, where the child has a back-off
