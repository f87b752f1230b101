"""The paper venue's ledger read whole, for whoever wants it proved; nothing is changed, and a venue that trades goes on.

First the venue reads its state as it does when it connects. Then its record is gone through from the first entry, and every
table is held to what follows from it: the account's sums, the positions, the orders. One read transaction sees all of it at
one moment, and the venue writes an act whole or not at all; so whatever differs is damage.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from tradekeel.domain.marks import Marks
from tradekeel.domain.matching import MatcherState, OrderState, Standing, WorkingOrder
from tradekeel.domain.matching.account import Sums
from tradekeel.domain.messages import Fill, TransactionKind, VenueTransaction
from tradekeel.domain.money import ZERO, ledger, plain
from tradekeel.domain.positions import Position, PositionKey, book_fill
from tradekeel.errors import StoreCorrupt, StoreUnavailable
from tradekeel.venues.paper.ledger import decoded, is_made, load_state, translated

FAULTS_MAX = 100
"""Faults that are spelled out; the rest is counted. One lost entry can show in every table."""

BUSY_TIMEOUT_S = 5.0

ORDERS_AT_ONCE = 1_000
"""Orders of the record that are looked for in the table together."""

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


def examine(path: Path, *, orders_at_once: int = ORDERS_AT_ONCE) -> Examined:
    """Read the ledger at ``path``. Damage is an answer, not an error. How many orders are settled at once changes nothing in it.

    Raises StoreUnavailable for a file that cannot be opened, StoreTooNew for one of a newer version.
    """
    faults = _Faults()
    last, state, is_readable = 0, None, True
    try:
        with closing(_connect(path)) as db:
            db.execute("BEGIN")
            if is_made(db, path):
                last = db.execute("SELECT coalesce(max(sequence), 0) FROM transactions").fetchone()[0]
                try:
                    state = load_state(db, path)
                except StoreCorrupt as error:
                    faults.add(str(error))
                told = _Told(db, path, orders_at_once)
                _check(db, path, faults, told, None if state is None else state.standing)
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


def _check(db: sqlite3.Connection, path: Path, faults: _Faults, told: _Told, standing: Standing | None) -> None:
    rows = db.execute(
        "SELECT sequence, kind, client_order_id, venue_order_id, payload, crc FROM transactions ORDER BY sequence"
    )
    for expected, (sequence, *columns, payload, crc) in enumerate(rows, start=1):
        if sequence != expected:
            raise StoreCorrupt(f"{path}: entry {expected} of the record is missing")
        what = f"entry {sequence}"
        entry = decoded(_entries, payload, crc, what, path)
        found = [entry.kind.value, entry.client_order_id, entry.venue_order_id]
        faults.extend(_differing(path, what, ("kind", "client_order_id", "venue_order_id"), columns, found))
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
        names, columns, found = ("instrument", "ref"), (symbol, ref), (position.instrument, position.ref or "")
        faults.extend(_differing(path, what, names, columns, found))
    for key in sorted(held.keys() | told.positions.keys(), key=str):
        is_, should = held.get(key, Position(key[0])), told.positions.get(key, Position(key[0]))
        if (is_.quantity, is_.cost) != (should.quantity, should.cost):
            faults.add(
                f"{path}: position {key[0]} is {plain(is_.quantity)} at a cost of {plain(is_.cost)}, "
                f"the fills of its record come to {plain(should.quantity)} at {plain(should.cost)}"
            )


def _check_orders(db: sqlite3.Connection, path: Path, faults: _Faults, told: _Told) -> None:
    told.settle()
    open_ones: Counter[str] = Counter()
    missing = {venue_id for venue_id, line in told.orders.items() if line.is_told}
    for row in map(_OrderRow._make, db.execute(f"{_ORDER_ROWS} ORDER BY id")):
        missing.discard(row.venue_order_id)
        if row.is_open:
            open_ones[row.client_order_id] += row.is_open
        if row.number not in told.settled:
            faults.extend(_faults_of_order(path, row, told.orders.get(row.venue_order_id, _NOT_TOLD)))
    for client_id, times in open_ones.items():
        if times > 1:
            faults.add(f"{path}: client order id {client_id} stands {times} times among the open orders")
    for venue_id in missing:
        faults.add(f"{path}: order {venue_id} of its record is not among its orders")


_ORDER_ROWS = "SELECT id, venue_order_id, client_order_id, open, payload, crc FROM orders"


class _OrderRow(NamedTuple):
    """A row of the ledger's orders."""

    number: int
    venue_order_id: str
    client_order_id: str
    is_open: int
    payload: object
    crc: object

    def content(self, path: Path) -> WorkingOrder:
        """The order itself. Raises StoreCorrupt."""
        return decoded(_orders, self.payload, self.crc, f"order {self.venue_order_id}", path)


