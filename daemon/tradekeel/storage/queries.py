"""The reading side: what the command line and reports ask, answered without disturbing a running daemon.

A :class:`Reader` opens the file read-only, holds no transaction between two questions, and never writes, checkpoints or migrates.
Answers are the domain's rows, newest first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from msgspec import Struct
from sqlalchemy import ColumnElement, Table, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tradekeel.domain.messages import Fill, Signal
from tradekeel.domain.orders import Order
from tradekeel.domain.records import Record
from tradekeel.domain.rows import ExecutionRow, ParameterChange, PerformanceSnapshot, StrategyEvent, StrategyRow
from tradekeel.domain.trades import Trade
from tradekeel.errors import InputError, StoreCorrupt, StoreUnavailable, named
from tradekeel.storage import schema, tables
from tradekeel.storage.backend import RESTORE, Backend, backend_at
from tradekeel.storage.journal import decoded, fault_of
from tradekeel.storage.rows import mapping_of

ROWS_DEFAULT = 100
CHUNK_ROWS = 5_000
"""Rows read in one go where a whole table is walked: between two chunks the daemon's log may be cut back."""

RowT = TypeVar("RowT", bound=Struct)


class Filter(Struct, frozen=True, kw_only=True):
    """Which rows. What is None does not narrow; times are ``since_ns <= t < until_ns``; ``status`` may be several words."""

    execution: str | None = None
    account: str | None = None
    strategy: str | None = None
    instrument: str | None = None
    status: str | tuple[str, ...] | None = None
    session: str | None = None
    pattern_type: str | None = None
    type: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    limit: int | None = ROWS_DEFAULT
    offset: int = 0


EVERYTHING = Filter()


class JournalEntry(Struct, frozen=True):
    """One journal record as it stands in the books."""

    execution: str
    sequence: int
    type: str
    ts_ns: int
    correlation_id: str
    record: Record


class _Listing(Struct, frozen=True):
    """How one kind of row is listed."""

    row_type: type[Struct]
    time: str
    tie: tuple[str, ...]  # what comes first among rows of one moment
    columns: dict[str, str] = {}  # words of Filter that are called something else in this table


_LISTINGS: dict[type[Struct], _Listing] = {
    listing.row_type: listing
    for listing in (
        _Listing(ExecutionRow, "started_ns", ("number", "execution")),
        _Listing(StrategyRow, "updated_ns", ("strategy", "execution")),
        _Listing(Order, "created_ns", ("decision", "leg", "client_order_id")),
        _Listing(Trade, "created_ns", ("trade_id",), {"instrument": "symbol"}),
        _Listing(Signal, "generated_at_ns", ("signal_id",), {"instrument": "symbol", "status": "execution_status"}),
        _Listing(Fill, "ts_ns", ("id",)),
        _Listing(StrategyEvent, "ts_ns", ("sequence", "strategy", "execution")),
        _Listing(PerformanceSnapshot, "ts_ns", ("id",)),
        _Listing(ParameterChange, "ts_ns", ("id",)),
    )
}


