"""Do our books and the venue's agree? A comparison that decides nothing, and one table that says what follows.

:func:`compare` takes both sides as plain dicts and lists every difference as a :class:`Finding`. What follows from a
finding is in :data:`POLICY`. Differences that orders in doubt, or news that is not booked yet, can explain are findings of
their own kinds, so that nothing is halted for what the next answer settles. Nothing is ever made to match by trading.

Whether an order that the venue does not know ever arrived is the question of :mod:`tradekeel.domain.evidence`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from tradekeel.domain.evidence import (
    EvidenceRules,
    Look,
    NotFoundEvidence,
    Proof,
    Verdict,
    can_prove,
    look,
    next_look_ns,
)
from tradekeel.domain.messages import VenueOrder
from tradekeel.domain.money import LEDGER, ZERO, plain
from tradekeel.domain.orders import Order, OrderStatus, Side
from tradekeel.errors import FailureWord

__all__ = [
    "POLICY",
    "EvidenceRules",
    "Finding",
    "FindingKind",
    "Look",
    "NotFoundEvidence",
    "OurSide",
    "Proof",
    "Resolution",
    "Rule",
    "TheirSide",
    "Verdict",
    "balanced",
    "can_prove",
    "compare",
    "look",
    "next_look_ns",
]

PositionKey = tuple[str, str | None]
"""Instrument, and on a hedging account the venue's id of the position."""

OUR_MARK = "tk"
"""Client ids of ours begin so: see domain/ids.py."""


# --- both sides -------------------------------------------------------------------------------------------------------


class OurSide(Struct, frozen=True, kw_only=True):
    """Our books, as far as a venue can contradict them."""

    cursor: int
    """The last entry of the venue's record that is booked."""
    balance: Decimal
    positions: Mapping[PositionKey, Decimal]
    """Signed quantities; flat ones may be left out."""
    orders: Mapping[str, Order]
    """By client id: everything that is not ended."""
    ended: Mapping[str, OrderStatus] = {}
    """Recently ended orders, by client id."""


class TheirSide(Struct, frozen=True, kw_only=True):
    """The venue's books, read at one moment; ``last_sequence`` says at which."""

    last_sequence: int
    balance: Decimal
    positions: Mapping[PositionKey, Decimal]
    orders: tuple[VenueOrder, ...]
    """Its working orders, ours or not."""
    looked_up: Mapping[str, VenueOrder | None] = {}
    """Answers to single lookups by client id; None: the venue does not know it."""
    gap_free: bool = True
    """Its record is complete, so that what differs when all of it is booked is an error, not news."""


class FindingKind(StrEnum):
    """What can differ. The value is the word of logs and docs."""

    BEHIND = "behind"
    RECORD_SHRANK = "record_shrank"
    ORDER_FOREIGN = "order_foreign"
    ORDER_OURS_NOT_BOOKED = "order_ours_not_booked"
    ORDER_ENDED_BUT_WORKING = "order_ended_but_working"
    ORDER_DISPROVES = "order_disproves"
    ORDER_ARRIVED = "order_arrived"
    ORDER_IN_DOUBT = "order_in_doubt"
    ORDER_ENDED_THERE = "order_ended_there"
    ORDER_MISSING = "order_missing"
    ORDER_QUANTITY = "order_quantity"
    POSITION_IN_DOUBT = "position_in_doubt"
    POSITION_FOREIGN = "position_foreign"
    POSITION_DIFFERS = "position_differs"
    BALANCE_IN_DOUBT = "balance_in_doubt"
    BALANCE_DIFFERS = "balance_differs"


class Resolution(StrEnum):
    """What follows from a finding. To read on, to make unknown and to halt is done on the spot.

    Of every order in doubt a lookup is under way already (see :mod:`tradekeel.domain.doubting`), and what the venue has of
    its own comes with its record: for these nothing is done twice.
    """

    READ_ON = "read_on"  # book the venue's news first, then compare again
    LOOK_UP = "look_up"  # the lookup of the order, or orders, that is under way settles it
    ADOPT = "adopt"  # the venue's version becomes ours, by its record or by the lookup that is under way
    MAKE_UNKNOWN = "make_unknown"  # freeze the exposure and look it up
    HALT = "halt"  # a person looks at both books


class Rule(Struct, frozen=True):
    """What follows from a kind of finding: what is done, and what it means for trading meanwhile."""

    resolution: Resolution
    word: FailureWord


_K, _R, _W = FindingKind, Resolution, FailureWord

