"""What the conductor of an account's ticks asks the others, down the line, and what it is told itself."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum

from msgspec import Struct

from tradekeel.domain.positions import Quote
from tradekeel.domain.records import TickSampled, Turn
from tradekeel.domain.rows import Checkpoint
from tradekeel.domain.ticks import Bar, Extremes, TickWindow

# --- conductor → strategist -------------------------------------------------------------------------------------------


class Run(Struct, frozen=True):
    """Go ahead to stamp ``until`` at the most, with everything journaled up to ``journal_to``. Answer: :class:`Reached`."""

    window: TickWindow | None
    until: int
    journal_to: int
    told_to: int | None = None  # a round that a restart goes on with: nothing that is later in the journal


class Reached(Struct, frozen=True):
    """How far a strategist got, and whether it holds a decision there, or has news to take before anything else happens."""

    stamp: int
    decided: bool


class Taken(Enum):
    """What kind of decision a strategist handed over."""

    NOTHING = "nothing"
    NOTES = "notes"  # events only: nobody answers those
    ASKS = "asks"


class Confirm(Struct, frozen=True):
    """Everybody stands at ``stamp``:

    go back to it if need be, and hand a decision taken there to the executor. Answer: what was :class:`Taken`.
    """

    window: TickWindow | None
    stamp: int


class Save(Struct, frozen=True):
    """Take over the journal up to ``journal_to``, and answer with the state: a Checkpoint, or the monitor's bytes."""

    journal_to: int
    stamp: int


NOWHERE = 2**62
"""The position of a strategist that has failed: it holds nobody back."""


class Where(Struct, frozen=True):
    """Answer with :class:`Stand`, once attached."""


class Stand(Struct, frozen=True):
    """The last tick a follower has seen, and the stamp of the last thing in the journal."""

    position: int
    frontier: int  # a stamp
    turn: Turn | None = None  # the last decision
    ts_ns: int = 0  # event time there, as the monitor knows it; a strategy knows its own instruments' alone


class MissTicks(Struct, frozen=True):
    """The feed does not come back to the ticks up to ``position``, the next of which has the time ``ts_ns``.

    With ``gap`` whoever is not further is told that some went unseen; without it they are before his time. Answer: something.
    """

    position: int
    ts_ns: int
    gap: bool


class GiveUp(Struct, frozen=True):
    """Mark the strategy FAILED: it does what only the conductor can see to be wrong. Answer: True when done."""

    reason: str


class StopStrategy(Struct, frozen=True):
    """Take ``on_stop`` and hand over a last decision. Answer: True when done."""

    ts_ns: int
    reason: str
    for_good: bool = False  # the run is over: once, also where a kill comes in between
    bars: tuple[Bar, ...] = ()  # complete with the feed's very last tick: they come first


# --- conductor → venue session ----------------------------------------------------------------------------------------


class QuietUntil(Struct, frozen=True):
    """First index in ``[start, stop)`` at which you would act, or ``stop``. Everything before ``start`` has happened."""

    window: TickWindow
    start: int
    stop: int
    journal_to: int = 0


class VenuePassed(Struct, frozen=True):
    """The ticks before ``stop`` went by without anything for the venue to do. No answer."""

    window: TickWindow
    stop: int


# --- conductor → monitor ----------------------------------------------------------------------------------------------


class TicksPassed(Struct, frozen=True):
    """The ticks in ``[start, stop)`` were quiet: take over their prices. Answer, if asked: :class:`EquitySeen` or None."""

    window: TickWindow
    start: int
    stop: int
    quotes: Mapping[str, Quote]
    extremes: Mapping[str, Extremes]


class WatchTick(Struct, frozen=True):
    """Handle one tick: exits and the equity go to the executor before the answer. Answer: whether anything was asked for."""

    window: TickWindow
    index: int
    journal_to: int


class EquitySeen(Struct, frozen=True):
    """The account's equity at the latest marks, at the start of the trading day, and at its peak.

    The monitor tells it at each tick that is handled by itself; of quiet ticks the conductor hands it on with :class:`See`.
    """

    equity: Decimal
    day_start: Decimal
    peak: Decimal


class TakeSnapshot(Struct, frozen=True):
    """Record a performance snapshot (scheduled)."""


# --- conductor → executor ---------------------------------------------------------------------------------------------


class See(Struct, frozen=True):
    """Ticks up to ``position`` have passed everybody; what comes next happens at ``stamp``.

    ``sampled`` are those among them that are to be journaled, at the next :class:`JournalSamples`.
    """

    position: int
    stamp: int
    quotes: Mapping[str, Quote]
    extremes: Mapping[str, Extremes]
    equity: EquitySeen | None = None
    sampled: tuple[TickSampled, ...] = ()


class JournalSamples(Struct, frozen=True):
    """Journal the sampled ticks that have passed. Answer: the last journal sequence, when it is durable."""


class MatchTick(Struct, frozen=True):
    """Let the venue act on one tick, book what comes of it, and settle. Answer: as for :class:`Settle`."""

    window: TickWindow
    index: int
    cursor: int = 0  # filled in on the way to the session


class Settle(Struct, frozen=True):
    """Answer with the journal sequence once nothing is unacknowledged by the disk or the venue."""

    stamp: int


class CaughtUp(Struct, frozen=True):
    """After a restart the feed has brought everybody to where the journal ends. Answer: as for :class:`Settle`."""


class Cut(Struct, frozen=True):
    """Save a consistent cut: these states, all as of journal ``sequence``, and the account's own.

    Answer: the sequence when it is durable, or 0 if the journal has moved on meanwhile and nothing was saved.
    """

    sequence: int
    position: int
    ts_ns: int
    checkpoints: tuple[Checkpoint, ...]
    monitor: bytes


class CloseExecution(Struct, frozen=True):
    """The feed has ended: expire what works, close the execution. Answer when durable."""

    reason: str
    ts_ns: int


class TakeNoMore(Struct, frozen=True):
    """The run, or the process, is about to end: no new entries from here on. Answer: True."""


class EndWorking(Struct, frozen=True):
    """What the end of a run or of the process asks for, in its words:

    cancel working entries (entries); cancel everything, and take nothing new (all); flatten, close what of it no exit is under
    way for (close), and resume after that (resume).

    Answer: as for :class:`Settle`.
    """

    what: str  # entries, all, flatten, close, resume
    reason: str
    ts_ns: int


# --- anybody → conductor ----------------------------------------------------------------------------------------------


class StopFeed(Struct, frozen=True):
    """Finish the window in hand, take every strategy's ``on_stop``, save, and answer True."""

    reason: str
    on_stop: str  # keep, cancel_entries, flatten
    within_s: float = 5.0  # how long flattening may wait for the market
    again: bool = False  # it was asked before, and died at it: what is left to do is done where the journal ends


class JournalReached(Struct, frozen=True):
    """A wake-up: the journal is durable up to here."""

    sequence: int
