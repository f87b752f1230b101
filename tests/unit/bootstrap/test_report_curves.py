"""The curves of a report as the books have them: funds that came in the middle are no gain, wherever the points are from."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from tests.unit.storage import samples
from tradekeel.backtest.reporting.model import Curve
from tradekeel.bootstrap.place import Place
from tradekeel.bootstrap.reports import make_report
from tradekeel.bootstrap.runs import find_run
from tradekeel.domain import records as r
from tradekeel.domain.messages import TransactionKind, VenueTransaction
from tradekeel.domain.performance import PerformanceTracker
from tradekeel.storage.store import Store

MINUTE = 60 * samples.SECOND


@pytest.fixture
def own(tmp_path: Path, empty_books: Path) -> Place:
    """A state directory with empty books."""
    place = Place(tmp_path / "own", None)
    place.statedir.create()
    place.statedir.books.write_bytes(empty_books.read_bytes())
    return place


def at(minutes: int) -> int:
    return samples.START_NS + minutes * MINUTE


def moved(sequence: int, ts_ns: int, amount: str, balance: str, told_ns: int | None = None) -> r.Record:
    """Funds that came, or went; the venue's clock may be another one."""
    entry = VenueTransaction(
        sequence=sequence,
        kind=TransactionKind.DEPOSITED,
        ts_ns=ts_ns if told_ns is None else told_ns,
        amount=Decimal(amount),
        balance=Decimal(balance),
    )
    return r.VenueReported(ts_ns=ts_ns, transaction=entry)


def lost(sequence: int, ts_ns: int, amount: str, balance: str) -> r.Record:
    entry = VenueTransaction(
        sequence=sequence, kind=TransactionKind.FINANCED, ts_ns=ts_ns, amount=Decimal(amount), balance=Decimal(balance)
    )
    return r.VenueReported(ts_ns=ts_ns, transaction=entry)


def snapshot(ts_ns: int, equity: str) -> r.Record:
    row = structs.replace(
        PerformanceTracker().snapshot(samples.RUN, ts_ns), balance=Decimal(equity), equity=Decimal(equity)
    )
    return r.SnapshotTaken(ts_ns=ts_ns, snapshot=row)


def sampled(ts_ns: int, price: str) -> r.Record:
    return r.TickSampled(ts_ns=ts_ns, instrument="EUR_USD", position=1, bid=Decimal(price), ask=Decimal(price))


def curve_of(place: Place, *records: r.Record) -> Curve:
    with Store.open(place.statedir.books, now_ns=samples.START_NS) as store:
        desk = samples.Desk()
        store.commit([desk.opening(), desk.group(*records)])
    return make_report(find_run(place), {}).curve


def test_between_snapshots(own: Place) -> None:
    """The venue's clock is two minutes behind: what counts is when the books had the deposit."""
    curve = curve_of(
        own,
        sampled(at(1), "10"),
        snapshot(at(1), "10000"),
        sampled(at(2), "5"),
        snapshot(at(2), "9000"),
        moved(2, at(3), "9000", "19000", told_ns=at(1)),
        snapshot(at(4), "17000"),
        sampled(at(5), "10"),
    )
    assert curve.source == "snapshots"
    # 9,000 more at 9,000 double the peak: 17,000 is 15 percent below 20,000.
    assert [point.value for point in curve.under_water] == [0, -10, -15]
    # 5,000 are left of the benchmark, and 9,000 come; then the price doubles.
    assert [point.value for point in curve.benchmark] == [10_000, 5_000, 14_000, 28_000]


def test_between_balances_where_there_are_no_snapshots(own: Place) -> None:
    curve = curve_of(
        own,
        moved(2, at(1), "0", "10000"),
        lost(3, at(2), "-1000", "9000"),
        moved(4, at(3), "-4500", "4500"),
        lost(5, at(4), "-500", "4000"),
    )
    assert curve.source == "balances"
    assert [point.value for point in curve.equity] == [10_000, 9_000, 4_500, 4_000]
    assert [point.value for point in curve.under_water] == [0, -10, -10, -20]
