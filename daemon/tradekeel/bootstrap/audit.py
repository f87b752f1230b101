"""`tradekeel verify`: our books against themselves, and against the paper venue's own ledger.

The first half is :mod:`tradekeel.storage.verify`. The second opens the ledgers read-only. Each is held to itself first
(:mod:`tradekeel.venues.paper.examining`) and then to our books, up to the entry that these have come to: every fill there is
here exactly once and with the same figures, nothing is here that is not there, and balance and positions are equal to the
last digit. Where our books have come to its end, both sides have the same orders working.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from itertools import islice, takewhile
from operator import attrgetter
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Struct

from tradekeel.bootstrap.books import ledgers_of
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.summary import (
    BY_THE_BOOKS,
    balance_of,
    latched_by,
    newest_executions,
    opening_of_fills,
    records_of,
)
from tradekeel.bootstrap.waiting import waiting_at
from tradekeel.config.source import read_table
from tradekeel.domain.marks import Marks
from tradekeel.domain.matching import WorkingOrder
from tradekeel.domain.messages import Fill, VenueTransaction
from tradekeel.domain.money import ZERO, plain
from tradekeel.domain.orders import Order, OrderStatus
from tradekeel.domain.positions import Position, PositionKey, book_fill
from tradekeel.domain.records import Administered
from tradekeel.domain.rows import STARTED_FRESH, ExecutionRow, VenueCursor
from tradekeel.errors import ConfigError, StoreCorrupt, StoreUnavailable
from tradekeel.statedir import refuse_no_data
from tradekeel.storage.archives import newest_archive
from tradekeel.storage.backend import Backend, Connection
from tradekeel.storage.files import connect
from tradekeel.storage.moment import one_moment
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.tables import FILL_KEY
from tradekeel.storage.verify import Verdict, verify
from tradekeel.storage.whose import A_DAEMONS, elsewhere
from tradekeel.venues.paper.examining import examine

FINDINGS_MAX = 100
_WORKING = (OrderStatus.ACCEPTED.value, OrderStatus.PARTIALLY_FILLED.value)
PAGE_ENTRIES = 2_000
"""Entries of the venue's whose fills are looked up together."""

_key: Callable[[Fill], tuple[str, ...]] = attrgetter(*FILL_KEY)
_FIGURES = ("side", "quantity", "price", "fee", "realised", "rate", "ts_ns")
_DECODER = msgspec.msgpack.Decoder(VenueTransaction)

Progress = Callable[[str, int, int], None]


class Comparison(Struct, frozen=True):
    """One account's books beside its venue's ledger."""

    account: str
    ledger: str
    entries: int
    fills: int
    differences: tuple[str, ...]
    beyond: int = 0  # entries of the venue's record that our books have not come to yet


class Audit(Struct, frozen=True):
    """Everything that was compared."""

    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    left_out: tuple[str, ...] = ()  # accounts without a ledger of the paper venue, and why
    waiting: Mapping[str, Any] = {}  # what is acknowledged and not in the books yet

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return self.verdict.ok and not any(comparison.differences for comparison in self.comparisons)

    def lines(self) -> list[str]:
        """The result as sentences."""
        lines = list(self.verdict.lines())
        for comparison in self.comparisons:
            read = f"{comparison.ledger}: {comparison.entries} entries and {comparison.fills} fills compared"
            if not comparison.differences:
                lines.append(f"{read}; the books of {comparison.account} balance with the venue's")
            else:
                lines.append(f"{read}; the books of {comparison.account} do not match the venue's")
                lines.extend(comparison.differences)
            if comparison.beyond:
                lines.append(f"{comparison.ledger} goes on beyond that for {comparison.beyond} entries: not booked yet")
        lines += self.left_out
        return [*lines, self.waiting["said"]] if self.waiting.get("said") else lines


def audit(place: Place, progress: Progress) -> Audit:
    """Verify the books of a place, and compare them with the paper ledgers beside them."""
    books, waiting = place.books(), waiting_at(place)
    verdict = verify(books, progress, archives=place.statedir.archives)
    if verdict.problems:
        return Audit(verdict, (), ("not compared with the venue's ledgers, because the books are damaged",), waiting)
    comparisons: list[Comparison] = []
    left_out: list[str] = []
    with one_moment(books, "comparing it") as db:  # and before the ledgers': these can only have come further
        runs = newest_executions(db, books)
        for number, run in enumerate(runs, start=1):
            compared = _compared(db, books, run, _ledger_of(place, books, run.account))
            if isinstance(compared, str):
                left_out.append(compared)
            else:
                comparisons.append(compared)
            progress("venue ledgers", number, len(runs))
        left_out.extend(_of_others(db, books))
    return Audit(verdict, tuple(comparisons), tuple(left_out), waiting)


