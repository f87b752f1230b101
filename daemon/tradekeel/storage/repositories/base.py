"""What all repositories do alike: they list, count and find rows of their kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekeel.domain.rows import ExecutionRow
from tradekeel.errors import InputError
from tradekeel.ports.repositories.paging import ROWS_MAX, Page
from tradekeel.storage.fitting import refuse_float
from tradekeel.storage.repositories.change import Change
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
            return None if row is None else decoded(mapping, row)

        found: RowT | None = await self.database.read(doing, ask, timeout_s)
        return found

    # --- writing ---------------------------------------------------------------------------------------------------------

    async def _add(self, action: str, rows: Sequence[RowT], steers: str | None, timeout_s: float | None) -> list[RowT]:
        """Add rows that say which execution and account they are of; as they were stored, in their order."""

        async def work(change: Change) -> list[RowT]:
            added: dict[int, RowT] = {}
            by_execution: dict[str, list[int]] = {}
            for number, row in enumerate(rows):
                by_execution.setdefault(getattr(row, "execution"), []).append(number)  # noqa: B009  # every one of them has it
            await change.lock(by_execution)
            for execution, numbers in sorted(by_execution.items()):
                run = await change.execution(execution, steers=steers)
                ours = [rows[number] for number in numbers]
                for row in ours:
                    if getattr(row, "account", run.account) != run.account:
                        key = "/".join(str(getattr(row, name)) for name in self.listing.key)
                        raise InputError(
                            f"{self.table.name}: {key} is not of account {run.account}, as its execution {execution} is"
                        )
                    self._look_at_new(run, row)
                added.update(zip(numbers, await change.add(execution, ours, steers=steers), strict=True))
            return [added[number] for number in range(len(rows))]

        return await self.database.write(action, work, timeout_s)

    def _look_at_new(self, run: ExecutionRow, row: RowT) -> None:
        """InputError for a row that does not belong into this execution."""

    async def _before(self, change: Change, what: str, where: ColumnElement[bool]) -> RowT:
        """The row that is about to change, which nobody else can change meanwhile. NotFound."""
        row_type: type[RowT] = self.listing.row_type  # type: ignore[assignment]  # the repository's own kind
        found = await change.one(row_type, what, where)
        await change.execution(getattr(found, "execution"), steers=None)  # noqa: B009
        return await change.one(row_type, what, where)

    @staticmethod
    def exactly(compute: Callable[[], RowT], what: str) -> RowT:
        """What is computed of amounts; InputError where they have more digits than can be computed with."""
        try:
            return compute()
        except ArithmeticError as error:
            raise InputError(f"{what}: these amounts cannot be computed exactly ({type(error).__name__})") from error


def timeout_of(words: Mapping[str, Any]) -> float | None:
    """The deadline of a call's words, None where it names none; TypeError for other words."""
    return Query(**words).timeout_s if words else None


def bounded(rows: Iterable[RowT], what: str) -> list[RowT]:
    """The rows of a bulk write. InputError for more than may come at once."""
    found = list(rows)
    refuse_many(len(found), what)
    return found


def refuse_many(count: int, what: str) -> None:
    """InputError for more than may come at once."""
    if count > ROWS_MAX:
        raise InputError(f"{count} {what} at once: at most {ROWS_MAX}. Write them in several calls")


# --- partial updates -------------------------------------------------------------------------------------------------


@cache
def _types(row_type: type[Struct]) -> dict[str, Any]:
    return {field.name: field.type for field in structs.fields(row_type)}


def changed(row: RowT, changes: Mapping[str, object], fixed: frozenset[str]) -> RowT:
    """The row with some fields changed. InputError for fields that there are not, that stay, or values that do not fit."""
    types, found = _types(type(row)), {}
    kind = type(row).__name__.removesuffix("Row").lower()
    a_kind = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
    for name, value in changes.items():
        if name not in types:
            raise InputError(f"{a_kind} has no field {name!r}; it has {', '.join(types)}")
        if name in fixed:
            raise InputError(f"the {name} of {a_kind} stays as it is")
        refuse_float(name, value)
        try:
            found[name] = msgspec.convert(value, types[name])
        except msgspec.ValidationError as error:
            raise InputError(f"{name} of {a_kind} cannot be {value!r}: {error}") from None
    return structs.replace(row, **found)


def fields_changed(before: Struct, after: Struct) -> set[str]:
    """The names of the fields in which two rows differ."""
    return {name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name)}