class Reader:
    """Reads the books of one place; use as ``async with Reader(place) as books``.

    Raises StoreUnavailable where there is nothing to read yet, StoreTooNew or StoreCorrupt as the store does.
    """

    def __init__(self, place: Backend | Path) -> None:
        self.backend = backend_at(place)
        self._engine: AsyncEngine | None = None

    async def __aenter__(self) -> Self:
        if not self.backend.exists():
            raise StoreUnavailable(
                f"there is no database at {self.backend} yet: start the daemon with `tradekeel run` first"
            )
        self._engine = self.backend.engine()
        try:
            await self._check_version()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[AsyncConnection]:
        if self._engine is None:
            raise StoreUnavailable(f"{self.backend} is not open: use `async with Reader(place)`")
        try:
            async with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            if isinstance(error.orig, self.backend.errors):
                raise self.backend.in_our_words(error.orig, "reading it") from error
            raise
        except self.backend.errors as error:
            raise self.backend.in_our_words(error, "reading it") from error
        except (
            ValueError,
            TypeError,
            ArithmeticError,
        ) as error:  # of a column that reads what nobody of ours has written
            raise StoreCorrupt(f"{self.backend} is damaged (reading it: {named(error)}). {RESTORE}") from error

    async def _check_version(self) -> None:
        async with self._asking() as db:
            standing = await db.run_sync(lambda sync: schema.standing_of(sync.exec_driver_sql, self.backend))
        schema.refuse_other(standing, self.backend)

    # --- lists ---------------------------------------------------------------------------------------------------------

    async def executions(self, which: Filter = EVERYTHING) -> list[ExecutionRow]:
        """Executions by their start."""
        return await self._list(ExecutionRow, which)

    async def strategies(self, which: Filter = EVERYTHING) -> list[StrategyRow]:
        """Strategies by their last decision."""
        return await self._list(StrategyRow, which)

    async def orders(self, which: Filter = EVERYTHING) -> list[Order]:
        """Orders by their creation."""
        return await self._list(Order, which)

    async def trades(self, which: Filter = EVERYTHING) -> list[Trade]:
        """Trades by the decision that wanted them."""
        return await self._list(Trade, which)

    async def signals(self, which: Filter = EVERYTHING) -> list[Signal]:
        """Signals by their generation."""
        return await self._list(Signal, which)

    async def fills(self, which: Filter = EVERYTHING) -> list[Fill]:
        """Fills by the venue's time. ``strategy`` narrows to the fills of its orders."""
        return await self._list(Fill, which)

    async def events(self, which: Filter = EVERYTHING) -> list[StrategyEvent]:
        """What strategies had to say about their decisions."""
        return await self._list(StrategyEvent, which)

    async def snapshots(self, which: Filter = EVERYTHING) -> list[PerformanceSnapshot]:
        """Performance snapshots."""
        return await self._list(PerformanceSnapshot, which)

    async def parameter_history(self, which: Filter = EVERYTHING) -> list[ParameterChange]:
        """Changed parameters."""
        return await self._list(ParameterChange, which)

    async def _list(self, row_type: type[RowT], which: Filter) -> list[RowT]:
        listing, table = _LISTINGS[row_type], mapping_of(row_type).table
        names = row_type.__struct_fields__
        statement = select(*(table.c[name] for name in names)).where(*_conditions(listing, table, which))
        order = [table.c[listing.time].desc(), *(table.c[name].desc() for name in listing.tie)]
        statement = statement.order_by(*order).limit(which.limit).offset(which.offset)
        async with self._asking() as db:
            return [row_type(**dict(row)) for row in (await db.execute(statement)).mappings()]

    # --- one execution -------------------------------------------------------------------------------------------------

    async def journal(
        self,
        execution: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = ROWS_DEFAULT,
        which: Filter = EVERYTHING,
    ) -> list[JournalEntry]:
        """A page of the journal, ascending: what follows record ``after``, or the last records before ``before``.

        Of ``which`` type and times narrow.
        """
        table = tables.journal
        statement = select(table).where(table.c.execution == execution).limit(limit)
        if which.type is not None:
            statement = statement.where(table.c.type == which.type)
        if which.since_ns is not None:
            statement = statement.where(table.c.ts_ns >= which.since_ns)
        if which.until_ns is not None:
            statement = statement.where(table.c.ts_ns < which.until_ns)
        if before is None:
            statement = statement.where(table.c.sequence > after).order_by(table.c.sequence)
        else:
            statement = statement.where(table.c.sequence < before).order_by(table.c.sequence.desc())
        async with self._asking() as db:
            rows = [tuple(row) for row in (await db.execute(statement)).all()]
        if before is not None:
            rows.reverse()
        return [self._entry(row) for row in rows]

    def _entry(self, row: tuple[Any, ...]) -> JournalEntry:
        execution, sequence, type_, ts_ns, correlation_id, _, _ = row
        record = decoded(execution, row[1:])
        fault = fault_of(execution, sequence, row[1:]) or (record if isinstance(record, str) else None)
        if fault is not None or isinstance(record, str):
            raise StoreCorrupt(f"{self.backend}: {fault}. {RESTORE}")
        return JournalEntry(execution, sequence, type_, ts_ns, correlation_id, record)

    # --- whose ---------------------------------------------------------------------------------------------------------

    async def elsewhere(self) -> set[str]:
        """The accounts of other daemons, where several share the database."""
        if self.backend.daemon is None:
            return set()
        table = tables.leases
        statement = select(table.c.account).where(table.c.daemon.not_in(("", self.backend.daemon)))
        async with self._asking() as db:
            return set((await db.execute(statement)).scalars())

    # --- words ---------------------------------------------------------------------------------------------------------

    async def knows_instrument(self, symbol: str) -> bool:
        """Whether anything was ever asked for, or traded, in it."""
        orders, trades = tables.orders.c.instrument, tables.trades.c.symbol
        async with self._asking() as db:
            for column in (orders, trades):
                if (await db.execute(select(column).where(column == symbol).limit(1))).first() is not None:
                    return True
        return False

    async def event_types(self) -> set[str]:
        """The words that strategies have used for their events."""
        async with self._asking() as db:
            return set((await db.execute(select(tables.strategy_events.c.type).distinct())).scalars())


def _conditions(listing: _Listing, table: Table, which: Filter) -> Iterable[ColumnElement[bool]]:
    """The WHERE of a filter. InputError for a word that this kind of row does not know."""
    time = table.c[listing.time]
    if which.since_ns is not None:
        yield time >= which.since_ns
    if which.until_ns is not None:
        yield time < which.until_ns
    for word in ("execution", "account", "strategy", "instrument", "status", "session", "pattern_type", "type"):
        wanted = getattr(which, word)
        if wanted is None:
            continue
        name = listing.columns.get(word, word)
        words = wanted if isinstance(wanted, tuple) else (wanted,)
        if name in table.c:
            yield table.c[name].in_(words)
        elif word == "account":
            runs = select(tables.executions.c.execution).where(tables.executions.c.account.in_(words))
            yield table.c.execution.in_(runs)
        elif word == "strategy" and listing.row_type is Fill:
            ours = select(tables.orders.c.client_order_id).where(tables.orders.c.strategy.in_(words))
            yield table.c.client_order_id.in_(ours)
        else:
            raise InputError(f"{table.name} cannot be narrowed by {word}")
