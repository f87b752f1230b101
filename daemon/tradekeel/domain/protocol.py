"""What the actors of an account say to each other. Windows are passed by reference: nobody changes a tick.

Questions come first (the conductor asks, down the line feed → strategist → executor → recorder), then answers and wake-ups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum, StrEnum

from msgspec import Struct

from tradekeel.domain.book import Book
from tradekeel.domain.effects import AmendOrder, CancelOrder, VenueAsk
from tradekeel.domain.messages import Decision, VenueBalance, VenueOrder, VenuePosition, VenueTransaction
from tradekeel.domain.positions import Quote
from tradekeel.domain.records import Checkpoint, Group, Latch, Record, StrategyStatus, TickSampled
from tradekeel.domain.ticks import Extremes, TickWindow
from tradekeel.domain.view import Entry, View

# --- conductor → strategist ----------------------------------------------------------------------------------------------


class Run(Struct, frozen=True):
    """Go ahead to stamp ``until`` at the most, with everything journaled up to ``journal_to``. Answer: :class:`Reached`."""

    window: TickWindow | None
    until: int
    journal_to: int


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


class GiveUp(Struct, frozen=True):
    """Mark the strategy FAILED: it does what only the conductor can see to be wrong. Answer: True when done."""

    reason: str


class StopStrategy(Struct, frozen=True):
    """Take ``on_stop`` and hand over a last decision. Answer: True when done."""

    ts_ns: int
    reason: str


# --- conductor → venue session ---------------------------------------------------------------------------------------------


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


# --- conductor → monitor -----------------------------------------------------------------------------------------------------


class TicksPassed(Struct, frozen=True):
    """The ticks in ``[start, stop)`` were quiet: take over their prices. Answer, if asked: :class:`EquitySeen` or None."""

    window: TickWindow
    start: int
    stop: int
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


# --- conductor → executor ------------------------------------------------------------------------------------------------------


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


class EndWorking(Struct, frozen=True):
    """Cancel working orders (entries only, or all), flatten, or resume after that. Answer: as for :class:`Settle`."""

    what: str  # entries, all, flatten, resume
    reason: str
    ts_ns: int


# --- followers → executor
# --------------------------------------------------------------------------------------------------------


class Attach(Struct, frozen=True):
    """A follower begins. Answer: :class:`Attached`. ``strategy`` None: the monitor."""

    strategy: str | None


class Attached(Struct, frozen=True):
    """Where to go on: the saved state and the view it belongs to, and the entries since."""

    execution: str
    saved: bytes | None  # strategist's ExecutionState, or the monitor's state
    saved_version: int
    view: View
    entries: tuple[Entry, ...]
    position: int  # of the saved state
    frontier: int  # the stamp of the last thing in the journal
    ts_ns: int  # event time of the last record
    failed: bool = False  # it has failed since the view's moment: it decides nothing any more
    joins: bool = False  # it was not there for the ticks since its saved state: they are not its own


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
    """A strategy is marked: failed for good, paused, stopped, or active."""

    strategy: str
    status: StrategyStatus
    reason: str


class Note(Struct, frozen=True):
    """Journal a record that the executor does not decide."""

    record: Record


# --- people → executor (control lane)
# --------------------------------------------------------------------------------------------


class Command(StrEnum):
    """What a person may tell an account."""

    PAUSE = "pause"
    RESUME = "resume"
    KILL = "kill"
    RELEASE = "release"
    FLATTEN = "flatten"
    RESOLVE = "resolve"


class AccountCommand(Struct, frozen=True):
    """A command, by whom, and why. Answer: a sentence when it is durable."""

    command: Command
    by: str
    reason: str = ""
    client_order_id: str = ""  # resolve
    outcome: str = ""  # resolve


class Describe(Struct, frozen=True):
    """Answer with :class:`AccountStatus`."""


class AccountStatus(Struct, frozen=True, kw_only=True):
    """What people want to know of an account at a glance."""

    account: str
    execution: str | None
    state: str  # starting, reconciling, trading, not trading: why
    paused: bool
    latch: Latch
    latch_reason: str
    orders: int
    unknown: tuple[str, ...]
    trades: int
    positions: dict[str, str]
    balance: str
    equity: str | None
    cursor: int
    sequence: int
    position: int
    strategies: dict[str, str]


# --- executor → session
# --------------------------------------------------------------------------------------------------------------


class Perform(Struct, frozen=True):
    """Do these, in order, for executor incarnation ``epoch``; then read the venue's record after ``cursor``.

    Answer: :class:`Performed`.
    """

    epoch: int
    asks: tuple[VenueAsk, ...]
    cursor: int


class OutcomeKind(StrEnum):
    """How a request ended, as far as this side knows."""

    ANSWERED = "answered"
    NOT_SENT = "not_sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Outcome(Struct, frozen=True):
    """How one ask ended."""

    client_order_id: str
    kind: OutcomeKind
    reason: str = ""
    again: CancelOrder | AmendOrder | None = None  # it may not have arrived: it is asked for until somebody answers


class Performed(Struct, frozen=True):
    """What became of the asks, and the venue's record since the cursor."""

    outcomes: tuple[Outcome, ...]
    transactions: Sequence[VenueTransaction]


