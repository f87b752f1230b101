"""The proof that a run's books are those of its venue, asked for wherever a state is saved, and so at the end of each run.

The venue keeps its own account (:mod:`tradekeel.domain.matching`), ours is folded from the journal. Between two ticks
nothing is under way, so every difference is a fault of ours, and a run that has one must not be believed:

* money: deposits, realised, financing, fees, and the balance that they come to, each by itself;
* positions: their quantities and their exact cost;
* orders: what works there is what is live here, filled as far;
* trades: the units that they hold are those of the positions.

It costs as much as there is open business, whatever has happened before.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from tradekeel.backtest.kernel import Kernel
from tradekeel.domain.book import Book
from tradekeel.domain.matching import Matcher
from tradekeel.domain.messages import VenueBalance
from tradekeel.domain.money import LEDGER, ZERO, plain
from tradekeel.domain.positions import Position, PositionKey
from tradekeel.domain.reconcile import OurSide, TheirSide, compare
from tradekeel.errors import Defect

DIFFERENCES_TOLD_MAX = 5
"""Differences that are spelled out: one fault of ours may have made thousands."""


def prove(kernel: Kernel) -> None:
    """Raise :class:`~tradekeel.errors.Defect` unless both books agree to the last digit.

    To be asked where nothing is under way: behind :meth:`~tradekeel.backtest.kernel.Kernel.rest`.
    """
    book, matcher = kernel.account.book, kernel.account.exchange.matcher
    found = list(differences(book, matcher))
    if found:
        told = found[:DIFFERENCES_TOLD_MAX]
        if len(found) > len(told):
            told.append(f"and {len(found) - len(told)} more")
        raise Defect(f"the books are not the venue's at tick {matcher.position:,}: {'; '.join(told)}")


def differences(book: Book, matcher: Matcher) -> Iterator[str]:
    """Everything in which our books and the venue's are not the same, in a stable order."""
    there = matcher.balance()
    yield from _compared(book, matcher, there)
    for name in ("deposits", "realised", "financing", "fees"):
        ours, theirs = getattr(book.money, name), getattr(there, name)
        if ours != theirs:
            yield _difference(name, ours, theirs)
    for position in matcher.positions():
        held = book.positions.get((position.instrument, position.ref))
        if held is not None and held.cost != position.cost:
            yield _difference(f"the cost of {_named(held)}", held.cost, position.cost)
    yield from _units(book)


def _compared(book: Book, matcher: Matcher, there: VenueBalance) -> Iterator[str]:
    """What a daemon compares after a restart. There a finding may be news on its way; here there is none."""
    ours = OurSide(
        cursor=book.cursor,
        balance=book.money.balance,
        positions={key: position.quantity for key, position in book.positions.items()},
        orders=book.orders,
        ended={key: order.status for key, order in book.ended.items()},
    )
    theirs = TheirSide(
        last_sequence=there.last_sequence,
        balance=there.balance,
        positions={(position.instrument, position.ref): position.quantity for position in matcher.positions()},
        orders=tuple(matcher.open_orders()),
    )
    for finding in compare(ours, theirs):
        yield f"{finding.what}: ours {finding.ours}, theirs {finding.theirs}"


def _units(book: Book) -> Iterator[str]:
    """Every unit of a position belongs to one trade. Trades of both directions may share one, and it is their net."""
    of_trades: dict[PositionKey, Decimal] = {}
    for trade in book.trades.values():
        key = (trade.symbol, trade.position_ref)
        of_trades[key] = LEDGER.fma(trade.open_quantity, Decimal(trade.side.sign), of_trades.get(key, ZERO))
    for key in sorted({*of_trades, *book.positions}, key=lambda key: (key[0], key[1] or "")):
        position = book.positions.get(key) or Position(key[0], ref=key[1])
        units = of_trades.get(key, ZERO)
        if units != position.quantity:
            yield f"{_named(position)} is {plain(position.quantity)} units, and its trades hold {plain(units)}"


def _named(position: Position) -> str:
    return position.instrument if position.ref is None else f"{position.instrument} {position.ref}"


def _difference(what: str, ours: Decimal, theirs: Decimal) -> str:
    return f"{what}: ours {plain(ours)}, theirs {plain(theirs)}"
