"""The paper venue's ledger read whole, for whoever wants it proved; nothing is changed, and a venue that trades goes on.

First the venue reads its state as it does when it connects. Then its record is gone through from the first entry, and every
table is held to what follows from it: the account's sums, the positions, the orders. One read transaction sees all of it at
one moment, and the venue writes an act whole or not at all; so whatever differs is damage.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
from msgspec import Struct

from tradekeel.domain.matching import MatcherState, OrderState, Standing, WorkingOrder
from tradekeel.domain.matching.account import Sums
from tradekeel.domain.messages import Fill, TransactionKind, VenueTransaction
from tradekeel.domain.money import ZERO, ledger, plain
from tradekeel.domain.positions import Position, PositionKey, book_fill
from tradekeel.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from tradekeel.venues.paper.ledger import APPLICATION_ID, SCHEMA_VERSION, decoded, load_state, translated

FAULTS_MAX = 100
"""Faults that are spelled out; the rest is counted. One lost entry can show in every table."""

BUSY_TIMEOUT_S = 5.0

_ENDED_AS = {
    TransactionKind.ORDER_CANCELED: OrderState.CANCELED,
    TransactionKind.ORDER_EXPIRED: OrderState.EXPIRED,
    TransactionKind.ORDER_REJECTED: OrderState.REJECTED,
}
_entries = msgspec.msgpack.Decoder(VenueTransaction)
_orders = msgspec.msgpack.Decoder(WorkingOrder)
_positions = msgspec.msgpack.Decoder(Position)


class Examined(Struct, frozen=True, kw_only=True):
    """What there is in a ledger. ``state`` is what the venue would go on with; None if it is new, or damaged."""

    last: int = 0  # the record's last entry
    state: MatcherState | None = None
    faults: tuple[str, ...] = ()
    is_readable: bool = True  # every entry of the record is there and whole, whatever else is wrong


def examine(path: Path) -> Examined:
    """Read the ledger at ``path``. Damage is an answer, not an error.

    Raises StoreUnavailable for a file that cannot be opened, StoreTooNew for one of a newer version.
    """
    faults = _Faults()
    last, state, is_readable = 0, None, True
    try:
        with closing(_connect(path)) as db:
            db.execute("BEGIN")
            if _is_made(db, path):
                last = db.execute("SELECT coalesce(max(sequence), 0) FROM transactions").fetchone()[0]
                try:
                    state = load_state(db, path)
                except StoreCorrupt as error:
                    faults.add(str(error))
                _check(db, path, faults, None if state is None else state.standing)
    except StoreCorrupt as error:
        faults.add(str(error))
        is_readable = False
    except sqlite3.Error as error:
        found = translated(error, path)
        # A statement that makes no sense to SQLite is one about tables that are no longer there.
        if isinstance(found, StoreUnavailable) and getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
            raise found from error
        faults.add(str(found))
        is_readable = False
    return Examined(last=last, state=None if faults.lines else state, faults=faults.as_tuple(), is_readable=is_readable)


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")  # damaged text is named, not thrown
    return db


def _is_made(db: sqlite3.Connection, path: Path) -> bool:
    """Whether there is anything in it: a kill may have left a file that the venue had only just made."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreTooNew(
            f"{path} was written by a newer Tradekeel (its schema is {version}, this one knows {SCHEMA_VERSION})"
        )
    if not version and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return False
    if version != SCHEMA_VERSION or db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreCorrupt(f"{path} is not a paper venue's ledger")
    return True


def _check(db: sqlite3.Connection, path: Path, faults: _Faults, standing: Standing | None) -> None:
    told = _Told()
    rows = db.execute(
        "SELECT sequence, kind, client_order_id, venue_order_id, payload, crc FROM transactions ORDER BY sequence"
    )
    for expected, (sequence, *columns, payload, crc) in enumerate(rows, start=1):
        if sequence != expected:
            raise StoreCorrupt(f"{path}: entry {expected} of the record is missing")
        what = f"entry {sequence}"
        entry = decoded(_entries, payload, crc, what, path)
        found = [entry.kind.value, entry.client_order_id, entry.venue_order_id]
        faults.compare(path, what, ("kind", "client_order_id", "venue_order_id"), columns, found)
        if entry.sequence != sequence:
            faults.add(f"{path}: entry {sequence} says that it is entry {entry.sequence}")
        told.take(entry)
    if standing is not None and standing.sums != told.sums:
        faults.add(f"{path}: the account stands at {_said(standing.sums)}, its record comes to {_said(told.sums)}")
    _check_positions(db, path, faults, told)
    _check_orders(db, path, faults, told)


def _said(sums: Sums) -> str:
    with ledger():
        return (
            f"a balance of {plain(sums.balance)} ({plain(sums.deposits)} deposited, {plain(sums.realised)} realised, "
            f"{plain(sums.financing)} financing, {plain(sums.fees)} fees)"
        )