class ReconcileNow(Struct, frozen=True):
    """Compare the books with the venue's (scheduled, or asked for by a person). Answer, if asked: whether they agree."""


class SetLatch(Struct, frozen=True):
    """What the session's last check must know (control lane)."""

    paused: bool
    latch: Latch


class NewsWaits(Struct, frozen=True):
    """A wake-up: the venue's record has grown."""


class SessionState(Struct, frozen=True):
    """Whether the venue is connected, and the position up to which a tick-driven venue is durable."""

    connected: bool
    why: str
    position: int


class AskSession(Struct, frozen=True):
    """Answer with :class:`SessionState`."""


# --- executor → sync
# -----------------------------------------------------------------------------------------------------------------


class Reconcile(Struct, frozen=True):
    """Fetch the venue's side for incarnation ``epoch``. Answer: :class:`VenueSide`."""

    epoch: int
    cursor: int
    wanted: tuple[str, ...]  # client ids in doubt, or working here
    run: str | None = None  # for a venue that is driven by our feed: the run that begins, or goes on


class VenueSide(Struct, frozen=True):
    """What the venue says, read in one go."""

    transactions: Sequence[VenueTransaction]
    orders: Mapping[str, VenueOrder | None]
    open_orders: Sequence[VenueOrder]
    positions: Sequence[VenuePosition]
    balance: VenueBalance


class LookUp(Struct, frozen=True):
    """Find out what became of an order. Answer: :class:`LookedUp`, however long it takes."""

    epoch: int
    client_order_id: str
    cursor: int
    left_by_ns: int  # the latest moment (UTC) at which the request can have left us


class LookedUp(Struct, frozen=True):
    """The venue knows it (then its news is in ``transactions``), or it is proved that it never arrived, or nobody can tell."""

    client_order_id: str
    found: bool
    never_arrived: bool
    reason: str
    transactions: Sequence[VenueTransaction]


# --- anybody → recorder
# ----------------------------------------------------------------------------------------------------------------


class Commit(Struct, frozen=True):
    """Make one group durable. Answer: its last sequence; GroupRefused if a constraint refused it."""

    group: Group


class LoadAccount(Struct, frozen=True):
    """Answer with :class:`LoadedAccount`: everything stored that an account needs to go on."""

    account: str


class LoadedAccount(Struct, frozen=True):
    """The unfinished execution's last cut, the journal after it, and the latest states; or where the next one starts."""

    execution: str | None
    next_number: int
    cut: Checkpoint | None
    journal: Sequence[tuple[int, Record]]
    saved: Mapping[str, Checkpoint]
    notes: tuple[str, ...] = ()
    book: Book | None = None  # as of the cut: it had to be read to know that it can be
    previous: Book | None = None  # without an unfinished execution: the last one's books as they were closed


# --- anybody → control
# -------------------------------------------------------------------------------------------------------------------


class AccountReady(Struct, frozen=True):
    """An account is reconciled, or declared non-trading after its first attempt."""

    account: str
    trading: bool
    why: str
    recovered_orders: int
    recovered_trades: int
    first_five: tuple[str, ...]
    reconciled: bool = False  # once: from then on a stop saves what was done


class StopFeed(Struct, frozen=True):
    """Finish the window in hand, take every strategy's ``on_stop``, save, and answer True."""

    reason: str
    on_stop: str  # keep, cancel_entries, flatten
    within_s: float = 5.0  # how long flattening may wait for the market


class JournalReached(Struct, frozen=True):
    """A wake-up: the journal is durable up to here."""

    sequence: int


class FeedProgress(Struct, frozen=True):
    """How far a feed is (for people)."""

    account: str
    position: int
    total: int | None
    share: float | None
    ts_ns: int
    quality: Mapping[str, int]


class FeedEnded(Struct, frozen=True):
    """An account's feed has ended and everything is drained."""

    account: str
    reason: str
    failed: bool = False


class Alert(Struct, frozen=True):
    """Something that a person should know."""

    account: str
    severity: str
    text: str