def _of_others(db: Connection, books: Backend) -> list[str]:
    """Why accounts of other daemons are left out, whose ledgers are in other state directories."""
    if not books.daemon:
        return []
    rows = db.execute(
        f"SELECT account, daemon FROM leases WHERE {elsewhere(books)} AND account IN "  # noqa: S608  # our own words
        f"(SELECT account FROM executions WHERE {A_DAEMONS}) ORDER BY account"
    )
    return [
        f"{account}: not compared with its venue's ledger, because daemon {daemon} trades it, and the ledger is where that one is"
        for account, daemon in rows.fetchall()
    ]


def ledgers_missing(place: Place, books: Backend) -> list[Path]:
    """The paper ledgers that these books go on with, and that are not here. Raises StoreError."""
    with one_moment(books, "looking for its ledgers") as db:
        paths = [
            _ledger_of(place, books, run.account)
            for run in newest_executions(db, books)
            if run.venue == "paper" and run.close_reason != STARTED_FRESH and _cursor(db, run)
        ]
    return [path for path in paths if not path.exists()]


def _compared(db: Connection, books: Backend, run: ExecutionRow, path: Path) -> Comparison | str:
    """An account's newest run, and those before it on the same ledger; or why it is left out."""
    if run.close_reason == STARTED_FRESH:
        return f"{run.account}: its venue was begun anew, and the books have not been since"
    if fills_were_deleted(db, run):
        return f"{run.account}: its fills were deleted, so that there is nothing to compare with the venue's ledger"
    runs = [*_earlier_on_the_ledger(db, run), run]
    found = _Differences()
    halted = latched_by(db, run) in BY_THE_BOOKS
    if halted:
        found.add(f"the account was halted: {run.latch_reason}")
    if run.venue != "paper" or not (path.exists() or _cursor(db, run)):
        if not halted:
            return f"{run.account}: there is no ledger of the venue here to compare with"
    elif not path.exists():
        found.add(
            f"our books have come to entry {_cursor(db, run)}, and the venue's ledger is gone ({path}): where books were "
            "imported or moved, it is copied along from where they were"
        )
    else:
        return _compare_all(db, books, runs, path, found)
    return Comparison(run.account, str(path), 0, 0, found.as_tuple())


def _compare_all(
    db: Connection, books: Backend, runs: list[ExecutionRow], path: Path, found: _Differences
) -> Comparison:
    newest = runs[-1]
    refuse_no_data(path)
    examined = examine(path)
    for fault in examined.faults:
        found.add(fault)
    entries = fills = 0
    cursor = _cursor(db, newest)
    if examined.last < cursor:
        found.add(f"our books have come to entry {cursor}, and the venue's record ends with entry {examined.last}")
    if examined.is_readable:
        for run in runs:
            entries_read, fills_read = _compare(db, books, run, path, found)
            entries, fills = entries + entries_read, fills + fills_read
    if examined.state is not None and examined.last == cursor:
        _compare_orders(db, runs, examined.state.orders, found)
    beyond = max(examined.last - cursor, 0)
    return Comparison(newest.account, str(path), entries, fills, found.as_tuple(), beyond)


def _earlier_on_the_ledger(db: Connection, newest: ExecutionRow) -> list[ExecutionRow]:
    """The runs before the newest that traded on the same ledger: since the venue was begun anew, or fills were deleted."""
    mapping = mapping_of(ExecutionRow)
    rows = db.execute(
        f"{mapping.select_sql} WHERE account = ? AND {A_DAEMONS} AND number < ? ORDER BY number DESC",
        (newest.account, newest.number),
    )
    runs = takewhile(
        lambda run: run.close_reason != STARTED_FRESH and not fills_were_deleted(db, run), map(mapping.decode, rows)
    )
    return list(reversed(list(runs)))


