"""Lists: which rows, in which order, and which page of them.

A page goes on behind the last row of the one before it, by what the list is sorted by and the row's own key: no row is seen twice
or left out because others came or went. Values are read as the driver gives them and decoded by the mapping, as everywhere.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Row,
    Select,
    Text,
    func,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.errors import InputError
from tradekeel.ports.repositories.paging import ROWS_DEFAULT, ROWS_MAX, Page
from tradekeel.storage import tables
from tradekeel.storage.backend import Backend
from tradekeel.storage.columns import Choice, Coded, Json, Money, Texts
from tradekeel.storage.files import BY_AMOUNT
from tradekeel.storage.rows import Mapping, mapping_of

RowT = TypeVar("RowT", bound=Struct)
NS_MAX = 2**63 - 1


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The words of :class:`~tradekeel.ports.repositories.Paging`, checked."""

    limit: int = ROWS_DEFAULT
    offset: int = 0
    cursor: str | None = None
    sort: str | None = None
    descending: bool = True
    since_ns: int | None = None
    until_ns: int | None = None
    timeout_s: float | None = None


class Listing(Struct, frozen=True, kw_only=True):
    """How one kind of row is listed."""

    row_type: type[Struct]
    time: str  # what since and until are about, and lists are sorted by, unless said
    key: tuple[str, ...]  # tells rows of one moment apart
    sorts: tuple[str, ...]
    times: tuple[str, ...] = ()  # other columns that a list can be about


class Position(Struct, frozen=True, array_like=True):
    """What a cursor says."""

    sort: str
    descending: bool
    values: tuple[int | str, ...]


_CURSOR = msgspec.json.Decoder(Position)


def selected(mapping: Mapping[Any], *more: str) -> Select[*tuple[Any, ...]]:
    """Whole rows as the driver gives them, and further columns behind."""
    table = mapping.table
    columns = (*mapping.columns[: len(mapping.fields)], *more)
    return select(*(literal_column(f'"{table.name}"."{name}"') for name in columns)).select_from(table)


def decoded(mapping: Mapping[RowT], row: Row[Any]) -> RowT:
    """The domain's row. StoreCorrupt for values that nobody of ours has written."""
    return mapping.decode(tuple(row))


async def page_of(
    db: AsyncConnection, backend: Backend, listing: Listing, where: Iterable[ColumnElement[bool]], query: Query
) -> Page[Any]:
    """One page. InputError for words that do not fit."""
    mapping = mapping_of(listing.row_type)
    table = mapping.table
    sort = sort_of(listing, query)
    sort_by = [sort, *(name for name in listing.key if name != sort)]
    about = sort if sort in (listing.time, *listing.times) else listing.time
    columns = [_sortable(table.c[name], backend) for name in sort_by]
    statement = selected(mapping, *sort_by).where(*where, *in_span(table.c[about], query.since_ns, query.until_ns))
    if table.c[sort].nullable:
        statement = statement.where(table.c[sort].is_not(None))
    if query.cursor is not None:
        statement = statement.where(_behind(columns, table, sort_by, query, backend))
    order = [column.desc() if query.descending else column.asc() for column in columns]
    found = (await db.execute(statement.order_by(*order).limit(query.limit + 1).offset(query.offset))).all()
    rows = tuple(decoded(mapping, row) for row in found[: query.limit])
    if len(found) <= query.limit:
        return Page(rows)
    last = found[query.limit - 1][-len(sort_by) :]
    return Page(rows, cursor_of(Position(sort, query.descending, tuple(last))))