def _check_positions(db: sqlite3.Connection, path: Path, faults: _Faults, told: _Told) -> None:
    held: dict[PositionKey, Position] = {}
    for symbol, ref, payload, crc in db.execute("SELECT instrument, ref, payload, crc FROM positions"):
        what = f"position {symbol}"
        try:
            position = decoded(_positions, payload, crc, what, path)
        except StoreCorrupt as error:
            faults.add(str(error))
            held[symbol, ref or None] = told.positions.get((symbol, ref or None), Position(symbol))
            continue
        held[position.instrument, position.ref] = position
        faults.compare(path, what, ("instrument", "ref"), [symbol, ref], [position.instrument, position.ref or ""])
    for key in sorted(held.keys() | told.positions.keys(), key=str):
        is_, should = held.get(key, Position(key[0])), told.positions.get(key, Position(key[0]))
        if (is_.quantity, is_.cost) != (should.quantity, should.cost):
            faults.add(
                f"{path}: position {key[0]} is {plain(is_.quantity)} at a cost of {plain(is_.cost)}, "
                f"the fills of its record come to {plain(should.quantity)} at {plain(should.cost)}"
            )


def _check_orders(db: sqlite3.Connection, path: Path, faults: _Faults, told: _Told) -> None:
    open_ones: Counter[str] = Counter()
    seen: set[str] = set()
    rows = db.execute("SELECT venue_order_id, client_order_id, open, payload, crc FROM orders ORDER BY id")
    for venue_id, client_id, is_open, payload, crc in rows:
        what = f"order {venue_id}"
        seen.add(venue_id)
        open_ones[client_id] += is_open
        try:
            order = decoded(_orders, payload, crc, what, path)
        except StoreCorrupt as error:
            faults.add(str(error))
            continue
        found = [order.venue_order_id, order.client_order_id, int(order.is_open)]
        faults.compare(path, what, ("venue_order_id", "client_order_id", "open"), [venue_id, client_id, is_open], found)
        _check_order(path, faults, order, told)
    for client_id, times in open_ones.items():
        if times > 1:
            faults.add(f"{path}: client order id {client_id} stands {times} times among the open orders")
    for venue_id in told.orders.keys() - seen:
        faults.add(f"{path}: order {venue_id} of its record is not among its orders")


def _check_order(path: Path, faults: _Faults, order: WorkingOrder, told: _Told) -> None:
    """How an order stands must follow from the record. An exit that waits for its entry is not told of yet."""
    ended = told.orders.get(order.venue_order_id)
    if ended is not None and order.state is not ended:
        faults.add(f"{path}: order {order.venue_order_id} is {order.state}, and {ended} in its record")
    elif ended is None and order.state in _ENDED_AS.values():
        faults.add(f"{path}: order {order.venue_order_id} is {order.state}, and its record does not say so")
    elif order.venue_order_id not in told.orders and order.state is not OrderState.DORMANT:
        faults.add(f"{path}: order {order.venue_order_id} is {order.state}, and its record does not know it")
    filled = told.filled.get(order.venue_order_id, ZERO)
    if order.filled != filled:
        faults.add(
            f"{path}: order {order.venue_order_id} has {plain(order.filled)} filled, and {plain(filled)} in its record"
        )


class _Told:
    """What the record tells, entry by entry."""

    def __init__(self) -> None:
        self.sums = Sums()
        self.positions: dict[PositionKey, Position] = {}
        self.orders: dict[str, OrderState | None] = {}  # how it ended by the venue's word; None: it may be filled
        self.filled: dict[str, Decimal] = {}

    def take(self, entry: VenueTransaction) -> None:
        with ledger():
            if entry.kind is TransactionKind.DEPOSITED:
                self.sums = msgspec.structs.replace(self.sums, deposits=self.sums.deposits + entry.amount)
            elif entry.kind is TransactionKind.FINANCED:
                self.sums = msgspec.structs.replace(self.sums, financing=self.sums.financing + entry.amount)
            if entry.fill is not None:
                self._book(entry.fill)
        if entry.venue_order_id is None:
            return
        if entry.kind is TransactionKind.ORDER_ACCEPTED:
            self.orders.setdefault(entry.venue_order_id, None)
        elif entry.kind in _ENDED_AS:
            self.orders[entry.venue_order_id] = _ENDED_AS[entry.kind]

    def _book(self, fill: Fill) -> None:
        book_fill(self.positions, fill)
        sums = self.sums
        self.sums = Sums(sums.deposits, sums.realised + fill.realised, sums.financing, sums.fees + fill.fee)
        self.filled[fill.venue_order_id] = self.filled.get(fill.venue_order_id, ZERO) + fill.quantity


class _Faults:
    """What is wrong, within bounds."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = 0

    def add(self, text: str) -> None:
        if text in self.lines:
            return  # what the venue cannot read is met again on the way through
        if len(self.lines) < FAULTS_MAX:
            self.lines.append(text)
        else:
            self._more += 1

    def compare(
        self, path: Path, what: str, names: tuple[str, ...], columns: Sequence[object], found: Sequence[object]
    ) -> None:
        for name, column, content in zip(names, columns, found, strict=True):
            if column != content:
                self.add(f"{path}: {what}: column {name} is {column}, its content says {content}")

    def as_tuple(self) -> tuple[str, ...]:
        return (*self.lines, *([f"{self._more} more faults of the ledger"] if self._more else []))