def fills_were_deleted(db: Connection, run: ExecutionRow) -> bool:
    """Whether somebody has removed all fills of a run: what was removed is no longer there to be compared."""
    return any(
        removed.table == "fills" and not removed.where
        for record in records_of(db, run.execution, Administered)
        for removed in record.removed
    )


def _ledger_of(place: Place, books: Backend, account: str) -> Path:
    """The configuration may call the account otherwise at the venue; without one the names are the same."""
    at_venue = account
    if place.config is not None:
        try:
            written = read_table(place.config)["accounts"][account]["venue_account"]
        except (ConfigError, KeyError, TypeError):
            written = None  # a configuration that is broken now says nothing about the books
        at_venue = written if isinstance(written, str) else account
    return ledgers_of(books, place.statedir).paper_ledger(at_venue)


def _compare(db: Connection, books: Backend, run: ExecutionRow, path: Path, found: _Differences) -> tuple[int, int]:
    """One run's fills, balance and positions; how many entries and fills of the venue's it was compared with."""
    opening = opening_of_fills(db, run)
    cursor = _cursor(db, run)
    first = opening.cursor if opening is not None else 0
    met = Marks()
    entries = fills = 0
    held = {(p.instrument, p.ref): p for p in opening.positions} if opening is not None else {}
    balance: Decimal | None = opening.balance if opening is not None else ZERO
    for page in _pages(_entries(path, first, cursor)):
        entries += len(page)
        balance = next((entry.balance for entry in reversed(page) if entry.balance is not None), balance)
        theirs = [entry.fill for entry in page if entry.fill is not None]
        fills += len(theirs)
        mine = _our_versions(db, books, run, theirs)
        for fill in theirs:
            book_fill(held, fill)
            number, our_own = mine.get(_key(fill), (0, None))
            if our_own is None or number in met:
                found.add(f"fill {fill.fill_id} of order {fill.venue_order_id} is the venue's, and not in our books")
            else:
                met.add(number)
                found.compare(our_own, fill)
    if entries != cursor - first:
        found.add(f"our books have come to entry {cursor}, and the venue's record has {first + entries}")
    ours = {(p.instrument, p.ref): p for p in opening.positions} if opening is not None else {}
    for number, fill in _our_fills(db, run, first):
        book_fill(ours, fill)
        if number not in met:
            found.add(f"fill {fill.fill_id} of order {fill.venue_order_id} is in our books, and not the venue's")
    for fill in _fills_of_nowhere(db, run, first):
        found.add(f"fill {fill.fill_id} of order {fill.venue_order_id} is in our books, and not the venue's")
    booked = balance_of(db, run)
    if balance != booked:
        found.add(f"balance: ours {plain(booked)}, the venue's {'unknown' if balance is None else plain(balance)}")
    _compare_positions(found, ours, held)
    return entries, fills


