"""The journal's words: every record type.

A record says what happened and carries everything needed to fold it again (see :mod:`tradekeel.domain.book`); the rows that
are projected from them are in :mod:`tradekeel.domain.rows`. A :class:`Group` is what is committed together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct

from tradekeel.domain.messages import Fill, Signal, VenueTransaction
from tradekeel.domain.money import ZERO
from tradekeel.domain.orders import Order
from tradekeel.domain.positions import Position
from tradekeel.domain.rows import (
    Checkpoint,
    ExecutionRow,
    Latch,
    MetricsCheckpoint,
    ParameterChange,
    PerformanceSnapshot,
    Row,
    StrategyEvent,
    StrategyRow,
    StrategyStatus,
    VenueCursor,
)
from tradekeel.domain.ticks import Tick, TickWindow
from tradekeel.domain.trades import Allocation, Trade


class _Record(Struct, frozen=True, kw_only=True, tag_field="record"):
    ts_ns: int  # event time
    stamp: int = 0  # where in the feed (messages.Stamp)
    correlation_id: str = ""


class Opening(Struct, frozen=True, kw_only=True):
    """What an execution takes over from the one before it on the same account."""

    cursor: int  # the venue's record has been booked up to here
    balance: Decimal
    positions: tuple[Position, ...]
    trades: tuple[Trade, ...]  # still open; their exits are kept by the monitor from here on
    strategies: tuple[StrategyRow, ...] = ()  # whose trades these are; stopped, until the configuration names them


class ExecutionStarted(_Record, frozen=True, kw_only=True, tag="execution_started"):
    """The first record of every execution."""

    row: ExecutionRow
    opening: Opening | None = None


class ExecutionEnding(_Record, frozen=True, kw_only=True, tag="execution_ending"):
    """The feed has ended: nothing is sent any more but cancels, and what comes of those is still booked."""

    reason: str


class ExecutionClosed(_Record, frozen=True, kw_only=True, tag="execution_closed"):
    """The last one, but for what people correct afterwards (:class:`Administered`)."""

    reason: str


class DaemonStarted(_Record, frozen=True, kw_only=True, tag="daemon_started"):
    """A process began to work on the execution (again). Not part of a comparison between runs."""

    version: str
    wall_ns: int
    recovered_orders: int = 0
    recovered_trades: int = 0


class StrategyRegistered(_Record, frozen=True, kw_only=True, tag="strategy_registered"):
    """A strategy belongs to the execution from here on, with these parameters."""

    row: StrategyRow


class StrategyStatusChanged(_Record, frozen=True, kw_only=True, tag="strategy_status_changed"):
    """Stopped or failed, and why. Being paused comes and goes with the account: see :class:`LatchChanged`."""

    strategy: str
    status: StrategyStatus
    reason: str


class DecisionTaken(_Record, frozen=True, kw_only=True, tag="decision_taken"):
    """A strategy's decision as the executor decided it:

    intents and denials alike, with the trades that the entries would open.
    """

    strategy: str
    number: int
    digest: str  # of the decision's content: the same number with another digest is a defect
    position: int
    inbox: int
    signals: tuple[Signal, ...] = ()
    orders: tuple[Order, ...] = ()  # INTENDED or DENIED
    trades: tuple[Trade, ...] = ()
    events: tuple[StrategyEvent, ...] = ()
    told_to: int = 0  # see Turn


class Turn(Struct, frozen=True, kw_only=True):
    """The last decision of a run: whose turn it was, in which round.

    In a round all strategies are asked, in config order, what they want in view of the journal up to ``told_to``; what their
    decisions lead to is news for the next round. A restart lets those behind ``strategy`` have their turn first.
    """

    stamp: int
    sequence: int  # of its record
    strategy: str
    told_to: int


class OrdersIntended(_Record, frozen=True, kw_only=True, tag="orders_intended"):
    """Orders that no strategy decided: exits of the monitor or a person, and renewals of never-sent orders."""

    orders: tuple[Order, ...]
    reason: str = ""


class OrderChanged(_Record, frozen=True, kw_only=True, tag="order_changed"):
    """Something happened to an order on our side of the wire: submit, lose, prove_not_sent, request_cancel, deny."""

    client_order_id: str
    event: str
    reason: str = ""


class VenueReported(_Record, frozen=True, kw_only=True, tag="venue_reported"):
    """One entry of the venue's account record, booked. A fill carries its allocations; adopted trades are spelled out."""

    transaction: VenueTransaction
    allocations: tuple[Allocation, ...] = ()
    adopted: Trade | None = None
    reason: str | None = None  # close reason of the exit allocations
    best: dict[str, Decimal] = {}  # trade id to best and worst price seen, where this closes a trade
    worst: dict[str, Decimal] = {}
    margin: dict[str, Decimal] = {}  # trade id to what this entry fill ties up, account currency


class StopMoved(_Record, frozen=True, kw_only=True, tag="stop_moved"):
    """A trade's stop tightened, or its target moved."""

    trade_id: str
    stop_loss: Decimal | None
    take_profit: Decimal | None
    source: str  # trailing, strategy, manual, venue
    best: Decimal | None = None
    worst: Decimal | None = None


class ExcursionSeen(_Record, frozen=True, kw_only=True, tag="excursion_seen"):
    """The best and worst price of a trade that was already closed when they became known (after a restart)."""

    trade_id: str
    best: Decimal | None
    worst: Decimal | None


