"""What the executor has others do for it: the session at the venue, sync behind it, the recorder on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from tradekeel.domain.book import Book
from tradekeel.domain.effects import AmendOrder, CancelOrder, VenueAsk
from tradekeel.domain.messages import VenueBalance, VenueOrder, VenuePosition, VenueTransaction
from tradekeel.domain.records import Group, Record
from tradekeel.domain.rows import Checkpoint, Latch

# --- executor → session -----------------------------------------------------------------------------------------------


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


class SessionState(Struct, frozen=True):
    """Whether the venue is connected, and the position up to which a tick-driven venue is durable."""

    connected: bool
    why: str
    position: int


class AskSession(Struct, frozen=True):
    """Answer with :class:`SessionState`."""


# --- executor → sync --------------------------------------------------------------------------------------------------


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


# --- anybody → recorder -----------------------------------------------------------------------------------------------


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
    book: Book | None = None  # as of the cut (it had to be read to know that it can be), or behind what was archived
    previous: Book | None = None  # without an unfinished execution: the last one's books as they were closed