class _Differences:
    """What does not agree, within bounds."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = 0

    def add(self, text: str) -> None:
        if len(self._lines) < FINDINGS_MAX:
            self._lines.append(text)
        else:
            self._more += 1

    def compare(self, ours: Fill, theirs: Fill) -> None:
        for name in _FIGURES:
            mine, its = getattr(ours, name), getattr(theirs, name)
            if mine != its:
                self.add(f"fill {ours.fill_id} of order {ours.venue_order_id}: {name} is {mine} here, {its} there")

    def as_tuple(self) -> tuple[str, ...]:
        return (*self._lines, *([f"and {self._more} more"] if self._more else []))


def _compare_positions(
    found: _Differences, ours: dict[PositionKey, Position], theirs: dict[PositionKey, Position]
) -> None:
    for key in sorted(ours.keys() | theirs.keys(), key=str):
        mine, its = ours.get(key, Position(key[0])), theirs.get(key, Position(key[0]))
        if (mine.quantity, mine.cost) != (its.quantity, its.cost):
            found.add(
                f"position {key[0]}: ours {plain(mine.quantity)} at a cost of {plain(mine.cost)}, "
                f"the venue's {plain(its.quantity)} at {plain(its.cost)}"
            )


def _compare_orders(
    db: Connection, runs: list[ExecutionRow], theirs: tuple[WorkingOrder, ...], found: _Differences
) -> None:
    """Where all news is booked, the same orders work on both sides. Those in doubt here may be there or not."""
    mapping = mapping_of(Order)
    there = {order.client_order_id: order for order in theirs}
    here: dict[str, Order] = {}
    for run in runs:
        for client_id in there:
            rows = db.execute(
                f"{mapping.select_sql} WHERE execution = ? AND client_order_id = ?", (run.execution, client_id)
            )
            here.update((order.client_order_id, order) for order in map(mapping.decode, rows))
    for client_id, order in there.items():
        mine = here.get(client_id)
        if mine is None or mine.is_terminal:
            known = "not in our books" if mine is None else f"{mine.status} in our books"
            found.add(f"order {client_id} is open at the venue as {order.venue_order_id}, and {known}")
        elif mine.filled_quantity != order.filled:
            found.add(f"order {client_id}: {plain(mine.filled_quantity)} filled here, {plain(order.filled)} there")
    rows = db.execute(f"{mapping.select_sql} WHERE execution = ? AND status IN (?, ?)", (runs[-1].execution, *_WORKING))
    for mine in map(mapping.decode, rows):
        if mine.client_order_id not in there:
            found.add(f"order {mine.client_order_id} is {mine.status} in our books, and not open at the venue")


# --- our side -------------------------------------------------------------------------------------------------------------


def _cursor(db: Connection, run: ExecutionRow) -> int:
    mapping = mapping_of(VenueCursor)
    rows = db.execute(f"{mapping.select_sql} WHERE execution = ?", (run.execution,)).fetchall()
    if rows:
        return max(mapping.decode(row).sequence for row in rows)
    opening = opening_of_fills(db, run)
    return 0 if opening is None else opening.cursor


def _our_fills(db: Connection, run: ExecutionRow, after: int) -> Iterator[tuple[int, Fill]]:
    """Those behind entry ``after`` of the venue's record as they were booked, each with the number of its row; one at a time,
    since there may be millions.
    """
    rows = db.stream(
        f"{_numbered_fills()} WHERE execution = ? AND venue_sequence > ? ORDER BY id", (run.execution, after)
    )
    return ((number, mapping_of(Fill).decode(values)) for number, *values in rows)


def _fills_of_nowhere(db: Connection, run: ExecutionRow, first: int) -> Iterator[Fill]:
    """Fills of a run that say of themselves that they were told before it began, or never: somebody has written them down.

    But for those of its archives that have stayed in the tables.
    """
    mapping = mapping_of(Fill)
    archive = newest_archive(db, "the books", run.execution)
    stayed = set() if archive is None else {_key(fill) for fill in archive.rows_kept().fills}
    rows = db.stream(
        f"{mapping.select_sql} WHERE execution = ? AND venue_sequence <= ? ORDER BY id", (run.execution, first)
    )
    return (fill for fill in map(mapping.decode, rows) if _key(fill) not in stayed)


def _our_versions(
    db: Connection, books: Backend, run: ExecutionRow, theirs: Sequence[Fill]
) -> dict[tuple[str, ...], tuple[int, Fill]]:
    """The fills that we have booked of these of the venue's, and the numbers of their rows."""
    rows = books.find(db, _numbered_fills(), FILL_KEY, run.execution, list({_key(fill): None for fill in theirs}))
    known = ((number, mapping_of(Fill).decode(values)) for number, *values in rows)
    return {_key(fill): (number, fill) for number, fill in known}


def _pages(entries: Iterator[VenueTransaction]) -> Iterator[list[VenueTransaction]]:
    while page := list(islice(entries, PAGE_ENTRIES)):
        yield page


def _numbered_fills() -> str:
    return mapping_of(Fill).select_sql.replace("SELECT ", "SELECT id, ", 1)


# --- the venue's side -----------------------------------------------------------------------------------------------------


def _entries(path: Path, after: int, to: int) -> Iterator[VenueTransaction]:
    """The venue's record, each entry checked; nobody is disturbed, not even a daemon that trades."""
    try:
        with closing(connect(path, read_only=True)) as db:
            rows = db.execute(
                "SELECT sequence, payload, crc FROM transactions WHERE sequence > ? AND sequence <= ? ORDER BY sequence",
                (after, to),
            )
            for expected, (sequence, payload, crc) in enumerate(rows, start=after + 1):
                if sequence != expected or crc32(payload) != crc:
                    raise StoreCorrupt(f"{path}: entry {expected} of the venue's record is missing or damaged")
                yield _DECODER.decode(payload)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path} cannot be read: {error}") from error
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(f"{path}: the venue's record cannot be read: {error}") from error
