"""What every database keeps: looked at before a row is promised or written, so that no backend takes what another refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import PrimaryKeyConstraint, Table, UniqueConstraint

from tradekeel.errors import InputError
from tradekeel.storage.rows import Mapping as RowMapping

INDEXED_BYTES_MAX = 2_600
"""What the indexed texts of a row may have together: PostgreSQL takes 2,704 bytes an entry."""

INTEGER_MAX = 2**63 - 1
"""What the columns for whole numbers hold, and its negative less one."""


def look_at_row(mapping: RowMapping[Any], values: Sequence[object]) -> None:
    """The values of a row, one for each of the mapping's columns. Raises ValueError or OverflowError for what does not fit."""
    look_at_columns(mapping.table, dict(zip(mapping.columns, values, strict=True)))


def look_at_columns(table: Table, values: Mapping[str, object]) -> None:
    """The values of a table's row, by column. Raises as :func:`look_at_row`."""
    for name, value in values.items():
        look_at_value(name, value)
    texts = [values[name] for name in _indexed(table) if name in values]
    indexed = sum(len(text.encode()) for text in texts if isinstance(text, str))
    if indexed > INDEXED_BYTES_MAX:
        raise ValueError(
            f"the ids and names of a row of {table.name} have {indexed} bytes, and an index takes {INDEXED_BYTES_MAX}"
        )


def look_at_value(name: str, value: object) -> None:
    """One value of a column. Raises ValueError or OverflowError."""
    if type(value) is int and not -INTEGER_MAX - 1 <= value <= INTEGER_MAX:
        raise OverflowError(f"{name} is {value}, which is beyond 64 bits")
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"{name} {value[:40]!r} has a zero character in it, which a PostgreSQL does not keep")


def refuse_float(name: str, value: object) -> None:
    """InputError for a float, in the place of an amount: nobody knows which amount was meant by it."""
    if isinstance(value, float):
        raise InputError(f"{name} is the float {value!r}: amounts are exact, Decimal or text")


@cache
def _indexed(table: Table) -> frozenset[str]:
    """The columns that an index of the table has."""
    names = {column.name for index in table.indexes for column in index.columns}
    names |= {
        column.name
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint)
        for column in constraint.columns
    }
    return frozenset(names)
