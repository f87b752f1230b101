"""Column types and checks: how each kind of value is kept exactly, whatever the database.

A type knows two plain functions, ``encode`` and ``decode``. SQLAlchemy uses them for the reading side; the recorder takes
them from here and hands the driver finished values, so both sides write and read the same text. Migrations use these names
too: a type or check that changes its meaning gets a new name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Integer, LargeBinary, Numeric, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.types import Boolean, TypeDecorator, UserDefinedType

from tradekeel.domain.money import plain

_JSON_ENCODER = msgspec.json.Encoder()
_TEXTS_DECODER = msgspec.json.Decoder(tuple[str, ...])

Nanoseconds = BigInteger
"""Integer nanoseconds UTC."""

Count = BigInteger
"""A number that counts something."""

Identity = BigInteger().with_variant(Integer(), "sqlite")
"""Numbers rows in the order they were written. SQLite numbers only a column of the very type INTEGER."""

Blob = LargeBinary


class _JsonText(UserDefinedType[str]):
    """PostgreSQL's own type for JSON that stays as it was written."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Its name."""
        return "JSON"


class Coded(TypeDecorator[Any]):
    """A column whose values pass through ``encode`` and ``decode``; None stays NULL."""

    impl: Any = Text
    cache_ok = True
    on_postgresql: Any = None  # the type there, where it is another; it takes and gives the same text

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column's type in a database."""
        if dialect.name == "postgresql" and self.on_postgresql is not None:
            return dialect.type_descriptor(self.on_postgresql)
        return super().load_dialect_impl(dialect)

    def __init__(self, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> None:
        super().__init__()
        self.encode = encode
        self.decode = decode

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """From the domain to the driver."""
        return None if value is None else self.encode(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From the driver to the domain."""
        return None if value is None else self.decode(value)


def money_text(value: Decimal) -> str:
    """Fixed-point text that reads back as the same number. Raises ValueError on what is not a number.

    Nearly always that is what ``str`` says; it is asked first because a busy recorder writes half a million amounts a second.
    """
    text = str(value)
    if "E" in text or text[-1] > "9" or (text[0] == "-" and not value):
        if not value.is_finite():
            raise ValueError(f"{value} is not an amount")
        return plain(value)
    return text


def json_text(value: Any) -> str:
    """JSON without spaces, keys in the order they came in."""
    return _JSON_ENCODER.encode(value).decode()


class Money(Coded):
    """An exact decimal: as fixed-point text, where the database's own numbers are floats or round, else as its exact number."""

    cache_ok = True
    on_postgresql = Numeric()

    def __init__(self) -> None:
        super().__init__(money_text, Decimal)


def texts_text(value: tuple[str, ...]) -> str:
    """A JSON list of texts."""
    return json_text(value) if value else "[]"


class Json(Coded):
    """JSON values as text."""

    cache_ok = True
    on_postgresql = _JsonText()

    def __init__(self) -> None:
        super().__init__(json_text, msgspec.json.decode)


class Texts(Coded):
    """A tuple of texts, as a JSON list."""

    cache_ok = True
    on_postgresql = _JsonText()

    def __init__(self) -> None:
        super().__init__(texts_text, _TEXTS_DECODER.decode)


class Flag(Coded):
    """Yes or no as 1 or 0."""

    impl: Any = Integer
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(int, bool)


class Choice(Coded):
    """One of an enumeration's words, as text. The words themselves are held by a check of the table."""

    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        # The driver handles exact strings faster than their subclasses.
        super().__init__(str.__str__, words)
        self.words = words


# --- checks ----------------------------------------------------------------------------------------------------------


class SignRule(ColumnElement[bool]):
    """An amount compared with zero. In SQLite the cast to a float is for the sign alone.

    It keeps the sign of whatever :mod:`tradekeel.storage.fitting` lets through: below 5e-324 it would be lost.
    """

    inherit_cache = True
    type = Boolean()

    def __init__(self, column: str, rule: str, unless: str = "") -> None:
        self.column, self.rule = column, rule
        self.before = f"{unless} OR " if unless else ""


@compiles(SignRule)
def _sign_of_text(element: SignRule, compiler: Any, **_: Any) -> str:
    return f"{element.before}CAST({element.column} AS REAL) {element.rule}"


@compiles(SignRule, "postgresql")
def _sign_of_number(element: SignRule, compiler: Any, **_: Any) -> str:
    return f"{element.before}{element.column} {element.rule}"


def one_of(column: str, words: Iterable[str]) -> CheckConstraint:
    """The column holds one of these words (or nothing, where it may).

    Spelled out, because SQLite fills a table of its own with a longer ``IN`` list each time it looks at a row.
    """
    listed = " OR ".join(f"{column} = '{word}'" for word in words)
    return CheckConstraint(listed, name=f"{column}_word")


def not_negative(column: str, unless: str = "") -> CheckConstraint:
    """An amount that is zero or more, except where ``unless`` holds."""
    return CheckConstraint(SignRule(column, ">= 0", unless), name=f"{column}_not_negative")


def positive(column: str, unless: str = "") -> CheckConstraint:
    """An amount above zero, except where ``unless`` holds."""
    return CheckConstraint(SignRule(column, "> 0", unless), name=f"{column}_positive")


def not_empty(column: str) -> CheckConstraint:
    """A text that says something."""
    return CheckConstraint(f"{column} <> ''", name=f"{column}_not_empty")


def from_one(column: str) -> CheckConstraint:
    """A number that counts from 1."""
    return CheckConstraint(f"{column} >= 1", name=f"{column}_from_one")


def yes_or_no(column: str) -> CheckConstraint:
    """1 or 0."""
    return CheckConstraint(f"{column} IN (0, 1)", name=f"{column}_flag")
