"""What a report takes from a journal."""

from __future__ import annotations

from decimal import Decimal

from tradekeel.bootstrap.recounting import Recounted
from tradekeel.domain.records import Record, StopMoved, TickSampled, encode_record, record_type_of
from tradekeel.storage.journal import JournalRow


def entry(number: int, record: Record) -> JournalRow:
    return number, record_type_of(type(record)), record.ts_ns, "", encode_record(record), 0


def sampled(number: int, instrument: str) -> TickSampled:
    return TickSampled(ts_ns=number, instrument=instrument, position=number, bid=Decimal(1), ask=Decimal(2))


def test_of_more_ticks_than_are_kept_one_in_so_many_of_each_instrument_is() -> None:
    told_of = Recounted("e1", samples_max=8)
    for number in range(40):
        for instrument in ("A", "B"):
            told_of.take(entry(number, sampled(number, instrument)))
    kept = {instrument: [point.ts_ns for point in points] for instrument, points in told_of.prices().items()}
    assert kept == {"A": [0, 16, 32], "B": [0, 16, 32]}


def test_what_cannot_be_decoded_is_left_out() -> None:
    told_of = Recounted("e1")
    told_of.take((1, record_type_of(StopMoved), 1, "", b"no record at all", 0))
    assert told_of.stops() == {}
