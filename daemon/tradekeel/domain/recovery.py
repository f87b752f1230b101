"""Going on after a restart: the last readable cut, the journal's tail folded over it, and the views that followers had.

A *cut* is the account's book, the monitor and every strategy saved at one stamp. Strategies also save with each
decision, so their inbox may be further than the cut's; the fold passes each of these inboxes on its way and takes the
view as it was there.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from tradekeel.domain.book import Book
from tradekeel.domain.entries import Entry
from tradekeel.domain.ids import derived_id
from tradekeel.domain.memory import PriceMemory
from tradekeel.domain.money import ZERO
from tradekeel.domain.positions import Quote
from tradekeel.domain.records import Opening, Record
from tradekeel.domain.risk_rates import RateState
from tradekeel.domain.rows import StrategyRow, StrategyStatus
from tradekeel.domain.trades import TradeStatus
from tradekeel.domain.view import View


class AccountState(Struct, kw_only=True):
    """What a cut holds of the account itself."""

    book: bytes
    monitor: bytes
    memories: dict[str, PriceMemory]
    rates: RateState | None
    position: int
    ts_ns: int
    quotes: dict[str, Quote] = {}  # the latest: the feed does not come back to an instrument that is seldom quoted


_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_DECODER = msgspec.msgpack.Decoder(AccountState)


def encode_account_state(state: AccountState) -> bytes:
    """The account's part of a cut as bytes."""
    return _ENCODER.encode(state)


def decode_account_state(data: bytes) -> AccountState:
    """The account's part of a cut; raises ``msgspec`` errors on anything else."""
    return _DECODER.decode(data)


class Recovered(Struct):
    """The book as of the last record, and every entry since the cut."""

    book: Book
    entries: list[Entry]


def fold(book: Book, journal: Iterable[tuple[int, Record]]) -> Recovered:
    """Fold ``journal`` over ``book`` (as of the cut, or empty); entries that it includes already are skipped."""
    return Recovered(book, Folding(book).take(journal))


class Folding:
    """The journal on its way over ``book`` (as of the cut, or empty), page after page.

    ``on_the_way`` are the books as they were at the beginning and at each of the ``inboxes``, oldest first: for whoever goes on
    from there the journal need not be folded once more.
    """

    def __init__(self, book: Book, inboxes: Iterable[int] = ()) -> None:
        self.book = book
        self.on_the_way = [book.copy()]
        self._inboxes = frozenset(inboxes)

    def take(self, page: Iterable[tuple[int, Record]]) -> list[Entry]:
        """The next records, as entries; what the book includes already is skipped."""
        entries: list[Entry] = []
        for sequence, record in page:
            if sequence <= self.book.sequence:
                continue
            entries.append(self.book.entry(record, sequence))
            if sequence in self._inboxes:
                self.on_the_way.append(self.book.copy())
        return entries


def nearest(books: Iterable[Book], inbox: int) -> Book | None:
    """Of ``books``, oldest first, the last that is not beyond ``inbox``; None if all are."""
    found = None
    for book in books:
        if book.sequence <= inbox:
            found = book
    return found


def view_at(cut: bytes | Book | None, entries: Iterable[Entry], strategy: str | None, inbox: int) -> View:
    """The view that ``strategy`` (None: the monitor) had at ``inbox``: the cut's book, folded up to there.

    ``cut`` is the book as it was saved, or one that is not beyond ``inbox``: it stays as it is.
    """
    if isinstance(cut, Book):
        book = cut.copy()
    else:
        book = Book.load(cut) if cut is not None else Book()
    for entry in entries:
        if entry.sequence > inbox:
            break
        if entry.sequence > book.sequence:
            book.apply(entry.record, entry.sequence)
    return View.of(book, strategy)


def opening_of(previous: Book, execution: str) -> Opening:
    """What a new execution takes over from the books of the last one: balance, positions, and the trades that are open.

    The trades get ids of their own, because a trade belongs to one execution; what they have realised so far stays
    with the old ones.
    """
    carried = []
    for trade in previous.trades.values():
        if not trade.open_quantity:
            continue
        carried.append(
            msgspec.structs.replace(
                trade,
                trade_id=derived_id("tr", execution, trade.trade_id),
                execution=execution,
                signal_id=None,
                strategy=trade.strategy,
                status=TradeStatus.OPEN,
                quantity=trade.open_quantity,
                entered_quantity=trade.open_quantity,
                entry_value=trade.open_cost,
                exited_quantity=ZERO,
                exit_value=ZERO,
                gross_pnl=ZERO,
                entry_fee=ZERO,
                exit_fee=ZERO,
                financing=ZERO,
                exit_time_ns=None,
                exit_reason=None,
                exit_order_ids=(),
                exits_at_venue=False,
                entry_position=0,
                tags=(*trade.tags, "carried"),
                version=0,
            )
        )
    owners = [trade.strategy for trade in carried]
    return Opening(
        cursor=previous.cursor,
        balance=previous.money.balance,
        positions=tuple(previous.positions.values()),
        trades=tuple(carried),
        strategies=tuple(_owner(previous, name, execution) for name in dict.fromkeys(owners) if name is not None),
    )


def _owner(previous: Book, strategy: str, execution: str) -> StrategyRow:
    row = previous.strategies[strategy].row
    reason = "its trades were taken over from the execution before"
    return msgspec.structs.replace(
        row, execution=execution, status=StrategyStatus.STOPPED, status_reason=reason, decisions=0
    )
