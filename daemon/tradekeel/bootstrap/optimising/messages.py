"""What the command and its workers say to each other through their pipes."""

from __future__ import annotations

from msgspec import Struct

from tradekeel.backtest.optimising.space import Marks
from tradekeel.backtest.optimising.stitching import Outcome
from tradekeel.backtest.optimising.windows import Part, Window


class Ready(Struct, frozen=True):
    """A worker has read the data."""

    data: Part
    ticks: int
    wanted: int  # trials of each window
    identity: dict[str, str]  # of its task: what was changed since ours was made would be another study


class TryOut(Struct, frozen=True):
    """Run trials of a window's study until there is none left."""

    window: Window


class RunOnce(Struct, frozen=True):
    """Run these parameters over a part, beside any study."""

    marks: Marks
    part: Part


class Told(Struct, frozen=True):
    """A trial has come to its end."""


class Done(Struct, frozen=True):
    """Nothing is left to do of what was asked for, by anybody."""


class Came(Struct, frozen=True):
    """What became of RunOnce; None where there is no tick in that part, or ``why`` the strategy did not come to the end."""

    outcome: Outcome | None
    why: str = ""


class Broke(Struct, frozen=True):
    """A worker ends of this: the type of the error, by its name in :mod:`tradekeel.errors`, and what it says."""

    kind: str
    text: str


class Stop(Struct, frozen=True):
    """Come to an end: a trial that is under way is left to others."""