async def count_of(
    db: AsyncConnection,
    listing: Listing,
    where: Iterable[ColumnElement[bool]],
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> int:
    """How many rows."""
    table = mapping_of(listing.row_type).table
    span = in_span(table.c[listing.time], since_ns, until_ns)
    return int((await db.execute(select(func.count()).select_from(table).where(*where, *span))).scalar_one())


def asked(words: dict[str, Any]) -> Query:
    """The query of a call's words. InputError for values beyond what is allowed, TypeError for words that nobody knows."""
    query = Query(**words)
    for name, least, most in (("limit", 1, ROWS_MAX), ("offset", 0, NS_MAX)):
        value = getattr(query, name)
        if not isinstance(value, int) or not least <= value <= most:
            raise InputError(f"{name} is {value!r}: allowed is {least} to {most}")
    for name in ("since_ns", "until_ns"):
        value = getattr(query, name)
        if value is not None and (not isinstance(value, int) or abs(value) > NS_MAX):
            raise InputError(f"{name} is {value!r}: times are whole nanoseconds UTC")
    if query.cursor is not None and query.offset:
        raise InputError("a page goes on behind its cursor, or passes over an offset, not both")
    return query


def in_span(time: ColumnElement[Any], since_ns: int | None, until_ns: int | None) -> Sequence[ColumnElement[bool]]:
    """``since_ns <= time < until_ns``."""
    found = []
    if since_ns is not None:
        found.append(time >= since_ns)
    if until_ns is not None:
        found.append(time < until_ns)
    return found


# --- filters ---------------------------------------------------------------------------------------------------------


def matching(table: Any, **words: Any) -> list[ColumnElement[bool]]:
    """The columns that are these words (of a tuple any); None does not narrow. InputError for a word that is none."""
    found: list[ColumnElement[bool]] = []
    for name, wanted in words.items():
        if wanted is None:
            continue
        options = wanted if isinstance(wanted, tuple) else (wanted,)
        kind = table.c[name].type
        if isinstance(kind, Choice):
            options = tuple(word_of(kind.words, option, name) for option in options)
        found.append(table.c[name] == options[0] if len(options) == 1 else table.c[name].in_(options))
    return found


def word_of(words: Any, wanted: object, name: str) -> Any:
    """One of an enumeration's words. InputError names those that there are."""
    try:
        return words(wanted)
    except ValueError:
        raise InputError(f"{name} is {wanted!r}: allowed are {', '.join(word.value for word in words)}") from None


def of_account(table: Any, account: str | None) -> list[ColumnElement[bool]]:
    """Rows of an account's executions, where the table does not say the account itself."""
    if account is None:
        return []
    if "account" in table.c:
        return [table.c.account == account]
    runs = select(tables.executions.c.execution).where(tables.executions.c.account == account)
    return [table.c.execution.in_(runs)]


# --- order -----------------------------------------------------------------------------------------------------------


def sort_of(listing: Listing, query: Query) -> str:
    """The column that a list is sorted by. InputError for one that it cannot be sorted by."""
    sort = query.sort if query.sort is not None else listing.time
    if sort not in listing.sorts:
        raise InputError(f"sort is {sort!r}: allowed are {', '.join(listing.sorts)}")
    return sort


def _sortable(column: ColumnElement[Any], backend: Backend) -> ColumnElement[Any]:
    """What a column is ordered by, on every database alike, and what a cursor is compared with.

    Amounts that are text are compared as the amounts that they are, to the last digit, and texts byte by byte, whatever the
    database's language is.
    """
    assert not isinstance(column.type, Json | Texts)
    if isinstance(column.type, Money):
        return column.collate(BY_AMOUNT) if backend.dialect.name == "sqlite" else column
    if isinstance(column.type, Text | Choice) and backend.bytewise is not None:
        return column.collate(backend.bytewise)
    return column


def _behind(
    columns: Sequence[ColumnElement[Any]], table: Any, names: Sequence[str], query: Query, backend: Backend
) -> ColumnElement[bool]:
    """Rows that come behind the one that the cursor names."""
    at = position_in(query, names)
    values = [_value(table.c[name], value) for name, value in zip(names, at.values, strict=True)]
    here, there = tuple_(*columns), tuple_(*values)
    return here < there if query.descending else here > there


def _value(column: ColumnElement[Any], value: int | str) -> ColumnElement[Any]:
    kind = column.type
    if isinstance(value, int) is not isinstance(kind, BigInteger | Integer):
        raise no_cursor()
    if isinstance(kind, Coded):
        try:
            value = kind.decode(value)
        except (ValueError, ArithmeticError):
            raise no_cursor() from None
    return literal(value, kind)


def cursor_of(position: Position) -> str:
    """The position as the text that a page is asked for with."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def position_in(query: Query, names: Sequence[str]) -> Position:
    """Where the page before ended, in a list that is sorted by these columns. InputError for a cursor that is not of it."""
    at = _position(query.cursor or "")
    if (at.sort, at.descending, len(at.values)) != (names[0], query.descending, len(names)):
        raise InputError(f"this cursor is of a list that is sorted by {at.sort}, not of this one")
    return at


def _position(cursor: str) -> Position:
    try:
        return _CURSOR.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError, msgspec.MsgspecError):
        raise no_cursor() from None


def no_cursor() -> InputError:
    """A text that is no cursor."""
    return InputError("this is no cursor: use the next_cursor of the page before, as it is")


__all__ = [
    "Listing",
    "Position",
    "Query",
    "asked",
    "count_of",
    "cursor_of",
    "in_span",
    "matching",
    "no_cursor",
    "of_account",
    "page_of",
    "position_in",
    "selected",
    "sort_of",
    "word_of",
]
