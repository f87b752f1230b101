"""What every database keeps: looked at before a row is promised or written, so that no backend takes what another refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import PrimaryKeyConstraint, Table, UniqueConstraint

from tradekeel.errors import InputError
from tradekeel.storage.columns import Money
from tradekeel.storage.rows import Mapping as RowMapping

INDEXED_BYTES_MAX = 2_600
"""What the indexed texts of a row may have together: PostgreSQL takes 2,704 bytes an entry."""

AMOUNT_DIGITS_MAX = 300
"""Digits that an amount may have before its point, and behind it. PostgreSQL keeps 131,072 and 16,383; but SQLite's checks look
at the sign of an amount as a float, which takes what is below 5e-324 for zero, and an exponent alone may stand for gigabytes."""

INTEGER_MAX = 2**63 - 1
"""What the columns for whole numbers hold, and its negative less one."""

_TOO_MANY_DIGITS = (
    f"has too many digits: at most {AMOUNT_DIGITS_MAX} stand before the point of an amount, and as many behind it"
)


def look_at_row(mapping: RowMapping[Any], values: Sequence[object]) -> None:
    """The values of a row, one for each of the mapping's columns. Raises ValueError or OverflowError for what does not fit."""
    look_at_columns(mapping.table, dict(zip(mapping.columns, values, strict=True)))


def look_at_columns(table: Table, values: Mapping[str, object]) -> None:
    """The values of a table's row, by column. Raises as :func:`look_at_row`."""
    for name, value in values.items():
        look_at_value(name, value)
    for name in _amounts(table):
        text = values.get(name)
        if isinstance(text, str) and len(text) > AMOUNT_DIGITS_MAX and is_beyond_all(Decimal(text)):
            raise ValueError(f"{name} {_TOO_MANY_DIGITS}")
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


def refuse_amount(name: str, value: object) -> None:
    """InputError for a float in the place of an amount, and for an amount with more digits than every backend keeps."""
    refuse_float(name, value)
    if isinstance(value, Decimal) and is_beyond_all(value):
        raise InputError(f"{name} {_TOO_MANY_DIGITS}")


def is_beyond_all(amount: Decimal) -> bool:
    """Whether an amount has more digits than every backend keeps; what is no number is not looked at."""
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and (-exponent > AMOUNT_DIGITS_MAX or amount.adjusted() >= AMOUNT_DIGITS_MAX)


def refuse_float(name: str, value: object) -> None:
    """InputError for a float, in the place of an amount: nobody knows which amount was meant by it."""
    if isinstance(value, float):
        raise InputError(f"{name} is the float {value!r}: amounts are exact, Decimal or text")


@cache
def _amounts(table: Table) -> frozenset[str]:
    """The columns that hold amounts."""
    return frozenset(column.name for column in table.columns if isinstance(column.type, Money))


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