def _faults_of_order(path: Path, row: _OrderRow, line: _Line) -> Iterator[str]:
    """How an order stands must follow from the record. An exit that waits for its entry is not told of yet."""
    try:
        order = row.content(path)
    except StoreCorrupt as error:
        yield str(error)
        return
    columns, found = row[1:4], (order.venue_order_id, order.client_order_id, int(order.is_open))
    names = ("venue_order_id", "client_order_id", "open")
    yield from _differing(path, f"order {row.venue_order_id}", names, columns, found)
    what = f"{path}: order {order.venue_order_id}"
    if line.ended is not None and order.state is not line.ended:
        yield f"{what} is {order.state}, and {line.ended} in its record"
    elif line.ended is None and order.state in _ENDED_AS.values():
        yield f"{what} is {order.state}, and its record does not say so"
    elif not line.is_told and order.state is not OrderState.DORMANT:
        yield f"{what} is {order.state}, and its record does not know it"
    if order.filled != line.filled:
        yield f"{what} has {plain(order.filled)} filled, and {plain(line.filled)} in its record"


def _differing(
    path: Path, what: str, names: Sequence[str], columns: Sequence[object], found: Sequence[object]
) -> Iterator[str]:
    """Columns that do not say what the content beside them says."""
    for name, column, content in zip(names, columns, found, strict=True):
        if column != content:
            yield f"{path}: {what}: column {name} is {column}, its content says {content}"


class _Line(Struct, frozen=True):
    """What the record tells of one order."""

    is_told: bool = False  # that it was accepted, or has ended
    ended: OrderState | None = None  # by the venue's word; None: it may be filled
    filled: Decimal = ZERO


_NOT_TOLD = _Line()


class _Told:
    """What the record tells, entry by entry.

    Of orders it keeps in mind only those that are open, or whose row in the table does not say the same yet: memory follows the
    open business, and not the record. One of which more is told after that takes up where its row stands.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, orders_at_once: int) -> None:
        self._db, self._path, self._at_once = db, path, orders_at_once
        self.sums = Sums()
        self.positions: dict[PositionKey, Position] = {}
        self.orders: dict[str, _Line] = {}
        self.settled = Marks()  # rows of orders that have ended as they say
        self._touched: set[str] = set()

    def take(self, entry: VenueTransaction) -> None:
        with ledger():
            if entry.kind is TransactionKind.DEPOSITED:
                self.sums = msgspec.structs.replace(self.sums, deposits=self.sums.deposits + entry.amount)
            elif entry.kind is TransactionKind.FINANCED:
                self.sums = msgspec.structs.replace(self.sums, financing=self.sums.financing + entry.amount)
            if entry.fill is not None:
                self._book(entry.fill)
        venue_id = entry.venue_order_id
        if venue_id is not None and entry.kind is TransactionKind.ORDER_ACCEPTED:
            self._tell(venue_id, is_told=True)
        elif venue_id is not None and entry.kind in _ENDED_AS:
            self._tell(venue_id, is_told=True, ended=_ENDED_AS[entry.kind])
        if len(self._touched) >= self._at_once:
            self.settle()

    def _book(self, fill: Fill) -> None:
        book_fill(self.positions, fill)
        sums = self.sums
        self.sums = Sums(sums.deposits, sums.realised + fill.realised, sums.financing, sums.fees + fill.fee)
        self._tell(fill.venue_order_id, filled=self._line(fill.venue_order_id).filled + fill.quantity)

    def _tell(self, venue_id: str, **news: Any) -> None:
        self.orders[venue_id] = msgspec.structs.replace(self._line(venue_id), **news)
        self._touched.add(venue_id)

    def _line(self, venue_id: str) -> _Line:
        line = self.orders.get(venue_id)
        if line is not None:
            return line
        row = self._row(venue_id)
        if row is None or row.number not in self.settled:
            return _NOT_TOLD
        order = row.content(self._path)
        return _Line(True, order.state if order.state in _ENDED_AS.values() else None, order.filled)

    def settle(self) -> None:
        """Forget the orders that have ended, and whose rows say what was told of them."""
        for venue_id in self._touched:
            row = self._row(venue_id)
            if (
                row is not None
                and not row.is_open
                and not any(_faults_of_order(self._path, row, self.orders[venue_id]))
            ):
                self.settled.add(row.number)
                del self.orders[venue_id]
        self._touched.clear()

    def _row(self, venue_id: str) -> _OrderRow | None:
        found = self._db.execute(f"{_ORDER_ROWS} WHERE venue_order_id = ?", (venue_id,)).fetchone()
        return None if found is None else _OrderRow(*found)


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

    def extend(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.add(text)

    def as_tuple(self) -> tuple[str, ...]:
        return (*self.lines, *([f"{self._more} more faults of the ledger"] if self._more else []))
