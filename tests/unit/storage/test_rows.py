"""Rows survive the database exactly: every digit, every character, every nothing."""

from __future__ import annotations

import sqlite3
import types
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy import Column, MetaData, Table, create_engine, insert, select
from sqlalchemy.pool import StaticPool

from tests.unit.storage import samples as s
from tradekeel.domain.records import MetricsCheckpoint
from tradekeel.domain.trades import CloseReason, Trade
from tradekeel.storage import tables
from tradekeel.storage.columns import Money, money_text
from tradekeel.storage.rows import mapping_of, mappings
from tradekeel.storage.sqlite import Sqlite

# Far beyond any account: 30 digits on either side of the point, every exponent in between, and negative zero.
amounts = st.decimals(
    allow_nan=False, allow_infinity=False, min_value=Decimal("-1e30"), max_value=Decimal("1e30")
) | st.builds(
    lambda sign, digits, exponent: Decimal((sign, tuple(map(int, str(digits))), exponent)),
    st.integers(0, 1),
    st.integers(0, 10**30),
    st.integers(-30, 30),
)
# Everything but lone surrogates, which are no characters.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
times = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value a field of this type may have."""
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        return st.one_of(*(values_of(part) for part in get_args(hint)))
    if origin is tuple:
        return st.lists(texts, max_size=4).map(tuple)
    if origin is dict:
        return st.dictionaries(texts, json_values, max_size=4)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        Decimal: amounts,
        str: texts,
        int: times,
        bool: st.booleans(),
        bytes: st.binary(max_size=40),
        type(None): st.none(),
    }
    return plain[hint]


def rows_of(row_type: Any) -> st.SearchStrategy[Any]:
    """Any row of a type. A trade's quantities stay such that its averages can be computed."""
    fields = {name: values_of(hint) for name, hint in get_type_hints(row_type).items()}
    if row_type is Trade:
        sizes = st.decimals(min_value=Decimal("0.01"), max_value=Decimal(10**9), places=2)
        names = (
            "entered_quantity",
            "exited_quantity",
            "entry_value",
            "exit_value",
            "gross_pnl",
            "entry_fee",
            "exit_fee",
        )
        fields |= dict.fromkeys((*names, "financing", "initial_stop_loss", "take_profit"), sizes)
    return st.builds(row_type, **fields)


any_row = st.sampled_from(list(mappings())).flatmap(rows_of)


@pytest.fixture(scope="module")
def db() -> Iterator[sqlite3.Connection]:
    """The real tables, without their checks and references: here only exactness counts."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
        tables.metadata.create_all(engine)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("DROP INDEX ix_executions_one_running")
        yield connection


def stored(db: sqlite3.Connection, row: Any) -> tuple[Any, ...]:
    """The row's values after a stay in the table."""
    mapping = mapping_of(type(row))
    db.execute("BEGIN")
    try:
        db.execute(mapping.insert_sql(Sqlite(Path())), mapping.encode(row, "any"))
        [values] = db.execute(mapping.select_sql).fetchall()
        return tuple(values)
    finally:
        db.execute("ROLLBACK")


@given(row=any_row)
def test_a_row_comes_back_as_it_went(db, row):
    back = mapping_of(type(row)).decode(stored(db, row))
    assert back == row
    for name in row.__struct_fields__:
        value, again = getattr(row, name), getattr(back, name)
        assert type(again) is type(value)
        if isinstance(value, Decimal) and value.as_tuple().exponent <= 0 and value:  # type: ignore[operator]
            assert str(Decimal(again)) == str(value), "trailing zeros tell the precision and stay"


@given(row=any_row)
def test_what_is_stored_is_what_was_encoded(db, row):
    """Or verify would see a difference where SQLite only converted a type."""
    assert list(stored(db, row)) == mapping_of(type(row)).encode(row, "any")


@given(amount=amounts)
def test_an_amount_is_fixed_point_text(amount):
    text = money_text(amount)
    assert Decimal(text) == amount
    assert "E" not in text
    assert text != "-0"
    assert set(text) <= set("-.0123456789")


@pytest.mark.parametrize("not_a_number", ["NaN", "-sNaN", "Infinity", "-Infinity"])
def test_what_is_not_a_number_is_never_stored(not_a_number):
    with pytest.raises(ValueError, match="not an amount"):
        money_text(Decimal(not_a_number))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0E-12", "0.000000000000"),
        ("-0", "0"),
        ("-0.00", "0.00"),
        ("1E+3", "1000"),
        ("1E-9", "0.000000001"),
        ("1.50", "1.50"),
    ],
)
def test_amounts_read_like_amounts(amount, text):
    assert money_text(Decimal(amount)) == text


@given(amount=amounts | st.none())
def test_sqlalchemy_writes_and_reads_the_same_text(amount):
    engine = create_engine("sqlite://")
    table = Table("amounts", MetaData(), Column("amount", Money()))
    with engine.connect() as connection:
        table.create(connection)
        connection.execute(insert(table).values(amount=amount))
        assert connection.execute(select(table.c.amount)).scalar_one() == amount
        raw = connection.exec_driver_sql("SELECT amount FROM amounts").scalar_one()
        assert raw == (None if amount is None else money_text(amount))
    engine.dispose()


def test_a_closed_trade_shows_prices_profit_and_ratios():
    closed = s.trade(
        entered_quantity=Decimal(1000),
        entry_value=Decimal("1392.1"),
        exited_quantity=Decimal(1000),
        exit_value=Decimal("1394.2"),
        gross_pnl=Decimal("2.1"),
        entry_fee=Decimal("0.05"),
        exit_fee=Decimal("0.05"),
        take_profit=Decimal("1.3963"),
        exit_reason=CloseReason.SIGNAL,
    )
    mapping = mapping_of(Trade)
    shown = dict(zip(mapping.columns, mapping.encode(closed, s.RUN), strict=True))
    assert Decimal(shown["entry_price"]) == Decimal("1.3921")
    assert Decimal(shown["exit_price"]) == Decimal("1.3942")
    assert Decimal(shown["pnl"]) == Decimal("2.0")
    assert Decimal(shown["r_multiple"]) == Decimal(1)
    assert Decimal(shown["risk_reward_ratio"]) == Decimal(2)
    assert shown["pnl_percentage"] == "0.150851"


@given(row=rows_of(Trade))
def test_the_shown_figures_are_those_of_the_trade(row):
    mapping = mapping_of(Trade)
    shown = dict(zip(mapping.columns, mapping.encode(row, s.RUN), strict=True))
    for name in ("entry_price", "exit_price", "pnl", "pnl_percentage", "r_multiple", "risk_reward_ratio"):
        value = getattr(row, name)
        assert (None if shown[name] is None else Decimal(shown[name])) == value


def test_saved_metrics_carry_a_checksum():
    mapping = mapping_of(MetricsCheckpoint)
    saved = MetricsCheckpoint(execution=s.RUN, ts_ns=1, data=b"\x00\xff")
    other = structs.replace(saved, data=b"\x00\xfe")
    assert mapping.encode(saved, s.RUN)[-1] != mapping.encode(other, s.RUN)[-1]
