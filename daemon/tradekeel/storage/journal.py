"""Reading the journal back: every row checked before anyone believes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from tradekeel.domain.account import SAMPLES_WAITING_MAX
from tradekeel.domain.messages import Fill
from tradekeel.domain.records import (
    Administered,
    ExecutionClosed,
    Record,
    VenueReported,
    decode_record,
    record_type_of,
)
from tradekeel.errors import StoreCorrupt, TradekeelError
from tradekeel.storage.backend import RESTORE, Backend, Connection
from tradekeel.storage.checksums import journal_crc
from tradekeel.storage.whose import not_elsewhere

FOLD_ERRORS = (TradekeelError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)
"""What a fold raises on a record that does not follow from those before it."""

JournalRow = tuple[int, str, int, str, bytes, int]

SELECT = (
    "SELECT sequence, type, ts_ns, correlation_id, payload, crc FROM journal "
    "WHERE execution = ? AND sequence > ? ORDER BY sequence LIMIT ?"
)

LAST = "SELECT max(sequence) FROM journal WHERE execution = ?"


REPORTED = record_type_of(VenueReported)


def fills_told(payloads: Iterable[bytes]) -> Iterator[Fill]:
    """The fills that the venue has told of, out of such records: where the tables have none any more, the journal has."""
    for payload in payloads:
        record = decode_record(payload)
        if not isinstance(record, VenueReported) or not record.allocations:  # one without is told a second time
            continue
        if record.transaction.fill is not None:
            yield record.transaction.fill


def last_sequence(db: Connection, execution: str) -> int:
    """The number of an execution's newest record, 0 if it has none."""
    row = db.execute(LAST, (execution,)).fetchone()
    return row[0] or 0


def newest_time_ns(db: Connection, books: Backend) -> int | None:
    """The market's time of the newest record of any execution of ours, None where there is none with a time.

    What closes an execution or was written by people has the clock's time, which may be another than that of a recorded market.
    """
    which = f" WHERE {not_elsewhere(books)}" if books.daemon else ""
    runs = db.execute(f"SELECT execution FROM executions{which}").fetchall()  # noqa: S608  # our own words
    newest = [
        db.execute(_NEWEST, (execution, *_BY_THE_CLOCK, SAMPLES_WAITING_MAX + 1)).fetchone() for (execution,) in runs
    ]
    return max((row[0] for row in newest if row[0] is not None), default=None)


_BY_THE_CLOCK = tuple(record_type_of(kind) for kind in (ExecutionClosed, Administered))
_NEWEST = (
    "SELECT max(ts_ns) FROM (SELECT ts_ns FROM journal WHERE execution = ? AND type NOT IN (?, ?) AND ts_ns <> 0 "
    "ORDER BY sequence DESC LIMIT ?) AS newest"
)
"""Sampled ticks may stand behind what came later: they are written many at a time."""


def read_records(
    db: Connection, backend: Backend, execution: str, after: int, rows_max: int
) -> list[tuple[int, Record]]:
    """Records after ``after``, in order and without a gap, each with its number; StoreCorrupt where that cannot be."""
    records: list[tuple[int, Record]] = []
    expected = after
    for row in db.execute(SELECT, (execution, after, rows_max)):
        expected += 1
        fault = fault_of(execution, expected, row)
        if fault is not None:
            raise StoreCorrupt(f"{backend}: {fault}. {RESTORE}")
        records.append((expected, decode_record(row[4])))
    if len(records) < rows_max:
        # Damage in a key ends the walk early: the walk must have come to the very last record.
        last = last_sequence(db, execution)
        if last != expected:
            raise StoreCorrupt(f"{backend}: {_ends_early(execution, expected, last)}. {RESTORE}")
    return records


def _ends_early(execution: str, expected: int, last: int) -> str:
    if last < expected:
        return f"the journal of execution {execution} ends at record {last}, but record {expected} was written"
    return f"the journal of execution {execution} has a gap: record {expected + 1} is missing (the last is {last})"


def fault_of(execution: str, expected: int, row: JournalRow) -> str | None:
    """What is wrong with a journal row that should have the number ``expected``, or None; decodes nothing."""
    sequence, type_, ts_ns, correlation_id, payload, crc = row
    if sequence != expected:
        return f"the journal of execution {execution} has a gap: record {expected} is missing (the next is {sequence})"
    if journal_crc(execution, sequence, type_, ts_ns, correlation_id, payload) != crc:
        return f"record {sequence} of execution {execution} is damaged (its checksum is off)"
    return None


def decoded(execution: str, row: JournalRow) -> Record | str:
    """The record of a sound row, or what is wrong with its content."""
    try:
        return decode_record(row[4])
    except (msgspec.MsgspecError, ValueError) as error:  # text in it that is none comes as the latter
        return f"record {row[0]} of execution {execution} cannot be decoded: {error}"
