"""`tradekeel verify`: our books against themselves, and against the paper venue's own ledger.

The first half is :mod:`tradekeel.storage.verify`. The second opens the ledgers read-only and compares, up to the entry that
our books have come to: every fill there is here exactly once and with the same figures, nothing is here that is not there,
and balance and positions are equal to the last digit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from zlib import crc32

import msgspec
from msgspec import Struct

from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.summary import balance_of, newest_executions, opening_record
from tradekeel.config.source import read_table
from tradekeel.domain.messages import Fill, VenueTransaction
from tradekeel.domain.money import ZERO, ledger, plain
from tradekeel.domain.positions import Position
from tradekeel.domain.records import STARTED_FRESH, ExecutionRow, Latch, Opening, VenueCursor
from tradekeel.errors import ConfigError, StoreCorrupt, StoreUnavailable
from tradekeel.storage.files import connect, in_our_words
from tradekeel.storage.rows import mapping_of
from tradekeel.storage.verify import Verdict, verify

FINDINGS_MAX = 100
_FIGURES = ("side", "quantity", "price", "fee", "realised", "rate", "ts_ns")
_DECODER = msgspec.msgpack.Decoder(VenueTransaction)

PositionKey = tuple[str, str | None]
Progress = Callable[[str, int, int], None]


class Comparison(Struct, frozen=True):
    """One account's books beside its venue's ledger."""

    account: str
    ledger: str
    entries: int
    fills: int
    differences: tuple[str, ...]


class Audit(Struct, frozen=True):
    """Everything that was compared."""

    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    left_out: tuple[str, ...] = ()  # accounts without a ledger of the paper venue, and why

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
        return lines + list(self.left_out)


def audit(place: Place, progress: Progress) -> Audit:
    """Verify the books of a place, and compare them with the paper ledgers beside them."""
    books = place.books()
    verdict = verify(books, progress)
    if verdict.problems:
        return Audit(verdict, (), ("not compared with the venue's ledgers, because the books are damaged",))
    comparisons: list[Comparison] = []
    left_out: list[str] = []
    try:
        with closing(connect(books, read_only=True)) as db:
            runs = newest_executions(db)
            for number, run in enumerate(runs, start=1):
                path = _ledger_of(place, run.account)
                earlier = _earlier_on_the_ledger(db, run)
                if run.close_reason == STARTED_FRESH:
                    left_out.append(f"{run.account}: its venue was begun anew, and the books have not been since")
                elif run.venue == "paper" and path.exists():
                    comparisons.append(_together([_compare(db, one, path) for one in (*earlier, run)]))
                elif run.venue == "paper" and _cursor(db, run):
                    gone = f"our books have come to entry {_cursor(db, run)}, and the venue's ledger is gone"
                    comparisons.append(Comparison(run.account, str(path), 0, 0, (gone,)))
                else:
                    left_out.append(f"{run.account}: there is no ledger of the venue here to compare with")
                progress("venue ledgers", number, len(runs))
    except sqlite3.Error as error:
        raise in_our_words(error, books, "comparing it") from error
    return Audit(verdict, tuple(comparisons), tuple(left_out))


def _earlier_on_the_ledger(db: sqlite3.Connection, newest: ExecutionRow) -> list[ExecutionRow]:
    """The runs before the newest that traded on the same ledger: since the venue was begun anew for the last time."""
    mapping = mapping_of(ExecutionRow)
    rows = db.execute(
        f"{mapping.select_sql} WHERE account = ? AND mode <> 'backtest' AND number < ? ORDER BY number DESC",
        (newest.account, newest.number),
    )
    runs = takewhile(lambda run: run.close_reason != STARTED_FRESH, map(mapping.decode, rows))
    return list(reversed(list(runs)))


def _together(runs: list[Comparison]) -> Comparison:
    newest = runs[-1]
    return Comparison(
        newest.account,
        newest.ledger,
        sum(run.entries for run in runs),
        sum(run.fills for run in runs),
        tuple(text for run in runs for text in run.differences),
    )


def _ledger_of(place: Place, account: str) -> Path:
    """The configuration may call the account otherwise at the venue; without one the names are the same."""
    at_venue = account
    if place.config is not None:
        try:
            written = read_table(place.config)["accounts"][account]["venue_account"]
        except (ConfigError, KeyError, TypeError):
            written = None  # a configuration that is broken now says nothing about the books
        at_venue = written if isinstance(written, str) else account
    return place.statedir.paper_ledger(at_venue)


def _compare(db: sqlite3.Connection, run: ExecutionRow, path: Path) -> Comparison:
    opening = _opening(db, run)
    cursor = _cursor(db, run)
    first = opening.cursor if opening is not None else 0
    ours = _our_fills(db, run)
    found = _Differences()
    entries = fills = 0
    held = {(p.instrument, p.ref): p for p in opening.positions} if opening is not None else {}
    balance: Decimal | None = opening.balance if opening is not None else ZERO
    for entry in _entries(path, first, cursor):
        entries += 1
        balance = entry.balance if entry.balance is not None else balance
        if entry.fill is None:
            continue
        fills += 1
        _book(held, entry.fill)
        mine = ours.pop(_key(entry.fill), None)
        if mine is None:
            found.add(
                f"fill {entry.fill.fill_id} of order {entry.fill.venue_order_id} is the venue's, and not in our books"
            )
        else:
            found.compare(mine, entry.fill)
    last = _last_entry(path)
    if last < cursor:
        found.add(f"our books have come to entry {cursor}, and the venue's record ends with entry {last}")
    if run.latch is Latch.HALTED and "the books do not match" in run.latch_reason:
        found.add(f"the account was halted: {run.latch_reason}")
    if entries != cursor - first:
        found.add(f"our books have come to entry {cursor}, and the venue's record has {first + entries}")
    for fill in ours.values():
        found.add(f"fill {fill.fill_id} of order {fill.venue_order_id} is in our books, and not the venue's")
    booked = balance_of(db, run)
    if balance != booked:
        found.add(f"balance: ours {plain(booked)}, the venue's {'unknown' if balance is None else plain(balance)}")
    _compare_positions(found, _our_positions(db, run, opening), held)
    return Comparison(run.account, str(path), entries, fills, found.as_tuple())


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


# --- our side -------------------------------------------------------------------------------------------------------------


def _opening(db: sqlite3.Connection, run: ExecutionRow) -> Opening | None:
    record = opening_record(db, run.execution)
    return None if record is None else record.opening


def _cursor(db: sqlite3.Connection, run: ExecutionRow) -> int:
    mapping = mapping_of(VenueCursor)
    rows = db.execute(f"{mapping.select_sql} WHERE execution = ?", (run.execution,)).fetchall()
    if rows:
        return max(mapping.decode(row).sequence for row in rows)
    opening = _opening(db, run)
    return 0 if opening is None else opening.cursor


def _our_fills(db: sqlite3.Connection, run: ExecutionRow) -> dict[tuple[str, str, str], Fill]:
    mapping = mapping_of(Fill)
    rows = db.execute(f"{mapping.select_sql} WHERE execution = ? ORDER BY id", (run.execution,))
    return {_key(fill): fill for fill in map(mapping.decode, rows)}


def _our_positions(db: sqlite3.Connection, run: ExecutionRow, opening: Opening | None) -> dict[PositionKey, Position]:
    held = {(p.instrument, p.ref): p for p in opening.positions} if opening is not None else {}
    for fill in _our_fills(db, run).values():
        _book(held, fill)
    return held


def _key(fill: Fill) -> tuple[str, str, str]:
    return (fill.instrument, fill.venue_order_id, fill.fill_id)


def _book(held: dict[PositionKey, Position], fill: Fill) -> None:
    key = (fill.instrument, fill.position_ref)
    before = held.get(key) or Position(fill.instrument, ref=fill.position_ref)
    with ledger():
        held[key] = before.apply(fill.side, fill.quantity, fill.price).position


# --- the venue's side -----------------------------------------------------------------------------------------------------


def _last_entry(path: Path) -> int:
    try:
        with closing(connect(path, read_only=True)) as db:
            return int(db.execute("SELECT coalesce(max(sequence), 0) FROM transactions").fetchone()[0])
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path} cannot be read: {error}") from error


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
