"""A transaction of a script's: rows change, and the journal of each execution concerned says how.

Every row that is put, and what was removed, goes into an administrative record that can be folded again. Rows are read before
they are changed, within the transaction, so that what is refused is refused in words and not by a constraint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, structs
from sqlalchemy import BigInteger, ColumnElement, Table, TableClause, and_, column, delete, func, insert, select, update
from sqlalchemy import table as bare_table
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.domain.messages import Fill, Signal
from tradekeel.domain.notes import without_nan
from tradekeel.domain.orders import Order
from tradekeel.domain.records import Administered, Record, Removed
from tradekeel.domain.rows import (
    ExecutionRow,
    ParameterChange,
    PerformanceSnapshot,
    StrategyEvent,
    StrategyRow,
    VenueCursor,
)
from tradekeel.domain.trades import Trade
from tradekeel.errors import AlreadyExists, AlreadyRunning, DaemonsOwn, InputError, NotFound
from tradekeel.storage import tables
from tradekeel.storage.backend import Backend
from tradekeel.storage.batch import SENDER_ERRORS, journal_values
from tradekeel.storage.columns import Choice, Coded
from tradekeel.storage.fitting import look_at_columns, look_at_row, refuse_amount
from tradekeel.storage.repositories.listing import decoded, selected
from tradekeel.storage.rows import Mapping as RowMapping
from tradekeel.storage.rows import mapping_of

RowT = TypeVar("RowT", bound=Struct)

KEYS_AT_ONCE = 500
"""Rows that are asked for by their keys in one question."""

RECORD_ROWS_MAX = 500
"""Rows that one record tells of; a larger write leaves several, in one transaction."""

UNSTORABLE: tuple[type[Exception], ...] = (*SENDER_ERRORS, ArithmeticError)
"""What a value raises that cannot be stored at all."""

_FIELDS: dict[type[Struct], str] = {
    StrategyRow: "strategies",
    Signal: "signals",
    Trade: "trades",
    Order: "orders",
    Fill: "fills",
    StrategyEvent: "events",
    PerformanceSnapshot: "snapshots",
    ParameterChange: "parameters",
    VenueCursor: "cursors",
}
"""Where a record carries which rows."""


class _Draft:
    """What the journal of one execution is to be told."""

    def __init__(self, row: ExecutionRow) -> None:
        self.row = row
        self.records: list[Record] = []
        self.removed: list[Removed] = []
        self.put: list[Struct] = []
        self.rows = 0


class Change:
    """See the module. It belongs to one call, and ends with it."""

    def __init__(self, db: AsyncConnection, backend: Backend, now_ns: int, action: str, by: str) -> None:
        self.db, self.backend, self.now_ns = db, backend, now_ns
        self._action, self._by = action, by
        self._drafts: dict[str, _Draft] = {}
        self._held: set[str] = set()

    # --- looking ---------------------------------------------------------------------------------------------------------

    async def find(self, row_type: type[RowT], *where: ColumnElement[bool]) -> list[RowT]:
        """Rows as they are now."""
        mapping = mapping_of(row_type)
        found = await self.db.execute(selected(mapping).where(*where))
        return [decoded(mapping, row) for row in found]

    async def one(self, row_type: type[RowT], what: str, *where: ColumnElement[bool]) -> RowT:
        """The one row that there is; NotFound, saying ``what`` there is not."""
        found = await self.find(row_type, *where)
        if not found:
            raise NotFound(f"{self.backend.described}: there is no {what}")
        return found[0]

    async def execution(self, execution: str, *, steers: str | None) -> ExecutionRow:
        """The execution that is about to change, which nobody else can change meanwhile.

        ``steers`` says what would be changed of what a daemon trades by; None where it only describes. NotFound,
        AlreadyRunning, DaemonsOwn.
        """
        await self.lock([execution])
        row = self._drafts[execution].row
        if steers is not None and row.status == "running" and row.mode.value != "manual":
            raise DaemonsOwn(
                f"execution {execution} (account {row.account}, {row.mode}) is not finished, and {steers} is the daemon's to "
                "change: use its commands, or stop it, let the execution be closed, and correct it then"
            )
        return row

    async def lock(self, executions: Iterable[str]) -> None:
        """Executions that are about to change: accounts first, then executions, each in an order that all share.

        Who changes several locks them together, before the first is changed: two of us who took them one by one could wait for
        each other. NotFound, AlreadyRunning.
        """
        wanted = sorted(set(executions) - self._drafts.keys())
        runs = tables.executions.c
        accounts: set[str] = set()
        for at in range(0, len(wanted), KEYS_AT_ONCE):
            some = runs.execution.in_(wanted[at : at + KEYS_AT_ONCE])
            accounts.update(account for (account,) in await self.db.execute(select(runs.account).where(some)))
        for account in sorted(accounts - self._held):
            await self.hold(account)
        mapping = mapping_of(ExecutionRow)
        for execution in wanted:
            row = (
                await self.db.execute(
                    selected(mapping).where(runs.execution == execution).with_for_update(key_share=True)
                )
            ).first()
            if row is None:
                raise NotFound(f"{self.backend.described}: there is no execution {execution}")
            self._drafts[execution] = _Draft(decoded(mapping, row))

    async def hold(self, account: str) -> None:
        """Nobody else writes for the account until this transaction ends. AlreadyRunning where a daemon holds it."""
        holder = await self.backend.held_by(self.db, account)
        if holder is not None:
            raise AlreadyRunning(
                f"{self.backend.described}: {holder} holds the books of account {account}, and alone writes there. Stop it "
                "first (tradekeel stop), or use its commands"
            )
        self._held.add(account)

    # --- changing ----------------------------------------------------------------------------------------------------------

    async def add(self, execution: str, rows: Sequence[RowT], *, steers: str | None) -> list[RowT]:
        """New rows of one type, of an execution, as they were stored. AlreadyExists names the first that is there already."""
        if not rows:
            return []
        rows = [checked(row) for row in rows]
        mapping = mapping_of(type(rows[0]))
        draft = await self._draft(execution, steers)
        await self._refuse_known(mapping, execution, rows)
        await self.db.execute(insert(bare(mapping)), [encoded(mapping, row, execution) for row in rows])
        draft.put.extend(rows)
        draft.rows += len(rows)
        return rows

    async def replace(self, execution: str, rows: Sequence[RowT], *, steers: str | None) -> list[RowT]:
        """Newer versions of rows that there are, as they were stored; any column but the key may be another."""
        rows = [checked(row) for row in rows]
        draft = await self._draft(execution, steers)
        for row in rows:
            if not await self._update(execution, row):
                raise NotFound(f"{mapping_of(type(row)).table.name}: there is no {mapping_of(type(row)).key(row)}")
        draft.put.extend(rows)
        draft.rows += len(rows)
        return rows

    async def remove(
        self, execution: str, row_type: type[Struct], where: Mapping[str, str], *, steers: str | None
    ) -> int:
        """Delete the rows of an execution whose columns are these words; how many those were."""
        table = mapping_of(row_type).table
        draft = await self._draft(execution, steers)
        wanted = [table.c.execution == execution]
        for name, word in where.items():
            kind = table.c[name].type
            if isinstance(kind, Coded) and not isinstance(kind, Choice):
                raise InputError(
                    f"{table.name} cannot be removed by {name}: only texts and whole numbers tell rows apart"
                )
            wanted.append(table.c[name] == (int(word) if isinstance(kind, BigInteger) else word))
        count = (await self.db.execute(delete(table).where(and_(*wanted)))).rowcount
        if count:
            if draft.put:
                raise AssertionError("a record removes first, and puts then")
            draft.removed.append(Removed(str(table.name), dict(where)))
            draft.rows += count
        return count

    async def tell(self, execution: str, record: Record, rows: Iterable[Struct] = ()) -> None:
        """A record of its own kind instead of an administrative one, with the rows that follow from it."""
        for row in rows:
            if not await self._update(execution, row):
                mapping = mapping_of(type(row))
                await self.db.execute(insert(bare(mapping)).values(encoded(mapping, row, execution)))
        await self.lock([execution])
        self._drafts[execution].records.append(record)

    async def _update(self, execution: str, row: Struct) -> bool:
        mapping = mapping_of(type(row))
        table, values = bare(mapping), encoded(mapping, row, execution)
        changed = {name: value for name, value in values.items() if name not in mapping.key_columns}
        written = await self.db.execute(update(table).where(_is_key(table, mapping, values)).values(changed))
        return bool(written.rowcount)

    async def _draft(self, execution: str, steers: str | None) -> _Draft:
        await self.execution(execution, steers=steers)
        return self._drafts[execution]

    async def _refuse_known(self, mapping: RowMapping[Any], execution: str, rows: Sequence[Any]) -> None:
        names = mapping.key_columns
        if not names:
            return
        keys = [tuple(getattr(row, name) for name in names) for row in rows]
        if len(set(keys)) != len(keys):
            raise AlreadyExists(f"{mapping.table.name}: one id stands twice among the rows to be added")
        last = mapping.table.c[names[-1]]
        fixed = [mapping.table.c.execution == execution] if "execution" in names else []
        known = await self.db.execute(
            select(*(mapping.table.c[name] for name in names)).where(last.in_([key[-1] for key in keys]), *fixed)
        )
        found = {tuple(row) for row in known}
        for key in keys:
            if key in found:
                raise AlreadyExists(f"{mapping.table.name}: {'/'.join(map(str, key))} exists already")

    # --- the journal ---------------------------------------------------------------------------------------------------------

    async def next_sequence(self, execution: str) -> int:
        """The number of the next record in the journal of an execution."""
        last = select(func.max(tables.journal.c.sequence)).where(tables.journal.c.execution == execution)
        return ((await self.db.execute(last)).scalar() or 0) + 1

    async def journal(self) -> None:
        """Say what was done in the journal of each execution that was changed."""
        for execution, draft in self._drafts.items():
            records = [*draft.records, *self._administered(draft)]
            if not records:
                continue
            first = await self.next_sequence(execution)
            values = [journal_values(execution, number, r) for number, r in enumerate(records, start=first)]
            names = [c.name for c in tables.journal.columns]
            await self.db.execute(insert(tables.journal), [dict(zip(names, row, strict=True)) for row in values])

    def _administered(self, draft: _Draft) -> list[Administered]:
        if not draft.rows:
            return []
        said: dict[str, Any] = {"ts_ns": self.now_ns, "action": self._action, "rows": draft.rows, "by": self._by}
        pages = [draft.put[at : at + RECORD_ROWS_MAX] for at in range(0, len(draft.put), RECORD_ROWS_MAX)] or [[]]
        records: list[Administered] = []
        for page in pages:
            put: dict[str, Any] = {}
            for row in page:
                put.setdefault(_FIELDS[type(row)], []).append(row)
            put = {name: tuple(rows) for name, rows in put.items()}
            records.append(Administered(**said, **put, removed=() if records else tuple(draft.removed)))
        return records


@cache
def bare(mapping: RowMapping[Any]) -> TableClause:
    """The table without types: what goes in is what the driver takes."""
    return bare_table(mapping.table.name, *(column(name) for name in mapping.columns))


_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")


@cache
def _decoder(row_type: type[Struct]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(row_type)


def checked(row: RowT) -> RowT:
    """The row as the journal will tell of it: words are words of their kind, amounts exact. InputError for what is none.

    JSON has no word for NaN: in a strategy's and a script's notes alike it is written as text.
    """
    table = mapping_of(type(row)).table.name
    for name in row.__struct_fields__:
        refuse_amount(f"{table}: {name}", getattr(row, name))
    notes = {name: getattr(row, name) for name in row.__struct_fields__}
    notes = {name: without_nan(value) for name, value in notes.items() if isinstance(value, dict) and value}
    row = structs.replace(row, **notes) if notes else row
    try:
        found: RowT = _decoder(type(row)).decode(_ENCODER.encode(row))
    except UNSTORABLE as error:
        raise InputError(f"{table}: {error}") from error
    return found


def encoded(mapping: RowMapping[Any], row: Any, execution: str) -> dict[str, Any]:
    """The values for the driver, by column."""
    try:
        values = mapping.encode(row, execution)
        look_at_row(mapping, values)
    except UNSTORABLE as error:
        raise InputError(f"{mapping.table.name}: a value cannot be stored: {error}") from error
    return dict(zip(mapping.columns, values, strict=True))


def look_at_storable(table: Table, values: Mapping[str, object]) -> None:
    """InputError for values of a row, by column, that not every database keeps."""
    try:
        look_at_columns(table, values)
        for value in values.values():
            if isinstance(value, str):
                value.encode()  # no half of a character
    except UNSTORABLE as error:
        raise InputError(f"{table.name}: a value cannot be stored: {error}") from error


def _is_key(table: TableClause, mapping: RowMapping[Any], values: Mapping[str, Any]) -> ColumnElement[bool]:
    return and_(*(table.c[name] == values[name] for name in mapping.key_columns))
