"""A place with books in it, made the way the daemon makes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.unit.storage import samples
from tradekeel.bootstrap.place import Place
from tradekeel.domain.book import Book
from tradekeel.domain.messages import TransactionKind, VenueTransaction
from tradekeel.domain.records import LatchChanged, Record, VenueReported
from tradekeel.domain.rows import Latch
from tradekeel.storage.store import Store

DECISIONS, FILLED = 5, (1, 2, 3)


SECOND_ACCOUNT = "paper-2"


def open_second_account(place: Place, decisions: int) -> None:
    """Another account in the same books, with an execution of its own at the same times."""
    with Store.open(place.statedir.books, now_ns=samples.START_NS) as store:
        desk = samples.Desk("exec-2", account=SECOND_ACCOUNT)
        store.commit([desk.opening(), *(desk.decision() for _ in range(decisions))])


def make_place(folder: Path, empty_books: Path) -> Place:
    """A state directory with one execution: five decisions, three of them filled, then a halt by risk."""
    place = Place(folder, None)
    place.statedir.create()
    place.statedir.books.write_bytes(empty_books.read_bytes())
    with Store.open(place.statedir.books, now_ns=samples.START_NS) as store:
        desk = samples.Desk()
        store.commit([desk.opening(), *(desk.decision() for _ in range(DECISIONS)), *map(desk.filled, FILLED)])
    return place


def latch(place: Place, to: Latch, by: str, reason: str = "because", paused: bool = False) -> None:
    """Change what may be traded, as an executor journals it."""
    append(place, [LatchChanged(ts_ns=samples.START_NS, paused=paused, latch=to, reason=reason, by=by)])


def append(place: Place, records: Sequence[Record]) -> None:
    """Journal records of the first account, with what follows from them."""
    with Store.open(place.statedir.books, now_ns=samples.START_NS) as store:
        desk = samples.Desk()
        desk.book = _recovered(store)
        store.commit([desk.group(*records)])


def fill_another(place: Place) -> None:
    """One more of the first account's orders is filled, as by a daemon that trades on."""
    with Store.open(place.statedir.books, now_ns=samples.START_NS) as store:
        desk = samples.Desk()
        desk.book = _recovered(store)
        store.commit([desk.filled(max(FILLED) + 1)])


def reject(place: Place, number: int, reason: str) -> None:
    """The venue rejects the order of one of the first account's decisions."""
    with Store.open(place.statedir.books, now_ns=samples.START_NS) as store:
        desk = samples.Desk()
        desk.book = _recovered(store)
        news = VenueTransaction(
            sequence=desk.book.cursor + 1,
            kind=TransactionKind.ORDER_REJECTED,
            ts_ns=samples.START_NS + number * samples.SECOND + 5,
            client_order_id=samples.order(number).client_order_id,
            reason=reason,
        )
        store.commit([desk.group(VenueReported(ts_ns=news.ts_ns, transaction=news))])


def _recovered(store: Store) -> Book:
    book = Book()
    for sequence, record in store.read_journal(samples.RUN, 0, 10_000):
        book.apply(record, sequence)
    return book