class LatchChanged(_Record, frozen=True, kw_only=True, tag="latch_changed"):
    """What may be traded changed: pause, resume, halt, reduce-only, release.

    A pause turns active strategies into paused ones, a resume turns them back. They are named, because in journals from
    before there were paused strategies a pause changed none, and the tables that were written with it must follow from it.
    """

    paused: bool
    latch: Latch
    reason: str
    by: str
    strategies: tuple[str, ...] = ()
    flatten: bool = False  # everything is to be closed; ended by the next resume


class ParameterChanged(_Record, frozen=True, kw_only=True, tag="parameter_changed"):
    """A parameter changed by reload or by a person."""

    change: ParameterChange


class SnapshotTaken(_Record, frozen=True, kw_only=True, tag="snapshot_taken"):
    """A performance snapshot on schedule."""

    snapshot: PerformanceSnapshot
    metrics: MetricsCheckpoint | None = None


class TickSampled(_Record, frozen=True, kw_only=True, tag="tick_sampled"):
    """One tick out of many, for orientation when the journal is read by a person."""

    instrument: str
    position: int
    bid: Decimal
    ask: Decimal


SAMPLES_STRIDE = 619
"""A prime: how far each sample lies further from the end of its stretch than the one before."""


def next_sample(position: int, every: int) -> int:
    """The first position from this one on whose tick is sampled: one in each ``every``, each at another place of its stretch.

    Instruments often take turns, and always the same place would be always the same instrument: of two, the other one would
    have no prices in a report, and would be missing in its benchmark.
    """
    stretch = -(-max(position, 1) // every)
    place = _sample_of(stretch, every)
    return place if place >= position else _sample_of(stretch + 1, every)


def _sample_of(stretch: int, every: int) -> int:
    return stretch * every - stretch * SAMPLES_STRIDE % every


def samples(window: TickWindow, start: int, stop: int, every: int) -> tuple[TickSampled, ...]:
    """One tick in so many of ``[start, stop)``: where the market was, for people and for charts. None with 0."""
    if not every:
        return ()
    first, found = window.first_position, []
    place = next_sample(first + start, every) - first
    while place < stop:
        found.append(sampled(window.ticks[place]))
        place = next_sample(first + place + 1, every) - first
    return tuple(found)


def sampled(tick: Tick) -> TickSampled:
    """A tick as the journal has it."""
    return TickSampled(ts_ns=tick.ts_ns, instrument=tick.instrument, position=tick.position, bid=tick.bid, ask=tick.ask)


class Reconciled(_Record, frozen=True, kw_only=True, tag="reconciled"):
    """Our books were compared with the venue's."""

    balanced: bool
    findings: tuple[str, ...] = ()
    balance: Decimal = ZERO


class Removed(Struct, frozen=True):
    """Rows of the execution that were deleted: those of ``table`` whose columns are these words; {} stands for all of them.

    Only columns of texts and whole numbers are named, each as its text. What is empty is no word.
    """

    table: str
    where: dict[str, str] = {}

    def takes(self, row: Struct) -> bool:
        """Whether a row of that table is among them."""
        return all(self.holds(getattr(row, name), word) for name, word in self.where.items())

    @staticmethod
    def holds(value: Any, word: str) -> bool:
        """Whether a column's value is this word."""
        return value is not None and str(value) == word


class Administered(_Record, frozen=True, kw_only=True, tag="administered"):
    """Somebody wrote through a repository outside a daemon: first rows were removed, then these were put, old ones replaced.

    It carries all that is needed to fold it again. Records of versions before there were repositories carry nothing.
    """

    action: str
    rows: int
    by: str
    removed: tuple[Removed, ...] = ()
    strategies: tuple[StrategyRow, ...] = ()
    signals: tuple[Signal, ...] = ()
    trades: tuple[Trade, ...] = ()
    orders: tuple[Order, ...] = ()
    fills: tuple[Fill, ...] = ()
    events: tuple[StrategyEvent, ...] = ()
    snapshots: tuple[PerformanceSnapshot, ...] = ()
    parameters: tuple[ParameterChange, ...] = ()
    cursors: tuple[VenueCursor, ...] = ()

    @property
    def put(self) -> Iterator[Row]:
        """All rows that were put, in an order in which none comes before one that it refers to."""
        return chain(
            *(self.strategies, self.signals, self.trades, self.orders, self.fills),
            *(self.events, self.snapshots, self.parameters, self.cursors),
        )


Record = (
    ExecutionStarted
    | ExecutionEnding
    | ExecutionClosed
    | DaemonStarted
    | StrategyRegistered
    | StrategyStatusChanged
    | DecisionTaken
    | OrdersIntended
    | OrderChanged
    | VenueReported
    | StopMoved
    | ExcursionSeen
    | LatchChanged
    | ParameterChanged
    | SnapshotTaken
    | TickSampled
    | Reconciled
    | Administered
)


class Group(Struct, frozen=True, kw_only=True):
    """What is committed together or not at all: records in order, the rows they change, and the states saved with them."""

    execution: str
    records: tuple[Record, ...]
    rows: tuple[Row, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()


_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_DECODER: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode_record(record: Record) -> bytes:
    """The record as it stands in the journal (msgpack, decimals as text)."""
    return _ENCODER.encode(record)


def decode_record(payload: bytes) -> Record:
    """The record from the journal; raises ``msgspec.DecodeError`` or ``msgspec.ValidationError`` on anything else."""
    return _DECODER.decode(payload)


def record_type(record: Record) -> str:
    """The tag under which a record is journaled."""
    return str(record.__struct_config__.tag)


def record_type_of(kind: type[_Record]) -> str:
    """The tag under which records of a type are journaled."""
    return str(kind.__struct_config__.tag)