POLICY: dict[FindingKind, Rule] = {
    # News is waiting: nothing else can be said before it is booked.
    _K.BEHIND: Rule(_R.READ_ON, _W.RETRY),
    # The venue forgot entries that we have booked: a reset ledger, another account, a restored backup.
    _K.RECORD_SHRANK: Rule(_R.HALT, _W.HALT),
    # A person's or another program's order: it is theirs to cancel, but its fills will move our account.
    _K.ORDER_FOREIGN: Rule(_R.ADOPT, _W.DEGRADE),
    # It bears our mark and our books do not know it: a lost journal, or a second daemon on the account.
    _K.ORDER_OURS_NOT_BOOKED: Rule(_R.HALT, _W.HALT),
    # We took it for canceled, expired, filled or rejected, and it can still fill.
    _K.ORDER_ENDED_BUT_WORKING: Rule(_R.HALT, _W.HALT),
    # We had proof that it never arrived, and it did.
    _K.ORDER_DISPROVES: Rule(_R.HALT, _W.HALT),
    # In doubt with us, working there: now we know. Where the record has gaps, its fills are fetched with it.
    _K.ORDER_ARRIVED: Rule(_R.ADOPT, _W.RETRY),
    # In doubt with us, not working there: it may have filled, ended, or never arrived.
    _K.ORDER_IN_DOUBT: Rule(_R.LOOK_UP, _W.RETRY),
    # The lookup told us its end, which its record has not (yet): booked as the venue says.
    _K.ORDER_ENDED_THERE: Rule(_R.ADOPT, _W.RETRY),
    # Working with us, and the venue does not have it.
    _K.ORDER_MISSING: Rule(_R.MAKE_UNKNOWN, _W.RETRY),
    # More or less of it is filled there than here, with all news booked.
    _K.ORDER_QUANTITY: Rule(_R.HALT, _W.HALT),
    # What orders in doubt may have done explains it: their answers come first.
    _K.POSITION_IN_DOUBT: Rule(_R.LOOK_UP, _W.RETRY),
    # A position where our books are flat, at a venue whose record may have left it out.
    _K.POSITION_FOREIGN: Rule(_R.ADOPT, _W.DEGRADE),
    _K.POSITION_DIFFERS: Rule(_R.HALT, _W.HALT),
    _K.BALANCE_IN_DOUBT: Rule(_R.LOOK_UP, _W.RETRY),
    _K.BALANCE_DIFFERS: Rule(_R.HALT, _W.HALT),
}
"""What follows from each finding: nothing is matched by closing or opening positions, ever.

What is in doubt is looked up again and again (RETRY) and trading goes on: its exposure is frozen, and the risk gate counts it.
"""


class Finding(Struct, frozen=True, kw_only=True):
    """One difference: what differs, as each side has it."""

    kind: FindingKind
    what: str
    ours: str
    theirs: str
    client_order_id: str | None = None
    position: PositionKey | None = None
    venue_order: VenueOrder | None = None

    @property
    def resolution(self) -> Resolution:
        """What is done about it."""
        return POLICY[self.kind].resolution

    @property
    def word(self) -> FailureWord:
        """What it means for trading meanwhile."""
        return POLICY[self.kind].word

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}: ours {self.ours}, theirs {self.theirs} ({self.word}: {self.resolution})"


def compare(ours: OurSide, theirs: TheirSide) -> list[Finding]:
    """Every difference, in a stable order; an empty list means that the books agree.

    Both sides must be at the same entry of the venue's record: while news is waiting, BEHIND is the only finding.
    """
    if ours.cursor < theirs.last_sequence:
        return [_sequence(FindingKind.BEHIND, "the venue has news that is not booked", ours, theirs)]
    if ours.cursor > theirs.last_sequence:
        return [_sequence(FindingKind.RECORD_SHRANK, "the venue's record ends before our cursor", ours, theirs)]
    findings = _orders_there(ours, theirs)
    findings.extend(_orders_here(ours, theirs))
    findings.extend(_positions(ours, theirs))
    findings.extend(_balance(ours, theirs))
    return findings


def _sequence(kind: FindingKind, what: str, ours: OurSide, theirs: TheirSide) -> Finding:
    return Finding(kind=kind, what=what, ours=f"entry {ours.cursor}", theirs=f"entry {theirs.last_sequence}")


# --- orders -----------------------------------------------------------------------------------------------------------


def _orders_there(ours: OurSide, theirs: TheirSide) -> list[Finding]:
    """What the venue has working."""
    findings = [_order_there(order, ours, theirs) for order in theirs.orders]
    return [finding for finding in findings if finding is not None]


def _order_there(there: VenueOrder, ours: OurSide, theirs: TheirSide) -> Finding | None:
    client_id = there.client_order_id
    state = f"{there.state}, {plain(there.filled_quantity)} of {plain(there.quantity)} filled"
    here = ours.orders.get(client_id) if client_id is not None else None
    if here is None or client_id is None:
        ended = ours.ended.get(client_id) if client_id is not None else None
        kind = _kind_of_stranger(client_id, ended)
        what = f"order {client_id or there.venue_order_id} in {there.instrument}"
        known = "not known" if ended is None else str(ended)
        return Finding(kind=kind, what=what, ours=known, theirs=state, client_order_id=client_id, venue_order=there)
    if _misses_fills(here, there, theirs):
        kind = FindingKind.ORDER_QUANTITY
    elif here.in_doubt:
        kind = FindingKind.ORDER_ARRIVED
    else:
        return None
    booked = f"{here.status}, {plain(here.filled_quantity)} of {plain(here.quantity)} filled"
    what = f"order {client_id} in {there.instrument}"
    return Finding(kind=kind, what=what, ours=booked, theirs=state, client_order_id=client_id, venue_order=there)


