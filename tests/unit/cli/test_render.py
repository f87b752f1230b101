"""Tables fit the terminal by giving up columns, never digits."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tradekeel.cli.render import (
    Column,
    amount,
    coloured,
    fitting,
    make_table,
    moment,
    print_table,
    rounded,
    text,
    trimmed,
)

COLUMNS = (
    Column("symbol", text("symbol")),
    Column("pnl", amount("pnl"), right=True),
    Column("strategy", text("strategy"), 2),
    Column("account", text("account"), 9),
)
ROWS = [{"symbol": "EUR_USD", "pnl": "-12345.678900", "strategy": "trend", "account": "paper-account"}]


def drawn(rows: list[dict[str, str]], width: int) -> str:
    out = io.StringIO()
    print_table(rows, COLUMNS, "Nothing.", Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize(
    ("width", "kept"), [(80, "symbol pnl strategy account"), (40, "symbol pnl strategy"), (25, "symbol pnl")]
)
def test_the_least_important_columns_go_first(width: int, kept: str) -> None:
    shown = drawn(ROWS, width)
    assert shown.splitlines()[0].split() == kept.split()
    assert "-12345.6789" in shown
    assert max(map(len, shown.splitlines())) <= width


def test_an_amount_is_never_cut_even_where_there_is_no_room() -> None:
    folded = drawn(ROWS, 10)
    assert all(part in folded for part in ("-1234", "5.678", "9")), folded


def test_no_rows_are_a_sentence() -> None:
    assert drawn([], 80) == "Nothing.\n"


@given(st.integers(min_value=1, max_value=200))
def test_what_is_kept_stays_in_its_order(width: int) -> None:
    cells = {column.title: [column.cell(row) for row in ROWS] for column in COLUMNS}
    kept = fitting(COLUMNS, cells, width)
    assert [column for column in COLUMNS if column in kept] == kept
    assert {"symbol", "pnl"} <= {column.title for column in kept}
    assert make_table(ROWS, COLUMNS, width).row_count == 1


@given(st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=-(10**9), max_value=10**9))
def test_trimming_never_changes_an_amount(value: Decimal) -> None:
    shown = trimmed(f"{value:f}")
    assert Decimal(shown) == value
    assert not ("." in shown and shown.endswith(("0", ".")))


def test_profit_is_green_and_loss_is_red() -> None:
    assert [str(coloured(value).style) for value in ("1.50", "-0.01", "0.00", None)] == ["green", "red", "", ""]


def test_moments_and_ratios() -> None:
    assert moment("2014-05-08T13:30:01.123456789Z") == "2014-05-08 13:30:01"
    assert moment(None) == ""
    assert (rounded("1.2345", 2), rounded(None, 2)) == ("1.23", "")
