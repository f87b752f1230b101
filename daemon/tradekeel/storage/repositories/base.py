"""What all repositories do alike: they list, count and find rows of their kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.errors import InputError
from tradekeel.ports.repositories.paging import ROWS_MAX, Page
from tradekeel.storage.repositories.database import Database
from tradekeel.storage.repositories.listing import Listing, Query, asked, count_of, decoded, page_of, selected
from tradekeel.storage.rows import mapping_of

RowT = TypeVar("RowT", bound=Struct)


class Repository(Generic[RowT]):
    """One kind of row of some books."""

    listing: ClassVar[Listing]

    def __init__(self, database: Database) -> None:
        self.database = database

    @property
    def table(self) -> Table:
        """The table of these rows."""
        return mapping_of(self.listing.row_type).table

    async def _page(self, doing: str, where: Iterable[ColumnElement[bool]], words: Mapping[str, Any]) -> Page[RowT]:
        query = asked(dict(words))

        async def ask(db: AsyncConnection) -> Page[RowT]:
            return await page_of(db, self.database.backend, self.listing, where, query)

        return await self.database.read(doing, ask, query.timeout_s)

    async def _count(self, doing: str, where: Iterable[ColumnElement[bool]], words: Mapping[str, Any]) -> int:
        query = asked(dict(words))

        async def ask(db: AsyncConnection) -> int:
            return await count_of(db, self.listing, where, query.since_ns, query.until_ns)

        return await self.database.read(doing, ask, query.timeout_s)

    async def _first(
        self, doing: str, where: Iterable[ColumnElement[bool]], words: Mapping[str, Any], *order: Any
    ) -> RowT | None:
        """The first row, None if there is none."""
        timeout_s = timeout_of(words)
        mapping = mapping_of(self.listing.row_type)
        statement = selected(mapping).where(*where).order_by(*order).limit(1)

        async def ask(db: AsyncConnection) -> Any:
            row = (await db.execute(statement)).first()
            return None if row is None else decoded(self.database.backend, mapping, row)

        found: RowT | None = await self.database.read(doing, ask, timeout_s)
        return found


def timeout_of(words: Mapping[str, Any]) -> float | None:
    """The deadline of a call's words, None where it names none; TypeError for other words."""
    return Query(**words).timeout_s if words else None


def bounded(rows: Iterable[RowT], what: str) -> list[RowT]:
    """The rows of a bulk write. InputError for more than may come at once."""
    found = list(rows)
    if len(found) > ROWS_MAX:
        raise InputError(f"{len(found)} {what} at once: at most {ROWS_MAX}. Write them in several calls")
    return found


# --- partial updates -------------------------------------------------------------------------------------------------


@cache
def _types(row_type: type[Struct]) -> dict[str, Any]:
    return {field.name: field.type for field in structs.fields(row_type)}


def changed(row: RowT, changes: Mapping[str, object], fixed: frozenset[str]) -> RowT:
    """The row with some fields changed. InputError for fields that there are not, that stay, or values that do not fit."""
    types, found = _types(type(row)), {}
    kind = type(row).__name__.removesuffix("Row").lower()
    for name, value in changes.items():
        if name not in types:
            raise InputError(f"a {kind} has no field {name!r}; it has {', '.join(types)}")
        if name in fixed:
            raise InputError(f"the {name} of a {kind} stays as it is")
        if isinstance(value, float):
            raise InputError(f"{name} is the float {value!r}: amounts are exact, Decimal or text")
        try:
            found[name] = msgspec.convert(value, types[name])
        except msgspec.ValidationError as error:
            raise InputError(f"{name} of a {kind} cannot be {value!r}: {error}") from None
    return structs.replace(row, **found)


def fields_changed(before: Struct, after: Struct) -> set[str]:
    """The names of the fields in which two rows differ."""
    return {name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name)}
