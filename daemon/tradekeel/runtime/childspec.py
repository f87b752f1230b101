"""How to start, restart and stop one child, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tradekeel.runtime.cell import Child
from tradekeel.runtime.restart import Backoff, RestartType


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child. ``factory`` makes a new actor or supervisor for each incarnation.

    ``start_timeout_s`` and ``shutdown_s`` are an actor's; a supervisor gets what its own children need, if that
    is more (and all the time it wants to start: its children's limits bound it).
    """

    name: str
    factory: Callable[[], Child]
    restart: RestartType = RestartType.PERMANENT
    shutdown_s: float = 5.0
    backoff: Backoff | None = None
    start_timeout_s: float | None = 30.0

    def __post_init__(self) -> None:
        assert self.name, "a child has a name"
        assert self.shutdown_s > 0, "a child has a shutdown deadline"