def _misses_fills(here: Order, there: VenueOrder, theirs: TheirSide) -> bool:
    """Whether fills are missing here that should have been booked: a record with gaps may not have told us, in doubt."""
    return here.filled_quantity != there.filled_quantity and (theirs.gap_free or not here.in_doubt)


def _kind_of_stranger(client_id: str | None, ended: OrderStatus | None) -> FindingKind:
    if ended in (OrderStatus.NOT_SENT, OrderStatus.DENIED):
        return FindingKind.ORDER_DISPROVES
    if ended is not None:
        return FindingKind.ORDER_ENDED_BUT_WORKING
    if client_id is not None and client_id.startswith(OUR_MARK):
        return FindingKind.ORDER_OURS_NOT_BOOKED
    return FindingKind.ORDER_FOREIGN


def _orders_here(ours: OurSide, theirs: TheirSide) -> list[Finding]:
    """What we have alive and the venue does not have working. An attached exit lives only once its entry has filled."""
    working = {order.client_order_id for order in theirs.orders}
    findings: list[Finding] = []
    for client_id, order in ours.orders.items():
        if client_id in working or order.is_terminal or _waits_for_entry(order, ours.orders):
            continue
        what = f"order {client_id} in {order.instrument}"
        if client_id not in theirs.looked_up:
            kind = FindingKind.ORDER_IN_DOUBT if order.in_doubt else FindingKind.ORDER_MISSING
            answer, there = "not among its working orders", None
        else:
            there = theirs.looked_up[client_id]
            kind, answer = _answered(order, there, theirs)
        status = str(order.status)
        findings.append(
            Finding(kind=kind, what=what, ours=status, theirs=answer, client_order_id=client_id, venue_order=there)
        )
    return findings


def _answered(order: Order, there: VenueOrder | None, theirs: TheirSide) -> tuple[FindingKind, str]:
    if there is None:
        kind = FindingKind.ORDER_IN_DOUBT if order.in_doubt else FindingKind.ORDER_MISSING
        return kind, "not known to it"
    answer = f"{there.state}, {plain(there.filled_quantity)} of {plain(there.quantity)} filled"
    if _misses_fills(order, there, theirs):
        return FindingKind.ORDER_QUANTITY, answer
    if there.state == "working":
        return FindingKind.ORDER_ARRIVED, answer
    return FindingKind.ORDER_ENDED_THERE, answer


def _waits_for_entry(order: Order, orders: Mapping[str, Order]) -> bool:
    parent = orders.get(order.parent_id) if order.parent_id is not None else None
    return parent is not None and not parent.filled_quantity


# --- positions and balance --------------------------------------------------------------------------------------------


def _positions(ours: OurSide, theirs: TheirSide) -> list[Finding]:
    findings: list[Finding] = []
    for key in sorted({*ours.positions, *theirs.positions}, key=_sortable):
        here, there = ours.positions.get(key, ZERO), theirs.positions.get(key, ZERO)
        if here == there:
            continue
        instrument, ref = key
        what = f"position in {instrument}" if ref is None else f"position {ref} in {instrument}"
        kind = _kind_of_position(instrument, here, there, ours, theirs)
        findings.append(Finding(kind=kind, what=what, ours=plain(here), theirs=plain(there), position=key))
    return findings


def _sortable(key: PositionKey) -> tuple[str, str]:
    return key[0], key[1] or ""


def _kind_of_position(instrument: str, here: Decimal, there: Decimal, ours: OurSide, theirs: TheirSide) -> FindingKind:
    doubtful = [o for o in ours.orders.values() if o.instrument == instrument and o.in_doubt]
    most = sum((o.open_quantity for o in doubtful if o.side is Side.BUY), ZERO)
    least = sum((o.open_quantity for o in doubtful if o.side is Side.SELL), ZERO)
    if -least <= LEDGER.subtract(there, here) <= most:
        return FindingKind.POSITION_IN_DOUBT
    if not here and not theirs.gap_free:
        return FindingKind.POSITION_FOREIGN
    return FindingKind.POSITION_DIFFERS


def _balance(ours: OurSide, theirs: TheirSide) -> list[Finding]:
    if ours.balance == theirs.balance:
        return []
    doubtful = any(order.in_doubt for order in ours.orders.values())
    kind = FindingKind.BALANCE_IN_DOUBT if doubtful else FindingKind.BALANCE_DIFFERS
    return [Finding(kind=kind, what="balance", ours=plain(ours.balance), theirs=plain(theirs.balance))]


def balanced(findings: Iterable[Finding]) -> bool:
    """Whether trading may go on: nothing halts, and no news is waiting to be booked first."""
    return all(finding.resolution not in (Resolution.HALT, Resolution.READ_ON) for finding in findings)
