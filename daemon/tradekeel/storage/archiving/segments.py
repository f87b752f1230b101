"""A piece of a journal, folded: the rows that follow from it, and which of them nobody needs in the books any more.

A row may go when nothing can change it: in an execution that goes on that is what its book no longer holds (live orders,
open trades, pending signals, and the last thousand of what ended, which a late fill may still find), in a closed one
everything. What belongs together goes together: a trade with its signal, its orders and their fills, or none of them; and
nothing goes that something which stays refers to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct

from tradekeel.domain.book import Book
from tradekeel.domain.messages import Fill, Signal
from tradekeel.domain.orders import Order
from tradekeel.domain.records import Administered, Record, Removed
from tradekeel.domain.rows import MetricsCheckpoint, ParameterChange, PerformanceSnapshot, StrategyEvent
from tradekeel.domain.trades import Trade
from tradekeel.storage.archives import KEPT_FIELDS, Kept
from tradekeel.storage.comparing import compared_by
from tradekeel.storage.rows import mapping_of, mappings

Key = tuple[Any, ...]
Rows = dict[type[Struct], list[Any]]

MOVED = (Signal, Trade, Order, Fill, StrategyEvent, PerformanceSnapshot, ParameterChange)
"""The rows that are moved, none before one that it refers to. What an execution is, its strategies and cursors stay."""

LISTED = (PerformanceSnapshot, ParameterChange)
"""Written once, and told apart by the order of that."""


class Versions:
    """The newest version of each row that follows from the records so far."""

    def __init__(self, kept: Kept | None = None) -> None:
        self._keyed: dict[type[Struct], dict[Key, Any]] = {}
        self._listed: dict[type[Struct], list[Any]] = {}
        self._key_of = {kind: _key_of(kind) for kind in mappings() if kind not in LISTED}
        for row in kept.rows() if kept is not None else ():
            self.take(row)

    def fold(self, book: Book, record: Record, sequence: int) -> None:
        """One record more. Raises what a fold raises."""
        rows = book.apply(record, sequence)
        for removed in record.removed if isinstance(record, Administered) else ():
            self.remove(removed)
        for row in rows:
            self.take(row)

    def take(self, row: Any) -> None:
        """A row, or a newer version of one."""
        kind = type(row)
        if kind in LISTED:
            self._listed.setdefault(kind, []).append(row)
        elif kind is not MetricsCheckpoint:
            self._keyed.setdefault(kind, {})[self._key_of[kind](row)] = row

    def remove(self, removed: Removed) -> None:
        """Rows that somebody has removed."""
        for kind, mapping in mappings().items():
            if mapping.table.name != removed.table:
                continue
            if kind in LISTED:
                self._listed[kind] = [row for row in self._listed.get(kind, ()) if not removed.takes(row)]
            else:
                there = self._keyed.get(kind, {})
                self._keyed[kind] = {key: row for key, row in there.items() if not removed.takes(row)}

    def keyed(self, kind: type[Struct]) -> dict[Key, Any]:
        """The rows of a kind by their keys."""
        return self._keyed.get(kind, {})

    def of(self, kind: type[Struct]) -> Iterable[Any]:
        """The rows of a kind."""
        return self._listed.get(kind, ()) if kind in LISTED else self.keyed(kind).values()

    def key(self, row: Any) -> Key:
        """By which a row is found again."""
        return self._key_of[type(row)](row)

    def without(self, moved: Rows) -> Kept:
        """What stays when these go."""
        stays: dict[str, tuple[Any, ...]] = {}
        for kind, field in KEPT_FIELDS.items():
            going = moved.get(kind, [])
            if kind in LISTED:
                gone = {id(row) for row in going}
                stays[field] = tuple(row for row in self.of(kind) if id(row) not in gone)
            else:
                keys = {self._key_of[kind](row) for row in going}
                stays[field] = tuple(row for key, row in self.keyed(kind).items() if key not in keys)
        return Kept(**stays)


def _key_of(kind: type[Struct]) -> Callable[[Any], Key]:
    names = compared_by(mapping_of(kind))
    if not names:
        return lambda row: ()
    of_row = attrgetter(*names)
    return of_row if len(names) > 1 else lambda row: (of_row(row),)


def removed_since(versions: Versions, kind: type[Struct], tail: Sequence[Record]) -> set[Key]:
    """Keys of the rows of a kind that a record of the ``tail`` removes, whatever is put in their place."""
    name = mapping_of(kind).table.name
    gone = [
        each for record in tail if isinstance(record, Administered) for each in record.removed if each.table == name
    ]
    if not gone:
        return set()
    return {versions.key(row) for row in versions.of(kind) if any(each.takes(row) for each in gone)}


# --- what may go -----------------------------------------------------------------------------------------------------


def finished(versions: Versions, book: Book, tail: Sequence[Record], *, is_over: bool) -> Rows:
    """The rows that may be moved, by kind, when ``book`` is as of the last record of the piece.

    ``tail`` are the records behind it that may touch any row: what people wrote, and if the execution ``is_over`` all there
    are.
    """
    staying = _Staying(versions)
    if not is_over:
        staying.add(Order, [*book.orders, *book.ended])
        staying.add(Trade, [*book.trades, *book.closed])
        staying.add(Signal, book.signals)
    gone: list[Removed] = []
    twin = book.copy()
    for record in tail:
        if isinstance(record, Administered):
            gone.extend(record.removed)
            staying.add_rows(record.put)
        elif is_over:
            staying.add_rows(twin.apply(record))
    staying.spread()
    moved: Rows = {}
    for kind in MOVED:
        removed = [each for each in gone if each.table == mapping_of(kind).table.name]
        rows = [
            row for row in versions.of(kind) if not staying.has(row) and not any(each.takes(row) for each in removed)
        ]
        if rows:
            moved[kind] = rows
    return moved


class _Staying:
    """Keys of rows that stay, and whatever stays with them."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._keys: dict[type[Struct], set[Key]] = defaultdict(set)
        # Versions from behind the piece, which may refer to other rows than those in it.
        self._later: list[Order | Trade] = []
        self._of_trade: dict[str, list[Order]] = defaultdict(list)
        for order in versions.of(Order):
            if order.trade_id is not None:
                self._of_trade[order.trade_id].append(order)

    def add(self, kind: type[Struct], ids: Iterable[str]) -> None:
        self._keys[kind].update((id_,) for id_ in ids)

    def add_rows(self, rows: Iterable[Any]) -> None:
        for row in rows:
            if type(row) in MOVED and type(row) not in LISTED:
                self._keys[type(row)].add(self._versions.key(row))
                if isinstance(row, Order | Trade):
                    self._later.append(row)

    def has(self, row: Any) -> bool:
        if isinstance(row, Fill):
            return self._has_fill(row)
        return type(row) not in LISTED and self._versions.key(row) in self._keys[type(row)]

    def _has_fill(self, fill: Fill) -> bool:
        """With its order; one of somebody else's order with the trade that was adopted from it."""
        if (fill.client_order_id,) in self._keys[Order] or self._versions.key(fill) in self._keys[Fill]:
            return True
        return any(order_id in self._entries for order_id in (fill.client_order_id, fill.venue_order_id))

    def spread(self) -> None:
        """Until nothing stays that something which goes belongs to."""
        waiting = [*self._later, *self._rows(Order), *self._rows(Trade)]
        while waiting:
            row = waiting.pop()
            waiting.extend(self._new(row))
        staying = [self._versions.keyed(Trade).get(key) for key in self._keys[Trade]]
        self._entries = {trade.entry_order_id for trade in staying if trade is not None}

    def _rows(self, kind: type[Struct]) -> Iterator[Any]:
        there = self._versions.keyed(kind)
        return (there[key] for key in self._keys[kind] if key in there)

    def _new(self, row: Any) -> Iterator[Any]:
        if isinstance(row, Order):
            yield from self._stay(Trade, row.trade_id)
            yield from self._stay(Order, row.parent_id)
        else:
            for order in self._of_trade[row.trade_id]:
                yield from self._stay(Order, order.client_order_id)
        if row.signal_id is not None:
            self._keys[Signal].add((row.signal_id,))

    def _stay(self, kind: type[Struct], id_: str | None) -> Iterator[Any]:
        if id_ is None or (id_,) in self._keys[kind]:
            return
        self._keys[kind].add((id_,))
        found = self._versions.keyed(kind).get((id_,))
        if found is not None:
            yield found
