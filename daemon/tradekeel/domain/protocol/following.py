"""What those who read the journal along (monitor and strategists) ask the executor, and what they hand it."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from tradekeel.domain.entries import Entry
from tradekeel.domain.messages import Decision
from tradekeel.domain.records import Record, Turn
from tradekeel.domain.rows import Latch
from tradekeel.domain.view import View


class Attach(Struct, frozen=True):
    """A follower begins. Answer: :class:`Attached`. ``strategy`` None: the monitor."""

    strategy: str | None


class Attached(Struct, frozen=True):
    """Where to go on: the saved state and the view it belongs to, and the entries since."""

    execution: str
    saved: bytes | None  # strategist's ExecutionState, or the monitor's state
    view: View
    entries: tuple[Entry, ...]
    position: int  # of the saved state
    frontier: int  # the stamp of the last thing in the journal
    ts_ns: int  # event time of the last record
    failed: bool = False  # it has failed since the view's moment: it decides nothing any more
    joins: bool = False  # it was not there for the ticks since its saved state: they are not its own
    turn: Turn | None = None  # the last decision in the journal


class ReadEntries(Struct, frozen=True):
    """Answer with the durable entries after this sequence."""

    after: int


class Decide(Struct, frozen=True):
    """One decision of a strategist. Answer: True when the executor has taken it (not yet durable)."""

    decision: Decision


class ExitTrades(Struct, frozen=True):
    """Close trades whole: (trade id, reason) each."""

    wishes: tuple[tuple[str, str], ...]
    source: str
    ts_ns: int
    stamp: int


class TrailStop(Struct, frozen=True):
    """A stop that the monitor keeps moved."""

    trade_id: str
    stop: Decimal
    best: Decimal
    ts_ns: int
    stamp: int


class TripRisk(Struct, frozen=True):
    """A loss limit was reached."""

    latch: Latch
    reason: str
    ts_ns: int
    stamp: int


class FailStrategy(Struct, frozen=True):
    """A strategy has failed for good: it decides nothing any more."""

    strategy: str
    reason: str


class Note(Struct, frozen=True):
    """Journal a record that the executor does not decide."""

    record: Record
