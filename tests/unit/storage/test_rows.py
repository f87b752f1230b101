"""Rows become what a database holds: exact text, and figures for people. That they survive it is shown on every backend."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy import Column, MetaData, Table, create_engine, insert, select

from tests.unit.storage import samples as s
from tests.unit.storage.anything import amounts, rows_of
from tradekeel.domain.rows import MetricsCheckpoint
from tradekeel.domain.trades import CloseReason, Trade
from tradekeel.storage.columns import Money, money_text
from tradekeel.storage.rows import mapping_of


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


@pytest.mark.untraced
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
